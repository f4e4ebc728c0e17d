//! The promise: apt, systemctl and a load meet, and not one request is lost.

use std::net::{Ipv4Addr, SocketAddr};

use crate::deb;
use crate::machine::{Debian, Machine, PATIENCE};
use crate::support::load::{Kind, Load};
use crate::support::wait::await_until;

/// Each is an upgrade, a restart, a downgrade, and a reload with a new program.
const ROUNDS: usize = 5;

/// How many exchanges the clients have between two steps.
const EXCHANGES: u64 = 100;

const CLIENTS: &[(Kind, usize)] = &[
    (Kind::KeepAlive, 6),
    (Kind::NewConnection, 6),
    (Kind::Post, 4),
    (Kind::Download, 4),
    (Kind::Events, 4),
    (Kind::WebSocket, 4),
];

#[test]
fn twenty_upgrades_downgrades_restarts_and_reloads_lose_nothing() {
    let machine = Machine::upgradable(Debian::Bookworm, &[deb::build(deb::SECOND)]);
    // Streams would hold every step up for as long as this.
    machine.shell(
        "sed --in-place 's/^  drain_timeout_seconds: .*/  drain_timeout_seconds: 4/' \
             /etc/tqserver/server.yaml
         grep '^  drain_timeout_seconds: 4' /etc/tqserver/server.yaml",
    );
    machine.deploy_samples();
    assert_eq!(machine.get("/").status, 200, "{}", machine.log());
    let workers = machine.workers();

    let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, 80));
    let load = Load::start_inside(machine.bed.network(), addr, CLIENTS, true);
    let mut pid = machine.main_pid();
    let steps: [&dyn Fn(); 4] = [
        &|| assert!(!machine.install(deb::SECOND).contains("did not take over")),
        &|| drop(machine.shell("systemctl restart tqserver.service")),
        &|| assert!(!machine.install(deb::FIRST).contains("did not take over")),
        &|| {
            machine.shell("cp /usr/bin/tqserver /usr/bin/.new; mv /usr/bin/.new /usr/bin/tqserver");
            machine.reload();
        },
    ];
    for step in steps.iter().cycle().take(ROUNDS * steps.len()) {
        let until = load.done() + EXCHANGES;
        await_until("exchanges between two steps", PATIENCE, || load.done() >= until);
        step();
        let successor = machine.main_pid();
        assert_ne!(successor, pid, "each step has another process serve");
        pid = successor;
    }
    let seen = load.finish();
    eprintln!("{seen}");
    for kind in [Kind::Events, Kind::WebSocket] {
        assert!(seen.ended(kind) > 0, "no stream met its drain limit: {seen}");
    }
    assert_eq!(machine.workers(), workers, "they run on");
    let status: serde_json::Value =
        serde_json::from_str(&machine.bed.run(&["tqctl", "--json", "status"])).unwrap();
    assert_eq!(status["counters"]["server_errors"], 0, "{status:#}");
}
