//! The documents of the control socket. Scripts lean on them: a field may be added, and a change
//! of meaning or a removal raises [`SCHEMA`].

use std::future::Future;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::feed::Feed;
use super::retention::Retention;
use super::soak::SoakVerdict;
use crate::config::settings::Mode;
use crate::ids::{CommitId, Generation, Md5, Port, RoutePath, UnitName, WorkerName};

/// The version of these documents.
pub const SCHEMA: u32 = 1;

/// What the control socket needs of the daemon.
pub trait Control: Send + Sync + 'static {
    /// How everything stands at this moment. Must not block: it reads what was published.
    fn status(&self) -> Status;

    /// Asks for a reload; the future is the verdict on the first one begun after the asking.
    ///
    /// The asking happens in the call itself. Dropping the future gives up the verdict, never the
    /// reload, so that a client that hangs up changes nothing.
    fn reload(&self) -> impl Future<Output = ReloadVerdict> + Send;

    /// Asks for a new generation of a worker, which takes over when it is ready; the future is the verdict.
    /// As with [`reload`](Self::reload), the asking happens in the call itself.
    fn restart(&self, worker: WorkerName) -> impl Future<Output = ReloadVerdict> + Send;

    /// Takes a worker out of service until it is restarted; with the answer no request is sent to it any
    /// more, and those it has go on. An error says why it is not.
    fn drain(&self, worker: WorkerName) -> impl Future<Output = Result<(), String>> + Send;

    /// Has a deployment that serves by degrees serve whole, or not at all; the future is the verdict. As with
    /// [`reload`](Self::reload), the asking happens in the call itself.
    fn decide(&self, promote: bool) -> impl Future<Output = ReloadVerdict> + Send;

    /// Watches a deployment that serves, and goes back from it where it serves worse than the one before;
    /// the future is what comes of it. Dropping it gives up the verdict, never the watching. An error says
    /// that another watching has begun meanwhile.
    fn soak(
        &self,
        commit: CommitId,
        time: Duration,
    ) -> impl Future<Output = Result<SoakVerdict, String>> + Send;

    /// What became of the last rollouts. Must not block, either.
    fn past_rollouts(&self) -> PastRollouts;

    /// The same and more in numbers, as Prometheus reads them. Must not block, either.
    fn metrics(&self) -> String;

    /// What happens while a project is developed.
    fn events(&self) -> &Feed;

    /// Which deployments on disk are needed; an error says why that cannot be told. Must not block.
    fn retention(&self) -> Result<Retention, String>;

    /// Has all programs of the source tree built anew and taken into use; the events tell what comes
    /// of it. An error says why there is nothing to build.
    fn rebuild(&self) -> Result<(), String>;
}

/// `GET /v1/status`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Status {
    /// [`SCHEMA`]
    pub schema: u32,
    /// The daemon's own version.
    pub version: String,
    /// Development or production.
    pub mode: Mode,
    /// How it all stands, in a word.
    pub state: ServerState,
    /// When this process began.
    #[cfg_attr(test, schemars(with = "String", extend("format" = "date-time")))]
    pub started_at: Timestamp,
    /// The commit the manifest asks for; absent in development and before there is one.
    pub desired: Option<CommitId>,
    /// The commit that is published.
    pub actual: Option<CommitId>,
    /// The branch of `actual`.
    pub branch: Option<String>,
    /// The tag of `actual`.
    pub tag: Option<String>,
    /// The newest commit that all workers served.
    pub last_good: Option<CommitId>,
    /// The deployment that failed last, until one succeeds.
    pub failed: Option<FailedDeployment>,
    /// The deployment that comes to serve by degrees; absent where none does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<CanaryStatus>,
    /// The workers, by name.
    pub workers: Vec<WorkerStatus>,
    /// Totals since the start of this process.
    pub counters: Counters,
    /// What an operator should look at, a sentence each.
    pub warnings: Vec<String>,
}

/// How the daemon stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ServerState {
    /// Nothing was published yet.
    Starting,
    /// Every worker serves, and what is desired is what is actual.
    Serving,
    /// It serves, but not all, or not what is desired.
    Degraded,
    /// It has been told to stop, and finishes what is in flight.
    Draining,
}

