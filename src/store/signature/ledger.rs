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
        let excess = (self.deployments.len() + 1).saturating_sub(MAX_DEPLOYMENTS);
        self.deployments.drain(..excess);
        let workers = deployment.workers.iter();
        self.deployments.push(Admitted {
            commit: deployment.git_commit.clone(),
            sha256: record,
            built_at: deployment.built_at,
            admitted_at: now,
            workers: workers.map(|(name, part)| (name.clone(), code(part))).collect(),
        });
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
