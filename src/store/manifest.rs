//! `manifest.json`: which deployment the deployer wants, and which came before.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::deployment::Deployment;
use super::document::{self, Document, DocumentError, ReadError};
use super::layout::DeployDir;
use super::manifest_sum;
use crate::canary::CanaryPlan;
use crate::ids::{CommitId, Md5};

/// The document at `deploy/manifest.json`, only ever replaced by rename.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The document's format, [`super::deployment::SCHEMA`].
    pub schema: u32,
    /// When it was written.
    pub version: Timestamp,
    /// `deploy-<unix seconds>`: one for every activation, so that repeating a commit is visible.
    pub deployment_id: String,
    /// The commit that is wanted.
    pub current_deployment: CommitId,
    /// `deploy/<commit>`, for people and scripts; refused when it names anything else.
    pub deployment_path: String,
    /// Who activated it, where that was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployed_by: Option<DeployedBy>,
    /// How it is to come to serve by degrees, where that is wished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<CanaryPlan>,
    /// `deployment.json` repeated, and when it was activated.
    pub deployment: DeployedDeployment,
    /// Those before, newest first.
    pub previous_deployments: Vec<PreviousDeployment>,
}

impl Manifest {
    /// Reads a manifest and checks that it agrees with itself.
    ///
    /// # Errors
    /// See [`DocumentError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, DocumentError> {
        document::parse(bytes)
    }

    /// Reads `manifest.json`, and the MD5 of its bytes, which tells one version from another.
    ///
    /// The file is opened once, so this is one version even when it is replaced meanwhile. Where
    /// there is a `manifest.json.md5`, it has the sum in it. Blocks, for half a second at most.
    ///
    /// # Errors
    /// When it is absent, unreadable, a link, or not valid, or does not have its sum.
    pub fn read(deploy: &DeployDir) -> Result<(Self, Md5), ReadError> {
        let path = deploy.manifest();
        let (bytes, sum) = manifest_sum::read(deploy)?;
        let manifest = Self::parse(&bytes).map_err(|error| error.in_file(&path))?;
        Ok((manifest, sum))
    }

    /// The manifest as it is written: indented, with a line break at its end.
    pub fn to_json(&self) -> Vec<u8> {
        document::print(self)
    }
}

impl Document for Manifest {
    fn check(&self) -> Result<(), DocumentError> {
        super::consistency::of_manifest(self).into_result(DocumentError::Inconsistent)
    }
}

/// A deployment with the one fact that its activation adds. Both are keys of one JSON object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeployedDeployment {
    /// What was built.
    #[serde(flatten)]
    pub deployment: Deployment,
    /// When the manifest was made to point at it.
    pub deployed_at: Timestamp,
}

/// Who activated a deployment, as far as whoever wrote the manifest knows: for people, and no proof.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct DeployedBy {
    /// The user on this machine.
    pub user: String,
    /// The address that user came from by ssh.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Who that is elsewhere, by its own word: `ada@laptop`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// What it was done by: `deploy`, `rollback` or `build`.
    pub verb: String,
}

/// A deployment that was current once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PreviousDeployment {
    /// Its commit.
    pub git_commit: CommitId,
    /// Its commit as git abbreviates it.
    pub git_commit_short: String,
    /// Its tag, if it had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git_tag: Option<String>,
    /// When it was last made current.
    pub deployed_at: Timestamp,
    /// Who did that, where that was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployed_by: Option<DeployedBy>,
    /// Whether its folder is still there to go back to.
    pub status: PreviousStatus,
}

/// What can be done with a previous deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PreviousStatus {
    /// Its folder is complete.
    RollbackAvailable,
    /// Its folder was cleaned up.
    Removed,
}
