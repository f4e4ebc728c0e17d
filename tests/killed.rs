//! tqctl, killed by the kernel before each of its system calls in turn: what it was changing is as it
//! was or as it should be, and the next run gets on.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output};

use assert_cmd::cargo::CommandCargoExt;
use jiff::Timestamp;
use tempfile::TempDir;
use tqserver::store::deployment::Deployment;
use tqserver::store::digest::DigestCache;
use tqserver::store::layout::DeployDir;
use tqserver::store::manifest::Manifest;
use tqserver::store::verify::{Scope, verify};

/// A git project with one worker that needs no compiler.
struct Project {
    temp: TempDir,
}

impl Project {
    fn new() -> Self {
        let project = Self { temp: tempfile::tempdir().unwrap() };
        project.write("workers/index/bin/web", "#!/bin/sh\n");
        project.write("workers/index/config/worker.yaml", "run: [bin/web]\n");
        let program = project.path("workers/index/bin/web");
        let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(program, executable).unwrap();
        project.write("config/server.yaml", "");
        project.write(".gitignore", "/deploy\n");
        project.git(&["init", "--quiet", "--initial-branch=main"]);
        project
    }

    fn path(&self, below: &str) -> PathBuf {
        self.temp.path().join(below)
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn git(&self, arguments: &[&str]) {
        let author = ["-c", "user.name=A", "-c", "user.email=a@example.org"];
        let mut command = Command::new("git");
        let output = command.current_dir(self.temp.path()).args(author).args(arguments).output();
        assert!(output.unwrap().status.success(), "git {arguments:?}");
    }

    /// Commits a change, and builds what is then there.
    fn build(&self, change: &str) -> Vec<u8> {
        self.write("workers/index/private/text", change);
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message", change]);
        let output = tqctl(self.temp.path(), &["build"]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        self.manifest()
    }

    fn manifest(&self) -> Vec<u8> {
        fs::read(self.path("deploy/manifest.json")).unwrap()
    }
}

fn tqctl(root: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::cargo_bin("tqctl").unwrap();
    command.arg("--root").arg(root).args(arguments);
    command
}

/// Runs a command under strace(1), with `options` for that.
fn strace(options: &[String], command: &Command) -> Output {
    let mut strace = Command::new("strace");
    strace.arg("--quiet=all").args(options).arg("--").arg(command.get_program());
    strace.args(command.get_args()).output().unwrap()
}

/// The system calls of a run, from the first on that names `path`: each by its name, and which of that
/// name it is, from 1. Those of other threads and of children are left out.
fn calls_from(path: &Path, command: &Command) -> Vec<(String, usize)> {
    let log = tempfile::NamedTempFile::new().unwrap();
    let output = strace(&[format!("--output={}", log.path().display())], command);
    assert!(output.status.success(), "{output:?}");
    let log = fs::read_to_string(log.path()).unwrap();
    let mut count = BTreeMap::new();
    let calls: Vec<_> = log
        .lines()
        .filter_map(|line| Some((line.split_once('(')?.0.to_owned(), line)))
        .filter(|(name, _)| {
            name.bytes().all(|byte| byte.is_ascii_lowercase() || b"_0123456789".contains(&byte))
        })
        .map(|(name, line)| {
            let nth = count.entry(name.clone()).and_modify(|nth| *nth += 1).or_insert(1);
            ((name, *nth), line)
        })
        .collect();
    let named = format!("\"{}\"", path.display());
    let first = calls.iter().position(|(_, line)| line.contains(&named)).expect(&log);
    calls.into_iter().skip(first).map(|(call, _)| call).collect()
}

/// Runs the command once for each of its system calls from the one that first names `path`, killed as
/// it makes that call, and once unhurt. Calls `prepare` before each run and `check` after it. Returns
/// how often it was killed.
fn kill_at_every_call_from(
    path: &Path,
    command: &Command,
    prepare: impl Fn(),
    mut check: impl FnMut(&str, ExitStatus),
) -> usize {
    prepare();
    let mut killed = 0;
    for (name, nth) in calls_from(path, command) {
        prepare();
        let inject = format!("--inject={name}:signal=KILL:when={nth}");
        let output = strace(&["--output=/dev/null".to_owned(), inject], command);
        check(&format!("killed in {name} no. {nth}"), output.status);
        // How often some are made differs from run to run: futex(2).
        match output.status.signal() {
            Some(signal) => assert_eq!(signal, 9, "{output:?}"),
            None => assert!(output.status.success(), "{output:?}"),
        }
        killed += usize::from(!output.status.success());
    }
    prepare();
    let output = strace(&["--output=/dev/null".to_owned()], command);
    assert!(output.status.success(), "{output:?}");
    check("unhurt", output.status);
    killed
}

#[test]
fn the_writer_of_the_manifest_always_leaves_a_valid_one() {
    let project = Project::new();
    let old = project.build("one");
    let new = project.build("two");
    let deploy = DeployDir::new(project.path("deploy"));
    let current = |json: &[u8]| Manifest::parse(json).unwrap().current_deployment;
    let (old_commit, new_commit) = (current(&old), current(&new));

    let put_back = || fs::write(deploy.manifest(), &old).unwrap();
    // The folder is there, so that all a build does is to verify it and to replace the manifest.
    let build = tqctl(project.temp.path(), &["build"]);
    let lock = deploy.lock_file().canonicalize().unwrap();

    let (mut kept, mut replaced) = (0, 0);
    let killed = kill_at_every_call_from(&lock, &build, put_back, |call, status| {
        let found = project.manifest();
        match current(&found) {
            commit if commit == new_commit => replaced += 1,
            commit => {
                assert_eq!((&commit, &found), (&old_commit, &old), "{call}");
                assert!(!status.success(), "{call}");
                kept += 1;
            }
        }
    });
    assert!(kept > 10 && replaced > 2, "{kept} old, {replaced} new");
    assert!(killed + 3 >= kept + replaced, "{killed} of {}", kept + replaced);
    assert!(!deploy.manifest_new().exists(), "the last run has cleaned up");
}

#[test]
fn a_migration_loses_nothing_and_is_carried_on() {
    const OLD: [&str; 5] = [
        "pages/My-Page/index.html",
        "pages/My-Page/main.go",
        "pages/index/main.go",
        "templates/base.html",
        "bin/tqworker_index",
    ];
    const NEW: [&str; 6] = [
        "workers/index/bin/index",
        "workers/index/src/main.go",
        "workers/my_page/config/worker.yaml",
        "workers/my_page/private/views/index.html",
        "workers/my_page/src/main.go",
        "workers/shared/private/templates/base.html",
    ];
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().canonicalize().unwrap();
    let restore = || {
        for folder in root.read_dir().unwrap() {
            fs::remove_dir_all(folder.unwrap().path()).unwrap();
        }
        for path in OLD {
            let full = root.join(path);
            fs::create_dir_all(full.parent().unwrap()).unwrap();
            fs::write(full, path).unwrap();
        }
    };
    let files = || {
        let all = glob::glob(&format!("{}/**/*", root.display())).unwrap().map(Result::unwrap);
        let files = all.filter(|path| path.is_file());
        let mut files: Vec<_> = files
            .map(|path| path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned())
            .collect();
        files.sort();
        files
    };
    let migrate = tqctl(&root, &["migrate"]);
    let mut seen = BTreeSet::new();
    let first = root.join("workers/my_page/config");
    let killed = kill_at_every_call_from(&first, &migrate, restore, |call, _| {
        let found = files();
        let mut contents: Vec<_> = found
            .iter()
            .map(|path| fs::read_to_string(root.join(path)).unwrap())
            .filter(|text| OLD.contains(&text.as_str()))
            .collect();
        contents.sort();
        let mut expected = OLD;
        expected.sort();
        assert_eq!(contents, expected, "{call}");

        // What is there is all that the next run goes by.
        if seen.insert(found) {
            let output = tqctl(&root, &["migrate"]).output().unwrap();
            assert!(output.status.success(), "{call}: {output:?}");
            assert_eq!(files(), NEW, "{call}");
        }
    });
    assert!(killed > 20, "{killed}");
}

#[test]
fn a_deployment_that_is_removed_is_whole_or_none() {
    let project = Project::new();
    project.build("one");
    let kept = project.build("two");
    let current = Manifest::parse(&kept).unwrap().current_deployment;
    let deploy = DeployDir::new(project.path("deploy").canonicalize().unwrap());
    // Neither wanted nor in the history, so that it can go.
    let old = deploy.deployments().unwrap().into_iter().find(|it| *it != current).unwrap();
    let mut manifest = Manifest::parse(&kept).unwrap();
    manifest.previous_deployments.clear();
    fs::write(deploy.manifest(), manifest.to_json()).unwrap();
    project
        .write("config/deployment.yaml", "deployment: {prod: {retention: {keep: 0, days: 0}}}\n");
    let aside = project.path("aside");
    let copy = |from: &Path, to: &Path| {
        assert!(Command::new("cp").args(["-a"]).args([from, to]).status().unwrap().success());
    };
    copy(&deploy.commit_dir(&old), &aside);
    let restore = || {
        if !deploy.commit_dir(&old).exists() {
            copy(&aside, &deploy.commit_dir(&old));
        }
    };

    let prune = tqctl(project.temp.path(), &["prune", "--no-daemon"]);
    let (mut whole, mut gone, mut seen) = (0, 0, BTreeSet::new());
    let killed = kill_at_every_call_from(&deploy.lock_file(), &prune, restore, |call, _| {
        let mut cache = DigestCache::default();
        match Deployment::read(&deploy, &old) {
            Ok(record) => {
                whole += 1;
                verify(&deploy, &record, Scope::Whole, &mut cache, Timestamp::now()).expect(call);
            }
            Err(_) => {
                gone += 1;
                assert!(!deploy.commit_dir(&old).exists(), "{call}");
            }
        }
        // What is there is all that the next run goes by.
        let found = glob::glob(&format!("{}/**/*", deploy.path().display())).unwrap();
        if seen.insert(found.map(Result::unwrap).collect::<Vec<_>>()) {
            let output = tqctl(project.temp.path(), &["prune", "--no-daemon"]).output().unwrap();
            assert!(output.status.success(), "{call}: {output:?}");
            assert_eq!(deploy.deployments().unwrap(), std::slice::from_ref(&current), "{call}");
            let names = deploy.path().read_dir().unwrap().map(|it| it.unwrap().file_name());
            assert_eq!(names.count(), 3, "{call}: manifest, lock, one deployment");
        }
    });
    assert!(killed > 20 && whole > 5 && gone > 5, "{killed} killed: {whole} whole, {gone} gone");
}
