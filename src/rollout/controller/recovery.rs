//! Successors for generations that died: at once, then after waits that grow; and the breaker, by
//! which requests for a worker that dies again and again are refused rather than held.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::super::event::{Cause, Effect};
use super::super::generation::Phase;
use super::Controller;
use crate::ids::{Generation, UnitName, WorkerName};

/// The longest wait between two attempts, without its jitter.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// By how much of itself a wait may be longer, so that workers that died together do not come back
/// together each time.
const JITTER: f64 = 0.25;

/// Serving this long makes the next death the first of a row again, and closes the breaker.
const STABLE_AFTER: Duration = Duration::from_secs(30);

/// How many failures in a row open the breaker.
const OPENS_AFTER: u32 = 5;

/// Attempts to bring a worker back.
#[derive(Debug, Default)]
pub(super) struct Restart {
    /// How many in a row did not last.
    failures: u32,
    /// When the next is due; `None` while one is under way.
    pub(super) due: Option<Instant>,
    /// When the last was due, or the next is.
    scheduled: Option<Instant>,
    /// How many there were since this process began.
    begun: u64,
    last_exit: Option<Exit>,
}

/// How a process of a worker ended that nobody had told to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// Which it was.
    pub unit: UnitName,
    /// Of which generation.
    pub generation: Generation,
    /// How it ended.
    pub cause: Cause,
    /// When we heard of it.
    pub at: Instant,
}

/// Whether requests for a worker wait for its next attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Breaker {
    /// They do.
    Closed,
    /// It failed too often in a row: they are refused until the next attempt serves.
    Open,
    /// That attempt is under way, or serves and has yet to last.
    HalfOpen,
}

/// How a worker's recovery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recovery<'a> {
    /// Restarts since this process began.
    pub restarts: u64,
    /// Whether requests wait for the next one.
    pub breaker: Breaker,
    /// When that is due, where it waits.
    pub next_attempt: Option<Instant>,
    /// The last end that nobody had asked for.
    pub last_exit: Option<&'a Exit>,
}

impl Restart {
    fn breaker(&self) -> Breaker {
        match (self.failures >= OPENS_AFTER, self.due) {
            (false, _) => Breaker::Closed,
            (true, Some(_)) => Breaker::Open,
            (true, None) => Breaker::HalfOpen,
        }
    }

    /// Somebody wants something new, so what was before counts no more.
    pub(super) fn begin_anew(&mut self) {
        (self.failures, self.due) = (0, None);
    }
}

