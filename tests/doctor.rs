//! `tqctl doctor` on real machines: what is there is seen, what is wrong is named, and the commands
//! it tells mend it.

mod support;

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use support::bed::Bed;
use support::deployments::worker;
use support::ports;
use support::published;
use tempfile::TempDir;

const TQCTL: &str = env!("CARGO_BIN_EXE_tqctl");

/// What a run printed as JSON, and its exit code.
#[derive(Debug)]
struct Report {
    code: Option<i32>,
    document: Value,
}

impl Report {
    fn of(output: &Output) -> Self {
        let document = published::document("doctor", &output.stdout);
        Self { code: output.status.code(), document }
    }

    fn checks(&self) -> &[Value] {
        self.document["checks"].as_array().unwrap()
    }

    /// The verdict on a check, what was found, and the first command.
    #[track_caller]
    fn check(&self, subject: &str, name: &str) -> [&str; 3] {
        let is_it = |check: &&Value| check["subject"] == subject && check["name"] == name;
        let check = self.checks().iter().find(is_it);
        let check = check.unwrap_or_else(|| panic!("no {subject} {name}: {self:#?}"));
        fn text(value: &Value) -> &str {
            value.as_str().unwrap_or_default()
        }
        [text(&check["verdict"]), text(&check["found"]), text(&check["mend"][0])]
    }

    /// What failed of a subject; what others do on this machine is not the test's.
    fn failed(&self, subject: &str) -> Vec<&str> {
        let checks = self.checks().iter().filter(|check| check["subject"] == subject);
        let failed = checks.filter(|check| check["verdict"] == "failed");
        failed.filter_map(|check| check["name"].as_str()).collect()
    }
}

/// A git project with one worker, a script.
fn project(server_yaml: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    worker("index", "well").write(&root.join("workers/index"));
    fs::create_dir(root.join("config")).unwrap();
    fs::write(root.join("config/server.yaml"), server_yaml).unwrap();
    fs::write(root.join(".gitignore"), "/target/\n/deploy/*\n").unwrap();
    git(root, &["init", "--quiet"]);
    git(root, &["add", "--all"]);
    git(root, &["commit", "--quiet", "--message", "One"]);
    folder
}

fn git(root: &Path, arguments: &[&str]) {
    let identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org"];
    let status =
        Command::new("git").current_dir(root).args(identity).args(arguments).status().unwrap();
    assert!(status.success(), "git {arguments:?}");
}

/// `tqctl doctor --json` on the machine of the test.
fn doctor(root: &Path) -> Report {
    let mut tqctl = Command::new(TQCTL);
    Report::of(&tqctl.args(["doctor", "--json", "--root"]).arg(root).output().unwrap())
}

#[test]
fn a_port_that_somebody_holds_is_reported_with_their_pid() {
    let ports = ports::lease(3);
    let (server, first, last) = (ports.port(0), ports.port(1), ports.port(2));
    let project = project(&format!(
        "server: {{port: {server}}}\n\
         workers: {{port_range_start: {first}, port_range_end: {last}}}\n"
    ));
    let name = format!("port {server}");
    assert_eq!(doctor(project.path()).check("ports", &name)[0], "ok");

    let holders = [server, first].map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)));
    assert!(holders.iter().all(Result::is_ok));
    let report = doctor(project.path());
    let pid = std::process::id();
    let [verdict, found, mend] = report.check("ports", &name);
    assert_eq!(verdict, "failed");
    assert!(found.ends_with(&format!("(pid {pid})")), "{found}");
    assert!(mend.starts_with(&format!("kill {pid} ")), "{mend}");
    let [verdict, found, _] = report.check("ports", &format!("ports {first}-{last}"));
    assert_eq!((verdict, found), ("failed", "1 of 2 free, for workers, and 2 are needed"));
    assert_eq!(report.code, Some(1));
}

