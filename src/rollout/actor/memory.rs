//! What became of rollouts, for who waits for them and for a daemon after this one.

use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;

use super::super::event::{Outcome, RolloutId, Verdict};
use super::super::load::{LoadError, Loader};
use super::super::report::{Report, failures_line};
use super::super::state::{Attempt, DeploymentRef, Refusal};
use super::{Actor, Done, now};
use crate::launcher::Launcher;

impl<L: Launcher> Actor<L> {
    /// A rollout has ended: remembers how, and tells who waited.
    pub(super) fn conclude(&mut self, id: RolloutId, verdict: Verdict) {
        let waiters = self.waiting.remove(&id).unwrap_or_default();
        let begun = self.begun.remove(&id);
        self.remember(&verdict, begun);
        let report = Report::of(&verdict);
        match &report.reason {
            None => tracing::info!("{report}"),
            Some(_) => tracing::error!("{report}"),
        }
        let Outcome::Failed(failures) = verdict.outcome else {
            waiters.answer(&report);
            return;
        };
        let last_lines = self.last_lines.clone();
        self.beside.spawn(async move {
            let details = last_lines.of_failures(&failures).await;
            Done::Reported(waiters, Report { details, ..report })
        });
    }

    fn remember(&mut self, verdict: &Verdict, begun: Option<Instant>) {
        let is_it =
            |deployment: &DeploymentRef| verdict.commit.as_ref() == Some(&deployment.commit);
        let returning = self.returning.take().filter(|(deployment, _)| is_it(deployment));
        let is_returning = returning.is_some();
        let wanted = self.desired.clone().map(|deployment| (deployment, self.desired_by.clone()));
        let wanted = returning.or(wanted.filter(|(deployment, _)| is_it(deployment)));
        let Some((deployment, deployed_by)) = wanted else { return };
        let took = begun.map(|begun| now().saturating_duration_since(begun).as_millis());
        let attempt = Attempt {
            deployment,
            deployed_by,
            at: Timestamp::now(),
            took_ms: took.and_then(|took| took.try_into().ok()),
            started: verdict.started.clone(),
        };
        let published = self.controller.current().and_then(|current| current.commit.as_ref());
        match &verdict.outcome {
            Outcome::Switched => {
                let failed = self.state.failed.take().filter(|_| is_returning);
                self.state.served(attempt);
                // The manifest still asks for what was left, which is not to be tried again.
                self.state.failed = failed;
            }
            Outcome::Unchanged if is_returning => {}
            Outcome::Unchanged => self.state.failed = None,
            // It has served before, and what is left of it serves: its workers are tried again.
            Outcome::Failed(_) if published == Some(&attempt.deployment.commit) => {}
            Outcome::Failed(failures) => {
                let reason = failures_line(failures);
                self.state.did_not_serve(attempt, reason);
                if self.controller.current().is_none() {
                    self.stay_with_the_good();
                }
            }
            Outcome::Interrupted => {}
        }
        self.past = Arc::new(self.state.history.clone());
    }

    /// Nothing is tried for what is wanted.
    pub(super) fn remember_refusal(&mut self, error: &LoadError) {
        let wish = self.loader.as_ref().and_then(Loader::wish).cloned();
        let (deployment, deployed_by) = wish.unzip();
        let (deployed_by, reason) = (deployed_by.flatten(), error.to_string());
        self.state.refuse(Refusal { deployment, deployed_by, reason, at: Timestamp::now() });
        self.refused = Arc::new(self.state.refused.clone());
    }

    /// Writes the state when it changed, one write after the other. A directory that cannot be
    /// written costs us the memory, not the service.
    pub(super) fn save(&mut self) {
        self.state.generations.clone_from(self.controller.numbers());
        self.state.drained.clone_from(self.controller.out_of_service());
        if self.saving || self.state == self.saved {
            return;
        }
        self.saving = true;
        self.saved = self.state.clone();
        let (file, state) = (self.state_file.clone(), self.state.clone());
        self.beside.spawn_blocking(move || Done::Saved(file.save(&state)));
    }

    /// The write that nothing follows.
    pub(super) fn save_last(&mut self) {
        if self.state != self.saved
            && let Err(error) = self.state_file.save(&self.state)
        {
            tracing::warn!("state not saved: {error}");
        }
    }
}
