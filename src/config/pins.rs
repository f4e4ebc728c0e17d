//! `workers.pins` of server.yaml: workers that come from a deployment of their own.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use super::diagnostic::{ConfigErrors, Diagnostic};
use super::document::Document;
use super::section::{Located, Section};
use crate::ids::{CommitId, InvalidId, RoutePath, WorkerName};

/// What is pinned.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum PinTarget {
    /// The worker of this name.
    Worker(WorkerName),
    /// Whichever worker the deployment has at this route.
    Route(RoutePath),
}

impl FromStr for PinTarget {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.starts_with('/') {
            true => text.parse().map(Self::Route),
            false => text.parse().map(Self::Worker),
        }
    }
}

impl fmt::Display for PinTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Worker(name) => name.fmt(f),
            Self::Route(route) => route.fmt(f),
        }
    }
}

/// Where something pinned comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// The deployment.
    pub commit: CommitId,
    /// The line that says so; its message is empty.
    place: Diagnostic,
}

impl Pin {
    /// An error at the place of the pin: only who reads deployments finds out whether it holds.
    pub fn error(&self, message: impl Into<String>) -> ConfigErrors {
        Diagnostic { message: message.into(), ..self.place.clone() }.into()
    }
}

/// Reads the key `pins`.
pub(super) fn read(workers: &mut Section<'_, '_>) -> BTreeMap<PinTarget, Located<CommitId>> {
    workers.located("pins", CommitId::from_str)
}

/// The pins of a document that was found valid.
pub(super) fn placed(
    read: BTreeMap<PinTarget, Located<CommitId>>,
    document: &Document,
) -> BTreeMap<PinTarget, Pin> {
    let pin = |Located { value, at }| Pin { commit: value, place: document.diagnostic(at, "") };
    read.into_iter().map(|(target, found)| (target, pin(found))).collect()
}
