//! Watches a deployment that has come to serve, and goes back where it serves worse than the one before.
//!
//! Each worker is compared with itself: what its generation does with what the one before had done.

pub mod canary;
mod judge;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::actor::RolloutHandle;
use super::report::ReportResult;
use super::status::{Snapshot, WorkerSnapshot};
use crate::config::settings::SoakSettings;
use crate::ids::{CommitId, Generation, WorkerName};
use crate::proxy::WorkerFigures;
use crate::proxy::target::Target;
use judge::Compared;

/// How often the figures are looked at.
const INTERVAL: Duration = Duration::from_millis(500);
/// How many looks in a row must find what may pass: a worker that is replaced, and slow answers.
const IN_A_ROW: usize = 3;
/// How long programs may be slow in the beginning: they fill caches, and compile what is used.
const WARM_UP: Duration = Duration::from_secs(1);

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Soaked {
    /// It serves as well as the one before, in figures.
    Well(String),
    /// It does not, for this reason, and the one before serves again.
    WentBack(String),
    /// It does not, for the first reason, and there is no way back, for the second.
    Stayed(String, String),
    /// Another process decides by now: it is to be asked.
    HandedOver,
}

/// What a worker had done when the published deployment came to be.
#[derive(Debug, Clone, Copy)]
pub struct Before {
    /// Its generation then.
    pub generation: Generation,
    /// What that had done.
    pub figures: WorkerFigures,
}

/// Watches `commit`, which serves, for `time`, and goes back if there is reason to.
pub async fn soak(
    rollout: &RolloutHandle,
    commit: &CommitId,
    time: Duration,
    limits: SoakSettings,
) -> Soaked {
    let begun = Instant::now();
    let bad = match watch(rollout, commit, time, limits).await {
        Ok(figures) => return Soaked::Well(figures),
        Err(bad) => bad,
    };
    match bad {
        // Somebody has decided already.
        Bad::Replaced(reason) => Soaked::WentBack(reason),
        Bad::Serving(reason) => {
            let report = rollout.go_back(commit.clone(), reason.clone(), begun.elapsed()).await;
            match (report.result, report.reason) {
                (ReportResult::HandedOver, _) => Soaked::HandedOver,
                (_, None) => Soaked::WentBack(reason),
                (_, Some(obstacle)) => Soaked::Stayed(reason, obstacle),
            }
        }
    }
}

/// Why a deployment is not to go on.
#[derive(Debug)]
enum Bad {
    /// It does not serve any more.
    Replaced(String),
    /// It serves badly.
    Serving(String),
}

async fn watch(
    rollout: &RolloutHandle,
    commit: &CommitId,
    time: Duration,
    limits: SoakSettings,
) -> Result<String, Bad> {
    let (begun, mut seen) = (Instant::now(), Seen::default());
    let mut in_a_row = 0;
    loop {
        let snapshot = rollout.snapshot();
        let elapsed = begun.elapsed();
        seen.look(&snapshot, elapsed >= WARM_UP);
        let compared = seen.compare(&snapshot);
        if let Some(reason) = compared.iter().find_map(|(name, it)| told(name, it.errors(limits))) {
            return Err(Bad::Serving(reason));
        }
        let slow = || compared.iter().find_map(|(name, it)| told(name, it.latency(limits)));
        let passing = not_serving(&snapshot, commit).or_else(|| slow().map(Bad::Serving));
        in_a_row = if passing.is_some() { in_a_row + 1 } else { 0 };
        let left = time.saturating_sub(elapsed);
        match passing {
            Some(bad) if in_a_row == IN_A_ROW => return Err(bad),
            // Whether it passes is still to be seen.
            Some(_) => tokio::time::sleep(INTERVAL).await,
            None if left.is_zero() => return Ok(judge::summary(&compared)),
            None => tokio::time::sleep(left.min(INTERVAL)).await,
        }
    }
}

fn told(worker: &WorkerName, reason: Option<String>) -> Option<String> {
    reason.map(|reason| format!("{worker}: {reason}"))
}

/// A worker of the deployment that does not serve, or another deployment that does.
fn not_serving(snapshot: &Snapshot, commit: &CommitId) -> Option<Bad> {
    if !snapshot.decided {
        // We have just begun ourselves.
        return None;
    }
    if snapshot.actual.as_ref() != Some(commit) {
        let actual = snapshot.actual.as_ref().map_or("nothing", CommitId::short);
        return Some(Bad::Replaced(format!("{actual} serves instead")));
    }
    let is_wanted = |it: &&WorkerSnapshot| it.route.is_some() && !it.drained;
    let mut wanted = snapshot.workers.iter().filter(is_wanted);
    let down = wanted.find(|worker| !worker.is_up())?;
    let why = down.last_failure.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
    Some(Bad::Serving(format!("{} does not serve{why}", down.name)))
}

/// The targets that have served since the deployment came to be: one that has died counts on.
#[derive(Default)]
struct Seen {
    targets: BTreeMap<WorkerName, Vec<Arc<Target>>>,
    /// What they had done when they were warm.
    warm: Option<BTreeMap<WorkerName, WorkerFigures>>,
}

impl Seen {
    fn look(&mut self, snapshot: &Snapshot, is_warm: bool) {
        for worker in &snapshot.workers {
            let known = self.targets.entry(worker.name.clone()).or_default();
            for target in serving(worker) {
                if !known.iter().any(|other| Arc::ptr_eq(other, target)) {
                    known.push(Arc::clone(target));
                }
            }
        }
        if is_warm && self.warm.is_none() {
            self.warm = Some(self.sums());
        }
    }

    fn sums(&self) -> BTreeMap<WorkerName, WorkerFigures> {
        let sum = |targets: &Vec<Arc<Target>>| {
            let mut sum = WorkerFigures::default();
            targets.iter().for_each(|target| sum.add(&target.figures()));
            sum
        };
        self.targets.iter().map(|(name, targets)| (name.clone(), sum(targets))).collect()
    }

    fn compare(&self, snapshot: &Snapshot) -> Vec<(WorkerName, Compared)> {
        let sums = self.sums();
        let compare = |(name, sum): (WorkerName, WorkerFigures)| {
            let before = snapshot.before.get(&name);
            let targets = &self.targets[&name];
            // A worker that was kept has its figures of before in it still.
            let kept = before.filter(|before| {
                targets.iter().any(|target| target.generation == before.generation)
            });
            let since = kept.map_or(sum, |before| sum.since(&before.figures));
            let warm = self.warm.as_ref().and_then(|warm| warm.get(&name));
            let warm = warm.map(|warm| sum.since(warm));
            (name, Compared { before: before.map(|before| before.figures), since, warm })
        };
        sums.into_iter().map(compare).collect()
    }
}

fn serving(worker: &WorkerSnapshot) -> impl Iterator<Item = &Arc<Target>> {
    let serving = worker.generations.iter().filter(|generation| generation.serves());
    serving.filter_map(|generation| generation.target.as_ref())
}