#[test]
fn what_is_wrong_with_a_project_is_told_with_its_place() {
    let project = project("server:\n  port: 99999\n");
    let root = project.path();
    fs::create_dir_all(root.join("workers/notes")).unwrap();
    fs::create_dir_all(root.join("workers/chat/src")).unwrap();
    fs::write(root.join("workers/chat/src/main.rs"), "").unwrap();
    fs::create_dir_all(root.join("workers/shop/config")).unwrap();
    let shop = "build: [tqserver-no-such-tool]\nrun: [/usr/bin/tqserver-no-such-runtime]\n";
    fs::write(root.join("workers/shop/config/worker.yaml"), shop).unwrap();
    let report = doctor(root);
    assert_eq!(report.code, Some(1));

    let file = fs::canonicalize(root).unwrap().join("config/server.yaml");
    let [verdict, found, mend] = report.check("project", "configuration");
    assert_eq!(verdict, "failed");
    assert!(found.starts_with(&format!("{}:2:9: `server.port`", file.display())), "{found}");
    assert_eq!(mend, format!("${{EDITOR:-editor}} +2 {}", file.display()));

    assert_eq!(report.check("project", "workers")[..2], ["ok", "chat, index, shop"]);
    assert_eq!(report.check("project", "chat")[0], "failed", "nothing says how it is built");
    let [verdict, found, _] = report.check("project", "skipped");
    assert!(verdict == "info" && found.starts_with("notes (nothing in it"), "{found}");
    let [verdict, _, mend] = report.check("project", ".gitignore");
    assert_eq!(verdict, "warning", "the bin/ of who has a build command is not ignored");
    assert!(mend.starts_with(r"printf '%s\n' /workers/shop/bin/ >> "), "{mend}");

    for tool in ["tqserver-no-such-tool", "/usr/bin/tqserver-no-such-runtime"] {
        let [verdict, found, _] = report.check("toolchains", tool);
        assert_eq!((verdict, found), ("failed", "missing; needed by shop"));
    }
    assert_eq!(report.check("toolchains", "/usr/bin/perl")[0], "ok", "index is a script");
    let is_cargo = |check: &Value| check["name"] == "cargo";
    assert!(!report.checks().iter().any(is_cargo), "nobody needs it: {report:#?}");
}

#[test]
fn the_command_for_gitignore_mends_it() {
    let project = project("");
    fs::write(project.path().join(".gitignore"), "").unwrap();
    let report = doctor(project.path());
    let [verdict, found, mend] = report.check("project", ".gitignore");
    assert_eq!(verdict, "warning");
    assert_eq!(found, "does not cover what builds write: target/, deploy/");
    assert!(Command::new("sh").args(["-c", mend]).status().unwrap().success());
    assert_eq!(doctor(project.path()).check("project", ".gitignore")[0], "ok");
}

#[test]
fn a_project_without_a_commit_cannot_be_deployed() {
    let project = project("");
    fs::remove_dir_all(project.path().join(".git")).unwrap();
    assert_eq!(doctor(project.path()).check("project", "git")[0], "failed");
    git(project.path(), &["init", "--quiet"]);
    let report = doctor(project.path());
    let [verdict, found, mend] = report.check("project", "git");
    assert_eq!((verdict, mend), ("failed", "git add --all && git commit"));
    assert!(found.starts_with("no commit yet"), "{found}");
}

#[test]
fn without_a_project_the_machine_is_looked_at_alone() {
    let nothing = tempfile::tempdir().unwrap();
    let report = doctor(nothing.path());
    assert_eq!(report.check("project", "project")[0], "info");
    assert_eq!(report.check("ports", "loopback")[0], "ok");
    assert!(!report.checks().iter().any(|check| check["subject"] == "toolchains"), "{report:#?}");
}

#[test]
fn a_machine_without_a_manager_is_told_how_to_get_one() {
    let project = project("");
    // Whatever this machine is, without /run there is no systemd to be reached.
    let script = "mount -t tmpfs tmpfs /run && exec \"$@\"";
    let run = |arguments: &[&str]| {
        let mut unshare = Command::new("unshare");
        unshare.args(["--mount", "sh", "-c", script, "sh", TQCTL, "--root"]).arg(project.path());
        unshare.env_remove("XDG_RUNTIME_DIR").env_remove("DBUS_SESSION_BUS_ADDRESS");
        unshare.args(arguments).output().unwrap()
    };
    let report = Report::of(&run(&["--json", "doctor"]));
    assert_eq!((report.code, report.failed("systemd")), (Some(1), vec!["init"]));
    let [_, found, mend] = report.check("systemd", "init");
    assert!(found.contains(", not systemd"), "{found}");
    assert!(!mend.is_empty());

    let quiet = String::from_utf8(run(&["-q", "doctor"]).stdout).unwrap();
    assert!(quiet.contains(&format!("\n      {mend}\n")) && !quiet.contains('✓'), "{quiet}");
}

mod user_bed {
    use super::*;

    #[test]
    fn a_session_is_fit_but_for_the_journal() {
        let bed = Bed::user();
        let ports = ports::lease(1);
        let project = project(&format!("server: {{port: {}}}\n", ports.port(0)));
        let root = project.path().to_str().unwrap();
        let output = bed.command(TQCTL).args(["doctor", "--json", "--root", root]).output();
        let report = Report::of(&output.unwrap());
        assert_eq!(report.code, Some(0), "{report:#?}");
        for name in ["init", "version", "session", "user manager"] {
            assert_eq!(report.check("systemd", name)[0], "ok");
        }
        let [verdict, _, mend] = report.check("journal", "journald");
        assert_eq!((verdict, mend), ("warning", "systemctl start systemd-journald.socket"));
        // The manager has one of its own at least.
        let [_, found, _] = report.check("limits", "inotify instances");
        assert!(!found.starts_with("0 of"), "{found}");
        let [verdict, found, _] = report.check("limits", "inotify watches");
        assert!(verdict == "ok" && !found.starts_with('0'), "{found}");
    }

