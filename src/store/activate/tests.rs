use std::fs;
use std::os::unix::fs::symlink;

use super::*;
use crate::store::layout::DeployDir;
use crate::store::testing::{at, commit, deploy};
use rstest::rstest;

struct Sample {
    _temp: tempfile::TempDir,
    deploy: DeployDir,
    lock: DeployLock,
}

impl Sample {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let deploy = DeployDir::new(temp.path());
        let lock = DeployLock::try_acquire(&deploy, "test", at(0)).unwrap();
        Self { _temp: temp, deploy, lock }
    }

    fn build(&self, digit: char) -> Deployment {
        deploy(&self.deploy, &commit(digit))
    }

    fn activate(&self, deployment: &Deployment, second: i64) -> Result<Manifest, ActivateError> {
        activate(&self.lock, deployment, at(second), 3)
    }
}

fn history(manifest: &Manifest) -> Vec<(CommitId, i64, PreviousStatus)> {
    let entry =
        |e: &PreviousDeployment| (e.git_commit.clone(), e.deployed_at.as_second(), e.status);
    manifest.previous_deployments.iter().map(entry).collect()
}

#[test]
fn the_first_manifest_has_no_history_and_is_what_is_read() {
    let sample = Sample::new();
    let record = sample.build('a');
    let manifest = sample.activate(&record, 100).unwrap();
    assert_eq!(Manifest::read(&sample.deploy).unwrap().0, manifest);
    assert_eq!(manifest.deployment.deployment, record);
    assert_eq!((manifest.version, manifest.deployment.deployed_at), (at(100), at(100)));
    assert_eq!(manifest.deployment_id, "deploy-100");
    assert_eq!(manifest.deployment_path, format!("deploy/{}", commit('a')));
    assert_eq!(history(&manifest), []);
    assert!(!sample.deploy.manifest_new().exists());
}

#[test]
fn history_is_newest_first_without_repetition_and_bounded() {
    use PreviousStatus::*;
    let sample = Sample::new();
    let [a, b, c, d, e] = ['a', 'b', 'c', 'd', 'e'].map(|digit| sample.build(digit));
    sample.activate(&a, 1).unwrap();
    sample.activate(&b, 2).unwrap();
    let rolled_back = sample.activate(&a, 3).unwrap();
    assert_eq!(history(&rolled_back), [(commit('b'), 2, RollbackAvailable)]);

    fs::remove_dir_all(sample.deploy.commit_dir(&commit('b'))).unwrap();
    let third = sample.activate(&c, 4).unwrap();
    let expected = [(commit('a'), 3, RollbackAvailable), (commit('b'), 2, Removed)];
    assert_eq!(history(&third), expected);

    sample.activate(&d, 5).unwrap();
    let last = sample.activate(&e, 6).unwrap();
    let commits: Vec<_> = history(&last).into_iter().map(|(commit, ..)| commit).collect();
    assert_eq!(commits, [commit('d'), commit('c'), commit('a')]);
}

#[test]
fn repetitions_in_a_history_written_by_others_are_dropped() {
    let sample = Sample::new();
    let (a, b) = (sample.build('a'), sample.build('b'));
    sample.activate(&a, 1).unwrap();
    let mut manifest = sample.activate(&b, 2).unwrap();
    manifest.previous_deployments = vec![manifest.previous_deployments[0].clone(); 3];
    fs::write(sample.deploy.manifest(), manifest.to_json()).unwrap();
    let c = sample.activate(&sample.build('c'), 3).unwrap();
    let commits: Vec<_> = history(&c).into_iter().map(|(commit, ..)| commit).collect();
    assert_eq!(commits, [commit('b'), commit('a')]);
}

#[test]
fn repeating_a_commit_shows_in_the_id_even_within_one_second() {
    let sample = Sample::new();
    let record = sample.build('a');
    let first = sample.activate(&record, 7).unwrap();
    let second = sample.activate(&record, 7).unwrap();
    assert_ne!(first.deployment_id, second.deployment_id);
    assert_eq!(history(&second), []);
}

#[test]
fn what_is_not_there_is_not_activated() {
    let sample = Sample::new();
    let a = sample.build('a');
    sample.activate(&a, 1).unwrap();
    let before = fs::read(sample.deploy.manifest()).unwrap();

    let mut other = a.clone();
    other.git_tag = Some("v1".to_owned());
    assert!(matches!(sample.activate(&other, 2), Err(ActivateError::RecordDiffers(_))));
    let mut absent = a;
    absent.git_commit = commit('f');
    let error = sample.activate(&absent, 2).unwrap_err();
    assert!(matches!(error, ActivateError::Record(ReadError::Absent(_))), "{error}");
    assert_eq!(fs::read(sample.deploy.manifest()).unwrap(), before);
}

