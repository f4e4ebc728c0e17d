//! `tqctl prune` on real deployments, with a daemon that says what the test wants, and with none.

// Shared with tests that use all of them.
#[allow(dead_code, unreachable_pub)]
#[path = "support/deployments.rs"]
mod deployments;
mod fake_control;
#[allow(unreachable_pub)]
#[path = "support/published.rs"]
mod published;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Output};

use assert_cmd::cargo::CommandCargoExt;
use deployments::{activate, build, commit, worker};
use fake_control::{Fake, Server};
use jiff::Timestamp;
use tempfile::TempDir;
use tqserver::admin::api::SCHEMA;
use tqserver::admin::retention::{Needed, NeededFor, Retention};
use tqserver::config::settings::RetentionSettings;
use tqserver::store::layout::DeployDir;
use tqserver::store::lock::DeployLock;
use tqserver::store::manifest::{Manifest, PreviousStatus};

/// A project with deployments 1 to 6, of which all were activated but 3 and 4; 6 is wanted.
fn project() -> (TempDir, DeployDir) {
    let temp = tempfile::tempdir().unwrap();
    let deploy = DeployDir::new(temp.path().join("deploy"));
    fs::create_dir_all(deploy.path()).unwrap();
    fs::create_dir(temp.path().join("config")).unwrap();
    fs::write(temp.path().join("config/server.yaml"), "").unwrap();
    for digit in '1'..='6' {
        let deployment = build(&deploy, digit, &[worker("index", "well")]);
        if !"34".contains(digit) {
            activate(&deploy, &deployment);
        }
    }
    (temp, deploy)
}

/// A daemon that serves from there, goes by these rules, and needs one deployment.
fn daemon(deploy: &DeployDir, keep: u32, needed: char) -> Server {
    let fake = Fake::new();
    *fake.retention.lock().unwrap() = Ok(Retention {
        schema: SCHEMA,
        deploy_dir: deploy.path().to_owned(),
        rules: RetentionSettings { keep, days: 0 },
        needed: vec![Needed { commit: commit(needed), reason: NeededFor::LastGood }],
    });
    Server::start(&fake)
}

fn tqctl(root: &Path, socket: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::cargo_bin("tqctl").unwrap();
    command.env_clear().arg("--root").arg(root).arg("--socket").arg(socket).arg("prune");
    command.args(arguments).output().unwrap()
}

/// The first digits of what is there.
fn digits(deploy: &DeployDir) -> String {
    let there = deploy.deployments().unwrap();
    there.iter().map(|commit| commit.as_str().chars().next().unwrap()).collect()
}

/// All names in a folder and when each was changed last.
fn trace(folder: &Path) -> Vec<(String, i64, i64)> {
    let all = glob::glob(&format!("{}/**/*", folder.display())).unwrap().map(Result::unwrap);
    let of = |path: &Path| {
        let found = path.symlink_metadata().unwrap();
        (path.display().to_string(), found.ctime(), found.ctime_nsec())
    };
    let mut all: Vec<_> = all.map(|path| of(&path)).collect();
    all.push(of(folder));
    all
}

#[test]
fn what_nothing_needs_is_removed_and_told() {
    let (root, deploy) = project();
    let server = daemon(&deploy, 2, '2');
    let before = trace(deploy.path());
    let dry = tqctl(root.path(), &server.socket(), &["--dry-run", "--json"]);
    assert_eq!(dry.status.code(), Some(0), "{dry:?}");
    assert_eq!(trace(deploy.path()), before, "a dry run writes nothing");

    let left_over = deploy.staging(&commit('9'), 1);
    fs::create_dir(&left_over).unwrap();
    let run = tqctl(root.path(), &server.socket(), &[]);
    assert_eq!(run.status.code(), Some(0), "{run:?}");
    assert_eq!(digits(&deploy), "256");
    assert!(!left_over.exists());
    // The manifest tells what can be gone back to now, and points where it did.
    let (manifest, _) = Manifest::read(&deploy).unwrap();
    let told = manifest
        .previous_deployments
        .iter()
        .map(|entry| (entry.git_commit.as_str().chars().next().unwrap(), entry.status));
    let (there, gone) = (PreviousStatus::RollbackAvailable, PreviousStatus::Removed);
    assert_eq!(told.collect::<Vec<_>>(), [('5', there), ('2', there), ('1', gone)]);
    assert_eq!(manifest.current_deployment, commit('6'));
    let said = String::from_utf8(run.stdout).unwrap();
    for line in ["removed  1111111", "removed  3333333", "removed  4444444", "✓ 3 of 6 deployments"]
    {
        assert!(said.contains(line), "{line}\n--\n{said}");
    }

    let planned = published::document("prune", &dry.stdout);
    let list = |key: &str| -> Vec<String> {
        let entries = planned[key].as_array().unwrap().iter();
        entries.map(|it| it["commit"].as_str().unwrap()[..1].to_owned()).collect()
    };
    assert_eq!((list("removed").join(""), list("kept").join("")), ("134".into(), "652".into()));
    assert_eq!(planned["kept"][2]["reason"], "served well last");
    assert!(planned["bytes"].as_u64().unwrap() > 0);
}

