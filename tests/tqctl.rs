//! tqctl as people and scripts run it, against a daemon that says what the test wants.

mod fake_control;

use std::sync::Arc;
use std::time::Duration;

use assert_cmd::Command;
use fake_control::{Fake, Server};
use rstest::rstest;
use tqserver::admin::api::{ReloadOutcome, ServerState, Status};

/// What one run printed and returned.
struct Run {
    code: i32,
    stdout: String,
    stderr: String,
}

fn tqctl(arguments: &[&str], server: Option<&Server>) -> Run {
    let mut command = Command::cargo_bin("tqctl").unwrap();
    // Far beyond what any of this takes: a test that fails should say so, and not hang.
    command.env_clear().args(arguments).timeout(Duration::from_secs(30));
    if let Some(server) = server {
        command.env("TQ_CONTROL_SOCKET", server.socket());
    }
    let output = command.output().unwrap();
    Run {
        code: output.status.code().expect("an exit code"),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

fn serve(change: impl FnOnce(&mut Status)) -> (Arc<Fake>, Server) {
    let fake = Fake::new();
    change(&mut fake.status.lock().unwrap());
    let server = Server::start(&fake);
    (fake, server)
}

#[test]
fn status_shows_a_table() {
    let (_fake, server) = serve(|_| {});
    let run = tqctl(&["status"], Some(&server));
    assert_eq!((run.code, run.stderr.as_str()), (0, ""));
    insta::assert_snapshot!(run.stdout);
}

#[test]
fn verbose_status_says_which_socket_it_asked() {
    let (_fake, server) = serve(|_| {});
    let run = tqctl(&["status", "-v"], Some(&server));
    assert_eq!(run.stderr, format!("asking {}\n", server.socket().display()));
}

#[test]
fn status_of_a_degraded_daemon_names_every_cause() {
    let (_fake, server) = serve(|status| *status = fake_control::degraded());
    let run = tqctl(&["status"], Some(&server));
    assert_eq!(run.code, 3);
    insta::assert_snapshot!(run.stdout);
}

#[test]
fn status_tells_what_is_pinned() {
    let old: tqserver::ids::CommitId = fake_control::OLD.parse().unwrap();
    let (_fake, server) = serve(|status| status.workers[1].pinned = Some(old.clone()));
    let run = tqctl(&["status"], Some(&server));
    assert_eq!(run.code, 0);
    let last = run.stdout.lines().last();
    assert_eq!(last, Some("  api_users at /api/users is pinned to 9f8e7d6"));
    let json = tqctl(&["status", "--json"], Some(&server)).stdout;
    let status: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(status["workers"][1]["pinned"], old.as_str());
    assert_eq!(status["workers"][0].get("pinned"), None, "nothing to tell");
}

#[test]
fn status_tells_whose_sandbox_is_loosened() {
    let loosened = ["memory_deny_write_execute=no", "ip_address_allow=any"];
    let (_fake, server) =
        serve(|status| status.workers[1].loosened = loosened.map(str::to_owned).to_vec());
    let run = tqctl(&["status"], Some(&server));
    assert_eq!(run.code, 0);
    insta::assert_snapshot!(run.stdout);
    let json = tqctl(&["status", "--json"], Some(&server)).stdout;
    let status: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(status["workers"][1]["loosened"], serde_json::json!(loosened));
    assert_eq!(status["workers"][0].get("loosened"), None, "nothing to tell");
}

#[rstest]
#[case(ServerState::Serving, 0)]
#[case(ServerState::Starting, 3)]
#[case(ServerState::Degraded, 3)]
#[case(ServerState::Draining, 3)]
fn the_state_is_the_exit_code(#[case] state: ServerState, #[case] code: i32) {
    let (_fake, server) = serve(|status| status.state = state);
    assert_eq!(tqctl(&["status", "--json"], Some(&server)).code, code);
}

#[test]
fn json_is_the_api_document_and_nothing_else() {
    let (_fake, server) = serve(|_| {});
    let compact = tqctl(&["--json", "status"], Some(&server));
    assert_eq!(compact.stdout.lines().count(), 1);
    let pretty = tqctl(&["status", "--json=pretty"], Some(&server));
    assert!(pretty.stdout.lines().count() > 20);
    for run in [compact, pretty] {
        let document: Status = serde_json::from_str(&run.stdout).unwrap();
        assert_eq!(document, fake_control::serving());
        assert_eq!(run.stderr, "");
    }
}

#[rstest]
#[case::pipe(&["status"], false)]
#[case::never(&["status", "--color=never"], false)]
#[case::always(&["status", "--color=always"], true)]
fn colour_only_where_it_is_wanted(#[case] arguments: &[&str], #[case] coloured: bool) {
    let (_fake, server) = serve(|_| {});
    assert_eq!(tqctl(arguments, Some(&server)).stdout.contains('\u{1b}'), coloured);
}

#[test]
fn a_daemon_that_is_not_there_is_unreachable_or_not_running() {
    let named = tqctl(&["--socket", "/nowhere/control.sock", "status"], None);
    assert_eq!((named.code, named.stdout.as_str()), (4, ""));
    assert!(named.stderr.contains("there is no socket /nowhere/control.sock"), "{}", named.stderr);

    let server = Server::start(&Fake::new());
    // The file stays behind, but nobody listens on it any more.
    let left_behind = server.dir().join("left-behind.sock");
    drop(std::os::unix::net::UnixListener::bind(&left_behind).unwrap());
    let silent = tqctl(&["--socket", left_behind.to_str().unwrap(), "status"], None);
    assert_eq!(silent.code, 3);
    assert!(silent.stderr.contains("systemctl start tqserver.socket"), "{}", silent.stderr);
}

#[test]
fn reload_without_wait_returns_when_asked() {
    let (fake, server) = serve(|_| {});
    fake.decided.send_replace(false);
    let run = tqctl(&["reload"], Some(&server));
    assert_eq!((run.code, run.stdout.as_str()), (0, ""));
    assert_eq!(fake.reloads(), 1);
    assert!(!run.stderr.is_empty());
    assert_eq!(tqctl(&["reload", "-q"], Some(&server)).stderr, "");
}

#[test]
fn reload_with_wait_tells_the_verdict() {
    let (fake, server) = serve(|_| {});
    let run = tqctl(&["reload", "--wait"], Some(&server));
    assert_eq!(run.code, 0);
    insta::assert_snapshot!(run.stdout, @"✓ a1b2c3d switched in 1.2 s   started: index   kept: api_users");

    {
        let mut verdict = fake.verdict.lock().unwrap();
        verdict.ok = false;
        verdict.outcome = ReloadOutcome::Failed;
        verdict.started.clear();
        verdict.reason = Some("index g18 exited 101 after 0.4 s, before it was ready".to_owned());
        verdict.details = vec!["thread 'main' panicked: DATABASE_URL not set".to_owned()];
    }
    let run = tqctl(&["reload", "--wait"], Some(&server));
    assert_eq!(run.code, 7);
    insta::assert_snapshot!(run.stdout, @r"
    ✗ a1b2c3d never switched in 1.2 s   kept: api_users
      index g18 exited 101 after 0.4 s, before it was ready
         | thread 'main' panicked: DATABASE_URL not set
    ");
    assert_eq!(tqctl(&["reload", "--wait", "--json"], Some(&server)).code, 7);
}

#[rstest]
#[case::no_verb(&[])]
#[case::unknown_verb(&["fly"])]
#[case::unknown_layout(&["--json=xml", "status"])]
#[case::quiet_and_verbose(&["-q", "-v", "status"])]
fn a_wrong_command_line_is_a_usage_error(#[case] arguments: &[&str]) {
    let run = tqctl(arguments, None);
    assert_eq!((run.code, run.stdout.as_str()), (2, ""));
}
