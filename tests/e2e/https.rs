//! The socket for HTTPS, as it is shipped, and the certificates for it.

use std::fs;

use rcgen::{CertificateParams, KeyPair};

use crate::rollout::serving;
use crate::session::{PATIENCE, Session};
use crate::support::wait::await_until;

const SOCKET: &str = include_str!("../../units/tqserver-https.socket");

/// Restarts the service, and waits until it says so.
#[track_caller]
fn restart_and_hear(session: &Session, said: &str) {
    // Fails, or goes on to be tried again.
    let _ = session.try_systemctl(&["restart", "--no-block", "tqserver.service"]);
    await_until(said, PATIENCE, || session.log().contains(said));
}

#[test]
fn the_socket_and_its_certificates_need_each_other() {
    let (project, session) = serving();
    let listen = format!("ListenStream=127.0.0.1:{}", session.worker_port(97));
    session.add_unit("tqserver-https.socket", &SOCKET.replace("ListenStream=443", &listen));
    session.systemctl(&["enable", "--runtime", "tqserver-https.socket"]);
    restart_and_hear(&session, "the socket \"https\" was passed, and `server.https.certificates`");
    await_until("status 78", PATIENCE, || {
        let status = ["show", "--value", "--property=ExecMainStatus", "tqserver.service"];
        session.systemctl(&status).trim() == "78"
    });

    let certificates = "  https: {certificates: [{certificate: a.crt, key: a.key}]}\n";
    project.configure(certificates, &session.range_yaml());
    restart_and_hear(&session, "a.crt: cannot read: No such file or directory");

    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
    fs::write(project.path().join("a.crt"), params.self_signed(&key).unwrap().pem()).unwrap();
    fs::write(project.path().join("a.key"), key.serialize_pem()).unwrap();
    restart_and_hear(&session, "inherited socket \"https\": this version does not serve it yet");

    session.systemctl(&["disable", "--runtime", "--now", "tqserver-https.socket"]);
    restart_and_hear(&session, "no socket was passed for HTTPS");
    assert_eq!(session.get("/").status, 200);
}
