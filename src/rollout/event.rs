//! What the controller is told, and what it wants done.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;

use super::desired::{Desired, DesiredWorker};
use crate::ids::{CommitId, Generation, UnitName, WorkerName};
use crate::launcher::{ExitReason, LiveUnit, StartRequest, UnitState};

/// Something happened.
#[derive(Debug)]
pub enum Event {
    /// The daemon begins: what was current when it last ran, and the units it finds.
    Begin {
        /// The deployment that was published last, if it can still be read.
        current: Option<Arc<Desired>>,
        /// The units that were in the last published table, as the state file remembers.
        serving: Vec<UnitName>,
        /// The workers that were out of service.
        drained: BTreeSet<WorkerName>,
        /// What systemd has.
        found: Vec<LiveUnit>,
    },
    /// This is wanted from now on.
    Desired {
        /// What.
        desired: Arc<Desired>,
        /// Whether it has served before: then a worker that fails does not hold back the others
        /// on a cold start.
        proven: bool,
    },
    /// A worker of the current deployment is to get a new generation, although nothing about it changed.
    Restart(WorkerName),
    /// A worker of the current deployment is to be out of service until it is restarted.
    TakeOut(WorkerName),
    /// A unit changed its state.
    Unit {
        /// Which.
        unit: UnitName,
        /// To what.
        state: UnitState,
    },
    /// All worker units there are, after the bus was lost or on our asking.
    Resync {
        /// When the list was asked for: it cannot tell of units started later.
        asked: Instant,
        /// The list.
        found: Vec<LiveUnit>,
    },
    /// A start was refused before there was a unit.
    StartRefused {
        /// The unit that will not be.
        unit: UnitName,
        /// Why.
        reason: String,
    },
    /// A probe has come to its end.
    Probed {
        /// Whose.
        unit: UnitName,
        /// Passed, or the last thing it met.
        result: Result<(), String>,
    },
    /// An instance that serves has taken as many requests as it may.
    WornOut(UnitName),
    /// An instance that serves is not well any more.
    Unwell {
        /// Which one.
        unit: UnitName,
        /// What its last check met.
        answer: String,
    },
    /// What the workers have to do whose number of instances follows from that.
    Measured(BTreeMap<WorkerName, Load>),
    /// A request waits for a worker that sleeps.
    Awaited(WorkerName),
    /// What is to become of a canary.
    Decided(RolloutId, Decision),
    /// A draining generation has nothing in flight any more.
    Drained(UnitName),
    /// Time has passed: see [`super::controller::Controller::next_deadline`].
    Tick,
    /// The daemon is about to end; what serves goes on without it.
    Shutdown,
}

/// What is to become of a canary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It serves whole.
    Promote,
    /// It does not serve.
    GiveUp {
        /// The worker because of which; `None`: somebody wants it so.
        worker: Option<WorkerName>,
        /// Why.
        reason: String,
    },
}

/// What a worker has to do at a moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Load {
    /// Requests in flight at the instances that serve, and those that wait for a place there.
    pub in_flight: u64,
    /// Requests that have come so far.
    pub requests: u64,
}

/// Something is to be done, in the order given.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Ask the launcher for a generation.
    Start(StartRequest),
    /// Ask the generation's health path until it passes or has failed.
    Probe {
        /// The generation's unit.
        unit: UnitName,
        /// What is wanted of it.
        worker: DesiredWorker,
    },
    /// Replace the route table, as a whole.
    Publish(Table),
    /// Let the unit take no more requests, and report when it has none. Never before the table
    /// without it was published.
    Drain(UnitName),
    /// End the unit's event streams and tunnels.
    CutStreams(UnitName),
    /// SIGTERM, the grace period, SIGKILL.
    Stop(UnitName),
    /// The unit is gone: forget its target, its probe, its output.
    Forget(UnitName),
    /// Compare with what systemd has: answer with [`Event::Resync`].
    Reconcile,
    /// The wish was already being worked on: who waits for it waits for that rollout.
    Join(RolloutId),
    /// A rollout began; who waited for `superseded` waits for it now.
    Begun {
        /// The new one.
        id: RolloutId,
        /// The one it ends.
        superseded: Option<RolloutId>,
    },
    /// A rollout goes on by degrees: what its new generations do is to be watched, and an
    /// [`Event::Decided`] to be told where they do worse than those that serve.
    Watch(RolloutId),
    /// A rollout has ended.
    Verdict(RolloutId, Verdict),
    /// Something that an operator should read.
    Warn(String),
}

/// The number of a rollout, rising by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RolloutId(pub u64);

/// The route table in the controller's terms.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// The deployment whose routes these are.
    pub deployment: Arc<Desired>,
    /// Each worker's units; a worker that has none ready is absent, and requests for it are held.
    pub serving: Vec<UnitName>,
    /// What comes to serve by degrees beside them.
    pub canary: Option<TableCanary>,
    /// Those of the absent that need not be there before a request for them comes.
    pub asleep: BTreeSet<WorkerName>,
    /// Those of the absent that are out of service.
    pub drained: BTreeSet<WorkerName>,
    /// Those of the absent for which requests are refused rather than held, and until when.
    pub refused: BTreeMap<WorkerName, Instant>,
}

/// Generations that come to serve by degrees.
#[derive(Debug, Clone, PartialEq)]
pub struct TableCanary {
    /// The deployment that they are of.
    pub deployment: Arc<Desired>,
    /// The units of those workers that it replaces.
    pub units: Vec<UnitName>,
    /// Their share of the requests, in percent.
    pub share: u8,
}

/// How a rollout ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The commit that was wanted; `None` in development.
    pub commit: Option<CommitId>,
    /// What came of it.
    pub outcome: Outcome,
    /// Workers whose new generation serves.
    pub started: Vec<WorkerName>,
    /// Workers that needed none.
    pub kept: Vec<WorkerName>,
}

/// What came of a rollout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The wanted deployment serves, and something changed for it.
    Switched,
    /// It served already.
    Unchanged,
    /// It never served; what served before still does.
    Failed(Vec<Failure>),
    /// The daemon ended first.
    Interrupted,
}

/// Why a generation did not come to serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Whose.
    pub worker: WorkerName,
    /// Which; `None` where it came to no unit.
    pub unit: Option<(UnitName, Generation)>,
    /// Why.
    pub cause: Cause,
}

/// Why a generation failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Cause {
    /// Its process ended before it was ready.
    Exited(ExitReason),
    /// It stopped without an error before it was ready.
    Stopped,
    /// Its health path did not answer well.
    Probe(String),
    /// It was never started.
    Refused(String),
    /// It served a part of the requests, and was not to serve the rest.
    Canary(String),
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(reason) => reason.fmt(f),
            Self::Stopped => f.write_str("stopped"),
            Self::Probe(answer) => write!(f, "is not healthy: {answer}"),
            Self::Refused(reason) => write!(f, "was not started: {reason}"),
            Self::Canary(reason) => write!(f, "was given up as a canary: {reason}"),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.worker)?;
        if let Some((_, generation)) = &self.unit {
            write!(f, "{generation} ")?;
        }
        self.cause.fmt(f)?;
        match self.cause {
            Cause::Exited(_) | Cause::Stopped => f.write_str(" before it was ready"),
            Cause::Probe(_) | Cause::Refused(_) | Cause::Canary(_) => Ok(()),
        }
    }
}
