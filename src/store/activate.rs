//! Makes the manifest point at a deployment.

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::{fs, io};

use jiff::Timestamp;

use super::deployment::{Deployment, SCHEMA};
use super::document::{DocumentError, ReadError};
use super::lock::DeployLock;
use super::manifest::{
    DeployedBy, DeployedDeployment, Manifest, PreviousDeployment, PreviousStatus,
};
use super::manifest_sum;
use super::modes::Writers;
use crate::canary::CanaryPlan;
use crate::ids::CommitId;

/// Why the manifest is as it was.
#[derive(Debug, thiserror::Error)]
pub enum ActivateError {
    /// The deployment to activate is not there.
    #[error(transparent)]
    Record(#[from] ReadError),
    /// The deployment's folder has another record.
    #[error("{}: is not the deployment to activate", .0.display())]
    RecordDiffers(PathBuf),
    /// The manifest there is cannot be read, or was written by another version: its history would
    /// be lost.
    #[error("will not replace the manifest: {0}")]
    Previous(ReadError),
    /// Reading the folder, or writing the manifest.
    #[error("{}: {source}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// How many earlier deployments a manifest tells of.
pub const HISTORY: usize = 20;

/// Writes a manifest that points at `deployment`, whose folder is complete, and returns it.
///
/// The deployment before goes to the head of the history, of which `keep_history` entries stay.
/// Verifying the folder's files is the caller's. A manifest that is damaged is replaced and its
/// history given up: a way out must not need the thing that is broken.
///
/// # Errors
/// See [`ActivateError`]. The manifest is then as it was; only if flushing the folder failed may
/// it be the new one.
pub fn activate(
    lock: &DeployLock,
    deployment: &Deployment,
    now: Timestamp,
    keep_history: usize,
) -> Result<Manifest, ActivateError> {
    activate_as(lock, deployment, Wish::default(), now, keep_history)
}

/// What a manifest says beside which deployment is wanted.
#[derive(Debug, Clone, Default)]
pub struct Wish {
    /// Who wants it.
    pub by: Option<DeployedBy>,
    /// How it is to come to serve by degrees; `None`: at once.
    pub canary: Option<CanaryPlan>,
}

/// The same, and the manifest says who wants it, and how.
///
/// # Errors
/// Those of [`activate`].
pub fn activate_as(
    lock: &DeployLock,
    deployment: &Deployment,
    wish: Wish,
    now: Timestamp,
    keep_history: usize,
) -> Result<Manifest, ActivateError> {
    let deploy = lock.deploy();
    if Deployment::read(deploy, &deployment.git_commit)? != *deployment {
        return Err(ActivateError::RecordDiffers(deploy.record(&deployment.git_commit)));
    }
    let present = deploy
        .deployments()
        .map_err(|source| ActivateError::Io { path: deploy.path().to_path_buf(), source })?;
    let previous = previous(Manifest::read(deploy).map(|(manifest, _)| manifest))?;
    let mut manifest = following(previous, deployment, &present, now, keep_history);
    (manifest.deployed_by, manifest.canary) = (wish.by, wish.canary);
    let path = deploy.manifest();
    let write = || {
        let mode = Writers::of(&fs::metadata(deploy.path())?).document();
        manifest_sum::write(deploy, &manifest.to_json(), mode)
    };
    write().map_err(|source| ActivateError::Io { path: path.clone(), source })?;
    Ok(manifest)
}

/// Has the history tell which deployments are there now: after some were removed. Returns whether the
/// manifest was replaced; what it points at, and since when, stays.
///
/// # Errors
/// See [`ActivateError`]. The manifest is then as it was.
pub fn retell(lock: &DeployLock, now: Timestamp) -> Result<bool, ActivateError> {
    let deploy = lock.deploy();
    let path = deploy.manifest();
    let failed = |source| ActivateError::Io { path: path.clone(), source };
    let mut manifest = match Manifest::read(deploy) {
        Ok((manifest, _)) => manifest,
        Err(ReadError::Absent(_)) => return Ok(false),
        Err(error) => return Err(ActivateError::Previous(error)),
    };
    let present = deploy
        .deployments()
        .map_err(|source| ActivateError::Io { path: deploy.path().to_path_buf(), source })?;
    let mut is_stale = false;
    for entry in &mut manifest.previous_deployments {
        let status = status(&entry.git_commit, &present);
        is_stale |= entry.status != status;
        entry.status = status;
    }
    if !is_stale {
        return Ok(false);
    }
    manifest.version = now;
    let mode = Writers::of(&fs::metadata(deploy.path()).map_err(failed)?).document();
    manifest_sum::write(deploy, &manifest.to_json(), mode).map_err(failed)?;
    Ok(true)
}

fn status(commit: &CommitId, present: &[CommitId]) -> PreviousStatus {
    match present.contains(commit) {
        true => PreviousStatus::RollbackAvailable,
        false => PreviousStatus::Removed,
    }
}

/// The manifest to carry the history on from.
fn previous(read: Result<Manifest, ReadError>) -> Result<Option<Manifest>, ActivateError> {
    match read {
        Ok(manifest) => Ok(Some(manifest)),
        Err(ReadError::Absent(_)) => Ok(None),
        Err(error @ ReadError::Io { .. }) => Err(ActivateError::Previous(error)),
        Err(error @ ReadError::Invalid { error: DocumentError::Schema { .. }, .. }) => {
            Err(ActivateError::Previous(error))
        }
        Err(error) => {
            tracing::warn!(%error, "replacing a damaged manifest, and its history is lost");
            Ok(None)
        }
    }
}

/// The manifest that comes after `previous`.
fn following(
    previous: Option<Manifest>,
    deployment: &Deployment,
    present: &[CommitId],
    now: Timestamp,
    keep_history: usize,
) -> Manifest {
    let commit = &deployment.git_commit;
    let mut deployment_id = deployment_id(now);
    let mut history: Vec<PreviousDeployment> = Vec::new();
    if let Some(previous) = previous {
        if previous.deployment_id == deployment_id {
            // Two within one second are two.
            deployment_id = self::deployment_id(now + jiff::SignedDuration::from_secs(1));
        }
        let DeployedDeployment { deployment: last, deployed_at } = previous.deployment;
        let last = PreviousDeployment {
            git_commit: last.git_commit,
            git_commit_short: last.git_commit_short,
            git_tag: last.git_tag,
            deployed_at,
            deployed_by: previous.deployed_by,
            status: PreviousStatus::Removed,
        };
        for mut entry in std::iter::once(last).chain(previous.previous_deployments) {
            let known = history.iter().any(|earlier| earlier.git_commit == entry.git_commit);
            if entry.git_commit == *commit || known {
                continue;
            }
            entry.status = status(&entry.git_commit, present);
            history.push(entry);
        }
        history.truncate(keep_history);
    }
    Manifest {
        schema: SCHEMA,
        version: now,
        deployment_id,
        current_deployment: commit.clone(),
        deployment_path: format!("deploy/{commit}"),
        deployed_by: None,
        canary: None,
        deployment: DeployedDeployment { deployment: deployment.clone(), deployed_at: now },
        previous_deployments: history,
    }
}

fn deployment_id(now: Timestamp) -> String {
    // Before 1970 the clock is not set, and a minus sign is not part of the format.
    format!("deploy-{}", now.as_second().max(0))
}
