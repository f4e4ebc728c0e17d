//! A deployment that serves a part of the requests: it is watched, and decided about.

use tokio::sync::oneshot;

use super::super::event::{Decision, Event, RolloutId};
use super::super::report::Report;
use super::super::soak::canary;
use super::{Actor, Done};
use crate::ids::WorkerName;
use crate::launcher::Launcher;

impl<L: Launcher> Actor<L> {
    /// Has it watched, and tells those who wait how far it has come: the verdict may take days.
    pub(super) fn watch_canary(&mut self, id: RolloutId) {
        if let Some(waiters) = self.waiting.get_mut(&id).map(std::mem::take) {
            let report = self.canary_report();
            tracing::info!("{report}");
            waiters.answer(&report);
        }
        let (snapshots, limits) = (self.snapshot.subscribe(), self.soak_limits);
        self.beside
            .spawn(async move { Done::Judged(id, canary::watch(snapshots, id, limits).await) });
    }

    /// What was seen of it.
    pub(super) fn judged(&mut self, id: RolloutId, worse: Option<(WorkerName, String)>) {
        let Some((worker, reason)) = worse else { return };
        self.step(Event::Decided(id, Decision::GiveUp { worker: Some(worker), reason }));
    }

    /// Somebody decides.
    pub(super) fn decide(&mut self, decision: Decision, waiter: oneshot::Sender<Report>) {
        let Some(canary) = self.controller.canary() else {
            // Who asked may have gone away.
            let _ = waiter.send(Report::refused("no deployment serves as a canary"));
            return;
        };
        let id = canary.id;
        self.waiting.entry(id).or_default().add(waiter);
        self.step(Event::Decided(id, decision));
    }

    /// How far it has come.
    pub(super) fn canary_report(&self) -> Report {
        let canary = self.controller.canary();
        let share = canary.map(|canary| canary.share).unwrap_or_default();
        let commit = canary.and_then(|canary| canary.deployment.commit.clone());
        let generations = self.controller.generations();
        let canaries = generations.filter(|it| it.phase().name() == "Canary");
        let mut started: Vec<_> = canaries.map(|it| it.unit.worker.clone()).collect();
        started.dedup();
        Report::canary(commit, share, started)
    }
}
