use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

use rstest::rstest;

use super::*;
use crate::store::testing::{commit, deploy, native_program, stranger};

struct Sample {
    _temp: tempfile::TempDir,
    deploy: DeployDir,
    record: Deployment,
}

impl Sample {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let folder = DeployDir::new(temp.path());
        let record = deploy(&folder, &commit('a'));
        Self { _temp: temp, deploy: folder, record }
    }

    fn verify(&self) -> Result<(), VerifyError> {
        self.verify_as(Scope::Whole)
    }

    fn verify_as(&self, scope: Scope) -> Result<(), VerifyError> {
        verify(&self.deploy, &self.record, scope, &mut DigestCache::default(), Timestamp::now())
    }

    fn file(&self, path: &str) -> PathBuf {
        self.deploy.commit_dir(&self.record.git_commit).join(path)
    }

    fn problems(&self) -> Vec<String> {
        self.problems_as(Scope::Whole)
    }

    fn problems_as(&self, scope: Scope) -> Vec<String> {
        let error = self.verify_as(scope).unwrap_err();
        error.problems.shown.iter().map(Problem::to_string).collect()
    }

    /// Writes the record anew, as a build of other files would have.
    fn rewrite(&mut self, change: impl FnOnce(&mut Deployment)) {
        change(&mut self.record);
        let path = self.deploy.record(&self.record.git_commit);
        fs::write(path, self.record.to_json()).unwrap();
    }
}

#[test]
fn what_was_built_verifies() {
    Sample::new().verify().unwrap();
}

#[rstest]
#[case::changed(
    |s: &Sample| fs::write(s.file("workers/index/public/css/a.css"), "b{}").unwrap(),
    "workers/index/public/css/a.css: has SHA-256"
)]
#[case::missing(
    |s: &Sample| fs::remove_file(s.file("workers/api/bin/lib/db.js")).unwrap(),
    "workers/api/bin/lib/db.js: is missing"
)]
#[case::missing_binary(
    |s: &Sample| fs::remove_file(s.file("workers/index/bin/index")).unwrap(),
    "workers/index/bin/index: is missing"
)]
#[case::missing_part(
    |s: &Sample| fs::remove_dir_all(s.file("server")).unwrap(),
    "server/bin/tqserver: is missing"
)]
#[case::surplus(
    |s: &Sample| fs::write(s.file("workers/index/public/x"), "").unwrap(),
    "workers/index/public/x: is not part of the deployment"
)]
#[case::surplus_elsewhere(
    |s: &Sample| fs::write(s.file("x"), "").unwrap(),
    "x: is not part of the deployment"
)]
#[case::link_to_the_same(
    |s: &Sample| {
        let path = s.file("workers/index/bin/index");
        fs::rename(&path, s.deploy.path().join("elsewhere")).unwrap();
        symlink(s.deploy.path().join("elsewhere"), &path).unwrap();
    },
    "workers/index/bin/index: is a symbolic link"
)]
#[case::linked_folder(
    |s: &Sample| {
        let path = s.deploy.commit_dir(&s.record.git_commit);
        fs::rename(&path, s.deploy.path().join("elsewhere")).unwrap();
        symlink(s.deploy.path().join("elsewhere"), &path).unwrap();
    },
    "is a symbolic link"
)]
#[case::no_folder(
    |s: &Sample| fs::remove_dir_all(s.deploy.commit_dir(&s.record.git_commit)).unwrap(),
    "does not exist; upload the deployment before its manifest"
)]
#[case::no_record(
    |s: &Sample| fs::remove_file(s.deploy.record(&s.record.git_commit)).unwrap(),
    "deployment.json: does not exist"
)]
#[case::broken_record(
    |s: &Sample| fs::write(s.deploy.record(&s.record.git_commit), "{").unwrap(),
    "deployment.json:1:1: ends too early"
)]
#[case::not_executable(
    |s: &Sample| {
        let path = s.file("workers/index/bin/index");
        fs::set_permissions(path, Permissions::from_mode(0o644)).unwrap();
    },
    "workers/index/bin/index: is not executable"
)]
fn damage_to_the_folder(#[case] spoil: fn(&Sample), #[case] message: &str) {
    let sample = Sample::new();
    spoil(&sample);
    let problems = sample.problems();
    assert!(problems.iter().any(|problem| problem.contains(message)), "{problems:#?}");
}

