//! Large bodies, which pass through the kernel alone.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::bed::{Bed, soon};

/// Bytes that differ from place to place.
fn content(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n ^ n >> 8 ^ n >> 16) as u8).collect()
}

#[tokio::test]
async fn large_answers_arrive_unchanged_and_the_connections_serve_on() {
    let (bed, worker) = Bed::and_worker().await;
    let mut client = bed.client().await;
    let mut upstream = None;
    for len in [0, 1, 8 << 10, 40 << 10, 100 << 10, 5 << 20] {
        client.get("/").await;
        let mut peer = match upstream.take() {
            None => worker.request().await.1,
            Some(mut peer) => {
                crate::bed::Peer::message(&mut peer).await;
                peer
            }
        };
        let body = content(len);
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {len}\r\n\r\n");
        let say = async {
            peer.send(head).await;
            // In two pieces, so that one of them is awaited.
            let (first, second) = body.split_at(len / 3);
            peer.send(first).await;
            tokio::task::yield_now().await;
            peer.send(second).await;
        };
        let (answer, ()) = tokio::join!(client.message(), say);
        assert!(answer.complete);
        assert!(answer.body == body, "{len} bytes");
        upstream = Some(peer);
    }
    assert_eq!(bed.counters().upstream_connections, 1);
    bed.until("the count", |c| c.bytes_sent > 5 << 20 && c.in_flight == 0).await;
}

#[tokio::test]
async fn a_large_upload_arrives_unchanged() {
    let (bed, worker) = Bed::and_worker().await;
    let mut client = bed.client().await;
    let body = content(1 << 20);
    let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len());
    let say = async {
        client.send(head).await;
        client.send(&body).await;
    };
    let ((request, mut upstream), ()) = tokio::join!(worker.request(), say);
    assert!(request.body == body);
    upstream.ok("thanks").await;
    assert_eq!(client.message().await.text(), "thanks");
}

#[tokio::test]
async fn a_large_answer_that_breaks_off_never_looks_complete() {
    let (bed, worker) = Bed::and_worker().await;
    let mut client = bed.client().await;
    client.get("/").await;
    let (_, mut upstream) = worker.request().await;
    upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n").await;
    upstream.send(content(500_000)).await;
    drop(upstream);
    let answer = client.message().await;
    assert!(!answer.complete);
    assert!(answer.body.len() <= 500_000);
    bed.until("the count", |c| c.aborted == 1 && c.in_flight == 0).await;
}

/// The next answer of the pipe's must be its own.
#[tokio::test]
async fn a_client_that_leaves_in_the_middle_leaves_nothing_behind() {
    let (bed, worker) = Bed::and_worker().await;
    let mut client = bed.client().await;
    client.get("/").await;
    let (_, mut upstream) = worker.request().await;
    upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n").await;
    let flood = tokio::spawn(async move {
        let chunk = vec![b'x'; 1 << 20];
        while upstream.stream.write_all(&chunk).await.is_ok() {}
    });
    let mut some = vec![0; 1 << 20];
    soon("some of it", client.stream.read_exact(&mut some)).await.unwrap();
    drop(client);
    soon("the end", flood).await.unwrap();
    worker.unclaimed().await;

    let mut client = bed.client().await;
    client.get("/").await;
    let (_, mut upstream) = worker.request().await;
    let body = content(300_000);
    let say = async {
        upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n").await;
        upstream.send(&body).await;
    };
    let (answer, ()) = tokio::join!(client.message(), say);
    assert!(answer.body == body);
}
