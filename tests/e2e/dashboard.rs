//! The dashboard, on the socket that systemd passes.

use std::process::Command;

use crate::project::{Project, worker};
use crate::session::{PATIENCE, Session};
use crate::support::wait::await_until;

const TOKEN: &str = "0123456789abcdef";
const SOCKET: &str = include_str!("../../units/tqserver-admin.socket");
/// Which of the session's ports it has.
const PORT: u16 = 90;

#[test]
fn sessions_outlast_restarts_and_end_with_the_token() {
    let pages = concat!(env!("CARGO_MANIFEST_DIR"), "/src/admin/public");
    let dashboard = format!("  dashboard: {{token: {TOKEN}, pages: {pages:?}}}\n");
    let project = Project::new(&dashboard, "");
    let session = Session::user(project.path(), |ports| project.configure(&dashboard, ports));
    let port = session.worker_port(PORT);
    let listen = format!("ListenStream=127.0.0.1:{port}");
    session
        .add_unit("tqserver-admin.socket", &SOCKET.replace("ListenStream=127.0.0.1:8070", &listen));
    session.systemctl(&["start", "tqserver-admin.socket"]);
    project.deploy('1', &[worker("index", "well")]);
    assert_eq!(session.get("/").status, 200, "{}", session.log());

    let jar = project.path().join("cookies");
    let curl = |arguments: &[&str], path: &str| {
        let mut curl = session.bed.command("curl");
        curl.args(["--silent", "--location", "--cookie"]).arg(&jar).arg("--cookie-jar").arg(&jar);
        let output = curl.args(arguments).arg(format!("http://localhost:{port}{path}")).output();
        String::from_utf8(output.unwrap().stdout).unwrap()
    };
    assert!(curl(&[], "/dashboard").contains("Token"), "nobody has said it");
    let shown = curl(&["--data", &format!("token={TOKEN}")], "/login");
    assert!(shown.contains("index") && shown.contains("serving"), "{shown}");
    assert!(!shown.contains(TOKEN));

    session.systemctl(&["restart", "tqserver.service"]);
    await_until("the same session", PATIENCE, || curl(&[], "/dashboard").contains("serving"));
    assert!(!session.log().contains(TOKEN), "it is nowhere to be read");
    let checked = Command::new(env!("CARGO_BIN_EXE_tqctl"))
        .args(["check", "--json", "--root"])
        .arg(project.path())
        .output()
        .unwrap();
    assert!(!String::from_utf8_lossy(&checked.stdout).contains(TOKEN));

    // Another token takes effect with a reload, and ends the session.
    let other = dashboard.replace(TOKEN, "another token that is long");
    project.configure(&other, &session.range_yaml());
    session.systemctl(&["reload", "tqserver.service"]);
    assert!(curl(&[], "/dashboard").contains("Token"));
}
