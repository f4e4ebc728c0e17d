//! tqserver goes and comes back; workers and connections do not notice.

use std::fs;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use crate::project::worker;
use crate::rollout::{empty, serving};
use crate::session::{PATIENCE, Session};
use crate::support::wait::await_until;

/// Connects again and again until stopped; counts, and remembers who refused.
pub struct Callers {
    stop: Arc<AtomicBool>,
    calls: Arc<AtomicU64>,
    threads: Vec<thread::JoinHandle<Vec<String>>>,
}

impl Callers {
    /// Begins.
    pub fn start(session: &Session) -> Self {
        let (stop, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let threads = (0..4)
            .map(|_| {
                let (stop, calls, addr) = (Arc::clone(&stop), Arc::clone(&calls), session.addr());
                thread::spawn(move || {
                    let mut refused = Vec::new();
                    while !stop.load(Ordering::Relaxed) {
                        match TcpStream::connect(addr) {
                            Ok(_) => calls.fetch_add(1, Ordering::Relaxed),
                            Err(error) => {
                                refused.push(error.to_string());
                                0
                            }
                        };
                        thread::sleep(std::time::Duration::from_millis(5));
                    }
                    refused
                })
            })
            .collect();
        Self { stop, calls, threads }
    }

    fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// Waits for so many more calls.
    pub fn go_on(&self, more: u64) {
        let until = self.calls() + more;
        await_until("more calls", PATIENCE, || self.calls() >= until);
    }

    /// Ends; nobody may have been refused.
    pub fn finish(self) {
        self.stop.store(true, Ordering::Relaxed);
        let refused: Vec<_> =
            self.threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        assert!(refused.is_empty(), "{refused:?}");
    }
}

#[test]
fn restarts_and_kills_refuse_no_connection_and_adopt_the_workers() {
    let (_project, session) = serving();
    let before = session.workers();
    let callers = Callers::start(&session);
    for _ in 0..3 {
        session.systemctl(&["restart", "tqserver.service"]);
        assert_eq!(session.get("/").body, "index well g1 /\n");
        callers.go_on(20);
        let killed = session.signal("KILL");
        session.await_other_than(killed);
        assert_eq!(session.get("/api").body, "api well g1 /\n");
        callers.go_on(20);
    }
    callers.finish();
    assert_eq!(session.workers(), before, "same units, same processes");
}

#[test]
fn a_restart_finishes_the_requests_it_has() {
    let (_project, session) = serving();
    let addr = session.addr();
    let slow = thread::spawn(move || {
        use std::io::{Read, Write};
        let mut stream = TcpStream::connect(addr).unwrap();
        stream
            .write_all(b"GET /slow/1.5 HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n")
            .unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    });
    await_until("the request is in flight", PATIENCE, || {
        session.status()["counters"]["in_flight"] == 1
    });
    session.systemctl(&["restart", "tqserver.service"]);
    assert!(slow.join().unwrap().ends_with("index well g1 /slow/1.5\n"));
}

#[test]
fn what_a_killed_daemon_was_starting_is_cleared_away() {
    let (project, session) = serving();
    project.deploy('2', &[worker("index", "hang"), worker("api", "well")]);
    session.await_workers(3);
    session.signal("KILL");
    project.deploy('3', &[worker("index", "better"), worker("api", "well")]);
    await_until("the third deployment", PATIENCE, || session.get("/").body.contains("better"));
    session.await_workers(2);
}

/// The file's status is what the watch remembers: slowed down, it would remember what the rollout has not
/// read. And the rollout, slowed down, hears of the change when it is about to read what was there before.
#[test]
fn a_manifest_that_is_replaced_while_it_starts_is_noticed() {
    let (project, session) = serving();
    session.systemctl(&["stop", "tqserver.service"]);
    let second = project.build('2', &[worker("index", "better"), worker("api", "well")]);
    let trace = project.path().join("trace");
    session.run_by(&format!(
        "strace --daemonize=grandchild --follow-forks --quiet=all --output={} \
         --trace-path={} --inject=statx:delay_enter=1s",
        trace.display(),
        project.manifest().display()
    ));
    session.systemctl(&["start", "--no-block", "tqserver.service"]);
    await_until("a look at the manifest", PATIENCE, || {
        let calls = fs::read_to_string(&trace).unwrap_or_default();
        calls.lines().any(|call| call.contains(" open"))
    });
    project.activate(&second);
    await_until("the second deployment", PATIENCE, || session.get("/").body.contains("better"));
}

#[test]
fn stopping_the_service_stops_the_workers_and_a_request_brings_them_back() {
    let (_project, session) = serving();
    session.systemctl(&["stop", "tqserver.service"]);
    session.await_workers(0);
    assert_eq!(session.get("/").body, "index well g2 /\n");
}

#[test]
fn the_manager_may_reexecute_itself() {
    let (project, session) = serving();
    session.systemctl(&["daemon-reexec"]);
    session.systemctl(&["daemon-reload"]);
    project.deploy('2', &[worker("index", "better"), worker("api", "well")]);
    await_until("the new index", PATIENCE, || session.get("/").body == "index better g2 /\n");
}

#[test]
fn a_worker_that_ignores_sigterm_is_killed_after_the_grace() {
    let (project, session) = empty();
    project.deploy('1', &[worker("index", "stubborn")]);
    session.get("/");
    project.deploy('2', &[worker("index", "well")]);
    await_until("the new index", PATIENCE, || session.get("/").body == "index well g2 /\n");
    session.await_workers(1);
}
