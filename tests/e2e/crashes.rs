//! Workers that die, or do harm while they live.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::load::point_at;
use crate::project::worker;
use crate::rollout::{configured, serving};
use crate::samples::Samples;
use crate::session::{Answer, PATIENCE, Session, get, send};
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
    let exit = &status["workers"][1]["last_exit"];
    assert_eq!((&exit["kind"], &exit["code"]), (&"exited".into(), &4.into()), "{status:#}");
    // The first is at once, and each wait is twice as long as the last, so that many attempts take
    // at least this long.
    let attempts = starts(&session, "index") - 1;
    let waits = Duration::from_millis(100) * (2_u32.pow(attempts - 1) - 1);
    assert!((1..20).contains(&attempts) && begun.elapsed() >= waits, "{attempts} attempts");
    assert_eq!(status["workers"][1]["restarts"], attempts);

    fs::remove_file(&down).unwrap();
    await_until("its return", PATIENCE, || session.get("/").status == 200);
    assert_eq!(session.status()["state"], "serving");
    session.await_workers(2);
}

#[test]
fn a_crash_loop_opens_the_breaker_and_requests_are_refused_instead_of_held() {
    let (project, session) = configured("", "");
    let down = project.path().join("down");
    // Held requests would wait for longer than this test does.
    let more = format!(
        "  hold_seconds: 300\n  restart_delay_ms: 200\n  default:\n    env: {{DOWN_WHILE: {down:?}}}\n"
    );
    project.configure("", &(session.range_yaml() + &more));
    project.deploy('1', &[worker("index", "well"), worker("api", "well")]);
    assert_eq!(session.get("/").status, 200);
    fs::write(&down, "").unwrap();
    assert_eq!(session.send(CRASH).status, 502);
    let addr = session.addr();
    let held = thread::spawn(move || send(addr, &get("/")));
    await_until("the open breaker", PATIENCE, || {
        session.status()["workers"][1]["breaker"] == "open"
    });
    let held = held.join().unwrap().unwrap();
    assert_eq!(held.status, 503, "who waited is let go");

    let refused = session.get("/");
    let head = refused.head.to_lowercase();
    let after = head.lines().find_map(|line| line.strip_prefix("retry-after: ")).unwrap();
    assert_eq!(refused.status, 503);
    assert!((1..=31).contains(&after.parse::<u64>().unwrap()), "the next attempt's: {after}");
    assert_eq!(session.get("/api").status, 200, "the other one does not notice");
    let text = String::from_utf8(session.tqctl(&["status"]).stdout).unwrap();
    assert!(text.contains("exited 4") && text.contains("breaker open"), "{text}");

    fs::remove_file(&down).unwrap();
    await_until("an attempt that serves", PATIENCE, || session.get("/").status == 200);
    assert_eq!(session.status()["workers"][1]["breaker"], "half_open", "it has yet to last");
    session.await_workers(2);
}

/// What systemd says of a unit's times, in microseconds of the steady clock.
fn times(session: &Session, unit: &str) -> (u64, u64) {
    let time = |property| {
        let text = session.systemctl(&["show", "--value", "-p", property, unit]);
        text.trim().parse::<u64>().unwrap()
    };
    (time("ExecMainStartTimestampMonotonic"), time("ActiveEnterTimestampMonotonic"))
}

pub fn unit_of(session: &Session, worker: &str) -> String {
    let prefix = format!("tq-worker@{worker}-");
    let unit = session.workers().into_keys().find(|unit| unit.starts_with(&prefix));
    unit.unwrap_or_else(|| panic!("{worker} has no unit"))
}

/// The promise is 100 ms beyond what the worker itself takes to start. Three times, as whatever else
/// the machine is at must not decide this.
#[test]
fn after_a_sigkill_under_load_the_next_answer_is_a_start_away_and_no_get_is_lost() {
    let (project, session) = configured("", "");
    project.configure("", &(session.range_yaml() + "  restart_delay_ms: 1\n"));
    project.deploy('1', &[worker("index", "well"), worker("api", "well")]);
    assert_eq!(session.get("/").status, 200);
    let (addr, stop) = (session.addr(), AtomicBool::new(false));
    let answers = Mutex::new(Vec::new());
    let mut beyond = Vec::new();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let answer = send(addr, &get("/"));
                    answers.lock().unwrap().push((Instant::now(), answer));
                }
            });
        }
        for kill in 1..=3 {
            let until = answers.lock().unwrap().len() + 100;
            await_until("load", PATIENCE, || answers.lock().unwrap().len() >= until);
            let unit = unit_of(&session, "index");
            session.systemctl(&["kill", "--signal=KILL", &unit]);
            let killed = Instant::now();
            let next = format!("index well g{} /\n", kill + 1);
            let first = || {
                let answers = answers.lock().unwrap();
                let is_next = |answer: &Result<Answer, String>| {
                    answer.as_ref().is_ok_and(|answer| answer.body == next)
                };
                answers.iter().find(|(_, answer)| is_next(answer)).map(|(at, _)| *at)
            };
            await_until("an answer of the next generation", PATIENCE, || first().is_some());
            let took = first().unwrap().saturating_duration_since(killed);
            let (begun, ready) = times(&session, &unit_of(&session, "index"));
            beyond.push(took.saturating_sub(Duration::from_micros(ready - begun)));
        }
        stop.store(true, Ordering::Relaxed);
    });
    eprintln!("beyond the worker's own start: {beyond:?}");
    assert!(beyond.iter().min().unwrap() <= &Duration::from_millis(100), "{beyond:?}");
    let lost: Vec<_> = answers
        .into_inner()
        .unwrap()
        .into_iter()
        .filter(|(_, answer)| !answer.as_ref().is_ok_and(|answer| answer.status == 200))
        .collect();
    assert!(lost.is_empty(), "{lost:#?}\n{}", session.log());
    let status = session.status();
    let index = &status["workers"][1];
    assert_eq!((&index["restarts"], &index["breaker"]), (&3.into(), &"closed".into()));
    let exit = &index["last_exit"];
    assert_eq!((&exit["kind"], &exit["code"]), (&"signal".into(), &9.into()), "{status:#}");
    assert_eq!(exit["generation"], 3);
    session.await_workers(2);
}

