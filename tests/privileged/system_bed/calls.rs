//! Who may call what on the bus.

use crate::installation::{Installation, PATIENCE, PORT};
use crate::support::deployments::{commit, worker};
use crate::support::wait::await_until;

#[test]
fn only_tqserver_may_ask_and_only_the_launcher_may_start() {
    let system = Installation::new();
    system.deploy('1', &[worker("index", "well")]);

    let start = ["busctl", "call", "org.freedesktop.systemd1", "/org/freedesktop/systemd1"];
    let manager = ["org.freedesktop.systemd1.Manager", "StartTransientUnit", "ssa(sv)a(sa(sv))"];
    let unit = ["tq-worker@index-9000.service", "fail", "1", "ExecStart", "a(sasb)", "1"];
    let exec = ["/bin/true", "1", "/bin/true", "false", "0"];
    let output = system.as_user("tqserver", &[&start[..], &manager, &unit, &exec].concat());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("authentication required"), "{said}");

    let commit = commit('1');
    let arguments = ["index", "9000", commit.as_str(), "1"];
    for user in ["stranger", "deployer"] {
        let error = system.call_as(user, "StartWorker", "sqst", &arguments).unwrap_err();
        assert!(error.contains("Access denied") || error.contains("rejected"), "{user}: {error}");
    }
    let error = system.call("Exit", "", &[]).unwrap_err();
    assert!(error.contains("there are StartWorker and StopWorker"), "{error}");
    let error = system.call("StartWorker", "sqss", &["index", "9000", "x", "y"]);
    assert!(error.unwrap_err().contains("signature sqst"));

    system.start("index", PORT, '1').unwrap();
    let state = || system.show("tq-worker@index-9000.service", "ActiveState");
    await_until("the worker", PATIENCE, || state() == "active");
    system.stop("index", PORT).unwrap();
    await_until("the worker's end", PATIENCE, || state() == "inactive");
    system.stop("index", PORT).expect("stopping one that is gone succeeds");
}

#[test]
fn it_ends_when_nobody_calls_and_no_call_is_lost_by_that() {
    let system = Installation::new();
    system.edit_unit(
        "tq-launcher.service",
        "[Service]\nExecStart=\nExecStart=/usr/libexec/tqserver/tq-launcher --idle-seconds 0\n",
    );
    // Each comes while the one before may be about to end.
    for _ in 0..30 {
        system.stop("index", PORT).unwrap();
    }
    let state = || system.show("tq-launcher.service", "ActiveState");
    await_until("its end", PATIENCE, || state() == "inactive");
    assert_eq!(system.show("tq-launcher.service", "Result"), "success");
    // And while it is told to end.
    for _ in 0..10 {
        system.shell("systemctl stop --no-block tq-launcher.service");
        system.stop("index", PORT).unwrap();
    }
}
