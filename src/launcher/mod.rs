//! Everything that makes systemd start and stop a generation.
//!
//! The [`Launcher`] trait is the whole of what the rollout knows of it. Callers name a worker, a
//! port, a source and a generation; unit properties are derived behind the trait, from
//! configuration and deployment, so that a privileged implementation need not trust its caller.

pub mod bus;
mod config;
pub mod copies;
pub mod facts;
#[cfg(test)]
mod fixtures;
mod launcher1;
pub mod output;
pub mod policy;
mod remote;
pub mod sandbox;
pub mod service;
mod session;
mod signals;
mod systemd1;
mod tracker;
pub mod unit;
mod usage;
mod watch;

use std::future::Future;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::control_group::ControlGroup;
use crate::ids::{CommitId, Generation, Md5, Port, UnitName, WorkerName};
pub use config::{LauncherConfig, Output};
pub use usage::Usage;

/// Where a generation's files come from.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// `deploy/<commit>/workers/<name>`.
    Deployment(CommitId),
    /// `workers/<name>` of the source tree.
    Tree,
}

/// A wish for one generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartRequest {
    /// Which worker.
    pub worker: WorkerName,
    /// The port it is to listen on; leased, and free a moment ago.
    pub port: Port,
    /// Where its files are.
    pub source: Source,
    /// Which generation it will be.
    pub generation: Generation,
}

impl StartRequest {
    /// The unit that will carry it.
    pub fn unit(&self) -> UnitName {
        UnitName { worker: self.worker.clone(), port: self.port }
    }
}

/// A unit that was found alive, and what its environment says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveUnit {
    /// Its name.
    pub unit: UnitName,
    /// Where its files come from.
    pub source: Source,
    /// Which generation it is.
    pub generation: Generation,
    /// The fingerprint it was started with, see [`facts::Facts`].
    pub fingerprint: Md5,
    /// Its main process.
    pub main_pid: Option<u32>,
    /// Where its processes are; `None` where groups are not of the unified hierarchy.
    pub control_group: Option<ControlGroup>,
    /// Where it stands.
    pub state: UnitState,
}

/// What systemd says of a unit, in the words the rollout needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnitState {
    /// Starting: not READY yet.
    Activating,
    /// Running, and READY where it notifies.
    Active,
    /// Told to stop.
    Deactivating,
    /// Gone, on request or with success.
    Inactive,
    /// Gone, for a reason.
    Failed(ExitReason),
}

/// Why a unit failed, from `Result`, `ExecMainCode` and `ExecMainStatus` (org.freedesktop.systemd1(5)).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum ExitReason {
    /// It exited by itself.
    #[error("exited {0}")]
    Exited(i32),
    /// A signal ended it.
    #[error("killed by signal {0}")]
    Signal(i32),
    /// It was not READY in time, or did not stop in time.
    #[error("timed out")]
    Timeout,
    /// The kernel was out of the memory it may use.
    #[error("out of memory")]
    OutOfMemory,
    /// It missed its watchdog.
    #[error("missed its watchdog")]
    Watchdog,
    /// Anything else, in systemd's word.
    #[error("failed: {0}")]
    Other(String),
}

/// What a launcher reports without being asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnitEvent {
    /// A unit changed its state.
    Changed {
        /// Which.
        unit: UnitName,
        /// To what.
        state: UnitState,
    },
    /// The bus was lost and is back, or the manager reloaded: this is all there was when it was
    /// asked. Of a unit started since it says nothing: before one that is missing is given up,
    /// [`Launcher::list`] has the last word. A manager that is coming back may make several.
    Resync(Vec<LiveUnit>),
}

/// Why a launcher did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The request does not stand up to configuration and deployment.
    #[error("{worker}: {reason}")]
    Refused {
        /// Whose start it was.
        worker: WorkerName,
        /// Why not, and what to do.
        reason: String,
    },
    /// systemd or the bus said no.
    #[error("systemd refused {unit}: {reason}")]
    Systemd {
        /// The unit concerned.
        unit: UnitName,
        /// Its words.
        reason: String,
    },
    /// There is no connection at this moment.
    #[error("no connection to systemd: {0}")]
    Disconnected(String),
}

/// Starts and stops generations. The outcome of a start arrives as [`UnitEvent`]s.
pub trait Launcher: Send + Sync + 'static {
    /// Asks for a generation. Returns once systemd has taken the job, not when the unit is ready.
    fn start(&self, request: &StartRequest)
    -> impl Future<Output = Result<(), LaunchError>> + Send;

    /// Asks for a unit to be stopped: SIGTERM, the grace period, SIGKILL. Stopping one that is
    /// gone succeeds.
    fn stop(&self, unit: &UnitName) -> impl Future<Output = Result<(), LaunchError>> + Send;

    /// All worker units there are.
    fn list(&self) -> impl Future<Output = Result<Vec<LiveUnit>, LaunchError>> + Send;

    /// In which control group a unit's processes are; `None` where that cannot be told now. A later
    /// [`list`](Self::list) may tell.
    fn control_group(&self, unit: &UnitName) -> impl Future<Output = Option<ControlGroup>> + Send;

    /// The stream of events; taken once, before the first start.
    fn events(&self) -> mpsc::Receiver<UnitEvent>;
}
