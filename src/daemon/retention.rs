//! Which deployments the daemon needs, and the sign by which systemd knows that others may go.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use crate::admin::api::SCHEMA;
use crate::admin::retention::{Needed, NeededFor, Retention};
use crate::config::settings::DeploymentSettings;
use crate::launcher::Source;
use crate::rollout::actor::RolloutHandle;
use crate::rollout::status::Snapshot;

/// What is needed at the moment of a snapshot. An error says why nobody can tell yet.
pub(super) fn needed(
    snapshot: &Snapshot,
    settings: &DeploymentSettings,
) -> Result<Retention, String> {
    let Snapshot { desired, last_good, .. } = snapshot;
    if !snapshot.decided && desired.is_none() && last_good.is_none() {
        return Err("tqserver has not found out yet what is deployed here".to_owned());
    }
    let mut needed = BTreeSet::new();
    let mut add = |commit: Option<&_>, reason| {
        needed.extend(commit.cloned().map(|commit| Needed { commit, reason }));
    };
    add(desired.as_ref().map(|desired| &desired.commit), NeededFor::Desired);
    add(snapshot.actual.as_ref(), NeededFor::Actual);
    add(snapshot.rolling_out.as_ref(), NeededFor::RollingOut);
    add(last_good.as_ref().map(|good| &good.commit), NeededFor::LastGood);
    for generation in snapshot.workers.iter().flat_map(|worker| &worker.generations) {
        if let Source::Deployment(commit) = &generation.source {
            add(Some(commit), NeededFor::Running);
        }
    }
    for pin in settings.pins.values() {
        add(Some(&pin.commit), NeededFor::Pinned);
    }
    Ok(Retention {
        schema: SCHEMA,
        deploy_dir: settings.deploy_dir.clone(),
        rules: settings.retention,
        needed: needed.into_iter().collect(),
    })
}

/// Touches `stamp` whenever another deployment has come to serve: tqserver-prune.path waits for that.
pub(super) async fn stamp(rollout: RolloutHandle, stamp: PathBuf) {
    let mut snapshots = rollout.snapshots();
    let mut last_good = None;
    while snapshots.changed().await.is_ok() {
        let found = snapshots.borrow_and_update().last_good.clone();
        if found.is_some() && found != last_good {
            if let Err(error) = fs::write(&stamp, "") {
                tracing::debug!("{}: {error}", stamp.display());
            }
            last_good = found;
        }
    }
}
