//! tqctl as people and scripts run it, against a daemon that says what the test wants.

mod fake_control;
#[allow(unreachable_pub)]
#[path = "support/published.rs"]
mod published;

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use assert_cmd::Command;
use fake_control::{Fake, Server};
use nix::pty::{Winsize, openpty};
use rstest::rstest;
use tqserver::admin::api::{InstanceStatus, ReloadOutcome, ServerState, Status, WorkerState};
use tqserver::ids::Port;

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
fn status_has_a_line_for_each_instance() {
    let (_fake, server) = serve(|status| {
        let index = &mut status.workers[0];
        let instance = |port, state| InstanceStatus {
            state,
            port: Port::new(port).unwrap(),
            unit: format!("tq-worker@index-{port}.service").parse().unwrap(),
            since: None,
            in_flight: 1,
            memory_bytes: Some(30 << 20),
            cpus_busy: None,
        };
        index.instances_wanted = Some(2);
        index.instances =
            vec![instance(9014, WorkerState::Serving), instance(9020, WorkerState::Starting)];
    });
    let run = tqctl(&["status"], Some(&server));
    assert_eq!(run.code, 0);
    insta::assert_snapshot!(run.stdout);
}

/// `tqctl top` on a terminal of its own, where `key` is pressed once it shows workers: how it ended, and
/// all that it wrote.
fn top(key: &[u8], server: &Server) -> (Option<i32>, String) {
    let size = Winsize { ws_row: 20, ws_col: 110, ws_xpixel: 0, ws_ypixel: 0 };
    let pty = openpty(&size, None).unwrap();
    let mut command = std::process::Command::new(assert_cmd::cargo::cargo_bin("tqctl"));
    command.args(["top", "--color=always"]).env("TQ_CONTROL_SOCKET", server.socket());
    command.stdin(pty.slave.try_clone().unwrap()).stdout(pty.slave);
    let mut tqctl = command.spawn().unwrap();
    // The terminal ends with its last user.
    drop(command);
    let (mut terminal, mut shown, mut pressed) = (File::from(pty.master), Vec::new(), false);
    let mut part = [0; 4096];
    while let Ok(length @ 1..) = terminal.read(&mut part) {
        shown.extend_from_slice(&part[..length]);
        if !pressed && String::from_utf8_lossy(&shown).contains("api_users") {
            pressed = true;
            terminal.write_all(key).unwrap();
        }
    }
    (tqctl.wait().unwrap().code(), String::from_utf8(shown).unwrap())
}

#[rstest]
#[case::q(b"q")]
#[case::ctrl_c(b"\x03")]
fn top_has_the_terminal_and_gives_it_back(#[case] key: &[u8]) {
    let (_fake, server) = serve(|_| {});
    let (code, written) = top(key, &server);
    assert_eq!(code, Some(0), "{written}");
    let (begin, end) = ("\x1b[?1049h", "\x1b[?1049l");
    let (_, after) = written.split_once(begin).expect("the other screen");
    let (shown, after) = after.split_once(end).expect("the screen that was there");
    assert!(shown.contains("\x1b[38;5;2;49m●"), "{shown:?}");
    assert!(after.contains("\x1b[?25h") && !after.contains("api_users"), "{after:?}");
}

#[test]
fn a_drain_ends_with_the_requests_of_the_worker() {
    let (fake, server) = serve(|_| {});
    let run = tqctl(&["drain", "index"], Some(&server));
    let expected = "✓ index is out of service; `tqctl restart index` brings it back\n";
    assert_eq!((run.code, run.stdout.as_str()), (0, expected), "{}", run.stderr);

    let draining = fake_control::degraded().workers.swap_remove(0).draining;
    fake.status.lock().unwrap().workers[0].draining = draining;
    let socket = server.socket().to_str().unwrap().to_owned();
    let waits =
        thread::spawn(move || tqctl(&["drain", "index", "--json", "--socket", &socket], None));
    let looks = fake.looks.load(Ordering::Relaxed);
    while fake.looks.load(Ordering::Relaxed) < looks + 2 {
        thread::yield_now();
    }
    assert!(!waits.is_finished());
    fake.status.lock().unwrap().workers[0].draining.clear();
    let run = waits.join().unwrap();
    published::document("accepted", run.stdout.as_bytes());

    let run = tqctl(&["drain", "nobody"], Some(&server));
    assert_eq!((run.code, run.stdout.as_str()), (1, ""));
    assert!(run.stderr.contains("no worker nobody is deployed"), "{}", run.stderr);
}

#[test]
fn top_without_a_terminal_is_status() {
    let (_fake, server) = serve(|status| *status = fake_control::degraded());
    let (once, status) = (tqctl(&["top"], Some(&server)), tqctl(&["status"], Some(&server)));
    assert_eq!((once.code, once.stdout), (status.code, status.stdout));
    assert_eq!(tqctl(&["top", "--delay=0"], Some(&server)).code, 2);
    assert_eq!(tqctl(&["top", "--socket", "/nowhere/control.sock"], None).code, 4);
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
        let document = published::document("status", run.stdout.as_bytes());
        let document: Status = serde_json::from_value(document).unwrap();
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
    for run in [named, silent] {
        assert!(!run.stderr.contains('\u{1b}'), "{:?}", run.stderr);
    }
}

