//! Tells what of the rollout a developer wants to hear: who serves since when, and who does not.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::ids::{Generation, WorkerName};
use crate::rollout::status::{Snapshot, WorkerSnapshot};

/// What has been told so far.
#[derive(Debug, Default)]
pub(super) struct Announcer {
    serving: BTreeMap<WorkerName, Generation>,
    /// Builds whose programs do not serve yet.
    cycles: BTreeMap<WorkerName, Cycle>,
}

/// A build on its way to be served.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cycle {
    /// When the last file was written that it was built for.
    pub(super) written: Instant,
    /// The compiler's own time.
    pub(super) compiling: Duration,
    /// How many browser tabs show what it replaces.
    pub(super) tabs: usize,
}

/// A generation that serves since a moment ago.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NowServing {
    pub(super) worker: WorkerName,
    pub(super) generation: Generation,
    pub(super) event: Serving,
}

/// What [`EventKind::Serving`] says of it beside names.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Serving {
    pub(super) route: crate::ids::RoutePath,
    pub(super) ready: Duration,
    pub(super) overhead: Option<Duration>,
    pub(super) tabs: usize,
}

impl Announcer {
    /// A program was built and is on its way.
    pub(super) fn built(&mut self, worker: WorkerName, cycle: Cycle) {
        self.cycles.insert(worker, cycle);
    }

    /// The generation that serves a worker.
    pub(super) fn serving(&self, worker: &WorkerName) -> Option<Generation> {
        self.serving.get(worker).copied()
    }

    /// Looks at how things stand at `now`; returns what is new.
    pub(super) fn look(&mut self, snapshot: &Snapshot, now: Instant) -> Vec<NowServing> {
        let mut news = Vec::new();
        let mut serving = BTreeMap::new();
        for worker in &snapshot.workers {
            let Some(generation) = newest_serving(worker) else { continue };
            serving.insert(worker.name.clone(), generation.generation);
            let known = self.serving.get(&worker.name) == Some(&generation.generation);
            let Some(route) = worker.route.clone().filter(|_| !known) else { continue };
            let cycle = self.cycles.remove(&worker.name);
            let overhead = cycle.map(|cycle| {
                now.saturating_duration_since(cycle.written).saturating_sub(cycle.compiling)
            });
            let ready = generation.start_took.unwrap_or_default();
            news.push(NowServing {
                worker: worker.name.clone(),
                generation: generation.generation,
                event: Serving { route, ready, overhead, tabs: cycle.map_or(0, |it| it.tabs) },
            });
        }
        self.serving = serving;
        news
    }
}

fn newest_serving(worker: &WorkerSnapshot) -> Option<&crate::rollout::status::GenerationSnapshot> {
    worker.generations.iter().rev().find(|generation| generation.serves())
}
