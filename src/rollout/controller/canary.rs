//! A deployment that comes to serve by degrees: its new generations are in the table beside those that
//! serve, with a share of the requests that grows step by step, until they serve whole or are given up.
//!
//! Invariant (publish, then drain): a canary that is given up leaves the table before it drains, as any
//! generation does.

use std::sync::Arc;
use std::time::Instant;

use super::super::desired::Desired;
use super::super::event::{Cause, Decision, Effect, Failure, RolloutId, TableCanary};
use super::super::generation::{Phase, Tracked};
use super::Controller;
use super::switch::Rollout;
use crate::ids::UnitName;

/// How far a rollout has come.
#[derive(Debug)]
pub(super) struct Trial {
    /// Which step of the plan.
    step: usize,
    /// When the next begins; `None`: when somebody says so.
    pub(super) due: Option<Instant>,
}

/// A deployment that serves a part of the requests.
#[derive(Debug, Clone, Copy)]
pub struct CanaryStand<'a> {
    /// Its rollout.
    pub id: RolloutId,
    /// Which it is.
    pub deployment: &'a Arc<Desired>,
    /// At which step of its plan it is, from 0 on.
    pub step: usize,
    /// Its share of the requests, in percent.
    pub share: u8,
    /// When the next step begins; `None`: when somebody says so.
    pub next_step: Option<Instant>,
}

impl Controller {
    /// The deployment that serves a part of the requests, if one does.
    pub fn canary(&self) -> Option<CanaryStand<'_>> {
        let rollout = self.rollout.as_ref()?;
        let trial = rollout.trial.as_ref()?;
        Some(CanaryStand {
            id: rollout.id,
            deployment: &rollout.desired,
            step: trial.step,
            share: rollout.share()?,
            next_step: trial.due,
        })
    }

    /// Has what is ready serve by degrees where that is wished; says whether it does. Where nothing
    /// serves in whose stead, there is nothing to compare it with: it serves at once.
    pub(super) fn begin_canary(&mut self, now: Instant, out: &mut Vec<Effect>) -> bool {
        let serving = self.serving();
        let Some(rollout) = self.rollout.as_ref().filter(|rollout| rollout.whole) else {
            return false;
        };
        let Some(plan) = &rollout.desired.canary else { return false };
        let replaces = |unit: &&UnitName| serving.contains_key(&unit.worker);
        let units: Vec<UnitName> = rollout.ready.iter().filter(replaces).cloned().collect();
        if units.is_empty() {
            return false;
        }
        let (id, due) = (rollout.id, plan.step().map(|step| now + step));
        // Some may have been canaries of a wish before this one.
        for unit in units.iter().filter(|unit| !self.is_canary(unit)).cloned().collect::<Vec<_>>() {
            self.advance(&unit, Phase::Canary, out);
        }
        if let Some(rollout) = &mut self.rollout {
            rollout.trial = Some(Trial { step: 0, due });
        }
        self.publish(out);
        out.push(Effect::Watch(id));
        true
    }

    /// What is published of it.
    pub(super) fn published_canary(&self) -> Option<TableCanary> {
        let rollout = self.rollout.as_ref()?;
        let units = rollout.ready.iter().filter(|unit| self.is_canary(unit)).cloned().collect();
        let deployment = Arc::clone(&rollout.desired);
        Some(TableCanary { deployment, units, share: rollout.share()? })
    }

    /// Whether a unit serves a part of the requests.
    pub(super) fn is_canary(&self, unit: &UnitName) -> bool {
        self.generations.get(unit).is_some_and(|tracked| tracked.phase() == Phase::Canary)
    }

    /// Goes on to the next step when it is due; after the last it serves whole.
    pub(super) fn canary_due(&mut self, now: Instant, out: &mut Vec<Effect>) {
        let Some(rollout) = &mut self.rollout else { return };
        let (Some(trial), Some(plan)) = (&mut rollout.trial, &rollout.desired.canary) else {
            return;
        };
        if trial.due.is_none_or(|due| due > now) {
            return;
        }
        if trial.step + 1 < plan.steps.len() {
            trial.step += 1;
            trial.due = plan.step().map(|step| now + step);
            self.publish(out);
        } else {
            self.finish(now, out);
        }
    }

    /// Somebody, or what was seen of it, decides about a canary.
    pub(super) fn decided(
        &mut self,
        now: Instant,
        id: RolloutId,
        decision: Decision,
        out: &mut Vec<Effect>,
    ) {
        let trying = self.rollout.as_mut().filter(|it| it.id == id && it.trial.is_some());
        let Some(rollout) = trying else { return };
        let (worker, reason) = match decision {
            Decision::Promote => return self.finish(now, out),
            Decision::GiveUp { worker, reason } => (worker, reason),
        };
        let concerned = |unit: &&UnitName| worker.as_ref().is_none_or(|it| unit.worker == *it);
        let failure = |unit: &UnitName| Failure {
            worker: unit.worker.clone(),
            unit: self.generations.get(unit).map(|it: &Tracked| (unit.clone(), it.generation)),
            cause: Cause::Canary(reason.clone()),
        };
        let failures: Vec<Failure> = rollout.ready.iter().filter(concerned).map(failure).collect();
        rollout.failures.extend(failures);
        self.give_up(now, out);
    }

    /// A canary has died, or is about to: its deployment is not to serve the rest.
    pub(super) fn canary_died(
        &mut self,
        now: Instant,
        unit: &UnitName,
        cause: &Cause,
        out: &mut Vec<Effect>,
    ) {
        self.failed(now, unit, Cause::Canary(cause.to_string()), out);
    }

    /// Ends units of a rollout that is over. Those that took a part of the requests drain.
    pub(super) fn dismiss(
        &mut self,
        now: Instant,
        units: impl IntoIterator<Item = UnitName>,
        out: &mut Vec<Effect>,
    ) {
        let mut canaries = Vec::new();
        for unit in units {
            match self.is_canary(&unit) {
                true => canaries.push(unit),
                false => self.stop(now, &unit, out),
            }
        }
        for unit in &canaries {
            self.begin_drain(now, unit, out);
        }
        if !canaries.is_empty() {
            self.publish(out);
        }
        out.extend(canaries.into_iter().map(Effect::Drain));
        self.bound_draining(now, out);
    }
}

impl Rollout {
    /// The share of the requests that its new generations have, in percent, where it goes by degrees.
    fn share(&self) -> Option<u8> {
        let (plan, trial) = (self.desired.canary.as_ref()?, self.trial.as_ref()?);
        plan.steps.get(trial.step).copied()
    }
}
