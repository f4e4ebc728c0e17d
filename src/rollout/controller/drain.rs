//! The end of a generation that was replaced.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::super::event::Effect;
use super::super::generation::Phase;
use super::Controller;
use crate::ids::{Generation, UnitName, WorkerName};

/// How long streams have to end once they were told to.
const CUT_GRACE: Duration = Duration::from_secs(3);

impl Controller {
    /// Starts the clock of a generation that is about to leave the table.
    pub(super) fn begin_drain(&mut self, now: Instant, unit: &UnitName, out: &mut Vec<Effect>) {
        let due = now + self.settings.drain_timeout;
        self.advance(unit, Phase::Draining { due, cut: false }, out);
    }

    /// Nothing is in flight at a draining generation.
    pub(super) fn drained(&mut self, now: Instant, unit: &UnitName, out: &mut Vec<Effect>) {
        let draining = |phase| matches!(phase, Phase::Draining { .. });
        if self.generations.get(unit).is_some_and(|tracked| draining(tracked.phase())) {
            self.stop(now, unit, out);
        }
    }

    /// Ends the streams of what drained long enough, and stops what did not end with them.
    pub(super) fn drain_deadlines(&mut self, now: Instant, out: &mut Vec<Effect>) {
        let due: Vec<(UnitName, bool)> = self
            .generations
            .values()
            .filter_map(|tracked| match tracked.phase() {
                Phase::Draining { due, cut } if due <= now => Some((tracked.unit.clone(), cut)),
                _ => None,
            })
            .collect();
        for (unit, cut) in due {
            if cut { self.stop(now, &unit, out) } else { self.cut(now, &unit, now, out) }
        }
    }

    /// Invariant: beyond `max_draining` generations of a worker that drain at once, the oldest have
    /// their streams ended, so that frequent deployments cannot pile them up. Their requests keep
    /// the time they were given, which bounds the rest.
    pub(super) fn bound_draining(&mut self, now: Instant, out: &mut Vec<Effect>) {
        let mut uncut: BTreeMap<(&WorkerName, Generation), Vec<(UnitName, Instant)>> =
            BTreeMap::new();
        for tracked in self.generations.values() {
            if let Phase::Draining { due, cut: false } = tracked.phase() {
                let generation = (&tracked.unit.worker, tracked.generation);
                uncut.entry(generation).or_default().push((tracked.unit.clone(), due));
            }
        }
        let generations: Vec<_> = uncut.iter().collect();
        let mut excess = Vec::new();
        for of_worker in generations.chunk_by(|a, b| a.0.0 == b.0.0) {
            let over = of_worker.len().saturating_sub(self.settings.max_draining);
            excess.extend(of_worker[..over].iter().flat_map(|(_, units)| (*units).clone()));
        }
        for (unit, due) in excess {
            self.cut(now, &unit, due, out);
        }
    }

    /// Ends a generation's streams now; what is left is stopped when `due`, but not at once.
    fn cut(&mut self, now: Instant, unit: &UnitName, due: Instant, out: &mut Vec<Effect>) {
        let due = due.max(now + CUT_GRACE);
        self.advance(unit, Phase::Draining { due, cut: true }, out);
        out.push(Effect::CutStreams(unit.clone()));
    }
}
