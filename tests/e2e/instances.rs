//! Generations of several instances.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

use crate::project::{Project, Worker, worker};
use crate::rollout::empty;
use crate::session::{Answer, PATIENCE, Session, get, send};
use crate::support::wait::await_until;

/// So many clients at once.
const CLIENTS: usize = 8;

fn three(mode: &'static str) -> Worker {
    worker("index", mode).yaml("instances: 3\n")
}

fn serving_three() -> (Project, Session) {
    let (project, session) = empty();
    project.deploy('1', &[three("well")]);
    assert_eq!(session.get("/").status, 200, "{}", session.log());
    session.await_workers(3);
    await_until("three that serve", PATIENCE, || instances_serving(&session) == 3);
    (project, session)
}

pub(crate) fn instances_serving(session: &Session) -> usize {
    let status = session.status();
    let instances = status["workers"][0]["instances"].as_array().cloned().unwrap_or_default();
    instances.iter().filter(|instance| instance["state"] == "serving").count()
}

fn units(session: &Session) -> BTreeSet<String> {
    session.workers().into_keys().collect()
}

/// Clients that ask again and again, and keep what is not as it should be.
pub(crate) struct Asking {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<Vec<Result<Answer, String>>>>,
}

impl Asking {
    pub(crate) fn start(addr: SocketAddr) -> Self {
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let client = |_| {
            let (stop, done) = (Arc::clone(&stop), Arc::clone(&done));
            thread::spawn(move || {
                let mut bad = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let answer = send(addr, &get("/slow/0.01"));
                    done.fetch_add(1, Ordering::Relaxed);
                    if !answer.as_ref().is_ok_and(|answer| answer.status == 200) {
                        bad.push(answer);
                    }
                }
                bad
            })
        };
        let clients = (0..CLIENTS).map(client).collect();
        Self { stop, done, clients }
    }

    pub(crate) fn some_more(&self) {
        let until = self.done.load(Ordering::Relaxed) + 100;
        await_until("answers", PATIENCE, || self.done.load(Ordering::Relaxed) >= until);
    }

    pub(crate) fn finish(self, session: &Session) {
        self.stop.store(true, Ordering::Relaxed);
        let bad: Vec<_> =
            self.clients.into_iter().flat_map(|client| client.join().unwrap()).collect();
        assert!(bad.is_empty(), "{bad:?}\n{}", session.log());
    }
}

#[test]
fn three_instances_serve_and_are_switched_as_one() {
    let (project, session) = serving_three();
    let old = units(&session);
    let shown = session.tqctl(&["status"]);
    let shown = String::from_utf8(shown.stdout).unwrap();
    for unit in &old {
        assert!(shown.contains(unit.trim_end_matches(".service")), "{unit}: {shown}");
    }
    let load = Asking::start(session.addr());
    load.some_more();
    project.deploy('2', &[three("better")]);
    session.await_body("/", "index better g2 /\n");
    load.some_more();
    assert_eq!(instances_serving(&session), 3);
    load.finish(&session);
    session.await_workers(3);
    assert!(units(&session).is_disjoint(&old));
}

#[test]
fn one_of_three_that_is_killed_is_replaced_while_the_others_serve() {
    let (_project, session) = serving_three();
    let before = units(&session);
    let victim = before.first().unwrap();
    let load = Asking::start(session.addr());
    load.some_more();
    session.systemctl(&["kill", "--signal=KILL", victim]);
    load.some_more();
    await_until("a successor", PATIENCE, || {
        let now = units(&session);
        now.len() == 3 && !now.contains(victim)
    });
    await_until("three that serve", PATIENCE, || instances_serving(&session) == 3);
    load.some_more();
    load.finish(&session);
    assert_eq!(units(&session).intersection(&before).count(), 2, "the others go on");
    assert_eq!(session.get("/").body, "index well g1 /\n", "it is of the same generation");
}

#[test]
fn what_is_left_of_a_generation_is_adopted_and_completed() {
    let (_project, session) = serving_three();
    let before = session.workers();
    let (victim, _) = before.first_key_value().unwrap();
    session.signal("KILL");
    session.systemctl(&["kill", "--signal=KILL", victim]);
    assert_eq!(session.get("/").body, "index well g1 /\n");
    await_until("three that serve", PATIENCE, || instances_serving(&session) == 3);
    let after = session.workers();
    assert_eq!(after.len(), 3);
    assert_eq!(after.iter().filter(|(unit, pid)| before.get(*unit) == Some(pid)).count(), 2);
}

#[test]
fn a_reload_with_another_number_starts_and_stops_the_difference() {
    let (project, session) = empty();
    let configure = |count: u8| {
        let default = format!("  default: {{instances: {count}}}\n");
        project.configure("", &(session.range_yaml() + &default));
    };
    configure(2);
    project.deploy('1', &[worker("index", "well")]);
    assert_eq!(session.get("/").status, 200, "{}", session.log());
    await_until("two that serve", PATIENCE, || instances_serving(&session) == 2);
    let two = units(&session);
    configure(3);
    session.systemctl(&["reload", "tqserver.service"]);
    assert_eq!(instances_serving(&session), 3);
    assert!(units(&session).is_superset(&two));
    configure(2);
    session.systemctl(&["reload", "tqserver.service"]);
    session.await_workers(2);
    assert_eq!(units(&session), two, "the youngest has gone");
}

#[test]
fn a_reload_changes_how_much_an_instance_takes() {
    let (project, session) = empty();
    let configure = |limits: &str| {
        project.configure("", &(session.range_yaml() + &format!("  default: {{{limits}}}\n")));
    };
    configure("max_in_flight: 1, max_queued: 0");
    project.deploy('1', &[worker("index", "well")]);
    assert_eq!(session.get("/").status, 200, "{}", session.log());
    let instance = units(&session);
    let both_at_once = || {
        let addr = session.addr();
        let slow = thread::spawn(move || send(addr, &get("/slow/1")).unwrap().status);
        await_until("the slow one", PATIENCE, || session.status()["counters"]["in_flight"] == 1);
        let other = session.get("/").status;
        (slow.join().unwrap(), other)
    };
    assert_eq!(both_at_once(), (200, 503));
    configure("max_in_flight: 2, max_queued: 0");
    session.systemctl(&["reload", "tqserver.service"]);
    assert_eq!(both_at_once(), (200, 200));
    assert_eq!(units(&session), instance, "nothing was restarted");
}
