//! The controller against a model of the world: a table, a set of units, a clock.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use rstest::rstest;

use super::super::desired::{Desired, DesiredWorker};
use super::super::event::{Cause, Decision, Effect, Event, Load, Outcome, RolloutId, Verdict};
use super::super::generation::Phase;
use super::super::ports::PortPool;
use super::{Breaker, Controller};
use crate::canary::CanaryPlan;
use crate::config::settings::{
    CompressionSettings, InstanceSettings, Ready, RolloutSettings, WorkerSettings,
};
use crate::ids::{CommitId, Generation, Md5, Port, RoutePath, UnitName, WorkerName};
use crate::launcher::{ExitReason, LiveUnit, Source, StartRequest, UnitState};

fn settings() -> RolloutSettings {
    RolloutSettings {
        port_range_start: 9000,
        port_range_end: 9999,
        startup_delay: Duration::from_millis(100),
        restart_delay: Duration::from_millis(100),
        shutdown_grace_period: Duration::from_millis(500),
        start_timeout: Duration::from_secs(60),
        drain_timeout: Duration::from_secs(30),
        hold: Duration::from_secs(10),
        hold_max_requests: 100,
        hold_max_bytes: 1 << 20,
        max_draining: 3,
        parallel_starts: 4,
    }
}

fn name(text: &str) -> WorkerName {
    text.parse().unwrap()
}

fn commit(digit: u8) -> CommitId {
    format!("{digit:x}").repeat(40).parse().unwrap()
}

/// A deployment of the given workers, each made of the given stuff.
fn deployment(digit: u8, workers: &[(&str, u8)]) -> Arc<Desired> {
    let worker = |(worker, stuff): &(&str, u8)| DesiredWorker {
        pinned: false,
        name: name(worker),
        source: Source::Deployment(commit(digit)),
        fingerprint: Md5::new([*stuff; 16]),
        settings: Arc::new(WorkerSettings {
            route: RoutePath::from_worker_name(&name(worker)),
            strip_prefix: true,
            ready: Ready::Notify,
            health_path: "/health".into(),
            run: None,
            build: None,
            watchdog: None,
            restart_on_private: false,
            env: BTreeMap::new(),
            go_max_procs: None,
            go_mem_limit: None,
            max_requests: 0,
            read_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(120),
            stream_drain_timeout: None,
            memory_high: None,
            memory_max: None,
            cpu_quota_percent: None,
            tasks_max: None,
            sandbox: Default::default(),
            state_directory: false,
            instances: InstanceSettings::default(),
            compression: CompressionSettings::default(),
            credentials: BTreeMap::new(),
            cache_templates: true,
            watch_resources: false,
        }),
        public: Vec::new(),
    };
    let workers = workers.iter().map(|w| (name(w.0), worker(w))).collect();
    Arc::new(Desired {
        unbuilt: BTreeMap::new(),
        commit: Some(commit(digit)),
        branch: None,
        tag: None,
        deployment_id: None,
        deployed_by: None,
        canary: None,
        workers,
    })
}

/// The same by degrees: with a tenth and then a half of the requests, for a minute each.
fn by_degrees(desired: &Arc<Desired>) -> Arc<Desired> {
    let plan = CanaryPlan { steps: vec![10, 50], step_seconds: Some(60), testers: None };
    Arc::new(Desired { canary: Some(plan), ..Desired::clone(desired) })
}

/// The same with so many instances of each worker at least and at most, of which each is to have two
/// requests in flight.
fn scaled(min: usize, max: usize, desired: &Arc<Desired>) -> Arc<Desired> {
    let mut desired = Desired::clone(desired);
    for worker in desired.workers.values_mut() {
        let scaling = &mut Arc::make_mut(&mut worker.settings).instances.scaling;
        (scaling.min, scaling.max) = (Some(min), Some(max));
        (scaling.target_in_flight, scaling.idle) = (2, Duration::from_secs(60));
    }
    Arc::new(desired)
}

/// The same with so many instances of each worker.
fn with_instances(count: usize, desired: &Arc<Desired>) -> Arc<Desired> {
    let mut desired = Desired::clone(desired);
    for worker in desired.workers.values_mut() {
        Arc::make_mut(&mut worker.settings).instances.count = count;
    }
    Arc::new(desired)
}

/// What the effects have made of the world so far, and the promises they must keep.
struct World {
    now: Instant,
    controller: Controller,
    /// Units that systemd has, and whether they were told to stop.
    units: BTreeMap<UnitName, bool>,
    table: BTreeSet<UnitName>,
    canaries: BTreeSet<UnitName>,
    share: Option<u8>,
    asleep: BTreeSet<WorkerName>,
    drained: BTreeSet<WorkerName>,
    refused: BTreeMap<WorkerName, Instant>,
    /// Workers that have served.
    served_once: BTreeSet<WorkerName>,
    draining: BTreeSet<UnitName>,
    probing: BTreeSet<UnitName>,
    verdicts: Vec<(RolloutId, Verdict)>,
    log: Vec<Effect>,
}

impl World {
    fn new() -> Self {
        Self::with(settings())
    }

    fn with(settings: RolloutSettings) -> Self {
        let ports = PortPool::new(9000, 9999, |_| true);
        Self {
            now: Instant::now(),
            controller: Controller::new(settings, ports, BTreeMap::new(), 7),
            units: BTreeMap::new(),
            table: BTreeSet::new(),
            canaries: BTreeSet::new(),
            share: None,
            asleep: BTreeSet::new(),
            drained: BTreeSet::new(),
            refused: BTreeMap::new(),
            served_once: BTreeSet::new(),
            draining: BTreeSet::new(),
            probing: BTreeSet::new(),
            verdicts: Vec::new(),
            log: Vec::new(),
        }
    }

    fn step(&mut self, event: Event) -> Vec<Effect> {
        let effects = self.controller.step(self.now, event);
        for effect in &effects {
            self.perform(effect);
        }
        self.log.extend(effects.clone());
        let starting = self.in_phase("Starting").len() + self.in_phase("Probing").len();
        let (queued, limit) =
            (self.in_phase("Queued").len(), self.controller.settings.parallel_starts);
        assert!(starting <= limit + 1, "{starting} start at once");
        assert!(starting >= limit || queued == 0, "{queued} wait for nothing");
        effects
    }

    fn perform(&mut self, effect: &Effect) {
        match effect {
            Effect::Start(StartRequest { worker, port, .. }) => {
                let unit = UnitName { worker: worker.clone(), port: *port };
                let port_is_free = self.units.keys().all(|other| other.port != *port);
                assert!(port_is_free, "{unit} was given a port in use");
                self.units.insert(unit, false);
            }
            Effect::Probe { unit, .. } => {
                self.probing.insert(unit.clone());
            }
            Effect::Publish(table) => {
                let canary = table.canary.as_ref();
                self.share = canary.map(|canary| canary.share);
                self.canaries = canary.iter().flat_map(|it| it.units.iter().cloned()).collect();
                for unit in table.serving.iter().chain(&self.canaries) {
                    assert_eq!(self.units.get(unit), Some(&false), "{unit} is published and gone");
                    assert!(!self.draining.contains(unit), "{unit} was told to drain before");
                }
                self.table = table.serving.iter().cloned().collect();
                for unit in &self.canaries {
                    assert!(!self.table.contains(unit), "{unit} serves, and is a canary");
                    let stable = self.table.iter().any(|other| other.worker == unit.worker);
                    let is_down = !stable && self.served_once.contains(&unit.worker);
                    assert!(stable || is_down, "{unit} is a canary beside nothing");
                }
                self.served_once.extend(self.table.iter().map(|unit| unit.worker.clone()));
                let mut of_worker: BTreeMap<_, Vec<Generation>> = BTreeMap::new();
                for tracked in self.controller.generations() {
                    if self.table.contains(&tracked.unit) {
                        of_worker.entry(&tracked.unit.worker).or_default().push(tracked.generation);
                    }
                }
                for worker in table.refused.keys() {
                    assert!(!of_worker.contains_key(worker), "{worker} serves, and is refused");
                }
                for worker in &table.drained {
                    assert!(!of_worker.contains_key(worker), "{worker} serves, and is drained");
                }
                for worker in &table.asleep {
                    assert!(!of_worker.contains_key(worker), "{worker} serves, and sleeps");
                }
                for (worker, generations) in of_worker {
                    let same = generations.iter().all(|other| *other == generations[0]);
                    assert!(same, "two generations of {worker} serve");
                    let wanted = table.deployment.workers[worker].settings.instances.most();
                    let count = generations.len();
                    assert!(count <= wanted, "{worker} is served {count} times");
                }
                self.refused.clone_from(&table.refused);
                self.asleep.clone_from(&table.asleep);
                self.drained.clone_from(&table.drained);
            }
            Effect::Drain(unit) => {
                assert!(!self.is_published(unit), "{unit} drains while it is published");
                self.draining.insert(unit.clone());
            }
            Effect::Stop(unit) => {
                assert!(!self.is_published(unit), "{unit} is stopped while it is published");
                self.units.insert(unit.clone(), true);
            }
            Effect::Forget(unit) => {
                assert!(!self.is_published(unit), "{unit} is forgotten while it is published");
                self.units.remove(unit);
                self.draining.remove(unit);
                self.probing.remove(unit);
            }
            Effect::Verdict(id, verdict) => self.verdicts.push((*id, verdict.clone())),
            Effect::Warn(text) => assert!(!text.contains("internal error"), "{text}"),
            Effect::Watch(id) => {
                assert_eq!(self.controller.canary().map(|canary| canary.id), Some(*id));
            }
            Effect::CutStreams(_) | Effect::Reconcile | Effect::Join(_) | Effect::Begun { .. } => {}
        }
    }

