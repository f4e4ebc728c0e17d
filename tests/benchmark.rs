//! The parts of the proxy's benchmark on which its figures rest (benches/proxy): the arithmetic, and
//! load and worker, face to face.

#![allow(dead_code, unreachable_pub)]

#[path = "../benches/proxy/figures.rs"]
mod figures;
#[path = "../benches/proxy/flat.rs"]
mod flat;
#[path = "../benches/proxy/frame.rs"]
mod frame;
#[path = "../benches/proxy/head.rs"]
mod head;
#[path = "../benches/proxy/load/mod.rs"]
mod load;
#[path = "../benches/proxy/worker.rs"]
mod worker;

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::panic::catch_unwind;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use figures::{median, median_of_ratios, percentile};
use flat::{Flat, SAMPLES, Sample};
use head::Head;
use load::h2load::Summary;
use load::{Exchange, Load};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

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
fn memory_is_flat_unless_it_grows_with_the_requests() {
    let samples = |rss: fn(u64) -> u64| Flat {
        samples: (0..SAMPLES as u64)
            .map(|number| Sample { requests: number, pss: 0, rss: rss(number), files: 0 })
            .collect(),
        took: PATIENCE,
    };
    let of_noise = samples(|number| (10 << 20) + number % 3 * (400 << 10));
    assert_eq!(of_noise.verdict(), Ok(()));
    // Between the middles of the quarters lie thirty samples.
    let of_a_leak = samples(|number| (10 << 20) + number * (9 << 10));
    let text = of_a_leak.verdict().unwrap_err();
    assert_eq!(text, "memory is not flat: +270 KiB, and at most +256 KiB are");
    assert_eq!(samples(|number| (10 << 20) - number * (9 << 10)).verdict(), Ok(()));
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

#[test]
fn over_tls_it_is_the_same() {
    let addr = tls_server();
    let exchanges = [
        Exchange::get("/64", 64).over_tls(),
        Exchange::get("/3000000", 3_000_000).over_tls(),
        Exchange::get_and_close("/64", 64).over_tls(),
    ];
    for exchange in exchanges {
        let seen = Load::connect(addr, 5, exchange.clone()).run_until(PATIENCE, 20);
        assert!(seen.answered >= 20, "{exchange:?}");
    }
}

#[test]
fn clients_of_one_load_may_say_different_things() {
    let mix = [(2, Exchange::get("/64", 64)), (3, Exchange::post("/echo", 100))];
    let seen = Load::connect_each(worker(), mix).run_until(PATIENCE, 50);
    assert!(seen.answered >= 50);
    // The mix would not be one if some were never served.
    assert_eq!(seen.left_out, 0);
}

#[test]
fn what_h2load_says_is_understood() {
    let said = "\
finished in 412.58ms, 27130.00 req/s, 3.40MB/s
requests: 10852 total, 10916 started, 10852 done, 10850 succeeded, 2 failed, 1 errored, 0 timeout
status codes: 10850 2xx, 0 3xx, 0 4xx, 2 5xx
traffic: 1.36MB (1426240) total, 366.38KB (375176) headers (space savings 80.23%), 678.25KB (694528) data
                     min         max         mean         sd        +/- sd
time for request:      812us      9.91ms      2.29ms       612us    83.02%
";
    let summary = Summary {
        succeeded: 10850,
        failed: 5,
        data: 694_528,
        took: Duration::from_secs_f64(0.41258),
    };
    assert_eq!(Summary::parse(said), Some(summary));
    assert_eq!(Summary::parse("finished in 1.00s, 0.00 req/s, 0B/s\n"), None);
}

/// Starts a worker that serves until the process ends.
fn worker() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || worker::serve(&listener));
    addr
}

/// Starts a server of TLS that serves until the process ends, with a thread for each connection: `GET /<n>`
/// is answered with n bytes, on connections that are kept unless the client closes them.
fn tls_server() -> SocketAddr {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["bench.test".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap().pem();
    let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
    let config =
        ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let config = Arc::clone(&config);
            thread::spawn(move || answer_over_tls(stream.unwrap(), config));
        }
    });
    addr
}

fn answer_over_tls(stream: TcpStream, config: Arc<ServerConfig>) {
    let tls = StreamOwned::new(ServerConnection::new(config).unwrap(), stream);
    let mut stream = BufReader::new(tls);
    loop {
        let mut length = None;
        let mut is_last = false;
        loop {
            let mut line = String::new();
            // A client that has what it wanted leaves.
            if stream.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if line.trim().is_empty() {
                break;
            }
            let asked = line.strip_prefix("GET /").and_then(|it| it.split(' ').next());
            length = asked.and_then(|it| it.parse::<usize>().ok()).or(length);
            is_last |= line.trim() == "Connection: close";
        }
        let length = length.unwrap();
        let mut answer =
            format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").into_bytes();
        answer.resize(answer.len() + length, b'0');
        let tls = stream.get_mut();
        if tls.write_all(&answer).is_err() {
            return;
        }
        if is_last {
            tls.conn.send_close_notify();
            tls.flush().ok();
            return;
        }
    }
}
