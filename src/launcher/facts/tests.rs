use std::fs;

use super::*;
use crate::config::settings::Grant;
use crate::ids::Sha256;
use crate::launcher::fixtures;
use crate::store::deployment::{SCHEMA, WorkerFiles, WorkerPart};
use rstest::rstest;

/// A deployment folder and a source tree, each with worker `index`.
struct Files {
    dir: tempfile::TempDir,
    config: LauncherConfig,
    digests: DigestCache,
}

const COMMIT: &str = "a1b2c3d4e5f6a7b8c9d0a1b2c3d4e5f6a7b8c9d0";
const OTHER: &str = "b1b2c3d4e5f6a7b8c9d0a1b2c3d4e5f6a7b8c9d0";

impl Files {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = LauncherConfig {
            deploy_dir: dir.path().join("deploy"),
            workers_dir: dir.path().join("workers"),
            ..fixtures::config()
        };
        let files = Self { dir, config, digests: DigestCache::default() };
        for (commit, part) in [(COMMIT, part([1; 16], [2; 16])), (OTHER, part([1; 16], [2; 16]))] {
            files.deploy(commit, part);
        }
        files.write("workers/index/bin/index", "program");
        files.write("workers/index/private/page.html", "page");
        files
    }

    fn write(&self, path: &str, content: &str) {
        let path = self.dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn deploy(&self, commit: &str, part: WorkerPart) {
        let deployment = Deployment {
            schema: SCHEMA,
            git_commit: commit.parse().unwrap(),
            git_commit_short: commit[..7].to_owned(),
            git_branch: None,
            git_tag: None,
            built_at: Timestamp::UNIX_EPOCH,
            server: None,
            workers: [("index".parse().unwrap(), part)].into(),
        };
        let json = String::from_utf8(deployment.to_json()).unwrap();
        self.write(&format!("deploy/{commit}/deployment.json"), &json);
    }

    fn read(&mut self, source: &Source) -> Result<Facts, LaunchError> {
        read(&self.config, &"index".parse().unwrap(), source, &mut self.digests)
    }

    fn fingerprint(&mut self, source: &Source) -> Md5 {
        self.read(source).unwrap().fingerprint
    }
}

fn part(binary: [u8; 16], private: [u8; 16]) -> WorkerPart {
    let zero = Md5::new([0; 16]);
    WorkerPart {
        path: "workers/index".to_owned(),
        binary: "bin/index".to_owned(),
        binary_md5: Md5::new(binary),
        size_bytes: 1,
        route: crate::ids::RoutePath::root(),
        built_from: COMMIT.parse().unwrap(),
        inputs_md5: zero,
        public_md5: zero,
        private_md5: Md5::new(private),
        tree_md5: zero,
        files: WorkerFiles::default(),
        sha256: [("bin/index".to_owned(), Sha256::new([0; 32]))].into(),
    }
}

fn deployment(commit: &str) -> Source {
    Source::Deployment(commit.parse().unwrap())
}

#[test]
fn the_same_worker_in_another_deployment_has_not_changed() {
    let mut files = Files::new();
    let own_folder = [("DATA".to_owned(), "${WORKER_BASE}/x ${DEPLOYMENT_BASE}".to_owned())];
    files.config.workers.default.env.extend(own_folder);
    let (one, other) =
        (files.read(&deployment(COMMIT)).unwrap(), files.read(&deployment(OTHER)).unwrap());
    assert_ne!(one.settings.env["DATA"], other.settings.env["DATA"]);
    assert_ne!(one.base, other.base);
    assert_eq!(one.fingerprint, other.fingerprint);
}

#[test]
fn a_copy_tells_the_same_as_the_deployment_and_is_the_one_that_is_read() {
    let mut files = Files::new();
    let yaml = "memory_max: 64M\nenv: {DATA: '${WORKER_BASE}/x'}\n";
    files.write(&format!("deploy/{COMMIT}/workers/index/config/worker.yaml"), yaml);
    files.write("copy/config/worker.yaml", yaml);
    let (worker, commit) = ("index".parse().unwrap(), COMMIT.parse().unwrap());
    let (copy, part) = (files.dir.path().join("copy"), part([1; 16], [2; 16]));
    let of_copy = |files: &Files| of_copy(&files.config, &worker, &commit, &part, &copy).unwrap();
    let facts = of_copy(&files);
    assert_eq!(facts, files.read(&deployment(COMMIT)).unwrap());
    // Written by a deployer after the copy was made.
    files.write(&format!("deploy/{COMMIT}/workers/index/config/worker.yaml"), "memory_max: 9G\n");
    assert_eq!(of_copy(&files), facts);
}

#[test]
fn another_public_file_or_source_is_no_change() {
    let mut files = Files::new();
    let before = files.fingerprint(&deployment(OTHER));
    let mut part = part([1; 16], [2; 16]);
    (part.public_md5, part.tree_md5) = (Md5::new([9; 16]), Md5::new([9; 16]));
    files.deploy(OTHER, part);
    assert_eq!(files.fingerprint(&deployment(OTHER)), before);
}

#[rstest]
#[case::binary(|files: &mut Files| files.deploy(OTHER, part([9; 16], [2; 16])))]
#[case::private_files(|files: &mut Files| files.deploy(OTHER, part([1; 16], [9; 16])))]
#[case::server_settings(|files: &mut Files| files.config.workers.default.go_max_procs = Some(7))]
#[case::own_settings(|files: &mut Files| {
    files.write(&format!("deploy/{OTHER}/workers/index/config/worker.yaml"), "memory_max: 64M\n");
})]
#[case::sandbox(|files: &mut Files| {
    files.config.workers.default.sandbox.memory_deny_write_execute = false;
})]
fn a_change_shows(#[case] change: fn(&mut Files)) {
    let mut files = Files::new();
    let before = files.fingerprint(&deployment(OTHER));
    change(&mut files);
    assert_ne!(files.fingerprint(&deployment(OTHER)), before);
}

