//! Programs that listen where a worker should.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use rstest::rstest;

use crate::crashes::unit_of;
use crate::project::worker;
use crate::rollout::configured;
use crate::session::{PATIENCE, Session, get, send};
use crate::support::wait::await_until;

/// Listens on the port of a unit, which does not or no longer.
fn stranger_at(unit: &str) -> TcpListener {
    let port: u16 = unit.trim_end_matches(".service").rsplit('-').next().unwrap().parse().unwrap();
    let mut stranger = None;
    await_until("the port of the unit", PATIENCE, || {
        stranger = TcpListener::bind(("127.0.0.1", port)).ok();
        stranger.is_some()
    });
    stranger.unwrap()
}

fn as_it_was_started(_: &Session) {}

fn as_it_was_adopted(session: &Session) {
    let pid = session.signal("KILL");
    session.await_other_than(pid);
    assert_eq!(session.get("/").status, 200);
}

/// The unit lives on, and nobody tells of a death: only whose the socket is does.
#[rstest]
#[case::started(as_it_was_started)]
#[case::adopted(as_it_was_adopted)]
fn who_takes_a_workers_port_is_sent_nothing(#[case] known: fn(&Session)) {
    let (project, session) = configured("", "");
    project.configure("", &(session.range_yaml() + "  hold_seconds: 1\n"));
    project.deploy('1', &[worker("index", "well"), worker("api", "well")]);
    assert_eq!(session.get("/").status, 200);
    known(&session);
    let unit = unit_of(&session, "index");
    assert_eq!(session.get("/unlisten").status, 200);
    let stranger = stranger_at(&unit);
    let addr = session.addr();
    let asking = thread::spawn(move || send(addr, &get("/secret")).unwrap());
    // It is connected to, and left.
    let (mut connection, _) = stranger.accept().unwrap();
    let mut seen = Vec::new();
    connection.read_to_end(&mut seen).ok();
    assert_eq!(String::from_utf8_lossy(&seen), "");
    let answer = asking.join().unwrap();
    assert!([502, 503].contains(&answer.status), "{answer:?}");
    assert_eq!(session.get("/api").status, 200, "the other one does not notice");
}

#[test]
fn the_answer_of_a_stranger_does_not_make_a_worker_ready() {
    let (project, session) = configured("", "");
    project.configure("", &(session.range_yaml() + "  start_timeout_seconds: 2\n"));
    project.deploy('1', &[worker("index", "well")]);
    assert_eq!(session.get("/").status, 200);
    let old = session.workers();
    project.deploy('2', &[worker("index", "hang").yaml("ready: http\n")]);
    let new = || session.workers().into_keys().find(|unit| !old.contains_key(unit));
    await_until("the start", PATIENCE, || new().is_some());
    let stranger = stranger_at(&new().unwrap());
    let addr = stranger.local_addr().unwrap();
    let answering = thread::spawn(move || {
        for connection in stranger.incoming().map_while(Result::ok) {
            let Some(asked) = answer(connection) else { break };
            assert_eq!(asked, "", "nobody asks a stranger");
        }
    });
    await_until("the failure", PATIENCE, || {
        session.status()["failed"].to_string().contains("another program listens there")
    });
    TcpStream::connect(addr).unwrap().write_all(b"end").unwrap();
    answering.join().unwrap();
    assert_eq!(session.get("/").body, "index well g1 /\n");
}

/// What was asked, which is said to be well; `None` at the end.
fn answer(mut connection: TcpStream) -> Option<String> {
    let mut asked = [0; 1024];
    let n = connection.read(&mut asked).unwrap_or_default();
    connection.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").ok();
    let asked = String::from_utf8_lossy(&asked[..n]).into_owned();
    (asked != "end").then_some(asked)
}
