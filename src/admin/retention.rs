//! What the daemon needs of the deployments on disk: for `tqctl prune`, which removes the others.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::config::settings::RetentionSettings;
use crate::ids::CommitId;

/// `GET /v1/retention`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Retention {
    /// [`SCHEMA`](super::api::SCHEMA)
    pub schema: u32,
    /// The folder of deployments, absolute.
    pub deploy_dir: PathBuf,
    /// `deployment.prod.retention`, as it is in effect.
    pub rules: RetentionSettings,
    /// What has to stay whatever its age. A deployment can be here for several reasons.
    pub needed: Vec<Needed>,
}

/// A deployment that has to stay.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Needed {
    /// Which.
    pub commit: CommitId,
    /// What for.
    pub reason: NeededFor,
}

/// What the daemon needs a deployment for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum NeededFor {
    /// It is what is wanted, as far as the daemon has read the manifest.
    Desired,
    /// Its routes are published.
    Actual,
    /// It is on its way.
    RollingOut,
    /// It is what the daemon goes back to.
    LastGood,
    /// A generation runs from it.
    Running,
    /// A worker or a route is pinned to it.
    Pinned,
}

impl NeededFor {
    /// As the end of a sentence that begins with the deployment.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Desired => "is what is wanted",
            Self::Actual => "serves",
            Self::RollingOut => "is being rolled out",
            Self::LastGood => "served well last",
            Self::Running => "has generations that run",
            Self::Pinned => "is pinned",
        }
    }
}