impl ServerState {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Serving => "serving",
            Self::Degraded => "degraded",
            Self::Draining => "draining",
        }
    }
}

/// A deployment that was not switched to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct FailedDeployment {
    /// Its commit.
    pub commit: CommitId,
    /// Why, naming the worker.
    pub reason: String,
    /// When it was given up.
    #[cfg_attr(test, schemars(with = "String", extend("format" = "date-time")))]
    pub at: Timestamp,
}

/// A deployment that comes to serve by degrees.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct CanaryStatus {
    /// Its commit; absent where tqserver knows of none.
    pub commit: Option<CommitId>,
    /// Its share of the requests, in percent.
    pub share_percent: u8,
    /// The shares that follow, in percent; after the last it serves whole.
    pub next_percents: Vec<u8>,
    /// When the next follows; absent where it waits for `tqctl rollout promote`.
    #[cfg_attr(test, schemars(with = "Option<String>", extend("format" = "date-time")))]
    pub next_at: Option<Timestamp>,
    /// Whose requests go to it whatever its share: `header:NAME=VALUE` or `cookie:NAME=VALUE`; absent where
    /// nobody's do.
    pub testers: Option<String>,
}

/// One worker: its newest generation, and those it replaces.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct WorkerStatus {
    /// Its name.
    pub name: WorkerName,
    /// Where it is mounted.
    pub route: RoutePath,
    /// Where its newest generation stands.
    pub state: WorkerState,
    /// Its newest generation; this and the following are absent while there is none.
    pub generation: Option<Generation>,
    /// Where that listens on 127.0.0.1.
    pub port: Option<Port>,
    /// The unit that runs it.
    pub unit: Option<UnitName>,
    /// The commit whose folder it runs from; absent in development.
    pub commit: Option<CommitId>,
    /// The deployment that it is pinned to, instead of the current one; absent where it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pinned: Option<CommitId>,
    /// Since when it serves; absent while it does not.
    #[cfg_attr(test, schemars(with = "Option<String>", extend("format" = "date-time")))]
    pub since: Option<Timestamp>,
    /// The digest of all that makes it what it is: binary, private files, settings.
    pub fingerprint: Option<Md5>,
    /// Requests in flight at the newest generation.
    pub in_flight: u64,
    /// What it did in the last ten seconds; absent until it was watched for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<WorkerLoad>,
    /// Memory of its newest generation, in bytes; absent where it is not accounted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// How many processors its newest generation kept busy in the last ten seconds; absent where that is
    /// not accounted, or not known yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpus_busy: Option<f64>,
    /// How many instances it is to have at the moment; absent where that is one, or none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instances_wanted: Option<usize>,
    /// The instances of its newest generation; absent where there is one and one is wanted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub instances: Vec<InstanceStatus>,
    /// Older generations that finish what they have.
    pub draining: Vec<GenerationBeside>,
    /// Those of a deployment that comes to serve by degrees; absent where there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub canaries: Vec<GenerationBeside>,
    /// Why a generation failed last, until one succeeds.
    pub last_failure: Option<String>,
    /// Restarts after deaths, since the start of the daemon's process.
    #[serde(default)]
    pub restarts: u64,
    /// Whether requests wait for it while it does not serve.
    #[serde(default)]
    pub breaker: BreakerState,
    /// When it is tried again; absent where it does not wait for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "Option<String>", extend("format" = "date-time")))]
    pub next_attempt: Option<Timestamp>,
    /// The last end of a process of it that nobody had asked tqserver for, since the start of the
    /// daemon's process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_exit: Option<LastExit>,
    /// What of its sandbox is loosened, one item each: `ip_address_allow=10.0.0.0/8`; absent where
    /// nothing is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub loosened: Vec<String>,
}

