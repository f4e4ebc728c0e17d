//! What happens because nothing else did.

use std::time::{Duration, Instant};

use super::super::event::Effect;
use super::super::generation::{Phase, Tracked};
use super::Controller;

/// How long systemd may be late with news of a job before we ask it ourselves.
const OVERDUE: Duration = Duration::from_secs(10);

impl Controller {
    /// When [`Event::Tick`] is due at the latest.
    pub fn next_deadline(&self) -> Option<Instant> {
        let phases = self.generations.values().filter_map(|tracked| self.overdue_at(tracked));
        let restarts = self.restarts.values().filter_map(|restart| restart.due);
        let stable = self.restarts.keys().filter_map(|worker| self.stable_at(worker));
        let canary = self.canary().and_then(|canary| canary.next_step);
        phases.chain(restarts).chain(stable).chain(self.renewal_due()).chain(canary).min()
    }

    /// Does what is due.
    pub(super) fn tick(&mut self, now: Instant, out: &mut Vec<Effect>) {
        self.drain_deadlines(now, out);
        let overdue = self.generations.values().any(|tracked| {
            !matches!(tracked.phase(), Phase::Draining { .. })
                && self.overdue_at(tracked).is_some_and(|due| due <= now)
        });
        if overdue {
            self.reconciled = Some(now);
            out.push(Effect::Reconcile);
        }
    }

    /// When a generation's phase has lasted so long that something has to be done about it.
    /// systemd keeps the deadlines of starting and stopping; ours only covers lost news.
    fn overdue_at(&self, tracked: &Tracked) -> Option<Instant> {
        let asked = |at: Instant| match self.reconciled {
            Some(reconciled) if reconciled + OVERDUE > at => reconciled + OVERDUE,
            _ => at,
        };
        match tracked.phase() {
            Phase::Starting { since } => Some(asked(since + self.settings.start_timeout + OVERDUE)),
            Phase::Stopping { since } => {
                Some(asked(since + self.settings.shutdown_grace_period + OVERDUE))
            }
            Phase::Draining { due, .. } => Some(due),
            Phase::Queued
            | Phase::Probing
            | Phase::Ready
            | Phase::Canary
            | Phase::Serving { .. }
            | Phase::Stopped
            | Phase::Failed => None,
        }
    }
}
