use std::fs::{self, DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::Path;

use rstest::rstest;

use super::*;
use crate::store::activate::activate;
use crate::store::deployment::Deployment;
use crate::store::digest::DigestCache;
use crate::store::layout::DeployDir;
use crate::store::lock::DeployLock;
use crate::store::manifest::{Manifest, PreviousStatus};
use crate::store::stage::clean;
use crate::store::testing::{as_user, at, commit, deploy};
use crate::store::verify::{Scope, verify};

#[rstest]
#[case("workers/index/bin", true)]
#[case("workers/index/private/views/a.html", true)]
#[case("server/bin/tqserver", true)]
#[case("server/private", true)]
#[case("workers/index/public/bin", false)]
#[case("workers/index/config/worker.yaml", false)]
#[case("workers/bin", false)]
#[case("workers/private/public/a.css", false)]
#[case("workers/index/binary", false)]
#[case("bin/index", false)]
#[case("", false)]
fn programs_and_private_files_are_guarded(#[case] path: &str, #[case] guarded: bool) {
    assert_eq!(is_guarded(path), guarded);
}

/// Users of one group, and that group.
const ADA: u32 = 60_001;
const BOB: u32 = 60_002;
const GROUP: u32 = 60_000;

/// The deployment folder as a package makes it; `None` without root, who alone can make it and
/// act for two users.
fn shared_folder() -> Option<(tempfile::TempDir, DeployDir)> {
    if !nix::unistd::geteuid().is_root() {
        return None;
    }
    let temp = tempfile::tempdir().unwrap();
    std::os::unix::fs::chown(temp.path(), Some(0), Some(GROUP)).unwrap();
    fs::set_permissions(temp.path(), Permissions::from_mode(0o2775)).unwrap();
    let deploy = DeployDir::new(temp.path());
    Some((temp, deploy))
}

/// What `tqctl build` does, without the compiler.
fn build(folder: &DeployDir, digit: char, second: i64) -> Deployment {
    let built = deploy(folder, &commit(digit));
    let lock = DeployLock::try_acquire(folder, "test", at(second)).unwrap();
    clean(&lock).unwrap();
    activate(&lock, &built, at(second), 20).unwrap();
    built
}

fn mode_and_group(path: &Path) -> (u32, u32) {
    let metadata = fs::metadata(path).unwrap();
    (metadata.mode() & 0o7777, metadata.gid())
}

#[test]
fn members_deploy_in_turn_and_remove_what_another_deployed() {
    let Some((_temp, folder)) = shared_folder() else { return };
    as_user(ADA, GROUP, || build(&folder, 'a', 1));
    as_user(BOB, GROUP, || build(&folder, 'b', 2));
    as_user(ADA, GROUP, || build(&folder, 'c', 3));
    let (manifest, _) = Manifest::read(&folder).unwrap();
    let previous = &manifest.previous_deployments[0];
    assert_eq!(previous.git_commit, commit('b'));
    assert_eq!(previous.status, PreviousStatus::RollbackAvailable);

    as_user(BOB, GROUP, || fs::remove_dir_all(folder.commit_dir(&commit('a'))).unwrap());
    assert_eq!(folder.deployments().unwrap(), [commit('b'), commit('c')]);
}

#[test]
fn what_is_made_belongs_to_the_group() {
    let Some((_temp, folder)) = shared_folder() else { return };
    as_user(ADA, GROUP, || build(&folder, 'a', 1));
    let made = folder.commit_dir(&commit('a'));
    for (path, mode) in [
        ("", 0o2775),
        ("workers", 0o2775),
        ("workers/index/public/css", 0o2775),
        ("workers/index/config", 0o2775),
        ("workers/index/bin", 0o2770),
        ("workers/index/private", 0o2770),
        ("workers/index/private/views", 0o2770),
        ("server/bin", 0o2770),
        ("deployment.json", 0o644),
        ("workers/index/bin/index", 0o755),
        ("workers/index/private/views/index.html", 0o644),
    ] {
        assert_eq!(mode_and_group(&made.join(path)), (mode, GROUP), "{path}");
    }
    for document in [folder.manifest(), folder.lock_file()] {
        assert_eq!(mode_and_group(&document), (0o664, GROUP), "{}", document.display());
    }
}

#[test]
fn others_read_what_is_public_and_change_nothing() {
    let Some((_temp, folder)) = shared_folder() else { return };
    let built = as_user(ADA, GROUP, || build(&folder, 'a', 1));
    as_user(65534, 65534, || {
        Manifest::read(&folder).unwrap();
        let verify = |scope| verify(&folder, &built, scope, &mut DigestCache::default(), at(9));
        verify(Scope::Public).unwrap();
        verify(Scope::Whole).unwrap_err();
        DeployLock::acquire(&folder, "test", at(9)).unwrap_err();
        fs::remove_file(folder.manifest()).unwrap_err();
    });
}

#[test]
fn a_build_of_another_user_that_was_killed_stops_nobody() {
    let Some((_temp, folder)) = shared_folder() else { return };
    let left = folder.staging(&commit('a'), 1);
    as_user(ADA, GROUP, || {
        DirBuilder::new().mode(0o700).create(&left).unwrap();
        fs::create_dir(left.join("workers")).unwrap();
    });
    as_user(BOB, GROUP, || build(&folder, 'b', 2));
    assert!(left.exists(), "it may still be at work");
    as_user(ADA, GROUP, || build(&folder, 'c', 3));
    assert!(!left.exists());
}
