//! Deployments that come to serve by degrees.

use std::fs;
use std::thread;

use jiff::Timestamp;
use serde_json::{Value, json};
use tqserver::canary::CanaryPlan;
use tqserver::store::activate::{Wish, activate_as};
use tqserver::store::deployment::Deployment;
use tqserver::store::lock::DeployLock;

use crate::handover::Program;
use crate::project::{Project, commit, worker};
use crate::rollout::{empty, serving};
use crate::session::{PATIENCE, Session, send};
use crate::support::published;
use crate::support::wait::await_until;

/// Whose requests go to a canary in these tests.
const TESTER: &str = "GET / HTTP/1.1\r\nHost: test\r\nX-Canary: yes\r\nConnection: close\r\n\r\n";

/// Points the manifest at a deployment that is to serve by degrees.
fn activate(project: &Project, deployment: &Deployment, steps: &[u8], seconds: Option<u64>) {
    let lock = DeployLock::acquire(&project.deploy_dir(), "test", Timestamp::now()).unwrap();
    let testers = Some("header:X-Canary=yes".parse().unwrap());
    let canary = Some(CanaryPlan { steps: steps.to_vec(), step_seconds: seconds, testers });
    activate_as(&lock, deployment, Wish { by: None, canary }, Timestamp::now(), 10).unwrap();
}

/// `index` and `api` serve; another `index`, with public files of its own, serves testers alone.
fn tested() -> (Project, Session) {
    let (project, session) = serving();
    let index = worker("index", "better").public("style-2.css", "new");
    let second = project.build('2', &[index, worker("api", "well")]);
    activate(&project, &second, &[0], None);
    session.systemctl(&["reload", "tqserver.service"]);
    await_until("the canary", PATIENCE, || !session.status()["canary"].is_null());
    (project, session)
}

fn verdict(session: &Session, what: &str, exit: i32) -> Value {
    let output = session.tqctl(&["--json", "rollout", what]);
    assert_eq!(output.status.code(), Some(exit), "{output:?}\n{}", session.log());
    published::document("verdict", &output.stdout)
}

#[test]
fn testers_are_served_by_the_new_generation_until_it_is_promoted() {
    let (_project, session) = tested();
    assert_eq!(session.get("/").body, "index well g1 /\n");
    assert_eq!(session.send(TESTER).body, "index better g2 /\n");
    assert_eq!(session.get("/static/index/style-2.css").body, "new", "its pages name them");
    let status = session.status();
    let expected = json!({
        "commit": commit('2').as_str(), "share_percent": 0, "next_percents": [],
        "next_at": null, "testers": "header:X-Canary=yes",
    });
    assert_eq!(status["canary"], expected);
    let index = &status["workers"][1];
    assert_eq!((&index["generation"], &index["canaries"][0]["generation"]), (&json!(1), &json!(2)));
    let shown = String::from_utf8(session.tqctl(&["status"]).stdout).unwrap();
    let line = "· 2222222 serves 0 % of requests as a canary, and to header:X-Canary=yes; \
                all by `tqctl rollout promote`";
    assert!(shown.contains(line) && shown.contains("canary 0"), "{shown}");
    let shown = session.tqctl(&["rollout", "status"]);
    assert_eq!(shown.status.code(), Some(3), "{shown:?}");
    // Who asks again while it lasts is told of it, and nothing is begun anew.
    assert_eq!(session.tqctl(&["reload", "--wait"]).status.code(), Some(0));
    assert_eq!(session.send(TESTER).body, "index better g2 /\n");

    let workers = session.workers();
    assert_eq!(verdict(&session, "promote", 0)["outcome"], "switched");
    assert_eq!(session.get("/").body, "index better g2 /\n");
    session.await_workers(2);
    assert!(session.workers().iter().all(|(unit, pid)| workers.get(unit) == Some(pid)));
    assert_eq!(session.status()["state"], "serving");
    assert_eq!(verdict(&session, "promote", 7)["outcome"], "refused", "there is none any more");
}

#[test]
fn what_is_aborted_serves_nobody_and_is_not_tried_again() {
    let (_project, session) = tested();
    assert_eq!(verdict(&session, "abort", 0)["outcome"], "failed");
    assert_eq!(session.send(TESTER).body, "index well g1 /\n");
    session.await_workers(2);
    let status = session.status();
    assert_eq!(status["failed"]["commit"], commit('2').as_str());
    let reason = status["failed"]["reason"].as_str().unwrap();
    assert_eq!(reason, "index g2 was given up as a canary: by hand");
    let pid = session.signal("KILL");
    session.await_other_than(pid);
    assert_eq!(session.send(TESTER).body, "index well g1 /\n");
}

