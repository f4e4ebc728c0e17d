//! Looking at what is wanted, when somebody asks or something changed.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::super::event::Event;
use super::super::load::{LoadError, Wanted};
use super::super::report::Report;
use super::super::state::DeploymentRef;
use super::handle::Waiters;
use super::{Actor, Done};
use crate::ids::WorkerName;
use crate::launcher::Launcher;

/// Reasons for a reload.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// Whether there is one.
    pub(super) at_all: bool,
    /// Whether somebody wants even what failed before to be tried.
    pub(super) insists: bool,
    /// Who waits for the verdict.
    pub(super) waiters: Waiters,
}

impl<L: Launcher> Actor<L> {
    /// Somebody asks for a reload.
    pub(super) fn ask(&mut self, insists: bool, waiter: Option<oneshot::Sender<Report>>) {
        self.asked.at_all = true;
        self.asked.insists |= insists;
        if let Some(waiter) = waiter {
            self.asked.waiters.add(waiter);
        }
        self.load_when_asked();
    }

    /// Somebody asks for a new generation of a worker.
    pub(super) fn restart(&mut self, worker: WorkerName, waiter: oneshot::Sender<Report>) {
        // Without the loader a load is under way, and its waiters are not to get this verdict.
        let is_busy = self.controller.rolling_out().is_some() || self.loader.is_none();
        let current = self.controller.current();
        let refusal = if is_busy || self.suspending.is_some() {
            Some("a rollout is under way: try again when it has ended".to_owned())
        } else if current.is_none_or(|current| !current.workers.contains_key(&worker)) {
            Some(format!("no worker {worker} is deployed"))
        } else {
            None
        };
        if let Some(reason) = refusal {
            // Who asked may have gone away.
            let _ = waiter.send(Report::refused(&reason));
            return;
        }
        tracing::info!(worker = %worker, "restarting {worker}");
        self.loading.waiters.add(waiter);
        self.step(Event::Restart(worker));
    }

    /// Somebody wants a worker out of service.
    pub(super) fn take_out(
        &mut self,
        worker: WorkerName,
        reply: oneshot::Sender<Result<(), String>>,
    ) {
        let is_deployed =
            self.controller.current().is_some_and(|it| it.workers.contains_key(&worker));
        let answer = match (is_deployed, self.suspending.is_some()) {
            (false, _) => Err(format!("no worker {worker} is deployed")),
            (_, true) => Err("another tqserver is about to take over: try again".to_owned()),
            (true, false) => {
                tracing::info!(%worker, "taking {worker} out of service");
                self.step(Event::TakeOut(worker));
                Ok(())
            }
        };
        // Who asked may have gone away.
        let _ = reply.send(answer);
    }

    /// Invariant (a reload sees what its asker wrote): a load answers only those who asked before
    /// it began.
    pub(super) fn load_when_asked(&mut self) {
        if self.suspending.is_some() {
            return;
        }
        if self.go_back_when_asked() || !self.asked.at_all {
            return;
        }
        if let Some(mut loader) = self.loader.take() {
            self.loading = std::mem::take(&mut self.asked);
            self.beside.spawn_blocking(move || {
                let wanted = loader.load_wanted();
                Done::Loaded(loader, Box::new(wanted))
            });
        }
    }

    /// A load has found what is wanted.
    pub(super) fn wanted(&mut self, wanted: Wanted) {
        wanted.warnings.into_iter().for_each(|text| self.warn(text));
        // Requests wait for the first deployment from now on.
        self.publish_nothing_deployed(false);
        (self.apply)(&wanted.settings, &wanted.certificates);
        self.rollout_settings = wanted.settings.rollout.clone();
        self.controller.set_settings(wanted.settings.rollout);
        self.soak_limits = wanted.settings.deployments.soak;
        let deployment = wanted.desired.commit.clone().map(|commit| DeploymentRef {
            commit,
            deployment_id: wanted.desired.deployment_id.clone(),
        });
        self.desired = deployment.clone();
        self.desired_by = wanted.desired.deployed_by.clone();
        let failed = deployment.as_ref().is_some_and(|d| self.state.has_failed(d));
        if failed && !self.loading.insists {
            let reason = self.state.failed.as_ref().map(|f| f.reason.clone()).unwrap_or_default();
            self.warn(format!("not trying again what failed before ({reason}); reload to insist"));
            self.loading.waiters.take().answer(&Report::refused(&reason));
            self.stay_with_the_good();
            return;
        }
        let good = self.state.last_good.as_ref().map(|good| &good.commit);
        let proven = wanted.desired.commit.as_ref().is_some_and(|commit| Some(commit) == good);
        self.step(Event::Desired { desired: wanted.desired, proven });
    }

    /// A load has failed, and changes nothing.
    pub(super) fn not_loaded(&mut self, error: &LoadError) {
        self.warn(error.to_string());
        let never = self.controller.current().is_none() && self.state.last_good.is_none();
        let rolling_out = self.controller.rolling_out().is_some();
        let absent = matches!(error, LoadError::NoManifest(_));
        if !absent {
            self.remember_refusal(error);
        }
        self.publish_nothing_deployed(absent && never && !rolling_out);
        self.desired = None;
        self.loading.waiters.take().answer(&Report::refused(&error.to_string()));
        self.stay_with_the_good();
    }

    /// What is wanted cannot be had: sees to it that what is published serves whole (after a start
    /// of the daemon it may not), or, where nothing is, goes back to what served last.
    pub(super) fn stay_with_the_good(&mut self) {
        if self.controller.rolling_out().is_some() {
            return;
        }
        if let Some(current) = self.controller.current().map(Arc::clone) {
            self.step(Event::Desired { desired: current, proven: true });
            return;
        }
        let Some(good) = self.state.last_good.clone() else { return };
        if self.state.has_failed(&good) {
            return;
        }
        // While a load is under way there is no loader; its outcome leads here again.
        let Some(mut loader) = self.loader.take() else { return };
        self.warn(format!("going back to {}, which served last", good.commit.short()));
        self.beside.spawn_blocking(move || {
            let desired = loader.load_again(&good.commit);
            Done::LoadedLastGood(loader, desired)
        });
    }
}
