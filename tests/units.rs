//! The shipped units, read by systemd itself.

use std::fs;
use std::path::Path;
use std::process::Command;

const UNITS: [&str; 5] = [
    "tqserver.service",
    "tqserver.socket",
    "tqserver-control.socket",
    "tq-workers.target",
    "tq-workers.slice",
];

fn unit(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("units").join(name)).unwrap()
}

/// All values of a setting, in order.
fn settings(unit: &str, key: &str) -> Vec<String> {
    let values = unit.lines().filter_map(|line| line.split_once('='));
    values.filter(|(name, _)| *name == key).map(|(_, value)| value.to_owned()).collect()
}

#[test]
fn systemd_understands_every_line() {
    let dir = tempfile::tempdir().unwrap();
    let mut analyze = Command::new("systemd-analyze");
    analyze.args(["verify", "--man=no", "--recursive-errors=no"]);
    for name in UNITS {
        // systemd looks whether the programs exist, and ours are not installed yet.
        let text =
            unit(name).replace("/usr/bin/tq", "/bin/true #").replace("/bin/kill", "/bin/true");
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        analyze.arg(path);
    }
    let output = match analyze.output() {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            panic!("systemd-analyze is missing: apt install systemd")
        }
        Err(error) => panic!("systemd-analyze: {error}"),
    };
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && complaints.is_empty(), "{complaints}");
}

#[test]
fn sockets_have_the_names_that_tqserver_takes() {
    assert_eq!(settings(&unit("tqserver.socket"), "FileDescriptorName"), ["http"]);
    assert_eq!(settings(&unit("tqserver-control.socket"), "FileDescriptorName"), ["control"]);
}

/// No limit of ours ends a silent tunnel, so the kernel must notice that its client has vanished.
#[test]
fn clients_that_vanish_are_noticed() {
    let socket = unit("tqserver.socket");
    assert_eq!(settings(&socket, "KeepAlive"), ["yes"]);
    assert_eq!(settings(&socket, "KeepAliveTimeSec"), ["60"]);
}

#[test]
fn the_control_socket_is_where_tqctl_looks() {
    let listens = settings(&unit("tqserver-control.socket"), "ListenStream");
    assert_eq!(listens, [tqserver::ctl::client::SYSTEM_SOCKET]);
}

#[test]
fn a_reload_signals_and_then_waits_for_the_verdict() {
    let reload = settings(&unit("tqserver.service"), "ExecReload");
    assert_eq!(reload, ["/bin/kill -HUP $MAINPID", "/usr/bin/tqctl reload --wait"]);
}

/// Each of these was learnt the hard way; see the comments in the units.
#[test]
fn workers_outlive_the_proxy_and_the_port_stays_open() {
    let service = unit("tqserver.service");
    assert_eq!(settings(&service, "StartLimitIntervalSec"), ["0"]);
    assert_eq!(settings(&service, "Wants"), ["tq-workers.target"]);
    assert!(settings(&service, "Before").is_empty());
    let target = unit("tq-workers.target");
    for setting in ["StopWhenUnneeded", "RefuseManualStart", "IgnoreOnIsolate"] {
        assert_eq!(settings(&target, setting), ["yes"], "{setting}");
    }
}