#[test]
fn shares_grow_by_themselves_and_no_request_is_lost() {
    let (project, session) = serving();
    let second = project.build('2', &[worker("index", "better"), worker("api", "well")]);
    activate(&project, &second, &[20, 60], Some(1));
    session.systemctl(&["reload", "tqserver.service"]);
    let mut shares = Vec::new();
    await_until("all of it", PATIENCE, || {
        let answer = session.get("/");
        let known = ["index well g1 /\n", "index better g2 /\n"].contains(&&*answer.body);
        assert!(answer.status == 200 && known, "{answer:?}\n{}", session.log());
        let status = session.status();
        shares.extend(status["canary"]["share_percent"].as_u64());
        status["actual"] == commit('2').as_str()
    });
    shares.dedup();
    assert_eq!(shares, [20, 60]);
    assert_eq!(session.get("/").body, "index better g2 /\n");
}

#[test]
fn a_canary_that_fails_more_often_is_given_up() {
    let (project, session) = serving();
    let second = project.build('2', &[worker("index", "better"), worker("api", "well")]);
    activate(&project, &second, &[0], None);
    session.systemctl(&["reload", "tqserver.service"]);
    // What serves does as well with what it gets.
    for _ in 0..50 {
        assert_eq!(session.get("/").status, 200);
    }
    let failing = TESTER.replace("GET /", "GET /fail");
    for _ in 0..20 {
        // It may be found before all have failed.
        session.send(&failing);
    }
    await_until("the end of it", PATIENCE, || !session.status()["failed"].is_null());
    let status = session.status();
    let reason = status["failed"]["reason"].as_str().unwrap();
    assert!(reason.starts_with("index g2 was given up as a canary: "), "{reason}");
    assert!(
        reason.contains(" answers failed, ") && reason.ends_with("(before: 0.0 %)"),
        "{reason}"
    );
    assert_eq!(session.send(TESTER).body, "index well g1 /\n");
}

#[test]
fn a_canary_that_dies_is_given_up_and_its_requests_are_answered() {
    let (_project, session) = tested();
    assert_eq!(
        session.send(&TESTER.replace("GET /", "GET /crash/g2")).body,
        "index well g1 /crash/g2\n"
    );
    await_until("the end of it", PATIENCE, || !session.status()["failed"].is_null());
    session.await_workers(2);
}

#[test]
fn a_tqserver_that_is_restarted_begins_it_anew() {
    let (_project, session) = tested();
    let pid = session.signal("KILL");
    session.await_other_than(pid);
    await_until("the canary", PATIENCE, || session.send(TESTER).body == "index better g3 /\n");
    assert_eq!(session.get("/").body, "index well g1 /\n");
    session.await_workers(3);
}

#[test]
fn a_new_program_takes_over_and_begins_it_anew() {
    let (project, session) = empty();
    let program = Program::install(&session, project.path());
    project.deploy('1', &[worker("index", "well")]);
    assert_eq!(session.get("/").status, 200, "{}", session.log());
    activate(&project, &project.build('2', &[worker("index", "better")]), &[0], None);
    session.systemctl(&["reload", "tqserver.service"]);
    assert_eq!(session.send(TESTER).body, "index better g2 /\n");
    let (before, addr) = (session.main_pid("tqserver.service"), session.addr());
    let slow = TESTER.replace("GET /", "GET /slow/2");
    let slow = thread::spawn(move || send(addr, &slow).unwrap());
    await_until("a slow request", PATIENCE, || {
        session.status()["workers"][0]["canaries"][0]["in_flight"] == 1
    });

    program.replace();
    session.systemctl(&["reload", "tqserver.service"]);
    assert_ne!(session.main_pid("tqserver.service"), before);
    assert_eq!(slow.join().unwrap().body, "index better g2 /slow/2\n", "it finished what it had");
    await_until("the canary", PATIENCE, || session.send(TESTER).body == "index better g3 /\n");
    assert_eq!(session.get("/").body, "index well g1 /\n");
    session.await_workers(2);
}

#[test]
fn a_manifest_whose_canary_cannot_be_is_refused() {
    let (project, session) = serving();
    let second = project.deploy('2', &[worker("index", "better"), worker("api", "well")]);
    activate(&project, &second, &[0], None);
    let text = fs::read_to_string(project.manifest()).unwrap();
    fs::write(project.manifest(), text.replace("header:X-Canary=yes", "query:x=yes")).unwrap();
    let _ = fs::remove_file(project.path().join("deploy/manifest.json.md5"));
    let status = session.failing_reload();
    assert!(status.contains("\"query:x=yes\" is not header:NAME=VALUE"), "{status}");
}
