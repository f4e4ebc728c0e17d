//! What is known of a worker before it runs: where its files are, its settings, and the
//! fingerprint that tells whether it changed. Read from deployment and source tree.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use md5::Digest;

use super::{LaunchError, LauncherConfig, Source};
use crate::config::settings::WorkerSettings;
use crate::config::worker::{WorkerFile, WorkerVars, effective};
use crate::ids::{CommitId, Md5, WorkerName};
use crate::store::deployment::Deployment;
use crate::store::digest::{self, DigestCache};
use crate::store::layout::DeployDir;

/// A worker, as its files and the configuration describe it.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// The folder it runs in, absolute.
    pub base: PathBuf,
    /// All that is configured for it.
    pub settings: WorkerSettings,
    /// Equal to that of a running generation when there is nothing to restart it for.
    pub fingerprint: Md5,
}

/// The digests of those files whose change calls for a new generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct PartDigests {
    /// The executable, or all of `bin/` where `run:` is used.
    binary: Md5,
    /// `private/` and `config/`.
    private: Md5,
}

/// The digest of everything whose change calls for a new generation.
///
/// `settings` must have been computed for made-up folders, so that an unchanged worker has the same
/// fingerprint in another deployment. Public files, commit, generation and port are no part of it.
fn fingerprint(digests: &PartDigests, settings: &WorkerSettings) -> Md5 {
    let mut sum = md5::Md5::new();
    sum.update(digests.binary.as_bytes());
    sum.update(digests.private.as_bytes());
    // Fields in the order of the struct, maps sorted: equal settings are equal bytes.
    sum.update(serde_json::to_vec(settings).expect("settings are plain data with text keys"));
    Md5::new(sum.finalize().into())
}

/// What is known of `worker`. Blocks: reads files, and hashes the worker's where there is no
/// deployment that has done so.
///
/// # Errors
/// [`LaunchError::Refused`] when there is no such worker, or its files do not make sense.
pub fn read(
    config: &LauncherConfig,
    worker: &WorkerName,
    source: &Source,
    digests: &mut DigestCache,
) -> Result<Facts, LaunchError> {
    let base = config.base(worker, source);
    let mut read = || {
        let configured = Configured::read(config, worker, source, &base)?;
        let parts = match source {
            Source::Deployment(commit) => recorded(config, worker, commit)?,
            Source::Tree => hashed(worker, &base, &configured.anywhere, digests)?,
        };
        let fingerprint = fingerprint(&parts, &configured.anywhere);
        Ok(Facts { base: base.clone(), settings: configured.here, fingerprint })
    };
    read().map_err(|reason| LaunchError::Refused { worker: worker.clone(), reason })
}

/// The digests that the build wrote down.
fn recorded(
    config: &LauncherConfig,
    worker: &WorkerName,
    commit: &CommitId,
) -> Result<PartDigests, String> {
    let deployment = Deployment::read(&DeployDir::new(&config.deploy_dir), commit)
        .map_err(|error| error.to_string())?;
    let part = deployment
        .workers
        .get(worker)
        .ok_or_else(|| format!("deployment {} has no such worker", commit.short()))?;
    Ok(PartDigests { binary: part.binary_md5, private: part.private_md5 })
}

/// The digests of what is in the source tree now.
fn hashed(
    worker: &WorkerName,
    base: &Path,
    settings: &WorkerSettings,
    cache: &mut DigestCache,
) -> Result<PartDigests, String> {
    let tree = digest::subtrees(base, &["bin", "private", "config"], cache, Timestamp::now())
        .map_err(|error| error.to_string())?;
    let binary = match &settings.run {
        Some(_) => tree.md5_of(&["bin"]),
        None => tree.files.get(&format!("bin/{worker}")).map(|file| file.md5).ok_or_else(|| {
            let path = base.join("bin").join(worker.as_str());
            format!("{} is missing: `tqctl build --dev` makes it", path.display())
        })?,
    };
    Ok(PartDigests { binary, private: tree.md5_of(&["private", "config"]) })
}

/// A worker's effective settings, twice.
struct Configured {
    /// With the folder it runs in.
    here: WorkerSettings,
    /// With the same made-up folders for every deployment, to be compared.
    anywhere: WorkerSettings,
}

impl Configured {
    fn read(
        config: &LauncherConfig,
        worker: &WorkerName,
        source: &Source,
        base: &Path,
    ) -> Result<Self, String> {
        let file = WorkerFile::read(&base.join(WorkerFile::PATH)).map_err(|e| e.to_string())?;
        let deployment = match source {
            Source::Deployment(commit) => {
                Some(DeployDir::new(&config.deploy_dir).commit_dir(commit))
            }
            Source::Tree => None,
        };
        let settings = |worker_base: &Path, deployment_base: Option<&Path>| {
            let vars = WorkerVars { worker_base, mode: config.mode, deployment_base };
            effective(&config.workers, worker, &file, &vars)
        };
        let placeholder = deployment.as_ref().map(|_| Path::new("/DEPLOYMENT_BASE"));
        Ok(Self {
            here: settings(base, deployment.as_deref()),
            anywhere: settings(Path::new("/WORKER_BASE"), placeholder),
        })
    }
}

#[cfg(test)]
mod tests;
