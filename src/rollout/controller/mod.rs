//! The decisions of the rollout, without a single effect: [`Controller::step`] takes what happened
//! and returns what is to be done. Time is passed in.
//!
//! Invariant (a deployment switches as a whole): one table with all new generations is published
//! when the last of them is ready; if one fails, only new ones are stopped.
//!
//! Invariant (publish, then drain): a generation is told to drain only after a table without it
//! was published, and to stop only after it drained or its time was up.

mod adoption;
mod canary;
mod deadlines;
mod drain;
mod drained;
mod instances;
mod recovery;
mod renewal;
mod scaling;
mod starts;
mod switch;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use super::desired::{Desired, DesiredWorker};
use super::event::{Cause, Effect, Event, Table};
use super::generation::{Phase, Tracked};
use super::ports::PortPool;
use crate::config::settings::RolloutSettings;
use crate::ids::{Generation, UnitName, WorkerName};
use crate::launcher::UnitState;
pub use canary::CanaryStand;
use recovery::Restart;
pub use recovery::{Breaker, Exit, Recovery};
use renewal::Renewal;
use scaling::Scale;
use switch::Rollout;

/// The state of all generations, and the rules by which it changes.
#[derive(Debug)]
pub struct Controller {
    settings: RolloutSettings,
    ports: PortPool,
    generations: BTreeMap<UnitName, Tracked>,
    /// Those that wait for their start, in the order in which they were asked for.
    queued: VecDeque<UnitName>,
    /// The last number each worker's generations got.
    numbers: BTreeMap<WorkerName, Generation>,
    /// The deployment whose routes are published.
    current: Option<Arc<Desired>>,
    rollout: Option<Rollout>,
    rollouts_begun: u64,
    restarts: BTreeMap<WorkerName, Restart>,
    /// Whose requests are refused in the published table, see [`Table::refused`].
    refused_published: BTreeMap<WorkerName, Instant>,
    /// Units that are on their end without our having told them to.
    dying: BTreeSet<UnitName>,
    /// Serving instances that have taken as many requests as they may, or are not well.
    renewals: BTreeMap<UnitName, Renewal>,
    /// Workers that are out of service.
    drained: BTreeSet<WorkerName>,
    /// How many instances are wanted of workers where that changes by itself.
    scales: BTreeMap<WorkerName, Scale>,
    random: fastrand::Rng,
    /// Why a worker's generation failed last, until one serves.
    last_failures: BTreeMap<WorkerName, Cause>,
    /// When [`Effect::Reconcile`] was last asked for.
    reconciled: Option<Instant>,
    ending: bool,
}

impl Controller {
    /// A controller that knows of nothing yet. `numbers` are the last generation numbers used; with
    /// the same `seed` it decides the same again.
    pub fn new(
        settings: RolloutSettings,
        ports: PortPool,
        numbers: BTreeMap<WorkerName, Generation>,
        seed: u64,
    ) -> Self {
        Self {
            settings,
            ports,
            generations: BTreeMap::new(),
            queued: VecDeque::new(),
            numbers,
            current: None,
            rollout: None,
            rollouts_begun: 0,
            restarts: BTreeMap::new(),
            refused_published: BTreeMap::new(),
            dying: BTreeSet::new(),
            renewals: BTreeMap::new(),
            drained: BTreeSet::new(),
            scales: BTreeMap::new(),
            random: fastrand::Rng::with_seed(seed),
            last_failures: BTreeMap::new(),
            reconciled: None,
            ending: false,
        }
    }

    /// Goes on with other limits; those of running clocks stay as they were.
    pub fn set_settings(&mut self, settings: RolloutSettings) {
        self.ports.set_range(settings.port_range_start, settings.port_range_end);
        self.settings = settings;
    }

