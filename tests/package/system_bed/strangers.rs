//! A worker's port in other hands, under the sandbox that tqserver has as a service.

use rstest::rstest;

use crate::machine::{Debian, Machine};
use crate::support::deployments::worker;

/// Tells of itself, and of all that it is sent.
const STRANGER: &str = r#"
use IO::Socket::INET;
$| = 1;
my $listener = IO::Socket::INET->new(
    LocalAddr => '127.0.0.1', LocalPort => shift, Listen => 5, ReuseAddr => 1
) or die;
print "listens\n";
while (my $client = $listener->accept) { sysread $client, my $bytes, 4096; print "sent: $bytes\n" }
"#;

#[rstest]
#[case::debian_12(Debian::Bookworm)]
#[case::debian_13(Debian::Trixie)]
fn who_takes_a_workers_port_is_sent_nothing(#[case] debian: Debian) {
    let machine = Machine::with_tqserver(debian);
    machine.deploy('1', &[worker("index", "well")]);
    assert_eq!(machine.get("/unlisten").status, 200);
    let unit = machine.unit_of("index");
    let port = unit.trim_end_matches(".service").rsplit('-').next().unwrap();
    std::fs::write(machine.inside("/root/stranger.pl"), STRANGER).unwrap();
    machine.shell(&format!(
        "systemd-run --quiet --unit stranger -p Restart=on-failure -p RestartSec=100ms -p StartLimitIntervalSec=0 \
             -p StandardOutput=file:/run/stranger perl /root/stranger.pl {port}
         timeout 30 sh -c 'until grep -q listens /run/stranger; do sleep 0.1; done' \\
             || {{ journalctl --unit stranger --lines 20; ss -tanp sport = :{port}; exit 1; }} >&2"
    ));
    let answer = machine.get("/secret");
    assert!([502, 503].contains(&answer.status), "{answer:?}");
    let seen = machine.shell("cat /run/stranger");
    assert!(seen.contains("sent:") && !seen.contains("GET"), "{seen}\n{}", machine.log());
}
