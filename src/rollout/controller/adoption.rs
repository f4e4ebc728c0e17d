//! Units that are there before us: after a restart of the daemon, or a silence of the bus.
//!
//! Invariant (systemd is the truth): what is found alive is adopted or stopped, never ignored, and
//! what is not found is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use super::super::desired::Desired;
use super::super::event::{Cause, Effect};
use super::super::generation::{Phase, Tracked};
use super::Controller;
use crate::ids::{Generation, UnitName, WorkerName};
use crate::launcher::{LiveUnit, UnitState};

impl Controller {
    /// Takes over what the daemon before us left. Of each worker of the deployment that was
    /// current, the generation that was in its table goes on serving, or else the youngest that is
    /// active, with those instances of it that are, up to as many as are wanted; everything else is stopped.
    pub(super) fn adopt(
        &mut self,
        now: Instant,
        current: Option<Arc<Desired>>,
        remembered: &[UnitName],
        found: Vec<LiveUnit>,
        out: &mut Vec<Effect>,
    ) {
        let mut chosen: BTreeMap<&WorkerName, (bool, Generation)> = BTreeMap::new();
        for live in found.iter().filter(|live| live.state == UnitState::Active) {
            let rank = (remembered.contains(&live.unit), live.generation);
            let wanted =
                current.as_ref().is_some_and(|c| c.workers.contains_key(&live.unit.worker));
            let best = chosen.get(&live.unit.worker).is_none_or(|best| *best < rank);
            if wanted && best {
                chosen.insert(&live.unit.worker, rank);
            }
        }
        // A successor of one that is worn out may have got ready just then.
        let mut places: BTreeMap<&WorkerName, usize> = BTreeMap::new();
        for worker in current.iter().flat_map(|current| current.workers.values()) {
            let most = worker.settings.instances.most();
            let is_drained = self.drained.contains(&worker.name);
            places.insert(&worker.name, if is_drained { 0 } else { most });
        }
        let (known, others): (Vec<_>, Vec<_>) =
            found.iter().partition(|live| remembered.contains(&live.unit));
        for live in known.into_iter().chain(others) {
            self.count(live);
            let of_chosen = chosen
                .get(&live.unit.worker)
                .is_some_and(|(_, generation)| *generation == live.generation);
            let place = places.get_mut(&live.unit.worker).filter(|free| **free > 0);
            if let Some(free) = place.filter(|_| of_chosen && live.state == UnitState::Active) {
                *free -= 1;
                self.track(live, Phase::Serving { since: now });
            } else {
                self.turn_away(now, live, out);
            }
        }
        let serving = self.serving();
        for worker in current.iter().flat_map(|current| current.workers.values()) {
            let found = serving.get(&worker.name).map_or(0, |serving| serving.units.len());
            self.adopt_scale(worker, found);
        }
        self.current = current;
        self.publish(out);
    }

    /// Compares what we know with what there is.
    pub(super) fn resync(
        &mut self,
        now: Instant,
        asked: Instant,
        found: Vec<LiveUnit>,
        out: &mut Vec<Effect>,
    ) {
        let there: BTreeSet<UnitName> = found.iter().map(|live| live.unit.clone()).collect();
        let younger = |phase| match phase {
            Phase::Starting { since } => since >= asked,
            phase => phase == Phase::Queued,
        };
        let gone: Vec<UnitName> = self
            .generations
            .values()
            .filter(|tracked| !there.contains(&tracked.unit) && !younger(tracked.phase()))
            .map(|tracked| tracked.unit.clone())
            .collect();
        for unit in gone {
            self.lost(now, &unit, Cause::Stopped, out);
        }
        for live in found {
            match self.generations.get(&live.unit).map(Tracked::phase) {
                None => {
                    self.count(&live);
                    self.turn_away(now, &live, out);
                }
                // A stop that systemd never heard of, or that it never told us the end of.
                Some(Phase::Stopping { .. }) if live.state == UnitState::Active => {
                    out.push(Effect::Stop(live.unit));
                }
                Some(_) => self.unit_changed(now, &live.unit, live.state, out),
            }
        }
    }

    /// A number that somebody else gave is not given again.
    fn count(&mut self, live: &LiveUnit) {
        let number = self.numbers.entry(live.unit.worker.clone()).or_default();
        *number = (*number).max(live.generation);
    }

    fn track(&mut self, live: &LiveUnit, phase: Phase) {
        self.ports.adopt(live.unit.port);
        let LiveUnit { unit, generation, source, fingerprint, .. } = live.clone();
        let tracked = Tracked::adopted(unit.clone(), generation, source, fingerprint, phase);
        self.generations.insert(unit, tracked);
    }

    /// Stops a unit that has no place here. Nothing is in flight at it: it is in no table of ours.
    fn turn_away(&mut self, now: Instant, live: &LiveUnit, out: &mut Vec<Effect>) {
        match live.state {
            UnitState::Inactive | UnitState::Failed(_) => return,
            UnitState::Activating | UnitState::Active => out.push(Effect::Stop(live.unit.clone())),
            UnitState::Deactivating => {}
        }
        self.track(live, Phase::Stopping { since: now });
    }
}
