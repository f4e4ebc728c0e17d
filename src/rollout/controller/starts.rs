//! How many units start at once: a deployment of hundreds of workers would otherwise take the processors
//! from those that serve, and make each of its starts take as long as all of them.
//!
//! Invariant (starts are bounded): not more than `parallel_starts` units are between their start and their
//! being ready; and one more, so that programs that hang keep no dead worker from having a successor.

use std::time::Instant;

use super::super::event::Effect;
use super::super::generation::{Phase, Tracked};
use super::Controller;
use crate::ids::UnitName;
use crate::launcher::StartRequest;

impl Controller {
    /// Has as many of those that are queued start as may: first those that will serve as soon as they are
    /// ready where nothing does, then in the order in which they were asked for.
    pub(super) fn start_queued(&mut self, now: Instant, out: &mut Vec<Effect>) {
        while let Some(unit) = self.next_to_start() {
            self.queued.retain(|other| *other != unit);
            self.advance(&unit, Phase::Starting { since: now }, out);
            if let Some(Tracked { unit, generation, source, .. }) = self.generations.get(&unit) {
                out.push(Effect::Start(StartRequest {
                    worker: unit.worker.clone(),
                    port: unit.port,
                    source: source.clone(),
                    generation: *generation,
                }));
            }
        }
    }

    fn next_to_start(&self) -> Option<UnitName> {
        let first = self.queued.front()?;
        let serving = self.serving();
        let is_missed =
            |unit: &UnitName| !serving.contains_key(&unit.worker) && !self.waits_for_others(unit);
        let is_starting =
            |it: &&Tracked| matches!(it.phase(), Phase::Starting { .. } | Phase::Probing);
        let starting: Vec<_> = self.generations.values().filter(is_starting).collect();

        let is_full = starting.len() >= self.settings.parallel_starts;
        let one_more = !starting.iter().any(|it| is_missed(&it.unit));
        match self.queued.iter().find(|unit| is_missed(unit)) {
            Some(missed) => (!is_full || one_more).then_some(missed),
            None => (!is_full).then_some(first),
        }
        .cloned()
    }
}
