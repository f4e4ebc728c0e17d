//! Who is slower holds the others back, and an answer that breaks off never looks whole.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use h2::{Reason, client};
use rstest::rstest;
use tokio::io::AsyncWriteExt;
use tqserver::proxy::table::UpstreamTimeouts;

use super::{Answer, Client, bed, bed_with, get, post, read, settings, write};
use crate::bed::{Peer, soon};

const SHORT: Duration = Duration::from_millis(100);

/// More than all that lies between a worker and a client can hold.
const MUCH: usize = 64 << 20;

/// Writes an answer of `MUCH` bytes until it is taken or the proxy is gone; how much was taken.
fn write_much(mut upstream: Peer) -> (Arc<AtomicUsize>, tokio::task::JoinHandle<()>) {
    let taken = Arc::new(AtomicUsize::new(0));
    let counting = Arc::clone(&taken);
    let writing = tokio::spawn(async move {
        upstream.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {MUCH}\r\n\r\n")).await;
        let piece = vec![b'x'; 64 << 10];
        for _ in 0..MUCH / piece.len() {
            if upstream.stream.write_all(&piece).await.is_err() {
                return;
            }
            counting.fetch_add(piece.len(), Ordering::Relaxed);
        }
    });
    (taken, writing)
}

#[tokio::test]
async fn a_client_that_takes_nothing_holds_the_worker_back_and_is_given_up() {
    let mut settings = settings();
    settings.listener.write_timeout = SHORT;
    let (bed, worker) = bed_with(settings).await;
    let mut client = Client::new(&bed).await;
    let (response, _) = client.begin(get("/"), false).await;
    let (_, upstream) = worker.request().await;
    let (taken, writing) = write_much(upstream);
    let mut response = soon("the head", response).await.unwrap();
    // Its window is never opened.
    soon("the end of the worker's patience", writing).await.unwrap();
    assert!(taken.load(Ordering::Relaxed) < MUCH);
    worker.unclaimed().await;
    let error = read(response.body_mut()).await.unwrap_err();
    assert_eq!(error.reason(), Some(Reason::INTERNAL_ERROR));
    // The connection is of use to others.
    let (response, _) = client.begin(get("/"), false).await;
    worker.request().await.1.ok("").await;
    soon("the answer", response).await.unwrap();
}

#[tokio::test]
async fn one_answer_that_waits_for_its_client_does_not_hold_back_another() {
    let (bed, worker) = bed().await;
    let mut builder = client::Builder::new();
    builder.initial_connection_window_size(16 << 20);
    let mut client = Client::with(&bed, &builder).await;
    let (slow, _) = client.begin(get("/slow"), false).await;
    let (_, upstream) = worker.request().await;
    let (_, writing) = write_much(upstream);
    let slow = soon("the head", slow).await.unwrap();
    let (quick, _) = client.begin(get("/quick"), false).await;
    worker.request().await.1.ok("quick").await;
    let quick = Answer::of(soon("the quick one", quick).await.unwrap()).await.unwrap();
    assert_eq!(&quick.body[..], b"quick");
    // And it is whole once the client takes it.
    let body = read(&mut slow.into_body()).await.unwrap();
    assert_eq!(body.len(), MUCH);
    writing.await.unwrap();
}

#[tokio::test]
async fn a_worker_that_takes_nothing_holds_the_client_back_and_is_given_up() {
    let mut settings = settings();
    settings.listener.max_body_bytes = 0;
    let (bed, worker) = bed_with(settings).await;
    let mut route = worker.route("/");
    route.timeouts = UpstreamTimeouts { response: 100 * SHORT, body_idle: SHORT };
    bed.publish([route]);
    let mut client = Client::new(&bed).await;
    let (response, mut send) = client.begin(post("/"), true).await;
    let upstream = worker.accept().await;
    let piece = Bytes::from(vec![b'x'; 64 << 10]);
    let sending = tokio::spawn(async move {
        let mut sent = 0;
        while sent < MUCH {
            send.reserve_capacity(piece.len());
            let Some(Ok(room)) = poll_fn(|cx| send.poll_capacity(cx)).await else { break };
            let n = room.min(piece.len());
            if send.send_data(piece.slice(..n), false).is_err() {
                break;
            }
            sent += n;
        }
        sent
    });
    assert_eq!(soon("the answer", response).await.unwrap().status(), 504);
    assert!(soon("the end of the upload", sending).await.unwrap() < MUCH);
    drop(upstream);
}

