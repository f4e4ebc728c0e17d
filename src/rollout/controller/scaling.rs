//! How many instances a worker has, where that follows what they have to do (`scaling`).
//!
//! More come as soon as they are needed. Some go only after fewer would have been enough for a while, so
//! that what they have to do may rise and fall without their being started again and again. Where none
//! need be there, the last goes too, and the first request that waits has one started.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use super::super::desired::DesiredWorker;
use super::super::event::{Effect, Load};
use super::Controller;
use crate::config::settings::InstanceSettings;
use crate::ids::WorkerName;

/// How many instances of a worker are wanted at the moment.
#[derive(Debug)]
pub(super) struct Scale {
    wanted: usize,
    /// How many requests had come when that was looked at last.
    requests: Option<u64>,
    /// Since when fewer would be enough, and how many were needed at most since.
    excess: Option<(Instant, usize)>,
}

impl Scale {
    fn new(wanted: usize) -> Self {
        Self { wanted, requests: None, excess: None }
    }

    /// Takes what the worker has to do.
    fn measured(&mut self, now: Instant, settings: &InstanceSettings, load: Load) {
        let came =
            self.requests.replace(load.requests).is_some_and(|before| before != load.requests);
        let needed = load.in_flight.div_ceil(settings.scaling.target_in_flight);
        let needed = usize::try_from(needed).unwrap_or(usize::MAX).max(usize::from(came));
        let needed = needed.clamp(settings.fewest(), settings.most());
        if needed >= self.wanted {
            *self = Self { wanted: needed, excess: None, ..*self };
            return;
        }
        let (since, most) = self.excess.unwrap_or((now, needed));
        let most = most.max(needed);
        if now.duration_since(since) >= settings.scaling.idle {
            *self = Self { wanted: most, excess: None, ..*self };
        } else {
            self.excess = Some((since, most));
        }
    }
}

impl Controller {
    /// How many instances of `worker` there are to be.
    pub(super) fn wanted_count(&self, worker: &DesiredWorker) -> usize {
        if self.drained.contains(&worker.name) {
            return 0;
        }
        let settings = &worker.settings.instances;
        match self.scales.get(&worker.name).filter(|_| settings.scales()) {
            Some(scale) => scale.wanted.clamp(settings.fewest(), settings.most()),
            None => settings.at_first(),
        }
    }

    /// How many instances of a worker the current deployment wants at the moment.
    pub fn wanted_instances(&self, worker: &WorkerName) -> usize {
        let worker = self.current.as_ref().and_then(|current| current.workers.get(worker));
        worker.map_or(0, |worker| self.wanted_count(worker))
    }

    /// The workers of the current deployment that need not be there, and are started when somebody asks
    /// for them.
    pub fn asleep(&self) -> BTreeSet<WorkerName> {
        let workers = self.current.iter().flat_map(|current| current.workers.values());
        let sleeps =
            |it: &&DesiredWorker| self.wanted_count(it) == 0 && !self.drained.contains(&it.name);
        workers.filter(sleeps).map(|it| it.name.clone()).collect()
    }

    /// Whether a worker of a deployment that is to serve may go on having no instance: it has none, and
    /// nothing new would show at its start.
    pub(super) fn sleeps_on(&self, worker: &DesiredWorker, proven: bool) -> bool {
        if worker.settings.instances.fewest() > 0 || self.serving().contains_key(&worker.name) {
            return false;
        }
        let current = self.current.as_ref().and_then(|current| current.workers.get(&worker.name));
        let is_known = current.is_some_and(|known| known.fingerprint == worker.fingerprint);
        match self.scales.get(&worker.name) {
            Some(scale) => scale.wanted == 0 && is_known,
            None => proven,
        }
    }

    /// Has a worker sleep from now on, or go on doing so.
    pub(super) fn put_to_sleep(&mut self, worker: &WorkerName) {
        self.scales.insert(worker.clone(), Scale::new(0));
    }

    /// Sees to it that at least one instance of `worker` is wanted, and as many as were so far.
    pub(super) fn wake(&mut self, worker: &DesiredWorker) {
        let settings = &worker.settings.instances;
        if !settings.scales() {
            self.scales.remove(&worker.name);
            return;
        }
        let (at_first, least) = (settings.at_first(), settings.fewest().max(1));
        let scale = self.scales.entry(worker.name.clone()).or_insert_with(|| Scale::new(at_first));
        scale.wanted = scale.wanted.clamp(least, settings.most());
        scale.excess = None;
    }

    /// Takes over as many instances as were found.
    pub(super) fn adopt_scale(&mut self, worker: &DesiredWorker, found: usize) {
        if worker.settings.instances.scales() && found > 0 {
            self.scales.insert(worker.name.clone(), Scale::new(found));
        }
    }

    /// Somebody waits for a worker that sleeps.
    pub(super) fn awaited(&mut self, now: Instant, name: &WorkerName, out: &mut Vec<Effect>) {
        let current = self.current.as_ref().and_then(|current| current.workers.get(name));
        if !self.asleep().contains(name) {
            return;
        }
        let Some(worker) = current.cloned() else { return };
        self.wake(&worker);
        self.bring(now, &worker, out);
    }

    /// Takes what workers have to do, and starts or drains what that calls for.
    pub(super) fn measured(
        &mut self,
        now: Instant,
        loads: &BTreeMap<WorkerName, Load>,
        out: &mut Vec<Effect>,
    ) {
        let known = [self.current.clone(), self.rolling_out().cloned()];
        self.scales
            .retain(|name, _| known.iter().flatten().any(|it| it.workers.contains_key(name)));
        let Some(current) = self.current.clone().filter(|_| !self.ending) else { return };
        let serving = self.serving();
        for (name, load) in loads {
            let Some(worker) = current.workers.get(name) else { continue };
            let settings = &worker.settings.instances;
            // What is on its way has yet to show what it can do.
            if !settings.scales() || !serving.contains_key(name) || self.is_coming(name) {
                continue;
            }
            let at_first = serving[name].units.len();
            let scale = self.scales.entry(name.clone()).or_insert_with(|| Scale::new(at_first));
            scale.measured(now, settings, *load);
        }
        if !self.surplus().is_empty() {
            self.serve(now, [], out);
        }
        for name in loads.keys() {
            if let Some(worker) = current.workers.get(name) {
                self.bring(now, worker, out);
            }
        }
    }

    /// Whether an instance of a worker is on its way.
    fn is_coming(&self, worker: &WorkerName) -> bool {
        let mut of_worker = self.generations.values().filter(|it| it.unit.worker == *worker);
        of_worker.any(|it| it.phase().is_before_serving())
    }

    /// Starts the instances that `worker` lacks. Where one failed of late its next attempt is awaited.
    fn bring(&mut self, now: Instant, worker: &DesiredWorker, out: &mut Vec<Effect>) {
        let waits = self.restarts.get(&worker.name).is_some_and(|restart| restart.due.is_some());
        let lacking = self.lacking_now(&worker.name);
        if self.ending || waits || lacking == 0 {
            return;
        }
        let generation = self.generation_to_join(worker);
        let (_, asked) = self.launch_instances(worker, generation, lacking);
        if let Err(cause) = asked {
            out.push(Effect::Warn(format!("no further instance of {}: {cause}", worker.name)));
            self.schedule_restart(now, &worker.name, None);
        }
    }
}
