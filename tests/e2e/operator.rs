//! What an operator sees of workers' work.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::thread;

use serde_json::Value;

use crate::project::{Project, commit, worker};
use crate::rollout::{empty, serving};
use crate::session::{PATIENCE, Session, get, send};
use crate::support::bed::Kind;
use crate::support::published;
use crate::support::wait::await_until;

/// A worker in a status document.
fn of<'a>(status: &'a Value, name: &str) -> &'a Value {
    let workers = status["workers"].as_array().unwrap();
    workers.iter().find(|worker| worker["name"] == name).unwrap()
}

#[test]
fn a_status_has_what_each_worker_did_of_late() {
    let (_project, session) = serving();
    for _ in 0..5 {
        assert_eq!(session.get("/").status, 200);
    }
    assert_eq!(session.get("/slow/0.2").status, 200);
    await_until("rates", PATIENCE, || of(&session.status(), "index")["load"].is_object());
    let status = session.status();
    let load = &of(&status, "index")["load"];
    assert!(load["requests_per_second"].as_f64().unwrap() > 0.1, "{load}");
    let millis = |name: &str| load[name].as_f64().unwrap();
    assert!(millis("p50_ms") < 200.0 && millis("p99_ms") >= 200.0, "{load}");
    assert_eq!(load["server_errors"], 0.0);
    let idle = &of(&status, "api")["load"];
    assert_eq!((&idle["requests_per_second"], &idle["p50_ms"]), (&Value::from(0.0), &Value::Null));
}

/// The series of `GET /metrics`, with their values.
pub(crate) fn series(session: &Session) -> BTreeMap<String, f64> {
    let text = session.metrics();
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    let parts = samples.map(|line| line.rsplit_once(' ').unwrap());
    parts.map(|(name, value)| (name.to_owned(), value.parse().unwrap())).collect()
}

