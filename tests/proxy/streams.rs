//! Event streams: they end when their generation is cut, and then completely.

use rstest::rstest;
use std::time::Duration;

use crate::bed::{Bed, Peer, Worker};

async fn streaming(bed: &Bed, worker: &Worker, content_type: &str) -> (Peer, Peer) {
    let mut client = bed.client().await;
    client.get("/events").await;
    let (_, mut upstream) = worker.request().await;
    upstream
        .send(format!(
            "HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nTransfer-Encoding: chunked\r\n\r\n\
             9\r\ndata: 1\n\n\r\n"
        ))
        .await;
    client.head().await;
    assert_eq!(client.exactly(14).await, b"9\r\ndata: 1\n\n\r\n");
    (client, upstream)
}

#[tokio::test]
async fn a_cut_ends_an_event_stream_with_a_last_chunk() {
    let (bed, worker) = Bed::and_worker().await;
    let (mut client, mut upstream) =
        streaming(&bed, &worker, "text/event-stream; charset=utf-8").await;
    assert_eq!(worker.target.in_flight(), 1);
    worker.target.cut_streams();
    assert_eq!(client.exactly(5).await, b"0\r\n\r\n");
    assert_eq!(upstream.rest().await, b"");
    bed.until("the end", |c| c.in_flight == 0 && c.aborted == 0).await;
    worker.unclaimed().await;
    // The client's connection is as good as before.
    client.get("/next").await;
    worker.request().await.1.ok("next").await;
    assert_eq!(client.message().await.text(), "next");
}

#[tokio::test]
async fn a_cut_leaves_other_answers_alone() {
    let (bed, worker) = Bed::and_worker().await;
    let (mut client, mut upstream) = streaming(&bed, &worker, "text/plain").await;
    worker.target.cut_streams();
    upstream.send("3\r\nend\r\n0\r\n\r\n").await;
    assert_eq!(client.exactly(13).await, b"3\r\nend\r\n0\r\n\r\n");
}

#[rstest]
#[case("text/event-stream", true)]
#[case("text/plain", false)]
#[tokio::test]
async fn only_an_event_stream_may_be_silent(#[case] content_type: &str, #[case] may: bool) {
    let bed = Bed::new();
    let worker = Worker::start(1).await;
    let mut route = worker.route("/");
    route.timeouts.body_idle = Duration::from_millis(30);
    bed.publish([route]);
    let (mut client, mut upstream) = streaming(&bed, &worker, content_type).await;
    if may {
        tokio::time::sleep(Duration::from_millis(100)).await;
        upstream.send("9\r\ndata: 2\n\n\r\n").await;
        assert_eq!(client.exactly(14).await, b"9\r\ndata: 2\n\n\r\n");
    } else {
        assert_eq!(client.rest().await, b"");
    }
}
