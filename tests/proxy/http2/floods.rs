//! Clients that cost more than they ask for.

use super::frames::*;
use super::{Client, bed, get, settings};
use crate::bed::{Bed, Peer, soon};

async fn is_told_to_calm_down(peer: &mut Peer) {
    let goaway = next_of(peer, GOAWAY).await;
    assert_eq!(goaway.error(), ENHANCE_YOUR_CALM);
    peer.rest().await;
}

/// CVE-2023-44487, as fast as can be.
#[tokio::test]
async fn requests_that_are_reset_at_once() {
    let (bed, worker) = bed().await;
    let mut peer = connect(&bed).await;
    let mut bytes = vec![];
    for n in 0..1000 {
        bytes.extend(request(2 * n + 1, &[]));
        bytes.extend(frame(RST_STREAM, 0, 2 * n + 1, &8u32.to_be_bytes()));
    }
    peer.try_send(bytes).await;
    is_told_to_calm_down(&mut peer).await;
    bed.until("the end", |c| c.open_connections == 0 && c.in_flight == 0).await;
    assert!(bed.counters().requests < 1000);
    worker.unclaimed().await;
}

/// The same, in which each request is let reach its worker before it is reset.
#[tokio::test]
async fn requests_that_are_called_off_one_by_one() {
    let (bed, worker) = bed().await;
    let mut client = Client::new(&bed).await;
    let mut called_off = 0;
    loop {
        let Ok(mut send) = client.send.clone().ready().await else { break };
        let Ok((response, _)) = send.send_request(get("/"), true) else { break };
        let mut upstream = tokio::select! {
            (_, upstream) = worker.request() => upstream,
            _ = async { while !client.connection.is_finished() { tokio::task::yield_now().await } } => break,
        };
        drop(response);
        upstream.rest().await;
        called_off += 1;
        assert!(called_off < 1000, "it was not noticed");
    }
    assert!(called_off >= 200, "{called_off}");
    let end = soon("the end", &mut client.connection).await.unwrap().unwrap_err();
    assert_eq!(end.reason(), Some(h2::Reason::ENHANCE_YOUR_CALM));
    worker.unclaimed().await;
}

/// Who answers as well as calls off is a browser whose user is in a hurry.
#[tokio::test]
async fn some_requests_may_be_called_off() {
    let bed = Bed::with(settings());
    bed.publish([]);
    let mut client = Client::new(&bed).await;
    for _ in 0..300 {
        client.get("/").await.unwrap();
        drop(client.begin(get("/"), false).await);
    }
    client.get("/").await.unwrap();
}

/// CVE-2024-27316.
#[tokio::test]
async fn a_head_without_an_end() {
    let bed = Bed::with(settings());
    let mut peer = connect(&bed).await;
    peer.send(frame(HEADERS, END_STREAM, 1, &block(&REQUEST))).await;
    for _ in 0..1000 {
        peer.try_send(frame(CONTINUATION, 0, 1, &block(&[("x", "y")]))).await;
    }
    is_told_to_calm_down(&mut peer).await;
}

/// CVE-2025-8671: the server is made to reset.
#[tokio::test]
async fn requests_that_are_no_requests() {
    let bed = Bed::with(settings());
    let mut peer = connect(&bed).await;
    for n in 0..1000 {
        peer.try_send(request(2 * n + 1, &[("connection", "close")])).await;
    }
    is_told_to_calm_down(&mut peer).await;
}

#[tokio::test]
async fn requests_that_are_no_requests_in_a_way_that_h2_does_not_see() {
    let bed = Bed::with(settings());
    let mut peer = connect(&bed).await;
    for n in 0..1000 {
        peer.try_send(request(2 * n + 1, &[("host", "other")])).await;
    }
    is_told_to_calm_down(&mut peer).await;
}

/// Fields that are small in their compressed form (RFC 7541 section 7.3).
#[tokio::test]
async fn a_head_that_grows_when_it_is_read() {
    let (bed, worker) = bed().await;
    let mut peer = connect(&bed).await;
    // A field that is remembered, and then named some thousand times with a byte each.
    let mut bytes = block(&REQUEST);
    bytes.extend([0x40, 1, b'x', 127, 0x81, 0x1e]);
    bytes.extend([b'y'; 127 + 1 + 30 * 128]);
    bytes.extend([0xbe; 10_000]);
    peer.send(frame(HEADERS, WHOLE, 1, &bytes)).await;
    // A few of them are answered with 431, thousands with the end.
    assert_ne!(next_of(&mut peer, GOAWAY).await.error(), NO_ERROR);
    assert_eq!(worker.target.in_flight(), 0);
}

/// Frames of nothing, which flow control does not hold back.
#[tokio::test]
async fn bodies_of_nothing() {
    let (bed, worker) = bed().await;
    let mut peer = connect(&bed).await;
    let head = [(":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "a")];
    peer.send(frame(HEADERS, END_HEADERS, 1, &block(&head))).await;
    // The worker reads nothing of it.
    let _upstream = worker.accept().await;
    let nothing = frame(DATA, 0, 1, b"");
    peer.try_send(nothing.repeat(100_000)).await;
    is_told_to_calm_down(&mut peer).await;
}
