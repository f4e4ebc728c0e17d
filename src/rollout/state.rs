//! What the daemon must remember over a restart: `state.json` in its state directory.
//!
//! Desired is not actual: `manifest.json` is the deployer's word, this file is the daemon's own
//! account of what served, what served well, and what failed.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ids::{CommitId, Generation, UnitName, WorkerName};
use crate::store::atomic;
use crate::store::manifest::DeployedBy;

/// The format this program writes.
const SCHEMA: u32 = 1;

/// How many outcomes are remembered.
const HISTORY: usize = 100;

/// The daemon's memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    schema: u32,
    /// The deployment whose routes were published last.
    #[serde(default)]
    pub current: Option<DeploymentRef>,
    /// The last deployment that came to serve whole.
    #[serde(default)]
    pub last_good: Option<DeploymentRef>,
    /// The deployment that was tried last and did not come to serve; not tried again until
    /// somebody asks, or activates another.
    #[serde(default)]
    pub failed: Option<FailedDeployment>,
    /// The last number of each worker's generations.
    #[serde(default)]
    pub generations: BTreeMap<WorkerName, Generation>,
    /// The units of the last published table.
    #[serde(default)]
    pub serving: Vec<UnitName>,
    /// The workers that are out of service.
    #[serde(default)]
    pub drained: BTreeSet<WorkerName>,
    /// What came of the last rollouts, newest last.
    #[serde(default)]
    pub history: Vec<HistoryEntry>,
    /// What was not even tried, newest last.
    #[serde(default)]
    pub refused: Vec<Refusal>,
}

/// A wish that was refused: nothing was started for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Which deployment the manifest asked for; `None` where it could not be read.
    pub deployment: Option<DeploymentRef>,
    /// Who activated it, as the manifest said.
    pub deployed_by: Option<DeployedBy>,
    /// Why.
    pub reason: String,
    /// When. What is refused again for the same reason, with nothing between, is remembered once.
    pub at: Timestamp,
}

/// One activation of one commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeploymentRef {
    /// The commit.
    pub commit: CommitId,
    /// The manifest's `deployment_id`.
    pub deployment_id: Option<String>,
}

/// A deployment that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedDeployment {
    /// Which.
    #[serde(flatten)]
    pub deployment: DeploymentRef,
    /// Why, in a line.
    pub reason: String,
    /// When.
    pub at: Timestamp,
}

/// One line of the history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// Which deployment.
    #[serde(flatten)]
    pub deployment: DeploymentRef,
    /// When it ended.
    pub at: Timestamp,
    /// `None` when it came to serve, else why not.
    pub failure: Option<String>,
    /// Who activated it, as the manifest said.
    #[serde(default)]
    pub deployed_by: Option<DeployedBy>,
    /// From the first start until it ended, in milliseconds; `None` where it was begun by a process
    /// before this one.
    #[serde(default)]
    pub took_ms: Option<u64>,
    /// The workers that got, or were to get, a new generation.
    #[serde(default)]
    pub started: Vec<WorkerName>,
}

/// A rollout that has ended.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// Of which deployment.
    pub deployment: DeploymentRef,
    /// See [`HistoryEntry::deployed_by`].
    pub deployed_by: Option<DeployedBy>,
    /// When it ended.
    pub at: Timestamp,
    /// See [`HistoryEntry::took_ms`].
    pub took_ms: Option<u64>,
    /// See [`HistoryEntry::started`].
    pub started: Vec<WorkerName>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            schema: SCHEMA,
            current: None,
            last_good: None,
            failed: None,
            generations: BTreeMap::new(),
            serving: Vec::new(),
            drained: BTreeSet::new(),
            history: Vec::new(),
            refused: Vec::new(),
        }
    }
}

impl State {
    /// Whether this deployment was tried last and failed.
    pub fn has_failed(&self, deployment: &DeploymentRef) -> bool {
        self.failed.as_ref().is_some_and(|failed| failed.deployment == *deployment)
    }

    /// The last deployment but `commit` that served, unless it failed afterwards.
    pub fn good_before(&self, commit: &CommitId) -> Option<&HistoryEntry> {
        let mut later = BTreeSet::from([commit]);
        let newest = self.history.iter().rev();
        let mut last = newest.filter(|entry| later.insert(&entry.deployment.commit));
        last.find(|entry| entry.failure.is_none())
    }

    /// A deployment serves.
    pub fn served(&mut self, attempt: Attempt) {
        self.current = Some(attempt.deployment.clone());
        self.last_good = Some(attempt.deployment.clone());
        self.failed = None;
        self.remember(attempt, None);
    }

    /// A deployment did not come to serve.
    pub fn did_not_serve(&mut self, attempt: Attempt, reason: String) {
        let (deployment, at) = (attempt.deployment.clone(), attempt.at);
        self.remember(attempt, Some(reason.clone()));
        self.failed = Some(FailedDeployment { deployment, reason, at });
    }

    /// A wish was refused.
    pub fn refuse(&mut self, refusal: Refusal) {
        let last_rollout = self.history.last().map(|entry| entry.at);
        let is_known = self.refused.last().is_some_and(|last| {
            Some(last.at) > last_rollout
                && (&last.deployment, &last.reason) == (&refusal.deployment, &refusal.reason)
        });
        if is_known {
            return;
        }
        let excess = (self.refused.len() + 1).saturating_sub(HISTORY);
        self.refused.drain(..excess);
        self.refused.push(refusal);
    }

