//! What generations went through, counted from the snapshots that the rollout publishes: how long each
//! step took, how probes ended, and why workers were restarted.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::control::exit_kind;
use crate::ids::{Generation, UnitName, WorkerName};
use crate::rollout::actor::RolloutHandle;
use crate::rollout::status::{Snapshot, WorkerSnapshot};

/// The steps of a generation that take time, in their order, by the phases they are spent in.
const STEPS: [(&str, &str); 5] = [
    ("Queued", "queue"),
    ("Starting", "start"),
    ("Probing", "probe"),
    ("Ready", "wait"),
    ("Draining", "drain"),
];

/// All that was counted since the process began.
#[derive(Debug, Default)]
pub(super) struct Steps(Mutex<Counted>);

/// The numbers.
#[derive(Debug, Clone, Default)]
pub(super) struct Counted {
    /// How often a step was gone through, and how long that took in all.
    took: [(u64, Duration); STEPS.len()],
    /// Probes of new generations that ended well.
    pub(super) probes_passed: u64,
    /// And those that did not.
    pub(super) probes_failed: u64,
    /// Restarts after deaths, by worker and by what had ended it.
    pub(super) restarts: BTreeMap<(WorkerName, &'static str), u64>,
    phases: HashMap<(UnitName, Generation), (&'static str, Instant)>,
    restarts_seen: BTreeMap<WorkerName, u64>,
}

impl Steps {
    /// Looks at every snapshot, for ever.
    pub(super) async fn run(&self, rollout: RolloutHandle) {
        let mut snapshots = rollout.snapshots();
        loop {
            let snapshot = snapshots.borrow_and_update().clone();
            self.counted().look(&snapshot, Instant::now());
            if snapshots.changed().await.is_err() {
                // The actor is gone, and the process about to be.
                return std::future::pending().await;
            }
        }
    }

    /// The numbers of this moment.
    pub(super) fn sum(&self) -> Counted {
        self.counted().clone()
    }

    fn counted(&self) -> MutexGuard<'_, Counted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counted {
    /// Each step: its name, how often it was gone through, and how long that took in all.
    pub(super) fn steps(&self) -> impl Iterator<Item = (&'static str, u64, Duration)> {
        STEPS.iter().zip(self.took).map(|((_, step), (count, took))| (*step, count, took))
    }

    fn look(&mut self, snapshot: &Snapshot, now: Instant) {
        let mut phases = HashMap::new();
        for one in snapshot.workers.iter().flat_map(|worker| &worker.generations) {
            let key = (one.unit.clone(), one.generation);
            let before = self.phases.remove(&key);
            let since = match before {
                Some((phase, since)) if phase == one.phase => since,
                Some((phase, since)) => {
                    self.left(phase, Some(one.phase), now.saturating_duration_since(since));
                    now
                }
                None => now,
            };
            phases.insert(key, (one.phase, since));
        }
        for (phase, since) in std::mem::replace(&mut self.phases, phases).into_values() {
            self.left(phase, None, now.saturating_duration_since(since));
        }
        let known = |name: &WorkerName| snapshot.workers.iter().any(|it| it.name == *name);
        self.restarts_seen.retain(|name, _| known(name));
        self.restarts.retain(|(name, _), _| known(name));
        snapshot.workers.iter().for_each(|worker| self.look_at_restarts(worker));
    }

    /// A generation went on to another phase, or is gone.
    fn left(&mut self, phase: &str, next: Option<&str>, after: Duration) {
        let went_well = matches!(next, Some("Ready" | "Serving"));
        match phase {
            // Snapshots of one moment are one: the probe may have been between two.
            "Starting" | "Probing" if went_well => self.probes_passed += 1,
            "Probing" => self.probes_failed += 1,
            _ => {}
        }
        if let Some(at) = STEPS.iter().position(|(of, _)| *of == phase) {
            let (count, took) = &mut self.took[at];
            (*count, *took) = (*count + 1, *took + after);
        }
    }

    fn look_at_restarts(&mut self, worker: &WorkerSnapshot) {
        let seen = self.restarts_seen.insert(worker.name.clone(), worker.restarts).unwrap_or(0);
        let more = worker.restarts.saturating_sub(seen);
        if more > 0 {
            let reason = worker.last_exit.as_ref().map_or("other", |exit| exit_kind(exit).as_str());
            *self.restarts.entry((worker.name.clone(), reason)).or_default() += more;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launcher::{ExitReason, Source};
    use crate::rollout::controller::Breaker;
    use crate::rollout::event::Cause;
    use crate::rollout::status::{ExitSnapshot, GenerationSnapshot};

    fn unit() -> UnitName {
        "tq-worker@app-9000.service".parse().unwrap()
    }

    fn snapshot(phase: Option<&'static str>, restarts: u64, cause: Option<Cause>) -> Snapshot {
        let generation = |phase| GenerationSnapshot {
            generation: Generation(1),
            unit: unit(),
            phase,
            since: None,
            start_took: None,
            source: Source::Tree,
            fingerprint: "0".repeat(32).parse().unwrap(),
            target: None,
        };
        let exit =
            |cause| ExitSnapshot { generation: Generation(1), unit: unit(), cause, at: None };
        let worker = WorkerSnapshot {
            name: "app".parse().unwrap(),
            route: None,
            pinned: None,
            instances: 1,
            memory_high: None,
            asleep: false,
            drained: false,
            generations: phase.map(generation).into_iter().collect(),
            next_attempt: None,
            restarts,
            breaker: Breaker::Closed,
            last_exit: cause.map(exit),
            last_failure: None,
            loosened: Vec::new(),
        };
        Snapshot { workers: vec![worker], ..Snapshot::default() }
    }

    fn walk(phases: &[(u64, Option<&'static str>)]) -> Counted {
        let (mut counted, start) = (Counted::default(), Instant::now());
        for (second, phase) in phases {
            let now = start + Duration::from_secs(*second);
            counted.look(&snapshot(*phase, 0, None), now);
        }
        counted
    }

    #[test]
    fn a_life_is_its_steps() {
        let counted = walk(&[
            (0, Some("Queued")),
            (2, Some("Starting")),
            (4, Some("Starting")),
            (5, Some("Probing")),
            (6, Some("Ready")),
            (11, Some("Serving")),
            (60, Some("Draining")),
            (67, None),
        ]);
        let steps: Vec<_> =
            counted.steps().map(|(name, n, took)| (name, n, took.as_secs())).collect();
        assert_eq!(steps[..2], [("queue", 1, 2), ("start", 1, 3)]);
        assert_eq!(steps[2..], [("probe", 1, 1), ("wait", 1, 5), ("drain", 1, 7)]);
        assert_eq!((counted.probes_passed, counted.probes_failed), (1, 0));
    }

    #[test]
    fn probes_pass_or_fail_also_between_two_snapshots() {
        let passed = walk(&[(0, Some("Starting")), (1, Some("Serving"))]);
        assert_eq!((passed.probes_passed, passed.probes_failed), (1, 0));
        let failed = walk(&[(0, Some("Probing")), (1, Some("Failed"))]);
        assert_eq!((failed.probes_passed, failed.probes_failed), (0, 1));
        let never_ready = walk(&[(0, Some("Starting")), (1, None)]);
        assert_eq!((never_ready.probes_passed, never_ready.probes_failed), (0, 0));
    }

    #[test]
    fn restarts_are_told_apart_by_what_ended_the_worker() {
        let mut counted = Counted::default();
        let now = Instant::now();
        let exited = |reason| Some(Cause::Exited(reason));
        counted.look(&snapshot(None, 0, None), now);
        counted.look(&snapshot(None, 2, exited(ExitReason::Exited(3))), now);
        counted.look(&snapshot(None, 2, exited(ExitReason::Exited(3))), now);
        counted.look(&snapshot(None, 3, exited(ExitReason::OutOfMemory)), now);
        let app: WorkerName = "app".parse().unwrap();
        let expected = [((app.clone(), "exited"), 2), ((app, "out_of_memory"), 1)];
        assert_eq!(counted.restarts, expected.into());
        counted.look(&Snapshot::default(), now);
        assert!(counted.restarts.is_empty(), "a worker that is gone has no series");
    }
}