#[rstest]
#[case::length("Content-Length: 100", "half")]
#[case::chunks("Transfer-Encoding: chunked", "4\r\nhalf\r\n")]
#[tokio::test]
async fn an_answer_that_breaks_off_is_reset(#[case] framing: &str, #[case] body: &str) {
    let (bed, worker) = bed().await;
    let mut client = Client::new(&bed).await;
    let (response, _) = client.begin(get("/"), false).await;
    let (_, mut upstream) = worker.request().await;
    upstream.send(format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n{body}")).await;
    let mut response = soon("the head", response).await.unwrap();
    assert_eq!(&soon("data", response.body_mut().data()).await.unwrap().unwrap()[..], b"half");
    drop(upstream);
    let error = read(response.body_mut()).await.unwrap_err();
    assert_eq!(error.reason(), Some(Reason::INTERNAL_ERROR));
    assert_eq!(bed.counters().aborted, 1);
}

#[tokio::test]
async fn a_request_that_is_reset_frees_its_worker() {
    let (bed, worker) = bed().await;
    let mut client = Client::new(&bed).await;
    // Before its answer.
    let (response, _) = client.begin(get("/"), false).await;
    let (_, mut upstream) = worker.request().await;
    drop(response);
    assert_eq!(upstream.rest().await, b"");
    worker.unclaimed().await;
    // Within it.
    let (response, _) = client.begin(get("/"), false).await;
    let (_, mut upstream) = worker.request().await;
    upstream.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n").await;
    let mut response = soon("the head", response).await.unwrap();
    soon("data", response.body_mut().data()).await.unwrap().unwrap();
    drop(response);
    assert_eq!(upstream.rest().await, b"");
    worker.unclaimed().await;
    // Within its own body.
    let (response, mut send) = client.begin(post("/"), true).await;
    write(&mut send, Bytes::from_static(b"half"), false).await;
    let mut upstream = worker.accept().await;
    upstream.head().await;
    send.send_reset(Reason::CANCEL);
    assert!(!upstream.rest().await.ends_with(b"0\r\n\r\n"), "it must not look whole");
    worker.unclaimed().await;
    drop(response);
    assert!(client.send.clone().ready().await.is_ok());
    assert_eq!(bed.counters().open_connections, 1);
}

#[tokio::test]
async fn what_is_called_off_by_hanging_up_frees_its_workers() {
    let (bed, worker) = bed().await;
    let mut client = Client::new(&bed).await;
    let mut all = vec![];
    for _ in 0..3 {
        let response = client.begin(get("/"), false).await.0;
        all.push((response, worker.request().await.1));
    }
    client.connection.abort();
    for (_, mut upstream) in all {
        assert_eq!(upstream.rest().await, b"");
    }
    worker.unclaimed().await;
    bed.until("the end", |c| c.open_connections == 0 && c.in_flight == 0).await;
}

#[tokio::test]
async fn small_chunks_that_come_together_leave_together() {
    let (bed, worker) = bed().await;
    let mut client = Client::new(&bed).await;
    let (response, _) = client.begin(get("/"), false).await;
    let (_, mut upstream) = worker.request().await;
    let chunks = "1\r\nx\r\n".repeat(1000);
    upstream
        .send(format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n"))
        .await;
    let mut body = soon("the head", response).await.unwrap().into_body();
    let (mut frames, mut bytes) = (0, 0);
    while let Some(data) = soon("data", body.data()).await {
        frames += 1;
        bytes += data.unwrap().len();
    }
    assert_eq!(bytes, 1000);
    assert!(frames < 10, "{frames}");
}
