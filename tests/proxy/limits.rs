//! Sizes, times and numbers that are kept.

use std::time::Duration;

use rstest::rstest;
use tqserver::proxy::table::UpstreamTimeouts;

use crate::bed::{Bed, Peer, Worker, settings, soon};

const SHORT: Duration = Duration::from_millis(50);

#[rstest]
#[case::field(431, format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(17 << 10)))]
#[case::never_ending(431, format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(17 << 10)))]
#[case::many(431, format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: 1\r\n".repeat(200)))]
#[tokio::test]
async fn heads_too_large(#[case] status: u16, #[case] request: String) {
    let (bed, _worker) = Bed::and_worker().await;
    let mut client = bed.client().await;
    client.send(request).await;
    assert_eq!(client.message().await.status(), status);
    assert_eq!(client.rest().await, b"");
}

#[tokio::test]
async fn a_body_known_to_be_too_large_is_refused_unread() {
    let (bed, _worker) = Bed::and_worker().await;
    let mut client = bed.client().await;
    let head =
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1048577\r\nExpect: 100-continue\r\n\r\n";
    client.send(head).await;
    let answer = client.message().await;
    assert_eq!(answer.status(), 413);
    assert_eq!(answer.header("connection").as_deref(), Some("close"));
    assert_eq!(bed.counters().upstream_connections, 0);
}

#[tokio::test]
async fn a_chunked_body_is_cut_off_at_the_limit() {
    let (bed, worker) = Bed::and_worker().await;
    let mut client = bed.client().await;
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    let mut upstream = worker.accept().await;
    upstream.head().await;
    let drain = tokio::spawn(async move { upstream.rest().await });
    let chunk = [&b"10000\r\n"[..], &[b'x'; 0x10000], b"\r\n"].concat();
    for _ in 0..17 {
        client.send(&chunk).await;
    }
    assert_eq!(client.message().await.status(), 413);
    let seen = drain.await.unwrap();
    assert!(!seen.ends_with(b"0\r\n\r\n"), "the worker must not take it for complete");
}

async fn impatient_with_clients() -> (Bed, Worker) {
    let mut settings = settings();
    settings.listener.read_timeout = SHORT;
    let bed = Bed::with(settings);
    let worker = Worker::start(1).await;
    bed.publish([worker.route("/")]);
    (bed, worker)
}

#[tokio::test]
async fn a_late_head_is_told_so() {
    let (bed, _worker) = impatient_with_clients().await;
    let mut client = bed.client().await;
    client.send("GET / HTTP/1.1\r\nHost:").await;
    assert_eq!(client.message().await.status(), 408);
    assert_eq!(client.rest().await, b"");
    drop(client);
    bed.until("the end", |c| c.open_connections == 0).await;
}

#[tokio::test]
async fn a_client_that_says_nothing_is_closed_without_a_word() {
    let (bed, _worker) = impatient_with_clients().await;
    assert_eq!(bed.client().await.rest().await, b"");
}

#[tokio::test]
async fn a_stalled_upload_is_given_up() {
    let (bed, worker) = impatient_with_clients().await;
    let mut client = bed.client().await;
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhe").await;
    let mut upstream = worker.accept().await;
    assert_eq!(client.message().await.status(), 408);
    assert!(upstream.rest().await.ends_with(b"\r\n\r\nhe"));
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let mut settings = settings();
    settings.listener.idle_timeout = SHORT;
    let bed = Bed::with(settings);
    bed.publish([]);
    let mut client = bed.client().await;
    client.get("/").await;
    assert_eq!(client.message().await.status(), 404);
    assert_eq!(client.rest().await, b"");
}

async fn impatient_with_workers(response: Duration, body_idle: Duration) -> (Bed, Worker) {
    let bed = Bed::new();
    let worker = Worker::start(1).await;
    let mut route = worker.route("/");
    route.timeouts = UpstreamTimeouts { response, body_idle };
    bed.publish([route]);
    (bed, worker)
}

const LONG: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_worker_that_does_not_answer_is_a_gateway_timeout() {
    let (bed, worker) = impatient_with_workers(SHORT, LONG).await;
    let mut client = bed.client().await;
    client.get("/").await;
    let (_, mut upstream) = worker.request().await;
    assert_eq!(client.message().await.status(), 504);
    assert_eq!(upstream.rest().await, b"", "its connection is dropped");
    worker.unclaimed().await;
}

#[tokio::test]
async fn the_workers_time_to_answer_begins_with_the_requests_last_byte() {
    let (bed, worker) = impatient_with_workers(SHORT, SHORT).await;
    let mut client = bed.client().await;
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nh").await;
    let mut upstream = worker.accept().await;
    upstream.head().await;
    upstream.exactly(1).await;
    // A slow client is not the worker's fault.
    tokio::time::sleep(4 * SHORT).await;
    client.send("i").await;
    upstream.exactly(1).await;
    upstream.ok("in time").await;
    assert_eq!(client.message().await.text(), "in time");
}

#[tokio::test]
async fn a_worker_that_falls_silent_within_its_answer_is_cut_off() {
    let (bed, worker) = impatient_with_workers(LONG, SHORT).await;
    let mut client = bed.client().await;
    client.get("/").await;
    let (_, mut upstream) = worker.request().await;
    upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf").await;
    assert!(!client.message().await.complete);
    upstream.rest().await;
}

#[tokio::test]
async fn further_clients_wait_until_one_leaves() {
    let mut settings = settings();
    settings.listener.max_connections = 1;
    let bed = Bed::threaded(2, settings);
    bed.publish([]);
    // One more for each of the two threads may be let in.
    let mut clients: Vec<Peer> = vec![];
    for _ in 0..8 {
        let mut client = bed.client().await;
        client.get("/").await;
        clients.push(client);
    }
    bed.until("the first", |c| c.requests >= 1).await;
    assert!(bed.counters().open_connections <= 3);
    for mut client in clients {
        // Each is served once those before it have gone.
        assert_eq!(soon("its turn", client.message()).await.status(), 404);
        assert!(bed.counters().open_connections <= 3);
    }
}

#[tokio::test]
async fn a_generation_that_drains_loses_its_kept_connections() {
    let (bed, worker) = Bed::and_worker().await;
    let mut client = bed.client().await;
    client.get("/").await;
    let (_, mut upstream) = worker.request().await;
    upstream.ok("").await;
    client.message().await;
    let next = Worker::start(2).await;
    bed.publish([next.route("/")]);
    worker.target.start_draining();
    assert_eq!(upstream.rest().await, b"");
}
