//! Deployments to disks that are full, or become so.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use super::killed::stands;
use super::{both, large_program, serving};
use crate::deploy::host::{Host, said};
use crate::session::PATIENCE;
use crate::support::wait::await_until;

/// A host whose deployments are on a disk of their own, in its bed only.
struct SmallDisk {
    host: Host,
    deploy: String,
}

impl SmallDisk {
    fn new(megabytes: u32) -> Self {
        let host = Host::new("");
        let deploy = host.server.deploy_dir().path().display().to_string();
        let size = format!("size={megabytes}m");
        host.session.bed.run(&["mount", "-t", "tmpfs", "-o", &size, "tmpfs", &deploy]);
        Self { host, deploy }
    }

    /// Leaves so many free; 0: not a byte.
    fn fill(&self, megabytes: u32) {
        let script = format!(
            "cat /dev/zero >{deploy}/full 2>/dev/null; truncate -s -{megabytes}M {deploy}/full",
            deploy = self.deploy
        );
        self.host.session.bed.run(&["sh", "-c", &script]);
    }

    fn clear(&self) {
        self.host.session.bed.run(&["rm", &format!("{}/full", self.deploy)]);
    }

    fn names(&self) -> String {
        self.host.session.bed.run(&["ls", "-A", &self.deploy])
    }

    fn manifest(&self) -> String {
        self.host.session.bed.run(&["cat", &format!("{}/manifest.json", self.deploy)])
    }
}

#[test]
fn what_does_not_fit_is_refused_before_anything_is_written() {
    let disk = SmallDisk::new(80);
    let host = &disk.host;
    let first = host.build('1', &[large_program(host, "first", false)]);
    host.deploy("away", &first);
    disk.fill(65);
    let (names, manifest) = (disk.names(), disk.manifest());
    let second = host.build('2', &[large_program(host, "second", true)]);
    for target in ["away", "production"] {
        let output = host.tqctl(&["deploy", target, second.git_commit.as_str()]);
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        let text = said(&output);
        assert!(text.contains("are free, and 2.0 MB are needed besides 67.1 MB"), "{text}");
        assert!(text.contains("tqctl prune --dry-run"), "{text}");
        assert_eq!((disk.names(), disk.manifest()), (names.clone(), manifest.clone()));
    }
    disk.clear();
    host.deploy("away", &second);
    // What is there already needs no room.
    disk.fill(65);
    host.deploy("away", &first);
    host.session.await_body("/", "index well g3 /\n");
}

#[test]
fn where_not_a_byte_can_be_written_the_manifest_stays_and_what_serves_serves() {
    let disk = SmallDisk::new(80);
    let host = &disk.host;
    let (first, second) = (host.build('1', &both("old")), host.build('2', &both("new")));
    host.deploy("away", &first);
    host.deploy("away", &second);
    let wanted = disk.manifest();
    disk.fill(0);
    let output = host.tqctl(&["rollback", "away"]);
    assert!(!output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("No space left on device"), "{}", said(&output));
    assert_eq!(disk.manifest(), wanted);
    assert_eq!(host.mode(), "new");
    disk.clear();
    let output = host.tqctl(&["rollback", "away"]);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(host.mode(), "old");
}

#[test]
fn a_disk_that_fills_up_while_a_deployment_is_watched_is_not_in_the_way_back() {
    let disk = SmallDisk::new(80);
    let host = &disk.host;
    let (first, second) = (host.build('1', &both("old")), host.build('2', &both("new")));
    host.deploy("away", &first);
    let wanted = disk.manifest();
    let mut deploying = host
        .command()
        .args(["-v", "deploy", "away", second.git_commit.as_str(), "--soak", "60s"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(deploying.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("6/6 soak")));
    disk.fill(0);
    let crash =
        "POST /crash HTTP/1.1\r\nHost: test\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    await_until("the end of the deployment", PATIENCE, || {
        let _ = crate::session::send(host.session.addr(), crash);
        deploying.try_wait().unwrap().is_some()
    });
    let said = lines.collect::<Vec<_>>().join("\n");
    assert_eq!(deploying.wait().unwrap().code(), Some(7), "{said}");
    assert_eq!(disk.manifest(), wanted);
    assert_eq!(host.mode(), "old");
}

