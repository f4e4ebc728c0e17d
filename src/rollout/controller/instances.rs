//! How many instances a generation has: each is a unit of its own, and all serve side by side.
//!
//! Invariant (one generation serves): all instances in the table that run one worker are of one
//! generation, and not more than are wanted.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Instant;

use super::super::desired::DesiredWorker;
use super::super::event::Cause;
use super::super::generation::{Phase, Tracked};
use super::super::plan::Serving;
use super::Controller;
use crate::ids::{Generation, UnitName, WorkerName};

impl Controller {
    /// What serves each worker.
    pub(super) fn serving(&self) -> BTreeMap<WorkerName, Serving> {
        let mut serving: BTreeMap<WorkerName, Serving> = BTreeMap::new();
        for tracked in self.generations.values() {
            if matches!(tracked.phase(), Phase::Serving { .. }) {
                serving
                    .entry(tracked.unit.worker.clone())
                    .or_insert_with(|| Serving {
                        generation: tracked.generation,
                        fingerprint: tracked.fingerprint,
                        units: Vec::new(),
                    })
                    .units
                    .push(tracked.unit.clone());
            }
        }
        serving
    }

    /// How many instances `worker` lacks, beside those that serve and those that will as soon as they
    /// are ready.
    pub(super) fn lacking(&self, worker: &DesiredWorker) -> usize {
        let counts = |tracked: &&Tracked| {
            tracked.unit.worker == worker.name
                && tracked.fingerprint == worker.fingerprint
                && match tracked.phase() {
                    Phase::Serving { .. } => true,
                    phase => {
                        phase.is_before_serving()
                            && !self.waits_for_others(&tracked.unit)
                            // It takes a place that is not empty yet.
                            && self.renewed_by(&tracked.unit).is_none()
                    }
                }
        };
        let there = self.generations.values().filter(counts).count();
        self.wanted_count(worker).saturating_sub(there)
    }

    /// The same of the current deployment. None where something else than it wants serves: that is
    /// replaced as a whole, or goes on as it is.
    pub(super) fn lacking_now(&self, worker: &WorkerName) -> usize {
        let Some(wanted) = self.current.as_ref().and_then(|c| c.workers.get(worker)) else {
            return 0;
        };
        match self.serving().get(worker) {
            Some(serving) if serving.fingerprint != wanted.fingerprint => 0,
            _ => self.lacking(wanted),
        }
    }

    /// Whether a unit is part of a rollout that waits to be whole: the others may take long, or fail.
    pub(super) fn waits_for_others(&self, unit: &UnitName) -> bool {
        self.rollout.as_ref().is_some_and(|rollout| rollout.whole && rollout.has(unit))
    }

    /// The generation that further instances of `worker` are part of, if there is one that lives.
    pub(super) fn generation_to_join(&self, worker: &DesiredWorker) -> Option<Generation> {
        let lives =
            |phase: Phase| phase.is_before_serving() || matches!(phase, Phase::Serving { .. });
        self.generations
            .values()
            .filter(|it| it.unit.worker == worker.name && it.fingerprint == worker.fingerprint)
            .filter(|it| lives(it.phase()))
            .map(|it| it.generation)
            .max()
    }

    /// Asks for `count` instances of `generation`, or of a new one. Those that were asked for before
    /// one could not be are part of `launched`, too.
    pub(super) fn launch_instances(
        &mut self,
        worker: &DesiredWorker,
        generation: Option<Generation>,
        count: usize,
    ) -> (Vec<UnitName>, Result<(), Cause>) {
        let mut launched = Vec::new();
        let mut generation = generation;
        for _ in 0..count {
            match self.launch(worker, generation) {
                Ok((unit, number)) => {
                    generation = Some(number);
                    launched.push(unit);
                }
                Err(cause) => return (launched, Err(cause)),
            }
        }
        (launched, Ok(()))
    }

    /// Whether the unit can serve beside what does: it is of that generation, or nothing serves.
    pub(super) fn joins(&self, unit: &UnitName) -> bool {
        let generation = self.generations.get(unit).map(|tracked| tracked.generation);
        let serving = self.serving();
        serving.get(&unit.worker).is_none_or(|serving| Some(serving.generation) == generation)
    }

    /// Whether the current deployment wants just what this unit is, and lacks it.
    pub(super) fn is_missing(&self, unit: &UnitName) -> bool {
        let current = self.current.as_ref().and_then(|c| c.workers.get(&unit.worker));
        let fingerprint = self.generations.get(unit).map(|tracked| tracked.fingerprint);
        current.is_some_and(|worker| {
            let serving = self.serving();
            let there = serving.get(&worker.name).map_or(0, |serving| serving.units.len());
            Some(worker.fingerprint) == fingerprint
                && self.joins(unit)
                && there < self.wanted_count(worker)
        })
    }

    /// What serves and should not: of workers that the current deployment does not have, of a
    /// generation that another replaces, what is worn out and has a successor that serves, or more
    /// instances than are wanted; of these what is worn out, then the youngest.
    pub(super) fn surplus(&self) -> Vec<UnitName> {
        let mut by_worker: BTreeMap<&WorkerName, Vec<(&Tracked, Instant)>> = BTreeMap::new();
        for tracked in self.generations.values() {
            if let Phase::Serving { since } = tracked.phase() {
                by_worker.entry(&tracked.unit.worker).or_default().push((tracked, since));
            }
        }
        let mut surplus = Vec::new();
        for (name, mut units) in by_worker {
            let wanted = self.current.as_ref().and_then(|current| current.workers.get(name));
            let Some(wanted) = wanted else {
                surplus.extend(units.iter().map(|(it, _)| it.unit.clone()));
                continue;
            };
            // A successor of one that died during a rollout has a higher number than the rollout's.
            let rank = |it: &Tracked| (it.fingerprint == wanted.fingerprint, it.generation);
            let is_worn_out = |it: &Tracked| self.renewals.contains_key(&it.unit);
            surplus.extend(
                units
                    .extract_if(.., |(it, _)| self.is_renewed(&it.unit))
                    .map(|(it, _)| it.unit.clone()),
            );
            units.sort_by_key(|(it, since)| {
                (Reverse(rank(it)), is_worn_out(it), *since, it.unit.clone())
            });
            let best = units.first().map(|(it, _)| it.generation);
            let count = self.wanted_count(wanted);
            let kept = units.iter().take_while(|(it, _)| Some(it.generation) == best).count();
            surplus.extend(units[kept.min(count)..].iter().map(|(it, _)| it.unit.clone()));
        }
        surplus
    }
}
