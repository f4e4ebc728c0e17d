//! The manager, its bus, or the disk give trouble; tqserver is stopped or killed at bad moments.

use std::fs;
use std::process::Child;
use std::thread;
use std::time::Duration;

use crate::project::{commit, worker};
use crate::restart::Callers;
use crate::rollout::{empty, serving};
use crate::session::{PATIENCE, Session};
use crate::support::wait::await_until;

/// Waits for a command whose end a hanging worker would hold up for longer than we wait.
#[track_caller]
fn ends(session: &Session, args: &[&str]) {
    let mut command = session.bed.command("systemctl");
    let mut child: Child = command.arg("--user").args(args).spawn().unwrap();
    await_until(&format!("the end of systemctl {args:?}"), PATIENCE, || {
        child.try_wait().unwrap().is_some_and(|status| status.success())
    });
}

#[test]
fn requests_and_deployments_go_on_when_the_bus_restarts() {
    let (project, session) = serving();
    let before = session.workers();
    let callers = Callers::start(&session);
    session.systemctl(&["restart", "dbus.service"]);
    assert_eq!(session.get("/").body, "index well g1 /\n");
    callers.go_on(20);
    project.deploy('2', &[worker("index", "better"), worker("api", "well")]);
    session.await_body("/", "index better g2 /\n");
    session.await_workers(2);
    assert_eq!(session.workers().first_key_value(), before.first_key_value(), "api runs on");
    callers.finish();
}

#[test]
fn the_bus_may_restart_during_a_rollout() {
    let (project, session) = serving();
    project.deploy('2', &[worker("index", "better"), worker("api", "slow")]);
    session.await_workers(4);
    session.systemctl(&["restart", "dbus.service"]);
    session.await_body("/api", "api slow g2 /\n");
    assert_eq!(session.get("/").body, "index better g2 /\n");
    session.await_workers(2);
}

#[test]
fn the_manager_may_reload_during_a_rollout() {
    let (project, session) = serving();
    project.deploy('2', &[worker("index", "better"), worker("api", "slow")]);
    await_until("the switch", PATIENCE, || {
        session.systemctl(&["daemon-reload"]);
        session.get("/api").body == "api slow g2 /\n"
    });
    assert_eq!(session.get("/").body, "index better g2 /\n");
    session.await_workers(2);
    assert_eq!(session.status()["state"], "serving");
}

#[test]
fn a_stop_does_not_wait_for_a_start_that_hangs() {
    let (project, session) = serving();
    project.deploy('2', &[worker("index", "hang"), worker("api", "well")]);
    session.await_workers(3);
    ends(&session, &["stop", "tqserver.service"]);
    session.await_workers(0);
}

#[test]
fn a_restart_does_not_wait_for_a_start_that_hangs() {
    let (project, session) = serving();
    let before = session.workers();
    project.deploy('2', &[worker("index", "hang"), worker("api", "well")]);
    session.await_workers(3);
    ends(&session, &["restart", "tqserver.service"]);
    assert_eq!(session.get("/").body, "index well g1 /\n");
    let after = session.workers();
    assert!(before.iter().all(|(unit, pid)| after.get(unit) == Some(pid)), "{before:?} {after:?}");
    project.deploy('3', &[worker("index", "better"), worker("api", "well")]);
    await_until("the third deployment", PATIENCE, || session.get("/").body.contains("better"));
    session.await_workers(2);
}

#[test]
fn killed_at_any_moment_of_a_rollout_it_converges() {
    let (project, session) = serving();
    let (index, api) = (["a", "b", "c"], ["x", "y", "z"]);
    let deployments: Vec<_> = ('2'..)
        .zip(index.into_iter().zip(api))
        .map(|(digit, modes)| {
            project.build(digit, &[worker("index", modes.0), worker("api", modes.1)])
        })
        .collect();
    for (kill, deployment) in (0..15).zip(deployments.iter().cycle()) {
        project.activate(deployment);
        // No event says how far a rollout is, and any point of it is meant.
        thread::sleep(Duration::from_millis(20 * kill));
        let killed = session.signal("KILL");
        session.await_other_than(killed);
        assert_eq!(session.get("/").status, 200);
    }
    await_until("the last deployment", PATIENCE, || session.get("/").body.starts_with("index c "));
    assert!(session.get("/api").body.starts_with("api z "));
    session.await_workers(2);
    let status = session.status();
    assert_eq!(
        (&status["actual"], &status["state"]),
        (&commit('4').as_str().into(), &"serving".into())
    );
    assert!(status["failed"].is_null(), "{status:#}");
}

#[test]
fn a_server_that_hangs_is_replaced_by_the_watchdog() {
    let (_project, session) = serving();
    session.edit_unit("tqserver.service", "[Service]\nWatchdogSec=1\nLimitCORE=0\n");
    session.systemctl(&["restart", "tqserver.service"]);
    let before = session.workers();
    let stopped = session.signal("STOP");
    session.await_other_than(stopped);
    assert_eq!(session.get("/").body, "index well g1 /\n");
    assert_eq!(session.workers(), before, "same units, same processes");
}

#[test]
fn a_restart_with_a_bad_configuration_leaves_the_workers_and_is_tried_until_it_is_good() {
    let (project, session) = serving();
    let before = session.workers();
    let config = project.path().join("config/server.yaml");
    let good = fs::read(&config).unwrap();
    fs::write(&config, "server:\n  port: 99999\n").unwrap();
    session.edit_unit("tqserver.service", "[Service]\nRestartSec=100ms\n");
    let restarted = session.try_systemctl(&["restart", "tqserver.service"]);
    assert!(!restarted.status.success());
    let complaints = || session.log().matches("server.yaml:2:9").count();
    await_until("three attempts", PATIENCE, || complaints() >= 3);
    assert_eq!(session.workers(), before);
    fs::write(&config, good).unwrap();
    assert_eq!(session.get("/").body, "index well g1 /\n", "the connection was kept");
    assert_eq!(session.workers(), before);
}

#[test]
fn a_state_that_cannot_be_written_is_said_and_costs_no_request() {
    let (project, session) = empty();
    // A file system that takes no files, whoever asks.
    session.edit_unit("tqserver.service", "[Service]\nEnvironment=STATE_DIRECTORY=/proc/state\n");
    project.deploy('1', &[worker("index", "well")]);
    assert_eq!(session.get("/").body, "index well g1 /\n");
    let warned = || session.status()["warnings"].to_string().contains("state not saved");
    await_until("the warning", PATIENCE, warned);
    let before = session.workers();
    session.systemctl(&["restart", "tqserver.service"]);
    assert_eq!(session.get("/").body, "index well g1 /\n");
    assert_eq!(session.workers(), before);
    project.deploy('2', &[worker("index", "better")]);
    session.await_body("/", "index better g2 /\n");
}

#[test]
fn a_state_that_cannot_be_read_is_said_and_costs_no_restart() {
    let (_project, session) = serving();
    let before = session.workers();
    session.signal("KILL");
    fs::write(session.runtime_file("state.json"), "{\"schema\": 1, \"curr").unwrap();
    session.systemctl(&["restart", "tqserver.service"]);
    assert_eq!(session.get("/").body, "index well g1 /\n");
    let status = session.status();
    assert!(status["warnings"].to_string().contains("state.json"), "{status:#}");
    assert_eq!(session.workers(), before);
}
