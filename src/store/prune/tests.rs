use std::fs::{self, File};
use std::time::{Duration, SystemTime};

use super::*;
use crate::store::activate::activate;
use crate::store::lock::DeployLock;
use crate::store::stage::Staging;
use crate::store::testing::{at, commit, fill, record};

const DAY: i64 = 24 * 60 * 60;

/// `letters` built on days 1, 2, 3, …, those in capitals with a tag; and the folder.
fn built(letters: &str) -> (tempfile::TempDir, DeployDir) {
    let temp = tempfile::tempdir().unwrap();
    let deploy = DeployDir::new(temp.path());
    for (letter, day) in letters.chars().zip(1..) {
        let commit = commit(letter.to_ascii_lowercase());
        let staging = Staging::begin(&deploy, &commit).unwrap();
        fill(staging.path());
        let mut record = record(staging.path(), &commit);
        record.built_at = at(day * DAY);
        record.git_tag = letter.is_ascii_uppercase().then(|| "v1".to_owned());
        staging.finish(&record).unwrap();
        let day = SystemTime::UNIX_EPOCH + Duration::from_secs((day * DAY) as u64);
        File::open(deploy.commit_dir(&commit)).unwrap().set_modified(day).unwrap();
    }
    (temp, deploy)
}

fn point_at(deploy: &DeployDir, letter: char, day: i64) {
    let lock = DeployLock::acquire(deploy, "a test", at(0)).unwrap();
    let record = Deployment::read(deploy, &commit(letter)).unwrap();
    activate(&lock, &record, at(day * DAY), 20).unwrap();
}

/// The letters of what goes, oldest first, on day `today`.
fn goes(deploy: &DeployDir, keep: usize, days: u32, needed: &str, today: i64) -> String {
    let needed = needed.chars().map(|letter| (commit(letter), "runs".to_owned())).collect();
    let plan = plan(deploy, Rules { keep, days }, &needed, at(today * DAY)).unwrap();
    let letters = plan.removable.iter().map(|it| it.commit.as_str().chars().next().unwrap());
    let letters: String = letters.collect();
    assert_eq!(letters.len() + plan.kept.len(), deploy.deployments().unwrap().len());
    assert_eq!(plan.bytes > 0, !letters.is_empty());
    letters
}

#[test]
fn the_newest_and_the_recent_are_kept_whichever_is_more() {
    let (_temp, deploy) = built("abcdef");
    assert_eq!(goes(&deploy, 2, 0, "", 100), "abcd");
    assert_eq!(goes(&deploy, 0, 3, "", 6), "abc");
    assert_eq!(goes(&deploy, 5, 3, "", 6), "a");
    assert_eq!(goes(&deploy, 1, 3, "", 6), "abc");
    assert_eq!(goes(&deploy, 9, 0, "", 100), "");
    // A clock that was set back makes none older.
    assert_eq!(goes(&deploy, 0, 1, "", 0), "");
}

#[test]
fn what_is_wanted_needed_or_tagged_stays_whatever_its_age() {
    let (_temp, deploy) = built("aBcdef");
    point_at(&deploy, 'a', 7);
    assert_eq!(goes(&deploy, 0, 0, "d", 1000), "cef");
    // Its activation counts as its age.
    point_at(&deploy, 'c', 50);
    assert_eq!(goes(&deploy, 1, 0, "", 1000), "defa");
    assert_eq!(goes(&deploy, 0, 94, "", 100), "def");
}

#[test]
fn what_cannot_be_read_stays() {
    let (_temp, deploy) = built("abc");
    fs::write(deploy.record(&commit('a')), "{").unwrap();
    assert_eq!(goes(&deploy, 0, 0, "", 1000), "bc");
    fs::write(deploy.manifest(), "{").unwrap();
    let error = plan(&deploy, Rules { keep: 0, days: 0 }, &BTreeMap::new(), at(0)).unwrap_err();
    assert!(matches!(error, PruneError::Manifest(_)), "{error}");
}
