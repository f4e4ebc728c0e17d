use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;

use rstest::rstest;

use super::*;

/// Far enough from now for any file of this test to have settled.
fn later() -> Timestamp {
    Timestamp::now() + jiff::SignedDuration::from_mins(1)
}

fn fresh(root: &Path) -> TreeDigest {
    tree(root, &mut DigestCache::default(), later()).unwrap()
}

fn sample() -> tempfile::TempDir {
    let temp = tempfile::tempdir().unwrap();
    for (path, content) in [
        ("bin/index", "binary"),
        ("public/css/a.css", "a{}"),
        ("private/views/index.html", "<p>"),
        ("config/worker.yaml", "route: /"),
        ("top", ""),
    ] {
        let path = temp.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    temp
}

#[test]
fn files_have_their_sums_sizes_and_paths() {
    let temp = sample();
    fs::set_permissions(temp.path().join("bin/index"), Permissions::from_mode(0o755)).unwrap();
    let digest = fresh(temp.path());
    let paths: Vec<_> = digest.files.keys().map(String::as_str).collect();
    let expected =
        ["bin/index", "config/worker.yaml", "private/views/index.html", "public/css/a.css", "top"];
    assert_eq!(paths, expected);
    let empty = digest.files["top"];
    assert_eq!(empty.md5.to_string(), "d41d8cd98f00b204e9800998ecf8427e");
    assert_eq!(
        empty.sha256.to_string(),
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    );
    assert_eq!((empty.size, empty.executable), (0, false));
    assert_eq!((digest.files["bin/index"].size, digest.files["bin/index"].executable), (6, true));
}

#[rstest]
#[case::content(|root: &Path| fs::write(root.join("top"), "x").unwrap())]
#[case::rename(|root: &Path| fs::rename(root.join("top"), root.join("tip")).unwrap())]
#[case::mode(|root: &Path| fs::set_permissions(root.join("top"), Permissions::from_mode(0o755)).unwrap())]
#[case::new(|root: &Path| fs::write(root.join("new"), "").unwrap())]
#[case::gone(|root: &Path| fs::remove_file(root.join("top")).unwrap())]
#[case::moved(|root: &Path| fs::rename(root.join("top"), root.join("bin/top")).unwrap())]
fn any_change_changes_the_sum(#[case] change: fn(&Path)) {
    let temp = sample();
    let before = fresh(temp.path());
    change(temp.path());
    assert_ne!(fresh(temp.path()).md5, before.md5);
}

#[test]
fn equal_folders_have_equal_sums_and_empty_folders_do_not_count() {
    let (one, other) = (sample(), sample());
    fs::create_dir_all(other.path().join("empty/deep")).unwrap();
    assert_eq!(fresh(one.path()), fresh(other.path()));
}

#[test]
fn an_absent_folder_is_as_an_empty_one() {
    let temp = tempfile::tempdir().unwrap();
    assert_eq!(fresh(&temp.path().join("absent")), fresh(temp.path()));
    assert_eq!(fresh(temp.path()).md5, md5(b""));
}

#[test]
fn some_folders_alone_have_the_sum_they_have_within_all() {
    let temp = sample();
    fs::write(temp.path().join("configuration"), "not below config").unwrap();
    let all = fresh(temp.path());
    let folders = ["private", "config", "absent"];
    let some = subtrees(temp.path(), &folders, &mut DigestCache::default(), later()).unwrap();
    let paths: Vec<_> = some.files.keys().map(String::as_str).collect();
    assert_eq!(paths, ["config/worker.yaml", "private/views/index.html"]);
    assert_eq!(some.md5, all.md5_of(&folders));
    assert_ne!(some.md5, all.md5_of(&["private"]));
    let private: Vec<_> = all.below("private").map(|(path, _)| path).collect();
    assert_eq!(private, ["views/index.html"]);
}

#[test]
fn what_is_no_plain_file_is_refused_by_name() {
    type Spoil = fn(&Path);
    let cases: [(Spoil, &str); 6] = [
        (|root| symlink("top", root.join("bin/link")).unwrap(), "bin/link: is a symbolic link"),
        (|root| symlink("bin", root.join("folder")).unwrap(), "folder: is a symbolic link"),
        (|root| symlink("nowhere", root.join("dangling")).unwrap(), "dangling: is a symbolic link"),
        (|root| drop(UnixListener::bind(root.join("bin/s")).unwrap()), "bin/s: is not a regular"),
        (
            |root| fs::write(root.join(std::ffi::OsStr::from_bytes(b"\xff")), "").unwrap(),
            "has a name that is not UTF-8",
        ),
        (|root| fs::create_dir_all(root.join("d/".repeat(66))).unwrap(), "64 folders deep"),
    ];
    for (spoil, message) in cases {
        let temp = sample();
        spoil(temp.path());
        let error = tree(temp.path(), &mut DigestCache::default(), later()).unwrap_err();
        assert!(error.to_string().contains(message), "{error}");
    }
}

#[test]
fn links_at_the_top_are_refused_too() {
    let temp = sample();
    let link = temp.path().join("bin/link");
    symlink(temp.path().join("public"), &link).unwrap();
    let cache = &mut DigestCache::default();
    assert!(matches!(tree(&link, cache, later()), Err(DigestError::Symlink(path)) if path == link));
    let error = subtrees(&temp.path().join("bin"), &["link"], cache, later()).unwrap_err();
    assert!(matches!(error, DigestError::Symlink(path) if path == link));
}

/// A digest that cannot come from reading shows that nothing was read.
#[test]
fn a_warm_cache_answers_without_reading() {
    let temp = sample();
    let mut cache = DigestCache::default();
    let real = tree(temp.path(), &mut cache, later()).unwrap();
    assert_eq!(cache.len(), 5);

    let path = temp.path().join("top");
    let key = cache::Key::of(&rustix::fs::stat(&path).unwrap());
    let planted = FileDigest { md5: md5(b"planted"), ..real.files["top"] };
    cache.insert(key, planted, later());
    assert_eq!(tree(temp.path(), &mut cache, later()).unwrap().files["top"], planted);

    fs::write(&path, "changed").unwrap();
    let changed = tree(temp.path(), &mut cache, later()).unwrap();
    assert_eq!(changed.files["top"].md5, md5(b"changed"));
}

#[test]
fn files_just_written_are_read_again() {
    let temp = sample();
    let mut cache = DigestCache::default();
    tree(temp.path(), &mut cache, Timestamp::now()).unwrap();
    assert_eq!(cache.len(), 0);
}

#[test]
fn sums_of_a_worker() {
    let temp = sample();
    fs::write(temp.path().join("bin/data"), "1234").unwrap();
    let digest = fresh(temp.path());
    let worker = "index".parse().unwrap();

    let built = WorkerSums::of(&digest, &worker, "bin/index").unwrap();
    assert_eq!((built.binary_md5, built.size_bytes), (md5(b"binary"), 6));
    assert_eq!(built.private_md5, digest.md5_of(&["config", "private"]));
    assert_eq!((built.public_md5, built.tree_md5), (digest.md5_of(&["public"]), digest.md5));

    let run = WorkerSums::of(&digest, &worker, "bin/data").unwrap();
    assert_eq!((run.binary_md5, run.size_bytes), (digest.md5_of(&["bin"]), 10));
    assert_eq!(WorkerSums::of(&digest, &worker, "bin/absent"), None);
}
