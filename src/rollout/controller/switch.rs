//! From one deployment to the next.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use super::super::desired::Desired;
use super::super::event::{Cause, Effect, Failure, Outcome, RolloutId, Verdict};
use super::super::generation::{Phase, Tracked};
use super::super::plan::plan;
use super::Controller;
use super::canary::Trial;
use super::recovery::Restart;
use crate::ids::{UnitName, WorkerName};

/// A deployment on its way.
#[derive(Debug)]
pub(super) struct Rollout {
    pub(super) id: RolloutId,
    pub(super) desired: Arc<Desired>,
    /// Whether it is published as a whole or not at all. Otherwise each worker is published when
    /// it is ready: nothing serves that could be kept, and the deployment has served before.
    pub(super) whole: bool,
    /// Units that are not ready yet.
    waiting: BTreeSet<UnitName>,
    /// Units that are.
    pub(super) ready: BTreeSet<UnitName>,
    kept: Vec<WorkerName>,
    pub(super) failures: Vec<Failure>,
    /// How far it has come where it goes by degrees.
    pub(super) trial: Option<Trial>,
}

impl Rollout {
    /// Whether the unit was started for this rollout and is still part of it.
    pub(super) fn has(&self, unit: &UnitName) -> bool {
        self.waiting.contains(unit) || self.ready.contains(unit)
    }
}

impl Controller {
    /// Makes `desired` what is to be served.
    pub(super) fn switch_to(
        &mut self,
        now: Instant,
        desired: Arc<Desired>,
        proven: bool,
        out: &mut Vec<Effect>,
    ) {
        self.begin_rollout(now, desired, proven, None, out);
    }

    /// Gives a worker a new generation of what is current, which takes over when it is ready. Nothing
    /// happens while a rollout is under way, or where there is no such worker: who asks looks first.
    pub(super) fn renew(&mut self, now: Instant, worker: WorkerName, out: &mut Vec<Effect>) {
        let Some(current) = self.current.clone().filter(|_| self.rollout.is_none()) else { return };
        if current.workers.contains_key(&worker) {
            self.drained.remove(&worker);
            self.begin_rollout(now, current, true, Some(&worker), out);
        }
    }

    /// Begins what leads to `desired`; `renewed` gets a new generation also where it could be kept.
    fn begin_rollout(
        &mut self,
        now: Instant,
        desired: Arc<Desired>,
        proven: bool,
        renewed: Option<&WorkerName>,
        out: &mut Vec<Effect>,
    ) {
        if self.ending {
            return;
        }
        // One in which something has failed cannot give what is wanted: that is tried again.
        if let Some(rollout) = &self.rollout
            && rollout.desired == desired
            && rollout.failures.is_empty()
        {
            out.push(Effect::Join(rollout.id));
            return;
        }
        let (superseded, carried) = self.abandon_rollout(now, &desired, out);
        self.rollouts_begun += 1;
        let id = RolloutId(self.rollouts_begun);
        out.push(Effect::Begun { id, superseded });

        let serving = self.serving();
        let mut todo = plan(&serving, &desired);
        todo.start.extend(todo.keep.extract_if(.., |name| Some(&*name) == renewed));
        let sleeps_on = |name: &mut WorkerName| {
            Some(&*name) != renewed && self.sleeps_on(&desired.workers[name], proven)
        };
        todo.keep.extend(todo.start.extract_if(.., |name| self.drained.contains(name)));
        let asleep: Vec<_> = todo.start.extract_if(.., sleeps_on).collect();
        asleep.iter().for_each(|name| self.put_to_sleep(name));
        todo.keep.extend(asleep);
        todo.start.iter().for_each(|name| self.wake(&desired.workers[name]));
        let whole = desired.commit.is_some() && !(proven && serving.is_empty());
        let mut rollout = Rollout {
            id,
            desired: Arc::clone(&desired),
            whole,
            waiting: BTreeSet::new(),
            ready: BTreeSet::new(),
            kept: todo.keep,
            failures: Vec::new(),
            trial: None,
        };
        let mut to_start = Vec::new();
        for name in todo.start {
            let worker = &desired.workers[&name];
            let on_its_way: Vec<_> = carried.iter().filter(|unit| unit.worker == name).collect();
            let generation = on_its_way.iter().find_map(|unit| self.generations.get(unit));
            let generation = generation.map(|tracked| tracked.generation);
            let lacking = self.wanted_count(worker).saturating_sub(on_its_way.len());
            to_start.push((worker, generation, lacking));
        }
        // A generation that goes on may lack instances, or be wanted with more of them.
        for name in &rollout.kept {
            let worker = &desired.workers[name];
            to_start.push((worker, self.generation_to_join(worker), self.lacking(worker)));
        }
        for unit in carried {
            match self.generations.get(&unit).map(Tracked::phase) {
                Some(Phase::Ready | Phase::Canary) => rollout.ready.insert(unit),
                _ => rollout.waiting.insert(unit),
            };
        }
        for (worker, generation, lacking) in to_start.into_iter().filter(|(.., n)| *n > 0) {
            let name = &worker.name;
            self.restarts.entry(name.clone()).and_modify(Restart::begin_anew);
            let (units, asked) = self.launch_instances(worker, generation, lacking);
            rollout.waiting.extend(units);
            if let Err(cause) = asked {
                let failure = Failure { worker: name.clone(), unit: None, cause };
                rollout.failures.push(failure);
            }
        }
        let unstarted: Vec<_> = rollout.failures.iter().map(|f| f.worker.clone()).collect();
        let refused = whole && !rollout.failures.is_empty();
        self.rollout = Some(rollout);
        if refused {
            self.give_up(now, out);
            return;
        }
        if !whole {
            self.current = Some(desired);
            self.forget_drained();
            self.serve(now, [], out);
            self.serve_ready(now, out);
            for name in &unstarted {
                self.schedule_restart(now, name, None);
            }
        }
        self.finish_when_ready(now, out);
    }

