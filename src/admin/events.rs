//! The documents of `GET /v1/events`, one event each: what happens while a project is developed, and in
//! production to deployments and to their generations.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::api::LastExit;
use crate::ids::{CommitId, Generation, RoutePath, UnitName, WorkerName};

/// The header by which a client that comes back says which event it got last.
pub const LAST_EVENT_ID: &str = "last-event-id";
/// The `event:` that ends the stream of a client which was too slow.
pub const LAGGED: &str = "lagged";
/// How many paths an event names; the others are counted.
pub const MAX_PATHS: usize = 5;
/// The longest log in an event, in bytes. Of a longer one the beginning is kept: the first error is
/// what the others often follow from.
pub const MAX_LOG: usize = 64 * 1024;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Event {
    /// [`SCHEMA`](super::api::SCHEMA)
    pub schema: u32,
    /// Its number. It rises by one, and a process begins above what any before it has reached, so
    /// that the last number seen says what is new also after tqserver was restarted.
    pub id: u64,
    /// When it happened.
    #[cfg_attr(test, schemars(with = "String", extend("format" = "date-time")))]
    pub at: Timestamp,
    /// What happened.
    #[serde(flatten)]
    pub what: EventKind,
}

/// A worker of a project, as its sources say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ProjectWorker {
    /// Its name.
    pub name: WorkerName,
    /// Where it is to be mounted.
    pub route: RoutePath,
    /// What it is written in.
    pub language: String,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum EventKind {
    /// Changes of the source tree are noticed from now on.
    Watching {
        /// The project's workers, by name.
        workers: Vec<ProjectWorker>,
        /// Folders that are looked at.
        directories: usize,
        /// Why the tree is looked through time and again instead, with what to do about it; absent
        /// where the kernel tells of changes.
        polling: Option<String>,
    },
    /// Files have another content than before.
    Changed {
        /// Whose they are; absent for what is shared, the server's, or configuration.
        worker: Option<WorkerName>,
        /// The first [`MAX_PATHS`] of them, below the root.
        paths: Vec<String>,
        /// How many there are besides.
        more: usize,
    },
    /// Files were written and have the content they had.
    Unchanged {
        /// The first [`MAX_PATHS`] of them, below the root.
        paths: Vec<String>,
    },
    /// Workers' programs are being built.
    Building {
        /// Which.
        workers: Vec<WorkerName>,
    },
    /// A worker's program was built.
    Built {
        /// Whose.
        worker: WorkerName,
        /// How long it took.
        seconds: f64,
        /// Whether another program came out. Where it is the same, nothing is restarted.
        changed: bool,
    },
    /// Programs did not build; what served serves on.
    BuildFailed {
        /// Whose.
        workers: Vec<WorkerName>,
        /// How long it took.
        seconds: f64,
        /// The generation that goes on serving; absent where none does.
        serving: Option<Generation>,
        /// Where the first error is, as `file:line:column` below the root.
        place: Option<String>,
        /// What the compiler said, at most [`MAX_LOG`] bytes.
        log: String,
    },
    /// A deployment has come to serve a share of the requests.
    Canary {
        /// Which.
        commit: CommitId,
        /// The share, in percent.
        share_percent: u8,
    },
    /// A generation has taken over its worker's requests.
    Serving {
        /// Whose.
        worker: WorkerName,
        /// Where it is mounted.
        route: RoutePath,
        /// What it is written in.
        language: String,
        /// Which one.
        generation: Generation,
        /// From its start until it was fit to serve, in milliseconds.
        ready_ms: u64,
        /// Browser tabs that were told to load again.
        tabs: usize,
        /// From the last write to the switch without the compiler's own time, in milliseconds;
        /// absent where no write led to it.
        overhead_ms: Option<u64>,
    },
    /// A new generation did not come to serve.
    NotServing {
        /// Whose.
        worker: WorkerName,
        /// Why.
        reason: String,
        /// The last lines it wrote.
        details: Vec<String>,
        /// The generation that goes on serving; absent where none does.
        serving: Option<Generation>,
    },
    /// Templates or public files changed, which are served as they are.
    Reloaded {
        /// Whose; absent for what is shared.
        worker: Option<WorkerName>,
        /// The first [`MAX_PATHS`] of them, below the root.
        paths: Vec<String>,
        /// Whether only style sheets changed, which a page takes without being loaded again.
        style: bool,
        /// Browser tabs that were told.
        tabs: usize,
        /// From the write to the telling, in milliseconds.
        ms: u64,
    },
    /// The configuration was read again.
    Configuration {
        /// What is wrong with it and where, in which case the one before holds; absent when it was
        /// applied.
        refused: Option<String>,
    },
    /// A folder below `workers/` is no worker.
    Skipped {
        /// Which, below the root.
        folder: String,
        /// Why.
        reason: String,
    },
    /// A rollout has begun or ended. This and the next three are told in production.
    Rollout {
        /// Of which deployment.
        commit: CommitId,
        /// What came of it.
        outcome: RolloutOutcome,
        /// Why it failed, if it did.
        reason: Option<String>,
        /// From the first start until it ended, in milliseconds; absent where it has only begun, or was
        /// begun by a process before this one.
        took_ms: Option<u64>,
    },
    /// What the manifest or the configuration asks for was refused before anything was started.
    Refused {
        /// The deployment; absent where the manifest or the configuration could not be read.
        commit: Option<CommitId>,
        /// Why.
        reason: String,
    },
    /// An instance of a generation has come to another phase. One that it was in for no more than a
    /// moment may be left out.
    Generation {
        /// Whose.
        worker: WorkerName,
        /// Which one.
        generation: Generation,
        /// The unit of the instance.
        unit: UnitName,
        /// To which phase.
        phase: GenerationPhase,
    },
    /// A process of a worker has ended that nobody had asked to.
    Died {
        /// Whose.
        worker: WorkerName,
        /// How it ended.
        exit: LastExit,
    },
    /// Something else that people may want to know.
    Notice {
        /// A sentence.
        text: String,
    },
}

