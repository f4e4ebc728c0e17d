//! What is decided is done here.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use super::super::desired::Desired;
use super::super::event::{Effect, Table};
use super::super::probe::Probe;
use super::{Actor, Done, now};
use crate::config::settings::{InstanceSettings, WorkerSettings};
use crate::ids::{UnitName, WorkerName};
use crate::launcher::Launcher;
use crate::proxy::balance::BalanceSettings;
use crate::proxy::canary::Canary;
use crate::proxy::intake::IntakeSettings;
use crate::proxy::table::{
    PublicTree, Refused, Route, RouteTable, Unrouted, UpstreamTimeouts, WeightedTargets,
};
use crate::proxy::target::{Target, TargetSettings};

impl<L: Launcher> Actor<L> {
    /// Does one thing that was decided; never waits for it.
    pub(super) fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Start(request) => {
                let (unit, generation) = (request.unit(), request.generation);
                tracing::info!(worker = %unit.worker, "starting {generation}: {unit}");
                self.last_lines.started(&unit);
                self.launches.start(request);
            }
            Effect::Probe { unit, worker } => {
                let probe = self.probe(&unit, &worker.settings);
                let (name, launcher) = (unit.clone(), self.launches.launcher());
                self.errand(unit, async move {
                    let control_group = launcher.control_group(&name).await;
                    let probe = Probe { control_group, ..probe };
                    let result = probe.run().await;
                    Done::Probed(name, control_group, result)
                });
            }
            Effect::Publish(table) => self.publish(&table),
            Effect::Drain(unit) => {
                if let Some(target) = self.targets.get(&unit).map(Arc::clone) {
                    target.start_draining();
                    let name = unit.clone();
                    self.errand(unit, async move {
                        target.drained().await;
                        Done::Drained(name)
                    });
                }
            }
            Effect::CutStreams(unit) => {
                if let Some(target) = self.targets.get(&unit) {
                    let in_flight = target.in_flight();
                    tracing::info!(worker = %unit.worker, "ending streams of {unit}, {in_flight} in flight");
                    target.cut_streams();
                }
            }
            Effect::Stop(unit) => {
                tracing::info!(worker = %unit.worker, "stopping {unit}");
                self.launches.stop(unit);
            }
            Effect::Forget(unit) => {
                if let Some(target) = self.targets.remove(&unit) {
                    // A request may still hold an older table: its claim must fail.
                    target.start_draining();
                }
                if let Some(errand) = self.errands.remove(&unit) {
                    errand.abort();
                }
                self.control_groups.remove(&unit);
                self.last_lines.forget(&unit);
                self.launches.forget(&unit);
            }
            Effect::Reconcile => self.launches.list(),
            Effect::Join(id) => {
                let waiters = self.loading.waiters.take();
                match self.controller.canary().is_some() {
                    true => waiters.answer(&self.canary_report()),
                    false => self.waiting.entry(id).or_default().join(waiters),
                }
            }
            Effect::Begun { id, superseded } => {
                let mut waiters = self.loading.waiters.take();
                let earlier = superseded.and_then(|old| self.waiting.remove(&old));
                waiters.join(earlier.unwrap_or_default());
                if let Some(old) = superseded {
                    self.begun.remove(&old);
                }
                self.begun.insert(id, now());
                self.waiting.insert(id, waiters);
            }
            Effect::Watch(id) => self.watch_canary(id),
            Effect::Verdict(id, verdict) => self.conclude(id, verdict),
            Effect::Warn(text) => self.warn(text),
        }
    }

    fn publish(&mut self, table: &Table) {
        self.remember_before(table);
        let Desired { workers, unbuilt, .. } = &*table.deployment;
        let mut routes = Vec::with_capacity(workers.len() + unbuilt.len());
        self.intakes.retain(|name, _| workers.contains_key(name));
        let mut wakers = self.wakers(table);
        for worker in workers.values() {
            let InstanceSettings { max_in_flight, max_queued, queue, .. } =
                worker.settings.instances;
            let intake = self.intakes.entry(worker.name.clone()).or_default();
            intake.set(IntakeSettings { max_in_flight, max_queued, queue });
            let units = table.serving.iter().filter(|unit| unit.worker == worker.name);
            let targets =
                WeightedTargets::new(units.map(|unit| (self.target(unit, &worker.settings), 1)));
            let route = route(&worker.name, &worker.settings, &worker.public, targets);
            let route = self.with_canary(route, table);
            let refused = match table.refused.get(&worker.name) {
                _ if table.drained.contains(&worker.name) => Some(Refused::Drained),
                until => until.copied().map(Refused::Until),
            };
            let asleep = wakers.remove(&worker.name);
            routes.push(Route { refused, asleep, ..route });
        }
        for (name, worker) in unbuilt {
            let targets = WeightedTargets::default();
            routes.push(route(name, &worker.settings, &worker.public, targets));
        }
        self.table.publish(RouteTable::new(routes));
        self.state.serving = table.serving.clone();
    }

    /// The route with what comes to serve it by degrees. The public files of that are found, too, where
    /// what serves has none of the same name: pages of the canary name them.
    fn with_canary(&mut self, route: Route, table: &Table) -> Route {
        if table.drained.contains(&route.worker) {
            return route;
        }
        let Some(canary) = &table.canary else { return route };
        let Desired { workers, canary: plan, .. } = &*canary.deployment;
        let Some(worker) = workers.get(&route.worker) else { return route };
        let units = canary.units.iter().filter(|unit| unit.worker == worker.name);
        let targets =
            WeightedTargets::new(units.map(|unit| (self.target(unit, &worker.settings), 1)));
        if targets.is_empty() {
            return route;
        }
        let testers = plan.as_ref().and_then(|plan| plan.testers.clone());
        let public = route.public.iter().chain(&worker.public).cloned().collect();
        let canary = Some(Canary { targets, share: canary.share, testers });
        Route { canary, public, ..route }
    }

    /// Has requests told that nothing is deployed, or held again once something is.
    pub(super) fn publish_nothing_deployed(&self, nothing_deployed: bool) {
        let told = self.table.load().unrouted() == Unrouted::NothingDeployed;
        match nothing_deployed {
            true if !told => self.table.publish(RouteTable::nothing_deployed()),
            false if told => self.table.publish(RouteTable::default()),
            _ => {}
        }
    }

    /// The unit's target; with new ones its use begins.
    fn target(&mut self, unit: &UnitName, settings: &WorkerSettings) -> Arc<Target> {
        if let Some(target) = self.targets.get(unit) {
            return Arc::clone(target);
        }
        let generation = self.controller.generations().find(|t| t.unit == *unit);
        let generation = generation.map(|t| t.generation).unwrap_or_default();
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, unit.port.get()));
        let InstanceSettings { slow_start, eject_after, eject_for, .. } = settings.instances;
        // Up to a tenth earlier, so that instances that began together do not end together.
        let early = fastrand::u64(..=settings.max_requests / 10);
        let of_target = TargetSettings {
            balance: BalanceSettings { slow_start, eject_after, eject_for },
            intake: self.intakes.get(&unit.worker).map(Arc::clone).unwrap_or_default(),
            max_requests: settings.max_requests - early,
        };
        let target = Target::with_settings(unit.worker.clone(), generation, addr, of_target);
        if let Some(group) = self.control_groups.get(unit) {
            target.set_control_group(*group);
        }
        self.targets.insert(unit.clone(), Arc::clone(&target));
        self.watch(unit, settings, &target);
        target
    }

    /// Waits beside for what ends the service of an instance: that it is worn out, or not well.
    fn watch(&mut self, unit: &UnitName, settings: &WorkerSettings, target: &Arc<Target>) {
        let InstanceSettings { check_every, unwell_after, .. } = settings.instances;
        if settings.max_requests == 0 && check_every.is_zero() {
            return;
        }
        let (worn, name) = (Arc::clone(target), unit.clone());
        let check = self.probe(unit, settings);
        self.errand(unit.clone(), async move {
            tokio::select! {
                () = worn.worn_out() => Done::WornOut(name),
                answer = check.until_unwell(check_every, unwell_after), if !check_every.is_zero() => {
                    Done::Unwell(name, answer)
                }
            }
        });
    }

    fn probe(&self, unit: &UnitName, settings: &WorkerSettings) -> Probe {
        let WorkerSettings { health_path, ready, .. } = settings;
        let (worker, rollout) = (unit.worker.clone(), &self.rollout_settings);
        let control_group = self.control_groups.get(unit).copied();
        Probe { control_group, ..Probe::of(worker, unit.port, health_path, *ready, rollout) }
    }

    /// Runs something for a unit beside the actor, until it is done or the unit is forgotten. A
    /// unit has one errand at a time: it is probed before it serves, then watched, and drains
    /// afterwards.
    fn errand(&mut self, unit: UnitName, errand: impl Future<Output = Done> + Send + 'static) {
        let running = self.beside.spawn(errand);
        if let Some(earlier) = self.errands.insert(unit, running) {
            earlier.abort();
        }
    }
}

fn route(
    worker: &WorkerName,
    settings: &WorkerSettings,
    public: &[PublicTree],
    targets: WeightedTargets,
) -> Route {
    Route {
        worker: worker.clone(),
        path: settings.route.clone(),
        strip_prefix: settings.strip_prefix,
        timeouts: UpstreamTimeouts {
            response: settings.read_timeout,
            body_idle: settings.write_timeout,
        },
        compression: (!settings.compression.encodings.is_empty())
            .then(|| Arc::new(settings.compression.clone())),
        targets,
        canary: None,
        refused: None,
        asleep: None,
        public: public.to_vec(),
    }
}
