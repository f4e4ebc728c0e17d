//! Root's own copies of workers' folders.
//!
//! What deployers can write is never run: a worker's files are copied, the copies compared with
//! the deployment's record, and the unit sees the copy. Whoever swaps a file, a folder or the whole
//! deployment at any moment either makes the comparison fail or comes too late.

mod clean;
mod make;
mod soundness;
mod source;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sha2::Digest;

use crate::ids::{CommitId, Sha256, WorkerName};
use crate::store::deployment::{Deployment, WorkerPart};
use crate::store::document::ReadError;
use crate::store::layout::DeployDir;
use crate::store::signature::{Gate, SignatureError};
use crate::store::verify::Problem;
use make::Making;
use source::Deployed;

/// What a folder's name begins with while a copy is being made in it. No worker has such a name.
const UNFINISHED: &str = ".tmp-";

/// How much is copied for one worker, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all files together.
    pub bytes: u64,
    /// Number of files.
    pub files: usize,
    /// How long a copy may take; it is given up then.
    pub time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 1 << 30, files: 16_384, time: Duration::from_secs(60) }
    }
}

/// Why there is no copy. Nothing is left of it then.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// There is no such deployment.
    #[error(
        "deployment {} is not in {}: upload it before its manifest",
        commit.short(),
        deploy.display()
    )]
    NotDeployed {
        /// Which was asked for.
        commit: CommitId,
        /// Where it should be.
        deploy: PathBuf,
    },
    /// Its record cannot be used.
    #[error(transparent)]
    Record(#[from] ReadError),
    /// Its record is not signed as it must be.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// The record does not name the worker.
    #[error("deployment {} has no such worker", .0.short())]
    NoWorker(CommitId),
    /// Its files are not what the record says.
    #[error("deployment {}: {problem}", commit.short())]
    Unsound {
        /// Whose files.
        commit: CommitId,
        /// What is wrong with them.
        problem: Box<Problem>,
    },
    /// More files than [`Limits::files`].
    #[error("has {count} files, and at most {limit} are copied; keep the others elsewhere")]
    TooMany {
        /// How many the record names.
        count: usize,
        /// How many may be.
        limit: usize,
    },
    /// More than [`Limits::bytes`].
    #[error("has more than {} MiB, which is the most that is copied; keep data elsewhere", .0 >> 20)]
    TooLarge(u64),
    /// [`Limits::time`] is over.
    #[error("was not copied within {} seconds; try again when the disk is less busy", .0.as_secs())]
    TooSlow(Duration),
    /// The folder of copies does not work.
    #[error("{}: {source}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl CopyError {
    fn at(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { path: path.to_path_buf(), source }
    }
}

/// A worker's folder as it was deployed, in a place where nobody but root can change it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedCopy {
    /// The copy of the worker's folder.
    pub folder: PathBuf,
    /// What the record says of the worker.
    pub part: WorkerPart,
}

/// The folder of copies: `<worker>/<SHA-256 of its part of the record>`.
///
/// A worker that did not change has the same part in the next deployment, and so the same copy.
/// Invariant: only one process, which makes one copy at a time, uses the folder.
#[derive(Debug, Clone)]
pub struct Copies {
    root: PathBuf,
    limits: Limits,
}

impl Copies {
    /// The copies in `root`, which must be root's alone; it is made when it is first needed.
    pub fn new(root: impl Into<PathBuf>, limits: Limits) -> Self {
        Self { root: root.into(), limits }
    }

    /// The copy of `worker` as deployed with `commit`, which is made unless it is there. Blocks.
    ///
    /// The record is read anew at each call, and where there is a `gate`, must pass it. Files that it
    /// does not name are not copied: the worker never sees them, so that they need no judgement here.
    ///
    /// # Errors
    /// See [`CopyError`].
    pub fn take(
        &self,
        deploy: &DeployDir,
        commit: &CommitId,
        worker: &WorkerName,
        gate: Option<&Gate>,
    ) -> Result<VerifiedCopy, CopyError> {
        self.take_in_steps(deploy, commit, worker, gate, &mut |_| {})
    }

    /// [`take`](Self::take), calling `before` ahead of each file, so that tests can interfere.
    fn take_in_steps(
        &self,
        deploy: &DeployDir,
        commit: &CommitId,
        worker: &WorkerName,
        gate: Option<&Gate>,
        before: &mut dyn FnMut(&str),
    ) -> Result<VerifiedCopy, CopyError> {
        let deployed = Deployed::open(deploy, commit)?;
        let Deployment { mut workers, .. } = deployed.record(gate, worker)?;
        let part = workers.remove(worker).ok_or_else(|| CopyError::NoWorker(commit.clone()))?;
        let folder = self.root.join(worker.as_str()).join(key(&part).to_string());
        // It got its name when it was complete, and has been root's alone since.
        if !folder.is_dir() {
            let deadline = Instant::now() + self.limits.time;
            let making = Making::begin(&self.root, self.limits, deadline)?;
            making.fill(&deployed, worker, &part, before)?;
            making.finish(&folder)?;
        }
        Ok(VerifiedCopy { folder, part })
    }
}

/// The name of a part's copy. Equal parts name the same files with the same sums.
fn key(part: &WorkerPart) -> Sha256 {
    let text = serde_json::to_vec(part).expect("a part was read from JSON, and is JSON again");
    Sha256::new(sha2::Sha256::digest(text).into())
}
