//! The socket for HTTPS, as it is shipped, and the certificates for it.

use std::fs;
use std::process::Command;

use rcgen::{CertificateParams, KeyPair};

use crate::project::Project;
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

/// Writes a certificate that has signed itself.
fn write_certificate(project: &Project) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
    fs::write(project.path().join("a.crt"), params.self_signed(&key).unwrap().pem()).unwrap();
    fs::write(project.path().join("a.key"), key.serialize_pem()).unwrap();
}

/// The answer at this port to who trusts the certificate that was written last.
fn curl(project: &Project, port: u16) -> Result<String, String> {
    let output = Command::new("timeout")
        .args(["20", "curl", "--silent", "--show-error", "--include", "--noproxy", "*"])
        .args(["--resolve", &format!("a.example:{port}:127.0.0.1"), "--cacert"])
        .arg(project.path().join("a.crt"))
        .arg(format!("https://a.example:{port}/"))
        .output()
        .unwrap();
    match output.status.success() {
        true => Ok(String::from_utf8(output.stdout).unwrap()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

#[test]
fn the_socket_and_its_certificates_need_each_other() {
    let (project, session) = serving();
    let port = session.worker_port(97);
    let listen = format!("ListenStream=127.0.0.1:{port}");
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

    write_certificate(&project);
    let _ = session.try_systemctl(&["restart", "--no-block", "tqserver.service"]);
    let answer = || curl(&project, port).is_ok_and(|answer| answer.starts_with("HTTP/2 200 "));
    await_until("an answer over TLS", PATIENCE, answer);

    // Renewed, and taken into use by a reload, as are the two rules.
    write_certificate(&project);
    let rules = "  https:\n    certificates: [{certificate: a.crt, key: a.key}]\n    \
                 redirect_http: true\n    hsts_max_age_seconds: 60\n";
    project.configure(rules, &session.range_yaml());
    let stale = curl(&project, port).unwrap_err();
    assert!(stale.contains("certificate"), "{stale}");
    session.systemctl(&["reload", "tqserver.service"]);
    let renewed = curl(&project, port);
    assert!(renewed.as_ref().is_ok_and(|it| it.ends_with("index well g1 /\n")), "{renewed:?}");
    assert!(renewed.is_ok_and(|it| it.contains("strict-transport-security: max-age=60")));
    let elsewhere = session.get("/a?b=c");
    assert_eq!(elsewhere.status, 301);
    assert!(elsewhere.head.contains(&format!("location: https://test:{port}/a?b=c")));

    session.systemctl(&["disable", "--runtime", "--now", "tqserver-https.socket"]);
    restart_and_hear(&session, "no socket was passed for HTTPS");
    assert_eq!(session.get("/").status, 200, "there is nowhere to redirect to");
}
