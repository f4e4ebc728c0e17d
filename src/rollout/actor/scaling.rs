//! What the controller is told of what workers have to do, where the number of their instances follows
//! from that.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::super::event::{Event, Load, Table};
use super::{Actor, Done, now};
use crate::ids::WorkerName;
use crate::launcher::Launcher;

/// How often it is looked at.
const INTERVAL: Duration = Duration::from_secs(1);

/// What is looked at, and listened for.
#[derive(Debug, Default)]
pub(super) struct Scaling {
    /// The next look; `None` where no number of instances follows from anything.
    pub(super) due: Option<Instant>,
    /// Who waits for a request for a worker that sleeps.
    sleepers: BTreeMap<WorkerName, AbortHandle>,
}

impl<L: Launcher> Actor<L> {
    /// A table is about to be published: from now on requests wake those who sleep in it.
    pub(super) fn wakers(&mut self, table: &Table) -> BTreeMap<WorkerName, Arc<Notify>> {
        // Requests that wait look at the new table, and wake by that.
        let slept = std::mem::take(&mut self.scaling.sleepers);
        slept.values().for_each(AbortHandle::abort);
        let mut wakers = BTreeMap::new();
        for name in &table.asleep {
            let awaited = Arc::new(Notify::new());
            wakers.insert(name.clone(), Arc::clone(&awaited));
            if !slept.contains_key(name) {
                tracing::info!(worker = %name, "{name} sleeps until it is asked for");
            }
            let worker = name.clone();
            let sleeper = self.beside.spawn(async move {
                awaited.notified().await;
                Done::Awaited(worker)
            });
            self.scaling.sleepers.insert(name.clone(), sleeper);
        }
        let mut workers = table.deployment.workers.values();
        let scales = workers.any(|worker| worker.settings.instances.scales());
        self.scaling.due = match self.scaling.due {
            due @ Some(_) if scales => due,
            _ => scales.then(|| now() + INTERVAL),
        };
        wakers
    }

    /// Looks, and has the controller decide.
    pub(super) fn measure(&mut self) {
        self.scaling.due = Some(now() + INTERVAL);
        let Some(current) = self.controller.current() else { return };
        let scaled = current.workers.values().filter(|it| it.settings.instances.scales());
        let figures = self.table.figures();
        let load = |name: &WorkerName| {
            let of_worker = self.table.load().of_worker(name.as_str()).map(Arc::clone);
            let targets = of_worker.iter().flat_map(|route| route.targets.iter());
            let in_flight: u64 = targets.map(|(target, _)| target.in_flight()).sum();
            let waiting = self.intakes.get(name).map_or(0, |intake| intake.waiting());
            let requests = figures.get(name).map_or(0, |figures| figures.requests);
            Load { in_flight: in_flight + waiting, requests }
        };
        let loads = scaled.map(|worker| (worker.name.clone(), load(&worker.name))).collect();
        self.step(Event::Measured(loads));
    }
}
