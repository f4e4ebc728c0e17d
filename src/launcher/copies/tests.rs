use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;
use crate::store::testing::{commit, deploy};
use rstest::rstest;

/// A deployment, and a folder for copies of it.
struct Bench {
    dir: tempfile::TempDir,
    deploy: DeployDir,
    commit: CommitId,
    copies: Copies,
}

impl Bench {
    fn new() -> Self {
        Self::within(Limits::default())
    }

    fn within(limits: Limits) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let deploy_dir = DeployDir::new(dir.path().join("deploy"));
        fs::create_dir(deploy_dir.path()).unwrap();
        let commit = commit('a');
        deploy(&deploy_dir, &commit);
        let copies = Copies::new(dir.path().join("copies"), limits);
        Self { dir, deploy: deploy_dir, commit, copies }
    }

    fn folder(&self) -> PathBuf {
        self.deploy.worker_dir(&self.commit, &index())
    }

    fn take(&self) -> Result<VerifiedCopy, CopyError> {
        self.copies.take(&self.deploy, &self.commit, &index(), None)
    }

    /// Takes a copy, and does something to the deployment when it comes to this file.
    fn take_while(&self, at: &str, act: impl Fn(&Self)) -> Result<VerifiedCopy, CopyError> {
        self.copies.take_in_steps(&self.deploy, &self.commit, &index(), None, &mut |path| {
            if path == at {
                act(self);
            }
        })
    }

    /// What is in the folder of copies, two levels deep.
    fn kept(&self) -> Vec<String> {
        let entries = |path: &Path| {
            let mut names: Vec<_> = fs::read_dir(path)
                .map(|found| found.map(|e| e.unwrap().file_name().into_string().unwrap()).collect())
                .unwrap_or_default();
            names.sort();
            names
        };
        let root = self.dir.path().join("copies");
        let below = |name: &String| {
            let inner = entries(&root.join(name));
            inner.into_iter().map(move |copy| format!("{name}/{copy}")).collect::<Vec<_>>()
        };
        entries(&root).iter().flat_map(below).collect()
    }
}

fn index() -> WorkerName {
    "index".parse().unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn a_copy_has_the_files_of_the_record_and_nothing_else() {
    let bench = Bench::new();
    fs::set_permissions(bench.folder().join("bin"), Permissions::from_mode(0o2750)).unwrap();
    fs::write(bench.folder().join("private/surplus"), "not in the record").unwrap();
    symlink("/etc/shadow", bench.folder().join("public/link")).unwrap();
    let copy = bench.take().unwrap();
    for (path, expected) in [
        ("bin/index", 0o755),
        ("bin", 0o755),
        ("", 0o755),
        ("private/views/index.html", 0o644),
        ("private/views", 0o755),
    ] {
        assert_eq!(mode(&copy.folder.join(path)), expected, "{path}");
    }
    assert!(!copy.folder.join("private/surplus").exists());
    assert!(copy.folder.join("public/link").symlink_metadata().is_err());
    let program = |folder: &Path| fs::read(folder.join("bin/index")).unwrap();
    assert_eq!(program(&copy.folder), program(&bench.folder()));
}

/// What a deployer can do to the folder before a start.
#[rstest]
#[case::a_byte(
    |b: &Bench| {
        let path = b.folder().join("bin/index");
        let mut bytes = fs::read(&path).unwrap();
        bytes[200] ^= 1;
        fs::write(path, bytes).unwrap();
    },
    "workers/index/bin/index: has SHA-256"
)]
#[case::missing(
    |b: &Bench| fs::remove_file(b.folder().join("bin/index")).unwrap(),
    "workers/index/bin/index: is missing"
)]
#[case::not_executable(
    |b: &Bench| fs::set_permissions(b.folder().join("bin/index"), Permissions::from_mode(0o644))
        .unwrap(),
    "bin/index: is not executable"
)]
#[case::executable(
    |b: &Bench| fs::set_permissions(
        b.folder().join("private/views/index.html"), Permissions::from_mode(0o755),
    ).unwrap(),
    "private_md5 is not what its files add up to"
)]
#[case::file_is_a_link(
    |b: &Bench| {
        let path = b.folder().join("bin/index");
        fs::rename(&path, b.dir.path().join("elsewhere")).unwrap();
        symlink(b.dir.path().join("elsewhere"), path).unwrap();
    },
    "bin/index: is a symbolic link"
)]
#[case::link_on_the_way(
    |b: &Bench| {
        let path = b.folder().join("private");
        fs::rename(&path, b.folder().join("moved")).unwrap();
        symlink("moved", path).unwrap();
    },
    "private/views/index.html: is a symbolic link"
)]
#[case::worker_is_a_link(
    |b: &Bench| {
        fs::rename(b.folder(), b.dir.path().join("moved")).unwrap();
        symlink(b.dir.path().join("moved"), b.folder()).unwrap();
    },
    "is a symbolic link"
)]
#[case::deployment_is_a_link(
    |b: &Bench| {
        let path = b.deploy.commit_dir(&b.commit);
        fs::rename(&path, b.dir.path().join("moved")).unwrap();
        symlink(b.dir.path().join("moved"), path).unwrap();
    },
    "is not a folder"
)]
#[case::record_is_a_link(
    |b: &Bench| {
        let path = b.deploy.record(&b.commit);
        fs::rename(&path, b.dir.path().join("moved")).unwrap();
        symlink(b.dir.path().join("moved"), path).unwrap();
    },
    "deployment.json: is not a regular file"
)]
#[case::fifo(
    |b: &Bench| {
        let path = b.folder().join("bin/index");
        fs::remove_file(&path).unwrap();
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    },
    "bin/index: is not a regular file"
)]
#[case::folder(
    |b: &Bench| {
        let path = b.folder().join("bin/index");
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
    },
    "bin/index: is not a regular file"
)]
#[case::gone(
    |b: &Bench| fs::remove_dir_all(b.deploy.commit_dir(&b.commit)).unwrap(),
    "deployment aaaaaaa is not in"
)]
#[case::other_record(
    |b: &Bench| {
        let other = commit('b');
        deploy(&b.deploy, &other);
        fs::rename(b.deploy.record(&other), b.deploy.record(&b.commit)).unwrap();
    },
    "is the record of bbbbbbb"
)]
fn a_deployment_that_was_tampered_with_is_refused(
    #[case] tamper: fn(&Bench),
    #[case] reason: &str,
) {
    let bench = Bench::new();
    tamper(&bench);
    let error = bench.take().unwrap_err().to_string();
    assert!(error.contains(reason), "{error}");
    assert!(bench.kept().is_empty(), "{:?}", bench.kept());
}

