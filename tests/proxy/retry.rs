//! What is tried again, what never is, and what the client sees of an answer that broke off.

use std::time::Duration;

use rstest::rstest;
use tqserver::proxy::table::WeightedTargets;

use crate::bed::{Bed, Peer, Worker, route, settings};

/// Leaves one idle connection in the pool, and returns the worker's end of it.
async fn warm(client: &mut Peer, worker: &Worker) -> Peer {
    client.get("/warm").await;
    let (_, mut upstream) = worker.request().await;
    upstream.ok("").await;
    client.message().await;
    upstream
}

#[tokio::test]
async fn a_connection_closed_while_idle_is_not_used() {
    let (bed, worker) = Bed::and_worker().await;
    let mut client = bed.client().await;
    drop(warm(&mut client, &worker).await);
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi").await;
    // Whether the close was seen before the request or not, it is never lost: it was not written.
    let (request, mut upstream) = worker.request().await;
    assert_eq!(request.text(), "hi");
    upstream.ok("").await;
    assert_eq!(client.message().await.status(), 200);
}

#[tokio::test]
async fn a_get_that_met_a_dying_kept_connection_is_sent_once_more() {
    let (bed, worker) = Bed::and_worker().await;
    let mut client = bed.client().await;
    let mut stale = warm(&mut client, &worker).await;
    client.get("/again").await;
    stale.message().await;
    drop(stale);
    let (request, mut upstream) = worker.request().await;
    assert_eq!(request.start, "GET /again HTTP/1.1");
    upstream.ok("fresh").await;
    assert_eq!(client.message().await.text(), "fresh");
    worker.unclaimed().await;
}

#[tokio::test]
async fn a_get_is_sent_no_more_than_twice() {
    let (bed, worker) = Bed::and_worker().await;
    let mut client = bed.client().await;
    client.get("/").await;
    drop(worker.request().await);
    drop(worker.request().await);
    assert_eq!(client.message().await.status(), 502);
}

#[tokio::test]
async fn a_get_whose_worker_crashed_goes_to_the_next_generation() {
    let (bed, worker) = Bed::and_worker().await;
    let mut client = bed.client().await;
    client.get("/").await;
    let (_, upstream) = worker.request().await;
    drop(worker);
    drop(upstream);
    bed.until("the hold", |c| c.held == 1).await;
    let next = Worker::start(2).await;
    bed.publish([next.route("/")]);
    let (_, mut upstream) = next.request().await;
    upstream.ok("next").await;
    assert_eq!(client.message().await.text(), "next");
}

/// A worker's end takes a moment: its queue may accept the second try, and end with it unread.
#[tokio::test]
async fn a_get_that_one_death_lost_twice_goes_to_the_next_generation() {
    let (bed, worker) = Bed::and_worker().await;
    let mut client = bed.client().await;
    client.get("/").await;
    drop(worker.request().await);
    bed.until("the second try", |c| c.upstream_connections == 2).await;
    drop(worker);
    bed.until("the hold", |c| c.held == 1).await;
    let next = Worker::start(2).await;
    bed.publish([next.route("/")]);
    let (_, mut upstream) = next.request().await;
    upstream.ok("next").await;
    assert_eq!(client.message().await.text(), "next");
}

#[tokio::test]
async fn a_get_that_kills_whoever_reads_it_kills_no_third() {
    let (bed, worker) = Bed::and_worker().await;
    let mut client = bed.client().await;
    client.get("/").await;
    let (_, upstream) = worker.request().await;
    drop(worker);
    drop(upstream);
    bed.until("the hold", |c| c.held == 1).await;
    let next = Worker::start(2).await;
    bed.publish([next.route("/")]);
    let (_, upstream) = next.request().await;
    drop(next);
    drop(upstream);
    assert_eq!(client.message().await.status(), 502);
}

#[rstest]
#[case::post("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi")]
#[case::post_without_body("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")]
#[case::get_with_body("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi")]
#[case::delete("DELETE / HTTP/1.1\r\nHost: a\r\n\r\n")]
#[tokio::test]
async fn what_may_have_had_an_effect_is_never_sent_again(#[case] request: &str) {
    let (bed, worker) = Bed::and_worker().await;
    let mut client = bed.client().await;
    client.send(request).await;
    drop(worker.request().await);
    assert_eq!(client.message().await.status(), 502);
    assert_eq!(bed.counters().upstream_connections, 1);
}

