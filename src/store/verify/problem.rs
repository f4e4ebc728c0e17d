//! The reasons not to run a deployment.

use std::path::PathBuf;

use crate::ids::{CommitId, Sha256};
use crate::store::document::ReadError;
use crate::store::elf::Machine;
use crate::store::findings::Findings;
use crate::store::layout::RECORD;
use crate::store::walk::WalkError;

/// A deployment that must not run, and all that is wrong with it.
#[derive(Debug, thiserror::Error)]
#[error("deployment {}: {problems}", commit.short())]
pub struct VerifyError {
    /// Which.
    pub commit: CommitId,
    /// What is wrong.
    pub problems: Findings<Problem>,
}

/// A reason not to run a deployment. Paths are full for what could not be read, and below the
/// deployment's folder for what was.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// Its folder is not there.
    #[error("{}: does not exist; upload the deployment before its manifest", .0.display())]
    NoFolder(PathBuf),
    /// Its record cannot be read.
    #[error(transparent)]
    Record(#[from] ReadError),
    /// Its record is not the one that was asked for.
    #[error("{RECORD}: differs from the deployment in manifest.json")]
    RecordDiffers,
    /// A link, a special file, or a failure to read.
    #[error(transparent)]
    Unacceptable(#[from] WalkError),
    /// A file of the record is not there.
    #[error("{0}: is missing")]
    Missing(String),
    /// A file is not in the record.
    #[error("{0}: is not part of the deployment")]
    Surplus(String),
    /// A file has another content.
    #[error("{path}: has SHA-256 {found}, and must have {expected}")]
    Changed {
        /// Which.
        path: String,
        /// What it has.
        found: Sha256,
        /// What was built.
        expected: Sha256,
    },
    /// The files are right, and a sum over them is not.
    #[error("{part}: {sum} is not what its files add up to; build it again")]
    Sum {
        /// Whose.
        part: String,
        /// The record's field.
        sum: &'static str,
    },
    /// A program without an execute bit.
    #[error("{0}: is not executable")]
    NotExecutable(String),
    /// A compiled program that is none.
    #[error(
        "{0}: is not an ELF program; give a script another name, and name that in `run:` of \
         worker.yaml"
    )]
    NotAProgram(String),
    /// A program for another machine.
    #[error("{path}: is built for {found}, and this machine is {}", Machine::native())]
    Foreign {
        /// Which.
        path: String,
        /// What it is built for.
        found: Machine,
    },
}