/// root may use any socket, so somebody else asks.
#[test]
fn who_may_not_use_the_socket_is_told_the_command_that_mends_it() {
    let (_fake, server) = serve(|_| {});
    let allow = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    allow(&server.socket(), 0o600);
    allow(server.dir(), 0o755);
    // The built program lies where others may not look.
    let program = server.dir().join("tqctl");
    std::fs::copy(env!("CARGO_BIN_EXE_tqctl"), &program).unwrap();
    let mut command = std::process::Command::new(program);
    command.uid(65534).gid(65534).current_dir("/").env_clear().arg("status");
    let output = command.env("TQ_CONTROL_SOCKET", server.socket()).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert!(said.contains("no permission to use "), "{said}");
    assert!(said.contains("sudo usermod --append --groups tqserver-admin $USER"), "{said}");
}

#[test]
fn reload_without_wait_returns_when_asked() {
    let (fake, server) = serve(|_| {});
    fake.decided.send_replace(false);
    let run = tqctl(&["reload"], Some(&server));
    assert_eq!((run.code, run.stdout.as_str()), (0, ""));
    assert_eq!(fake.reloads(), 1);
    assert!(!run.stderr.is_empty());
    published::document("accepted", tqctl(&["reload", "--json"], Some(&server)).stdout.as_bytes());
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
    let run = tqctl(&["reload", "--wait", "--json"], Some(&server));
    assert_eq!(run.code, 7);
    published::document("verdict", run.stdout.as_bytes());
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

/// A journalctl that prints its arguments, a line each.
fn journalctl(dir: &std::path::Path) -> std::path::PathBuf {
    let program = dir.join("journalctl");
    let script = "#!/bin/sh\n[ \"$1\" = --field=TQ_WORKER ] && { echo gone; exit; }\n\
                  printf '%s\\n' \"$@\"; echo \"colors=$SYSTEMD_COLORS\"; exit 9\n";
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    dir.to_owned()
}

fn logs(arguments: &[&str], server: Option<&Server>) -> Run {
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::cargo_bin("tqctl").unwrap();
    let path = format!("{}:/usr/bin:/bin", journalctl(dir.path()).display());
    command.env_clear().env("PATH", path).arg("logs").args(arguments);
    let socket = server.map_or_else(|| "/nowhere/control.sock".into(), Server::socket);
    let output = command.env("TQ_CONTROL_SOCKET", socket).output().unwrap();
    Run {
        code: output.status.code().expect("an exit code"),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

#[rstest]
#[case::all(&[], "TQ_WORKER=index TQ_WORKER=api_users + SYSLOG_IDENTIFIER=tqserver colors=")]
#[case::one(&["index", "-f", "-n", "20"], "--follow --lines=20 TQ_WORKER=index colors=")]
#[case::pattern(&["index", "-g--help", "--no-pager"],
    "--no-pager --grep=--help TQ_WORKER=index colors=")]
#[case::generation(&["index", "--gen", "g18", "-q"], "--quiet TQ_WORKER=index TQ_GENERATION=18 colors=")]
#[case::commit(&["--commit", "9f8e", "--json"],
    "--output=json TQ_WORKER=index TQ_WORKER=api_users \
     TQ_COMMIT=9f8e7d6c5b4a39281706f5e4d3c2b1a098765432 colors=")]
#[case::plain(&["index", "--color=never"], "TQ_WORKER=index colors=0")]
fn logs_is_journalctl_with_the_right_matches(#[case] arguments: &[&str], #[case] expected: &str) {
    let (_fake, server) = serve(|_| {});
    let run = logs(arguments, Some(&server));
    assert_eq!(run.stdout.lines().collect::<Vec<_>>().join(" "), expected, "{}", run.stderr);
    assert_eq!(run.code, 9, "journalctl's own");
}

#[test]
fn logs_are_there_when_the_server_is_not() {
    let run = logs(&[], None);
    assert_eq!(run.stdout, "TQ_WORKER=gone\n+\nSYSLOG_IDENTIFIER=tqserver\ncolors=\n");
    assert_eq!(logs(&["--commit", "9f8e"], None).code, 4, "who would know it");
    assert_eq!(logs(&["No-Worker"], None).code, 2);
}

#[test]
fn a_rollout_is_done_failed_or_under_way() {
    let (fake, server) = serve(|_| {});
    let run = tqctl(&["rollout", "status"], Some(&server));
    assert_eq!((run.code, run.stdout.as_str()), (0, "✓ a1b2c3d serves\n"));

    *fake.status.lock().unwrap() = fake_control::degraded();
    for what in ["status", "wait"] {
        let run = tqctl(&["rollout", what], Some(&server));
        assert_eq!(run.code, 7);
        assert!(run.stdout.starts_with("✗ a1b2c3d failed: index g18 exited 101"), "{}", run.stdout);
        assert!(!run.stdout.contains('\u{1b}'), "a reason comes from outside");
    }

    fake.status.lock().unwrap().failed = None;
    let run = tqctl(&["rollout", "status"], Some(&server));
    assert_eq!((run.code, run.stdout.as_str()), (3, "· a1b2c3d is under way: api_users backoff\n"));
    let run = tqctl(&["rollout", "wait", "--timeout", "1"], Some(&server));
    assert_eq!(run.code, 3);
    assert!(run.stderr.contains("did not come to serve within 1 s"), "{}", run.stderr);
}

#[test]
fn waiting_for_a_rollout_ends_when_it_serves() {
    let (fake, server) = serve(|status| status.state = ServerState::Starting);
    let asked = Arc::clone(&fake);
    let ends = std::thread::spawn(move || {
        while asked.looks.load(Ordering::Relaxed) < 2 {
            std::thread::yield_now();
        }
        asked.status.lock().unwrap().state = ServerState::Serving;
    });
    let run = tqctl(&["rollout", "wait", "--json"], Some(&server));
    ends.join().unwrap();
    assert_eq!((run.code, run.stdout.lines().count()), (0, 1));
}
