//! What is known of a worker before it runs: where its files are, its settings, and the
//! fingerprint that tells whether it changed. Read from deployment and source tree.

mod credentials;

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use md5::Digest;

use super::{LaunchError, LauncherConfig, Source};
use crate::config::grants;
use crate::config::settings::{CredentialName, Mode, WorkerSettings};
use crate::config::worker::{WorkerFile, WorkerVars, effective};
use crate::ids::{CommitId, Md5, WorkerName};
use crate::store::deployment::{Deployment, WorkerPart};
use crate::store::digest::{self, DigestCache};
use crate::store::layout::DeployDir;
use credentials::Stamp;

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

/// The digest of everything whose change calls for a new generation. Public files, commit,
/// generation and port are no part of it.
fn fingerprint(digests: &PartDigests, configured: &Configured) -> Md5 {
    let mut sum = md5::Md5::new();
    sum.update(digests.binary.as_bytes());
    sum.update(digests.private.as_bytes());
    // Fields in the order of the struct, maps sorted: equal settings are equal bytes.
    let settings = (&configured.anywhere, &configured.stamps);
    sum.update(serde_json::to_vec(&settings).expect("settings are plain data with text keys"));
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
        let configured = Configured::read(config, worker, source, &base, &base)?;
        let parts = match source {
            Source::Deployment(commit) => recorded(config, worker, commit)?,
            Source::Tree => hashed(config, worker, &base, &configured.anywhere, digests)?,
        };
        let fingerprint = fingerprint(&parts, &configured);
        Ok(Facts { base: base.clone(), settings: configured.here, fingerprint })
    };
    read().map_err(|reason| LaunchError::Refused { worker: worker.clone(), reason })
}

/// What is configured for `worker`, whether it was built or not.
///
/// # Errors
/// [`LaunchError::Refused`] when its `worker.yaml` does not make sense.
pub fn settings(
    config: &LauncherConfig,
    worker: &WorkerName,
    source: &Source,
) -> Result<WorkerSettings, LaunchError> {
    let base = config.base(worker, source);
    Configured::read(config, worker, source, &base, &base)
        .map(|configured| configured.here)
        .map_err(|reason| LaunchError::Refused { worker: worker.clone(), reason })
}

/// What is known of `worker` as deployed with `commit`, from the verified copy of its folder and
/// its part of the record. Equal to what [`read`] says while nobody tampers with the deployment.
///
/// # Errors
/// [`LaunchError::Refused`] when its files do not make sense.
pub fn of_copy(
    config: &LauncherConfig,
    worker: &WorkerName,
    commit: &CommitId,
    part: &WorkerPart,
    copy: &Path,
) -> Result<Facts, LaunchError> {
    let source = Source::Deployment(commit.clone());
    let base = config.base(worker, &source);
    let configured = Configured::read(config, worker, &source, &base, copy)
        .map_err(|reason| LaunchError::Refused { worker: worker.clone(), reason })?;
    let parts = PartDigests { binary: part.binary_md5, private: part.private_md5 };
    let fingerprint = fingerprint(&parts, &configured);
    Ok(Facts { base, settings: configured.here, fingerprint })
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

/// The digests of what is in the source tree now. `private/` is read by workers as they run; it
/// counts, along with what all workers share of it, where a worker asks to be started anew.
fn hashed(
    config: &LauncherConfig,
    worker: &WorkerName,
    base: &Path,
    settings: &WorkerSettings,
    cache: &mut DigestCache,
) -> Result<PartDigests, String> {
    let mut of = |folder: &Path, subfolders: &[&str]| {
        let tree = digest::subtrees(folder, subfolders, cache, Timestamp::now());
        tree.map(|tree| tree.md5).map_err(|error| error.to_string())
    };
    let binary = if settings.run.is_none() && settings.build.is_none() {
        identity(&base.join("bin").join(worker.as_str()))?
    } else {
        of(base, &["bin"])?
    };
    let mut private = of(base, &["config"])?;
    if settings.restart_on_private {
        let shared = config.workers_dir.join("shared");
        let sums = [private, of(base, &["private"])?, of(&shared, &["private"])?];
        private = digest::md5(&sums.map(|sum| *sum.as_bytes()).concat());
    }
    Ok(PartDigests { binary, private })
}

/// What tells one build of a program from another. A toolchain's programs may be of a hundred
/// megabytes, and are replaced only by a program that differs (`build::dev`): so which file it is
/// stands for its content.
fn identity(program: &Path) -> Result<Md5, String> {
    let path = program.display();
    let file = program.metadata().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => format!("{path} is missing: `tqctl build --dev` makes it"),
        _ => format!("{path}: {error}"),
    })?;
    let times = [file.mtime(), file.mtime_nsec()].map(i64::cast_unsigned);
    let fields = [file.dev(), file.ino(), file.size(), times[0], times[1]];
    Ok(digest::md5(&fields.map(u64::to_le_bytes).concat()))
}

/// A worker's effective settings, twice.
struct Configured {
    /// With the folder it runs in.
    here: WorkerSettings,
    /// With the same made-up folders for every deployment, so that an unchanged worker has the same
    /// fingerprint in another one.
    anywhere: WorkerSettings,
    /// Of the credentials that a sandboxed unit will be given.
    stamps: BTreeMap<CredentialName, Stamp>,
}

impl Configured {
    /// `folder` is where the worker's files are read now, and `base` where it will see them.
    fn read(
        config: &LauncherConfig,
        worker: &WorkerName,
        source: &Source,
        base: &Path,
        folder: &Path,
    ) -> Result<Self, String> {
        let file = WorkerFile::read(&folder.join(WorkerFile::PATH)).map_err(|e| e.to_string())?;
        let deployment = match source {
            Source::Deployment(commit) => {
                Some(DeployDir::new(&config.deploy_dir).commit_dir(commit))
            }
            Source::Tree => None,
        };
        let settings = |file: &WorkerFile, worker_base: &Path, deployment_base: Option<&Path>| {
            let vars = WorkerVars { worker_base, mode: config.mode, deployment_base };
            effective(&config.workers, worker, file, &vars)
        };
        let placeholder = deployment.as_ref().map(|_| Path::new("/DEPLOYMENT_BASE"));
        let here = settings(&file, base, deployment.as_deref());
        let anywhere = settings(&file, Path::new("/WORKER_BASE"), placeholder);
        let mut stamps = BTreeMap::new();
        // In development all is the user's own, and there is no sandbox to loosen.
        if config.mode == Mode::Prod {
            let silent = WorkerFile { route: file.route.clone(), ..WorkerFile::default() };
            let given = settings(&silent, base, deployment.as_deref());
            let grant = config.workers.grants.get(worker);
            let server_yaml = config.config_dir.join("server.yaml");
            grants::check(worker, &file, (&given, &here), grant, &server_yaml)?;
            stamps = credentials::stamps(&config.config_dir, &here.credentials)?;
        }
        Ok(Self { here, anywhere, stamps })
    }
}

#[cfg(test)]
mod tests;