/// How the last process of `index` ended.
fn last_exit(session: &Session) -> String {
    session.status()["workers"][1]["last_exit"]["kind"].to_string()
}

#[test]
fn a_worker_that_misses_its_watchdog_is_replaced() {
    let (project, session) = configured("", "  hold_seconds: 60\n");
    let watched = |digit, ready| {
        let index = worker("index", "well").yaml(&format!("watchdog_seconds: 1\n{ready}"));
        project.deploy(digit, &[index, worker("api", "well")]);
    };
    watched('1', "");
    assert_eq!(session.get("/env/WATCHDOG_USEC").body, "1000000");
    assert_eq!(session.get("/api/env/WATCHDOG_USEC").body, "", "only who asks has one");
    let silent = unit_of(&session, "index");
    assert_eq!(session.get("/freeze").body, "index well g1 /freeze\n");
    await_until("its end", PATIENCE, || last_exit(&session) == "\"watchdog\"");
    assert_eq!(session.get("/").body, "index well g2 /\n");
    await_until("the silent one is gone", PATIENCE, || !session.workers().contains_key(&silent));
    // One that cannot say READY can say that it lives.
    watched('2', "ready: http\n");
    session.await_body("/", "index well g3 /\n");
    assert_eq!(session.get("/freeze").body, "index well g3 /freeze\n");
    session.await_body("/", "index well g4 /\n");
}

#[test]
fn a_worker_that_feeds_its_watchdog_is_left_alone() {
    let samples = Samples::new();
    let yaml = samples.path().join("workers/index/config/worker.yaml");
    fs::write(yaml, "watchdog_seconds: 1\n").unwrap();
    let session = Session::user(samples.path(), |ports| samples.configure(ports));
    point_at(&samples, &samples.build("with a watchdog"));
    assert_eq!(session.get("/").status, 200, "{}", session.log());
    let before = session.workers();
    let unit = unit_of(&session, "index");
    let (_, ready) = times(&session, &unit);
    await_until("food after its limit", PATIENCE, || {
        let fed = ["show", "--value", "-p", "WatchdogTimestampMonotonic", &unit];
        session.systemctl(&fed).trim().parse::<u64>().unwrap() > ready + 2_000_000
    });
    assert_eq!(session.workers(), before);
}

#[test]
fn instances_that_have_taken_max_requests_are_replaced_and_no_request_notices() {
    let (project, session) = configured("", "");
    let index = worker("index", "well").yaml("max_requests: 20\ninstances: 2\n");
    project.deploy('1', &[index, worker("api", "well")]);
    let mut seen = BTreeSet::new();
    let mut requests = 0;
    await_until("the sixth instance", PATIENCE, || {
        let answer = session.get("/");
        // Which port answered is no business of a client, and the generation stays the same.
        assert_eq!(answer.body, "index well g1 /\n", "{answer:?}\n{}", session.log());
        requests += 1;
        if requests % 10 == 0 {
            // One that ends has no process any more.
            let live = session.workers().into_iter().filter(|(_, pid)| *pid != 0);
            seen.extend(live.filter(|(unit, _)| unit.contains("@index")));
        }
        seen.len() >= 6
    });
    // Each serves until its successor is ready, and at most a tenth earlier is worn out.
    assert!(requests >= 4 * 18, "{requests} requests, {seen:?}");
    session.await_workers(3);
    assert_eq!(session.get("/api").body, "api well g1 /\n");
    let status = session.status();
    let index = &status["workers"][1];
    assert_eq!((&index["restarts"], &status["state"]), (&0.into(), &"serving".into()));
    assert!(index["last_exit"].is_null(), "{status:#}");
}