#[test]
fn another_record_than_the_one_asked_for() {
    let mut sample = Sample::new();
    sample.record.git_tag = Some("v2".to_owned());
    assert_eq!(
        sample.problems(),
        ["deployment.json: differs from the deployment in manifest.json"]
    );
}

#[test]
fn every_sum_is_checked() {
    let other = digest::md5(b"other");
    type Change = fn(&mut WorkerPart, crate::ids::Md5);
    let changes: [(Change, &str); 5] = [
        (|part, other| part.binary_md5 = other, "binary_md5"),
        (|part, _| part.size_bytes += 1, "size_bytes"),
        (|part, other| part.public_md5 = other, "public_md5"),
        (|part, other| part.private_md5 = other, "private_md5"),
        (|part, other| part.tree_md5 = other, "tree_md5"),
    ];
    for worker in ["index", "api"] {
        for (change, sum) in changes {
            let mut sample = Sample::new();
            let name: WorkerName = worker.parse().unwrap();
            sample.rewrite(|record| change(record.workers.get_mut(&name).unwrap(), other));
            let expected =
                format!("workers/{worker}: {sum} is not what its files add up to; build it again");
            assert_eq!(sample.problems(), [expected]);
        }
    }
}

#[test]
fn the_servers_part_is_checked_too() {
    let mut sample = Sample::new();
    sample.rewrite(|record| {
        let server = record.server.as_mut().unwrap();
        server.has_private = true;
        server.size_bytes = 1;
    });
    assert_eq!(sample.problems().len(), 2, "{:?}", sample.problems());
}

/// Replaces a worker's binary, with a record to match.
fn with_binary(worker: &str, binary: &str, content: &[u8], mode: u32) -> Sample {
    let mut sample = Sample::new();
    let path = sample.file(&format!("workers/{worker}/{binary}"));
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    let record = sample.deploy.record(&sample.record.git_commit);
    fs::remove_file(&record).unwrap();
    let root = sample.deploy.commit_dir(&sample.record.git_commit);
    let rebuilt = crate::store::testing::record(&root, &sample.record.git_commit);
    sample.rewrite(|record| *record = rebuilt);
    sample
}

fn program_for(machine: u16) -> Vec<u8> {
    let mut header = native_program();
    let machine = if header[5] == 2 { machine.to_be_bytes() } else { machine.to_le_bytes() };
    header[18..20].copy_from_slice(&machine);
    header
}

#[test]
fn programs_for_another_machine_are_refused() {
    // 22 is s390x; were this it, 8 would be another.
    let other = if cfg!(target_arch = "s390x") { 8 } else { 22 };
    for (worker, binary) in [("index", "bin/index"), ("api", "bin/api.js")] {
        let sample = with_binary(worker, binary, &program_for(other), 0o755);
        let [problem] = sample.problems().try_into().unwrap();
        assert!(problem.contains(&format!("{binary}: is built for ")), "{problem}");
        assert!(problem.contains(std::env::consts::ARCH), "{problem}");
    }
}

#[rstest]
#[case::script_as_built("index", "bin/index", b"#!/bin/sh\n", 0o755, Some("is not an ELF program"))]
#[case::empty("index", "bin/index", b"", 0o755, Some("is not an ELF program"))]
#[case::script_to_run("api", "bin/api.js", b"#!/bin/sh\n", 0o755, None)]
#[case::source_to_interpret("api", "bin/api.js", b"print()", 0o644, None)]
fn what_may_run(
    #[case] worker: &str,
    #[case] binary: &str,
    #[case] content: &[u8],
    #[case] mode: u32,
    #[case] message: Option<&str>,
) {
    let sample = with_binary(worker, binary, content, mode);
    match message {
        None => sample.verify().unwrap(),
        Some(message) => {
            let problems = sample.problems();
            assert!(problems.len() == 1 && problems[0].contains(message), "{problems:#?}");
        }
    }
}