    /// A generation passed its probe.
    pub(super) fn ready(&mut self, now: Instant, unit: &UnitName, out: &mut Vec<Effect>) {
        if let Some(rollout) = &mut self.rollout
            && rollout.waiting.remove(unit)
        {
            rollout.ready.insert(unit.clone());
            self.serve_ready(now, out);
            self.finish_when_ready(now, out);
        } else if self.renews(unit) || self.is_missing(unit) {
            self.serve(now, [unit.clone()], out);
        } else {
            // The successor of one that died has come too late: another generation serves.
            self.stop(now, unit, out);
            self.schedule_restart(now, &unit.worker, None);
        }
    }

    /// A generation of the rollout failed.
    pub(super) fn rollout_failed(
        &mut self,
        now: Instant,
        unit: &UnitName,
        cause: Cause,
        out: &mut Vec<Effect>,
    ) {
        let generation = self.generations.get(unit).map(|t| (unit.clone(), t.generation));
        let Some(rollout) = &mut self.rollout else { return };
        rollout.waiting.remove(unit);
        rollout.ready.remove(unit);
        rollout.failures.push(Failure { worker: unit.worker.clone(), unit: generation, cause });
        if rollout.whole {
            self.give_up(now, out);
        } else {
            self.stop_others_of(now, unit, out);
            self.schedule_restart(now, &unit.worker, None);
            self.serve_ready(now, out);
            self.finish_when_ready(now, out);
        }
    }

    /// One instance has failed of a generation that was to replace another, which goes on: so the
    /// whole generation has failed. Where there is no other, the rest of it serves.
    fn stop_others_of(&mut self, now: Instant, failed: &UnitName, out: &mut Vec<Effect>) {
        if self.joins(failed) {
            return;
        }
        let Some(rollout) = &mut self.rollout else { return };
        let of_worker = |unit: &UnitName| unit.worker == failed.worker;
        let others: Vec<UnitName> = rollout
            .waiting
            .iter()
            .chain(&rollout.ready)
            .filter(|it| of_worker(it))
            .cloned()
            .collect();
        rollout.waiting.retain(|unit| !of_worker(unit));
        rollout.ready.retain(|unit| !of_worker(unit));
        // Some may have served, and be on their end already.
        let goes_on = |unit: &UnitName| {
            let phase = self.generations.get(unit).map(Tracked::phase);
            phase.is_some_and(|phase| phase.is_before_serving() || phase == Phase::Canary)
        };
        let others: Vec<_> = others.into_iter().filter(goes_on).collect();
        self.dismiss(now, others, out);
    }

    /// Where workers are published one by one, publishes what can be: a generation that replaces
    /// another when all of its instances are ready, and else each instance when it is.
    pub(super) fn serve_ready(&mut self, now: Instant, out: &mut Vec<Effect>) {
        let Some(rollout) = self.rollout.as_ref().filter(|rollout| !rollout.whole) else { return };
        let is_ready = |unit: &&UnitName| {
            let phase = self.generations.get(*unit).map(Tracked::phase);
            matches!(phase, Some(Phase::Ready | Phase::Canary))
        };
        let all_are =
            |unit: &UnitName| rollout.waiting.iter().all(|waiting| waiting.worker != unit.worker);
        let units: Vec<UnitName> = rollout
            .ready
            .iter()
            .filter(is_ready)
            .filter(|unit| self.joins(unit) || all_are(unit))
            .cloned()
            .collect();
        if !units.is_empty() {
            self.serve(now, units, out);
        }
    }