    fn want(&mut self, desired: &Arc<Desired>) -> Vec<Effect> {
        self.step(Event::Desired { desired: Arc::clone(desired), proven: false })
    }

    fn is_published(&self, unit: &UnitName) -> bool {
        self.table.contains(unit) || self.canaries.contains(unit)
    }

    /// Somebody, or what was seen of it, decides about the canary.
    fn decide(&mut self, decision: Decision) {
        let id = self.controller.canary().map_or(RolloutId(0), |canary| canary.id);
        self.step(Event::Decided(id, decision));
    }

    /// A worker has so many requests in flight, and none has come since the last look.
    fn measure(&mut self, worker: &str, in_flight: u64) {
        let load = Load { in_flight, requests: 0 };
        self.step(Event::Measured(BTreeMap::from([(name(worker), load)])));
    }

    fn unit(&mut self, unit: &UnitName, state: UnitState) {
        self.step(Event::Unit { unit: unit.clone(), state });
    }

    /// A unit that was started says READY, and passes its probe.
    fn get_ready(&mut self, unit: &UnitName) {
        self.unit(unit, UnitState::Active);
        self.step(Event::Probed { unit: unit.clone(), result: Ok(()) });
    }

    fn in_phase(&self, phase: &str) -> Vec<UnitName> {
        let all = self.controller.generations();
        all.filter(|t| t.phase().name() == phase).map(|t| t.unit.clone()).collect()
    }

    /// What systemd tells of its units.
    fn living(&self) -> Vec<LiveUnit> {
        self.controller
            .generations()
            .filter(|tracked| tracked.phase() != Phase::Queued)
            .map(|tracked| LiveUnit {
                unit: tracked.unit.clone(),
                source: tracked.source.clone(),
                generation: tracked.generation,
                fingerprint: tracked.fingerprint,
                main_pid: None,
                control_group: None,
                state: match tracked.phase() {
                    Phase::Starting { .. } => UnitState::Activating,
                    Phase::Stopping { .. } => UnitState::Deactivating,
                    _ => UnitState::Active,
                },
            })
            .collect()
    }

    /// Lets everything that is starting become ready, and everything that stops be gone.
    fn settle(&mut self) {
        loop {
            let all_start = self.in_phase("Queued").is_empty();
            for unit in self.in_phase("Starting") {
                self.unit(&unit, UnitState::Active);
            }
            for unit in std::mem::take(&mut self.probing) {
                self.step(Event::Probed { unit, result: Ok(()) });
            }
            if all_start {
                break;
            }
        }
        for unit in self.draining.clone() {
            self.step(Event::Drained(unit));
        }
        for unit in self.in_phase("Stopping") {
            self.unit(&unit, UnitState::Inactive);
        }
    }

    fn advance(&mut self, time: Duration) {
        self.now += time;
    }

    fn advance_to_deadline(&mut self) {
        self.now = self.controller.next_deadline().expect("something is due").max(self.now);
        self.step(Event::Tick);
    }

    fn last_outcome(&self) -> &Outcome {
        &self.verdicts.last().expect("a verdict").1.outcome
    }

    fn served(&self) -> BTreeMap<WorkerName, Md5> {
        let all = self.controller.generations();
        all.filter(|t| self.table.contains(&t.unit))
            .map(|t| (t.unit.worker.clone(), t.fingerprint))
            .collect()
    }
}

fn serving(world: &mut World, desired: &Arc<Desired>) {
    world.want(desired);
    world.settle();
    assert_eq!(world.last_outcome(), &Outcome::Switched);
}

#[test]
fn a_deployment_switches_as_a_whole() {
    let mut world = World::new();
    serving(&mut world, &deployment(1, &[("index", 1), ("api", 1)]));
    let old = world.table.clone();

    world.want(&deployment(2, &[("index", 2), ("api", 2)]));
    let starting = world.in_phase("Starting");
    assert_eq!(starting.len(), 2);
    world.get_ready(&starting[0]);
    assert_eq!(world.table, old, "one of two is ready: nothing is switched");
    world.probing.clear();
    world.get_ready(&starting[1]);
    assert_eq!(world.table, starting.iter().cloned().collect());
    assert_eq!(world.draining, old);
    assert_eq!(world.last_outcome(), &Outcome::Switched, "the verdict does not wait for drains");
    assert!(old.iter().all(|unit| !world.units[unit]), "what drains is not stopped");
    world.settle();
    assert_eq!(world.units.len(), 2, "the old units are gone");
}

#[test]
fn what_did_not_change_goes_on() {
    let mut world = World::new();
    serving(&mut world, &deployment(1, &[("index", 1), ("api", 1)]));
    let before = world.table.clone();

    let effects = world.want(&deployment(2, &[("index", 1), ("api", 1)]));
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Start(_))));
    assert_eq!(world.table, before);
    assert_eq!(world.last_outcome(), &Outcome::Switched, "another commit is served");

    world.want(&deployment(2, &[("index", 1), ("api", 1)]));
    assert_eq!(world.last_outcome(), &Outcome::Unchanged);
}

#[test]
fn one_failure_leaves_the_old_untouched() {
    let mut world = World::new();
    serving(&mut world, &deployment(1, &[("index", 1), ("api", 1)]));
    let old = world.table.clone();

    world.want(&deployment(2, &[("index", 2), ("api", 2)]));
    let starting = world.in_phase("Starting");
    world.get_ready(&starting[0]);
    world.unit(&starting[1], UnitState::Failed(ExitReason::Exited(101)));
    let Outcome::Failed(failures) = world.last_outcome() else { panic!("it failed") };
    assert_eq!(failures[0].worker, starting[1].worker);
    assert_eq!(failures[0].to_string(), "index g2 exited 101 before it was ready");
    world.settle();
    assert_eq!(world.table, old);
    assert_eq!(world.units.keys().cloned().collect::<BTreeSet<_>>(), old);
    assert!(world.draining.is_empty());
}

#[test]
fn a_restarted_worker_gets_a_new_generation_of_the_same_and_the_others_none() {
    let mut world = World::new();
    serving(&mut world, &deployment(1, &[("index", 1), ("api", 1)]));
    let old = world.table.clone();
    world.step(Event::Restart(name("index")));
    assert_eq!(world.table, old, "the old one serves until the new one is ready");
    world.settle();
    assert_eq!(*world.last_outcome(), Outcome::Switched);
    let verdict = world.verdicts.last().unwrap().1.clone();
    assert_eq!((verdict.started, verdict.kept), (vec![name("index")], vec![name("api")]));
    let other = old.iter().find(|unit| unit.worker == name("api")).unwrap();
    assert!(world.table.contains(other), "it runs on");
    assert_eq!(world.table.intersection(&old).count(), 1);
}

#[test]
fn a_restart_that_fails_leaves_the_old_untouched() {
    let mut world = World::new();
    serving(&mut world, &deployment(1, &[("index", 1)]));
    let old = world.table.clone();
    world.step(Event::Restart(name("index")));
    let unit = world.in_phase("Starting").remove(0);
    world.unit(&unit, UnitState::Failed(ExitReason::Exited(3)));
    assert!(matches!(world.last_outcome(), Outcome::Failed(_)));
    world.settle();
    assert_eq!(world.table, old);
}

