//! What the host itself has chosen to run, whatever its age.

use crate::ids::{CommitId, RoutePath, WorkerName};
use crate::store::deployment::Deployment;

/// A worker, by name or by route, that who runs the host has chosen to come from a certain deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    /// The deployment.
    pub commit: CommitId,
    /// Which of its workers.
    pub what: ChosenWorker,
}

/// Which worker is chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChosenWorker {
    /// The one of this name.
    Named(WorkerName),
    /// The one that the deployment has at this route.
    At(RoutePath),
}

impl Chosen {
    /// Whether `worker` is the one, as `deployment` has it.
    pub(super) fn is(&self, worker: &WorkerName, deployment: &Deployment) -> bool {
        self.commit == deployment.git_commit
            && match &self.what {
                ChosenWorker::Named(name) => name == worker,
                ChosenWorker::At(route) => {
                    deployment.workers.get(worker).is_some_and(|part| part.route == *route)
                }
            }
    }
}
