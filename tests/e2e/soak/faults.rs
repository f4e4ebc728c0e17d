//! What happens to a session, by chance.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;
use tqserver::store::deployment::Deployment;

use crate::handover::Program;
use crate::load::point_at;
use crate::samples::Samples;
use crate::session::{PATIENCE, Session};
use crate::support::wait::await_until;

/// What server.yaml has at the beginning and at the end, beside the ports.
pub(super) const CALM: &str = "  drain_timeout_seconds: 5\n  start_timeout_seconds: 20\n";

/// A worker that has served this long begins a new row of failures, of which five open its breaker: then
/// its requests are refused, as they should be. The soak stays below.
const STABLE: Duration = Duration::from_secs(35);

/// How many deaths of a worker there may be in a row.
const DEATHS: usize = 3;

/// The longest pause between two faults.
const PAUSE: u64 = 2500;

/// A fault that may cost what was under way.
#[derive(Debug, Clone)]
pub(super) struct Kill {
    /// The worker; `None` for tqserver itself.
    pub(super) worker: Option<&'static str>,
    pub(super) begun: Instant,
    pub(super) ended: Instant,
}

/// Does one thing after another.
pub(super) struct Faults<'a> {
    samples: &'a Samples,
    session: &'a Session,
    program: Program,
    random: Rng,
    begun: Instant,
    good: Vec<Deployment>,
    /// One whose `index` ends before it is ready.
    bad: Deployment,
    /// Which of the good ones is to serve.
    current: usize,
    kills: Vec<Kill>,
    done: BTreeMap<&'static str, u32>,
    story: Vec<(Duration, String)>,
}