#[test]
fn a_drained_worker_stays_so_until_it_is_restarted() {
    let mut world = World::new();
    serving(&mut world, &deployment(1, &[("index", 1), ("api", 1)]));
    world.step(Event::TakeOut(name("index")));
    world.step(Event::TakeOut(name("nobody")));
    assert_eq!((world.draining.len(), world.in_phase("Serving").len()), (1, 1));
    assert_eq!(world.drained, BTreeSet::from([name("index")]));
    world.settle();

    world.want(&deployment(2, &[("index", 2), ("api", 2)]));
    world.settle();
    assert_eq!(world.last_outcome(), &Outcome::Switched);
    world.step(Event::Awaited(name("index")));
    assert_eq!(world.served().into_keys().collect::<Vec<_>>(), [name("api")]);

    world.step(Event::Restart(name("index")));
    world.settle();
    assert_eq!(world.served()[&name("index")], Md5::new([2; 16]), "of what is current");
    assert!(world.drained.is_empty());
}

#[test]
fn what_a_rollout_brings_of_a_worker_that_is_drained_meanwhile_never_serves() {
    let mut world = World::new();
    serving(&mut world, &deployment(1, &[("index", 1), ("api", 1)]));
    world.want(&deployment(2, &[("index", 2), ("api", 2)]));
    world.step(Event::TakeOut(name("index")));
    world.settle();
    assert_eq!(world.last_outcome(), &Outcome::Switched);
    assert_eq!(world.served().into_keys().collect::<Vec<_>>(), [name("api")]);
    world.settle();
    assert_eq!(world.units.len(), 1);
    world.want(&deployment(3, &[("api", 2)]));
    assert!(world.controller.out_of_service().is_empty(), "there is no such worker any more");
}

#[test]
fn a_drained_worker_is_not_adopted() {
    let mut world = World::new();
    let current = deployment(1, &[("index", 1)]);
    let unit: UnitName = "tq-worker@index-9000.service".parse().unwrap();
    let found = vec![LiveUnit {
        unit: unit.clone(),
        source: current.workers[&name("index")].source.clone(),
        generation: Generation(1),
        fingerprint: Md5::new([1; 16]),
        main_pid: None,
        control_group: None,
        state: UnitState::Active,
    }];
    world.units.insert(unit.clone(), false);
    let drained = BTreeSet::from([name("index")]);
    world.step(Event::Begin { current: Some(current), serving: vec![unit], drained, found });
    assert_eq!((world.in_phase("Stopping").len(), world.table.len()), (1, 0));
    assert_eq!(world.drained.len(), 1);
}

#[test]
fn a_restart_does_not_disturb_a_rollout() {
    let mut world = World::new();
    serving(&mut world, &deployment(1, &[("index", 1)]));
    world.want(&deployment(2, &[("index", 2)]));
    let starting = world.in_phase("Starting");
    world.step(Event::Restart(name("index")));
    world.step(Event::Restart(name("nobody")));
    assert_eq!(world.in_phase("Starting"), starting);
}

#[test]
fn a_bad_probe_fails_the_deployment() {
    let mut world = World::new();
    world.want(&deployment(1, &[("index", 1)]));
    let unit = world.in_phase("Starting").remove(0);
    world.unit(&unit, UnitState::Active);
    world.step(Event::Probed { unit: unit.clone(), result: Err("GET /health: 500".into()) });
    let Outcome::Failed(failures) = world.last_outcome() else { panic!("it failed") };
    assert_eq!(failures[0].cause, Cause::Probe("GET /health: 500".into()));
    assert!(world.units[&unit], "it is stopped");
    world.unit(&unit, UnitState::Inactive);
    assert!(world.units.is_empty() && world.table.is_empty());
}

#[test]
fn a_newer_wish_supersedes_and_an_equal_one_joins() {
    let mut world = World::new();
    serving(&mut world, &deployment(1, &[("index", 1)]));
    let second = deployment(2, &[("index", 2)]);
    world.want(&second);
    assert_eq!(world.want(&second), [Effect::Join(RolloutId(2))]);
    let effects = world.want(&deployment(3, &[("index", 3)]));
    let begun = Effect::Begun { id: RolloutId(3), superseded: Some(RolloutId(2)) };
    assert!(effects.contains(&begun));
    world.settle();
    world.settle();
    assert_eq!(world.served()[&name("index")], Md5::new([3; 16]));
    assert_eq!(world.units.len(), 1);
}

/// What is wanted of the source tree, in which wishes come with every save.
fn tree(workers: &[(&str, u8)]) -> Arc<Desired> {
    let mut desired = Arc::unwrap_or_clone(deployment(1, workers));
    desired.commit = None;
    desired.workers.values_mut().for_each(|worker| worker.source = Source::Tree);
    Arc::new(desired)
}

#[test]
fn a_newer_wish_takes_over_what_is_on_its_way_to_it() {
    let mut world = World::new();
    let (first, second) = (tree(&[("api", 1), ("index", 1)]), tree(&[("api", 1), ("index", 2)]));
    world.want(&first);
    let starting = world.in_phase("Starting");
    let [api, old] = starting.as_slice() else { panic!("{starting:?}") };
    world.want(&second);
    assert!(!world.units[api], "it is what is wanted, and goes on");
    assert!(world.units[old]);
    let api = api.clone();
    world.settle();
    assert!(world.table.contains(&api));
    assert_eq!(world.table.len(), 2);
    assert_eq!(world.last_outcome(), &Outcome::Switched);
}

#[test]
fn a_removed_worker_drains() {
    let mut world = World::new();
    serving(&mut world, &deployment(1, &[("index", 1), ("api", 1)]));
    world.want(&deployment(2, &[("index", 1)]));
    assert_eq!(world.draining.len(), 1);
    world.settle();
    assert_eq!(world.units.len(), 1);
}

#[test]
fn the_first_death_is_made_good_at_once_and_the_next_after_waits_that_grow() {
    let mut world = World::new();
    serving(&mut world, &deployment(1, &[("index", 1)]));
    let unit = world.in_phase("Serving").remove(0);
    world.unit(&unit, UnitState::Failed(ExitReason::Signal(11)));
    assert!(world.table.is_empty(), "requests are held, not sent to the dead");
    assert_eq!(world.in_phase("Starting").len(), 1, "a successor, and no tick was needed for it");
    let mut waits = Vec::new();
    for _ in 0..12 {
        let unit = world.in_phase("Starting").remove(0);
        world.unit(&unit, UnitState::Failed(ExitReason::Exited(1)));
        let before = world.now;
        world.advance_to_deadline();
        waits.push((world.now - before).as_millis());
    }
    let expected = [100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000, 30_000];
    for (wait, least) in waits.iter().zip(expected) {
        assert!((least..=least * 5 / 4).contains(wait), "{waits:?}");
    }
    assert!(waits[9] != waits[10] || waits[10] != waits[11], "there is jitter: {waits:?}");
    world.settle();
    assert_eq!(world.served().len(), 1);
}

#[test]
fn one_seed_gives_one_story() {
    let story = || {
        let mut world = World::new();
        serving(&mut world, &deployment(1, &[("index", 1)]));
        fail_in_a_row(&mut world, 4);
        let begun = world.now;
        world.advance_to_deadline();
        world.now - begun
    };
    assert_eq!(story(), story());
}

/// Lets `index` die `times`: the first time while it serves, then whenever it is started again.
fn fail_in_a_row(world: &mut World, times: u32) {
    for time in 0..times {
        if world.in_phase("Starting").is_empty() && time > 0 {
            world.advance_to_deadline();
        }
        let phase = if time == 0 { "Serving" } else { "Starting" };
        let unit = index_in(world, phase);
        world.unit(&unit, UnitState::Failed(ExitReason::Exited(1)));
    }
}

fn index_in(world: &World, phase: &str) -> UnitName {
    world.in_phase(phase).into_iter().find(|unit| unit.worker == name("index")).unwrap()
}

fn breaker(world: &World) -> Breaker {
    world.controller.recovery(&name("index")).breaker
}

