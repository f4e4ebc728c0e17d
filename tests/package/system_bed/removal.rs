//! What is left of tqserver.

use std::collections::BTreeSet;

use rstest::rstest;

use crate::deb;
use crate::machine::{DEPLOY, Debian, Machine};
use crate::repository::Repository;
use crate::support::deployments::{commit, worker};

/// What packages leave to the package manager, systemd and other programs, which also change
/// there when any other package comes and goes.
const OTHERS: &[&str] = &[
    "/etc/.pwd.lock",
    "/etc/passwd-",
    "/etc/shadow-",
    "/etc/group-",
    "/etc/gshadow-",
    "/etc/subuid-",
    "/etc/subgid-",
    "/run/credentials",
    "/run/dbus",
    "/run/log",
    "/run/lock",
    "/run/mount",
    "/run/systemd",
    "/run/udev",
    "/var/cache/apt",
    "/var/cache/debconf",
    "/var/cache/ldconfig",
    "/var/cache/man",
    "/var/lib/apt",
    "/var/lib/dpkg",
    "/var/lib/systemd/random-seed",
    "/var/lib/systemd/catalog",
    "/var/log",
    "/var/tmp/systemd-private-",
];

fn files(machine: &Machine) -> BTreeSet<String> {
    let list = machine.shell("find /etc /usr /var /run -xdev");
    let of_others = |path: &&str| OTHERS.iter().any(|other| path.starts_with(other));
    list.lines().filter(|path| !of_others(path)).map(str::to_owned).collect()
}

#[rstest]
#[case::debian_12(Debian::Bookworm)]
#[case::debian_13(Debian::Trixie)]
fn remove_stops_everything_and_purge_leaves_the_deployments(#[case] debian: Debian) {
    let machine = Machine::boot(debian, Repository::of(&[deb::build(deb::FIRST)]));
    machine.apt(&["update"]);
    machine.shell("useradd --no-create-home --home-dir /home/ada ada; mkdir /home/ada");
    // What an account leaves, a file of polkit and the like are there before.
    machine.shell("systemctl start polkit.service; systemd-run --wait -pDynamicUser=yes true");
    let before = files(&machine);
    machine.install(deb::FIRST);
    machine.shell("usermod --append --groups tqserver-deploy ada");
    let state = "state_directory: true\n";
    machine.shell(
        "sed --in-place 's/^  grants: {}$/  grants: {api: {state_directory: true}}/' \
             /etc/tqserver/server.yaml",
    );
    machine.deploy('1', &[worker("index", "well"), worker("api", "well").yaml(state)]);
    assert_eq!(machine.get("/").status, 200);
    assert_eq!(machine.workers().len(), 2);

    machine.apt(&["remove", "tqserver"]);
    assert_eq!(machine.workers(), [""; 0]);
    let units = "tqserver* tq-*";
    let active = machine.shell(&format!(
        "systemctl list-units --plain --no-legend --state=active,activating,deactivating,failed \
         {units}"
    ));
    assert_eq!(active, "");
    let processes = machine.shell("ps -e -o args");
    assert!(!processes.contains("tqserver") && !processes.contains("bin/web"), "{processes}");
    machine.bed.command("curl").args(["-s", "http://localhost/"]).status().map_or_else(
        |error| panic!("{error}"),
        |status| assert_eq!(status.code(), Some(7), "curl: the port is closed"),
    );
    for kept in ["/etc/tqserver/server.yaml", "/var/lib/private/tq-workers/api"] {
        assert!(machine.inside(kept).exists(), "{kept} is gone before purge");
    }

    let said = machine.apt(&["purge", "tqserver"]);
    assert!(said.contains(DEPLOY), "{said}");
    let after = files(&machine);
    let deployments = |path: &&String| path.starts_with(DEPLOY) || **path == "/var/lib/tqserver";
    let left: Vec<_> = after.difference(&before).filter(|path| !deployments(path)).collect();
    assert!(left.is_empty(), "left: {left:#?}");
    let lost: Vec<_> = before.difference(&after).collect();
    assert!(lost.is_empty(), "gone: {lost:#?}");
    assert!(after.contains(&format!("{DEPLOY}/{}/workers/index/bin/web", commit('1'))));
}

#[test]
fn purge_leaves_no_folder_when_nothing_was_deployed() {
    let machine = Machine::with_tqserver(Debian::Bookworm);
    assert_eq!(machine.get("/").status, 503);
    machine.apt(&["purge", "tqserver"]);
    for path in [
        "/var/lib/tqserver",
        "/var/lib/tq-launcher",
        "/var/log/tqserver",
        "/etc/tqserver",
        "/run/tqserver",
    ] {
        assert!(!machine.inside(path).exists(), "{path} is left");
    }
}
