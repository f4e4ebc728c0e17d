//! What is wrong with a deployment or a configuration is said, and what served serves on.

use std::fs;

use rstest::rstest;

use crate::project::{Project, commit, worker};
use crate::rollout::{configured, empty, serving};

#[rstest]
#[case::exits("exit", "", "exited 3 before it was ready")]
#[case::aborts("abort", "", "killed by signal 6 before it was ready")]
#[case::hangs("hang", "", "timed out before it was ready")]
#[case::answers_500("ill", "", "answered 500 Internal Server Error")]
#[case::listens_elsewhere("elsewhere", "", "nobody listens there")]
#[case::is_silent("mute", "ready: notify\n", "timed out before it was ready")]
fn a_worker_that_does_not_get_ready(
    #[case] mode: &'static str,
    #[case] yaml: &str,
    #[case] said: &str,
) {
    let (project, session) = serving();
    project.configure("", &format!("{}  start_timeout_seconds: 2\n", session.range_yaml()));
    session.systemctl(&["reload", "tqserver.service"]);
    let before = session.workers();
    project.deploy('2', &[worker("index", mode).yaml(yaml), worker("api", "better")]);
    let status = session.failing_reload();
    assert!(status.contains(said), "{status}\n{}", session.log());
    assert_eq!(session.get("/").body, "index well g1 /\n");
    assert_eq!(session.get("/api").body, "api well g1 /\n");
    session.await_workers(2);
    assert_eq!(session.workers(), before, "the old ones never noticed");
}

#[test]
fn the_last_lines_of_a_failed_worker_are_shown() {
    let (project, session) = serving();
    project.deploy('2', &[worker("index", "exit"), worker("api", "well")]);
    let output = session.tqctl(&["reload", "--wait"]);
    assert_eq!(output.status.code(), Some(7), "never switched");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("| DATABASE_URL is not set"), "{said}");
}

#[test]
fn a_failed_deployment_is_not_tried_again_by_a_restart() {
    let (project, session) = serving();
    project.deploy('2', &[worker("index", "exit"), worker("api", "well")]);
    session.failing_reload();
    session.systemctl(&["restart", "tqserver.service"]);
    assert_eq!(session.get("/").body, "index well g1 /\n");
    let status = session.status();
    assert_eq!(status["failed"]["commit"], commit('2').as_str());
    assert_eq!(status["actual"], commit('1').as_str());
    assert_eq!(status["workers"][1]["generation"], 1, "{status:#}");
}

/// Changes a manifest that is fine into one that is not.
type Spoil = fn(&Project);

fn edit(project: &Project, from: &str, to: &str) {
    let text = fs::read_to_string(project.manifest()).unwrap();
    assert!(text.contains(from), "{from} is not in {text}");
    replace(project, text.replace(from, to).as_bytes());
}

fn replace(project: &Project, bytes: &[u8]) {
    let new = project.deploy_dir().manifest_new();
    fs::write(&new, bytes).unwrap();
    fs::rename(new, project.manifest()).unwrap();
}

fn file(project: &Project, path: &str) -> std::path::PathBuf {
    project.deploy_dir().commit_dir(&commit('2')).join(path)
}

fn binary(project: &Project) -> std::path::PathBuf {
    file(project, "workers/index/bin/web")
}

#[rstest]
#[case::half(|p: &Project| { let t = fs::read(p.manifest()).unwrap(); replace(p, &t[..t.len() / 2]) }, "manifest.json:")]
#[case::empty(|p: &Project| replace(p, b""), "manifest.json:1:")]
#[case::large(|p: &Project| replace(p, &vec![b' '; 100 << 20]), "larger than 4 MiB")]
#[case::deep(|p: &Project| replace(p, "[".repeat(100_000).as_bytes()), "manifest.json:1:")]
#[case::wrong_type(|p: &Project| edit(p, "\"schema\": 1", "\"schema\": \"one\""), "schema")]
#[case::unknown_schema(|p: &Project| edit(p, "\"schema\": 1", "\"schema\": 99"), "99")]
#[case::unknown_folder(|p: &Project| fs::remove_dir_all(file(p, "")).unwrap(), "does not exist")]
#[case::other_content(|p: &Project| fs::write(binary(p), "#!/bin/false\n").unwrap(), "SHA-256")]
#[case::missing_binary(|p: &Project| fs::remove_file(binary(p)).unwrap(), "bin/web: is missing")]
#[case::climbing_path(|p: &Project| edit(p, "\"binary\": \"bin/web\"", "\"binary\": \"../bin/web\""), "../bin/web")]
#[case::absolute_path(|p: &Project| edit(p, "\"binary\": \"bin/web\"", "\"binary\": \"/bin/sh\""), "/bin/sh")]
#[case::duplicate_route(|p: &Project| edit(p, "\"route\": \"/api\"", "\"route\": \"/\""), "route")]
#[case::symlink(|p: &Project| {
    fs::rename(binary(p), file(p, "web")).unwrap();
    std::os::unix::fs::symlink("../../../web", binary(p)).unwrap();
}, "bin/web")]
fn a_bad_deployment_is_refused_before_anything_starts(#[case] spoil: Spoil, #[case] said: &str) {
    let (project, session) = serving();
    let before = session.workers();
    // Else the good one below could be acted on before it is spoiled.
    project.only_reload_on_sighup();
    session.systemctl(&["restart", "tqserver.service"]);
    project.deploy('2', &[worker("index", "better"), worker("api", "well")]);
    spoil(&project);
    let status = session.failing_reload();
    assert!(status.contains(said), "{status}\n{}", session.log());
    assert_eq!(session.workers(), before);
    assert_eq!(session.get("/").body, "index well g1 /\n");
}

#[rstest]
#[case::syntax("server: [\n", "server.yaml:")]
#[case::unknown_key("server:\n  prot: 8080\n", "port")]
#[case::out_of_range("server:\n  port: 99999\n", "server.yaml:2:9")]
fn a_bad_configuration_changes_nothing(#[case] text: &str, #[case] said: &str) {
    let (project, session) = serving();
    let before = session.workers();
    fs::write(project.path().join("config/server.yaml"), text).unwrap();
    let status = session.failing_reload();
    assert!(status.contains(said), "{status}");
    assert_eq!(session.workers(), before);
    assert_eq!(session.get("/").status, 200);
}

#[test]
fn the_folder_of_the_running_deployment_may_vanish() {
    let (project, session) = serving();
    fs::remove_dir_all(project.deploy_dir().commit_dir(&commit('1'))).unwrap();
    let status = session.failing_reload();
    assert!(status.contains("does not exist"), "{status}");
    assert_eq!(session.get("/").body, "index well g1 /\n");
}

#[test]
fn no_deployment_yet_says_what_makes_one() {
    let (_project, session) = empty();
    session.systemctl(&["start", "tqserver.service"]);
    let status = session.failing_reload();
    assert!(status.contains("no deployment yet; `tqctl build` makes one"), "{status}");
}

#[test]
fn a_first_deployment_that_fails_leaves_a_retry_hint() {
    let (project, session) = configured("", "  hold_seconds: 1\n");
    project.deploy('1', &[worker("index", "exit")]);
    let answer = session.get("/");
    assert_eq!(answer.status, 503);
    assert!(answer.head.to_lowercase().contains("retry-after:"), "{}", answer.head);
}
