//! Instances that have taken as many requests as they may (`max_requests`), or are not well any more: a
//! successor in the same generation first, then their end.
//!
//! Invariant: a worn-out instance leaves the table together with the arrival of its successor, so
//! there are as many as before.

use std::time::{Duration, Instant};

use super::super::event::{Cause, Decision, Effect};
use super::super::generation::{Phase, Tracked};
use super::Controller;
use crate::ids::UnitName;

/// The first wait after a successor that failed, and the longest. The worn-out instance serves on
/// meanwhile, so there is no hurry.
const WAITS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// How the replacement of one worn-out instance stands.
#[derive(Debug, Default)]
pub(super) struct Renewal {
    /// What is to take over; `None` while there is nothing.
    successor: Option<UnitName>,
    /// How many in a row have failed.
    failures: u32,
    /// Before when no other is started, after one that failed.
    not_before: Option<Instant>,
}

impl Controller {
    /// An instance has taken as many requests as it may.
    pub(super) fn worn_out(&mut self, unit: UnitName) {
        self.renewals.entry(unit).or_default();
    }

    /// An instance that serves is not well: it is replaced as if it were worn out.
    pub(super) fn unwell(
        &mut self,
        now: Instant,
        unit: UnitName,
        answer: &str,
        out: &mut Vec<Effect>,
    ) {
        if let Some(canary) = self.canary().filter(|_| self.is_canary(&unit)) {
            let (worker, reason) = (Some(unit.worker), format!("is not well: {answer}"));
            return self.decided(now, canary.id, Decision::GiveUp { worker, reason }, out);
        }
        if self.generations.get(&unit).is_some_and(serves) {
            out.push(Effect::Warn(format!("{unit} is not well, and is to be replaced: {answer}")));
            self.worn_out(unit);
        }
    }

    /// Starts successors for what is worn out, of a worker one at a time. A rollout may bring some
    /// itself, so its end is awaited.
    pub(super) fn renew_due(&mut self, now: Instant, out: &mut Vec<Effect>) {
        let generations = &self.generations;
        let comes = |unit: &UnitName| {
            generations.get(unit).is_some_and(|tracked| tracked.phase().is_before_serving())
        };
        self.renewals.retain(|unit, it| {
            it.successor.take_if(|successor| !comes(successor));
            // A canary that is worn out is replaced when it serves.
            let takes_requests = |it: &Tracked| serves(it) || it.phase() == Phase::Canary;
            generations.get(unit).is_some_and(takes_requests)
        });
        if self.ending || self.rollout.is_some() {
            return;
        }
        let due: Vec<UnitName> = self
            .renewals
            .iter()
            .filter(|(_, it)| it.successor.is_none() && it.not_before.is_none_or(|at| at <= now))
            .map(|(unit, _)| unit.clone())
            .collect();
        for unit in due {
            self.renewals.entry(unit.clone()).and_modify(|renewal| renewal.not_before = None);
            let of_worker = self.renewals.iter().filter(|(other, _)| other.worker == unit.worker);
            let is_under_way = of_worker.into_iter().any(|(_, it)| it.successor.is_some());
            let worn = self.generations.get(&unit);
            let worn = worn.map(|worn| (worn.generation, worn.fingerprint));
            let (Some(worker), Some((generation, fingerprint))) = (self.wanted(&unit), worn) else {
                continue;
            };
            if is_under_way || worker.fingerprint != fingerprint {
                continue;
            }
            match self.launch(&worker, Some(generation)) {
                Ok((successor, _)) => {
                    self.renewals.entry(unit).or_default().successor = Some(successor);
                }
                Err(cause) => self.renewal_failed(now, &unit, &cause, out),
            }
        }
    }

    /// The worn-out instance that serves until `unit` does.
    pub(super) fn renewed_by(&self, unit: &UnitName) -> Option<UnitName> {
        let renewal = self.renewals.iter().find(|(_, it)| it.successor.as_ref() == Some(unit));
        let worn = renewal.map(|(worn, _)| worn);
        worn.filter(|worn| self.generations.get(*worn).is_some_and(serves)).cloned()
    }

    /// Whether a successor of `worn` serves.
    pub(super) fn is_renewed(&self, worn: &UnitName) -> bool {
        let successor = self.renewals.get(worn).and_then(|it| it.successor.as_ref());
        successor.and_then(|it| self.generations.get(it)).is_some_and(serves)
    }

    /// Whether `unit` may take over now: it is the successor of one that serves, and still what is
    /// wanted.
    pub(super) fn renews(&self, unit: &UnitName) -> bool {
        let current = self.current.as_ref().and_then(|current| current.workers.get(&unit.worker));
        let fingerprint = self.generations.get(unit).map(|tracked| tracked.fingerprint);
        self.renewed_by(unit).is_some()
            && self.joins(unit)
            && current.map(|worker| worker.fingerprint) == fingerprint
    }

    /// A successor will not be: the worn-out one serves on, and another is tried later.
    pub(super) fn renewal_failed(
        &mut self,
        now: Instant,
        worn: &UnitName,
        cause: &Cause,
        out: &mut Vec<Effect>,
    ) {
        out.push(Effect::Warn(format!("no successor for {worn}, which serves on: {cause}")));
        let (first, longest) = WAITS;
        if let Some(renewal) = self.renewals.get_mut(worn) {
            let wait = first.saturating_mul(1 << renewal.failures.min(16)).min(longest);
            renewal.failures = renewal.failures.saturating_add(1);
            (renewal.successor, renewal.not_before) = (None, Some(now + wait));
        }
    }

    /// When the next successor is to be started after one that failed.
    pub(super) fn renewal_due(&self) -> Option<Instant> {
        let waiting = self.renewals.values().filter(|_| self.rollout.is_none() && !self.ending);
        waiting.filter_map(|it| it.not_before).min()
    }
}

fn serves(tracked: &Tracked) -> bool {
    matches!(tracked.phase(), Phase::Serving { .. })
}
