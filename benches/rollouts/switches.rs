//! Requests before and during switches, from one deployment to another and back.

use std::env;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::begin;
use crate::figures::percentile;
use crate::project::worker;
use crate::worker::FIELD;

/// How many clients ask.
const CLIENTS: usize = 8;
/// How long each waits between an answer and its next request: they are to leave processors free, as a
/// switch starts a program.
const PAUSE: Duration = Duration::from_millis(2);
/// What belongs to a switch after its verdict: the end of the old generation.
const AFTER: Duration = Duration::from_millis(300);

/// A request: when it was begun, how long it took, in microseconds, and how long the worker had been ready, and
/// probed, when it got its first one, likewise.
type Asked = (Instant, u32, [u32; 2]);

/// Switches so many times, and prints what requests took.
pub fn measure(switches: usize) {
    let (project, session) = begin(None);
    let program = env::current_exe().unwrap();
    let built = ['1', '2'].map(|digit| {
        let mode = if digit == '1' { "one" } else { "two" };
        project.build(digit, &[worker("index", mode).program(&program).route("/")])
    });
    project.activate(&built[0]);
    assert_eq!(session.get("/").status, 200, "{}", session.log());

    let stop = AtomicBool::new(false);
    let (asked, windows) = thread::scope(|scope| {
        let (addr, stop) = (session.addr(), &stop);
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(move || ask(addr, stop))).collect();
        let mut windows = Vec::new();
        for turn in 0..switches {
            thread::sleep(Duration::from_millis(700));
            let begun = Instant::now();
            project.activate(&built[(turn + 1) % 2]);
            session.systemctl(&["reload", "tqserver.service"]);
            thread::sleep(AFTER);
            windows.push((begun, Instant::now()));
        }
        stop.store(true, Ordering::Relaxed);
        let asked: Vec<Asked> =
            clients.into_iter().flat_map(|client| client.join().unwrap()).collect();
        (asked, windows)
    });
    let is_during = |(at, ..): &Asked| windows.iter().any(|(from, to)| (from..=to).contains(&at));
    let took = |during: bool| {
        let mut took: Vec<_> =
            asked.iter().filter(|it| is_during(it) == during).map(|it| it.1).collect();
        took.sort_unstable();
        took
    };
    println!("{switches} switches under {CLIENTS} clients, {} requests, none lost", asked.len());
    println!("requests                 count   p50 ms   p99 ms   most ms");
    for (name, took) in [("between switches", took(false)), ("during switches", took(true))] {
        let millis = |percent| f64::from(percentile(&took, percent).unwrap_or(0)) / 1000.0;
        let (median, late, most) = (millis(50), millis(99), millis(100));
        println!("{name:<20} {:>9} {median:>8.2} {late:>8.2} {most:>9.2}", took.len());
    }
    for (from, which) in [("READY=1", 0), ("the answer to the probe", 1)] {
        let mut before: Vec<_> = asked.iter().map(|it| it.2[which]).collect();
        before.sort_unstable();
        before.dedup();
        let millis = |percent| f64::from(percentile(&before, percent).unwrap_or(0)) / 1000.0;
        println!(
            "from {from} to the first request: {:.2} ms, at most {:.2} ms",
            millis(50),
            millis(100)
        );
    }
}

/// Asks again and again over one connection; nothing may go wrong.
fn ask(addr: SocketAddr, stop: &AtomicBool) -> Vec<Asked> {
    let mut stream = TcpStream::connect(addr).unwrap();
    let (mut asked, mut bytes) = (Vec::new(), [0; 4096]);
    while !stop.load(Ordering::Relaxed) {
        let begun = Instant::now();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: bench\r\n\r\n").unwrap();
        let mut length = 0;
        while !bytes[..length].ends_with(b"\r\n\r\n!") {
            let read = stream.read(&mut bytes[length..]).unwrap();
            assert!(read > 0, "a connection was closed");
            length += read;
        }
        let took = begun.elapsed().as_micros().try_into().unwrap_or(u32::MAX);
        let head = String::from_utf8_lossy(&bytes[..length]);
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        let field = head.lines().find_map(|line| line.strip_prefix(FIELD)?.split_once(','));
        let (ready, probed) = field.unwrap();
        let before = [ready, probed].map(|micros| micros.parse().unwrap());
        asked.push((begun, took, before));
        thread::sleep(PAUSE);
    }
    asked
}