    /// Takes what happened, and says what is to be done, in order.
    pub fn step(&mut self, now: Instant, event: Event) -> Vec<Effect> {
        let mut effects = Vec::new();
        let out = &mut effects;
        self.note_stable(now);
        match event {
            Event::Begin { current, serving, drained, found } => {
                self.drained = drained;
                self.adopt(now, current, &serving, found, out);
            }
            Event::Desired { desired, proven } => self.switch_to(now, desired, proven, out),
            Event::Restart(worker) => self.renew(now, worker, out),
            Event::TakeOut(worker) => self.take_out(now, worker, out),
            Event::Unit { unit, state } => self.unit_changed(now, &unit, state, out),
            Event::Resync { asked, found } => self.resync(now, asked, found, out),
            Event::StartRefused { unit, reason } => {
                self.lost(now, &unit, Cause::Refused(reason), out);
            }
            Event::Probed { unit, result } => self.probed(now, &unit, result, out),
            Event::WornOut(unit) => self.worn_out(unit),
            Event::Unwell { unit, answer } => self.unwell(now, unit, &answer, out),
            Event::Measured(loads) => self.measured(now, &loads, out),
            Event::Decided(id, decision) => self.decided(now, id, decision, out),
            Event::Awaited(worker) => self.awaited(now, &worker, out),
            Event::Drained(unit) => self.drained(now, &unit, out),
            Event::Tick => self.tick(now, out),
            Event::Shutdown => self.shut_down(now, out),
        }
        self.canary_due(now, out);
        // A death that is to be made good at once needs no tick.
        self.restart_due(now, out);
        self.renew_due(now, out);
        self.start_queued(now, out);
        self.publish_refused(out);
        effects
    }

    /// Every generation there is.
    pub fn generations(&self) -> impl Iterator<Item = &Tracked> {
        self.generations.values()
    }

    /// The deployment whose routes are published.
    pub fn current(&self) -> Option<&Arc<Desired>> {
        self.current.as_ref()
    }

    /// The deployment being rolled out.
    pub fn rolling_out(&self) -> Option<&Arc<Desired>> {
        self.rollout.as_ref().map(|rollout| &rollout.desired)
    }

    /// Why a worker's generation failed last; `None` once another serves.
    pub fn last_failure(&self, worker: &WorkerName) -> Option<&Cause> {
        self.last_failures.get(worker)
    }

    /// The last number each worker's generations got.
    pub fn numbers(&self) -> &BTreeMap<WorkerName, Generation> {
        &self.numbers
    }

    /// Has an instance of a worker start as soon as it may, of `generation` or else of a new one.
    fn launch(
        &mut self,
        worker: &DesiredWorker,
        generation: Option<Generation>,
    ) -> Result<(UnitName, Generation), Cause> {
        let port = self.ports.lease().map_err(|full| Cause::Refused(full.to_string()))?;
        let generation = generation.unwrap_or_else(|| {
            let number = self.numbers.entry(worker.name.clone()).or_default();
            *number = number.next();
            *number
        });
        let unit = UnitName { worker: worker.name.clone(), port };
        let source = worker.source.clone();
        let tracked = Tracked::queued(unit.clone(), generation, source, worker.fingerprint);
        self.generations.insert(unit.clone(), tracked);
        self.queued.push_back(unit.clone());
        Ok((unit, generation))
    }

    fn unit_changed(
        &mut self,
        now: Instant,
        unit: &UnitName,
        state: UnitState,
        out: &mut Vec<Effect>,
    ) {
        let Some(tracked) = self.generations.get(unit) else { return };
        let phase = tracked.phase();
        if phase == Phase::Queued {
            return; // An earlier unit had this name.
        }
        match state {
            UnitState::Activating => {}
            UnitState::Active if matches!(phase, Phase::Starting { .. }) => {
                self.advance(unit, Phase::Probing, out);
                match self.wanted(unit) {
                    Some(worker) => out.push(Effect::Probe { unit: unit.clone(), worker }),
                    None => self.stop(now, unit, out),
                }
            }
            UnitState::Active => {}
            UnitState::Deactivating => {
                // It may have died, and its children live on; why is told when they have ended.
                if phase == Phase::Canary {
                    self.dying.insert(unit.clone());
                    self.advance(unit, Phase::Stopping { since: now }, out);
                    self.canary_died(now, unit, &Cause::Stopped, out);
                    out.push(Effect::Drain(unit.clone()));
                }
                if let Phase::Serving { since } = phase {
                    self.dying.insert(unit.clone());
                    self.advance(unit, Phase::Stopping { since: now }, out);
                    out.push(Effect::Warn(format!("{unit} is about to end, and not by our wish")));
                    self.publish(out);
                    out.push(Effect::Drain(unit.clone()));
                    self.schedule_restart(now, &unit.worker, Some(now - since));
                }
            }
            UnitState::Inactive => self.lost(now, unit, Cause::Stopped, out),
            UnitState::Failed(reason) => self.lost(now, unit, Cause::Exited(reason), out),
        }
    }

