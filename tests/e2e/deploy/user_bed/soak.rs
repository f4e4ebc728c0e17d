//! Deployments that are watched, with more or less traffic.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde_json::{Value, json};
use tqserver::store::deployment::Deployment;

use super::killed::signal;
use super::{both, serving};
use crate::deploy::host::{Host, said};
use crate::session::{PATIENCE, get, send};
use crate::support::wait::await_until;

/// Has so many requests answered, some at a time.
fn requests(addr: SocketAddr, path: &str, count: usize) {
    let sent = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(|| {
                while sent.fetch_add(1, Ordering::Relaxed) < count {
                    send(addr, &get(path)).unwrap();
                }
            });
        }
    });
}

/// A deployment that is being watched.
struct Watched {
    deploying: Child,
    lines: Box<dyn Iterator<Item = String>>,
}

impl Watched {
    /// Deploys, and returns when the watching has begun.
    fn begin(host: &Host, deployment: &Deployment, soak: &str) -> Self {
        let mut deploying = host
            .command()
            .args(["-v", "deploy", "away", deployment.git_commit.as_str(), "--soak", soak])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(deploying.stderr.take().unwrap());
        let mut lines = stderr.lines().map_while(Result::ok);
        assert!(lines.any(|line| line.contains("6/6 soak")));
        Self { deploying, lines: Box::new(lines) }
    }

    fn has_ended(&mut self) -> bool {
        self.deploying.try_wait().unwrap().is_some()
    }

    /// How it ended, and what was said.
    fn end(mut self) -> (Option<i32>, String) {
        let said = self.lines.collect::<Vec<_>>().join("\n");
        (self.deploying.wait().unwrap().code(), said)
    }

    /// It ended with the deployment before serving again.
    #[track_caller]
    fn assert_went_back(self, host: &Host, first: &Deployment, reason: &str) {
        let (code, said) = self.end();
        assert_eq!(code, Some(7), "{said}\n{}", host.session.log());
        assert!(said.contains("rolled back: ") && said.contains(reason), "{said}");
        assert_eq!(host.wanted().as_ref(), Some(&first.git_commit));
        assert_eq!(host.mode(), "old");
        let status = host.session.status();
        assert_eq!((&status["state"], &status["failed"]), (&json!("serving"), &Value::Null));
        assert_eq!(status["last_good"], first.git_commit.as_str());
        host.await_free();
        assert_eq!(host.others(), [".lock", "manifest.json"]);
    }
}

#[test]
fn a_worker_that_dies_while_it_is_watched_is_a_reason_to_go_back() {
    let (host, first, second) = serving("");
    let mut watched = Watched::begin(&host, &second, "60s");
    // A worker dies of each of these, and they are not tried again.
    let crash =
        "POST /crash HTTP/1.1\r\nHost: test\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    await_until("the end of the deployment", PATIENCE, || {
        let _ = send(host.session.addr(), crash);
        watched.has_ended()
    });
    watched.assert_went_back(&host, &first, "index");
}

#[test]
fn one_worker_that_fails_is_found_though_another_is_busy_and_well() {
    let (host, first, second) = serving("");
    let addr = host.session.addr();
    requests(addr, "/api", 50);
    let mut watched = Watched::begin(&host, &second, "60s");
    // Of all answers less than one in a hundred fails.
    requests(addr, "/", 800);
    assert!(!watched.has_ended());
    requests(addr, "/api/fail", 7);
    watched.assert_went_back(&host, &first, "api: ");

    // The history names who did what, and that nobody asked for the way back.
    let output = host.tqctl(&["--json", "history", "away"]);
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let rollouts = document["hosts"]["127.0.0.1"].as_array().unwrap();
    let told: Vec<_> = rollouts
        .iter()
        .map(|it| (it["commit"].as_str().unwrap(), it["failure"].is_null(), &it["by"]["verb"]))
        .collect();
    let (old, new) = (first.git_commit.as_str(), second.git_commit.as_str());
    let (deploy, soak) = (json!("deploy"), json!("soak"));
    let expected =
        [(old, true, &soak), (new, false, &deploy), (new, true, &deploy), (old, true, &deploy)];
    assert_eq!(told, expected, "{}", said(&output));
    assert!(rollouts[1]["failure"].as_str().unwrap().contains("api: "));
    // By ssh came the second one; the first was deployed without.
    let from = |number: usize| &rollouts[number]["by"]["from"];
    assert_eq!(
        (from(0), from(1), from(3)),
        (&json!("127.0.0.1"), &json!("127.0.0.1"), &Value::Null)
    );
}

