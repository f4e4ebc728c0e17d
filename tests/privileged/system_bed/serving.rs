//! tqserver without privileges, whose workers the launcher starts.

use crate::installation::{Installation, PATIENCE, PORT};
use crate::support::deployments::{self, worker};
use crate::support::wait::await_until;

#[test]
fn tqserver_serves_and_survives_the_launcher() {
    let system = Installation::new();
    let build = |digit, mode| system.deploy(digit, &[worker("index", mode)]);
    let deploy = |digit, mode| {
        deployments::activate(&system.deploy_dir(), &build(digit, mode));
    };
    let get = || {
        let output = system.bed.command("curl").args(["-s", "http://localhost/"]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    deploy('1', "well");
    system.shell("systemctl start tqserver.socket tqserver-control.socket");
    await_until("the first deployment", PATIENCE, || get() == "index well g1 /\n");
    assert_eq!(system.show("tqserver.service", "User"), "tqserver");

    // Killed while it is at a call: the next one does it.
    system.stop("index", PORT + 99).expect("now it runs");
    let killed = system.show("tq-launcher.service", "MainPID");
    system.shell(&format!("kill -STOP {killed}"));
    deploy('2', "better");
    let lines = || system.shell("journalctl --no-pager -u tqserver.service");
    await_until("the call", PATIENCE, || lines().contains("starting g2"));
    system.shell(&format!("kill -KILL {killed}"));
    await_until("the next deployment", PATIENCE, || get() == "index better g2 /\n");

    // What the launcher says reaches whoever reloads.
    let deployment = build('3', "worse");
    system.shell("chmod o+w /etc/tqserver/server.yaml");
    deployments::activate(&system.deploy_dir(), &deployment);
    let reload = ["tqctl", "reload", "--wait"];
    let output = system.bed.command(reload[0]).args(&reload[1..]).output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(said.contains("chmod go-w /etc/tqserver/server.yaml"), "{said}");
    assert_eq!(get(), "index better g2 /\n");
    system.shell("chmod o-w /etc/tqserver/server.yaml");

    // One that cannot be started at all.
    system.shell("systemctl mask --runtime --now tq-launcher.service");
    let output = system.bed.command(reload[0]).args(&reload[1..]).output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(said.contains("systemctl status tq-launcher.service"), "{said}");
    assert_eq!(get(), "index better g2 /\n");
}