    fn remember(&mut self, attempt: Attempt, failure: Option<String>) {
        let Attempt { deployment, deployed_by, at, took_ms, started } = attempt;
        let entry = HistoryEntry { deployment, at, failure, deployed_by, took_ms, started };
        let excess = (self.history.len() + 1).saturating_sub(HISTORY);
        self.history.drain(..excess);
        self.history.push(entry);
    }
}

/// Where the state is kept.
#[derive(Debug, Clone)]
pub struct StateFile {
    path: PathBuf,
}

impl StateFile {
    /// `state.json` in the given directory.
    pub fn in_dir(state_dir: &Path) -> Self {
        Self { path: state_dir.join("state.json") }
    }

    /// Reads it. What cannot be read is as good as none: the state is a cache of what systemd and
    /// the manifest say, so an error costs a restart of workers at most. It is returned beside
    /// the empty state, to be reported.
    pub fn load(&self) -> (State, Option<String>) {
        let complain = |error: &dyn std::fmt::Display| {
            Some(format!("{}: {error}; going on without it", self.path.display()))
        };
        let text = match std::fs::read(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Default::default(),
            Err(error) => return (State::default(), complain(&error)),
        };
        match serde_json::from_slice::<State>(&text) {
            Ok(state) if state.schema == SCHEMA => (state, None),
            Ok(state) => {
                let unknown = format!("schema {} is not known, only {SCHEMA}", state.schema);
                (State::default(), complain(&unknown))
            }
            Err(error) => (State::default(), complain(&error)),
        }
    }

    /// Writes it, so that a crash leaves the old or the new, never a part.
    pub fn save(&self, state: &State) -> io::Result<()> {
        let mut text = serde_json::to_vec_pretty(state)?;
        text.push(b'\n');
        atomic::write(&self.path, &text, 0o600)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployment(digit: char) -> DeploymentRef {
        DeploymentRef {
            commit: digit.to_string().repeat(40).parse().unwrap(),
            deployment_id: Some("deploy-1".into()),
        }
    }

    fn attempt(digit: char) -> Attempt {
        Attempt {
            deployment: deployment(digit),
            deployed_by: None,
            at: Timestamp::UNIX_EPOCH,
            took_ms: Some(12),
            started: vec!["index".parse().unwrap()],
        }
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let dir = tempfile::tempdir().unwrap();
        let file = StateFile::in_dir(dir.path());
        assert_eq!(file.load(), (State::default(), None));
        let mut state = State::default();
        state.served(attempt('a'));
        state.did_not_serve(attempt('b'), "index exited 1".into());
        file.save(&state).unwrap();
        assert_eq!(file.load(), (state, None));
    }

    #[test]
    fn a_broken_file_is_reported_and_costs_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let file = StateFile::in_dir(dir.path());
        for text in ["", "{", "{\"schema\": 7}"] {
            std::fs::write(dir.path().join("state.json"), text).unwrap();
            let (state, complaint) = file.load();
            assert_eq!(state, State::default());
            assert!(complaint.unwrap().contains("state.json"));
        }
    }

    #[test]
    fn a_failure_is_remembered_until_something_serves() {
        let mut state = State::default();
        state.served(attempt('a'));
        state.did_not_serve(attempt('b'), "x".into());
        assert!(state.has_failed(&deployment('b')));
        assert_eq!(state.last_good, Some(deployment('a')));
        let again = DeploymentRef { deployment_id: Some("deploy-2".into()), ..deployment('b') };
        assert!(!state.has_failed(&again), "activated again, it is a new wish");
        state.served(attempt('b'));
        assert!(!state.has_failed(&deployment('b')));
    }

    #[test]
    fn the_good_one_before_is_the_last_that_did_not_fail_later() {
        let mut state = State::default();
        let commit = |digit: char| deployment(digit).commit;
        assert_eq!(state.good_before(&commit('a')), None);
        state.served(attempt('a'));
        state.served(attempt('b'));
        state.served(attempt('c'));
        assert_eq!(state.good_before(&commit('c')).unwrap().deployment, deployment('b'));
        state.did_not_serve(attempt('b'), "badly".into());
        assert_eq!(state.good_before(&commit('c')).unwrap().deployment, deployment('a'));
        state.served(attempt('c'));
        assert_eq!(state.good_before(&commit('a')).unwrap().deployment, deployment('c'));
    }

    #[test]
    fn a_refusal_is_remembered_once_until_something_else_happens() {
        let refusal = |reason: &str, second: i64| Refusal {
            deployment: Some(deployment('b')),
            deployed_by: None,
            reason: reason.to_owned(),
            at: Timestamp::from_second(second).unwrap(),
        };
        let mut state = State::default();
        for (reason, second) in [("x", 1), ("x", 2), ("y", 3), ("x", 4)] {
            state.refuse(refusal(reason, second));
        }
        state.served(Attempt { at: Timestamp::from_second(5).unwrap(), ..attempt('a') });
        state.refuse(refusal("x", 6));
        let told: Vec<_> =
            state.refused.iter().map(|it| (&*it.reason, it.at.as_second())).collect();
        assert_eq!(told, [("x", 1), ("y", 3), ("x", 4), ("x", 6)]);
    }

    #[test]
    fn history_is_bounded() {
        let mut state = State::default();
        for number in 0..HISTORY + 5 {
            let (deployment, deployed_by) = (Some(deployment('b')), None);
            let at = Timestamp::UNIX_EPOCH;
            state.refuse(Refusal { deployment, deployed_by, reason: number.to_string(), at });
        }
        assert_eq!(state.refused.len(), HISTORY);
        for _ in 0..HISTORY + 5 {
            state.served(attempt('a'));
        }
        assert_eq!(state.history.len(), HISTORY);
    }
}