/// One kind of fault: its name, how often it comes, and what it does.
type Choice<'a> = (&'static str, u32, fn(&mut Faults<'a>) -> String);

impl<'a> Faults<'a> {
    /// The faults that `seed` stands for.
    pub(super) fn new(samples: &'a Samples, session: &'a Session, seed: u64) -> Self {
        let main = "workers/index/src/main.rs";
        let mut good = vec![samples.build("first")];
        samples.edit(main, "fn main", "/* another program */ fn main");
        samples.edit("workers/index/Cargo.toml", "[package]", "[package]\nauthors = [\"Soak\"]");
        good.push(samples.build("second"));
        let users = "workers/api_users/Cargo.toml";
        samples.edit(users, "[package]", "[package]\nauthors = [\"Soak\"]");
        good.push(samples.build("third"));
        samples.edit(
            main,
            "let worker =",
            "std::process::exit(3);\n    #[allow(unreachable_code)]\n    let worker =",
        );
        let bad = samples.build("bad");
        Self {
            samples,
            session,
            program: Program::install(session, samples.path()),
            random: Rng::with_seed(seed),
            begun: Instant::now(),
            good,
            bad,
            current: 0,
            kills: Vec::new(),
            done: BTreeMap::new(),
            story: Vec::new(),
        }
    }

    /// The deployment to begin with.
    pub(super) fn first(&self) -> &Deployment {
        &self.good[self.current]
    }

    /// What may have cost requests.
    pub(super) fn kills(&self) -> &[Kill] {
        &self.kills
    }

    /// When it all began.
    pub(super) fn begun(&self) -> Instant {
        self.begun
    }

    const CHOICES: [Choice<'a>; 14] = [
        ("deploy", 6, Self::deploy),
        ("deploy, not awaited", 4, Self::deploy_unawaited),
        ("bad deployment", 2, Self::deploy_bad),
        ("worker killed", 6, Self::kill_worker),
        ("worker ended", 2, Self::end_worker),
        ("tqserver killed", 3, Self::kill_server),
        ("tqserver restarted", 2, Self::restart_server),
        ("tqserver replaced", 2, Self::hand_over),
        ("configuration", 4, Self::configure),
        ("bad configuration", 2, Self::configure_badly),
        ("worker restarted", 3, Self::restart_worker),
        ("bus restarted", 1, Self::restart_bus),
        ("manager reloaded", 2, Self::reload_manager),
        ("manager re-executed", 1, Self::reexecute_manager),
    ];

    /// One fault, and a pause.
    pub(super) fn next(&mut self) {
        let total: u32 = Self::CHOICES.iter().map(|(_, weight, _)| weight).sum();
        let mut drawn = self.random.u32(..total);
        let chosen = Self::CHOICES.iter().find(|(_, weight, _)| match drawn.checked_sub(*weight) {
            Some(rest) => {
                drawn = rest;
                false
            }
            None => true,
        });
        let (name, _, act) = chosen.expect("less than the sum was drawn");
        // No event says when a fault is due: any moment is meant.
        thread::sleep(Duration::from_millis(self.random.u64(..PAUSE)));
        let at = self.begun.elapsed();
        let what = act(self);
        self.story.push((at, format!("{name}: {what}")));
        *self.done.entry(name).or_default() += 1;
    }

    /// Brings back what there was at the beginning.
    pub(super) fn calm_down(&mut self) {
        self.samples.configure(&format!("{}{CALM}", self.session.range_yaml()));
        self.current = 0;
        point_at(self.samples, &self.good[0]);
        self.reload();
        self.session.await_workers(2);
        await_until("one process", PATIENCE, || self.session.processes().len() == 1);
    }

    fn reload(&self) {
        let output = self.session.tqctl(&["reload", "--wait"]);
        assert!(output.status.success(), "{output:?}\n{self}{}", self.session.log());
    }

    fn next_deployment(&mut self) -> &Deployment {
        let other = self.random.usize(1..self.good.len());
        self.current = (self.current + other) % self.good.len();
        &self.good[self.current]
    }

    fn deploy(&mut self) -> String {
        let said = self.deploy_unawaited();
        self.reload();
        said
    }

    fn deploy_unawaited(&mut self) -> String {
        let samples = self.samples;
        let next = self.next_deployment();
        point_at(samples, next);
        next.git_commit_short.clone()
    }

    fn deploy_bad(&mut self) -> String {
        point_at(self.samples, &self.bad);
        let output = self.session.tqctl(&["reload", "--wait"]);
        assert!(!output.status.success(), "{output:?}\n{self}{}", self.session.log());
        point_at(self.samples, &self.good[self.current]);
        self.reload();
        "refused".to_owned()
    }

    /// A unit that may die now without opening the breaker of its worker.
    fn victim(&mut self) -> Option<(&'static str, String)> {
        let units: Vec<_> = self.session.workers().into_keys().collect();
        let unit = units.get(self.random.usize(..units.len().max(1)))?;
        let worker =
            ["index", "api_users"].into_iter().find(|name| unit.contains(&format!("@{name}-")))?;
        let mut row = 0;
        let mut later = Instant::now();
        for kill in self.kills.iter().rev().filter(|kill| kill.worker == Some(worker)) {
            if later - kill.ended > STABLE {
                break;
            }
            (row, later) = (row + 1, kill.begun);
        }
        (row < DEATHS).then(|| (worker, unit.clone()))
    }

    fn signal_worker(&mut self, signal: &str) -> String {
        let Some((worker, unit)) = self.victim() else { return "nobody this time".to_owned() };
        let begun = Instant::now();
        // It may have ended by itself meanwhile.
        self.session.try_systemctl(&["kill", &format!("--signal={signal}"), &unit]);
        // What it had taken may be told of a little later.
        let ended = Instant::now() + Duration::from_secs(1);
        self.kills.push(Kill { worker: Some(worker), begun, ended });
        unit
    }

    fn kill_worker(&mut self) -> String {
        self.signal_worker("KILL")
    }

    fn end_worker(&mut self) -> String {
        self.signal_worker("TERM")
    }

    fn kill_server(&mut self) -> String {
        let begun = Instant::now();
        let killed = self.session.signal("KILL");
        self.session.await_other_than(killed);
        self.kills.push(Kill { worker: None, begun, ended: Instant::now() });
        killed.to_string()
    }

    fn restart_server(&mut self) -> String {
        self.session.systemctl(&["restart", "tqserver.service"]);
        String::new()
    }

    fn hand_over(&mut self) -> String {
        self.program.replace();
        self.session.systemctl(&["reload", "tqserver.service"]);
        String::new()
    }

    fn configure(&mut self) -> String {
        let instances = self.random.u8(1..=3);
        let max_requests = *self.random.choice([0, 500, 2000].iter()).unwrap();
        // More than are ever in flight, so that nobody is refused.
        let max_in_flight = *self.random.choice([0, 60].iter()).unwrap();
        let health_interval = self.random.u8(..=1);
        let startup_delay = self.random.u16(..200);
        let lines = format!(
            "  startup_delay_ms: {startup_delay}\n  default:\n    instances: {instances}\n    \
             max_requests: {max_requests}\n    max_in_flight: {max_in_flight}\n    \
             health_interval_seconds: {health_interval}\n"
        );
        self.samples.configure(&format!("{}{CALM}{lines}", self.session.range_yaml()));
        self.reload();
        format!(
            "{instances} instances, max_requests {max_requests}, max_in_flight {max_in_flight}, \
             health_interval_seconds {health_interval}"
        )
    }

    fn configure_badly(&mut self) -> String {
        let path = self.samples.path().join("config/server.yaml");
        let good = fs::read(&path).unwrap();
        let bad = *self.random.choice(["server: [\n", "server:\n  prot: 1\n", ""].iter()).unwrap();
        fs::write(&path, [&good[..], bad.as_bytes(), b"\nworkers: 7\n"].concat()).unwrap();
        let output = self.session.tqctl(&["reload", "--wait"]);
        assert!(!output.status.success(), "{output:?}\n{self}{}", self.session.log());
        fs::write(&path, good).unwrap();
        self.reload();
        "refused".to_owned()
    }

    fn restart_worker(&mut self) -> String {
        let worker = *self.random.choice(["index", "api_users"].iter()).unwrap();
        // Refused while a rollout is under way.
        let output = self.session.tqctl(&["restart", worker]);
        format!("{worker}: {}", output.status)
    }

    fn restart_bus(&mut self) -> String {
        self.session.systemctl(&["restart", "dbus.service"]);
        String::new()
    }

    fn reload_manager(&mut self) -> String {
        self.session.systemctl(&["daemon-reload"]);
        String::new()
    }

    fn reexecute_manager(&mut self) -> String {
        self.session.systemctl(&["daemon-reexec"]);
        String::new()
    }
}

/// What has happened so far.
impl fmt::Display for Faults<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, what) in &self.story {
            writeln!(f, "{:8.3} {what}", at.as_secs_f64())?;
        }
        writeln!(f, "faults: {:?}", self.done)
    }
}
