//! What an operator sees of workers' work.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::project::{Project, worker};
use crate::rollout::serving;
use crate::session::{PATIENCE, Session};
use crate::support::bed::Kind;
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
fn series(session: &Session) -> BTreeMap<String, f64> {
    let mut curl = session.bed.command("curl");
    curl.args(["--silent", "--fail", "--unix-socket"]).arg(session.control_path());
    let output = curl.arg("http://localhost/metrics").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
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
