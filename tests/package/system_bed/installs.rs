//! From a bare machine to a page from a worker.

use rstest::rstest;

use crate::machine::{DEPLOYER, Debian, Machine, said};
use crate::support::deployments::worker;

/// What a worker's unit must say of its sandbox.
const SANDBOX: &[(&str, &str)] = &[
    ("DynamicUser", "yes"),
    ("User", "tqw-index"),
    ("Slice", "tq-workers-index.slice"),
    ("CapabilityBoundingSet", ""),
    ("AmbientCapabilities", ""),
    ("NoNewPrivileges", "yes"),
    ("ProtectSystem", "strict"),
    ("ProtectHome", "yes"),
    ("ProtectProc", "invisible"),
    ("PrivateTmp", "yes"),
    ("PrivateDevices", "yes"),
    ("PrivateUsers", "yes"),
    ("MemoryDenyWriteExecute", "yes"),
];

#[test]
fn the_doctor_sees_whether_workers_could_be_started() {
    let machine = Machine::with_tqserver(Debian::Bookworm);
    let doctor = "cd /srv && tqctl doctor";
    let found = machine.shell(doctor);
    assert!(found.contains("org.tqserver.Launcher1 starts on demand"), "{found}");
    machine.shell("rm /usr/share/dbus-1/system-services/org.tqserver.Launcher1.service");
    machine.shell("systemctl reload dbus");
    let found = machine.shell(&format!("{doctor} || true"));
    assert!(found.contains("\n      apt install --reinstall tqserver\n"), "{found}");
    // Who may not ask the daemon is told how to be let.
    let output = machine.as_user(DEPLOYER, "cd / && tqctl doctor");
    let (found, socket) = (said(&output), "/run/tqserver/control.sock");
    assert!(found.contains(&format!("you may not ask it ({socket})")), "{found}");
}

#[test]
fn a_configuration_can_be_checked_before_it_is_loaded() {
    let machine = Machine::with_tqserver(Debian::Bookworm);
    machine.deploy('1', &[worker("index", "well")]);
    let check = "cd /root && tqctl check";
    assert_eq!(machine.shell(check).trim(), "✓ prod  1111111: index at /");
    // A variable that the units load.
    machine.shell("echo 'server: {port: \"${HTTP_PORT}\"}' >/etc/tqserver/server.yaml");
    machine.shell("echo HTTP_PORT=eighty >>/etc/default/tqserver");
    let found = machine.shell(&format!("{check} || echo exit $?"));
    assert!(found.contains("/etc/tqserver/server.yaml:1:16: `server.port` must be"), "{found}");
    assert!(found.contains("exit 1"), "{found}");
}

#[rstest]
#[case::debian_12(Debian::Bookworm)]
#[case::debian_13(Debian::Trixie)]
fn the_sample_workers_serve_after_apt_install_and_a_deployment(#[case] debian: Debian) {
    let machine = Machine::with_tqserver(debian);
    let answer = machine.get("/");
    assert_eq!(answer.status, 503);
    assert!(answer.body.contains("nothing is deployed yet"), "{}", answer.body);

    machine.deploy_samples();

    let home = machine.get("/");
    assert_eq!(home.status, 200, "{}\n{}", home.body, machine.log());
    assert!(home.body.contains("<html"), "{}", home.body);
    assert_eq!(machine.get("/api/users").status, 200);
    assert_eq!(machine.workers().len(), 2);

    let index = machine.unit_of("index");
    let shown: Vec<_> =
        SANDBOX.iter().map(|&(property, _)| (property, machine.show(&index, property))).collect();
    let expected: Vec<_> =
        SANDBOX.iter().map(|&(property, value)| (property, value.to_owned())).collect();
    assert_eq!(shown, expected);
    assert!(!machine.show(&index, "SystemCallFilter").is_empty());
    assert_eq!(machine.show("tqserver.service", "User"), "tqserver");

    machine.shell("journalctl --sync");
    let port = index.trim_start_matches("tq-worker@index-").trim_end_matches(".service");
    let line = format!("serving on 127.0.0.1:{port}");
    for filter in [["-u", "tq-worker@index-*"], ["--", "TQ_WORKER=index"]] {
        let mut journalctl = vec!["journalctl", "--output=cat"];
        journalctl.extend(filter);
        let lines = machine.bed.run(&journalctl);
        assert!(lines.contains(&line), "{filter:?}: {lines}");
    }
    let others = machine.bed.run(&["journalctl", "--output=cat", "TQ_WORKER=api_users"]);
    assert!(others.contains("serving on") && !others.contains(&line), "{others}");
}

#[test]
fn an_administrator_of_its_group_may_use_tqctl_and_others_may_not() {
    let machine = Machine::with_tqserver(Debian::Bookworm);
    machine.shell("useradd --groups tqserver-admin grace");
    // Who asks first starts the server; later ones must find the socket as it was.
    for _ in 0..2 {
        let status = machine.as_user("grace", "tqctl status");
        assert!(said(&status).contains("nothing"), "{}", said(&status));
    }
    let status = machine.as_user(DEPLOYER, "tqctl status");
    assert!(!status.status.success(), "{status:?}");
    assert!(said(&status).contains("tqserver-admin"), "{status:?}");
}