#[rstest]
#[case("bin/index", true)]
#[case("private/page.html", false)]
#[case("config/new.yaml", true)]
#[case("bin/another", false)]
#[case("public/style.css", false)]
#[case("src/main.rs", false)]
fn the_tree_is_hashed(#[case] file: &str, #[case] changed: bool) {
    let mut files = Files::new();
    let before = files.fingerprint(&Source::Tree);
    files.write(&format!("workers/index/{file}"), "changed");
    assert_eq!(files.fingerprint(&Source::Tree) != before, changed);
}

#[rstest]
#[case("index")]
#[case("shared")]
fn private_files_count_in_the_tree_where_the_worker_says_so(#[case] folder: &str) {
    let mut files = Files::new();
    files.write("workers/index/config/worker.yaml", "restart_on_private: true\n");
    let before = files.fingerprint(&Source::Tree);
    files.write(&format!("workers/{folder}/private/page.html"), "changed");
    assert_ne!(files.fingerprint(&Source::Tree), before);
}

#[test]
fn with_run_all_of_bin_counts() {
    let mut files = Files::new();
    files.write("workers/index/config/worker.yaml", "run: [/bin/sh, bin/app]\n");
    let before = files.fingerprint(&Source::Tree);
    files.write("workers/index/bin/library", "new");
    assert_ne!(files.fingerprint(&Source::Tree), before);
}

impl Files {
    /// Has root grant credential `db`, in `file` of this folder, and the worker ask for it.
    fn with_credential(mut self, file: &str) -> Self {
        let credentials = [("db".parse().unwrap(), self.dir.path().join(file))].into();
        let grant = Grant { credentials, ..Grant::default() };
        self.config.workers.grants = [("index".parse().unwrap(), grant)].into();
        self.config.config_dir = self.dir.path().join("etc");
        let yaml = format!("deploy/{OTHER}/workers/index/config/worker.yaml");
        self.write(&yaml, "credentials: [db]\n");
        self.write(file, "old");
        self
    }
}

#[test]
fn a_secret_that_was_replaced_is_a_change() {
    let mut files = Files::new().with_credential("etc/credentials/db");
    let before = files.fingerprint(&deployment(OTHER));
    assert_eq!(files.fingerprint(&deployment(OTHER)), before);
    files.write("etc/credentials/db", "newer");
    assert_ne!(files.fingerprint(&deployment(OTHER)), before);
}

#[test]
fn a_secret_elsewhere_is_not_looked_at() {
    let mut files = Files::new().with_credential("elsewhere/db");
    let before = files.fingerprint(&deployment(OTHER));
    files.write("elsewhere/db", "newer");
    assert_eq!(files.fingerprint(&deployment(OTHER)), before);
    // Another place for it is another setting.
    let mut moved = Files::new().with_credential("elsewhere/db2");
    assert_ne!(moved.fingerprint(&deployment(OTHER)), before);
}

#[test]
fn a_secret_that_is_missing_is_named() {
    for file in ["etc/credentials/db", "elsewhere/db"] {
        let mut files = Files::new().with_credential(file);
        fs::remove_file(files.dir.path().join(file)).unwrap();
        let refusal = files.read(&deployment(OTHER)).unwrap_err().to_string();
        assert!(refusal.contains(&format!("{file} is missing")), "{refusal}");
    }
}

#[test]
fn what_root_does_not_grant_is_refused_in_production_only() {
    let mut files = Files::new();
    let asks = "credentials: [db]\n";
    files.write(&format!("deploy/{OTHER}/workers/index/config/worker.yaml"), asks);
    files.write("workers/index/config/worker.yaml", asks);
    let refusal = files.read(&deployment(OTHER)).unwrap_err().to_string();
    assert!(refusal.starts_with("index: its config/worker.yaml asks for"), "{refusal}");
    assert!(refusal.contains("/etc/tqserver/server.yaml: `index: {credentials:"), "{refusal}");
    files.config.mode = Mode::Dev;
    assert!(files.read(&Source::Tree).is_ok());
}

#[test]
fn refusals_say_what_to_do() {
    let mut files = Files::new();
    let refusal = |read: Result<Facts, LaunchError>| read.unwrap_err().to_string();

    fs::remove_file(files.dir.path().join("workers/index/bin/index")).unwrap();
    let unbuilt = refusal(files.read(&Source::Tree));
    assert!(unbuilt.contains("bin/index is missing: `tqctl build --dev`"), "{unbuilt}");

    let mut config = files.config.clone();
    let stranger = "stranger".parse().unwrap();
    let strange = refusal(read(&config, &stranger, &deployment(COMMIT), &mut files.digests));
    assert!(strange.contains("a1b2c3d has no such worker"), "{strange}");

    config.deploy_dir = "/nowhere".into();
    let nowhere = refusal(read(&config, &stranger, &deployment(COMMIT), &mut files.digests));
    assert!(nowhere.contains("/nowhere"), "{nowhere}");

    files.write("workers/index/config/worker.yaml", "memory_max: lots\n");
    let wrong = refusal(files.read(&Source::Tree));
    assert!(wrong.contains("worker.yaml:1:13"), "{wrong}");
}