#[test]
fn the_breaker_opens_after_failures_in_a_row_and_closes_when_one_has_lasted() {
    let mut world = World::new();
    serving(&mut world, &deployment(1, &[("index", 1), ("api", 1)]));
    fail_in_a_row(&mut world, 4);
    assert_eq!((breaker(&world), world.refused.len()), (Breaker::Closed, 0), "requests are held");
    world.advance_to_deadline();
    let unit = world.in_phase("Starting").remove(0);
    world.unit(&unit, UnitState::Failed(ExitReason::Exited(1)));
    assert_eq!(breaker(&world), Breaker::Open);
    let due = world.controller.recovery(&name("index")).next_attempt.unwrap();
    assert_eq!(world.refused, BTreeMap::from([(name("index"), due)]), "and only that worker's");

    world.advance_to_deadline();
    assert_eq!((breaker(&world), world.refused.len()), (Breaker::HalfOpen, 1));
    world.settle();
    assert_eq!((breaker(&world), world.refused.len()), (Breaker::HalfOpen, 0), "it is on trial");
    assert_eq!(world.served().len(), 2);
    let unit = index_in(&world, "Serving");
    world.unit(&unit, UnitState::Failed(ExitReason::Exited(1)));
    assert_eq!((breaker(&world), world.refused.len()), (Breaker::Open, 1), "one death is enough");

    world.advance_to_deadline();
    world.settle();
    let since = world.now;
    world.advance_to_deadline();
    assert_eq!(world.now - since, Duration::from_secs(30));
    assert_eq!(breaker(&world), Breaker::Closed);
    let unit = index_in(&world, "Serving");
    world.unit(&unit, UnitState::Failed(ExitReason::Exited(1)));
    assert_eq!(world.in_phase("Starting").len(), 1, "the first of a row again");
    assert_eq!(world.controller.recovery(&name("index")).restarts, 7);
}

#[test]
fn a_new_wish_closes_the_breaker() {
    let mut world = World::new();
    serving(&mut world, &deployment(1, &[("index", 1)]));
    fail_in_a_row(&mut world, 6);
    assert_eq!(world.refused.len(), 1);
    world.want(&deployment(2, &[("index", 2)]));
    assert_eq!((breaker(&world), world.refused.len()), (Breaker::Closed, 0), "it is waited for");
}

#[test]
fn a_process_that_dies_before_its_children_has_a_successor_before_they_have_ended() {
    let mut world = World::new();
    serving(&mut world, &deployment(1, &[("index", 1)]));
    let unit = world.in_phase("Serving").remove(0);
    world.unit(&unit, UnitState::Deactivating);
    assert_eq!(world.in_phase("Starting").len(), 1);
    world.unit(&unit, UnitState::Failed(ExitReason::Watchdog));
    let recovery = world.controller.recovery(&name("index"));
    let cause = recovery.last_exit.map(|exit| exit.cause.clone());
    assert_eq!(cause, Some(Cause::Exited(ExitReason::Watchdog)), "why is known by then");
    world.settle();
    assert_eq!(world.served().len(), 1);
}

#[test]
fn what_is_worn_out_serves_until_its_successor_does() {
    let mut world = World::new();
    serving(&mut world, &deployment(1, &[("index", 1), ("api", 1)]));
    let before = world.table.clone();
    let worn = index_in(&world, "Serving");
    world.step(Event::WornOut(worn.clone()));
    world.step(Event::WornOut(worn.clone()));
    let successor = index_in(&world, "Starting");
    assert_eq!(world.in_phase("Starting").len(), 1);
    assert_eq!(world.table, before);
    world.get_ready(&successor);
    assert!(world.table.contains(&successor) && world.draining.contains(&worn));
    world.settle();
    assert_eq!((world.units.len(), world.table.len()), (2, 2));
    let recovery = world.controller.recovery(&name("index"));
    assert_eq!((recovery.restarts, recovery.last_exit), (0, None), "nobody died");
}

#[test]
fn what_is_not_well_serves_until_its_successor_does() {
    let mut world = World::new();
    serving(&mut world, &deployment(1, &[("index", 1)]));
    let unit = index_in(&world, "Serving");
    world.step(Event::Unwell { unit: unit.clone(), answer: "answered 500".into() });
    let told =
        |effect: &Effect| matches!(effect, Effect::Warn(text) if text.contains("answered 500"));
    assert!(world.log.iter().any(told));
    assert!(world.table.contains(&unit));
    world.settle();
    assert!(!world.table.contains(&unit) && world.table.len() == 1);
    world.step(Event::Unwell { unit, answer: "answered 500".into() });
    assert!(world.in_phase("Starting").is_empty(), "it is on its way out");
}

#[test]
fn worn_out_instances_are_replaced_one_by_one_in_their_generation() {
    let mut world = World::new();
    serving(&mut world, &with_instances(3, &deployment(1, &[("index", 1)])));
    let worn = world.in_phase("Serving");
    for unit in &worn[..2] {
        world.step(Event::WornOut(unit.clone()));
    }
    for done in 1..=2 {
        assert_eq!(world.in_phase("Starting").len(), 1, "one at a time");
        assert_eq!(world.table.len(), 3);
        world.settle();
        assert_eq!(worn.iter().filter(|unit| world.table.contains(unit)).count(), 3 - done);
    }
    world.settle();
    assert!(world.table.contains(&worn[2]), "it is not worn out");
    assert_eq!((world.units.len(), world.table.len()), (3, 3));
    let generations: BTreeSet<_> = world.controller.generations().map(|t| t.generation).collect();
    assert_eq!(generations, BTreeSet::from([Generation(1)]));
}

#[test]
fn a_worn_out_instance_that_dies_is_followed_by_the_successor_that_is_on_its_way() {
    let mut world = World::new();
    serving(&mut world, &with_instances(2, &deployment(1, &[("index", 1)])));
    let worn = world.in_phase("Serving").remove(0);
    world.step(Event::WornOut(worn.clone()));
    world.unit(&worn, UnitState::Failed(ExitReason::Signal(9)));
    assert_eq!(world.in_phase("Starting").len(), 1, "no second one");
    world.settle();
    assert_eq!(world.table.len(), 2);
}

#[test]
fn more_instances_that_are_wanted_meanwhile_come_beside_the_successor() {
    let mut world = World::new();
    let desired = deployment(1, &[("index", 1)]);
    serving(&mut world, &with_instances(2, &desired));
    let worn = world.in_phase("Serving").remove(0);
    world.step(Event::WornOut(worn.clone()));
    world.want(&with_instances(3, &desired));
    assert_eq!(world.in_phase("Starting").len(), 2);
    world.settle();
    assert_eq!(world.last_outcome(), &Outcome::Switched);
    assert!(world.table.len() == 3 && !world.table.contains(&worn));
}

#[test]
fn fewer_instances_give_up_the_worn_out_one() {
    let mut world = World::new();
    let desired = deployment(1, &[("index", 1)]);
    serving(&mut world, &with_instances(2, &desired));
    let worn = world.in_phase("Serving").remove(0);
    world.step(Event::WornOut(worn.clone()));
    world.want(&with_instances(1, &desired));
    assert!(world.table.len() == 1 && !world.table.contains(&worn));
    world.settle();
    world.settle();
    assert_eq!((world.units.len(), world.table.len()), (1, 1), "its successor is not needed");
}

#[test]
fn a_successor_that_fails_is_tried_again_later_and_the_worn_one_serves_on() {
    let mut world = World::new();
    serving(&mut world, &deployment(1, &[("index", 1)]));
    let table = world.table.clone();
    world.step(Event::WornOut(index_in(&world, "Serving")));
    let mut waits = Vec::new();
    for _ in 0..3 {
        let unit = index_in(&world, "Starting");
        world.unit(&unit, UnitState::Failed(ExitReason::Exited(1)));
        assert_eq!((&world.table, world.in_phase("Starting").len()), (&table, 0));
        let before = world.now;
        world.advance_to_deadline();
        waits.push((world.now - before).as_secs());
    }
    assert_eq!(waits, [1, 2, 4]);
    world.settle();
    assert_eq!(world.table.intersection(&table).count(), 0);
    assert_eq!(world.served().len(), 1);
}

#[test]
fn a_rollout_that_replaces_what_is_worn_out_needs_no_other_successor() {
    let mut world = World::new();
    serving(&mut world, &deployment(1, &[("index", 1), ("api", 1)]));
    world.want(&deployment(2, &[("index", 2), ("api", 1)]));
    for worn in world.in_phase("Serving") {
        world.step(Event::WornOut(worn));
    }
    assert_eq!(world.in_phase("Starting").len(), 1, "the rollout is waited for");
    world.settle();
    let starting = world.in_phase("Starting");
    assert!(starting.len() == 1 && starting[0].worker == name("api"), "{starting:?}");
    world.settle();
    world.settle();
    assert_eq!(world.units.len(), 2);
}

#[test]
fn a_successor_of_what_another_deployment_has_replaced_never_serves() {
    let mut world = World::new();
    serving(&mut world, &deployment(1, &[("index", 1)]));
    world.step(Event::WornOut(index_in(&world, "Serving")));
    let late = index_in(&world, "Starting");
    world.want(&deployment(2, &[("index", 2)]));
    let new = world.in_phase("Starting").into_iter().find(|unit| *unit != late).unwrap();
    for unit in [&new, &late] {
        world.get_ready(unit);
    }
    assert_eq!(world.table, BTreeSet::from([new]));
    assert!(world.units[&late], "it is stopped");
}

