//! What happens to old deployments once another one serves.

use std::fs;

use crate::installation::{DEPLOY, Installation, PATIENCE};
use crate::support::deployments::{self, commit, worker};
use crate::support::wait::await_until;

#[test]
fn a_deployment_that_serves_has_those_removed_that_nothing_needs() {
    let system = Installation::new();
    let retention = "deployment: {prod: {retention: {keep: 1, days: 0}}}\n";
    fs::write(system.inside("/etc/tqserver/deployment.yaml"), retention).unwrap();
    system.shell("systemctl enable --quiet tqserver-prune.path");
    let deploy = |digit, mode| {
        let deployment = system.deploy(digit, &[worker("index", mode)]);
        // Members remove what other members have deployed.
        system.shell(&format!("chmod -R g+w {DEPLOY}/{}", deployment.git_commit));
        deployments::activate(&system.deploy_dir(), &deployment);
    };
    let get = || {
        let output = system.bed.command("curl").args(["-s", "http://localhost/"]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    deploy('1', "well");
    system.shell("systemctl start tqserver.socket tqserver-control.socket");
    await_until("the first deployment", PATIENCE, || get() == "index well g1 /\n");
    deploy('2', "better");
    await_until("the second", PATIENCE, || get() == "index better g2 /\n");
    deploy('3', "well");
    await_until("the third", PATIENCE, || get() == "index well g3 /\n");

    let there = |digit| system.deploy_dir().commit_dir(&commit(digit)).exists();
    let log = || system.shell("journalctl --no-pager -u tqserver-prune.service");
    await_until("the end of the first", PATIENCE, || !there('1'));
    assert!(there('3'), "{}", log());
    await_until("a word on it", PATIENCE, || log().contains("removed  1111111"));
    assert_eq!(system.show("tqserver-prune.service", "User"), "tqserver-prune");
    assert_eq!(get(), "index well g3 /\n");

    let stranger = system.as_user("stranger", &["tqctl", "prune"]);
    assert_eq!(stranger.status.code(), Some(4), "{stranger:?}");
}