    /// A unit is gone, or never came to be.
    fn lost(&mut self, now: Instant, unit: &UnitName, cause: Cause, out: &mut Vec<Effect>) {
        let Some(tracked) = self.generations.get(unit) else { return };
        let (phase, label) = (tracked.phase(), tracked.to_string());
        let by_itself = self.dying.remove(unit) || !matches!(phase, Phase::Stopping { .. });
        if by_itself && matches!(cause, Cause::Exited(_) | Cause::Stopped) {
            self.note_exit(now, unit, cause.clone());
        }
        if phase.is_before_serving() {
            self.advance(unit, Phase::Failed, out);
            self.failed(now, unit, cause, out);
        } else {
            self.advance(unit, Phase::Stopped, out);
            match phase {
                Phase::Serving { since } => {
                    out.push(Effect::Warn(format!("{label} died while serving: {cause}")));
                    self.publish(out);
                    self.schedule_restart(now, &unit.worker, Some(now - since));
                    self.serve_ready(now, out);
                }
                Phase::Canary => self.canary_died(now, unit, &cause, out),
                Phase::Draining { .. } => {
                    out.push(Effect::Warn(format!("{label} died while draining: {cause}")));
                }
                _ => {}
            }
        }
        self.forget(unit, out);
    }

    fn probed(
        &mut self,
        now: Instant,
        unit: &UnitName,
        result: Result<(), String>,
        out: &mut Vec<Effect>,
    ) {
        if !self.generations.get(unit).is_some_and(|t| t.phase() == Phase::Probing) {
            return; // It died or was abandoned meanwhile.
        }
        match result {
            Ok(()) => {
                self.advance(unit, Phase::Ready, out);
                self.ready(now, unit, out);
            }
            Err(answer) => {
                self.stop(now, unit, out);
                self.failed(now, unit, Cause::Probe(answer), out);
            }
        }
    }

    /// A generation will never serve: end the rollout it belongs to, or try again later.
    fn failed(&mut self, now: Instant, unit: &UnitName, cause: Cause, out: &mut Vec<Effect>) {
        self.last_failures.insert(unit.worker.clone(), cause.clone());
        if self.rollout.as_ref().is_some_and(|rollout| rollout.has(unit)) {
            self.rollout_failed(now, unit, cause, out);
        } else if let Some(worn) = self.renewed_by(unit) {
            self.renewal_failed(now, &worn, &cause, out);
        } else {
            out.push(Effect::Warn(format!("restart of {} failed: {cause}", unit.worker)));
            self.schedule_restart(now, &unit.worker, None);
        }
    }

    fn stop(&mut self, now: Instant, unit: &UnitName, out: &mut Vec<Effect>) {
        if self.generations.get(unit).is_some_and(|it| it.phase() == Phase::Queued) {
            self.advance(unit, Phase::Failed, out);
            return self.forget(unit, out);
        }
        self.advance(unit, Phase::Stopping { since: now }, out);
        out.push(Effect::Stop(unit.clone()));
    }

    fn forget(&mut self, unit: &UnitName, out: &mut Vec<Effect>) {
        self.generations.remove(unit);
        self.queued.retain(|queued| queued != unit);
        self.ports.release(unit.port);
        out.push(Effect::Forget(unit.clone()));
    }

    /// A step that the life of a generation does not have is a fault of ours: it is reported, and
    /// the generation stays where it was.
    fn advance(&mut self, unit: &UnitName, next: Phase, out: &mut Vec<Effect>) {
        let Some(tracked) = self.generations.get_mut(unit) else { return };
        if let Err(illegal) = tracked.advance(next) {
            out.push(Effect::Warn(format!("internal error: {illegal}")));
        }
    }

    /// What is wanted of the worker that a unit runs: of the rollout that started it, else of the
    /// current deployment.
    fn wanted(&self, unit: &UnitName) -> Option<DesiredWorker> {
        let of_rollout = self.rollout.as_ref().filter(|rollout| rollout.has(unit));
        let desired = of_rollout.map(|rollout| &rollout.desired).or(self.current.as_ref())?;
        desired.workers.get(&unit.worker).cloned()
    }

    /// Publishes the current deployment's routes with all that serves now.
    fn publish(&mut self, out: &mut Vec<Effect>) {
        if let Some(deployment) = self.current.clone() {
            let refused = self.refused();
            self.refused_published.clone_from(&refused);
            let serving = self.serving().into_values().flat_map(|serving| serving.units).collect();
            let (canary, asleep) = (self.published_canary(), self.asleep());
            let drained = self.drained.clone();
            let table = Table { deployment, serving, canary, refused, asleep, drained };
            out.push(Effect::Publish(table));
        }
    }
}