#[test]
fn an_end_that_was_asked_for_is_no_exit_to_tell_of() {
    let mut world = World::new();
    serving(&mut world, &deployment(1, &[("index", 1)]));
    let draining = world.in_phase("Serving").remove(0);
    world.want(&deployment(2, &[("index", 2)]));
    let new = world.in_phase("Starting").remove(0);
    world.unit(&new, UnitState::Active);
    world.step(Event::Probed { unit: new, result: Ok(()) });
    world.step(Event::Drained(draining.clone()));
    world.unit(&draining, UnitState::Failed(ExitReason::Timeout));
    assert_eq!(world.controller.recovery(&name("index")).last_exit, None);
}

#[test]
fn a_successor_of_an_old_deployment_never_serves_in_a_new_one() {
    let mut world = World::new();
    serving(&mut world, &deployment(1, &[("index", 1)]));
    let dead = world.in_phase("Serving").remove(0);
    world.unit(&dead, UnitState::Inactive);
    world.advance_to_deadline();
    let late = world.in_phase("Starting").remove(0);
    world.want(&deployment(2, &[("index", 2)]));
    let new = world.in_phase("Starting").into_iter().find(|unit| *unit != late).unwrap();
    for unit in [&new, &late] {
        world.get_ready(unit);
    }
    assert_eq!(world.table, BTreeSet::from([new]));
    assert!(world.units[&late], "it is stopped");
}

#[test]
fn a_death_during_a_rollout_is_made_good_by_the_old_deployment() {
    let mut world = World::new();
    let old = deployment(1, &[("index", 1)]);
    serving(&mut world, &old);
    let first = world.table.first().unwrap().clone();
    world.want(&deployment(2, &[("index", 2)]));
    let hanging = world.in_phase("Starting").remove(0);
    world.unit(&first, UnitState::Failed(ExitReason::Signal(9)));
    world.advance_to_deadline();
    let successor = world.in_phase("Starting").into_iter().find(|unit| *unit != hanging).unwrap();
    world.get_ready(&successor);
    assert_eq!(world.table, BTreeSet::from([successor]), "the rollout still hangs");
    world.probing.clear();
    world.settle();
    assert_eq!(world.table, BTreeSet::from([hanging]), "it came to an end after all");
    world.settle();
    assert_eq!(world.units.len(), 1);
}

#[test]
fn drains_are_cut_and_then_stopped() {
    let mut world = World::new();
    serving(&mut world, &deployment(1, &[("index", 1)]));
    let old = world.in_phase("Serving").remove(0);
    world.want(&deployment(2, &[("index", 2)]));
    let new = world.in_phase("Starting").remove(0);
    world.unit(&new, UnitState::Active);
    world.step(Event::Probed { unit: new, result: Ok(()) });
    let begun = world.now;
    world.advance_to_deadline();
    assert_eq!(world.now - begun, Duration::from_secs(30));
    assert_eq!(world.log.last(), Some(&Effect::CutStreams(old.clone())));
    world.advance_to_deadline();
    assert_eq!(world.log.last(), Some(&Effect::Stop(old)));
}

/// The limit of streams is the worker's that is wanted now, and requests keep theirs.
#[rstest]
#[case::shorter(5, [5, 30])]
#[case::none(0, [0, 30])]
#[case::of_about_the_same_length(29, [29, 32])]
#[case::longer(3600, [3600, 3603])]
fn streams_have_a_drain_limit_of_their_own(#[case] limit: u64, #[case] at: [u64; 2]) {
    let mut world = World::new();
    serving(&mut world, &deployment(1, &[("index", 1)]));
    let old = world.in_phase("Serving").remove(0);
    let mut desired = Arc::unwrap_or_clone(deployment(2, &[("index", 2)]));
    let worker = desired.workers.get_mut(&name("index")).unwrap();
    let settings = Arc::make_mut(&mut worker.settings);
    settings.stream_drain_timeout = Some(Duration::from_secs(limit));
    world.want(&Arc::new(desired));
    let new = world.in_phase("Starting").remove(0);
    world.unit(&new, UnitState::Active);
    world.step(Event::Probed { unit: new, result: Ok(()) });
    assert_eq!(world.last_outcome(), &Outcome::Switched, "it does not wait for streams");
    let begun = world.now;
    for (at, effect) in at.into_iter().zip([Effect::CutStreams(old.clone()), Effect::Stop(old)]) {
        world.advance_to_deadline();
        assert_eq!((world.now - begun).as_secs(), at, "{effect:?}");
        assert_eq!(world.log.last(), Some(&effect));
    }
}

#[test]
fn few_generations_drain_at_once() {
    let mut world = World::new();
    for digit in 1..=6 {
        world.want(&deployment(digit, &[("index", digit)]));
        let new = world.in_phase("Starting").remove(0);
        world.unit(&new, UnitState::Active);
        world.step(Event::Probed { unit: new, result: Ok(()) });
    }
    let cuts = world.log.iter().filter(|e| matches!(e, Effect::CutStreams(_))).count();
    assert_eq!((world.draining.len(), cuts), (5, 2), "three may drain, the oldest two are cut");
}

#[test]
fn the_living_are_adopted_and_the_rest_is_stopped() {
    let current = deployment(1, &[("index", 1), ("api", 1)]);
    let live = |worker: &str, port, generation, state| LiveUnit {
        unit: UnitName { worker: name(worker), port: Port::new(port).unwrap() },
        source: Source::Deployment(commit(1)),
        generation: Generation(generation),
        fingerprint: Md5::new([1; 16]),
        main_pid: None,
        control_group: None,
        state,
    };
    let found = vec![
        live("index", 9000, 4, UnitState::Active),
        live("index", 9001, 5, UnitState::Active),
        live("index", 9002, 6, UnitState::Activating),
        live("api", 9003, 2, UnitState::Active),
        live("old", 9004, 9, UnitState::Active),
    ];
    let remembered = vec![found[0].unit.clone()];
    let mut world = World::new();
    world.units = found.iter().map(|live| (live.unit.clone(), false)).collect();
    let begin = Event::Begin {
        current: Some(current.clone()),
        serving: remembered,
        drained: BTreeSet::new(),
        found,
    };
    world.step(begin);
    let ports = |units: &BTreeSet<UnitName>| units.iter().map(|u| u.port.get()).collect::<Vec<_>>();
    assert_eq!(ports(&world.table), [9003, 9000], "the remembered one, and the only one");
    let told: BTreeSet<_> =
        world.units.iter().filter(|(_, told)| **told).map(|(u, _)| u.clone()).collect();
    assert_eq!(ports(&told), [9001, 9002, 9004]);
    world.want(&current);
    assert_eq!(world.last_outcome(), &Outcome::Unchanged, "no worker is restarted");
    let next = deployment(2, &[("index", 2), ("api", 1)]);
    world.want(&next);
    let started = world.in_phase("Starting").remove(0);
    let generation = world.controller.generations().find(|t| t.unit == started).unwrap().generation;
    assert_eq!(generation, Generation(7), "numbers go on behind the highest that was found");
}

#[test]
fn a_proven_deployment_starts_cold_worker_by_worker() {
    let mut world = World::new();
    let desired = deployment(1, &[("index", 1), ("api", 1)]);
    world.step(Event::Desired { desired, proven: true });
    let starting = world.in_phase("Starting");
    world.unit(&starting[0], UnitState::Failed(ExitReason::Exited(1)));
    world.settle();
    assert_eq!(world.served().len(), 1, "the healthy one serves");
    assert!(matches!(world.last_outcome(), Outcome::Failed(_)));
    world.advance_to_deadline();
    world.settle();
    assert_eq!(world.served().len(), 2, "the other follows");
}

#[test]
fn a_generation_is_ready_when_all_its_instances_are() {
    let mut world = World::new();
    let first = with_instances(3, &deployment(1, &[("index", 1)]));
    serving(&mut world, &first);
    let old = world.table.clone();
    assert_eq!(old.len(), 3);

    world.want(&with_instances(3, &deployment(2, &[("index", 2)])));
    let starting = world.in_phase("Starting");
    for unit in &starting[..2] {
        world.get_ready(unit);
    }
    assert_eq!(world.table, old, "the third is not ready");
    world.get_ready(&starting[2]);
    assert_eq!(world.table, starting.iter().cloned().collect());
    assert_eq!(world.draining, old);
    let (_, verdict) = world.verdicts.last().unwrap();
    assert_eq!(verdict.started, [name("index")], "a worker is named once");
}

