//! Successors for generations that died.

use std::time::{Duration, Instant};

use super::super::event::Effect;
use super::Controller;
use crate::ids::WorkerName;

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
        if self.ending || self.lacking_now(worker) == 0 {
            return;
        }
        let first_wait = self.settings.restart_delay;
        let restart = self.restarts.entry(worker.clone()).or_default();
        if restart.due.is_some() {
            return; // All that are missing then are started with it.
        }
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
        for name in due {
            let worker = self.current.as_ref().and_then(|current| current.workers.get(&name));
            let Some(worker) = worker.cloned() else {
                self.restarts.remove(&name);
                continue;
            };
            // None, where a rollout has brought them meanwhile.
            let lacking = self.lacking_now(&name);
            let generation = self.generation_to_join(&worker);
            let (_, asked) = self.launch_instances(now, &worker, generation, lacking, out);
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
