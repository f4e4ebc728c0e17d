//! Workers that die, or do harm while they live.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::thread;
use std::time::{Duration, Instant};

use crate::project::worker;
use crate::rollout::{configured, serving};
use crate::session::{PATIENCE, Session, get, send};
use crate::support::wait::await_until;

/// A request after which the worker is dead.
const CRASH: &str =
    "POST /crash HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// How often a worker was started, as tqserver's log has it.
fn starts(session: &Session, worker: &str) -> u32 {
    let unit = format!(": tq-worker@{worker}-");
    let log = session.log();
    let starts = log.lines().filter(|line| line.contains(" starting g") && line.contains(&unit));
    u32::try_from(starts.count()).unwrap()
}

#[test]
fn a_crash_loop_is_tried_less_and_less_often_and_ends_by_itself() {
    let (project, session) = configured("", "");
    let down = project.path().join("down");
    let env = format!("  hold_seconds: 1\n  default:\n    env: {{DOWN_WHILE: {down:?}}}\n");
    project.configure("", &(session.range_yaml() + &env));
    project.deploy('1', &[worker("index", "well"), worker("api", "well")]);
    assert_eq!(session.get("/").status, 200);

    fs::write(&down, "").unwrap();
    let begun = Instant::now();
    assert_eq!(session.send(CRASH).status, 502);
    await_until("the wait for the next attempt", PATIENCE, || {
        session.status()["workers"][1]["state"] == "backoff"
    });
    let answer = session.get("/");
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.head.to_lowercase().contains("retry-after:"), "{}", answer.head);
    assert_eq!(session.get("/api").status, 200, "the other one does not notice");
    let status = session.status();
    assert_eq!(status["state"], "degraded");
    let failure = status["workers"][1]["last_failure"].to_string();
    assert!(failure.contains("exited 4"), "{status:#}");
    // Each wait is twice as long as the last, so that many attempts take at least this long.
    let attempts = starts(&session, "index") - 1;
    let waits = Duration::from_millis(100) * (2_u32.pow(attempts) - 1);
    assert!((1..20).contains(&attempts) && begun.elapsed() >= waits, "{attempts} attempts");

    fs::remove_file(&down).unwrap();
    await_until("its return", PATIENCE, || session.get("/").status == 200);
    assert_eq!(session.status()["state"], "serving");
    session.await_workers(2);
}

#[test]
fn a_reload_does_not_wait_for_the_next_attempt() {
    let (project, session) = configured("", "");
    let down = project.path().join("down");
    let env = format!("  restart_delay_ms: 60000\n  default:\n    env: {{DOWN_WHILE: {down:?}}}\n");
    project.configure("", &(session.range_yaml() + &env));
    project.deploy('1', &[worker("index", "well"), worker("api", "well")]);
    assert_eq!(session.get("/").status, 200);
    assert_eq!(session.send(CRASH).status, 502);
    await_until("the long wait", PATIENCE, || session.status()["workers"][1]["state"] == "backoff");
    session.systemctl(&["reload", "tqserver.service"]);
    assert_eq!(session.get("/").body, "index well g2 /\n");
}

#[test]
fn a_worker_that_somebody_stops_comes_back() {
    let (_project, session) = serving();
    let unit = session.workers().into_keys().find(|unit| unit.contains("@index-")).unwrap();
    session.systemctl(&["stop", &unit]);
    assert_eq!(session.get("/").body, "index well g2 /\n");
    session.await_workers(2);
}

#[test]
fn a_death_during_a_rollout_that_hangs_is_made_good_at_once() {
    let (project, session) = serving();
    project.deploy('2', &[worker("index", "hang"), worker("api", "well")]);
    session.await_workers(3);
    assert_eq!(session.send(CRASH).status, 502);
    assert_eq!(session.get("/").body, "index well g3 /\n");
    project.deploy('3', &[worker("index", "better"), worker("api", "well")]);
    session.await_body("/", "index better g4 /\n");
    session.await_workers(2);
}

#[test]
fn a_flood_of_output_disturbs_nobody_and_is_bounded() {
    let (_project, session) = serving();
    let addr = session.addr();
    let flood = thread::spawn(move || send(addr, &get("/flood/100")));
    while !flood.is_finished() {
        assert_eq!(session.get("/").body, "index well g1 /\n");
        assert_eq!(session.get("/api").body, "api well g1 /\n");
    }
    assert_eq!(flood.join().unwrap().unwrap().status, 200);

    let stats = || {
        let files = fs::read_dir(session.runtime_file("output")).unwrap();
        files.map(|file| file.unwrap().metadata().unwrap()).collect::<Vec<_>>()
    };
    assert!(stats().iter().any(|stat| stat.len() >= 100 << 20), "all of it was written");
    await_until("files of a bounded size", PATIENCE, || {
        stats().iter().all(|stat| stat.blocks() * 512 <= 1 << 20)
    });
}
