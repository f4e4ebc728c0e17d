//! Builds: what is wanted, what runs, and what has come out.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::time::Instant;

use super::super::announce::Cycle;
use super::super::job::{Done, Ended, Job};
use super::{Beside, Session};
use crate::admin::events::EventKind;
use crate::build::Verdict;
use crate::build::dev::{Outcome, Together};
use crate::ids::WorkerName;
use crate::rollout::actor::RolloutHandle;

impl Session {
    pub(super) async fn rebuild_all(&mut self, rollout: &RolloutHandle) {
        let text = "building everything anew".to_owned();
        self.feed.publish(EventKind::Notice { text });
        let now = Instant::now();
        self.give_up_ahead();
        self.read_anew(now).await;
        let all: Vec<_> = self.tree.iter().flat_map(|tree| tree.workers()).cloned().collect();
        self.want(all, Some(now));
        self.reload(rollout, false);
    }

    /// Has workers built.
    pub(super) fn want(
        &mut self,
        workers: impl IntoIterator<Item = WorkerName>,
        written: Option<Instant>,
    ) {
        let Some(tree) = self.tree.clone() else { return };
        for worker in workers {
            let Some(group) = tree.together(&worker) else { continue };
            if let Some(outdated) = self.outdated.get(&group) {
                outdated.store(true, Ordering::Release);
            }
            if let Some(written) = written {
                self.written.insert(worker.clone(), written);
            }
            self.queue.want(group, worker);
        }
    }

    /// Begins the builds that can begin.
    pub(super) fn build(&mut self) {
        if self.tree.is_none() {
            return;
        }
        while let Some((group, workers)) = self.queue.next() {
            self.tell_building(&workers);
            self.begin(group, workers, None);
        }
    }

    pub(super) fn tell_building(&self, workers: &BTreeSet<WorkerName>) {
        self.feed.publish(EventKind::Building { workers: workers.iter().cloned().collect() });
        for worker in workers.iter().filter(|it| self.announcer.serving(it).is_none()) {
            self.browsers.building(worker);
        }
    }

    /// Begins a build beside us.
    pub(super) fn begin(
        &mut self,
        group: Together,
        workers: BTreeSet<WorkerName>,
        ahead: Option<Arc<Verdict>>,
    ) {
        let Some(tree) = self.tree.clone() else { return };
        let outdated = Arc::new(AtomicBool::new(false));
        self.outdated.insert(group.clone(), Arc::clone(&outdated));
        let job = Job { group, workers, tree, outdated, ahead };
        let ended = self.ended.0.clone();
        self.beside.spawn_blocking(move || {
            job.run(&ended);
            Beside::Job
        });
    }

    pub(super) fn ended(&mut self, ended: Ended, rollout: &RolloutHandle) {
        match ended {
            Ended::Done(done) => self.built(done, rollout),
            Ended::Stopped(group) => {
                self.queue.finished(&group);
                self.outdated.remove(&group);
            }
        }
    }

    /// A build has ended: has served what came out.
    fn built(&mut self, done: Done, rollout: &RolloutHandle) {
        let Done { group, workers, outcomes, mut said } = done;
        let took = said.took;
        self.queue.finished(&group);
        self.outdated.remove(&group);
        let mut failed = Vec::new();
        let mut reload = false;
        if let Err(error) = &outcomes {
            said.log.push_str(error);
        }
        let outcomes = outcomes.unwrap_or_default();
        for worker in workers {
            let written = self.written.remove(&worker);
            match outcomes.get(&worker) {
                Some(outcome @ (Outcome::Built | Outcome::Unchanged)) => {
                    let changed = *outcome == Outcome::Built;
                    reload |= changed | self.let_go(&worker);
                    if let Some(written) = written.filter(|_| changed) {
                        let tabs = self.browsers.tabs(&worker);
                        let cycle = Cycle { written, compiling: took, tabs };
                        self.announcer.built(worker.clone(), cycle);
                    }
                    self.browsers.built(&worker);
                    let seconds = took.as_secs_f64();
                    self.feed.publish(EventKind::Built { worker, seconds, changed });
                }
                // What there was before is better than nothing.
                Some(Outcome::Failed | Outcome::UpToDate) | None => {
                    reload |= self.let_go(&worker);
                    self.browsers.failed(&worker, &said, &self.sources.root);
                    failed.push(worker);
                }
            }
        }
        if let Some(first) = failed.first() {
            let place = said.places.first().map(|place| {
                format!("{}:{}:{}", self.shown(&place.file), place.line, place.column)
            });
            self.feed.publish(EventKind::BuildFailed {
                seconds: took.as_secs_f64(),
                serving: self.announcer.serving(first),
                workers: failed,
                place,
                log: said.log,
            });
        }
        if reload {
            self.reload(rollout, false);
        }
    }

    /// Lets the loader start a worker; returns whether it was held back.
    fn let_go(&self, worker: &WorkerName) -> bool {
        let held = self.held_back.load();
        if !held.contains(worker) {
            return false;
        }
        let rest = held.iter().filter(|other| *other != worker).cloned().collect();
        self.held_back.store(Arc::new(rest));
        true
    }
}
