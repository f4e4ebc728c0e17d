//! What happens in production, told to who follows the events: it is read off the snapshots that the
//! rollout publishes.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::control::last_exit;
use crate::admin::events::{EventKind, GenerationPhase, RolloutOutcome};
use crate::admin::feed::Feed;
use crate::ids::{CommitId, Generation, UnitName, WorkerName};
use crate::rollout::actor::RolloutHandle;
use crate::rollout::status::{Snapshot, WorkerSnapshot};

/// Tells it for as long as there is a rollout.
pub(super) async fn tell(rollout: RolloutHandle, feed: Feed) {
    let mut snapshots = rollout.snapshots();
    let mut told = Told::default();
    loop {
        let snapshot = snapshots.borrow_and_update().clone();
        told.look(&snapshot).into_iter().for_each(|what| feed.publish(what));
        if snapshots.changed().await.is_err() {
            // The actor is gone, and the process about to be.
            return std::future::pending().await;
        }
    }
}

/// What was told so far.
#[derive(Debug, Default)]
struct Told {
    /// Whether the past was looked at: what was before us is no news.
    has_looked: bool,
    rolling_out: Option<CommitId>,
    /// A canary and its share.
    canary: Option<(CommitId, u8)>,
    /// When the last rollout ended that was told of, and the last refusal came.
    ended: Option<Timestamp>,
    refused: Option<Timestamp>,
    phases: BTreeMap<(WorkerName, Generation, UnitName), GenerationPhase>,
    /// The last end of each worker's.
    exits: BTreeMap<WorkerName, (UnitName, Generation)>,
}

impl Told {
    /// What is new.
    fn look(&mut self, snapshot: &Snapshot) -> Vec<EventKind> {
        let mut news = Vec::new();
        self.refusals(snapshot, &mut news);
        if self.rolling_out != snapshot.rolling_out {
            self.rolling_out.clone_from(&snapshot.rolling_out);
            news.extend(snapshot.rolling_out.clone().map(|commit| EventKind::Rollout {
                commit,
                outcome: RolloutOutcome::Begun,
                reason: None,
                took_ms: None,
            }));
        }
        let canary = snapshot.canary.as_ref().and_then(|it| Some((it.commit.clone()?, it.share)));
        if self.canary != canary {
            self.canary.clone_from(&canary);
            news.extend(
                canary.map(|(commit, share_percent)| EventKind::Canary { commit, share_percent }),
            );
        }
        self.generations(snapshot, &mut news);
        for worker in &snapshot.workers {
            self.exit(worker, &mut news);
        }
        self.ends(snapshot, &mut news);
        self.has_looked = true;
        news
    }

    fn refusals(&mut self, snapshot: &Snapshot, news: &mut Vec<EventKind>) {
        let before =
            self.refused.replace(snapshot.refused.last().map(|it| it.at).unwrap_or_default());
        let is_new = |at| self.has_looked && before.is_none_or(|before| at > before);
        for refusal in snapshot.refused.iter().filter(|it| is_new(it.at)) {
            news.push(EventKind::Refused {
                commit: refusal.deployment.as_ref().map(|it| it.commit.clone()),
                reason: refusal.reason.clone(),
            });
        }
    }

    fn ends(&mut self, snapshot: &Snapshot, news: &mut Vec<EventKind>) {
        let before = self.ended.replace(snapshot.past.last().map(|it| it.at).unwrap_or_default());
        let is_new = |at| self.has_looked && before.is_none_or(|before| at > before);
        for entry in snapshot.past.iter().filter(|it| is_new(it.at)) {
            let has_failed = entry.failure.is_some();
            let outcome = if has_failed { RolloutOutcome::Failed } else { RolloutOutcome::Served };
            news.push(EventKind::Rollout {
                commit: entry.deployment.commit.clone(),
                outcome,
                reason: entry.failure.clone(),
                took_ms: entry.took_ms,
            });
        }
    }

    fn generations(&mut self, snapshot: &Snapshot, news: &mut Vec<EventKind>) {
        let mut phases = BTreeMap::new();
        for worker in &snapshot.workers {
            for one in &worker.generations {
                let key = (worker.name.clone(), one.generation, one.unit.clone());
                phases.insert(key, phase(one.phase));
            }
        }
        let mut tell = |(worker, generation, unit): (WorkerName, Generation, UnitName), phase| {
            news.push(EventKind::Generation { worker, generation, unit, phase });
        };
        for (key, phase) in &phases {
            if self.phases.remove(key) != Some(*phase) {
                tell(key.clone(), *phase);
            }
        }
        for (key, before) in std::mem::replace(&mut self.phases, phases) {
            if before != GenerationPhase::Gone {
                tell(key, GenerationPhase::Gone);
            }
        }
    }

    fn exit(&mut self, worker: &WorkerSnapshot, news: &mut Vec<EventKind>) {
        let Some(exit) = &worker.last_exit else { return };
        let key = (exit.unit.clone(), exit.generation);
        if self.exits.insert(worker.name.clone(), key.clone()) != Some(key) {
            news.push(EventKind::Died { worker: worker.name.clone(), exit: last_exit(exit) });
        }
    }
}

/// By the name that the rollout has for it.
fn phase(name: &str) -> GenerationPhase {
    match name {
        "Queued" => GenerationPhase::Queued,
        "Starting" => GenerationPhase::Starting,
        "Probing" => GenerationPhase::Probing,
        "Ready" => GenerationPhase::Ready,
        "Canary" => GenerationPhase::Canary,
        "Serving" => GenerationPhase::Serving,
        "Draining" => GenerationPhase::Draining,
        "Stopping" => GenerationPhase::Stopping,
        _ => GenerationPhase::Gone,
    }
}
