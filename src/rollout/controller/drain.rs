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
    /// Starts the clocks of a generation that is about to leave the table: that of its streams is what the
    /// worker's settings say now, and else that of its other requests.
    pub(super) fn begin_drain(&mut self, now: Instant, unit: &UnitName, out: &mut Vec<Effect>) {
        let requests = self.settings.drain_timeout;
        let streams = self.wanted(unit).and_then(|it| it.settings.stream_drain_timeout);
        let (due, requests_due) = (now + streams.unwrap_or(requests), now + requests);
        self.advance(unit, Phase::Draining { due, cut: false, requests_due }, out);
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
        let due: Vec<_> = self
            .generations
            .values()
            .filter_map(|tracked| match tracked.phase() {
                Phase::Draining { due, cut, requests_due } if due <= now => {
                    Some((tracked.unit.clone(), cut, requests_due))
                }
                _ => None,
            })
            .collect();
        for (unit, cut, requests_due) in due {
            if cut { self.stop(now, &unit, out) } else { self.cut(now, &unit, requests_due, out) }
        }
    }

    /// Invariant: beyond `max_draining` generations of a worker that drain at once, the oldest have
    /// their streams ended, so that frequent deployments cannot pile them up. Their requests keep
    /// the time they were given, which bounds the rest.
    pub(super) fn bound_draining(&mut self, now: Instant, out: &mut Vec<Effect>) {
        let mut uncut: BTreeMap<(&WorkerName, Generation), Vec<(UnitName, Instant)>> =
            BTreeMap::new();
        for tracked in self.generations.values() {
            if let Phase::Draining { cut: false, requests_due, .. } = tracked.phase() {
                let generation = (&tracked.unit.worker, tracked.generation);
                uncut.entry(generation).or_default().push((tracked.unit.clone(), requests_due));
            }
        }
        let generations: Vec<_> = uncut.iter().collect();
        let mut excess = Vec::new();
        for of_worker in generations.chunk_by(|a, b| a.0.0 == b.0.0) {
            let over = of_worker.len().saturating_sub(self.settings.max_draining);
            excess.extend(of_worker[..over].iter().flat_map(|(_, units)| (*units).clone()));
        }
        for (unit, requests_due) in excess {
            self.cut(now, &unit, requests_due, out);
        }
    }

    /// Ends a generation's streams now; what is left is stopped when `requests_due`, but not at once.
    fn cut(&mut self, now: Instant, unit: &UnitName, requests_due: Instant, out: &mut Vec<Effect>) {
        let due = requests_due.max(now + CUT_GRACE);
        self.advance(unit, Phase::Draining { due, cut: true, requests_due }, out);
        out.push(Effect::CutStreams(unit.clone()));
    }
}
