//! From a deployment to the next.

use std::collections::BTreeSet;

use crate::project::{Project, commit, worker};
use crate::session::{PATIENCE, Session};
use crate::support::published;
use crate::support::wait::await_until;

/// A project without anything in it, and a session for it.
pub fn empty() -> (Project, Session) {
    configured("", "  check_manifest_interval_seconds: 3600\n")
}

/// The same, with further lines of server.yaml and of its `workers:` section.
pub fn configured(server: &str, workers: &str) -> (Project, Session) {
    let project = Project::new(server, workers);
    let session = Session::user(project.path(), |ports| {
        project.configure(server, &format!("{ports}{workers}"));
    });
    (project, session)
}

/// The same, with a deployment of `index` and `api` that serves.
pub fn serving() -> (Project, Session) {
    let (project, session) = empty();
    project.deploy('1', &[worker("index", "well"), worker("api", "well")]);
    assert_eq!(session.get("/").status, 200, "{}", session.log());
    (project, session)
}

#[test]
fn a_request_to_the_socket_starts_everything() {
    let (project, session) = empty();
    project.deploy('1', &[worker("index", "well"), worker("api", "well")]);
    assert_eq!(session.main_pid("tqserver.service"), 0, "nothing runs yet");
    let answer = session.get("/hello");
    assert_eq!((answer.status, answer.body.as_str()), (200, "index well g1 /hello\n"));
    assert_eq!(session.get("/api/users").body, "api well g1 /users\n");
    let units: Vec<_> = session.workers().into_keys().collect();
    assert_eq!(units.len(), 2);
    assert!(units[0].starts_with("tq-worker@api-") && units[1].starts_with("tq-worker@index-"));
}

#[test]
fn a_replaced_manifest_switches_and_unchanged_workers_run_on() {
    let (project, session) = serving();
    let before = session.workers();
    project.deploy('2', &[worker("index", "better"), worker("api", "well")]);
    await_until("the new index", PATIENCE, || session.get("/").body == "index better g2 /\n");
    session.await_workers(2);
    let after = session.workers();
    let api = |workers: &std::collections::BTreeMap<String, u32>| {
        workers.iter().find(|(unit, _)| unit.starts_with("tq-worker@api-")).map(|(_, pid)| *pid)
    };
    assert_eq!(api(&before), api(&after), "api was not touched");
    let status = session.status();
    assert_eq!(status["actual"], commit('2').as_str());
    assert_eq!(status["state"], "serving");
}

#[test]
fn changed_public_files_are_served_without_a_restart() {
    let (project, session) = empty();
    let with = |css| [worker("index", "well").public("style.css", css)];
    project.deploy('1', &with("old"));
    assert_eq!(session.get("/static/index/style.css").body, "old");
    session.get("/");
    let before = session.workers();
    project.deploy('2', &with("new"));
    session.systemctl(&["reload", "tqserver.service"]);
    assert_eq!(session.get("/static/index/style.css").body, "new");
    assert_eq!(session.workers(), before);
}

#[test]
fn a_reload_reports_on_what_was_there_when_it_was_asked() {
    let (project, session) = serving();
    project.deploy('2', &[worker("index", "better"), worker("api", "well")]);
    let output = session.tqctl(&["--json", "reload", "--wait"]);
    let verdict = published::document("verdict", &output.stdout);
    assert_eq!(verdict["commit"], commit('2').as_str());
    assert_eq!(session.get("/").body, "index better g2 /\n");
    let output = session.tqctl(&["--json", "reload", "--wait"]);
    let verdict = published::document("verdict", &output.stdout);
    assert_eq!((&verdict["ok"], &verdict["outcome"]), (&true.into(), &"unchanged".into()));
}

#[test]
fn a_port_taken_by_a_stranger_is_left_alone() {
    let (project, session) = empty();
    let stranger = std::net::TcpListener::bind(("127.0.0.1", session.worker_port(0))).unwrap();
    project.deploy('1', &[worker("index", "well")]);
    assert_eq!(session.get("/").status, 200);
    let units: BTreeSet<_> = session.workers().into_keys().collect();
    let next = format!("tq-worker@index-{}.service", session.worker_port(1));
    assert_eq!(units, BTreeSet::from([next]));
    drop(stranger);
}

#[test]
fn a_full_port_range_is_refused_with_its_bounds() {
    let (project, session) = serving();
    let start = session.worker_port(0);
    project
        .configure("", &format!("  port_range_start: {start}\n  port_range_end: {}\n", start + 1));
    project.deploy('2', &[worker("index", "better"), worker("api", "well")]);
    let status = session.failing_reload();
    let range = format!("no port is free in {start}-{}", start + 1);
    assert!(status.contains(&range), "{status}");
    assert_eq!(session.get("/").body, "index well g1 /\n");
}

#[test]
fn a_worker_that_dies_gets_a_successor() {
    let (_project, session) = serving();
    let post =
        "POST /crash HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    assert_eq!(session.send(post).status, 502, "what was sent and may have worked is not repeated");
    assert_eq!(session.get("/").body, "index well g2 /\n");
}

#[test]
fn a_get_that_a_death_left_unanswered_is_asked_of_the_successor() {
    let (_project, session) = serving();
    assert_eq!(session.get("/crash/g1").body, "index well g2 /crash/g1\n");
}

#[test]
fn a_broken_off_answer_never_looks_complete() {
    let (_project, session) = serving();
    let answer = session.get("/break");
    assert!(
        answer.head.to_ascii_lowercase().contains("content-length: 1000")
            && answer.body.len() < 1000,
        "{answer:?}"
    );
}
