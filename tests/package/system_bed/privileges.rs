//! What the server and a worker cannot do, if they are taken over.

use crate::machine::{DEPLOY, Debian, Machine, said};
use crate::support::deployments::{commit, worker};

#[test]
fn the_server_may_not_have_systemd_run_something() {
    let machine = Machine::with_tqserver(Debian::Bookworm);
    let run = "systemd-run --no-ask-password --wait --collect --quiet touch /run/was-here";
    let output = machine.as_user("tqserver", run);
    assert!(!output.status.success());
    let said = said(&output);
    assert!(said.contains("authentication") || said.contains("denied"), "{said}");
    assert!(!machine.inside("/run/was-here").exists());
    // The command itself is right.
    machine.shell(run);
    assert!(machine.inside("/run/was-here").exists());
}

#[test]
fn a_worker_sees_nothing_but_its_own_and_changes_nothing() {
    let machine = Machine::with_tqserver(Debian::Bookworm);
    machine.deploy('1', &[worker("index", "well"), worker("api", "well")]);
    let body = |path: &str| machine.get(path).body;
    let base = |name: &str| format!("{DEPLOY}/{}/workers/{name}", commit('1'));
    let (own, other) = (base("index"), base("api"));
    assert_eq!(body("/env/TQ_WORKER_BASE"), own);
    assert_eq!(body(&format!("/read{own}/private/mode")), "well");
    assert_eq!(body("/write/tmp/note"), "written", "it has a /tmp of its own");

    for path in [
        format!("{other}/private/mode"),
        format!("{other}/bin/web"),
        format!("{other}/config/worker.yaml"),
        format!("{DEPLOY}/manifest.json"),
        "/etc/tqserver/server.yaml".to_owned(),
        "/etc/shadow".to_owned(),
        "/var/lib/tq-launcher/copies".to_owned(),
    ] {
        let answer = body(&format!("/read{path}"));
        assert!(answer.starts_with("error: "), "it read {path}: {answer}");
    }
    for path in [
        format!("{own}/private/mode"),
        format!("{own}/bin/web"),
        format!("{own}/new"),
        format!("{DEPLOY}/manifest.json"),
        "/etc/tqserver/server.yaml".to_owned(),
        "/usr/bin/tqserver".to_owned(),
        "/var/lib/new".to_owned(),
    ] {
        let answer = body(&format!("/write{path}"));
        assert!(answer.starts_with("error: "), "it wrote {path}: {answer}");
    }
    for socket in ["/run/tqserver/control.sock", "/run/systemd/private"] {
        assert!(machine.inside(socket).exists(), "{socket}");
        let answer = body(&format!("/connect{socket}"));
        assert!(answer.starts_with("error: "), "it connected to {socket}: {answer}");
    }
    assert!(!machine.inside("/tmp/note").exists());
}
