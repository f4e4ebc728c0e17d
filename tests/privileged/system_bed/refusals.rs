//! What the launcher refuses, to a caller that may call it.

use std::fs;
use std::os::unix::fs::symlink;

use tqserver::ids::WorkerName;

use crate::installation::{Installation, PATIENCE, PORT, open_to_all};
use crate::support::deployments::{commit, worker};
use crate::support::wait::await_until;

fn index() -> WorkerName {
    "index".parse().unwrap()
}

#[test]
fn what_is_not_deployed_or_not_as_it_was_built() {
    let system = Installation::new();
    let refused = |name, port, digit, reason: &str| {
        let error = system.start(name, port, digit).unwrap_err();
        assert!(error.contains(reason), "{error}");
        assert_eq!(system.main_pid("index", PORT), 0);
    };
    let deploy = system.deploy_dir();
    let folder = |digit| deploy.worker_dir(&commit(digit), &index());
    for digit in '1'..='5' {
        system.deploy(digit, &[worker("index", "well")]);
    }
    refused("other", PORT, '1', "deployment 1111111 has no such worker");
    refused("index", PORT, '9', "deployment 9999999 is not in /var/lib/tqserver/deploy");
    refused("index", 22, '1', "port 22 is not one of 9000 to 9099");
    refused("index", 0, '1', "0 is no port");

    let mut program = fs::read(folder('2').join("bin/web")).unwrap();
    program[0] ^= 1;
    fs::write(folder('2').join("bin/web"), program).unwrap();
    refused("index", PORT, '2', "bin/web: has SHA-256");

    let moved = system.inside("/var/lib/tqserver/moved");
    fs::rename(folder('3').join("private"), &moved).unwrap();
    symlink("/var/lib/tqserver/moved", folder('3').join("private")).unwrap();
    refused("index", PORT, '3', "is a symbolic link");

    let moved = system.inside("/var/lib/tqserver/other");
    fs::rename(deploy.commit_dir(&commit('4')), &moved).unwrap();
    symlink("/var/lib/tqserver/other", deploy.commit_dir(&commit('4'))).unwrap();
    refused("index", PORT, '4', "is not a folder");

    // A launcher that followed the link would see a sound deployment: of another commit, too.
    fs::rename(deploy.commit_dir(&commit('5')), system.inside("/var/lib/tqserver/five")).unwrap();
    fs::rename(deploy.commit_dir(&commit('1')), deploy.commit_dir(&commit('5'))).unwrap();
    refused("index", PORT, '5', "is the record of 1111111");
}

#[test]
fn what_others_than_root_could_have_written() {
    let system = Installation::new();
    system.deploy('1', &[worker("index", "well")]);
    let refused = |reason: &str| {
        let error = system.start("index", PORT, '1').unwrap_err();
        assert!(error.contains(reason), "{error}");
    };
    let yaml = system.inside("/etc/tqserver/server.yaml");
    open_to_all(&yaml);
    refused("server.yaml: must not be writable to others: chmod go-w /etc/tqserver/server.yaml");
    // What root changes is in force at once.
    system.configure("  max_draining_generations: lots\n");
    refused("server.yaml:");
    system.configure("");
    system.shell("chown tqserver /etc/tqserver");
    refused("/etc/tqserver: must belong to root: chown root /etc/tqserver");
    system.shell("chown root /etc/tqserver; chown deployer /var/lib/tqserver/deploy");
    refused("chown root /var/lib/tqserver/deploy");
    system.shell("chown root /var/lib/tqserver/deploy; chmod o+w /var/lib/tqserver/deploy");
    refused("chmod o-w /var/lib/tqserver/deploy");
    system.shell("chmod o-w /var/lib/tqserver/deploy");
    system.start("index", PORT, '1').unwrap();
}

#[test]
fn more_units_than_a_worker_may_have() {
    let system = Installation::new();
    system.configure("  max_draining_generations: 1\n");
    system.deploy('1', &[worker("index", "well"), worker("api", "well")]);
    for port in PORT..PORT + 5 {
        system.start("index", port, '1').unwrap();
    }
    let error = system.start("index", PORT + 5, '1').unwrap_err();
    assert!(error.contains("it has 5 units, and at most 5 may be"), "{error}");
    system.start("api", PORT + 5, '1').unwrap();
    system.stop("index", PORT).unwrap();
    let state = || system.show("tq-worker@index-9000.service", "ActiveState");
    await_until("the first one's end", PATIENCE, || state() == "inactive");
    system.start("index", PORT, '1').unwrap();
}
