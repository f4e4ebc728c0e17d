//! `tqctl doctor` beside a daemon that serves, and one that sleeps.

use serde_json::Value;

use crate::rollout::serving;
use crate::session::Session;

/// The verdict on a check, and what was found.
fn check(session: &Session, root: &str, name: &str) -> (String, String) {
    let output = session.tqctl(&["--root", root, "--json", "doctor"]);
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let checks = document["checks"].as_array().unwrap();
    let check = checks.iter().find(|check| check["name"] == name);
    let check = check.unwrap_or_else(|| panic!("no {name}: {document:#}"));
    let text = |key: &str| check[key].as_str().unwrap().to_owned();
    (text("verdict"), text("found"))
}

#[test]
fn a_daemon_is_asked_and_never_started() {
    let (project, session) = serving();
    let root = project.path().to_str().unwrap();
    let (verdict, found) = check(&session, root, "tqserver");
    assert_eq!(verdict, "ok");
    assert!(found.starts_with("serving, "), "{found}");

    session.systemctl(&["stop", "tqserver.service"]);
    let (verdict, found) = check(&session, root, "tqserver");
    assert_eq!(verdict, "info");
    assert!(found.contains("the first connection starts it"), "{found}");
    let state = session.try_systemctl(&["is-active", "tqserver.service"]);
    assert_eq!(String::from_utf8_lossy(&state.stdout).trim(), "inactive", "it changes nothing");

    session.systemctl(&["stop", "tqserver.socket", "tqserver-control.socket"]);
    let (verdict, found) = check(&session, root, "tqserver");
    assert_eq!(verdict, "info");
    assert!(found.contains("nobody listens on"), "{found}");
}

#[test]
fn the_servers_port_in_its_own_hands_is_fine() {
    let (project, session) = serving();
    let port = session.addr().port();
    project.configure(&format!("  port: {port}\n"), &session.range_yaml());
    let root = project.path().to_str().unwrap();
    let (verdict, found) = check(&session, root, &format!("port {port}"));
    assert_eq!(verdict, "ok");
    assert!(found.starts_with("tqserver (pid "), "{found}");
    session.systemctl(&["stop", "tqserver.service"]);
    let (verdict, found) = check(&session, root, &format!("port {port}"));
    assert_eq!(verdict, "info");
    assert!(found.starts_with("held by systemd (pid "), "{found}");
}
