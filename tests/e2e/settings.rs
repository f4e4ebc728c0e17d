//! Settings that change while tqserver runs, and settings of workers.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;

use crate::project::{Project, worker};
use crate::rollout::{configured, empty, serving};
use crate::session::{PATIENCE, Session};
use crate::support::wait::await_until;

fn pid(session: &Session, worker: &str) -> u32 {
    let unit = format!("@{worker}-");
    let workers = session.workers();
    *workers.iter().find(|(name, _)| name.contains(&unit)).unwrap().1
}

#[test]
fn a_changed_setting_restarts_only_the_workers_it_concerns() {
    let (project, session) = serving();
    let before = (pid(&session, "index"), pid(&session, "api"));
    let paths = "  paths:\n    \"/api\":\n      env: {COLOUR: green}\n";
    project.configure("", &(session.range_yaml() + paths));
    session.systemctl(&["reload", "tqserver.service"]);
    assert_eq!(session.get("/api/env/COLOUR").body, "green");
    session.await_workers(2);
    assert_eq!(pid(&session, "index"), before.0);
    assert_ne!(pid(&session, "api"), before.1);
}

#[test]
fn limits_of_the_listener_change_without_a_restart_of_workers() {
    let (project, session) = serving();
    let before = session.workers();
    let large = format!(
        "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 2000\r\nConnection: close\r\n\r\n{}",
        "x".repeat(2000)
    );
    assert_eq!(session.send(&large).status, 200);
    project.configure("  max_body_size: 1K\n", &session.range_yaml());
    session.systemctl(&["reload", "tqserver.service"]);
    assert_eq!(session.send(&large).status, 413);
    assert_eq!(session.workers(), before);
}

#[test]
fn a_changed_prefix_of_static_files_holds_for_new_connections() {
    let (project, session) = empty();
    project.deploy('1', &[worker("index", "well").public("style.css", "a{}")]);
    let mut kept = TcpStream::connect(session.addr()).unwrap();
    kept.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut ask = |path: &str| {
        write!(kept, "GET {path} HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"a{}") {
            let mut byte = [0];
            kept.read_exact(&mut byte).unwrap();
            answer.push(byte[0]);
        }
        String::from_utf8(answer).unwrap()
    };
    assert!(ask("/static/index/style.css").starts_with("HTTP/1.1 200 OK\r\n"));
    project.configure("  static: {url_prefix: /assets}\n", &session.range_yaml());
    session.systemctl(&["reload", "tqserver.service"]);
    assert_eq!(session.get("/assets/index/style.css").body, "a{}");
    assert_eq!(
        session.get("/static/index/style.css").body,
        "index well g1 /static/index/style.css\n"
    );
    // Whether the old connection still knows the old prefix is its own affair; it must answer.
    assert!(ask("/static/index/style.css?a{}").starts_with("HTTP/1.1 200 OK\r\n"));
}

#[test]
fn a_changed_port_is_said_to_need_a_restart() {
    let (project, session) = serving();
    project.configure("  port: 4711\n", &session.range_yaml());
    session.systemctl(&["reload", "tqserver.service"]);
    await_until("the warning", PATIENCE, || session.log().contains("server.port changed"));
    assert_eq!(session.get("/").status, 200);
}

#[test]
fn a_changed_live_reload_is_said_to_need_a_restart() {
    let project = Project::new("", "");
    let base = project.path().join("workers/index");
    worker("index", "well").write(&base);
    fs::create_dir_all(base.join("src")).unwrap();
    fs::write(base.join("src/main.rs"), "").unwrap();
    let session = Session::user(project.path(), |ports| {
        let text = format!("server:\n  deployment_mode: dev\nworkers:\n{ports}");
        fs::write(project.path().join("config/server.yaml"), text).unwrap();
    });
    assert_eq!(session.get("/").status, 200);
    let text = "deployment: {dev: {live_reload: {editor: idea}}}\n";
    fs::write(project.path().join("config/deployment.yaml"), text).unwrap();
    session.systemctl(&["reload", "tqserver.service"]);
    let warning = "deployment.dev.live_reload changed";
    await_until("the warning", PATIENCE, || session.log().contains(warning));
}

#[test]
fn a_worker_that_cannot_notify_serves_when_it_answers() {
    let (project, session) = empty();
    project.deploy('1', &[worker("index", "mute").yaml("ready: http\n")]);
    assert_eq!(session.get("/").body, "index mute g1 /\n");
    // It is awaited, too.
    project.deploy('2', &[worker("index", "slow").yaml("ready: http\n")]);
    session.systemctl(&["reload", "tqserver.service"]);
    assert_eq!(session.get("/").body, "index slow g2 /\n");
    session.await_workers(1);
}

#[test]
fn a_worker_may_ask_for_more_time_to_start() {
    let (project, session) = configured("", "  start_timeout_seconds: 1\n");
    project.deploy('1', &[worker("index", "well")]);
    assert_eq!(session.get("/").status, 200);
    project.deploy('2', &[worker("index", "extend")]);
    session.systemctl(&["reload", "tqserver.service"]);
    assert_eq!(session.get("/").body, "index extend g2 /\n");
    // The same delay without asking is too long.
    project.deploy('3', &[worker("index", "slow")]);
    let status = session.failing_reload();
    assert!(status.contains("timed out before it was ready"), "{status}");
}

#[test]
fn a_worker_that_the_static_files_hide_is_warned_about() {
    let (project, session) = crate::rollout::empty();
    project.deploy('1', &[worker("index", "well"), worker("static", "well")]);
    assert_eq!(session.get("/").status, 200, "{}", session.log());
    let status = session.tqctl(&["status"]);
    let said = String::from_utf8_lossy(&status.stdout);
    assert!(said.contains("static gets no requests: /static lies below"), "{said}");
}

#[test]
fn a_worker_gets_what_it_asks_for_when_root_grants_it() {
    let (project, session) = serving();
    let asks = "sandbox: {ip_address_allow: [10.1.0.0/16]}\n";
    project.deploy('2', &[worker("index", "well").yaml(asks)]);
    let status = session.failing_reload();
    assert!(status.contains("index: its config/worker.yaml asks for"), "{status}");
    assert_eq!(session.get("/").body, "index well g1 /\n", "the old deployment serves on");

    let grant = "  grants:\n    index: {sandbox: {ip_address_allow: [10.0.0.0/8]}}\n";
    project.configure("", &(session.range_yaml() + grant));
    session.systemctl(&["reload", "tqserver.service"]);
    assert_eq!(session.get("/").body, "index well g2 /\n");
    let status = session.tqctl(&["status"]);
    let said = String::from_utf8_lossy(&status.stdout);
    assert!(said.contains("index: sandbox loosened: ip_address_allow=10.1.0.0/16"), "{said}");
}
