//! Switched protocols: WebSocket with a client of its own, and anything else.

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::{WebSocketStream, accept_async, client_async};

use crate::bed::{Bed, Peer, Worker, soon};

type Socket = WebSocketStream<TcpStream>;

/// A WebSocket through the proxy: the client's end and the worker's.
async fn connect(bed: &Bed, worker: &Worker) -> (Socket, Socket) {
    let client = TcpStream::connect(bed.addr).await.unwrap();
    let client = client_async("ws://a.example/chat", client);
    let server = async { accept_async(worker.accept().await.stream).await };
    let (client, server) = soon("the handshake", async { tokio::join!(client, server) }).await;
    (client.unwrap().0, server.unwrap())
}

#[tokio::test]
async fn messages_of_all_sizes_pass_both_ways() {
    let (bed, worker) = Bed::and_worker().await;
    let (mut client, mut server) = connect(&bed, &worker).await;
    for size in [0, 125, 126, 65_535, 65_536, 1 << 20] {
        let text = "x".repeat(size);
        let (sent, got) = tokio::join!(client.send(Frame::text(&text[..])), server.next());
        sent.unwrap();
        let got = got.unwrap().unwrap();
        assert_eq!(got.len(), size);
        let (sent, got) = tokio::join!(server.send(got), client.next());
        sent.unwrap();
        assert_eq!(got.unwrap().unwrap().to_text().unwrap(), text);
    }
    assert_eq!((bed.counters().open_tunnels, worker.target.in_flight()), (1, 1));
    client.close(None).await.unwrap();
    assert!(soon("the close", server.next()).await.unwrap().unwrap().is_close());
    drop((client, server));
    bed.until("the tunnel's end", |c| c.open_tunnels == 0 && c.open_connections == 0).await;
    worker.unclaimed().await;
}

#[tokio::test]
async fn a_cut_closes_both_sides_with_1001() {
    let (bed, worker) = Bed::and_worker().await;
    let (mut client, mut server) = connect(&bed, &worker).await;
    client.send(Frame::text("hello")).await.unwrap();
    soon("the message", server.next()).await.unwrap().unwrap();
    worker.target.cut_streams();
    soon("both ends", async { tokio::join!(goes_away(client), goes_away(server)) }).await;
    bed.until("the tunnel's end", |c| c.open_tunnels == 0).await;
    worker.unclaimed().await;
}

/// Meets the close frame, answers it, sees the end, and hangs up.
async fn goes_away(mut socket: Socket) {
    let frame = socket.next().await.unwrap().unwrap();
    let Frame::Close(Some(close)) = frame else { panic!("{frame:?}") };
    assert_eq!(close.code, CloseCode::Away);
    while let Some(Ok(_)) = socket.next().await {}
}

/// A raw upgrade, after which the test speaks in bytes.
async fn upgrade(bed: &Bed, worker: &Worker, protocol: &str) -> (Peer, Peer) {
    let mut client = bed.client().await;
    client
        .send(format!(
            "GET /x HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: {protocol}\r\n\r\n"
        ))
        .await;
    let (request, mut upstream) = worker.request().await;
    assert_eq!(request.header("upgrade").as_deref(), Some(protocol));
    assert_eq!(request.header("connection").as_deref(), Some("upgrade"));
    upstream
        .send(format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: {protocol}\r\n\r\n"
        ))
        .await;
    let answer = client.head().await;
    assert_eq!(answer.status(), 101);
    assert_eq!(answer.header("upgrade").as_deref(), Some(protocol));
    (client, upstream)
}

#[tokio::test]
async fn the_close_frame_waits_for_the_frame_that_is_under_way() {
    let (bed, worker) = Bed::and_worker().await;
    let (mut client, mut upstream) = upgrade(&bed, &worker, "websocket").await;
    upstream.send([0x82, 4, b'a', b'b']).await;
    assert_eq!(client.exactly(4).await, [0x82, 4, b'a', b'b']);
    worker.target.cut_streams();
    // The other way is between frames: there the close comes at once.
    assert_eq!(upstream.exactly(8).await[..2], [0x88, 0x82]);
    upstream.send([b'c', b'd', 0x81, 1, b'x']).await;
    assert_eq!(client.exactly(6).await, [b'c', b'd', 0x88, 2, 0x03, 0xe9]);
    upstream.stream.shutdown().await.unwrap();
    assert_eq!(client.rest().await, b"", "what comes after the close is dropped");
}