#[test]
fn a_damaged_manifest_is_replaced_but_one_of_another_version_is_not() {
    let sample = Sample::new();
    let a = sample.build('a');
    for damage in ["", "{\"schema\": 1, \"vers", "{}"] {
        fs::write(sample.deploy.manifest(), damage).unwrap();
        sample.activate(&a, 1).unwrap();
    }
    fs::remove_file(sample.deploy.manifest()).unwrap();
    symlink("elsewhere", sample.deploy.manifest()).unwrap();
    sample.activate(&a, 1).unwrap();
    assert!(sample.deploy.manifest().symlink_metadata().unwrap().is_file());

    fs::write(sample.deploy.manifest(), "{\"schema\": 2}").unwrap();
    let error = sample.activate(&a, 1).unwrap_err().to_string();
    assert!(error.contains("will not replace") && error.contains("upgrade tqserver"), "{error}");
    assert_eq!(fs::read_to_string(sample.deploy.manifest()).unwrap(), "{\"schema\": 2}");
}

#[test]
fn a_failing_write_leaves_the_old_manifest() {
    let sample = Sample::new();
    let (a, b) = (sample.build('a'), sample.build('b'));
    let old = sample.activate(&a, 1).unwrap();
    // Nothing can be created where a folder is, by root neither.
    fs::create_dir(sample.deploy.manifest_new()).unwrap();
    let error = sample.activate(&b, 2).unwrap_err();
    assert!(matches!(error, ActivateError::Io { .. }), "{error}");
    assert_eq!(Manifest::read(&sample.deploy).unwrap().0, old);
}

#[test]
fn two_that_race_take_turns_and_the_last_wins_whole() {
    let sample = Sample::new();
    let records = ['a', 'b', 'c', 'd'].map(|digit| sample.build(digit));
    let Sample { _temp, deploy, lock } = sample;
    drop(lock);
    std::thread::scope(|scope| {
        for record in &records {
            scope.spawn(|| {
                let lock = DeployLock::acquire(&deploy, "race", at(1)).unwrap();
                activate(&lock, record, at(1), 9).unwrap();
            });
        }
    });
    let (last, _) = Manifest::read(&deploy).unwrap();
    let mut commits: Vec<_> = history(&last).into_iter().map(|(commit, ..)| commit).collect();
    commits.push(last.current_deployment);
    commits.sort();
    assert_eq!(commits, records.map(|record| record.git_commit));
}

/// Not a test of its own: what [`killed_at_any_system_call_the_manifest_is_whole`] runs and kills.
#[test]
#[ignore = "run by another test"]
fn child() {
    let Some(folder) = std::env::var_os("TQ_TEST_DEPLOY") else { return };
    let deploy = DeployDir::new(folder);
    let record = Deployment::read(&deploy, &commit('b')).unwrap();
    let lock = DeployLock::acquire(&deploy, "child", at(2)).unwrap();
    activate(&lock, &record, at(2), 3).unwrap();
}

/// Kills a process that activates a deployment ahead of each of its system calls in turn, by
/// strace(1). The steps themselves are tested in `atomic`; this is about what they really do. Where
/// there is a sum of the manifest, it is true of it every time.
#[rstest]
#[case::alone(false)]
#[case::with_its_sum(true)]
fn killed_at_any_system_call_the_manifest_is_whole(#[case] with_sum: bool) {
    let Sample { _temp, deploy, lock } = Sample::new();
    let [a, b] = ['a', 'b'].map(|digit| self::deploy(&deploy, &commit(digit)));
    let old = activate(&lock, &a, at(1), 3).unwrap();
    drop(lock);
    let mut outcomes = std::collections::BTreeMap::new();
    for call in ["openat", "flock", "ftruncate", "fchmod", "write", "fsync", "rename", "close"] {
        for when in 1.. {
            if with_sum {
                fs::write(deploy.manifest_sum(), "").unwrap();
            }
            manifest_sum::write(&deploy, &old.to_json(), 0o644).unwrap();
            let status = std::process::Command::new("strace")
                .args(["--follow-forks", "--quiet=all", "--output=/dev/null", "--trace", call])
                .arg(format!("--inject={call}:signal=KILL:when={when}"))
                .arg(std::env::current_exe().unwrap())
                .args(["--ignored", "--exact", "store::activate::tests::child"])
                .env("TQ_TEST_DEPLOY", deploy.path())
                .stdout(std::process::Stdio::null())
                .status()
                .expect("this test needs strace: apt-get install strace");
            let (found, _) = Manifest::read(&deploy).unwrap();
            let new = found.deployment.deployment == b;
            assert!(new || found == old, "{call} {when}: {found:?}");
            if status.success() {
                assert!(new);
                break;
            }
            *outcomes.entry((call, new)).or_insert(0) += 1;
            // The lock went with its holder, and nothing that was left behind is in the way.
            let lock = DeployLock::try_acquire(&deploy, "next", at(3)).unwrap();
            activate(&lock, &b, at(3), 3).unwrap();
        }
    }
    // It did kill before and after the rename.
    assert!(outcomes[&("rename", false)] >= 1, "{outcomes:?}");
    assert!(outcomes[&("fsync", false)] >= 1 && outcomes[&("fsync", true)] >= 1, "{outcomes:?}");
}
