//! HTTP inside TLS: all that is so without it is so with it, and the handshake before it.

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use rstest::rstest;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::{accept_async, client_async};
use tqserver::proxy::table::PublicTree;

use crate::bed::{Peer, settings, soon};
use crate::https_bed::{HttpsBed, Secure};

const SHORT: Duration = Duration::from_millis(50);

/// Bytes that differ from place to place.
fn noise(len: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(7);
    std::iter::repeat_with(|| random.u8(..)).take(len).collect()
}

/// What comes until the other side says that nothing follows, as TLS says it.
async fn until_close_notify(client: &mut Peer<Secure>) -> Vec<u8> {
    let mut rest = Vec::new();
    let end = soon("the end", client.stream.read_to_end(&mut rest)).await;
    end.expect("an end that is said and not only made");
    rest
}

#[tokio::test]
async fn requests_are_answered_on_a_kept_connection() {
    let (bed, worker) = HttpsBed::and_worker().await;
    let mut client = bed.secure_client().await;
    client.get("/a?b=c").await;
    let (request, mut upstream) = worker.request().await;
    assert_eq!(request.start, "GET /a?b=c HTTP/1.1");
    assert_eq!(request.header("x-forwarded-proto").as_deref(), Some("https"));
    assert_eq!(request.header("x-forwarded-for").as_deref(), Some("127.0.0.1"));
    upstream.ok("first").await;
    assert_eq!(client.message().await.text(), "first");

    client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    upstream.message().await;
    upstream.ok("last").await;
    let answer = client.message().await;
    assert_eq!((answer.text(), answer.header("connection").as_deref()), ("last", Some("close")));
    assert_eq!(until_close_notify(&mut client).await, b"");
    bed.until("the end", |c| c.connections == 1 && c.open_connections == 0).await;
}

#[tokio::test]
async fn bodies_pass_both_ways() {
    let (bed, worker) = HttpsBed::and_worker().await;
    let body = noise(300_000);
    let mut client = bed.secure_client().await;
    let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len());
    let sent = async {
        client.send(head).await;
        client.send(&body).await;
        client.stream.flush().await.unwrap();
    };
    let ((), (request, mut upstream)) = tokio::join!(sent, worker.request());
    assert!(request.complete && request.body == body);
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    let answered = async {
        upstream.send(head).await;
        upstream.send(&body).await;
    };
    let ((), answer) = tokio::join!(answered, client.message());
    assert!(answer.complete && answer.body == body);
}

#[tokio::test]
async fn five_megabytes_come_whole() {
    let (bed, worker) = HttpsBed::and_worker().await;
    let body = noise(5 << 20);
    let mut client = bed.secure_client().await;
    client.get("/").await;
    let (_, mut upstream) = worker.request().await;
    let answered = async {
        upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 5242880\r\n\r\n").await;
        upstream.send(&body).await;
    };
    let ((), answer) = tokio::join!(answered, client.message());
    assert!(answer.complete && answer.body == body);
}

/// More than the sockets between take, and less than rustls does: nobody pushes the rest but us.
const HELD_UP: usize = 60_000;

#[tokio::test]
async fn what_is_held_up_comes_although_the_worker_says_no_more() {
    // As much as is read at once with a head: of more, the rest is not taken from the worker before.
    const ANSWER: usize = 19_000;
    let (bed, worker) = HttpsBed::tight().await;
    let body = noise(ANSWER);
    let mut client = bed.tight_client().await;
    client.get("/").await;
    let (_, mut upstream) = worker.request().await;
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 19001\r\n\r\n";
    upstream.send([head.as_bytes(), &body].concat()).await;
    bed.until("all of it on its way", |c| c.bytes_sent > ANSWER as u64).await;
    client.head().await;
    assert!(client.exactly(ANSWER).await == body);
}