    #[test]
    fn a_session_bus_that_is_gone_is_started_by_the_command_it_tells() {
        let bed = Bed::user();
        bed.run(&["systemctl", "--user", "stop", "dbus.socket", "dbus.service"]);
        let nowhere = tempfile::tempdir().unwrap();
        let root = nowhere.path().to_str().unwrap();
        let doctor = || {
            let output = bed.command(TQCTL).args(["doctor", "--json", "--root", root]).output();
            Report::of(&output.unwrap())
        };
        let report = doctor();
        assert_eq!(report.failed("systemd"), ["user manager"], "{report:#?}");
        let checks = report.checks();
        let check = checks.iter().find(|check| check["name"] == "user manager").unwrap();
        let command = check["mend"].as_array().unwrap().last().unwrap().as_str().unwrap();
        bed.run(&["sh", "-c", command]);
        assert_eq!(doctor().check("systemd", "user manager")[0], "ok");
    }
}

mod system_bed {
    use super::*;

    #[test]
    fn a_user_outside_a_session_gets_one_by_the_command_it_tells() {
        // A network of its own, in which nobody has port 8080.
        let bed = Bed::start(support::bed::Kind::System, &["--net"]);
        fs::copy(TQCTL, bed.root_path("/usr/local/bin/tqctl")).unwrap();
        bed.run(&["useradd", "--create-home", "ada"]);
        let report =
            |command: &str| Report::of(&bed.command("sh").args(["-c", command]).output().unwrap());
        let doctor = "tqctl --root /home/ada --json doctor";
        let outside = report(&format!("setpriv --reuid=ada --regid=ada --init-groups {doctor}"));
        assert_eq!((outside.code, outside.failed("systemd")), (Some(1), vec!["session"]));
        let [verdict, _, join] = outside.check("journal", "reading");
        assert_eq!(verdict, "warning");

        let [_, found, mend] = outside.check("systemd", "session");
        assert!(found.contains("in no session"), "{found}");
        // The command opens a shell on a terminal; here it is to run the same check in a pipe.
        let command = mend.strip_prefix("sudo ").and_then(|it| it.strip_suffix(" bash"));
        let command = command.expect("a command that opens a shell");
        let command = command.replace("--pty", "--pipe --wait --quiet");
        bed.run(&["sh", "-c", join.strip_prefix("sudo ").unwrap()]);
        let inside = report(&format!("{command} {doctor}"));
        assert_eq!(inside.code, Some(0), "{inside:#?}");
        assert_eq!(inside.check("systemd", "user manager")[0], "ok");
        assert_eq!(inside.check("journal", "reading")[..2], ["ok", "ada may read it"]);

        assert_eq!(inside.check("systemd", "lingering")[0], "info");
        bed.run(&["sh", "-c", inside.check("systemd", "lingering")[2]]);
        assert_eq!(report(&format!("{command} {doctor}")).check("systemd", "lingering")[0], "ok");
    }

    #[test]
    fn a_daemon_of_another_user_that_sleeps_is_not_woken() {
        let bed = Bed::start(support::bed::Kind::System, &["--net"]);
        fs::copy(TQCTL, bed.root_path("/usr/local/bin/tqctl")).unwrap();
        let listen = "--socket-property=ListenStream=/run/tqserver/control.sock";
        bed.run(&["systemd-run", "--unit=sleeper", listen, "sleep", "infinity"]);
        let doctor = "setpriv --reuid=nobody --clear-groups tqctl --root / --json doctor";
        let report = Report::of(&bed.command("sh").args(["-c", doctor]).output().unwrap());
        let [verdict, found, _] = report.check("daemon", "tqserver");
        assert!(verdict == "info" && found.contains("first connection starts it"), "{found}");
        let state = ["systemctl", "show", "--value", "--property=ActiveState", "sleeper.service"];
        assert_eq!(bed.run(&state), "inactive");
    }

    #[test]
    fn root_has_the_machines_manager_and_its_journal() {
        let bed = Bed::start(support::bed::Kind::System, &["--net"]);
        let output = bed.command(TQCTL).args(["doctor", "--json", "--root", "/srv"]).output();
        let report = Report::of(&output.unwrap());
        assert_eq!(report.code, Some(0), "{report:#?}");
        assert_eq!(report.check("systemd", "session")[0], "info");
        for (subject, name) in [("bus", "system bus"), ("journal", "journald")] {
            assert_eq!(report.check(subject, name)[0], "ok");
        }
    }
}