#[test]
fn one_instance_that_fails_fails_its_generation() {
    for desired in [deployment(2, &[("index", 2)]), tree(&[("index", 2)])] {
        let mut world = World::new();
        serving(&mut world, &with_instances(2, &deployment(1, &[("index", 1)])));
        let old = world.table.clone();
        world.want(&with_instances(2, &desired));
        let starting = world.in_phase("Starting");
        world.get_ready(&starting[0]);
        world.unit(&starting[1], UnitState::Failed(ExitReason::Exited(1)));
        assert!(matches!(world.last_outcome(), Outcome::Failed(_)));
        assert!(world.units[&starting[0]], "the other one is stopped");
        world.settle();
        assert_eq!(world.table, old);
        assert_eq!(world.units.len(), 2);
    }
}

#[test]
fn a_dead_instance_is_replaced_in_its_generation_and_the_others_serve_on() {
    let mut world = World::new();
    serving(&mut world, &with_instances(3, &deployment(1, &[("index", 1)])));
    let units = world.in_phase("Serving");
    world.unit(&units[1], UnitState::Failed(ExitReason::Signal(9)));
    assert_eq!(world.table, BTreeSet::from([units[0].clone(), units[2].clone()]));
    world.advance_to_deadline();
    let successor = world.in_phase("Starting");
    assert_eq!(successor.len(), 1);
    assert_ne!(successor[0].port, units[1].port);
    world.settle();
    assert_eq!(world.table.len(), 3);
    let generations: BTreeSet<_> = world.controller.generations().map(|t| t.generation).collect();
    assert_eq!(generations, BTreeSet::from([Generation(1)]));
    assert!(world.draining.is_empty());
}

#[test]
fn instances_that_die_together_come_back_together() {
    let mut world = World::new();
    serving(&mut world, &with_instances(3, &deployment(1, &[("index", 1)])));
    world.advance(Duration::from_secs(60));
    for unit in world.in_phase("Serving") {
        world.unit(&unit, UnitState::Failed(ExitReason::Signal(9)));
    }
    let starting = world.in_phase("Starting");
    assert_eq!(starting.len(), 3);
    world.get_ready(&starting[0]);
    assert_eq!(world.table.len(), 1, "where nothing serves, the first does not wait");
    world.settle();
    assert_eq!(world.table.len(), 3);
}

#[test]
fn other_numbers_of_instances_start_and_drain_the_difference_alone() {
    let mut world = World::new();
    let desired = deployment(1, &[("index", 1)]);
    serving(&mut world, &with_instances(2, &desired));
    let two = world.table.clone();
    world.want(&with_instances(3, &desired));
    assert_eq!(world.in_phase("Starting").len(), 1);
    world.settle();
    assert_eq!(world.last_outcome(), &Outcome::Switched);
    assert_eq!(world.table.len(), 3);
    assert!(world.table.is_superset(&two));
    world.advance(Duration::from_secs(1));
    world.want(&with_instances(2, &desired));
    assert_eq!(world.table, two, "the youngest goes");
    assert_eq!(world.draining.len(), 1);
    world.settle();
    assert_eq!(world.units.len(), 2);
}

#[test]
fn a_generation_that_was_adopted_with_gaps_is_completed() {
    let current = with_instances(3, &deployment(1, &[("index", 1)]));
    let live = |port, generation| LiveUnit {
        unit: UnitName { worker: name("index"), port: Port::new(port).unwrap() },
        source: Source::Deployment(commit(1)),
        generation: Generation(generation),
        fingerprint: Md5::new([1; 16]),
        main_pid: None,
        control_group: None,
        state: UnitState::Active,
    };
    let found = vec![live(9000, 4), live(9001, 4), live(9002, 5)];
    let remembered = vec![found[0].unit.clone(), found[1].unit.clone()];
    let mut world = World::new();
    world.units = found.iter().map(|live| (live.unit.clone(), false)).collect();
    let begin = Event::Begin {
        current: Some(current.clone()),
        serving: remembered,
        drained: BTreeSet::new(),
        found,
    };
    world.step(begin);
    assert_eq!(world.table.len(), 2);
    world.want(&current);
    let starting = world.in_phase("Starting");
    assert_eq!(starting.len(), 1);
    let generations = || world.controller.generations().map(|t| (t.unit.clone(), t.generation));
    assert!(generations().any(|it| it == (starting[0].clone(), Generation(4))));
    world.settle();
    assert_eq!(world.table.len(), 3);
    assert_eq!(world.units.len(), 3);
}

#[test]
fn of_more_instances_than_are_wanted_those_that_served_are_adopted() {
    let current = deployment(1, &[("index", 1)]);
    let live = |port| LiveUnit {
        unit: UnitName { worker: name("index"), port: Port::new(port).unwrap() },
        source: Source::Deployment(commit(1)),
        generation: Generation(4),
        fingerprint: Md5::new([1; 16]),
        main_pid: None,
        control_group: None,
        state: UnitState::Active,
    };
    // The successor of one that was worn out, and that.
    let found = vec![live(9000), live(9001)];
    let remembered = vec![found[1].unit.clone()];
    let mut world = World::new();
    world.units = found.iter().map(|live| (live.unit.clone(), false)).collect();
    let begin = Event::Begin {
        current: Some(current),
        serving: remembered.clone(),
        drained: BTreeSet::new(),
        found,
    };
    world.step(begin);
    assert_eq!(world.table, remembered.into_iter().collect());
    world.settle();
    assert_eq!(world.units.len(), 1);
}

#[test]
fn instances_come_at_once_and_go_after_a_while_of_having_less_to_do() {
    let mut world = World::new();
    serving(&mut world, &scaled(1, 4, &deployment(1, &[("index", 1)])));
    assert_eq!(world.table.len(), 1);
    world.measure("index", 5);
    assert_eq!(world.in_phase("Starting").len(), 2, "two requests each");
    world.measure("index", 99);
    assert_eq!(world.in_phase("Starting").len(), 2, "what is on its way is awaited");
    world.settle();
    assert_eq!(world.table.len(), 3);
    world.measure("index", 99);
    world.settle();
    assert_eq!(world.table.len(), 4, "the most there may be");

    for seconds in [0, 30, 29] {
        world.advance(Duration::from_secs(seconds));
        world.measure("index", 1);
        assert_eq!(world.table.len(), 4);
    }
    world.measure("index", 3);
    world.advance(Duration::from_secs(1));
    world.measure("index", 1);
    assert_eq!(world.table.len(), 2, "as many as were needed meanwhile");
    let generations: BTreeSet<_> = world.controller.generations().map(|it| it.generation).collect();
    assert_eq!(generations.len(), 1);
}

#[test]
fn who_is_not_asked_for_sleeps_and_wakes_when_somebody_waits() {
    let mut world = World::new();
    let desired = scaled(0, 2, &deployment(1, &[("index", 1)]));
    serving(&mut world, &desired);
    let quiet = |world: &mut World| {
        for _ in 0..2 {
            world.measure("index", 0);
            world.advance(Duration::from_secs(60));
        }
        world.measure("index", 0);
        world.settle();
    };
    quiet(&mut world);
    assert_eq!((world.units.len(), world.asleep.len()), (0, 1));

    // A deployment that changes nothing about it does not wake it; one that does has to show itself.
    world.want(&scaled(0, 2, &deployment(2, &[("index", 1)])));
    assert_eq!((world.last_outcome(), world.units.len()), (&Outcome::Switched, 0));
    world.want(&scaled(0, 2, &deployment(3, &[("index", 2)])));
    world.settle();
    assert_eq!((world.last_outcome(), world.table.len()), (&Outcome::Switched, 1));
    quiet(&mut world);

    world.step(Event::Awaited(name("index")));
    world.step(Event::Awaited(name("index")));
    assert_eq!(world.in_phase("Starting").len(), 1);
    world.settle();
    assert_eq!((world.table.len(), world.asleep.len()), (1, 0));
}

#[test]
fn requests_that_came_between_two_looks_keep_a_worker_awake() {
    let mut world = World::new();
    serving(&mut world, &scaled(0, 2, &deployment(1, &[("index", 1)])));
    for requests in 0..10 {
        world.advance(Duration::from_secs(50));
        let load = Load { in_flight: 0, requests };
        world.step(Event::Measured(BTreeMap::from([(name("index"), load)])));
        assert_eq!(world.table.len(), 1);
    }
}

