//! The promise: whatever is deployed or restarted under load, not one request is lost.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use jiff::Timestamp;
use serde_json::Value;
use tqserver::store::activate::activate;
use tqserver::store::deployment::Deployment;
use tqserver::store::lock::DeployLock;

use crate::handover::Program;
use crate::samples::Samples;
use crate::session::{PATIENCE, Session};
use crate::support::load::{Kind, Load};
use crate::support::wait::await_until;

/// How often the manifest is switched.
const SWITCHES: usize = 50;

/// How many exchanges the clients have between two switches.
const EXCHANGES: u64 = 500;

/// How often tqserver is replaced.
const HANDOVERS: usize = 10;

/// 64 clients of all kinds.
const CLIENTS: &[(Kind, usize)] = &[
    (Kind::KeepAlive, 20),
    (Kind::NewConnection, 12),
    (Kind::Post, 10),
    (Kind::Download, 8),
    (Kind::Events, 7),
    (Kind::WebSocket, 7),
];

fn session(samples: &Samples) -> Session {
    Session::user(samples.path(), |ports| {
        samples.configure(&format!("{ports}  drain_timeout_seconds: 5\n"));
    })
}

/// Activates a deployment.
pub fn point_at(samples: &Samples, deployment: &Deployment) {
    let lock = DeployLock::acquire(&samples.deploy_dir(), "test", Timestamp::now()).unwrap();
    activate(&lock, deployment, Timestamp::now(), 10).unwrap();
}

fn reload(session: &Session) -> Value {
    let output = session.tqctl(&["--json", "reload", "--wait"]);
    let verdict: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {output:?}\n{}", session.log()));
    assert_eq!(verdict["ok"], true, "{verdict:#}\n{}", session.log());
    verdict
}

fn pid_of(workers: &BTreeMap<String, u32>, name: &str) -> u32 {
    let prefix = format!("tq-worker@{name}-");
    let of_worker: Vec<_> = workers.iter().filter(|(unit, _)| unit.starts_with(&prefix)).collect();
    assert_eq!(of_worker.len(), 1, "{workers:?}");
    *of_worker[0].1
}

/// Descriptors that tqserver has open and that do not come and go with clients.
fn descriptors(session: &Session) -> usize {
    let pid = session.main_pid("tqserver.service");
    let folder = session.bed.root_path(format!("/proc/{pid}/fd"));
    fs::read_dir(folder).unwrap().count()
}

#[test]
fn fifty_switches_lose_nothing() {
    let samples = Samples::new();
    let session = session(&samples);
    let first = samples.build("first");
    samples.edit("workers/index/src/main.rs", "fn main", "/* another program */ fn main");
    samples.edit("workers/index/Cargo.toml", "[package]", "[package]\nauthors = [\"Test\"]");
    let second = samples.build("second");
    let (index, users) = ("index".parse().unwrap(), "api_users".parse().unwrap());
    assert_eq!(first.workers[&users].binary_md5, second.workers[&users].binary_md5, "reused");
    assert_eq!(second.workers[&users].built_from, first.git_commit);
    assert_ne!(first.workers[&index].binary_md5, second.workers[&index].binary_md5);

    point_at(&samples, &first);
    assert_eq!(session.get("/").status, 200, "{}", session.log());
    let before = session.workers();
    let idle = descriptors(&session);

    let load = Load::start(session.addr(), CLIENTS, false);
    for switch in 0..SWITCHES {
        let next = if switch % 2 == 0 { &second } else { &first };
        point_at(&samples, next);
        assert_eq!(reload(&session)["commit"], next.git_commit.as_str());
        let until = load.done() + EXCHANGES;
        await_until("exchanges between two switches", PATIENCE, || load.done() >= until);
    }
    let generation = session.status()["workers"][1]["generation"].clone();
    let seen = load.finish();
    eprintln!("{seen}");
    assert_eq!(generation, 1 + SWITCHES, "every switch made a generation");
    for kind in [Kind::Events, Kind::WebSocket] {
        assert!(seen.ended(kind) > 0, "no stream met its drain limit: {seen}");
    }

    session.await_workers(2);
    let after = session.workers();
    assert_eq!(pid_of(&before, "api_users"), pid_of(&after, "api_users"), "it never changed");
    await_until("descriptors are given back", PATIENCE, || descriptors(&session) <= idle + 4);
    let status = session.status();
    assert_eq!(status["counters"]["server_errors"], 0, "{status:#}");

    // A commit that changes only documentation restarts nothing.
    fs::write(samples.path().join("README.md"), "Now with a page of documentation.\n").unwrap();
    samples.edit("workers/index/src/main.rs", "/* another program */ fn main", "fn main");
    samples.edit("workers/index/Cargo.toml", "[package]\nauthors = [\"Test\"]", "[package]");
    let third = samples.build("documentation, and the first program again");
    assert_eq!(first.workers[&index].binary_md5, third.workers[&index].binary_md5);
    point_at(&samples, &third);
    assert_eq!(reload(&session)["started"], serde_json::json!([]));
    assert_eq!(session.workers(), after);
}

#[test]
fn handovers_to_a_new_program_under_load_lose_nothing() {
    let samples = Samples::new();
    let session = session(&samples);
    let program = Program::install(&session, samples.path());
    point_at(&samples, &samples.build("first"));
    assert_eq!(session.get("/").status, 200, "{}", session.log());
    let before = session.workers();
    let load = Load::start(session.addr(), CLIENTS, true);
    let mut processes = BTreeSet::from([session.main_pid("tqserver.service")]);
    for _ in 0..HANDOVERS {
        program.replace();
        session.systemctl(&["reload", "tqserver.service"]);
        processes.insert(session.main_pid("tqserver.service"));
        let until = load.done() + EXCHANGES;
        await_until("exchanges between two handovers", PATIENCE, || load.done() >= until);
    }
    // Streams keep a process until its drain limit.
    await_until("all but the last have ended", PATIENCE, || session.processes().len() == 1);
    let seen = load.finish();
    eprintln!("{seen}");
    for kind in [Kind::Events, Kind::WebSocket] {
        assert!(seen.ended(kind) > 0, "no stream met its drain limit: {seen}");
    }
    assert_eq!(processes.len(), 1 + HANDOVERS, "every one was another process");
    assert_eq!(session.workers(), before, "same units, same processes");
}

#[test]
fn restarts_of_tqserver_under_load_lose_nothing() {
    let samples = Samples::new();
    let session = session(&samples);
    point_at(&samples, &samples.build("first"));
    assert_eq!(session.get("/").status, 200, "{}", session.log());
    let before = session.workers();
    let clients = [(Kind::KeepAlive, 12), (Kind::NewConnection, 12), (Kind::Post, 8)];
    let load = Load::start(session.addr(), &clients, true);
    for _ in 0..5 {
        session.systemctl(&["restart", "tqserver.service"]);
        session.get("/hello?name=between");
    }
    eprintln!("{}", load.finish());
    assert_eq!(session.workers(), before, "same units, same processes");
}
