//! WebSockets over HTTP/2 (RFC 8441).

use bytes::{Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt};
use h2::ext::Protocol;
use h2::{RecvStream, SendStream};
use http::{Method, Request};
use rstest::rstest;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::{WebSocketStream, accept_hdr_async};

use super::{Client, bed, read, serve, settings};
use crate::bed::{Bed, Worker, soon};

fn connect_to(protocol: &str) -> Request<()> {
    let mut request = Request::builder()
        .method(Method::CONNECT)
        .uri("http://a.example/chat?x=1")
        .header("sec-websocket-version", "13")
        .header("origin", "http://a.example")
        .body(())
        .unwrap();
    request.extensions_mut().insert(Protocol::from(protocol));
    request
}

struct Ends {
    send: SendStream<Bytes>,
    receive: RecvStream,
    server: WebSocketStream<TcpStream>,
    _client: Client,
}

/// A client may not ask before it has the server's settings.
async fn client(bed: &Bed) -> Client {
    let client = Client::new(bed).await;
    soon("the settings", async {
        while !client.send.is_extended_connect_protocol_enabled() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    client
}

async fn connect(bed: &Bed, worker: &Worker) -> Ends {
    let mut client = client(bed).await;
    let (response, send) = client.begin(connect_to("websocket"), true).await;
    let server = async {
        #[allow(clippy::result_large_err, reason = "it is the library's type")]
        let look = |request: &http::Request<()>, response: http::Response<()>| {
            assert_eq!(request.uri(), "/chat?x=1");
            assert_eq!(request.headers()["host"], "a.example");
            assert_eq!(request.headers()["origin"], "http://a.example");
            Ok(response)
        };
        accept_hdr_async(worker.accept().await.stream, look).await.unwrap()
    };
    let (response, server) = soon("the handshake", async { tokio::join!(response, server) }).await;
    let response = response.unwrap();
    assert_eq!(response.status(), 200);
    assert!(response.headers().get("sec-websocket-accept").is_none());
    assert!(response.headers().get("upgrade").is_none());
    Ends { send, receive: response.into_body(), server, _client: client }
}

/// Reads so many bytes.
async fn exactly(receive: &mut RecvStream, bytes: usize) -> Vec<u8> {
    let mut read = BytesMut::new();
    while read.len() < bytes {
        let data = soon("data", receive.data()).await.unwrap().unwrap();
        receive.flow_control().release_capacity(data.len()).unwrap();
        read.extend_from_slice(&data);
    }
    read.to_vec()
}

#[tokio::test]
async fn messages_pass_both_ways() {
    let (bed, worker) = bed().await;
    let mut ends = connect(&bed, &worker).await;
    // "hi", masked with nothing.
    ends.send.send_data(Bytes::from_static(&[0x81, 0x82, 0, 0, 0, 0, b'h', b'i']), false).unwrap();
    let got = soon("the message", ends.server.next()).await.unwrap().unwrap();
    assert_eq!(got.to_text().unwrap(), "hi");
    ends.server.send(Frame::text("ho")).await.unwrap();
    assert_eq!(exactly(&mut ends.receive, 4).await, [0x81, 2, b'h', b'o']);
    let big = "x".repeat(300_000);
    let (sent, got) =
        tokio::join!(ends.server.send(Frame::text(&big[..])), exactly(&mut ends.receive, 300_010));
    sent.unwrap();
    assert!(got[10..] == *big.as_bytes());
    let counters = bed.counters();
    assert_eq!((counters.open_tunnels, counters.responses[0]), (1, 1));
    // The end of the client's side is the end of the worker's.
    ends.send.send_data(Bytes::new(), true).unwrap();
    assert!(soon("the end", ends.server.next()).await.unwrap().is_err());
    drop(ends.server);
    assert_eq!(read(&mut ends.receive).await.unwrap(), "");
    bed.until("the tunnel's end", |c| c.open_tunnels == 0).await;
    worker.unclaimed().await;
}

#[tokio::test]
async fn a_cut_closes_both_sides_with_1001() {
    let (bed, worker) = bed().await;
    let mut ends = connect(&bed, &worker).await;
    worker.target.cut_streams();
    assert_eq!(exactly(&mut ends.receive, 4).await, [0x88, 2, 0x03, 0xe9]);
    let close = soon("the close", ends.server.next()).await.unwrap().unwrap();
    assert!(close.is_close());
    bed.until("the tunnel's end", |c| c.open_tunnels == 0).await;
    worker.unclaimed().await;
}

#[tokio::test]
async fn a_tunnel_that_is_reset_frees_its_worker() {
    let (bed, worker) = bed().await;
    let mut ends = connect(&bed, &worker).await;
    ends.send.send_reset(h2::Reason::CANCEL);
    assert!(soon("the end", ends.server.next()).await.is_none_or(|last| last.is_err()));
    bed.until("the tunnel's end", |c| c.open_tunnels == 0).await;
    worker.unclaimed().await;
}

#[rstest]
#[case::declined("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", 403)]
// To CONNECT it would mean that there is a tunnel.
#[case::misunderstood("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", 502)]
#[case::not_proven(
    "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
     Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
    502
)]
#[tokio::test]
async fn a_worker_that_does_not_switch(#[case] answer: &'static str, #[case] status: u16) {
    let (bed, worker) = bed().await;
    let serving = serve(worker, move |_| answer.to_owned());
    let mut client = client(&bed).await;
    let (response, _send) = client.begin(connect_to("websocket"), true).await;
    assert_eq!(soon("the answer", response).await.unwrap().status(), status);
    bed.until("the end", |c| c.in_flight == 0 && c.open_tunnels == 0).await;
    serving.abort();
}

#[tokio::test]
async fn pages_are_told_of_changes_over_it() {
    let (bed, _live) = Bed::live(settings());
    let mut client = client(&bed).await;
    let mut request = connect_to("websocket");
    *request.uri_mut() = "http://a.example/_tqserver/live?worker=app".parse().unwrap();
    let (response, mut send) = client.begin(request, true).await;
    let response = soon("the answer", response).await.unwrap();
    assert_eq!(response.status(), 200);
    let mut receive = response.into_body();
    let state = exactly(&mut receive, 4).await;
    assert_eq!(state[0], 0x81, "a text: {state:?}");
    send.send_data(Bytes::from_static(&[0x88, 0x80, 0, 0, 0, 0]), false).unwrap();
    assert_eq!(exactly(&mut receive, 2).await, [0x88, 0]);
    bed.until("the tunnel's end", |c| c.open_tunnels == 0).await;
}

#[tokio::test]
async fn another_protocol_is_not_implemented() {
    let (bed, _worker) = bed().await;
    let mut client = client(&bed).await;
    let (response, _send) = client.begin(connect_to("connect-udp"), true).await;
    assert_eq!(soon("the answer", response).await.unwrap().status(), 501);
}