    fn finish_when_ready(&mut self, now: Instant, out: &mut Vec<Effect>) {
        let is_ready = |rollout: &Rollout| rollout.waiting.is_empty() && rollout.trial.is_none();
        if self.rollout.as_ref().is_some_and(is_ready) && !self.begin_canary(now, out) {
            self.finish(now, out);
        }
    }

    /// All of the rollout that is under way is ready: it serves, and has ended.
    pub(super) fn finish(&mut self, now: Instant, out: &mut Vec<Effect>) {
        let Some(rollout) = self.rollout.take() else { return };
        let Rollout { id, desired, ready, kept, failures, whole, .. } = rollout;
        let unchanged = ready.is_empty() && self.current.as_ref() == Some(&desired);
        let mut started: Vec<_> = ready.iter().map(|unit| unit.worker.clone()).collect();
        started.dedup();
        let kept: Vec<_> = kept.into_iter().filter(|name| !started.contains(name)).collect();
        let commit = desired.commit.clone();
        if whole {
            self.current = Some(desired);
            self.forget_drained();
            self.serve(now, ready, out);
        }
        self.restart_all_missing(now);
        let outcome = match (failures.is_empty(), unchanged) {
            (false, _) => Outcome::Failed(failures),
            (true, true) => Outcome::Unchanged,
            (true, false) => Outcome::Switched,
        };
        out.push(Effect::Verdict(id, Verdict { commit, outcome, started, kept }));
    }

    /// Puts units into the table, then drains what they and the deployment replace.
    pub(super) fn serve(
        &mut self,
        now: Instant,
        units: impl IntoIterator<Item = UnitName>,
        out: &mut Vec<Effect>,
    ) {
        for unit in units {
            self.last_failures.remove(&unit.worker);
            self.advance(&unit, Phase::Serving { since: now }, out);
        }
        let replaced = self.surplus();
        for unit in &replaced {
            self.begin_drain(now, unit, out);
        }
        self.publish(out);
        out.extend(replaced.into_iter().map(Effect::Drain));
        self.bound_draining(now, out);
    }

    /// Ends a rollout that cannot be: only its own generations stop.
    pub(super) fn give_up(&mut self, now: Instant, out: &mut Vec<Effect>) {
        let Some(rollout) = self.rollout.take() else { return };
        if rollout.trial.is_some() {
            // What died of it is to leave the table, too.
            self.publish(out);
        }
        self.dismiss(now, rollout.waiting.into_iter().chain(rollout.ready), out);
        let verdict = Verdict {
            commit: rollout.desired.commit.clone(),
            outcome: Outcome::Failed(rollout.failures),
            started: Vec::new(),
            kept: rollout.kept,
        };
        out.push(Effect::Verdict(rollout.id, verdict));
        self.restart_all_missing(now);
    }

    /// Ends a rollout for `next`. What it has started that `next` wants as it is goes on, so that
    /// wishes in a row do not keep a worker from ever getting ready; the rest is stopped.
    fn abandon_rollout(
        &mut self,
        now: Instant,
        next: &Desired,
        out: &mut Vec<Effect>,
    ) -> (Option<RolloutId>, Vec<UnitName>) {
        let Some(rollout) = self.rollout.take() else { return (None, Vec::new()) };
        let (mut carried, mut dismissed) = (Vec::new(), Vec::new());
        for unit in rollout.waiting.into_iter().chain(rollout.ready) {
            let Some(tracked) = self.generations.get(&unit) else { continue };
            let wanted = next.workers.get(&unit.worker).is_some_and(|worker| {
                worker.fingerprint == tracked.fingerprint && worker.source == tracked.source
            });
            let takes_all = !tracked.phase().is_before_serving() && !self.is_canary(&unit);
            match wanted {
                _ if takes_all => {}
                true => carried.push(unit),
                false => dismissed.push(unit),
            }
        }
        self.dismiss(now, dismissed, out);
        (Some(rollout.id), carried)
    }

    /// Stops what is not serving yet, so that nothing of ours holds up the end; what serves goes
    /// on for our successor to adopt.
    pub(super) fn shut_down(&mut self, now: Instant, out: &mut Vec<Effect>) {
        self.ending = true;
        self.restarts.clear();
        if let Some(rollout) = self.rollout.take() {
            let verdict = Verdict {
                commit: rollout.desired.commit.clone(),
                outcome: Outcome::Interrupted,
                started: Vec::new(),
                kept: rollout.kept,
            };
            out.push(Effect::Verdict(rollout.id, verdict));
        }
        let unfinished: Vec<_> = self
            .generations
            .values()
            .filter(|tracked| tracked.phase().is_before_serving())
            .map(|tracked| tracked.unit.clone())
            .collect();
        for unit in unfinished {
            self.stop(now, &unit, out);
        }
    }
}