#[test]
fn a_proven_deployment_starts_cold_without_those_who_may_sleep() {
    let mut world = World::new();
    let mut desired = Desired::clone(&deployment(1, &[("api", 1), ("index", 1)]));
    let lazy = scaled(0, 1, &deployment(1, &[("index", 1)])).workers[&name("index")].clone();
    desired.workers.insert(name("index"), lazy);
    let desired = Arc::new(desired);
    world.step(Event::Desired { desired, proven: true });
    world.settle();
    assert_eq!(world.served().into_keys().collect::<Vec<_>>(), [name("api")]);
    assert_eq!(world.asleep, BTreeSet::from([name("index")]));
}

#[test]
fn a_restart_wakes_who_sleeps() {
    let mut world = World::new();
    let desired = scaled(0, 1, &deployment(1, &[("index", 1)]));
    world.step(Event::Desired { desired, proven: true });
    assert_eq!(world.asleep.len(), 1);
    world.step(Event::Restart(name("index")));
    world.settle();
    assert_eq!((world.table.len(), world.asleep.len()), (1, 0));
}

#[test]
fn a_further_instance_that_fails_is_tried_again_after_a_wait() {
    let mut world = World::new();
    serving(&mut world, &scaled(1, 2, &deployment(1, &[("index", 1)])));
    world.measure("index", 4);
    let starting = world.in_phase("Starting").remove(0);
    world.unit(&starting, UnitState::Failed(ExitReason::Exited(1)));
    world.measure("index", 4);
    assert!(world.in_phase("Starting").is_empty(), "its next attempt is awaited");
    world.advance_to_deadline();
    world.settle();
    assert_eq!(world.table.len(), 2);
}

/// One that serves, and another that comes to serve by degrees beside it.
fn trying() -> World {
    let mut world = World::new();
    serving(&mut world, &deployment(1, &[("api", 1), ("index", 1)]));
    world.want(&by_degrees(&deployment(2, &[("api", 1), ("index", 2)])));
    world.settle();
    assert_eq!((world.share, world.canaries.len(), world.table.len()), (Some(10), 1, 2));
    assert_eq!(world.verdicts.len(), 1, "it has not ended");
    world
}

#[test]
fn a_canary_serves_by_degrees_and_then_whole() {
    let mut world = trying();
    let canaries = world.canaries.clone();
    world.advance_to_deadline();
    assert_eq!(world.share, Some(50));
    world.advance_to_deadline();
    assert_eq!((world.share, world.last_outcome()), (None, &Outcome::Switched));
    assert!(world.table.is_superset(&canaries), "what was the canary serves");
    assert_eq!(world.served()[&name("index")], Md5::new([2; 16]));
    world.settle();
    assert_eq!(world.units.len(), 2);
}

#[test]
fn a_canary_is_promoted_or_given_up_when_somebody_says_so() {
    let mut world = trying();
    world.decide(Decision::Promote);
    assert_eq!(world.last_outcome(), &Outcome::Switched);

    let mut world = trying();
    let (table, canaries) = (world.table.clone(), world.canaries.clone());
    world.decide(Decision::GiveUp { worker: Some(name("index")), reason: "worse".into() });
    let Outcome::Failed(failures) = world.last_outcome() else { panic!("it serves") };
    let expected = "index g2 was given up as a canary: worse";
    assert_eq!(failures.iter().map(ToString::to_string).collect::<Vec<_>>(), [expected]);
    assert_eq!((&world.table, &world.draining), (&table, &canaries), "it drains");
    world.settle();
    assert_eq!(world.units.len(), 2);
}

#[rstest]
#[case::at_once(UnitState::Failed(ExitReason::Exited(1)))]
#[case::with_children_that_live_on(UnitState::Deactivating)]
fn a_canary_that_dies_is_given_up(#[case] state: UnitState) {
    let mut world = trying();
    let (table, canary) = (world.table.clone(), world.canaries.first().unwrap().clone());
    kill(&mut world, &canary, state);
    assert!(matches!(world.last_outcome(), Outcome::Failed(_)));
    assert_eq!((&world.table, world.canaries.len()), (&table, 0));
}

#[test]
fn a_canary_that_is_not_well_is_given_up_and_drains() {
    let mut world = trying();
    let canary = world.canaries.first().unwrap().clone();
    world.step(Event::Unwell { unit: canary.clone(), answer: "500".into() });
    assert!(matches!(world.last_outcome(), Outcome::Failed(_)));
    assert!(world.draining.contains(&canary));
}

#[test]
fn a_wish_to_serve_a_canary_at_once_promotes_it() {
    let mut world = trying();
    let canaries = world.canaries.clone();
    world.want(&deployment(2, &[("api", 1), ("index", 2)]));
    assert_eq!(world.last_outcome(), &Outcome::Switched);
    assert!(world.table.is_superset(&canaries), "nothing was started anew");
}

#[test]
fn another_wish_ends_a_canary() {
    let mut world = trying();
    let canary = world.canaries.first().unwrap().clone();
    world.want(&deployment(1, &[("api", 1), ("index", 1)]));
    assert_eq!(world.last_outcome(), &Outcome::Unchanged);
    assert!(world.canaries.is_empty() && world.draining.contains(&canary));
}

#[test]
fn where_nothing_serves_there_is_no_canary() {
    let mut world = World::new();
    serving(&mut world, &by_degrees(&deployment(1, &[("index", 1)])));
    assert!(world.canaries.is_empty());
}

#[test]
fn lost_news_is_asked_for() {
    let mut world = World::new();
    serving(&mut world, &deployment(1, &[("index", 1)]));
    world.want(&deployment(2, &[("index", 2)]));
    world.advance_to_deadline();
    assert_eq!(world.log.last(), Some(&Effect::Reconcile));
    let asked = world.now;
    let starting = world.in_phase("Starting").remove(0);
    world.step(Event::Resync { asked, found: Vec::new() });
    assert!(matches!(world.last_outcome(), Outcome::Failed(_)), "{starting} is gone");
}

#[test]
fn the_end_stops_only_what_does_not_serve() {
    let mut world = World::new();
    serving(&mut world, &deployment(1, &[("index", 1)]));
    world.want(&deployment(2, &[("index", 2)]));
    let starting = world.in_phase("Starting").remove(0);
    let table = world.table.clone();
    world.step(Event::Shutdown);
    assert!(world.units[&starting]);
    assert_eq!(world.table, table);
    assert_eq!(world.last_outcome(), &Outcome::Interrupted);
}

#[test]
fn of_many_some_start_at_a_time_in_their_order() {
    let mut world = World::with(RolloutSettings { parallel_starts: 2, ..settings() });
    serving(&mut world, &deployment(1, &[("api", 1), ("index", 1), ("shop", 1)]));
    world.want(&deployment(2, &[("api", 2), ("index", 2), ("shop", 2)]));
    let starting = world.in_phase("Starting");
    assert_eq!((starting.len(), world.in_phase("Queued").len()), (2, 1));
    world.unit(&starting[0], UnitState::Active);
    assert_eq!(world.in_phase("Queued").len(), 1, "it is not ready before it was probed");
    world.step(Event::Probed { unit: starting[0].clone(), result: Ok(()) });
    assert_eq!((world.in_phase("Starting").len(), world.in_phase("Queued").len()), (2, 0));
    world.settle();
    assert_eq!(world.last_outcome(), &Outcome::Switched);
}

#[test]
fn who_has_nobody_that_serves_starts_first_and_beside_programs_that_hang() {
    let mut world = World::with(RolloutSettings { parallel_starts: 2, ..settings() });
    serving(&mut world, &deployment(1, &[("api", 1), ("index", 1), ("shop", 1)]));
    world.want(&deployment(2, &[("api", 2), ("index", 2), ("shop", 2)]));
    let hang = world.in_phase("Starting");
    for dies in world.table.clone() {
        world.unit(&dies, UnitState::Failed(ExitReason::Signal(9)));
    }
    let starting = world.in_phase("Starting");
    let beside: Vec<_> = starting.iter().filter(|unit| !hang.contains(unit)).collect();
    assert_eq!((starting.len(), beside.len()), (3, 1));
    assert_eq!(beside[0].worker, name("api"));
    world.get_ready(beside[0]);
    let next = world.in_phase("Starting");
    assert!(next.iter().any(|unit| unit.worker == name("index") && !hang.contains(unit)));
}

#[test]
fn who_waits_for_its_start_needs_no_stop() {
    let mut world = World::with(RolloutSettings { parallel_starts: 1, ..settings() });
    serving(&mut world, &deployment(1, &[("api", 1), ("index", 1)]));
    world.want(&deployment(2, &[("api", 2), ("index", 2)]));
    let queued = world.in_phase("Queued").remove(0);
    let asked = world.now;
    let found = world.living();
    world.step(Event::Resync { asked, found });
    assert_eq!(
        world.in_phase("Queued"),
        std::slice::from_ref(&queued),
        "that there is no such unit is known"
    );
    let effects = world.want(&deployment(1, &[("api", 1), ("index", 1)]));
    assert!(!effects.contains(&Effect::Stop(queued.clone())), "there is none to stop");
    assert!(effects.contains(&Effect::Forget(queued)));
    world.settle();
    assert_eq!(world.controller.ports.leased(), 2);
}