#[test]
fn a_disk_that_takes_so_many_more_files_and_no_more_leaves_the_old_or_the_new_deployment() {
    let disk = SmallDisk::new(80);
    let host = &disk.host;
    let (first, second) = (host.build('1', &both("old")), host.build('2', &both("new")));
    host.deploy("away", &first);
    let used = host.session.bed.run(&["df", "--output=iused", &disk.deploy]);
    let used: u32 = used.lines().last().unwrap().trim().parse().unwrap();
    let wanted = disk.manifest();
    let mut failed = 0;
    // What rsync writes is among it, too.
    loop {
        let options = format!("remount,nr_inodes={}", used + failed);
        host.session.bed.run(&["mount", "-o", &options, &disk.deploy]);
        let output = host.tqctl(&["deploy", "away", second.git_commit.as_str()]);
        if output.status.success() {
            break;
        }
        let text = format!("{failed} more: {}", said(&output));
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains("No space left on device"), "{text}");
        assert_eq!(disk.manifest(), wanted, "{text}");
        assert_eq!(host.mode(), "old", "{text}");
        let names = disk.names();
        let known =
            [".lock", "manifest.json", first.git_commit.as_str(), second.git_commit.as_str()];
        assert!(names.lines().all(|name| known.contains(&name)), "{names}\n{text}");
        // What has a deployment's name is whole.
        let output = host.tqctl(&["--json", "rollback", "away", "--list"]);
        assert!(!said(&output).contains("\"damage\":\""), "{}\n{text}", said(&output));
        failed += 1;
    }
    assert!(failed > 10, "{failed}");
    assert_eq!(host.mode(), "new");
}

/// System calls that need room on a disk.
const NEED_ROOM: [&str; 9] = [
    "mkdir",
    "openat",
    "link",
    "linkat",
    "write",
    "copy_file_range",
    "fsync",
    "rename",
    "renameat2",
];

/// Which of the calls of a trace need room in a folder: each by its name, and which of that name it is.
fn calls_that_need_room(trace: &str, folder: &str) -> Vec<(String, usize)> {
    let mut count = BTreeMap::new();
    let mut found = Vec::new();
    for line in trace.lines() {
        let Some((name, arguments)) = line.split_once('(') else { continue };
        let nth = count.entry(name.to_owned()).and_modify(|nth| *nth += 1).or_insert(1_usize);
        let opens_only =
            name == "openat" && !["O_CREAT", "O_TMPFILE"].iter().any(|it| arguments.contains(it));
        if NEED_ROOM.contains(&name) && arguments.contains(folder) && !opens_only {
            found.push((name.to_owned(), *nth));
        }
    }
    found
}

#[test]
fn a_disk_that_is_full_at_any_system_call_of_the_host_leaves_the_old_or_the_new_deployment() {
    let (host, first, second) = serving("");
    let (options, trace) = (host.client.path().join("options"), host.client.path().join("trace"));
    fs::write(&options, "").unwrap();
    host.configure_with("", &host.sshd.traced_tqctl(&options, &trace));
    host.deploy("away", &second);
    let folder = host.server.deploy_dir().path().display().to_string();
    let calls = calls_that_need_room(&fs::read_to_string(&trace).unwrap(), &folder);
    assert!(calls.len() > 20, "{calls:?}");
    host.deploy("production", &first);
    fs::remove_dir_all(host.server.deploy_dir().commit_dir(&second.git_commit)).unwrap();

    let mut failed = 0;
    for (name, nth) in &calls {
        let inject = format!("--inject={name}:error=ENOSPC:when={nth}");
        fs::write(&options, &inject).unwrap();
        let output = host.tqctl(&["deploy", "away", second.git_commit.as_str()]);
        let (code, text) = (output.status.code(), format!("{inject}: {}", said(&output)));
        let (mode, wanted) = match code {
            Some(0) => ("new", &second),
            Some(1) => ("old", &first),
            _ => panic!("{text}"),
        };
        failed += usize::from(code == Some(1));
        assert_eq!(host.wanted().as_ref(), Some(&wanted.git_commit), "{text}");
        await_until(&text, PATIENCE, || host.is_in(mode));
        fs::write(&options, "").unwrap();
        host.await_free();
        host.assert_whole();
        // Without the session that is traced, which would need half the time.
        host.deploy("production", &first);
        assert_eq!(host.others(), [".lock", "manifest.json"], "{text}");
        let _ = fs::remove_dir_all(host.server.deploy_dir().commit_dir(&second.git_commit));
    }
    assert!(failed > calls.len() / 2, "{failed} of {}", calls.len());
    stands(&host, &first, &second);
}