#[test]
fn all_problems_are_named_up_to_a_limit() {
    let sample = Sample::new();
    fs::write(sample.file("workers/index/public/css/a.css"), "").unwrap();
    fs::remove_file(sample.file("workers/api/bin/api.js")).unwrap();
    fs::write(sample.file("surplus"), "").unwrap();
    let text = sample.verify().unwrap_err().to_string();
    assert!(text.starts_with("deployment aaaaaaa: 3 problems\n  workers/"), "{text}");

    for number in 0..50 {
        fs::write(sample.file(&format!("surplus{number}")), "").unwrap();
    }
    let error = sample.verify().unwrap_err();
    assert_eq!((error.problems.shown.len(), error.problems.more), (20, 33));
}

/// Contents are not read again: every digest comes out of the cache.
#[test]
fn a_warm_cache_is_enough() {
    let sample = Sample::new();
    let mut cache = DigestCache::default();
    let later = Timestamp::now() + jiff::SignedDuration::from_mins(1);
    verify(&sample.deploy, &sample.record, Scope::Whole, &mut cache, later).unwrap();
    let files = cache.len();
    assert_eq!(files, 9, "8 files and the record");
    verify(&sample.deploy, &sample.record, Scope::Whole, &mut cache, later).unwrap();
    assert_eq!(cache.len(), files);

    fs::write(sample.file("workers/index/public/css/a.css"), "b{}").unwrap();
    verify(&sample.deploy, &sample.record, Scope::Whole, &mut cache, later).unwrap_err();
}

#[rstest]
#[case::changed_file(
    |s: &mut Sample| fs::write(s.file("workers/index/public/css/a.css"), "b{}").unwrap(),
    "workers/index/public/css/a.css: has SHA-256"
)]
#[case::surplus_file(
    |s: &mut Sample| fs::write(s.file("workers/index/config/more.yaml"), "").unwrap(),
    "workers/index/config/more.yaml: is not part of the deployment"
)]
#[case::missing_file(
    |s: &mut Sample| fs::remove_file(s.file("server/public/admin/index.html")).unwrap(),
    "server/public/admin/index.html: is missing"
)]
#[case::link_for_a_guarded_folder(
    |s: &mut Sample| {
        fs::remove_dir_all(s.file("workers/index/bin")).unwrap();
        symlink("/usr/bin", s.file("workers/index/bin")).unwrap();
    },
    "workers/index/bin: is a symbolic link"
)]
#[case::public_sum(
    |s: &mut Sample| s.rewrite(|record| {
        let part = record.workers.get_mut(&"api".parse().unwrap()).unwrap();
        part.public_md5 = digest::md5(b"other");
    }),
    "workers/api: public_md5 is not what its files add up to"
)]
#[case::whether_there_are_public_files(
    |s: &mut Sample| s.rewrite(|record| record.server.as_mut().unwrap().has_public = false),
    "server: has_public is not what its files add up to"
)]
#[case::no_record(
    |s: &mut Sample| fs::remove_file(s.deploy.record(&s.record.git_commit)).unwrap(),
    "deployment.json: does not exist"
)]
fn what_is_public_is_verified_without_the_rest(
    #[case] spoil: fn(&mut Sample),
    #[case] message: &str,
) {
    let mut sample = Sample::new();
    sample.verify_as(Scope::Public).unwrap();
    spoil(&mut sample);
    let problems = sample.problems_as(Scope::Public);
    assert!(problems.len() == 1 && problems[0].contains(message), "{problems:#?}");
}

#[test]
fn who_may_not_read_programs_and_private_files_verifies_what_is_public() {
    let sample = Sample::new();
    stranger(sample.deploy.path(), || {
        sample.verify_as(Scope::Public).unwrap();
        let problems = sample.problems();
        for folder in ["workers/index/bin", "workers/index/private", "server/bin"] {
            let denied = format!("{folder}: Permission denied");
            assert!(problems.iter().any(|it| it.contains(&denied)), "{problems:#?}");
        }
        assert!(!problems.iter().any(|it| it.contains("public")), "{problems:#?}");
    });
    fs::write(sample.file("workers/index/public/css/a.css"), "b{}").unwrap();
    stranger(sample.deploy.path(), || {
        let [problem] = sample.problems_as(Scope::Public).try_into().unwrap();
        assert!(problem.contains("a.css: has SHA-256"), "{problem}");
    });
}
