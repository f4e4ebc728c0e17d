//! How tqserver is started, how it refuses to, and what the exit codes of the programs say.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Command, Output, Stdio};

use rstest::rstest;

use crate::project::worker;
use crate::rollout::{empty, serving};
use crate::session::{PATIENCE, Session, get, send};
use crate::support::wait::await_until;

/// tqserver as a program in the bed, without sockets.
fn tqserver(session: &Session, root: &std::path::Path) -> Command {
    let mut command = session.bed.command(env!("CARGO_BIN_EXE_tqserver"));
    command.arg("--root").arg(root);
    command
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_try_out_in_the_foreground_needs_no_sockets() {
    let (project, session) = empty();
    project.deploy('1', &[worker("index", "well")]);
    session.systemctl(&["stop", "tqserver.socket", "tqserver-control.socket"]);
    let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, session.worker_port(98)));
    // Its number in the bed is wanted, which is another than outside.
    let script = format!(
        "echo $$; exec {} --root {} --listen {addr} 2>/dev/null",
        env!("CARGO_BIN_EXE_tqserver"),
        project.path().display()
    );
    let mut command = session.bed.command("sh");
    let mut child = command.args(["-c", &script]).stdout(Stdio::piped()).spawn().unwrap();
    let mut pid = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut pid).unwrap();
    await_until("the listener", PATIENCE, || std::net::TcpStream::connect(addr).is_ok());
    assert_eq!(send(addr, &get("/")).unwrap().body, "index well g1 /\n");
    session.bed.run(&["kill", pid.trim()]);
    assert!(child.wait().unwrap().success());
    session.await_workers(0);
}

#[test]
fn without_sockets_it_says_how_to_start_it() {
    let (project, session) = empty();
    let output = tqserver(&session, project.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("start it as tqserver.socket"), "{}", stderr(&output));
}

#[rstest]
#[case::syntax("server: [\n", "server.yaml:")]
#[case::value("server:\n  port: 99999\n", "server.yaml:2:9")]
fn a_bad_configuration_is_an_exit_code_of_its_own(#[case] text: &str, #[case] said: &str) {
    let (project, session) = empty();
    fs::write(project.path().join("config/server.yaml"), text).unwrap();
    let output = tqserver(&session, project.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(78), "EX_CONFIG of sysexits.h");
    assert!(stderr(&output).contains(said), "{}", stderr(&output));
}

#[rstest]
#[case::unknown_name(
    "tqserver.socket",
    "[Socket]\nFileDescriptorName=web\n",
    "is called \"web\", and only \"http\", \"https\", \"control\" and \"admin\" are known"
)]
#[case::no_plain_one(
    "tqserver.socket",
    "[Socket]\nFileDescriptorName=https\n",
    "have none called \"http\": is tqserver.socket enabled?"
)]
#[case::exchanged(
    "tqserver-control.socket",
    "[Socket]\nFileDescriptorName=http\n",
    "inherited socket \"http\" (descriptor "
)]
#[case::listen_beside_sockets(
    "tqserver.service",
    "[Service]\nExecStart=\nExecStart=@TQSERVER@ --root @ROOT@ --listen 127.0.0.1:1\n",
    "--listen is for a try-out in the foreground"
)]
fn sockets_that_are_not_as_they_should_be(
    #[case] unit: &str,
    #[case] lines: &str,
    #[case] said: &str,
) {
    let (project, session) = empty();
    let root = project.path().to_str().unwrap();
    let lines = lines.replace("@TQSERVER@", env!("CARGO_BIN_EXE_tqserver")).replace("@ROOT@", root);
    session.systemctl(&["stop", "tqserver.socket", "tqserver-control.socket"]);
    session.edit_unit(unit, &lines);
    session.systemctl(&["start", "tqserver.socket", "tqserver-control.socket"]);
    let started = session.try_systemctl(&["start", "tqserver.service"]);
    assert!(!started.status.success());
    let log = fs::read_to_string(project.path().join("tqserver.log")).unwrap();
    assert!(log.contains(said), "{log}");
}

#[test]
fn exit_codes_of_tqctl() {
    let (project, session) = serving();
    assert_eq!(session.tqctl(&["status"]).status.code(), Some(0));
    let mut elsewhere = session.bed.command(env!("CARGO_BIN_EXE_tqctl"));
    let elsewhere = elsewhere.args(["--socket", "/nowhere/control.sock", "status"]);
    assert_eq!(elsewhere.output().unwrap().status.code(), Some(4), "unreachable");
    project.deploy('2', &[worker("index", "exit"), worker("api", "well")]);
    assert_eq!(session.tqctl(&["reload", "--wait"]).status.code(), Some(7));
    assert_eq!(session.tqctl(&["status"]).status.code(), Some(3), "degraded");
    session.systemctl(&["stop", "tqserver.socket", "tqserver-control.socket", "tqserver.service"]);
    assert_eq!(session.tqctl(&["status"]).status.code(), Some(3), "not running");
}
