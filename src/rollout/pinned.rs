//! Which deployment each worker comes from, where some are pinned to another than the current one.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::config::ConfigErrors;
use crate::config::settings::{Pin, PinTarget};
use crate::ids::{CommitId, WorkerName};
use crate::store::deployment::{Deployment, WorkerPart};

/// A pin, and the deployment it names.
pub(super) struct Pinned<'a> {
    pub(super) target: &'a PinTarget,
    pub(super) pin: &'a Pin,
    pub(super) deployment: Deployment,
}

/// Where a worker comes from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Chosen<'a> {
    pub(super) commit: &'a CommitId,
    pub(super) part: &'a WorkerPart,
    pub(super) pinned: bool,
}

impl Pinned<'_> {
    /// The worker that the pin is about.
    fn worker(&self) -> Result<(&WorkerName, &WorkerPart), ConfigErrors> {
        let workers = &self.deployment.workers;
        let (found, wanted) = match self.target {
            PinTarget::Worker(name) => (workers.get_key_value(name), format!("no worker {name}")),
            PinTarget::Route(route) => {
                let found = workers.iter().find(|(_, part)| part.route == *route);
                (found, format!("no worker at {route}"))
            }
        };
        found.ok_or_else(|| {
            let there = workers.iter().map(|(name, part)| format!("{name} at {}", part.route));
            let there = there.collect::<Vec<_>>().join(", ");
            let commit = self.deployment.git_commit.short();
            self.pin.error(format!("deployment {commit} has {wanted}; it has {there}"))
        })
    }
}

/// The workers of `current` and those that are pinned, which replace what `current` has by the same
/// name. A route's pin also replaces the worker of another name that `current` has there.
///
/// # Errors
/// A pin that names no worker of its deployment, or after which two workers would have one route or
/// one would be lost that the pin does not name.
pub(super) fn choose<'a>(
    current: &'a Deployment,
    pins: &'a [Pinned<'a>],
) -> Result<BTreeMap<&'a WorkerName, Chosen<'a>>, ConfigErrors> {
    let commit = &current.git_commit;
    let of_current = |part| Chosen { commit, part, pinned: false };
    let mut chosen: BTreeMap<_, _> =
        current.workers.iter().map(|(name, part)| (name, of_current(part))).collect();
    for it in pins {
        let (name, part) = it.worker()?;
        let same_worker = chosen.get(name).copied();
        if same_worker.is_some_and(|other| other.pinned && other.commit != &it.pin.commit) {
            return Err(it.pin.error(format!("{name} is pinned to two deployments")));
        }
        if let PinTarget::Route(route) = it.target {
            if let Some(other) = same_worker.filter(|other| other.part.route != *route) {
                return Err(it.pin.error(format!(
                    "{route} is {name} there, which is at {} in {}: pin {name} itself, if nothing \
                     has to be at {0}",
                    other.part.route,
                    other.commit.short(),
                )));
            }
            chosen.retain(|_, other| other.pinned || other.part.route != *route);
        }
        let other =
            chosen.iter().find(|(other, at)| **other != name && at.part.route == part.route);
        if let Some((other, at)) = other {
            let (route, there) = (&part.route, at.commit.short());
            let message =
                format!("{name} is at {route} there, where {there} has {other}: pin {route}");
            return Err(it.pin.error(message));
        }
        chosen.insert(name, Chosen { commit: &it.pin.commit, part, pinned: true });
    }
    Ok(chosen)
}
