//! Connections that a proxy before us passes on, and says whose they are.

use std::time::Duration;

use rstest::rstest;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tqserver::proxy::ProxySettings;

use crate::bed::{Peer, Worker, network, settings};
use crate::https_bed::HttpsBed;

const V1: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.1 5000 443\r\n";
const V1_MAPPED: &[u8] = b"PROXY TCP6 ::ffff:192.0.2.7 ::1 5000 443\r\n";
const V1_UNKNOWN: &[u8] = b"PROXY UNKNOWN\r\n";
const V2: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0f\xc0\0\x02\x07\xc6\x33\x64\x01\x13\x88\x01\xbb\x04\0\0";
const V2_LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

/// Headers are required of connections from here.
fn required() -> ProxySettings {
    let mut settings = settings();
    settings.listener.proxy_protocol = vec![network("127.0.0.0/8")];
    settings
}

/// What the worker is told of the client of a request without TLS.
async fn client_of(bed: &HttpsBed, worker: &Worker, header: &[u8]) -> String {
    let mut client = bed.client().await;
    // In one piece with what follows: the header alone is taken off.
    client.send([header, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"].concat()).await;
    let (request, mut upstream) = worker.request().await;
    upstream.ok("").await;
    assert_eq!(client.message().await.status(), 200);
    request.header("x-forwarded-for").unwrap()
}

#[rstest]
#[case::v1(V1, "192.0.2.7")]
#[case::v1_mapped(V1_MAPPED, "192.0.2.7")]
#[case::v1_unknown(V1_UNKNOWN, "127.0.0.1")]
#[case::v2(V2, "192.0.2.7")]
#[case::v2_local(V2_LOCAL, "127.0.0.1")]
#[tokio::test]
async fn the_header_says_who_the_client_is(#[case] header: &[u8], #[case] address: &str) {
    let (bed, worker) = HttpsBed::with_worker(|_| required()).await;
    assert_eq!(client_of(&bed, &worker, header).await, address);

    let mut stream = TcpStream::connect(bed.https).await.unwrap();
    stream.write_all(header).await.unwrap();
    let mut client = Peer::new(bed.shake_hands(stream).await);
    client.get("/").await;
    let (request, _) = worker.request().await;
    assert_eq!(request.header("x-forwarded-for").as_deref(), Some(address));
    assert_eq!(request.header("x-forwarded-proto").as_deref(), Some("https"));
}

#[tokio::test]
async fn trust_is_in_the_address_of_the_header() {
    let trusting = |range: &str| {
        let mut settings = required();
        settings.listener.trusted_proxies = vec![network(range)];
        settings
    };
    for (range, chain) in [("192.0.2.0/24", "203.0.113.9, 192.0.2.7"), ("127.0.0.0/8", "192.0.2.7")]
    {
        let (bed, worker) = HttpsBed::with_worker(|_| trusting(range)).await;
        let mut client = bed.client().await;
        client.send(V1).await;
        client.send("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 203.0.113.9\r\n\r\n").await;
        let (request, _) = worker.request().await;
        assert_eq!(request.header("x-forwarded-for").as_deref(), Some(chain), "{range}");
    }
}

#[rstest]
#[case::absent(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")]
#[case::malformed(b"PROXY TCP4 192.0.2.7 198.51.100.1 5000 443 x\r\n")]
#[case::tls(b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03")]
#[tokio::test]
async fn without_a_valid_header_a_connection_is_closed(#[case] said: &[u8]) {
    let (bed, _worker) = HttpsBed::with_worker(|_| required()).await;
    for addr in [bed.addr, bed.https] {
        let mut client = Peer::new(TcpStream::connect(addr).await.unwrap());
        client.send(said).await;
        assert_eq!(client.rest().await, b"");
    }
    bed.until("the end", |c| c.open_connections == 0).await;
    assert_eq!(bed.counters().requests, 0);
}

#[tokio::test]
async fn a_header_that_does_not_end_in_time_ends_the_connection() {
    let (bed, _worker) = HttpsBed::with_worker(|_| {
        let mut settings = required();
        settings.listener.read_timeout = Duration::from_millis(50);
        settings
    })
    .await;
    for addr in [bed.addr, bed.https] {
        let mut client = Peer::new(TcpStream::connect(addr).await.unwrap());
        client.send(&V1[..V1.len() - 1]).await;
        assert_eq!(client.rest().await, b"");
    }
}

#[tokio::test]
async fn elsewhere_nobody_may_say_who_they_are() {
    let (bed, worker) = HttpsBed::with_worker(|_| {
        let mut settings = required();
        settings.listener.proxy_protocol = vec![network("198.51.100.0/24")];
        settings
    })
    .await;
    assert_eq!(client_of(&bed, &worker, b"").await, "127.0.0.1");
    let mut client = bed.client().await;
    client.send(V1).await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    // It reads like a request of another version.
    assert_eq!(client.message().await.status(), 505);
}
