//! Workers that somebody has taken out of service: no instance of them is wanted, whatever is deployed and
//! whoever asks, until somebody restarts them.
//!
//! Invariant (drained is drained): nothing of such a worker is in the published table.

use std::collections::BTreeSet;
use std::time::Instant;

use super::super::event::Effect;
use super::Controller;
use crate::ids::WorkerName;

impl Controller {
    /// The workers that are out of service.
    pub fn out_of_service(&self) -> &BTreeSet<WorkerName> {
        &self.drained
    }

    /// Takes a worker of the current deployment out of service: what serves it finishes what it has.
    pub(super) fn take_out(&mut self, now: Instant, worker: WorkerName, out: &mut Vec<Effect>) {
        let is_known = self.current.as_ref().is_some_and(|it| it.workers.contains_key(&worker));
        if is_known && !self.ending && self.drained.insert(worker) {
            self.serve(now, [], out);
        }
    }

    /// Forgets of workers that are not deployed any more that they were out of service.
    pub(super) fn forget_drained(&mut self) {
        if let Some(current) = &self.current {
            self.drained.retain(|worker| current.workers.contains_key(worker));
        }
    }
}
