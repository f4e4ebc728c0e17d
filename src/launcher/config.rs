//! What a launcher goes by: the part of the settings that units are derived from.

use std::path::PathBuf;
use std::time::Duration;

use super::output::OutputDir;
use super::{LiveUnit, Source};
use crate::config::settings::{Mode, Settings, WorkersSettings};
use crate::ids::WorkerName;
use crate::store::layout::DeployDir;

/// Everything a unit depends on beside its request and its files.
#[derive(Debug, Clone, PartialEq)]
pub struct LauncherConfig {
    /// `TQ_MODE`.
    pub mode: Mode,
    /// The folder of the configuration, absolute.
    pub config_dir: PathBuf,
    /// The folder of deployments, absolute.
    pub deploy_dir: PathBuf,
    /// The folder of workers in the source tree, absolute.
    pub workers_dir: PathBuf,
    /// What workers are given, before their own `worker.yaml`.
    pub workers: WorkersSettings,
    /// From a unit's start to READY=1.
    pub start_timeout: Duration,
    /// From SIGTERM to SIGKILL.
    pub shutdown_grace_period: Duration,
    /// Where workers' output goes.
    pub output: Output,
}

/// Where workers' output goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// To the journal, as systemd does by itself.
    Journal,
    /// To files: a private user manager has no journal.
    Files(OutputDir),
}

impl LauncherConfig {
    /// The part of `settings` that is a launcher's.
    pub fn new(settings: &Settings, output: Output) -> Self {
        Self {
            mode: settings.mode,
            config_dir: settings.config_dir.clone(),
            deploy_dir: settings.deployments.deploy_dir.clone(),
            workers_dir: settings.discovery.workers_dir.clone(),
            workers: settings.workers.clone(),
            start_timeout: settings.rollout.start_timeout,
            shutdown_grace_period: settings.rollout.shutdown_grace_period,
            output,
        }
    }

    /// The folder a worker runs in.
    pub fn base(&self, worker: &WorkerName, source: &Source) -> PathBuf {
        match source {
            Source::Deployment(commit) => {
                DeployDir::new(&self.deploy_dir).worker_dir(commit, worker)
            }
            Source::Tree => self.workers_dir.join(worker.as_str()),
        }
    }

    /// Whether a live unit runs from our folders. Another server may share the manager.
    pub(super) fn owns(&self, unit: &LiveUnit, base: &str) -> bool {
        self.base(&unit.unit.worker, &unit.source).to_str() == Some(base)
    }
}