#[test]
fn metrics_count_requests_and_no_client_makes_a_series() {
    let (project, session) = serving();
    await_until("a look at the units", PATIENCE, || {
        of(&session.status(), "index")["load"].is_object()
    });
    let before = series(&session);
    let requests = r#"tqserver_worker_requests_total{worker="index"}"#;
    assert_eq!(before[requests], 1.0);
    assert_eq!(before[r#"tqserver_probes_total{outcome="passed"}"#], 2.0);
    assert_eq!(before[r#"tqserver_rollout_step_duration_seconds_count{step="start"}"#], 2.0);
    assert_eq!(before["tqserver_manifest_inotify_active"], 1.0);
    for n in 0..20 {
        session.get(&format!("/path-{n}?worker=\"evil{n}\""));
        session.send(&format!(
            "METHOD{n} / HTTP/1.1\r\nHost: host{n}.example\r\nConnection: close\r\n\r\n"
        ));
        session.send(&format!(
            "GET /static/worker{n}/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        ));
        session.send(&format!("nonsense {n}\r\n\r\n"));
    }
    let after = series(&session);
    let names = |all: &BTreeMap<String, f64>| {
        let bounded = all.keys().filter(|name| !name.contains("worker_memory_bytes"));
        bounded.cloned().collect::<Vec<_>>()
    };
    assert_eq!(names(&before), names(&after));
    assert_eq!(after[requests], 41.0, "what is no request was not sent on");
    assert!(after[r#"tqserver_responses_total{class="4xx"}"#] >= 40.0, "{after:?}");

    project.deploy('2', &[worker("index", "well")]);
    assert_eq!(session.tqctl(&["reload", "--wait"]).status.code(), Some(0));
    session.get("/");
    let reloaded = series(&session);
    assert_eq!(reloaded[requests], 42.0, "a generation's figures outlive it");
    assert_eq!(reloaded.get(r#"tqserver_worker_up{worker="api"}"#), None);
    await_until("the count of the rollout", PATIENCE, || {
        series(&session)[r#"tqserver_rollouts_total{outcome="served"}"#] >= 1.0
    });
}

/// The last of the session's ports: workers get the first ones.
fn metrics_port(session: &Session) -> u16 {
    *session.worker_ports().end()
}

#[test]
fn metrics_are_on_a_port_of_loopback_if_configured() {
    let (project, session) = empty();
    let port = metrics_port(&session);
    project
        .configure(&format!("  metrics: {{listen: '127.0.0.1:{port}'}}\n"), &session.range_yaml());
    project.deploy('1', &[worker("index", "well")]);
    assert_eq!(session.get("/").status, 200);
    let ask = |head: &str| send(([127, 0, 0, 1], port).into(), &format!("{head}\r\n\r\n")).unwrap();
    let answer = ask("GET /metrics HTTP/1.1\r\nHost: localhost");
    assert_eq!(answer.status, 200);
    assert!(answer.head.contains("text/plain"), "{}", answer.head);
    assert!(answer.body.contains("tqserver_worker_requests_total{worker=\"index\"} 1\n"));
    for (head, status) in [
        ("GET /v1/status HTTP/1.1\r\nHost: localhost", 404),
        ("POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0", 405),
        ("GET /metrics HTTP/1.1\r\nHost: evil.example", 421),
    ] {
        assert_eq!(ask(head).status, status, "{head}");
    }
    // Whoever comes next has it as well, also before the one before has gone.
    session.systemctl(&["restart", "tqserver.service"]);
    assert_eq!(session.get("/").status, 200);
    assert_eq!(ask("GET /metrics HTTP/1.1\r\nHost: localhost").status, 200);
}

#[test]
fn a_port_for_metrics_that_is_taken_is_said_at_the_start() {
    let (project, session) = empty();
    let port = metrics_port(&session);
    let _stranger = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    project
        .configure(&format!("  metrics: {{listen: '127.0.0.1:{port}'}}\n"), &session.range_yaml());
    session.try_systemctl(&["start", "tqserver.service"]);
    await_until("the reason", PATIENCE, || {
        session.log().contains(&format!("server.metrics.listen: cannot listen on 127.0.0.1:{port}"))
    });
}

#[test]
fn a_restart_switches_to_a_new_generation_and_leaves_the_others() {
    let (_project, session) = serving();
    let others = of(&session.status(), "api")["generation"].clone();
    let output = session.tqctl(&["restart", "index"]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(said.contains("switched") && said.contains("started: index   kept: api"), "{said}");
    assert_eq!(session.get("/").body, "index well g2 /\n");
    assert_eq!(of(&session.status(), "api")["generation"], others);
    session.await_workers(2);

    let unknown = session.tqctl(&["restart", "nobody"]);
    assert_eq!(unknown.status.code(), Some(7));
    let said = String::from_utf8_lossy(&unknown.stdout).into_owned();
    assert!(said.contains("no worker nobody is deployed"), "{said}");
}

#[test]
fn a_drained_worker_finishes_what_it_has_and_stays_out_of_service() {
    let (project, session) = serving();
    let addr = session.addr();
    let slow = thread::spawn(move || send(addr, &get("/slow/1")).unwrap());
    await_until("it in flight", PATIENCE, || of(&session.status(), "index")["in_flight"] == 1);
    let output = session.tqctl(&["drain", "index"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(slow.is_finished(), "the drain has waited for it");
    assert_eq!(slow.join().unwrap().body, "index well g1 /slow/1\n");
    session.await_workers(1);

    let is_out = || {
        let answer = session.get("/");
        assert_eq!(answer.status, 503, "{}", answer.body);
        assert_eq!(session.get("/api").body, "api well g1 /\n");
        let status = session.status();
        assert_eq!(of(&status, "index")["state"], "drained");
        assert_eq!(status["state"], "serving", "as it is meant to be");
    };
    is_out();
    session.systemctl(&["restart", "tqserver.service"]);
    is_out();
    project.deploy('2', &[worker("index", "better"), worker("api", "well")]);
    session.systemctl(&["reload", "tqserver.service"]);
    is_out();

    let output = session.tqctl(&["restart", "index"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(session.get("/").body, "index better g2 /\n");
}

/// The events that a client hears, each by its schema, until `last` says that one is the last.
fn events_until(
    session: &Session,
    act: impl FnOnce(),
    last: impl Fn(&Value) -> bool,
) -> Vec<Value> {
    let mut curl = session.events();
    let lines = BufReader::new(curl.stdout.take().unwrap()).lines().map_while(Result::ok);
    act();
    let mut events = Vec::new();
    for line in lines {
        let Some(data) = line.strip_prefix("data: ") else { continue };
        events.push(published::document("event", data.as_bytes()));
        if last(events.last().unwrap()) {
            break;
        }
    }
    curl.kill().unwrap();
    curl.wait().unwrap();
    events
}

/// The phases that a generation of a worker came to.
fn phases(events: &[Value], worker: &str, generation: u64) -> Vec<String> {
    let of_it = events.iter().filter(|it| {
        it["kind"] == "generation" && it["worker"] == worker && it["generation"] == generation
    });
    of_it.map(|it| it["phase"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn rollouts_and_deaths_are_heard_as_they_happen() {
    let (project, session) = serving();
    let is_gone =
        |it: &Value| it["phase"] == "gone" && it["worker"] == "index" && it["generation"] == 1;
    let deploy = || _ = project.deploy('2', &[worker("index", "better"), worker("api", "well")]);
    let events = events_until(&session, deploy, is_gone);
    let index = phases(&events, "index", 2);
    let position = |phase: &str| index.iter().position(|it| it == phase);
    assert!(
        position("starting") < position("serving") && position("serving").is_some(),
        "{index:?}"
    );
    assert!(phases(&events, "index", 1).ends_with(&["gone".to_owned()]), "{events:#?}");
    assert!(!phases(&events, "api", 1).contains(&"gone".to_owned()), "it runs on");
    let second = commit('2');
    let rollouts: Vec<_> = events.iter().filter(|it| it["commit"] == second.as_str()).collect();
    let outcomes: Vec<_> = rollouts.iter().map(|it| it["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["begun", "served"]);
    assert!(rollouts[1]["took_ms"].is_number(), "{}", rollouts[1]);

    let crash =
        "POST /crash HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let act = || _ = session.send(crash);
    let events = events_until(&session, act, |it| it["kind"] == "died");
    let exit = &events.last().unwrap()["exit"];
    assert_eq!((&exit["kind"], &exit["code"]), (&"signal".into(), &9.into()), "{exit}");

    fs::write(project.manifest(), "nonsense").unwrap();
    let events = events_until(&session, || (), |it| it["kind"] == "refused");
    assert!(events.last().unwrap()["reason"].as_str().unwrap().contains("manifest.json"));
}

mod system_bed {
    use super::*;

    #[test]
    fn a_status_has_what_each_worker_uses() {
        let project = Project::new("", "");
        let session = Session::new(Kind::System, project.path(), |ports| {
            project.configure("", ports);
        });
        project.deploy('1', &[worker("index", "well")]);
        assert_eq!(session.get("/").status, 200, "{}", session.log());
        let known = |status: &Value| of(status, "index")["memory_bytes"].is_number();
        await_until("a look", PATIENCE, || known(&session.status()));
        let memory = of(&session.status(), "index")["memory_bytes"].as_u64().unwrap();
        assert!((1 << 16..1 << 30).contains(&memory), "{memory}");
        let unit = session.workers().into_keys().next().unwrap();
        let cpu = session.systemctl(&["show", "--value", "--property=CPUUsageNSec", &unit]);
        // Whether the kernel accounts it is up to the hierarchy of control groups.
        if cpu.trim().parse::<u64>().is_ok() {
            let known = |status: &Value| of(status, "index")["cpus_busy"].is_number();
            await_until("two looks", PATIENCE, || known(&session.status()));
        }
    }
}