/// Files are copied in the order of their paths: bin/, config/, private/, public/.
#[rstest]
#[case::a_file_that_is_still_to_come(
    |b: &Bench| fs::write(b.folder().join("private/views/index.html"), "evil").unwrap(),
    Some("index.html: has SHA-256")
)]
#[case::a_folder_for_a_link(
    |b: &Bench| {
        let elsewhere = b.dir.path().join("elsewhere");
        fs::create_dir_all(elsewhere.join("views")).unwrap();
        fs::write(elsewhere.join("views/index.html"), "evil").unwrap();
        fs::rename(b.folder().join("private"), b.dir.path().join("moved")).unwrap();
        symlink(elsewhere, b.folder().join("private")).unwrap();
    },
    Some("is a symbolic link")
)]
#[case::a_file_that_was_copied(
    |b: &Bench| fs::write(b.folder().join("bin/index"), "evil").unwrap(),
    None
)]
#[case::the_whole_deployment(
    |b: &Bench| {
        let path = b.deploy.commit_dir(&b.commit);
        fs::rename(&path, b.dir.path().join("moved")).unwrap();
        fs::create_dir_all(path.join("workers/index/private/views")).unwrap();
        fs::write(path.join("workers/index/private/views/index.html"), "evil").unwrap();
    },
    None
)]
fn what_is_swapped_meanwhile_is_noticed_or_comes_too_late(
    #[case] swap: fn(&Bench),
    #[case] refusal: Option<&str>,
) {
    let bench = Bench::new();
    let taken = bench.take_while("config/worker.yaml", swap);
    match refusal {
        Some(reason) => {
            let error = taken.unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
            assert!(bench.kept().is_empty());
        }
        None => {
            let (other, folder) = (Bench::new(), taken.unwrap().folder);
            for path in ["bin/index", "private/views/index.html"] {
                let read = |folder: &Path| fs::read(folder.join(path)).unwrap();
                assert_eq!(read(&folder), read(&other.folder()), "{path}");
            }
        }
    }
}

#[test]
fn an_unchanged_worker_is_copied_once() {
    let bench = Bench::new();
    let first = bench.take().unwrap();
    let unread = |_: &Bench| panic!("copied again");
    // What became of the deployment's files does not matter any more.
    fs::write(bench.folder().join("bin/index"), "evil").unwrap();
    assert_eq!(bench.take_while("bin/index", unread).unwrap(), first);
    assert_ne!(fs::read(first.folder.join("bin/index")).unwrap(), b"evil");
}

#[test]
fn a_changed_worker_has_a_copy_of_its_own() {
    let bench = Bench::new();
    let first = bench.take().unwrap();
    let worker: WorkerName = "api".parse().unwrap();
    let other = bench.copies.take(&bench.deploy, &bench.commit, &worker, None).unwrap();
    assert_ne!(first.folder, other.folder);
    assert_eq!(bench.kept().len(), 2);
    let stranger = "stranger".parse().unwrap();
    let error = bench.copies.take(&bench.deploy, &bench.commit, &stranger, None).unwrap_err();
    assert_eq!(error.to_string(), "deployment aaaaaaa has no such worker");
}

#[rstest]
#[case(Limits { bytes: 200, ..Limits::default() }, "which is the most that is copied")]
#[case(Limits { files: 3, ..Limits::default() }, "has 4 files, and at most 3")]
#[case(Limits { time: Duration::ZERO, ..Limits::default() }, "not copied within 0 seconds")]
fn a_copy_is_bounded(#[case] limits: Limits, #[case] reason: &str) {
    let bench = Bench::within(limits);
    let error = bench.take().unwrap_err().to_string();
    assert!(error.contains(reason), "{error}");
    assert!(bench.kept().is_empty());
}

#[test]
fn a_copy_that_is_in_use_stays_and_all_else_goes() {
    let bench = Bench::new();
    let used = bench.take().unwrap().folder;
    let worker: WorkerName = "api".parse().unwrap();
    let unused = bench.copies.take(&bench.deploy, &bench.commit, &worker, None).unwrap().folder;
    let left = bench.dir.path().join("copies/.tmp-1");
    fs::create_dir(&left).unwrap();
    fs::write(left.join("half"), "half a file").unwrap();

    let removed = bench.copies.retain(&BTreeSet::from([used.clone()])).unwrap();
    assert_eq!(BTreeSet::from_iter(removed), BTreeSet::from([unused, left]));
    assert!(used.join("bin/index").is_file());
    assert_eq!(bench.kept().len(), 1);

    bench.copies.retain(&BTreeSet::new()).unwrap();
    assert!(bench.kept().is_empty());
    assert!(bench.copies.retain(&BTreeSet::new()).unwrap().is_empty());
}
