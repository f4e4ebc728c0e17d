//! Going back from a deployment that serves and is found to serve badly.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::oneshot;

use super::super::desired::Desired;
use super::super::event::{Event, Table};
use super::super::load::LoadError;
use super::super::report::Report;
use super::super::soak::Before;
use super::super::state::{Attempt, DeploymentRef, HistoryEntry};
use super::handle::GoBack;
use super::{Actor, Done};
use crate::ids::CommitId;
use crate::launcher::Launcher;
use crate::store::manifest::DeployedBy;

/// What the history says instead of a verb of tqctl, where nobody has typed one.
const VERB: &str = "soak";

/// A deployment that is to serve again.
#[derive(Debug)]
pub(super) struct GoingBack {
    from: CommitId,
    to: HistoryEntry,
    /// On whose account: who deployed what is left.
    by: Option<DeployedBy>,
    waiter: oneshot::Sender<Report>,
}

impl GoingBack {
    /// It will not be.
    pub(super) fn refuse(self, report: &Report) {
        // Who asked may have gone away.
        let _ = self.waiter.send(report.clone());
    }
}

impl<L: Launcher> Actor<L> {
    /// Somebody has found that what serves serves badly. It is remembered as one that failed.
    pub(super) fn go_back(&mut self, wish: GoBack, waiter: oneshot::Sender<Report>) {
        let GoBack { from, reason, watched } = wish;
        let refusal = if !self.just_serves(&from) {
            Some("another deployment serves, or is on its way".to_owned())
        } else if self.going_back.is_some() {
            Some("it is being gone back from already".to_owned())
        } else {
            None
        };
        let good = self.state.good_before(&from).cloned();
        let (None, Some(to)) = (&refusal, good) else {
            let nothing = || "there is no deployment that served well before it".to_owned();
            // Who asked may have gone away.
            let _ = waiter.send(Report::refused(&refusal.unwrap_or_else(nothing)));
            return;
        };
        self.warn(format!(
            "{} serves badly ({reason}); going back to {}",
            from.short(),
            to.deployment.commit.short()
        ));
        let last = self.state.history.iter().rev().find(|entry| entry.deployment.commit == from);
        let by = last.and_then(|entry| entry.deployed_by.clone());
        let current = self.state.current.clone().filter(|current| current.commit == from);
        let attempt = Attempt {
            deployment: current
                .unwrap_or_else(|| DeploymentRef { commit: from.clone(), deployment_id: None }),
            deployed_by: by.clone(),
            at: Timestamp::now(),
            took_ms: watched.as_millis().try_into().ok(),
            started: Vec::new(),
        };
        self.state.did_not_serve(attempt, reason);
        self.state.last_good = Some(to.deployment.clone());
        self.past = Arc::new(self.state.history.clone());
        self.going_back = Some(GoingBack { from, to, by, waiter });
        self.load_when_asked();
    }

    /// Whether that deployment serves, and nothing is on its way.
    fn just_serves(&self, commit: &CommitId) -> bool {
        let current = self.controller.current().and_then(|current| current.commit.as_ref());
        current == Some(commit) && self.controller.rolling_out().is_none()
    }

    /// Begins, if that is wished and the loader is there; returns whether it is.
    pub(super) fn go_back_when_asked(&mut self) -> bool {
        if self.going_back.is_none() {
            return false;
        }
        if let Some(mut loader) = self.loader.take()
            && let Some(wish) = self.going_back.take()
        {
            self.beside.spawn_blocking(move || {
                let desired = loader.load_again(&wish.to.deployment.commit);
                Done::LoadedBack(loader, Box::new(wish), desired)
            });
        }
        true
    }

    /// What is to serve again was loaded, or could not be.
    pub(super) fn loaded_back(&mut self, wish: GoingBack, loaded: Result<Arc<Desired>, LoadError>) {
        let loaded = match loaded {
            Err(error) => Err(error.to_string()),
            Ok(_) if !self.just_serves(&wish.from) => {
                Err(format!("{} does not serve any more", wish.from.short()))
            }
            Ok(desired) => Ok(Arc::unwrap_or_clone(desired)),
        };
        let desired = match loaded {
            Ok(desired) => desired,
            Err(reason) => {
                self.warn(format!("not going back: {reason}"));
                return wish.refuse(&Report::refused(&reason));
            }
        };
        let GoingBack { to, by, waiter, .. } = wish;
        let by = by.map(|by| DeployedBy { verb: VERB.to_owned(), ..by });
        self.returning = Some((to.deployment.clone(), by));
        self.loading.waiters.add(waiter);
        // As its manifest had it, so that nothing is new when that is put back.
        let HistoryEntry { deployment, deployed_by, .. } = to;
        let desired = Desired { deployment_id: deployment.deployment_id, deployed_by, ..desired };
        self.step(Event::Desired { desired: Arc::new(desired), proven: true });
    }

    /// Another deployment is about to be published: what does its workers' part has a past to be
    /// compared with.
    pub(super) fn remember_before(&mut self, table: &Table) {
        let Desired { commit, deployment_id, .. } = &*table.deployment;
        let deployment_id = deployment_id.clone();
        let deployment = commit.clone().map(|commit| DeploymentRef { commit, deployment_id });
        if deployment.is_none() || self.before.0 == deployment {
            return;
        }
        let mut before: BTreeMap<_, Before> = BTreeMap::new();
        for target in self.state.serving.iter().filter_map(|unit| self.targets.get(unit)) {
            let blank = || Before { generation: target.generation, figures: Default::default() };
            let worker = before.entry(target.worker.clone()).or_insert_with(blank);
            worker.figures.add(&target.figures());
        }
        self.before = (deployment, Arc::new(before));
    }
}
