//! Upgrades to what does not work, or not quite the same way.

use std::fs;

use tempfile::TempDir;

use crate::deb;
use crate::machine::{Debian, Machine};
use crate::support::deployments::worker;

const PAGE: &str = "index well g1 /\n";

const CHANGED: &str = "the settings of tqserver.service changed";

#[test]
fn a_version_that_cannot_start_leaves_the_old_one_serving() {
    let folder = TempDir::new().unwrap();
    let broken = deb::changed(deb::SECOND, folder.path(), |tree| {
        let script = "#!/bin/sh\necho 'out of order' >&2\nexit 1\n";
        fs::write(tree.join("usr/bin/tqserver"), script).unwrap();
    });
    let machine = Machine::upgradable(Debian::Bookworm, &[broken, deb::build("0.3.0")]);
    machine.deploy('1', &[worker("index", "well")]);
    assert_eq!(machine.get("/").body, PAGE);
    let (old, workers) = (machine.main_pid(), machine.workers());

    let said = machine.install(deb::SECOND);
    assert!(said.contains("the old one keeps serving"), "{said}");
    let installed = machine.bed.run(&["dpkg-query", "-W", "-f=${Version} ${Status}", "tqserver"]);
    assert_eq!(installed, format!("{} install ok installed", deb::SECOND));
    assert_eq!(machine.main_pid(), old);
    assert_eq!(machine.get("/").body, PAGE);

    let said = machine.install("0.3.0");
    assert!(!said.contains("keeps serving"), "{said}");
    machine.await_other_than(old);
    assert_eq!(machine.get("/").body, PAGE);
    assert_eq!(machine.workers(), workers, "they run on");
}

#[test]
fn changed_unit_settings_are_told_of_and_wait_for_a_restart() {
    let folder = TempDir::new().unwrap();
    let other = deb::changed("0.3.0", folder.path(), |tree| {
        let path = tree.join("lib/systemd/system/tqserver.service");
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains("\nRestartSec=1\n"), "{text}");
        fs::write(path, text.replace("\nRestartSec=1\n", "\nRestartSec=2\n")).unwrap();
    });
    let machine = Machine::upgradable(Debian::Bookworm, &[deb::build(deb::SECOND), other]);
    machine.deploy('1', &[worker("index", "well")]);
    let first = machine.main_pid();

    let said = machine.install(deb::SECOND);
    assert!(!said.contains(CHANGED), "{said}");
    machine.await_other_than(first);
    let second = machine.main_pid();

    let said = machine.install("0.3.0");
    assert!(said.contains(CHANGED), "{said}");
    assert!(said.contains("systemctl restart tqserver"), "{said}");
    machine.await_other_than(second);
    machine.shell("systemctl restart tqserver.service");
    assert_eq!(machine.get("/").body, PAGE);
}
