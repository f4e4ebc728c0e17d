//! Successors for generations that died.

use std::time::{Duration, Instant};

use super::super::event::Effect;
use super::Controller;
use crate::ids::{UnitName, WorkerName};

/// The longest wait between two attempts.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Serving this long makes the next death the first of a row again.
const STABLE_AFTER: Duration = Duration::from_secs(30);

/// Attempts to bring a worker back.
#[derive(Debug, Default)]
pub(super) struct Restart {
    /// How many in a row did not last.
    failures: u32,
    /// When the next is due; `None` while one is under way.
    pub(super) due: Option<Instant>,
}

impl Controller {
    /// A worker has lost its generation, after serving for `served`, or failed to get one.
    pub(super) fn schedule_restart(
        &mut self,
        now: Instant,
        worker: &WorkerName,
        served: Option<Duration>,
    ) {
        let wanted = self.current.as_ref().is_some_and(|c| c.workers.contains_key(worker));
        if !wanted || self.ending || self.has_successor(worker) {
            return;
        }
        let first_wait = self.settings.restart_delay;
        let restart = self.restarts.entry(worker.clone()).or_default();
        if served.is_some_and(|served| served >= STABLE_AFTER) {
            restart.failures = 0;
        }
        let wait = first_wait.saturating_mul(1 << restart.failures.min(16)).min(LONGEST_WAIT);
        restart.failures = restart.failures.saturating_add(1);
        restart.due = Some(now + wait);
    }

    /// Starts what is due.
    pub(super) fn restart_due(&mut self, now: Instant, out: &mut Vec<Effect>) {
        let mut due = Vec::new();
        for (name, restart) in &mut self.restarts {
            if restart.due.take_if(|at| *at <= now).is_some() {
                due.push(name.clone());
            }
        }
        let serving = self.serving();
        // A rollout may have brought a generation meanwhile.
        due.retain(|name| !serving.contains_key(name));
        for name in due {
            let worker = self.current.as_ref().and_then(|current| current.workers.get(&name));
            let Some(worker) = worker.cloned() else {
                self.restarts.remove(&name);
                continue;
            };
            if let Err(cause) = self.launch(now, &worker, out) {
                out.push(Effect::Warn(format!("restart of {name} failed: {cause}")));
                self.schedule_restart(now, &name, None);
            }
        }
    }

    /// Sees to it that a worker that should serve and does not gets a generation.
    pub(super) fn restart_missing(&mut self, now: Instant, worker: &WorkerName) {
        let pending = self.restarts.get(worker).is_some_and(|restart| restart.due.is_some());
        if !pending && !self.serving().contains_key(worker) {
            self.schedule_restart(now, worker, None);
        }
    }

    /// The same for all workers of the current deployment.
    pub(super) fn restart_all_missing(&mut self, now: Instant) {
        let Some(current) = self.current.clone() else { return };
        for name in current.workers.keys() {
            self.restart_missing(now, name);
        }
    }

    /// Whether the current deployment wants just what this unit is, and nothing serves it yet.
    pub(super) fn is_missing(&self, unit: &UnitName) -> bool {
        let current = self.current.as_ref().and_then(|c| c.workers.get(&unit.worker));
        let fingerprint = self.generations.get(unit).map(|tracked| tracked.fingerprint);
        current.is_some_and(|worker| Some(worker.fingerprint) == fingerprint)
            && !self.serving().contains_key(&unit.worker)
    }

    /// Whether a generation is on its way that will serve as soon as it is ready. One of a rollout
    /// that waits to be whole is none: the others may take long, or fail.
    fn has_successor(&self, worker: &WorkerName) -> bool {
        let wanted = self.current.as_ref().and_then(|c| c.workers.get(worker));
        self.generations.values().any(|tracked| {
            tracked.unit.worker == *worker
                && tracked.phase().is_before_serving()
                && match self.rollout.as_ref().filter(|rollout| rollout.has(&tracked.unit)) {
                    Some(rollout) => !rollout.whole,
                    None => wanted.is_some_and(|w| w.fingerprint == tracked.fingerprint),
                }
        })
    }
}
