//! What has to change: running × desired.

use std::collections::BTreeMap;

use super::desired::Desired;
use crate::ids::{Generation, Md5, UnitName, WorkerName};

/// What serves a worker now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Serving {
    /// Its generation.
    pub generation: Generation,
    /// What it is made of.
    pub fingerprint: Md5,
    /// The instances of it, each a unit.
    pub units: Vec<UnitName>,
}

/// The difference between what serves and what is wanted.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Workers that need a new generation: they have none, or one made of something else.
    pub start: Vec<WorkerName>,
    /// Workers whose generation goes on.
    pub keep: Vec<WorkerName>,
}

/// Compares. A worker is kept when its fingerprint is the same, whichever commit it was started
/// from: a commit that changes only documentation restarts nothing.
pub fn plan(serving: &BTreeMap<WorkerName, Serving>, desired: &Desired) -> Plan {
    let unchanged = |name: &WorkerName, fingerprint: Md5| {
        serving.get(name).is_some_and(|serving| serving.fingerprint == fingerprint)
    };
    let (keep, start) = desired
        .workers
        .values()
        .map(|worker| (worker.name.clone(), worker.fingerprint))
        .partition::<Vec<_>, _>(|(name, fingerprint)| unchanged(name, *fingerprint));
    let names = |list: Vec<(WorkerName, Md5)>| list.into_iter().map(|(name, _)| name).collect();
    Plan { start: names(start), keep: names(keep) }
}
