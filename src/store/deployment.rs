//! `deployment.json`: what never changes about a deployment, written once when it was built.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::document::{self, Document, DocumentError, ReadError};
use super::layout::{DeployDir, RECORD};
use crate::ids::{CommitId, Md5, RoutePath, Sha256, WorkerName};

/// The `schema` this program writes, and the only one it reads.
pub const SCHEMA: u32 = 1;

/// A deployment as it was built. Verification, signatures, rollback and the launcher use this
/// document; `manifest.json` only repeats it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deployment {
    /// The document's format, [`SCHEMA`].
    pub schema: u32,
    /// The commit it was built from; also its folder's name.
    pub git_commit: CommitId,
    /// The commit as git abbreviates it.
    pub git_commit_short: String,
    /// The branch; absent when HEAD was detached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git_branch: Option<String>,
    /// The tag that names exactly this commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git_tag: Option<String>,
    /// When the build began.
    pub built_at: Timestamp,
    /// tqserver itself, where the project contains it. Shown and verified, never executed by the
    /// packaged unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<ServerPart>,
    /// The workers, by name.
    pub workers: BTreeMap<WorkerName, WorkerPart>,
}

impl Deployment {
    /// Reads a record and checks that it agrees with itself.
    ///
    /// # Errors
    /// See [`DocumentError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, DocumentError> {
        document::parse(bytes)
    }

    /// Reads the record in the folder of `commit`, neither of which may be a link.
    ///
    /// # Errors
    /// When it is absent, unreadable, not valid, or the record of another commit.
    pub fn read(deploy: &DeployDir, commit: &CommitId) -> Result<Self, ReadError> {
        let bytes = document::read_in(&deploy.commit_dir(commit), RECORD)?;
        let path = deploy.record(commit);
        let record = Self::parse(&bytes).map_err(|error| error.in_file(&path))?;
        if record.git_commit != *commit {
            let other = record.git_commit;
            return Err(ReadError::OtherCommit { path, found: other });
        }
        Ok(record)
    }

    /// Every file of it but the record, by its path below the deployment's folder.
    pub fn files(&self) -> impl Iterator<Item = (String, &Sha256)> {
        let server = self.server.iter().map(|part| (&part.path, &part.sha256));
        let parts = server.chain(self.workers.values().map(|part| (&part.path, &part.sha256)));
        parts.flat_map(|(part, files)| {
            files.iter().map(move |(path, sum)| (format!("{part}/{path}"), sum))
        })
    }

    /// The record as it is written: indented, with a line break at its end.
    pub fn to_json(&self) -> Vec<u8> {
        document::print(self)
    }
}

impl Document for Deployment {
    fn check(&self) -> Result<(), DocumentError> {
        super::consistency::of_deployment(self).into_result(DocumentError::Inconsistent)
    }
}

/// The server's part of a deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerPart {
    /// Its folder below the deployment's: `server`.
    pub path: String,
    /// Its binary below that: `bin/tqserver`.
    pub binary: String,
    /// The binary's MD5.
    pub binary_md5: Md5,
    /// The binary's size in bytes.
    pub size_bytes: u64,
    /// Whether `public/` is there.
    pub has_public: bool,
    /// Whether `private/` is there.
    pub has_private: bool,
    /// The commit its binary was built from.
    pub built_from: CommitId,
    /// The digest of all that its build read, see [`WorkerPart::inputs_md5`].
    pub inputs_md5: Md5,
    /// Every file below `path`, with its SHA-256.
    pub sha256: BTreeMap<String, Sha256>,
}

/// One worker's part of a deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkerPart {
    /// Its folder below the deployment's: `workers/<name>`.
    pub path: String,
    /// Its executable below that: `bin/<name>`, or what `run:` names.
    pub binary: String,
    /// The executable's MD5; where `run:` is used, the digest of all of `bin/`.
    pub binary_md5: Md5,
    /// The executable's size in bytes; where `run:` is used, that of all files of `bin/`.
    pub size_bytes: u64,
    /// Where it is mounted.
    pub route: RoutePath,
    /// The commit its binary was built from: an older one than the deployment's where nothing it
    /// is made from has changed since.
    pub built_from: CommitId,
    /// The digest of all that its build read: sources, path dependencies, locked versions,
    /// toolchain and flags. Equal inputs reuse the binary byte for byte.
    pub inputs_md5: Md5,
    /// The digest of `public/`: a change is published without a restart.
    pub public_md5: Md5,
    /// The digest of `private/` and `config/`: a change needs a new generation.
    pub private_md5: Md5,
    /// The digest of the whole folder.
    pub tree_md5: Md5,
    /// What it was made from and brings along, for people.
    pub files: WorkerFiles,
    /// Every file below `path`, with its SHA-256.
    pub sha256: BTreeMap<String, Sha256>,
}

/// The files of a worker, each below the folder it is listed under.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkerFiles {
    /// Below `src/` of the project; not part of the deployment.
    pub src: Vec<String>,
    /// Below `public/`.
    pub public: Vec<String>,
    /// Below `private/`.
    pub private: Vec<String>,
}
