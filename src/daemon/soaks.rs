//! Watching deployments that somebody has asked to be watched, one at a time.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::task::AbortHandle;

use crate::admin::api::SCHEMA;
use crate::admin::soak::{SoakOutcome, SoakVerdict};
use crate::config::settings::SoakSettings;
use crate::ids::CommitId;
use crate::rollout::actor::RolloutHandle;
use crate::rollout::soak::{self, Soaked};

/// What is being watched. It goes on though nobody waits for the verdict.
#[derive(Debug, Default)]
pub(super) struct Soaks(Mutex<Option<AbortHandle>>);

impl Soaks {
    /// Begins here and now, in the place of what was watched so far; the future is the verdict.
    pub(super) fn begin(
        &self,
        rollout: RolloutHandle,
        commit: CommitId,
        time: Duration,
        limits: SoakSettings,
    ) -> impl Future<Output = Result<SoakVerdict, String>> + Send + use<> {
        let watching =
            tokio::spawn(async move { soak::soak(&rollout, &commit, time, limits).await });
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(earlier) = running.replace(watching.abort_handle()) {
            earlier.abort();
        }
        async move {
            match watching.await {
                Ok(soaked) => Ok(verdict(soaked)),
                Err(error) if error.is_cancelled() => {
                    Err("a deployment is watched anew, or tqserver ends".to_owned())
                }
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            }
        }
    }
}

fn verdict(soaked: Soaked) -> SoakVerdict {
    let (outcome, reason, obstacle) = match soaked {
        Soaked::Well(figures) => (SoakOutcome::Well, figures, None),
        Soaked::WentBack(reason) => (SoakOutcome::WentBack, reason, None),
        Soaked::Stayed(reason, obstacle) => (SoakOutcome::Stayed, reason, Some(obstacle)),
        Soaked::HandedOver => {
            (SoakOutcome::HandedOver, "a new tqserver has taken over".to_owned(), None)
        }
    };
    SoakVerdict { schema: SCHEMA, outcome, reason, obstacle }
}