#[test]
fn a_worker_that_is_much_slower_than_before_is_found() {
    let (host, first, second) = serving("");
    let addr = host.session.addr();
    requests(addr, "/api", 150);
    let mut watched = Watched::begin(&host, &second, "60s");
    await_until("the end of the deployment", PATIENCE, || {
        requests(addr, "/api/slow/0.6", 50);
        watched.has_ended()
    });
    watched.assert_went_back(&host, &first, "api: p99 is ");
}

#[test]
fn what_is_allowed_is_configured_where_it_serves() {
    let (host, _, second) = serving("");
    let text = "deployment:\n  prod:\n    soak:\n      errors_percent: 100\n      p99_factor: 0\n";
    std::fs::write(host.server.path().join("config/deployment.yaml"), text).unwrap();
    let addr = host.session.addr();
    requests(addr, "/api", 150);
    let watched = Watched::begin(&host, &second, "8s");
    requests(addr, "/api/fail", 50);
    requests(addr, "/api/slow/0.6", 60);
    let (code, said) = watched.end();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("110 requests, 50 failed"), "{said}");
    assert_eq!(host.mode(), "new");
}

#[test]
fn without_any_request_there_is_nothing_against_it() {
    let (host, _, second) = serving("");
    let (code, said) = Watched::begin(&host, &second, "600ms").end();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("no requests"), "{said}");
    assert_eq!(host.mode(), "new");
}

#[test]
fn a_tqserver_that_is_restarted_goes_on_watching() {
    let (host, first, second) = serving("");
    let watched = Watched::begin(&host, &second, "60s");
    let pid = host.session.signal("KILL");
    host.session.await_other_than(pid);
    // It does not know what was before; who fails is found nevertheless.
    await_until("it answers", PATIENCE, || send(host.session.addr(), &get("/api")).is_ok());
    requests(host.session.addr(), "/api/fail", 20);
    // It may be found before all have failed.
    watched.assert_went_back(&host, &first, " answers failed");
}

#[test]
fn tqserver_goes_back_also_where_nobody_waits_for_it() {
    let (host, first, second) = serving("");
    let watched = Watched::begin(&host, &second, "60s");
    signal(&host, "-KILL", false, &format!("{} host-session", env!("CARGO_BIN_EXE_tqctl")));
    assert_eq!(watched.end().0, Some(4));
    requests(host.session.addr(), "/api/fail", 20);
    await_until("the old one serves again", PATIENCE, || host.is_in("old"));
    // Nobody was left to put the manifest back. What failed is not tried again for that.
    assert_eq!(host.wanted().as_ref(), Some(&second.git_commit));
    let pid = host.session.signal("KILL");
    host.session.await_other_than(pid);
    await_until("it answers", PATIENCE, || send(host.session.addr(), &get("/api")).is_ok());
    let status = host.session.status();
    assert_eq!((&status["state"], host.mode().as_str()), (&json!("degraded"), "old"), "{status}");
    assert_eq!(status["failed"]["commit"], second.git_commit.as_str());
    host.deploy("away", &first);
    assert_eq!(host.session.status()["state"], "serving");
}

#[test]
fn where_nothing_served_before_there_is_no_way_back() {
    let host = Host::new("");
    let first = host.build('1', &both("old"));
    let watched = Watched::begin(&host, &first, "60s");
    requests(host.session.addr(), "/api/fail", 20);
    let (code, said) = watched.end();
    assert_eq!(code, Some(8), "{said}");
    let reason = "could not go back: there is no deployment that served well before it";
    assert!(said.contains("api: ") && said.contains(reason), "{said}");
    assert_eq!((host.mode().as_str(), host.wanted()), ("old", Some(first.git_commit)));
}
