//! What the rollout tells whoever asks: a snapshot, published after every step.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use super::controller::{Breaker, Controller};
use super::event::{Cause, RolloutId};
use super::generation::Phase;
use super::soak::Before;
use super::state::{DeploymentRef, FailedDeployment, HistoryEntry, Refusal, State};
use crate::canary::CanaryPlan;
use crate::ids::{CommitId, Generation, Md5, RoutePath, UnitName, WorkerName};
use crate::launcher::Source;
use crate::proxy::target::Target;

/// Everything the control plane knows, at one moment.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// What the manifest asks for, as last read.
    pub desired: Option<DeploymentRef>,
    /// Whether any deployment's routes are published.
    pub decided: bool,
    /// What is published.
    pub actual: Option<CommitId>,
    /// The branch it was built from.
    pub branch: Option<String>,
    /// The tag that names its commit.
    pub tag: Option<String>,
    /// What is on its way.
    pub rolling_out: Option<CommitId>,
    /// What serves a part of the requests.
    pub canary: Option<CanarySnapshot>,
    /// The last that came to serve whole.
    pub last_good: Option<DeploymentRef>,
    /// The last that did not.
    pub failed: Option<FailedDeployment>,
    /// Every worker of the published deployment, and those that still have a generation.
    pub workers: Vec<WorkerSnapshot>,
    /// What an operator should know, newest last; bounded.
    pub warnings: Vec<String>,
    /// What became of the last rollouts, newest last; bounded.
    pub past: Arc<Vec<HistoryEntry>>,
    /// What was refused before anything was tried, newest last; bounded.
    pub refused: Arc<Vec<Refusal>>,
    /// What workers had done when what is published came to be.
    pub before: Arc<BTreeMap<WorkerName, Before>>,
}

/// A deployment that comes to serve by degrees.
#[derive(Debug, Clone)]
pub struct CanarySnapshot {
    /// Its rollout.
    pub id: RolloutId,
    /// Which it is.
    pub commit: Option<CommitId>,
    /// Its share of the requests, in percent.
    pub share: u8,
    /// How it is to go on, the present step among them.
    pub plan: Option<CanaryPlan>,
    /// At which of the plan's steps it is, from 0 on.
    pub step: usize,
    /// When the next begins; `None`: when somebody says so.
    pub next_step: Option<Timestamp>,
}

/// One worker.
#[derive(Debug, Clone)]
pub struct WorkerSnapshot {
    /// Its name.
    pub name: WorkerName,
    /// Where it is mounted, if it is part of the published deployment.
    pub route: Option<RoutePath>,
    /// The deployment that it is pinned to in what is published.
    pub pinned: Option<CommitId>,
    /// How many instances the published deployment wants of it at the moment.
    pub instances: usize,
    /// What each of them may use for long, in bytes; `None`: as much as it likes.
    pub memory_high: Option<u64>,
    /// Whether it has none because nobody has asked for it of late.
    pub asleep: bool,
    /// Whether it has none because somebody has taken it out of service.
    pub drained: bool,
    /// The instances of its generations, oldest first.
    pub generations: Vec<GenerationSnapshot>,
    /// When its next attempt is due, if it waits for one.
    pub next_attempt: Option<Timestamp>,
    /// Restarts after deaths, since this process began.
    pub restarts: u64,
    /// Whether requests wait for its next attempt while nothing of it serves.
    pub breaker: Breaker,
    /// Its last end that nobody here had asked for.
    pub last_exit: Option<ExitSnapshot>,
    /// Why a generation of it failed last, until one serves.
    pub last_failure: Option<String>,
    /// What of its sandbox is loosened in the published deployment.
    pub loosened: Vec<String>,
}

/// How a process of a worker ended.
#[derive(Debug, Clone)]
pub struct ExitSnapshot {
    /// Of which generation it was.
    pub generation: Generation,
    /// The unit that ran it.
    pub unit: UnitName,
    /// How it ended.
    pub cause: Cause,
    /// When we heard of it.
    pub at: Option<Timestamp>,
}

/// One instance of a generation.
#[derive(Debug, Clone)]
pub struct GenerationSnapshot {
    /// Its number.
    pub generation: Generation,
    /// Its unit.
    pub unit: UnitName,
    /// Its phase's name: `Starting`, `Serving`, …
    pub phase: &'static str,
    /// Since when it serves, as far as it does.
    pub since: Option<Timestamp>,
    /// From the asking for it until it served, as far as it does and was asked for by us.
    pub start_took: Option<Duration>,
    /// Where its files come from.
    pub source: Source,
    /// What it is made of.
    pub fingerprint: Md5,
    /// What counts its requests in flight, once it has served.
    pub target: Option<Arc<Target>>,
}

impl GenerationSnapshot {
    /// Whether it serves a part of the requests, beside the one that serves.
    pub fn is_canary(&self) -> bool {
        self.phase == "Canary"
    }

    /// Whether it is in the published table.
    pub fn serves(&self) -> bool {
        self.phase == "Serving"
    }
}

