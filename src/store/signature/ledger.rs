//! What was admitted on this host, so that going back can be told from being led back.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::Digest;

use crate::ids::{CommitId, Sha256, WorkerName};
use crate::store::atomic;
use crate::store::deployment::{Deployment, WorkerPart};
use crate::store::document::{self, ReadError};

/// The format this program writes, and the only one it reads.
const SCHEMA: u32 = 1;

/// How many deployments are remembered; the oldest is forgotten beyond that.
const MAX_DEPLOYMENTS: usize = 500;

/// How many workers all of these may have together: some two megabytes, half of what is read.
const MAX_WORKERS: usize = 16_384;

/// Deployments that were admitted, in that order, which is also that of their `built_at`: only a
/// newer one than all before is added.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ledger {
    schema: u32,
    deployments: Vec<Admitted>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Admitted {
    commit: CommitId,
    /// Of the record, as it was signed.
    sha256: Sha256,
    built_at: Timestamp,
    admitted_at: Timestamp,
    /// What each worker ran, see [`code`].
    workers: BTreeMap<WorkerName, Sha256>,
}

impl Ledger {
    /// Reads the ledger at `path`; an absent one is empty. One that cannot be read is no reason to
    /// begin a new one: that would admit what is old.
    pub(super) fn read(path: &Path) -> Result<Self, String> {
        let bytes = match document::read(path) {
            Ok(bytes) => bytes,
            Err(ReadError::Absent(_)) => {
                return Ok(Self { schema: SCHEMA, deployments: Vec::new() });
            }
            Err(error) => return Err(error.to_string()),
        };
        match serde_json::from_slice::<Self>(&bytes) {
            Ok(ledger) if ledger.schema == SCHEMA => Ok(ledger),
            Ok(ledger) => Err(format!("schema {} is not known, only {SCHEMA}", ledger.schema)),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Writes it, so that a crash leaves the old or the new.
    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        atomic::write(path, &document::print(self), 0o600)
    }

    /// Whether the deployment with this record was admitted.
    pub(super) fn has(&self, record: Sha256) -> bool {
        self.deployments.iter().any(|admitted| admitted.sha256 == record)
    }

    /// Whether some deployment was admitted in which `worker` ran the very files that it runs in
    /// `deployment`.
    pub(super) fn has_code(&self, worker: &WorkerName, deployment: &Deployment) -> bool {
        deployment.workers.get(worker).is_some_and(|part| {
            let code = code(part);
            self.deployments.iter().any(|admitted| admitted.workers.get(worker) == Some(&code))
        })
    }

    /// The newest deployment that was admitted, and when it was built.
    pub(super) fn newest(&self) -> Option<(&CommitId, Timestamp)> {
        self.deployments.last().map(|admitted| (&admitted.commit, admitted.built_at))
    }

    /// Adds a deployment, which is newer than all before.
    pub(super) fn add(&mut self, record: Sha256, deployment: &Deployment, now: Timestamp) {
        let workers = deployment.workers.iter();
        self.deployments.push(Admitted {
            commit: deployment.git_commit.clone(),
            sha256: record,
            built_at: deployment.built_at,
            admitted_at: now,
            workers: workers.map(|(name, part)| (name.clone(), code(part))).collect(),
        });
        self.forget();
    }

    fn forget(&mut self) {
        let mut workers = 0;
        let fits = |admitted: &&Admitted| {
            workers += admitted.workers.len();
            workers <= MAX_WORKERS
        };
        let kept = self.deployments.iter().rev().take(MAX_DEPLOYMENTS).take_while(fits).count();
        // The newest stays in any case: it tells what is old.
        self.deployments.drain(..self.deployments.len() - kept.max(1));
    }
}

/// The digest of what a worker runs: its program, and all of its files but the public ones. A
/// deployment that changes only those starts nothing, and so is never seen by whoever starts.
fn code(part: &WorkerPart) -> Sha256 {
    let files: BTreeMap<_, _> =
        part.sha256.iter().filter(|(path, _)| !path.starts_with("public/")).collect();
    let text = serde_json::to_vec(&(&part.binary, files)).expect("texts are JSON");
    Sha256::new(sha2::Sha256::digest(text).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::document::MAX_BYTES;
    use crate::store::layout::DeployDir;
    use crate::store::testing::{at, commit, deploy};
    use rstest::rstest;

    /// As long as it is, it can be read again, and knows the newest.
    #[rstest]
    #[case::of_few_workers(2, MAX_DEPLOYMENTS)]
    #[case::of_many(1000, 16)]
    #[case::of_more_than_are_kept(MAX_WORKERS + 1, 1)]
    fn the_oldest_are_forgotten(#[case] workers: usize, #[case] kept: usize) {
        let temp = tempfile::tempdir().unwrap();
        let mut deployment = deploy(&DeployDir::new(temp.path()), &commit('a'));
        let part = deployment.workers.values().next().unwrap().clone();
        // As long as names may be.
        let named = |number| format!("w{number:0>26}").parse().unwrap();
        deployment.workers = (0..workers).map(|number| (named(number), part.clone())).collect();
        let path = temp.path().join("signed.json");
        let mut ledger = Ledger::read(&path).unwrap();
        let record = |number: usize| {
            Sha256::new([(number >> 8) as u8, number as u8].repeat(16).try_into().unwrap())
        };
        let last = kept + 3;
        for number in 0..=last {
            deployment.built_at = at(number as i64);
            ledger.add(record(number), &deployment, at(0));
        }
        assert_eq!(ledger.deployments.len(), kept);
        assert!(ledger.has(record(last)) && !ledger.has(record(last - kept)));
        assert_eq!(ledger.newest(), Some((&commit('a'), at(last as i64))));
        ledger.write(&path).unwrap();
        assert!(path.metadata().unwrap().len() < MAX_BYTES);
        assert_eq!(Ledger::read(&path), Ok(ledger));
    }
}
