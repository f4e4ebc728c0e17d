//! What a fresh installation answers, and how that ends.

use std::fs;

use crate::project::{commit, worker};
use crate::rollout::empty;

const ADVICE: &str = "nothing is deployed yet";

#[test]
fn a_fresh_server_is_ready_and_says_what_to_do() {
    let (project, session) = empty();
    let answer = session.get("/");
    assert_eq!(answer.status, 503, "{}", session.log());
    assert!(answer.head.to_lowercase().contains("\r\nretry-after: "), "{}", answer.head);
    assert!(answer.body.contains(ADVICE) && answer.body.contains("tqctl build"), "{}", answer.body);
    assert!(!answer.body.contains(project.path().to_str().unwrap()), "{}", answer.body);
    // Returns once the start that the request caused is over.
    session.systemctl(&["start", "tqserver.service"]);
    let state = session.systemctl(&["show", "--value", "-p", "ActiveState", "tqserver.service"]);
    assert_eq!(state.trim(), "active");
    let status = session.failing_reload();
    assert!(status.contains("no deployment yet"), "{status}");

    project.deploy('1', &[worker("index", "well")]);
    session.systemctl(&["reload", "tqserver.service"]);
    assert_eq!(session.get("/").body, "index well g1 /\n");
}

#[test]
fn what_cannot_be_read_or_does_not_start_is_not_nothing() {
    let (project, session) = empty();
    project.configure("", &(session.range_yaml() + "  hold_seconds: 1\n"));
    assert!(session.get("/").body.contains(ADVICE), "{}", session.log());
    fs::write(project.manifest(), "{").unwrap();
    session.failing_reload();
    let answer = session.get("/");
    assert_eq!(answer.status, 503);
    assert!(!answer.body.contains(ADVICE), "{}", answer.body);

    fs::remove_file(project.manifest()).unwrap();
    session.failing_reload();
    assert!(session.get("/").body.contains(ADVICE), "nothing was ever deployed");
    project.deploy('1', &[worker("index", "exit")]);
    session.failing_reload();
    assert!(!session.get("/").body.contains(ADVICE));
}

#[test]
fn a_manifest_that_went_away_is_not_nothing() {
    let (project, session) = empty();
    project.deploy('1', &[worker("index", "well")]);
    session.get("/");
    fs::remove_file(project.manifest()).unwrap();
    session.systemctl(&["stop", "tqserver.service"]);
    session.await_workers(0);
    assert_eq!(session.get("/").body, "index well g2 /\n", "{}", session.log());
    assert_eq!(session.status()["actual"], commit('1').as_str());
}
