//! The access log of an installed server, whose sandbox lets it write to one folder.

use crate::machine::{Debian, Machine, PATIENCE};
use crate::support::deployments::worker;
use crate::support::wait::await_until;

#[test]
fn the_service_may_write_it_and_what_the_package_rotates_goes_on() {
    let machine = Machine::with_tqserver(Debian::Bookworm);
    machine.deploy('1', &[worker("index", "well")]);
    machine.shell(
        "sed --in-place -e 's/^    format: \"off\"/    format: json/' \
             -e 's|^    file: \"\"|    file: /var/log/tqserver/access.log|' /etc/tqserver/server.yaml
         systemctl reload tqserver",
    );
    let lines = |file: &str| machine.shell(&format!("cat /var/log/tqserver/{file} || true"));
    assert_eq!(machine.get("/").status, 200);
    await_until("a line", PATIENCE, || lines("access.log").contains(r#""worker":"index""#));
    let owner = machine.shell("stat --format='%U %a' /var/log/tqserver/access.log");
    assert_eq!(owner.trim(), "tqserver 600");

    // As logrotate does, with the script that it is given.
    machine.shell(
        "mv /var/log/tqserver/access.log /var/log/tqserver/access.log.1
         sed --quiet '/postrotate/,/endscript/{//!p}' /etc/logrotate.d/tqserver | sh -e",
    );
    await_until("a new file", PATIENCE, || {
        machine.get("/rotated");
        lines("access.log").contains("/rotated")
    });
}