#[tokio::test]
async fn a_post_that_was_never_sent_waits_for_the_next_generation() {
    let bed = Bed::new();
    let dead = Worker::start(1).await;
    let dead_route = dead.route("/");
    drop(dead);
    bed.publish([dead_route]);
    let mut client = bed.client().await;
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi").await;
    bed.until("the hold", |c| c.held == 1).await;
    let next = Worker::start(2).await;
    bed.publish([next.route("/")]);
    let (request, mut upstream) = next.request().await;
    assert_eq!(request.text(), "hi");
    upstream.ok("sent once").await;
    assert_eq!(client.message().await.text(), "sent once");
}

#[tokio::test]
async fn a_worker_that_stays_dead_is_a_bad_gateway() {
    let mut settings = settings();
    settings.hold = Duration::from_millis(20);
    let bed = Bed::with(settings);
    let dead = Worker::start(1).await;
    bed.publish([dead.route("/")]);
    drop(dead);
    let mut client = bed.client().await;
    client.get("/").await;
    assert_eq!(client.message().await.status(), 502);
}

#[tokio::test]
async fn with_several_targets_a_dead_one_is_passed_over() {
    let bed = Bed::new();
    let (dead, alive) = (Worker::start(1).await, Worker::start(2).await);
    let both = [(dead.target.clone(), 1), (alive.target.clone(), 1)];
    bed.publish([route("/", WeightedTargets::new(both))]);
    drop(dead);
    let answer = async {
        let (_, mut upstream) = alive.request().await;
        for _ in 0..20 {
            upstream.ok("alive").await;
            upstream.message().await;
        }
    };
    let ask = async {
        let mut client = bed.client().await;
        for _ in 0..20 {
            client.get("/").await;
            assert_eq!(client.message().await.text(), "alive");
        }
    };
    tokio::select! { () = answer => {} () = ask => {} }
}

#[tokio::test]
async fn what_one_instance_lost_is_asked_of_another() {
    let bed = Bed::new();
    let (one, other) = (Worker::start(1).await, Worker::start(1).await);
    let both = [(one.target.clone(), 1), (other.target.clone(), 1)];
    bed.publish([route("/", WeightedTargets::new(both))]);
    let mut client = bed.client().await;
    client.get("/").await;
    // Whichever it is: it is not asked again, though it would take connections.
    let second = tokio::select! {
        (_, upstream) = one.request() => { drop(upstream); &other }
        (_, upstream) = other.request() => { drop(upstream); &one }
    };
    let (_, mut upstream) = second.request().await;
    upstream.ok("second").await;
    assert_eq!(client.message().await.text(), "second");
}

#[rstest]
#[case::length("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npartial")]
#[case::chunked("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7\r\npartial\r\n")]
#[case::within_chunk("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\npartial")]
#[tokio::test]
async fn an_answer_that_broke_off_never_looks_complete(#[case] answer: &str) {
    let (bed, worker) = Bed::and_worker().await;
    let mut client = bed.client().await;
    client.get("/").await;
    let (_, mut upstream) = worker.request().await;
    upstream.send(answer).await;
    drop(upstream);
    let seen = client.message().await;
    assert_eq!(seen.status(), 200);
    assert!(!seen.complete);
    bed.until("the count", |c| c.aborted == 1 && c.in_flight == 0).await;
    worker.unclaimed().await;
}

/// Its framing is the connection's end, so a clean end would be a lie.
#[tokio::test]
async fn an_http_1_0_client_sees_a_reset() {
    let (bed, worker) = Bed::and_worker().await;
    let mut client = bed.client().await;
    client.send("GET / HTTP/1.0\r\n\r\n").await;
    let (_, mut upstream) = worker.request().await;
    upstream.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7\r\npartial\r\n").await;
    client.head().await;
    assert_eq!(client.exactly(7).await, b"partial");
    drop(upstream);
    let end = tokio::io::AsyncReadExt::read_u8(&mut client.stream).await.unwrap_err();
    assert_eq!(end.kind(), std::io::ErrorKind::ConnectionReset);
}