/// One thing that may happen at any moment.
#[derive(Debug, Clone)]
enum Happening {
    Want {
        digit: u8,
        index: u8,
        api: Option<u8>,
        instances: usize,
        bounds: Option<(usize, usize)>,
        by_degrees: bool,
        proven: bool,
    },
    Active(prop::sample::Index),
    Probed(prop::sample::Index, bool),
    Drained(prop::sample::Index),
    Dies(prop::sample::Index, bool),
    /// Its main process is dead, and its children are not.
    Dying(prop::sample::Index),
    WornOut(prop::sample::Index),
    /// A worker has so many requests in flight, and this goes on for the given seconds.
    Measured(&'static str, u64, u64),
    Awaited(&'static str),
    TakenOut(&'static str),
    Restarted(&'static str),
    Decided(bool),
    Refused(prop::sample::Index),
    Wait,
    Resync,
}

fn wish() -> impl Strategy<Value = Happening> {
    let bounds =
        prop::option::of((0usize..3, 1usize..5).prop_map(|(min, max)| (min, min.max(max))));
    let api = prop::option::of(1u8..3);
    (1u8..4, 1u8..4, api, 1usize..4, bounds, any::<bool>(), any::<bool>()).prop_map(
        |(digit, index, api, instances, bounds, by_degrees, proven)| Happening::Want {
            digit,
            index,
            api,
            instances,
            bounds,
            by_degrees,
            proven,
        },
    )
}

fn worker() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just("index"), Just("api")]
}

fn happening() -> impl Strategy<Value = Happening> {
    use Happening::*;
    let at = any::<prop::sample::Index>;
    prop_oneof![
        2 => wish(),
        5 => at().prop_map(Active),
        5 => (at(), prop::bool::weighted(0.9)).prop_map(|(at, ok)| Probed(at, ok)),
        4 => at().prop_map(Drained),
        3 => (at(), any::<bool>()).prop_map(|(at, ok)| Dies(at, ok)),
        1 => at().prop_map(Dying),
        1 => at().prop_map(WornOut),
        1 => at().prop_map(Refused),
        3 => (worker(), 0u64..9, 0u64..90).prop_map(|(name, load, s)| Measured(name, load, s)),
        1 => worker().prop_map(Awaited),
        1 => worker().prop_map(TakenOut),
        1 => worker().prop_map(Restarted),
        1 => any::<bool>().prop_map(Decided),
        3 => Just(Wait),
        1 => Just(Resync),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    /// Whatever happens in whatever order, the promises in `World::perform` hold, and when the
    /// world calms down what was wanted last is what serves, with nothing left over.
    #[test]
    fn whatever_happens(
        in_tree in any::<bool>(),
        parallel_starts in 1usize..5,
        story in prop::collection::vec(happening(), 1..80),
    ) {
        let mut world = World::with(RolloutSettings { parallel_starts, ..settings() });
        let mut last = deployment(1, &[("index", 1)]);
        for happening in story {
            let units: Vec<UnitName> = world.units.keys().cloned().collect();
            let pick = |at: prop::sample::Index| (!units.is_empty()).then(|| at.get(&units).clone());
            match happening {
                Happening::Want { digit, index, api, instances, bounds, by_degrees: canary, proven } => {
                    let mut workers = vec![("index", index)];
                    workers.extend(api.map(|stuff| ("api", stuff)));
                    last = if in_tree { tree(&workers) } else { deployment(digit, &workers) };
                    last = with_instances(instances, &last);
                    if let Some((min, max)) = bounds { last = scaled(min, max, &last); }
                    if canary { last = by_degrees(&last); }
                    world.step(Event::Desired { desired: Arc::clone(&last), proven });
                }
                Happening::Active(at) => {
                    if let Some(unit) = pick(at) { world.unit(&unit, UnitState::Active); }
                }
                Happening::Probed(at, ok) => {
                    let result = if ok { Ok(()) } else { Err("500".into()) };
                    if let Some(unit) = pick(at) { world.step(Event::Probed { unit, result }); }
                }
                Happening::Drained(at) => {
                    if let Some(unit) = pick(at).filter(|unit| world.draining.contains(unit)) {
                        world.step(Event::Drained(unit));
                    }
                }
                Happening::Dies(at, clean) => {
                    let state = if clean { UnitState::Inactive }
                        else { UnitState::Failed(ExitReason::Exited(1)) };
                    if let Some(unit) = pick(at) { kill(&mut world, &unit, state); }
                }
                Happening::Dying(at) => {
                    if let Some(unit) = pick(at) { world.unit(&unit, UnitState::Deactivating); }
                }
                Happening::WornOut(at) => {
                    if let Some(unit) = pick(at).filter(|u| world.table.contains(u)) {
                        world.step(Event::WornOut(unit));
                    }
                }
                Happening::Measured(worker, in_flight, seconds) => {
                    world.measure(worker, in_flight);
                    world.advance(Duration::from_secs(seconds));
                    world.measure(worker, in_flight);
                }
                Happening::Awaited(worker) => {
                    if world.asleep.contains(&name(worker)) {
                        world.step(Event::Awaited(name(worker)));
                    }
                }
                Happening::TakenOut(worker) => {
                    world.step(Event::TakeOut(name(worker)));
                }
                Happening::Restarted(worker) => {
                    world.step(Event::Restart(name(worker)));
                }
                Happening::Decided(true) => world.decide(Decision::Promote),
                Happening::Decided(false) => {
                    world.decide(Decision::GiveUp { worker: None, reason: "no".into() });
                }
                Happening::Refused(at) => {
                    if let Some(unit) = pick(at).filter(|u| world.in_phase("Starting").contains(u)) {
                        world.step(Event::StartRefused { unit, reason: "no".into() });
                    }
                }
                Happening::Wait => {
                    if world.controller.next_deadline().is_some() { world.advance_to_deadline(); }
                }
                Happening::Resync => {
                    let (asked, found) = (world.now, world.living());
                    world.step(Event::Resync { asked, found });
                }
            }
            // What waits for its next attempt is refused from the fifth failure on, and never else.
            for worker in ["index", "api"].map(name) {
                let serves = world.table.iter().any(|unit| unit.worker == worker);
                let closed = world.controller.recovery(&worker).breaker == Breaker::Closed;
                prop_assert_eq!(world.refused.contains_key(&worker), !closed && !serves);
            }
        }
        world.step(Event::Desired { desired: Arc::clone(&last), proven: false });
        for _ in 0..40 {
            world.settle();
            if world.controller.next_deadline().is_some() { world.advance_to_deadline(); }
        }
        world.settle();
        // Who is out of service comes back when it is restarted.
        for worker in world.drained.clone() {
            world.step(Event::Restart(worker));
            world.settle();
            world.settle();
        }
        // Who sleeps wakes when it is asked for.
        for worker in world.asleep.clone() {
            world.step(Event::Awaited(worker));
            world.settle();
        }
        let wanted: BTreeMap<_, _> =
            last.workers.values().map(|w| (w.name.clone(), w.fingerprint)).collect();
        prop_assert_eq!(world.served(), wanted);
        prop_assert!(world.refused.is_empty(), "{:?}", world.refused);
        let instances: usize = last
            .workers
            .values()
            .map(|worker| {
                let (settings, wanted) =
                    (&worker.settings.instances, world.controller.wanted_instances(&worker.name));
                assert!((settings.fewest()..=settings.most()).contains(&wanted));
                assert!(settings.scales() || wanted == settings.at_first());
                wanted
            })
            .sum();
        prop_assert_eq!(world.table.len(), instances);
        prop_assert_eq!(world.units.len(), instances);
        prop_assert_eq!(world.controller.ports.leased(), instances);
        let worn_out = &world.controller.renewals;
        prop_assert!(worn_out.is_empty(), "{worn_out:?}");
    }
}

/// The death of a unit takes it from the table before the news of it is acted on, as a dead
/// process does: only then may the controller forget it.
fn kill(world: &mut World, unit: &UnitName, state: UnitState) {
    let tracked = world.controller.generations().any(|tracked| tracked.unit == *unit);
    assert!(tracked, "{unit} lives, and nobody knows of it");
    world.unit(unit, state);
}
