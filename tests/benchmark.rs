//! The parts of the proxy's benchmark on which its figures rest (benches/proxy): the arithmetic, and
//! load and worker, face to face.

#![allow(dead_code, unreachable_pub)]

#[path = "../benches/proxy/figures.rs"]
mod figures;
#[path = "../benches/proxy/frame.rs"]
mod frame;
#[path = "../benches/proxy/head.rs"]
mod head;
#[path = "../benches/proxy/load/mod.rs"]
mod load;
#[path = "../benches/proxy/worker.rs"]
mod worker;

use std::net::{SocketAddr, TcpListener};
use std::panic::catch_unwind;
use std::thread;
use std::time::Duration;

use figures::{median, median_of_ratios, percentile};
use head::Head;
use load::{Exchange, Load};

/// Longer than anything here takes; only a test that fails waits for it.
const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn a_median_is_the_middle_of_numbers_in_any_order() {
    assert_eq!(median([3.0, 1.0, 2.0]), Some(2.0));
    assert_eq!(median([4.0, 1.0, 3.0, 2.0]), Some(2.5));
    assert_eq!(median([]), None);
}

#[test]
fn ratios_are_made_round_by_round() {
    // A round in which everything took ten times as long changes nothing.
    let (ours, theirs) = ([1.0, 20.0, 2.0], [2.0, 40.0, 4.0]);
    assert_eq!(median_of_ratios(&ours, &theirs), Some(0.5));
}

#[test]
fn a_percentile_is_one_of_the_numbers() {
    let numbers: Vec<u32> = (1..=200).collect();
    assert_eq!(percentile(&numbers, 50), Some(100));
    assert_eq!(percentile(&numbers, 99), Some(198));
    assert_eq!(percentile(&[7], 99), Some(7));
    assert_eq!(percentile(&[], 99), None);
}

#[test]
fn a_head_tells_the_length_and_whether_it_is_the_last() {
    let head = Head::parse(b"HTTP/1.1 200 OK\r\ncontent-LENGTH: 12\r\nConnection: close\r\n\r\n");
    assert_eq!(head.as_ref().and_then(|it| it.content_length), Some(12));
    assert!(head.is_some_and(|it| it.is_last && !it.is_upgrade));
    assert_eq!(Head::parse(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"), None);
}

#[test]
fn every_exchange_is_answered_as_often_as_it_is_counted() {
    let addr = worker();
    let exchanges = [
        Exchange::get("/64", 64),
        // More than a socket takes at once.
        Exchange::get("/8000000", 8_000_000),
        Exchange::get_and_close("/64", 64),
        Exchange::post("/echo", 3_000_000),
        Exchange::message(32),
        Exchange::message(300),
        Exchange::message(70_000),
    ];
    for exchange in exchanges {
        let seen = Load::connect(addr, 5, exchange.clone()).run_until(PATIENCE, 20);
        assert!(seen.answered >= 20, "{exchange:?}");
        assert_eq!(seen.latencies.len() as u64, seen.answered);
        assert!(seen.latencies.is_sorted());
    }
}

#[test]
fn an_answer_of_another_length_is_not_counted() {
    let addr = worker();
    let load = || Load::connect(addr, 1, Exchange::get("/63", 64)).run_until(PATIENCE, 1);
    let error = catch_unwind(load).unwrap_err();
    let text = error.downcast_ref::<String>().unwrap();
    assert!(text.contains("not 200 with 64 bytes"), "{text}");
}

/// Starts a worker that serves until the process ends.
fn worker() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || worker::serve(&listener));
    addr
}
