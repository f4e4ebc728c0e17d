//! Both ends in a user manager's bed.

use std::fs;
use std::os::unix::fs::MetadataExt;

use super::host::{Host, said};
use crate::project::worker;

#[test]
fn what_is_deployed_is_served_and_only_what_changed_travels_and_restarts() {
    let host = Host::new("");
    let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
    let all = |mode: &'static str| {
        names.map(|name| worker(name, if name == "c" { mode } else { "well" })).to_vec()
    };
    let first = host.build('1', &all("well"));
    let document = host.deploy("away", &first);
    assert_eq!(document["hosts"][0]["outcome"], "switched");
    host.session.await_body("/c", "c well g1 /\n");
    let before = host.session.workers();

    let second = host.build('2', &all("better"));
    let document = host.deploy("away", &second);
    assert_eq!(document["plan"][0]["restart"], serde_json::json!(["c"]));
    // `private/mode` of one worker, beside what rsync says of itself.
    assert_eq!(document["hosts"][0]["missing_bytes"], "better".len());
    let sent = document["hosts"][0]["sent_bytes"].as_u64().unwrap();
    assert!((1..1000).contains(&sent), "{document}");
    host.session.await_body("/c", "c better g2 /\n");
    host.session.await_workers(names.len());
    let kept = host.session.workers().iter().filter(|it| before.get(it.0) == Some(it.1)).count();
    assert_eq!(kept, names.len() - 1);

    // What did not change is one and the same file, and each deployment is whole.
    let inode = |commit: char, path: &str| {
        let commit = crate::project::commit(commit);
        let folder = host.server.deploy_dir().commit_dir(&commit);
        fs::metadata(folder.join(path)).unwrap().ino()
    };
    assert_eq!(inode('1', "workers/a/bin/web"), inode('2', "workers/a/bin/web"));
    assert_ne!(inode('1', "workers/c/private/mode"), inode('2', "workers/c/private/mode"));
    host.assert_whole();
    assert_eq!(host.others(), [".lock", "manifest.json"]);
}

#[test]
fn this_machine_needs_no_ssh() {
    let host = Host::new("");
    let first = host.build('1', &[worker("index", "well")]);
    let output = host.tqctl(&["deploy", "production", first.git_commit.as_str()]);
    assert!(output.status.success(), "{}", said(&output));
    host.session.await_body("/", "index well g1 /\n");
}
