//! Watches a canary: each worker's new generation is compared with the one that serves, in the same time.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::Instant;

use super::judge::Compared;
use super::{IN_A_ROW, INTERVAL, WARM_UP};
use crate::config::settings::SoakSettings;
use crate::ids::WorkerName;
use crate::proxy::WorkerFigures;
use crate::proxy::target::Target;
use crate::rollout::event::RolloutId;
use crate::rollout::status::{GenerationSnapshot, Snapshot, WorkerSnapshot};

/// What a worker's canary does worse than what serves; `None` once the rollout is no canary any more. The
/// first of `snapshots` that it has not seen tells of it.
pub async fn watch(
    mut snapshots: watch::Receiver<Arc<Snapshot>>,
    id: RolloutId,
    limits: SoakSettings,
) -> Option<(WorkerName, String)> {
    let (begun, mut seen) = (Instant::now(), BTreeMap::<WorkerName, Seen>::new());
    let mut in_a_row = 0;
    snapshots.changed().await.ok()?;
    loop {
        let snapshot = Arc::clone(&snapshots.borrow_and_update());
        if snapshot.canary.as_ref().is_none_or(|canary| canary.id != id) {
            return None;
        }
        let is_warm = begun.elapsed() >= WARM_UP;
        let mut slow = None;
        for worker in &snapshot.workers {
            let seen = seen.entry(worker.name.clone()).or_default();
            seen.look(worker, is_warm);
            let compared = seen.compared();
            if let Some(reason) = compared.errors(limits) {
                return Some((worker.name.clone(), reason));
            }
            let latency = || Some((worker.name.clone(), compared.latency(limits)?));
            slow = slow.or_else(latency);
        }
        in_a_row = if slow.is_some() { in_a_row + 1 } else { 0 };
        if in_a_row == IN_A_ROW {
            return slow;
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// What a worker has done since it was watched.
#[derive(Default)]
struct Seen {
    /// By what serves; with what each had done at first.
    stable: Vec<(Arc<Target>, WorkerFigures)>,
    /// By the canary, which had done nothing.
    canary: Vec<Arc<Target>>,
    /// What the canary had done when it was warm.
    warm: Option<WorkerFigures>,
}

impl Seen {
    fn look(&mut self, worker: &WorkerSnapshot, is_warm: bool) {
        for target in targets(worker, GenerationSnapshot::serves) {
            if !self.stable.iter().any(|(known, _)| Arc::ptr_eq(known, target)) {
                self.stable.push((Arc::clone(target), target.figures()));
            }
        }
        for target in targets(worker, GenerationSnapshot::is_canary) {
            if !self.canary.iter().any(|known| Arc::ptr_eq(known, target)) {
                self.canary.push(Arc::clone(target));
            }
        }
        if is_warm && self.warm.is_none() {
            self.warm = Some(self.of_canary());
        }
    }

    fn of_canary(&self) -> WorkerFigures {
        let mut sum = WorkerFigures::default();
        self.canary.iter().for_each(|target| sum.add(&target.figures()));
        sum
    }

    fn compared(&self) -> Compared {
        let mut before = WorkerFigures::default();
        for (target, at_first) in &self.stable {
            before.add(&target.figures().since(at_first));
        }
        let since = self.of_canary();
        let warm = self.warm.as_ref().map(|warm| since.since(warm));
        Compared { before: Some(before), since, warm }
    }
}

fn targets(
    worker: &WorkerSnapshot,
    which: fn(&GenerationSnapshot) -> bool,
) -> impl Iterator<Item = &Arc<Target>> {
    let generations = worker.generations.iter().filter(move |generation| which(generation));
    generations.filter_map(|generation| generation.target.as_ref())
}
