//! A small, real deployment for the tests of this module.

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use jiff::Timestamp;
use nix::unistd::{Gid, Uid, geteuid, setfsgid, setfsuid};

use super::deployment::{Deployment, SCHEMA, ServerPart, WorkerFiles, WorkerPart};
use super::digest::{DigestCache, TreeDigest, WorkerSums, md5, tree};
use super::layout::DeployDir;
use super::manifest::DeployedBy;
use super::stage::Staging;
use crate::ids::{CommitId, WorkerName};

pub(crate) fn commit(digit: char) -> CommitId {
    String::from(digit).repeat(40).parse().unwrap()
}

pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// Somebody who deploys from elsewhere.
pub(crate) fn deployed_by() -> DeployedBy {
    DeployedBy {
        user: "deploy".to_owned(),
        from: Some("192.0.2.7".to_owned()),
        client: Some("ada@laptop".to_owned()),
        verb: "deploy".to_owned(),
    }
}

/// Stages and finishes a deployment: the server, a compiled worker and one with `run:`.
pub(crate) fn deploy(deploy: &DeployDir, commit: &CommitId) -> Deployment {
    let staging = Staging::begin(deploy, commit).unwrap();
    fill(staging.path());
    let record = record(staging.path(), commit);
    staging.finish(&record).unwrap();
    record
}

/// As much of a program for this machine as anybody here looks at.
pub(crate) fn native_program() -> Vec<u8> {
    let mut header = vec![0; 256];
    fs::File::open(std::env::current_exe().unwrap()).unwrap().read_exact(&mut header).unwrap();
    header
}

/// The files of the sample.
pub(crate) fn fill(root: &Path) {
    let program = native_program();
    for (path, content, mode) in [
        ("server/bin/tqserver", program.as_slice(), 0o755),
        ("server/public/admin/index.html", b"<h1>", 0o644),
        ("workers/index/bin/index", &program, 0o755),
        ("workers/index/public/css/a.css", b"a{}", 0o644),
        ("workers/index/private/views/index.html", b"<p>", 0o644),
        ("workers/index/config/worker.yaml", b"route: /", 0o644),
        ("workers/api/bin/api.js", b"#!/usr/bin/env node\n", 0o644),
        ("workers/api/bin/lib/db.js", b"export {}", 0o644),
    ] {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }
}

/// The record of what is in `root`, as a build makes it.
pub(crate) fn record(root: &Path, commit: &CommitId) -> Deployment {
    let all = tree(root, &mut DigestCache::default(), Timestamp::UNIX_EPOCH).unwrap();
    let server = all.subtree("server");
    let binary = server.files["bin/tqserver"];
    let workers = [("index", "bin/index", "/"), ("api", "bin/api.js", "/api")];
    Deployment {
        schema: SCHEMA,
        git_commit: commit.clone(),
        git_commit_short: commit.short().to_owned(),
        git_branch: Some("main".to_owned()),
        git_tag: None,
        built_at: at(1_700_000_000),
        server: Some(ServerPart {
            path: "server".to_owned(),
            binary: "bin/tqserver".to_owned(),
            binary_md5: binary.md5,
            size_bytes: binary.size,
            has_public: true,
            has_private: false,
            built_from: commit.clone(),
            inputs_md5: md5(b"server"),
            sha256: sums(&server),
        }),
        workers: workers
            .map(|(name, binary, route)| {
                let name: WorkerName = name.parse().unwrap();
                let part = worker(&all, &name, binary, route, commit);
                (name, part)
            })
            .into(),
    }
}

fn worker(
    all: &TreeDigest,
    name: &WorkerName,
    binary: &str,
    route: &str,
    commit: &CommitId,
) -> WorkerPart {
    let path = format!("workers/{name}");
    let tree = all.subtree(&path);
    let sums = WorkerSums::of(&tree, name, binary).unwrap();
    let list = |folder| tree.below(folder).map(|(path, _)| path.to_owned()).collect();
    WorkerPart {
        binary: binary.to_owned(),
        binary_md5: sums.binary_md5,
        size_bytes: sums.size_bytes,
        route: route.parse().unwrap(),
        built_from: commit.clone(),
        inputs_md5: md5(name.as_str().as_bytes()),
        public_md5: sums.public_md5,
        private_md5: sums.private_md5,
        tree_md5: sums.tree_md5,
        files: WorkerFiles {
            src: vec!["main.rs".to_owned()],
            public: list("public"),
            private: list("private"),
        },
        sha256: self::sums(&tree),
        path,
    }
}

fn sums(tree: &TreeDigest) -> std::collections::BTreeMap<String, crate::ids::Sha256> {
    tree.files.iter().map(|(path, file)| (path.clone(), file.sha256)).collect()
}

/// Does something with the rights of a user, member of one group, on files: on a thread of its own,
/// whose file system identity differs (credentials(7)). Only root can.
pub(crate) fn as_user<T: Send>(user: u32, group: u32, act: impl FnOnce() -> T + Send) -> T {
    assert!(geteuid().is_root());
    let acting = move || {
        setfsgid(Gid::from_raw(group));
        // Also takes the thread's capabilities that would open every file to it.
        setfsuid(Uid::from_raw(user));
        act()
    };
    std::thread::scope(|scope| scope.spawn(acting).join())
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Looks at the deployment folder as somebody who is neither owner nor in the group of anything.
/// Without the right to become another user, takes its own right to the guarded folders away.
pub(crate) fn stranger(deploy: &Path, look: impl FnOnce() + Send) {
    if geteuid().is_root() {
        fs::set_permissions(deploy, fs::Permissions::from_mode(0o755)).unwrap();
        return as_user(65534, 65534, look);
    }
    let guarded: Vec<_> = glob::glob(&format!("{}/*/**/", deploy.display()))
        .unwrap()
        .filter_map(Result::ok)
        .filter(|folder| folder.ends_with("bin") || folder.ends_with("private"))
        .collect();
    let set = |mode| {
        for folder in &guarded {
            fs::set_permissions(folder, fs::Permissions::from_mode(mode)).unwrap();
        }
    };
    set(0);
    look();
    set(0o750);
}