#[tokio::test]
async fn large_frames_in_a_row_pass_unchanged_and_the_close_waits_for_the_end_of_one() {
    const PAYLOAD: usize = 300_000;
    let (bed, worker) = Bed::and_worker().await;
    let (mut client, mut upstream) = upgrade(&bed, &worker, "websocket").await;
    let mut frame = vec![0x82, 127];
    frame.extend((PAYLOAD as u64).to_be_bytes());
    frame.extend((0..PAYLOAD).map(|n| (n ^ n >> 8) as u8));
    let mut frames = frame.repeat(3);
    // Between large ones a small one, and the beginning of one that is not over.
    frames.extend([0x82, 2, b'h', b'i']);
    frames.extend(&frame);
    let (whole, begun) = (frames.len(), 200_000);
    frames.extend(&frame[..begun]);
    let (got, ()) = soon("the frames", async {
        tokio::join!(client.exactly(frames.len()), upstream.send(&frames))
    })
    .await;
    assert!(got == frames);
    worker.target.cut_streams();
    assert_eq!(upstream.exactly(8).await[..2], [0x88, 0x82]);
    upstream.send(&frame[begun..]).await;
    upstream.send([0x82, 1, b'x']).await;
    let rest = client.exactly(frame.len() - begun + 4).await;
    let (end, close) = rest.split_at(frame.len() - begun);
    assert!(end == &frame[begun..]);
    assert_eq!(close, [0x88, 2, 0x03, 0xe9]);
    upstream.stream.shutdown().await.unwrap();
    client.stream.shutdown().await.unwrap();
    assert_eq!(client.rest().await, b"");
    bed.until("the count", |c| c.bytes_sent > whole as u64 && c.open_tunnels == 0).await;
}

#[tokio::test]
async fn bulk_of_any_other_protocol_passes_unchanged() {
    let (bed, worker) = Bed::and_worker().await;
    let (mut client, mut upstream) = upgrade(&bed, &worker, "echo/1").await;
    let bytes: Vec<_> = (0..3_000_000).map(|n: usize| (n ^ n >> 8 ^ n >> 16) as u8).collect();
    let up = async { client.send(&bytes).await };
    let (got, ()) =
        soon("the upload", async { tokio::join!(upstream.exactly(bytes.len()), up) }).await;
    assert!(got == bytes);
    upstream.send("small").await;
    assert_eq!(client.exactly(5).await, b"small");
    drop(client);
    assert_eq!(upstream.rest().await, b"");
}

#[tokio::test]
async fn any_other_protocol_passes_and_is_closed_on_a_cut() {
    let (bed, worker) = Bed::and_worker().await;
    let (mut client, mut upstream) = upgrade(&bed, &worker, "echo/1").await;
    client.send("ping").await;
    assert_eq!(upstream.exactly(4).await, b"ping");
    upstream.send("pong").await;
    assert_eq!(client.exactly(4).await, b"pong");
    worker.target.cut_streams();
    assert_eq!(client.rest().await, b"");
    assert_eq!(upstream.rest().await, b"");
}

#[tokio::test]
async fn one_side_may_end_before_the_other() {
    let (bed, worker) = Bed::and_worker().await;
    let (mut client, mut upstream) = upgrade(&bed, &worker, "echo/1").await;
    client.stream.shutdown().await.unwrap();
    assert_eq!(upstream.stream.read(&mut [0]).await.unwrap(), 0);
    upstream.send("late").await;
    drop(upstream);
    assert_eq!(client.rest().await, b"late");
}

#[tokio::test]
async fn bytes_sent_along_with_the_switch_are_not_lost() {
    let (bed, worker) = Bed::and_worker().await;
    let mut client = bed.client().await;
    client
        .send("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nearly")
        .await;
    let (_, mut upstream) = worker.request().await;
    upstream
        .send(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: Echo\r\n\r\nbird",
        )
        .await;
    client.head().await;
    assert_eq!(client.exactly(4).await, b"bird");
    assert_eq!(upstream.exactly(5).await, b"early");
}

#[tokio::test]
async fn a_worker_may_decline_to_switch() {
    let (bed, worker) = Bed::and_worker().await;
    let mut client = bed.client().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n").await;
    let (_, mut upstream) = worker.request().await;
    upstream.ok("no").await;
    assert_eq!(client.message().await.text(), "no");
    client.get("/next").await;
    upstream.message().await;
    upstream.ok("next").await;
    assert_eq!(client.message().await.text(), "next");
}
