//! The dashboard, as docs/dashboard.md has it: the service reads its pages in its sandbox.

use rstest::rstest;

use crate::machine::{Debian, Machine, PATIENCE};
use crate::support::deployments::worker;
use crate::support::wait::await_until;

#[rstest]
#[case::debian_12(Debian::Bookworm)]
#[case::debian_13(Debian::Trixie)]
fn the_dashboard_wants_a_token_and_its_socket(#[case] debian: Debian) {
    let machine = Machine::with_tqserver(debian);
    machine.deploy('1', &[worker("index", "well")]);
    let enabled = machine.shell("systemctl is-enabled tqserver-admin.socket || true");
    assert_eq!(enabled.trim(), "disabled");
    machine.shell(
        "echo TQ_DASHBOARD_TOKEN=0123456789abcdef >>/etc/default/tqserver
         chmod 600 /etc/default/tqserver
         systemctl enable --quiet tqserver-admin.socket",
    );
    let before = machine.main_pid();
    machine.shell("systemctl restart --no-block tqserver");
    machine.await_other_than(before);
    let look = "curl --silent --noproxy '*' --location --cookie-jar /root/jar --cookie /root/jar \
                    --data token=0123456789abcdef http://localhost:8070/login || true";
    await_until("the dashboard", PATIENCE, || {
        let page = machine.shell(look);
        page.contains("serving") && page.contains("index")
    });
}