impl Controller {
    /// How a worker's recovery stands.
    pub fn recovery(&self, worker: &WorkerName) -> Recovery<'_> {
        let restart = self.restarts.get(worker);
        Recovery {
            restarts: restart.map_or(0, |restart| restart.begun),
            breaker: restart.map_or(Breaker::Closed, Restart::breaker),
            next_attempt: restart.and_then(|restart| restart.due),
            last_exit: restart.and_then(|restart| restart.last_exit.as_ref()),
        }
    }

    /// A worker has lost its generation, after serving for `served`, or failed to get one.
    ///
    /// The first death of a row is made good at once; what fails then has a reason that may last.
    pub(super) fn schedule_restart(
        &mut self,
        now: Instant,
        worker: &WorkerName,
        served: Option<Duration>,
    ) {
        if self.ending || self.lacking_now(worker) == 0 {
            return;
        }
        let first_wait = self.settings.restart_delay;
        let restart = self.restarts.entry(worker.clone()).or_default();
        if restart.due.is_some() {
            return; // All that are missing then are started with it.
        }
        let has_lasted = served.is_some_and(|served| served >= STABLE_AFTER);
        let wait = match (served, restart.failures) {
            (Some(_), 0) => Duration::ZERO,
            // Several instances may die of one cause.
            _ if has_lasted => Duration::ZERO,
            (None, 0) => first_wait,
            (_, failures) => first_wait.saturating_mul(1 << (failures - 1).min(16)),
        };
        let wait = wait.min(LONGEST_WAIT).mul_f64(1.0 + JITTER * self.random.f64());
        restart.failures = match restart.failures {
            begun @ 1.. if has_lasted => begun,
            failures => failures.saturating_add(1),
        };
        restart.due = Some(now + wait);
        restart.scheduled = restart.due;
    }

    /// Remembers an end that nobody had asked for.
    pub(super) fn note_exit(&mut self, now: Instant, unit: &UnitName, cause: Cause) {
        let Some(generation) = self.generations.get(unit).map(|tracked| tracked.generation) else {
            return;
        };
        let exit = Exit { unit: unit.clone(), generation, cause, at: now };
        self.restarts.entry(unit.worker.clone()).or_default().last_exit = Some(exit);
    }

    /// Lets the past of workers rest that have served long enough, or are no more.
    pub(super) fn note_stable(&mut self, now: Instant) {
        let stable: Vec<WorkerName> = self
            .restarts
            .keys()
            .filter(|name| self.stable_at(name).is_some_and(|at| at <= now))
            .cloned()
            .collect();
        for name in stable {
            self.restarts.entry(name).and_modify(|restart| restart.failures = 0);
        }
        let known = [self.current.clone(), self.rolling_out().cloned()];
        self.restarts
            .retain(|name, _| known.iter().flatten().any(|it| it.workers.contains_key(name)));
    }

    /// When the past of a worker that serves will rest; `None` where there is none, or it does not
    /// serve.
    pub(super) fn stable_at(&self, worker: &WorkerName) -> Option<Instant> {
        self.restarts.get(worker).filter(|restart| restart.failures > 0)?;
        let of_worker = self.generations.values().filter(|it| it.unit.worker == *worker);
        let since = of_worker.filter_map(|tracked| match tracked.phase() {
            Phase::Serving { since } => Some(since),
            _ => None,
        });
        since.max().map(|since| since + STABLE_AFTER)
    }

    /// Workers for which requests are refused, and until when: the attempt that is due then may
    /// serve.
    pub(super) fn refused(&self) -> BTreeMap<WorkerName, Instant> {
        let serving = self.serving();
        self.restarts
            .iter()
            .filter(|(name, restart)| {
                restart.breaker() != Breaker::Closed && !serving.contains_key(*name)
            })
            .filter_map(|(name, restart)| Some((name.clone(), restart.scheduled?)))
            .collect()
    }

    /// Publishes whose requests are refused, where that has changed.
    pub(super) fn publish_refused(&mut self, out: &mut Vec<Effect>) {
        if !self.ending && self.refused() != self.refused_published {
            self.publish(out);
        }
    }

    /// Starts what is due.
    pub(super) fn restart_due(&mut self, now: Instant, out: &mut Vec<Effect>) {
        let mut due = Vec::new();
        for (name, restart) in &mut self.restarts {
            if restart.due.take_if(|at| *at <= now).is_some() {
                due.push(name.clone());
            }
        }
        for name in due {
            let worker = self.current.as_ref().and_then(|current| current.workers.get(&name));
            let Some(worker) = worker.cloned() else {
                self.restarts.remove(&name);
                continue;
            };
            let lacking = self.lacking_now(&name);
            if lacking == 0 {
                continue; // A rollout has brought them meanwhile.
            }
            self.restarts.entry(name.clone()).or_default().begun += 1;
            let generation = self.generation_to_join(&worker);
            let (_, asked) = self.launch_instances(&worker, generation, lacking);
            if let Err(cause) = asked {
                out.push(Effect::Warn(format!("restart of {name} failed: {cause}")));
                self.schedule_restart(now, &name, None);
            }
        }
    }

    /// Sees to it that each worker of the current deployment gets the instances that it lacks.
    pub(super) fn restart_all_missing(&mut self, now: Instant) {
        let Some(current) = self.current.clone() else { return };
        for name in current.workers.keys() {
            self.schedule_restart(now, name, None);
        }
    }
}
