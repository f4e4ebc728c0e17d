//! The shipped units, read by systemd itself.

use std::fs;
use std::path::Path;
use std::process::Command;

const UNITS: [&str; 10] = [
    "tqserver.service",
    "tq-launcher.service",
    "tqserver-prune.service",
    "tqserver-prune.path",
    "tqserver.socket",
    "tqserver-https.socket",
    "tqserver-control.socket",
    "tqserver-admin.socket",
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
        let text = unit(name)
            .replace("/usr/bin/tq", "/bin/true #")
            .replace("/usr/libexec/tqserver/tq", "/bin/true #")
            .replace("/bin/kill", "/bin/true");
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

/// Exposure in tenths, as `systemd-analyze security` reckons it for what the kernel could do here.
#[test]
fn services_give_up_what_they_do_not_need() {
    for (name, most) in
        [("tqserver.service", 15), ("tq-launcher.service", 6), ("tqserver-prune.service", 8)]
    {
        let output = Command::new("systemd-analyze")
            .args(["security", "--no-pager", "--offline=yes", &format!("--threshold={most}")])
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("units").join(name))
            .output()
            .expect("systemd-analyze can be run");
        let report = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{name}: more than {most} tenths\n{report}");
    }
}

#[test]
fn sockets_have_the_names_that_tqserver_takes() {
    assert_eq!(settings(&unit("tqserver.socket"), "FileDescriptorName"), ["http"]);
    assert_eq!(settings(&unit("tqserver-https.socket"), "FileDescriptorName"), ["https"]);
    assert_eq!(settings(&unit("tqserver-control.socket"), "FileDescriptorName"), ["control"]);
    assert_eq!(settings(&unit("tqserver-admin.socket"), "FileDescriptorName"), ["admin"]);
}

/// No limit of ours ends a silent tunnel, so the kernel must notice that its client has vanished.
#[test]
fn clients_that_vanish_are_noticed() {
    for socket in ["tqserver.socket", "tqserver-https.socket"].map(unit) {
        assert_eq!(settings(&socket, "KeepAlive"), ["yes"]);
        assert_eq!(settings(&socket, "KeepAliveTimeSec"), ["60"]);
    }
}

/// They are for those who have a certificate, or a token, and come with the service alone: a service that
/// runs without them never gets them.
#[test]
fn the_sockets_of_https_and_of_the_dashboard_are_enabled_by_hand() {
    for socket in ["tqserver-https.socket", "tqserver-admin.socket"].map(unit) {
        assert_eq!(settings(&socket, "Service"), ["tqserver.service"]);
        assert_eq!(settings(&socket, "WantedBy"), ["tqserver.service"]);
    }
    let also = settings(&unit("tqserver.service"), "Also");
    let by_hand = |units: &String| units.contains("https") || units.contains("admin");
    assert!(!also.iter().any(by_hand), "{also:?}");
}

#[test]
fn the_dashboard_is_for_this_machine_alone() {
    let listens = settings(&unit("tqserver-admin.socket"), "ListenStream");
    assert!(listens.iter().all(|addr| addr.starts_with("127.0.0.1:")), "{listens:?}");
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

/// What would be left to somebody who has taken it over, in systemd's measure: 10 is everything.
#[test]
fn the_launcher_is_root_in_name_only() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("units/tq-launcher.service");
    let output = Command::new("systemd-analyze")
        .args(["security", "--offline=yes", "--threshold=6", "--no-pager"])
        .arg(path)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// The bus starts the unit that takes the name, and it is the one the program takes.
#[test]
fn the_launchers_files_agree() {
    let file = |name: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/dbus-1").join(name);
        fs::read_to_string(path).unwrap()
    };
    let launcher = unit("tq-launcher.service");
    let activation = file("org.tqserver.Launcher1.service");
    assert_eq!(settings(&launcher, "BusName"), settings(&activation, "Name"));
    assert_eq!(settings(&activation, "SystemdService"), ["tq-launcher.service"]);
    let exec = settings(&launcher, "ExecStart").remove(0);
    let server = settings(&unit("tqserver.service"), "ExecStart").remove(0);
    for option in [" --root /var/lib/tqserver", " --config /etc/tqserver"] {
        assert!(exec.contains(option) && server.contains(option), "{option}");
    }
    let variables = settings(&launcher, "EnvironmentFile");
    assert_eq!(variables, settings(&unit("tqserver.service"), "EnvironmentFile"));
}