/// What a worker did of late, through all its generations.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct WorkerLoad {
    /// Over how long: ten seconds, and less soon after a start.
    pub seconds: f64,
    /// Requests sent to it, a second.
    pub requests_per_second: f64,
    /// Half of its answers took no longer, in milliseconds; absent where there were none. It is the upper
    /// bound of a range, at most half above what was measured, and 0.25 at least.
    pub p50_ms: Option<f64>,
    /// The same of 99 in a hundred.
    pub p99_ms: Option<f64>,
    /// The share of its answers that were 5xx, 0 to 1; absent where there were none.
    pub server_errors: Option<f64>,
}

/// One of several units of a generation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct InstanceStatus {
    /// Where it stands.
    pub state: WorkerState,
    /// Where it listens on 127.0.0.1.
    pub port: Port,
    /// The unit.
    pub unit: UnitName,
    /// Since when it serves; absent while it does not.
    #[cfg_attr(test, schemars(with = "Option<String>", extend("format" = "date-time")))]
    pub since: Option<Timestamp>,
    /// Requests in flight at it.
    pub in_flight: u64,
    /// Its memory in bytes; absent where that is not accounted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// How many processors it kept busy in the last ten seconds; absent as the worker's is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpus_busy: Option<f64>,
}

/// Whether requests wait for a worker that does not serve.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum BreakerState {
    /// They are held for the next generation.
    #[default]
    Closed,
    /// It failed too often in a row: they are answered 503 at once until it is tried again.
    Open,
    /// It is being tried again: they are answered 503 at once until that serves. It closes when a
    /// generation has served for 30 seconds.
    HalfOpen,
}

impl BreakerState {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half open",
        }
    }
}

/// How a process of a worker ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct LastExit {
    /// What ended it.
    pub kind: ExitKind,
    /// The exit status where it `exited`, the number of the `signal`; else absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,
    /// The same in words, for people.
    pub reason: String,
    /// Of which generation it was.
    pub generation: Generation,
    /// The unit that ran it.
    pub unit: UnitName,
    /// When.
    #[cfg_attr(test, schemars(with = "Option<String>", extend("format" = "date-time")))]
    pub at: Option<Timestamp>,
}

/// What ended a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ExitKind {
    /// It ended itself, with a status that is not 0.
    Exited,
    /// A signal.
    Signal,
    /// The kernel, as it had used all the memory it may use.
    OutOfMemory,
    /// systemd, as it missed its watchdog.
    Watchdog,
    /// systemd, as it did not start or stop in time.
    Timeout,
    /// Somebody stopped its unit, or it ended itself with status 0.
    Stopped,
    /// Anything else.
    Other,
}

impl ExitKind {
    /// The word for it, as documents have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Exited => "exited",
            Self::Signal => "signal",
            Self::OutOfMemory => "out_of_memory",
            Self::Watchdog => "watchdog",
            Self::Timeout => "timeout",
            Self::Stopped => "stopped",
            Self::Other => "other",
        }
    }
}

/// Where a worker stands: the states of its newest generation, and what is between two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum WorkerState {
    /// Its unit is to be asked for as soon as fewer others start.
    Queued,
    /// Its unit was asked for, and is not ready.
    Starting,
    /// Ready by its own word, and being probed.
    Probing,
    /// In the published table.
    Serving,
    /// It failed, and is tried again after a wait.
    Backoff,
    /// It failed, and is not tried again.
    Failed,
    /// There is none, as nobody has asked for it of late: the next request has one started.
    Asleep,
    /// It is out of service until it is restarted.
    Drained,
    /// There is none.
    Stopped,
}

impl WorkerState {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Starting => "starting",
            Self::Probing => "probing",
            Self::Serving => "serving",
            Self::Backoff => "backoff",
            Self::Failed => "failed",
            Self::Asleep => "asleep",
            Self::Drained => "drained",
            Self::Stopped => "stopped",
        }
    }
}

/// An instance of a generation beside the one that serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct GenerationBeside {
    /// Which one.
    pub generation: Generation,
    /// Where it listens.
    pub port: Port,
    /// The unit that runs it.
    pub unit: UnitName,
    /// The commit whose folder it runs from.
    pub commit: Option<CommitId>,
    /// Requests it still owes.
    pub in_flight: u64,
}