/// What came of a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum RolloutOutcome {
    /// Nothing yet.
    Begun,
    /// It serves.
    Served,
    /// What served before serves.
    Failed,
}

/// Where an instance of a generation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum GenerationPhase {
    /// Others start before it.
    Queued,
    /// systemd was asked for it.
    Starting,
    /// It has said that it is ready, and is asked whether it is well.
    Probing,
    /// It is well, and waits for the rest of its deployment.
    Ready,
    /// It gets a share of the requests.
    Canary,
    /// It gets requests.
    Serving,
    /// It gets no more, and finishes those it has.
    Draining,
    /// It was told to stop.
    Stopping,
    /// It is no more.
    Gone,
}

impl EventKind {
    /// The word for it in a document's `kind`, and the stream's `event:`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Watching { .. } => "watching",
            Self::Changed { .. } => "changed",
            Self::Unchanged { .. } => "unchanged",
            Self::Building { .. } => "building",
            Self::Built { .. } => "built",
            Self::BuildFailed { .. } => "build_failed",
            Self::Serving { .. } => "serving",
            Self::NotServing { .. } => "not_serving",
            Self::Reloaded { .. } => "reloaded",
            Self::Configuration { .. } => "configuration",
            Self::Skipped { .. } => "skipped",
            Self::Canary { .. } => "canary",
            Self::Rollout { .. } => "rollout",
            Self::Refused { .. } => "refused",
            Self::Generation { .. } => "generation",
            Self::Died { .. } => "died",
            Self::Notice { .. } => "notice",
        }
    }

    /// The same within the limits of a document.
    pub(super) fn bounded(mut self) -> Self {
        match &mut self {
            Self::BuildFailed { log, .. } if log.len() > MAX_LOG => {
                let end = (0..=MAX_LOG).rev().find(|&end| log.is_char_boundary(end));
                log.truncate(end.unwrap_or(0));
            }
            Self::Changed { paths, more, .. } => {
                *more += paths.len().saturating_sub(MAX_PATHS);
                paths.truncate(MAX_PATHS);
            }
            Self::Unchanged { paths } | Self::Reloaded { paths, .. } => paths.truncate(MAX_PATHS),
            _ => {}
        }
        self
    }
}

#[cfg(test)]
mod tests;
