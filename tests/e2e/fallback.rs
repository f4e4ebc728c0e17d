//! When what is wanted cannot be had, what was good serves, also after everything was stopped.

use std::fs;

use crate::project::{commit, worker};
use crate::rollout::serving;

#[test]
fn after_a_stop_the_last_good_deployment_comes_back_and_not_the_failed_one() {
    let (project, session) = serving();
    project.deploy('2', &[worker("index", "exit"), worker("api", "well")]);
    session.failing_reload();
    session.systemctl(&["stop", "tqserver.service"]);
    session.await_workers(0);
    assert!(session.get("/").body.starts_with("index well g"), "{}", session.log());
    let status = session.status();
    assert_eq!(status["actual"], commit('1').as_str());
    assert_eq!(status["failed"]["commit"], commit('2').as_str());
}

#[test]
fn after_a_stop_a_manifest_that_cannot_be_read_does_not_keep_the_good_from_serving() {
    let (project, session) = serving();
    fs::write(project.manifest(), "{").unwrap();
    session.systemctl(&["stop", "tqserver.service"]);
    session.await_workers(0);
    assert_eq!(session.get("/").body, "index well g2 /\n", "{}", session.log());
    assert_eq!(session.status()["state"], "degraded");
}

#[test]
fn a_worker_that_fails_in_a_cold_start_does_not_hold_back_the_others() {
    let (project, session) = serving();
    session.systemctl(&["stop", "tqserver.service"]);
    session.await_workers(0);
    // The same deployment, but something it needs is gone now.
    let folder = project.deploy_dir().worker_dir(&commit('1'), &"index".parse().unwrap());
    fs::rename(folder.join("bin"), folder.join("away")).unwrap();
    assert_eq!(session.get("/api").body, "api well g2 /\n", "{}", session.log());
    fs::rename(folder.join("away"), folder.join("bin")).unwrap();
    assert!(session.get("/").body.starts_with("index well g"), "it is tried again");
    assert_eq!(session.status()["failed"], serde_json::Value::Null);
}