/// Totals since the start of the daemon's process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Counters {
    /// Requests taken.
    pub requests: u64,
    /// Requests in flight now.
    pub in_flight: u64,
    /// Requests held now, until their worker is ready.
    pub held: u64,
    /// Answers 4xx.
    pub client_errors: u64,
    /// Answers 5xx, from workers and of our own.
    pub server_errors: u64,
    /// Client connections open now.
    pub connections: u64,
}

/// The answer to `POST /v1/reload`, `POST /v1/workers/{name}/restart` and `POST /v1/canary/…`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ReloadVerdict {
    /// [`SCHEMA`]
    pub schema: u32,
    /// Whether what is desired now serves.
    pub ok: bool,
    /// The commit it was about; absent in development, and where the manifest cannot be read.
    pub commit: Option<CommitId>,
    /// What came of it.
    pub outcome: ReloadOutcome,
    /// Workers that got a new generation.
    pub started: Vec<WorkerName>,
    /// Workers that run on.
    pub kept: Vec<WorkerName>,
    /// Why not, naming the worker or the file.
    pub reason: Option<String>,
    /// The last lines that the failed worker wrote.
    pub details: Vec<String>,
    /// From the asking to the verdict, in milliseconds.
    pub duration_ms: u64,
}

/// What came of a reload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ReloadOutcome {
    /// A new table is published.
    Switched,
    /// It serves by degrees; the status tells how far it has come.
    Canary,
    /// There was nothing to change.
    Unchanged,
    /// New generations were started and did not become ready; the old ones serve on.
    Failed,
    /// Configuration or manifest is not valid, or a new tqserver did not take over; nothing was
    /// started.
    Refused,
    /// A new tqserver has taken over, which looks at what is wanted itself: ask it.
    HandedOver,
}

/// `GET /v1/deployments`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PastRollouts {
    /// [`SCHEMA`]
    pub schema: u32,
    /// The last hundred, newest first.
    pub rollouts: Vec<PastRollout>,
    /// The last hundred wishes that were refused before anything was started, newest first.
    #[serde(default)]
    pub refused: Vec<RefusedWish>,
}

/// What the manifest asked for, and was not even tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RefusedWish {
    /// Which commit; absent where the manifest or the configuration could not be read.
    pub commit: Option<CommitId>,
    /// The manifest's `deployment_id`, likewise.
    pub deployment_id: Option<String>,
    /// When it was refused for this reason first.
    #[cfg_attr(test, schemars(with = "String", extend("format" = "date-time")))]
    pub at: Timestamp,
    /// Why.
    pub reason: String,
    /// Who activated it, by the manifest's word.
    pub by: Option<Initiator>,
}

/// What became of a rollout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PastRollout {
    /// Of which commit.
    pub commit: CommitId,
    /// The manifest's `deployment_id`.
    pub deployment_id: Option<String>,
    /// When it ended.
    #[cfg_attr(test, schemars(with = "String", extend("format" = "date-time")))]
    pub at: Timestamp,
    /// How long it took, in milliseconds; absent where the daemon was restarted meanwhile.
    pub took_ms: Option<u64>,
    /// Why it did not come to serve; absent when it did.
    pub failure: Option<String>,
    /// Workers that got a new generation.
    pub started: Vec<WorkerName>,
    /// Who activated it, by the manifest's word; absent where that says nothing.
    pub by: Option<Initiator>,
}

/// Who activated a deployment, by the manifest's word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Initiator {
    /// The user on the server's machine.
    pub user: String,
    /// The address that user came from by ssh.
    pub from: Option<String>,
    /// Who that is elsewhere, by its own word.
    pub client: Option<String>,
    /// `deploy`, `rollback` or `build`.
    pub verb: String,
}

/// The answer to `POST /v1/reload?wait=false` and `POST /v1/dev/rebuild`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Accepted {
    /// [`SCHEMA`]
    pub schema: u32,
    /// Always true.
    pub accepted: bool,
}

/// The answer to whatever is not understood, with a status of 4xx or 5xx.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ApiError {
    /// What is wrong with the request.
    pub error: String,
}