impl WorkerSnapshot {
    /// Whether a generation of it is in the published table.
    pub fn serves(&self) -> bool {
        self.generations.iter().any(GenerationSnapshot::serves)
    }

    /// Whether it answers: it serves, or does as soon as somebody asks.
    pub fn is_up(&self) -> bool {
        self.serves() || self.asleep
    }
}

impl Snapshot {
    /// The state of this moment; warnings, the past and what was before are left empty.
    pub fn of(
        controller: &Controller,
        state: &State,
        desired: Option<&DeploymentRef>,
        targets: &HashMap<UnitName, Arc<Target>>,
        now: Instant,
    ) -> Self {
        let (current, asleep) = (controller.current(), controller.asleep());
        let blank = |name: &WorkerName| {
            let recovery = controller.recovery(name);
            let settings = current.and_then(|current| {
                current.settings().find(|(other, _)| *other == name).map(|(_, settings)| settings)
            });
            WorkerSnapshot {
                pinned: current.and_then(|current| current.workers.get(name)?.pinned_to()),
                name: name.clone(),
                route: settings.map(|settings| settings.route.clone()),
                instances: controller.wanted_instances(name),
                memory_high: settings.and_then(|settings| settings.memory_high),
                asleep: asleep.contains(name),
                drained: controller.out_of_service().contains(name),
                generations: Vec::new(),
                next_attempt: recovery.next_attempt.and_then(|at| date_of(at, now)),
                restarts: recovery.restarts,
                breaker: recovery.breaker,
                last_exit: recovery.last_exit.map(|exit| ExitSnapshot {
                    generation: exit.generation,
                    unit: exit.unit.clone(),
                    cause: exit.cause.clone(),
                    at: date_of(exit.at, now),
                }),
                last_failure: controller.last_failure(name).map(ToString::to_string),
                loosened: settings.map(|settings| settings.sandbox.loosened()).unwrap_or_default(),
            }
        };
        let mut workers: BTreeMap<WorkerName, WorkerSnapshot> = current
            .iter()
            .flat_map(|current| current.settings())
            .map(|(name, _)| (name.clone(), blank(name)))
            .collect();
        for tracked in controller.generations() {
            let name = &tracked.unit.worker;
            let worker = workers.entry(name.clone()).or_insert_with(|| blank(name));
            worker.generations.push(GenerationSnapshot {
                generation: tracked.generation,
                unit: tracked.unit.clone(),
                phase: tracked.phase().name(),
                since: match tracked.phase() {
                    Phase::Serving { since } => date_of(since, now),
                    _ => None,
                },
                start_took: tracked.start_took(),
                source: tracked.source.clone(),
                fingerprint: tracked.fingerprint,
                target: targets.get(&tracked.unit).map(Arc::clone),
            });
        }
        for worker in workers.values_mut() {
            worker.generations.sort_by_key(|generation| generation.generation);
        }
        Self {
            desired: desired.cloned(),
            decided: current.is_some(),
            actual: current.and_then(|current| current.commit.clone()),
            branch: current.and_then(|current| current.branch.clone()),
            tag: current.and_then(|current| current.tag.clone()),
            rolling_out: controller.rolling_out().and_then(|desired| desired.commit.clone()),
            canary: controller.canary().map(|canary| CanarySnapshot {
                id: canary.id,
                commit: canary.deployment.commit.clone(),
                share: canary.share,
                plan: canary.deployment.canary.clone(),
                step: canary.step,
                next_step: canary.next_step.and_then(|at| date_of(at, now)),
            }),
            last_good: state.last_good.clone(),
            failed: state.failed.clone(),
            workers: workers.into_values().collect(),
            warnings: Vec::new(),
            past: Arc::default(),
            refused: Arc::default(),
            before: Arc::default(),
        }
    }
}

/// The date of a moment of the steady clock, for people.
fn date_of(moment: Instant, now: Instant) -> Option<Timestamp> {
    let ago = SignedDuration::try_from(now.saturating_duration_since(moment)).ok()?;
    let ahead = SignedDuration::try_from(moment.saturating_duration_since(now)).ok()?;
    Timestamp::now().checked_sub(ago).ok()?.checked_add(ahead).ok()
}

/// One line, for `systemctl status`.
impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.actual, self.decided) {
            (Some(commit), _) => write!(f, "serving {}", commit.short())?,
            (None, true) => f.write_str("serving the source tree")?,
            (None, false) => f.write_str("nothing to serve yet")?,
        }
        let all = self.workers.iter().filter(|worker| worker.route.is_some());
        let (count, ready) = (all.clone().count(), all.filter(|worker| worker.is_up()).count());
        write!(f, ", {ready} of {count} workers ready")?;
        match (&self.rolling_out, &self.canary) {
            (Some(commit), Some(canary)) => {
                write!(f, ", {} serves {} % as a canary", commit.short(), canary.share)?;
            }
            (Some(commit), None) => write!(f, ", rolling out {}", commit.short())?,
            (None, _) => {}
        }
        match &self.failed {
            Some(failed) => {
                write!(f, "; {} failed: {}", failed.deployment.commit.short(), failed.reason)
            }
            None => Ok(()),
        }
    }
}
