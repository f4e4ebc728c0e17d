//! Who deploys may start and reload tqserver, and nothing else.

use rstest::rstest;

use crate::machine::{DEPLOYER, Debian, Machine, said};
use crate::support::deployments::worker;

#[rstest]
#[case::debian_12(Debian::Bookworm)]
#[case::debian_13(Debian::Trixie)]
fn a_deployer_may_start_and_reload_tqserver_and_nothing_else(#[case] debian: Debian) {
    let machine = Machine::with_tqserver(debian);
    let systemctl = |user: &str, args: &str| {
        machine.as_user(user, &format!("systemctl --no-ask-password {args}"))
    };
    for allowed in ["start tqserver.service", "start tqserver"] {
        let output = systemctl(DEPLOYER, allowed);
        assert!(output.status.success(), "{allowed}: {}", said(&output));
    }
    assert_ne!(machine.main_pid(), 0);
    machine.deploy('1', &[worker("index", "well")]);
    assert_eq!(machine.get("/").body, "index well g1 /\n");

    let before = machine.main_pid();
    for refused in [
        "stop tqserver.service",
        "restart tqserver.service",
        "try-restart tqserver.service",
        "reload-or-restart tqserver.service",
        "kill tqserver.service",
        "set-property --runtime tqserver.service MemoryMax=1M",
        "reload dbus.service",
        "start tq-launcher.service",
        "restart tqserver.socket",
        "stop tq-workers.slice",
        "daemon-reload",
        "disable tqserver.service",
        "isolate rescue.target",
    ] {
        let output = systemctl(DEPLOYER, refused);
        assert!(!output.status.success(), "{refused} was not refused");
    }
    let worker = machine.unit_of("index");
    assert!(!systemctl(DEPLOYER, &format!("stop {worker}")).status.success());
    machine.shell("useradd stranger");
    for refused in ["start tqserver.service", "reload tqserver.service"] {
        assert!(!systemctl("stranger", refused).status.success(), "{refused} by a stranger");
    }
    assert_eq!(machine.main_pid(), before, "{}", machine.log());
    assert_eq!(machine.get("/").body, "index well g1 /\n");
}
