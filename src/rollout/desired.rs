//! What is wanted: one deployment (or the source tree), resolved against the configuration.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::canary::CanaryPlan;
use crate::config::settings::WorkerSettings;
use crate::ids::{CommitId, Md5, WorkerName};
use crate::launcher::Source;
use crate::proxy::table::PublicTree;
use crate::store::manifest::DeployedBy;

/// Everything a rollout needs to know of what is wanted.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Desired {
    /// The commit; `None` when workers run from the source tree.
    pub commit: Option<CommitId>,
    /// The branch it was built from.
    pub branch: Option<String>,
    /// The tag that names the commit.
    pub tag: Option<String>,
    /// The manifest's `deployment_id`, so that activating a commit again is a new wish.
    pub deployment_id: Option<String>,
    /// Who activated it, as the manifest says.
    pub deployed_by: Option<DeployedBy>,
    /// How it is to come to serve by degrees; `None`: at once.
    pub canary: Option<CanaryPlan>,
    /// Each worker.
    pub workers: BTreeMap<WorkerName, DesiredWorker>,
    /// Workers of the source tree that have no program yet. Their routes are published, and
    /// requests for them wait.
    pub unbuilt: BTreeMap<WorkerName, UnbuiltWorker>,
}

/// A worker whose program is still to be built.
#[derive(Debug, Clone, PartialEq)]
pub struct UnbuiltWorker {
    /// What holds for it.
    pub settings: Arc<WorkerSettings>,
    /// Its public files, nearest first.
    pub public: Vec<PublicTree>,
}

impl Desired {
    /// The settings of every worker, built or not.
    pub fn settings(&self) -> impl Iterator<Item = (&WorkerName, &Arc<WorkerSettings>)> {
        let built = self.workers.iter().map(|(name, worker)| (name, &worker.settings));
        built.chain(self.unbuilt.iter().map(|(name, worker)| (name, &worker.settings)))
    }
}

/// What is wanted of one worker.
#[derive(Debug, Clone, PartialEq)]
pub struct DesiredWorker {
    /// Its name.
    pub name: WorkerName,
    /// Where its files are.
    pub source: Source,
    /// Whether that is so because it is pinned there.
    pub pinned: bool,
    /// What it is made of: a generation with the same fingerprint need not be replaced.
    pub fingerprint: Md5,
    /// What holds for it.
    pub settings: Arc<WorkerSettings>,
    /// Its public files, nearest first.
    pub public: Vec<PublicTree>,
}

impl DesiredWorker {
    /// The deployment that it is pinned to.
    pub fn pinned_to(&self) -> Option<CommitId> {
        match &self.source {
            Source::Deployment(commit) if self.pinned => Some(commit.clone()),
            Source::Deployment(_) | Source::Tree => None,
        }
    }
}
