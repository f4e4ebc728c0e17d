//! Workers whose number of instances follows what they have to do.

use std::thread;

use crate::instances::{Asking, instances_serving};
use crate::operator::series;
use crate::project::{Project, worker};
use crate::rollout::empty;
use crate::session::{PATIENCE, Session, get, send};
use crate::support::wait::await_until;

/// One that sleeps when nobody has asked for it for a second.
fn sleeper() -> (Project, Session) {
    let (project, session) = empty();
    project.deploy('1', &[worker("index", "well").yaml("scaling: {min: 0, idle_seconds: 1}\n")]);
    assert_eq!(session.get("/").body, "index well g1 /\n", "{}", session.log());
    (project, session)
}

fn await_sleep(session: &Session) {
    session.await_workers(0);
    await_until("sleep", PATIENCE, || session.status()["workers"][0]["state"] == "asleep");
}

#[test]
fn instances_come_and_go_with_what_there_is_to_do() {
    let (project, session) = empty();
    let scaling = "scaling: {min: 1, max: 3, target_in_flight: 2, idle_seconds: 1}\n";
    project.deploy('1', &[worker("index", "well").yaml(scaling)]);
    assert_eq!(session.get("/").status, 200, "{}", session.log());
    session.await_workers(1);
    let load = Asking::start(session.addr());
    await_until("three that serve", PATIENCE, || instances_serving(&session) == 3);
    assert_eq!(session.status()["workers"][0]["instances_wanted"], 3);
    load.some_more();
    load.finish(&session);
    session.await_workers(1);
    assert_eq!(session.get("/").body, "index well g1 /\n", "all were of one generation");
}

#[test]
fn who_sleeps_is_started_by_the_first_request_and_none_is_lost() {
    let (_project, session) = sleeper();
    for generation in 2..5 {
        await_sleep(&session);
        assert_eq!(session.status()["state"], "serving", "it is as it is meant to be");
        let addr = session.addr();
        let clients: Vec<_> =
            (0..8).map(|_| thread::spawn(move || send(addr, &get("/")).unwrap())).collect();
        for client in clients {
            assert_eq!(client.join().unwrap().body, format!("index well g{generation} /\n"));
        }
    }
    await_sleep(&session);
    assert_eq!(series(&session)[r#"tqserver_worker_up{worker="index"}"#], 1.0, "nobody is alarmed");
}

#[test]
fn a_request_that_takes_long_keeps_its_worker_awake() {
    let (_project, session) = sleeper();
    // The second client finds the instance of the first.
    assert_eq!(session.get("/slow/3").status, 200);
    assert_eq!(session.get("/").body, "index well g1 /\n");
}

#[test]
fn sleep_outlasts_a_restart_and_a_deployment_that_changes_nothing() {
    let (project, session) = sleeper();
    await_sleep(&session);
    session.signal("KILL");
    assert_eq!(session.get("/static/index/none").status, 404);
    await_sleep(&session);
    project.deploy('2', &[worker("index", "well").yaml("scaling: {min: 0, idle_seconds: 1}\n")]);
    session.systemctl(&["reload", "tqserver.service"]);
    assert!(session.workers().is_empty());
    assert_eq!(session.get("/").body, "index well g2 /\n");
}

#[test]
fn a_deployment_that_would_not_start_is_refused_though_it_would_sleep() {
    let (project, session) = sleeper();
    await_sleep(&session);
    project.deploy('2', &[worker("index", "exit").yaml("scaling: {min: 0, idle_seconds: 1}\n")]);
    session.failing_reload();
    assert_eq!(session.get("/").status, 200, "{}", session.log());
}