#[test]
fn without_an_answer_nothing_is_removed() {
    let (root, deploy) = project();
    let nobody = tqctl(root.path(), &root.path().join("no.sock"), &[]);
    assert_eq!(nobody.status.code(), Some(4), "{nobody:?}");
    // One that has just started, or that develops.
    let server = Server::start(&Fake::new());
    let ignorant = tqctl(root.path(), &server.socket(), &[]);
    let said = String::from_utf8(ignorant.stderr).unwrap();
    assert!(said.contains("nobody knows") && said.contains("--no-daemon"), "{said}");
    assert_eq!(ignorant.status.code(), Some(1));
    assert_eq!(digits(&deploy), "123456");
}

#[test]
fn another_holder_of_the_lock_is_not_disturbed() {
    let (root, deploy) = project();
    let server = daemon(&deploy, 1, '5');
    let lock = DeployLock::acquire(&deploy, "tqctl deploy", Timestamp::now()).unwrap();
    let locked = tqctl(root.path(), &server.socket(), &[]);
    assert_eq!(locked.status.code(), Some(5), "{locked:?}");
    assert_eq!(digits(&deploy), "123456");
    let waiting = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| tqctl(root.path(), &server.socket(), &["--lock-wait"]));
        drop(lock);
        waiting.join().unwrap()
    });
    assert_eq!(waiting.status.code(), Some(0), "{waiting:?}");
    assert_eq!(digits(&deploy), "56");
}

#[test]
fn where_nobody_can_be_asked_all_that_was_ever_wanted_stays() {
    let (root, deploy) = project();
    let retention = "deployment: {prod: {retention: {keep: 0, days: 0}}}\n";
    fs::write(root.path().join("config/deployment.yaml"), retention).unwrap();
    let pins = format!("workers: {{pins: {{index: \"{}\"}}}}\n", commit('4'));
    fs::write(root.path().join("config/server.yaml"), pins).unwrap();
    let nobody = root.path().join("no.sock");
    let run = tqctl(root.path(), &nobody, &["--no-daemon", "--verbose"]);
    assert_eq!(run.status.code(), Some(0), "{run:?}");
    assert_eq!(digits(&deploy), "12456");
    let said = String::from_utf8(run.stderr).unwrap();
    assert!(said.contains("4444444  index is pinned to it"), "{said}");

    fs::write(deploy.manifest(), "{").unwrap();
    let damaged = tqctl(root.path(), &nobody, &["--no-daemon"]);
    assert_eq!(damaged.status.code(), Some(1), "{damaged:?}");
    assert_eq!(digits(&deploy), "12456");
}

#[test]
fn links_are_not_followed() {
    let (root, deploy) = project();
    let elsewhere = tempfile::tempdir().unwrap();
    fs::write(elsewhere.path().join("precious"), "").unwrap();
    let inside = deploy.commit_dir(&commit('3')).join("workers/index/public");
    std::os::unix::fs::symlink(elsewhere.path(), inside).unwrap();
    std::os::unix::fs::symlink(elsewhere.path(), deploy.commit_dir(&commit('a'))).unwrap();
    let server = daemon(&deploy, 0, '2');
    let run = tqctl(root.path(), &server.socket(), &[]);
    assert_eq!(run.status.code(), Some(0), "{run:?}");
    assert_eq!(digits(&deploy), "26");
    assert!(elsewhere.path().join("precious").exists());
    assert!(deploy.commit_dir(&commit('a')).is_symlink());
}
