//! Machines whose network is not what most have.

use rstest::rstest;

use crate::machine::{Debian, Machine};
use crate::support::deployments::worker;

/// As net.ipv6.conf.all.disable_ipv6=1 in sysctl.d(5) has it from the boot on.
#[rstest]
#[case::debian_12(Debian::Bookworm)]
#[case::debian_13(Debian::Trixie)]
fn without_ipv6_ipv4_serves(#[case] debian: Debian) {
    let machine = Machine::with_tqserver(debian);
    machine.shell("systemctl stop tqserver.service tqserver.socket");
    // The bed's own /proc/sys is read-only.
    machine.shell(
        "mkdir /run/proc && mount -t proc proc /run/proc
         echo 1 >/run/proc/sys/net/ipv6/conf/all/disable_ipv6",
    );
    machine.shell("systemctl start tqserver.socket tqserver.service");
    assert!(
        machine.shell("curl -sS -o /dev/null -g 'http://[::1]/' 2>&1 || true").contains("curl: (")
    );
    machine.deploy('1', &[worker("index", "well")]);
    assert_eq!(machine.get("/").body, "index well g1 /\n");
}