#[tokio::test]
async fn what_is_held_up_of_our_own_comes_while_the_next_request_is_awaited() {
    let (bed, worker) = HttpsBed::tight().await;
    let folder = tempfile::tempdir().unwrap();
    let body = noise(HELD_UP);
    std::fs::write(folder.path().join("file"), &body).unwrap();
    let root = Arc::new(File::open(folder.path()).unwrap());
    let mut route = worker.route("/");
    route.public = vec![PublicTree { root, path: folder.path().into(), digest: None }];
    bed.publish([route]);
    let mut client = bed.tight_client().await;
    client.get("/static/app/file").await;
    bed.until("all of it on its way", |c| c.bytes_sent > HELD_UP as u64).await;
    let answer = client.message().await;
    assert!(answer.complete && answer.body == body);
}

#[tokio::test]
async fn an_event_arrives_at_once() {
    let (bed, worker) = HttpsBed::and_worker().await;
    let mut client = bed.secure_client().await;
    client.get("/events").await;
    let (_, mut upstream) = worker.request().await;
    upstream.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n").await;
    client.head().await;
    for _ in 0..3 {
        upstream.send("data: 1\n\n").await;
        assert_eq!(client.exactly(14).await, b"9\r\ndata: 1\n\n\r\n");
    }
    worker.target.cut_streams();
    assert_eq!(client.exactly(5).await, b"0\r\n\r\n");
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_given_up() {
    let (bed, worker) = HttpsBed::with_worker(|_| {
        let mut settings = settings();
        settings.listener.write_timeout = SHORT;
        settings
    })
    .await;
    let mut client = bed.secure_client().await;
    client.get("/").await;
    let (_, mut upstream) = worker.request().await;
    upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n").await;
    let refused = async { while upstream.stream.write_all(&[0; 1 << 16]).await.is_ok() {} };
    soon("the end of the worker's connection", refused).await;
    bed.until("the end of the client's", |c| c.open_connections == 0).await;
}

#[tokio::test]
async fn an_answer_without_an_end_is_not_ended_by_close_notify() {
    let (bed, worker) = HttpsBed::and_worker().await;
    let mut client = bed.secure_client().await;
    client.send("GET / HTTP/1.0\r\nHost: a\r\n\r\n").await;
    let (_, mut upstream) = worker.request().await;
    upstream.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n").await;
    client.head().await;
    client.exactly(4).await;
    drop(upstream);
    assert!(soon("the end", client.stream.read_to_end(&mut Vec::new())).await.is_err());
}

#[tokio::test]
async fn websockets_pass_and_are_closed() {
    let (bed, worker) = HttpsBed::and_worker().await;
    let client = bed.secure_client().await.stream;
    let client = Box::pin(client_async("ws://a.example/chat", client));
    let server = async { accept_async(worker.accept().await.stream).await };
    let (client, server) = soon("the handshake", async { tokio::join!(client, server) }).await;
    let (mut client, mut server) = (client.unwrap().0, server.unwrap());
    for size in [0, 125, 65_536, 1 << 20] {
        let text = "x".repeat(size);
        let (sent, got) = tokio::join!(client.send(Frame::text(&text[..])), server.next());
        sent.unwrap();
        let (sent, got) = tokio::join!(server.send(got.unwrap().unwrap()), client.next());
        sent.unwrap();
        assert_eq!(got.unwrap().unwrap().to_text().unwrap(), text);
    }
    worker.target.cut_streams();
    let closed = async {
        assert!(client.next().await.unwrap().unwrap().is_close());
        assert!(server.next().await.unwrap().unwrap().is_close());
        drop((client, server));
    };
    soon("both close frames", closed).await;
    bed.until("the tunnel's end", |c| c.open_tunnels == 0 && c.open_connections == 0).await;
}

#[tokio::test]
async fn a_shutdown_loses_no_request() {
    let (mut bed, worker) = HttpsBed::and_worker().await;
    let mut client = bed.secure_client().await;
    client.get("/").await;
    let (_, mut upstream) = worker.request().await;
    let mut idle = bed.secure_client().await;
    idle.get("/idle").await;
    worker.request().await.1.ok("").await;
    idle.message().await;

    let plane = bed.bed.plane.take().unwrap();
    let down = tokio::spawn(plane.shutdown(Duration::from_secs(20)));
    assert_eq!(until_close_notify(&mut idle).await, b"", "it has begun");
    upstream.ok("done").await;
    let answer = client.message().await;
    assert_eq!((answer.text(), answer.header("connection").as_deref()), ("done", Some("close")));
    assert_eq!(until_close_notify(&mut client).await, b"");
    soon("the end", down).await.unwrap();
}

#[rstest]
#[case::says_nothing("")]
#[case::begins("\x16\x03\x01\x02\0\x01\0\x01\u{7c}\x03\x03")]
#[tokio::test]
async fn a_handshake_that_dawdles_is_ended_and_holds_up_nobody(#[case] said: &str) {
    let (bed, worker) = HttpsBed::with_worker(|_| {
        let mut settings = settings();
        settings.listener.read_timeout = Duration::from_millis(300);
        settings
    })
    .await;
    let mut dawdler = Peer::new(TcpStream::connect(bed.https).await.unwrap());
    dawdler.send(said).await;
    bed.until("its connection", |c| c.open_connections == 1).await;
    let mut client = bed.secure_client().await;
    client.get("/").await;
    worker.request().await.1.ok("served").await;
    assert_eq!(client.message().await.text(), "served");
    drop(client);
    assert_eq!(dawdler.rest().await, b"");
    bed.until("both ends", |c| c.open_connections == 0).await;
}

#[tokio::test]
async fn who_speaks_no_tls_is_sent_away() {
    let (bed, _worker) = HttpsBed::and_worker().await;
    let mut stranger = Peer::new(TcpStream::connect(bed.https).await.unwrap());
    stranger.get("/").await;
    let said = stranger.rest().await;
    assert!(!said.starts_with(b"HTTP"), "{said:?}");
    bed.until("the end", |c| c.open_connections == 0 && c.requests == 0).await;
}

#[tokio::test]
async fn without_certificates_connections_are_closed() {
    let bed = HttpsBed::with(|_| settings());
    let mut client = Peer::new(TcpStream::connect(bed.https).await.unwrap());
    assert_eq!(client.rest().await, b"");
    bed.reload();
    bed.publish([]);
    let mut client = bed.secure_client().await;
    client.get("/").await;
    assert_eq!(client.message().await.status(), 404);
}

#[tokio::test]
async fn a_new_certificate_is_for_new_connections_and_old_ones_go_on() {
    let (bed, worker) = HttpsBed::and_worker().await;
    let mut old = bed.secure_client().await;
    old.get("/").await;
    let (_, mut upstream) = worker.request().await;
    bed.reload();
    let mut new = bed.secure_client().await;
    assert_ne!(certificate(&old), certificate(&new));
    upstream.ok("one").await;
    assert_eq!(old.message().await.text(), "one");
    for client in [&mut old, &mut new] {
        client.get("/").await;
        upstream.message().await;
        upstream.ok("two").await;
        assert_eq!(client.message().await.text(), "two");
    }
    assert_eq!(bed.counters().connections, 2);
}

/// What the server has shown.
fn certificate(client: &Peer<Secure>) -> &[u8] {
    &client.stream.get_ref().1.peer_certificates().unwrap()[0]
}

/// Whoever offers it speaks HTTP/2, and the worker hears of TLS as it does in HTTP/1.1.
#[tokio::test]
async fn http_2_is_agreed_upon_in_the_handshake() {
    let (bed, worker) = HttpsBed::and_worker().await;
    let stream = bed.http2_stream().await;
    let (mut send, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::get("https://a.example/over-tls").body(()).unwrap();
    let (answer, _) = send.send_request(request, true).unwrap();
    let (seen, mut upstream) = worker.request().await;
    assert_eq!(seen.start, "GET /over-tls HTTP/1.1");
    assert_eq!(seen.header("x-forwarded-proto").as_deref(), Some("https"));
    upstream.ok("both").await;
    let mut answer = soon("the answer", answer).await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.version()), (200, http::Version::HTTP_2));
    let data = soon("its body", answer.body_mut().data()).await.unwrap().unwrap();
    assert_eq!(data, "both");
}