#[test]
fn an_instance_that_is_not_well_any_more_is_replaced_by_one_that_is() {
    let (project, session) = configured("", "");
    let ill = project.path().join("ill");
    let health = "health_interval_seconds: 1, health_failures: 2, instances: 2";
    let default = format!("  default: {{{health}, env: {{ILL_IN: {ill:?}}}}}\n");
    project.configure("", &(session.range_yaml() + &default));
    fs::write(&ill, "nobody").unwrap();
    project.deploy('1', &[worker("index", "well")]);
    assert_eq!(session.get("/").status, 200, "{}", session.log());
    session.await_workers(2);
    let before = session.workers();

    let patient = before.first_key_value().unwrap().0;
    fs::write(&ill, patient.rsplit(['-', '.']).nth(1).unwrap()).unwrap();
    await_until("another in its place", PATIENCE, || {
        assert_eq!(session.get("/").body, "index well g1 /\n");
        let now = session.workers();
        now.len() == 2 && !now.contains_key(patient)
    });
    let after = session.workers();
    assert_eq!(after.iter().filter(|(unit, pid)| before.get(*unit) == Some(pid)).count(), 1);
    let warnings = session.status()["warnings"].to_string();
    assert!(warnings.contains(&format!("{patient} is not well")), "{warnings}");

    // Where all are ill, so is each successor: what serves is not given up for it.
    fs::write(&ill, "all").unwrap();
    await_until("a successor that is ill", PATIENCE, || {
        session.status()["warnings"].to_string().contains("no successor for")
    });
    assert_eq!(session.get("/").body, "index well g1 /\n");
    assert!(after.iter().all(|(unit, pid)| session.workers().get(unit) == Some(pid)));
}

#[test]
fn a_reload_does_not_wait_for_the_next_attempt() {
    let (project, session) = configured("", "");
    let down = project.path().join("down");
    let env = format!("  restart_delay_ms: 60000\n  default:\n    env: {{DOWN_WHILE: {down:?}}}\n");
    project.configure("", &(session.range_yaml() + &env));
    project.deploy('1', &[worker("index", "well"), worker("api", "well")]);
    assert_eq!(session.get("/").status, 200);
    fs::write(&down, "").unwrap();
    assert_eq!(session.send(CRASH).status, 502);
    await_until("the long wait", PATIENCE, || session.status()["workers"][1]["state"] == "backoff");
    fs::remove_file(&down).unwrap();
    session.systemctl(&["reload", "tqserver.service"]);
    assert_eq!(session.get("/").body, "index well g3 /\n");
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

/// A user's manager may not limit memory with cgroups of version 1.
mod system_bed {
    use super::last_exit;
    use crate::project::{Project, worker};
    use crate::session::{PATIENCE, Session, get, send};
    use crate::support::bed::Kind;
    use crate::support::wait::await_until;

    #[test]
    fn a_worker_that_uses_more_memory_than_it_may_for_long_is_replaced_and_no_request_notices() {
        let project = Project::new("", "");
        let session = Session::new(Kind::System, project.path(), |ports| {
            project.configure("", ports);
        });
        let index = worker("index", "well").yaml("memory_high: 200M\n");
        project.deploy('1', &[index, worker("api", "well")]);
        assert_eq!(session.get("/").body, "index well g1 /\n");
        let before = session.workers();
        session.get("/grow");
        let slow = std::thread::spawn({
            let addr = session.addr();
            move || send(addr, &get("/slow/15")).unwrap()
        });
        await_until("a successor", PATIENCE, || {
            let after = session.workers();
            let is_new = |unit: &&String| unit.contains("index") && !before.contains_key(*unit);
            assert_eq!(session.get("/").status, 200);
            after.keys().any(|unit| is_new(&unit))
        });
        assert_eq!(slow.join().unwrap().status, 200, "it finished what it had");
        session.await_workers(2);
        assert_eq!(session.get("/").body, "index well g1 /\n", "an instance was replaced");
        let status = session.status();
        let warnings = status["warnings"].to_string();
        assert!(warnings.contains("MiB, more than memory_high"), "{warnings}");
    }

    #[test]
    fn a_worker_that_is_out_of_memory_is_replaced() {
        let project = Project::new("", "");
        let session = Session::new(Kind::System, project.path(), |ports| {
            project.configure("", ports);
        });
        let index = worker("index", "well").yaml("memory_max: 64M\n");
        project.deploy('1', &[index, worker("api", "well")]);
        assert_eq!(session.get("/").body, "index well g1 /\n");
        session.get("/grow");
        // With cgroups of version 1 systemd does not learn why.
        let ends = ["\"out_of_memory\"", "\"signal\""];
        await_until("its end", PATIENCE, || ends.contains(&&*last_exit(&session)));
        assert_eq!(session.get("/").body, "index well g2 /\n");
        assert_eq!(session.get("/api").body, "api well g1 /\n");
        session.await_workers(2);
    }
}
