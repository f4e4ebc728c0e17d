//! Requests whose framing or target is in doubt: refused or written anew, never passed on raw.

use rstest::rstest;

use crate::bed::Bed;

/// Each is answered with the status, without a worker having seen a byte of it, and the
/// connection is closed.
#[rstest]
#[case::two_lengths(
    400,
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello"
)]
#[case::plus(400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello")]
#[case::hex(400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\nhello")]
#[case::list(400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\nhello")]
#[case::negative(400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\nhello")]
#[case::empty_length(400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \r\n\r\nhello")]
#[case::huge_length(
    400,
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n"
)]
#[case::identity(400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n")]
#[case::chunked_first(
    400,
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n"
)]
#[case::gzip(
    501,
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"
)]
#[case::twice(
    400,
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
)]
#[case::coding_1_0(
    400,
    "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
)]
#[case::tab_coding(
    501,
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: x,\tchunked\r\n\r\n0\r\n\r\n"
)]
#[case::fold(400, "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2\r\n\r\n")]
#[case::fold_first(400, "GET / HTTP/1.1\r\n Host: a\r\n\r\n")]
#[case::space_before_colon(400, "GET / HTTP/1.1\r\nHost : a\r\n\r\n")]
#[case::no_colon(400, "GET / HTTP/1.1\r\nHost: a\r\nnonsense\r\n\r\n")]
#[case::bare_cr(400, "GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n")]
#[case::nul(400, "GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n")]
#[case::no_host(400, "GET / HTTP/1.1\r\n\r\n")]
#[case::two_hosts(400, "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")]
#[case::bad_host(400, "GET / HTTP/1.1\r\nHost: a/b@c\r\n\r\n")]
#[case::bare_lf(400, "GET / HTTP/1.1\nHost: a\nX: 1\n\n")]
#[case::same_length_twice(
    400,
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello"
)]
#[case::coding_and_length(
    400,
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
)]
#[case::length_and_coding(
    400,
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
)]
#[case::version(505, "GET / HTTP/3.0\r\nHost: a\r\n\r\n")]
#[case::connect(405, "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n")]
#[case::trace(405, "TRACE / HTTP/1.1\r\nHost: a\r\n\r\n")]
#[case::https(400, "GET https://a/ HTTP/1.1\r\nHost: a\r\n\r\n")]
#[tokio::test]
async fn refused_and_closed(#[case] status: u16, #[case] request: &str) {
    let (bed, worker) = Bed::and_worker().await;
    let mut client = bed.client().await;
    client.send(request).await;
    let answer = client.message().await;
    assert_eq!(answer.status(), status);
    assert_eq!(client.rest().await, b"");
    assert_eq!(bed.counters().upstream_connections, 0);
    drop(worker);
}

#[rstest]
#[case("/a/../b")]
#[case("/..")]
#[case("/%2e%2e/b")]
#[case("/a/%2E./b")]
#[case("/a%2fb")]
#[case("/a%5cb")]
#[case("/a\\b")]
#[case("/a%00")]
#[case("/%ff")]
#[case("/%c0%ae%c0%ae/")]
#[case("/%zz")]
#[case("*")]
#[case("/static/../x")]
#[case("http://a.example/../x")]
#[tokio::test]
async fn paths_with_two_meanings_are_refused(#[case] path: &str) {
    let (bed, _worker) = Bed::and_worker().await;
    let mut client = bed.client().await;
    client.get(path).await;
    assert_eq!(client.message().await.status(), 400);
    assert_eq!(bed.counters().upstream_connections, 0);
}

/// What may be read in one way only is written anew for the worker.
#[rstest]
#[case::chunk_extension(
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n5;x=\"y\"\r\nhello\r\n0\r\n\r\n",
    "hello"
)]
#[case::get_with_chunks(
    "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "hello"
)]
#[tokio::test]
async fn normalised(#[case] request: &str, #[case] body: &str) {
    let (bed, worker) = Bed::and_worker().await;
    let mut client = bed.client().await;
    client.send(request).await;
    let (seen, mut upstream) = worker.request().await;
    assert_eq!(seen.text(), body);
    assert!(seen.header("content-length").is_none_or(|length| length == body.len().to_string()));
    upstream.ok("").await;
    assert_eq!(client.message().await.status(), 200);
}

/// A broken chunk ends the upload and the connection, without a complete request at the worker.
#[rstest]
#[case("zz\r\nhello\r\n")]
#[case("-5\r\nhello\r\n")]
#[case("5\r\nhelloXX")]
#[case("10000000000000000\r\nhello\r\n")]
#[tokio::test]
async fn broken_chunks(#[case] chunks: &str) {
    let (bed, worker) = Bed::and_worker().await;
    let mut client = bed.client().await;
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    let mut upstream = worker.accept().await;
    upstream.head().await;
    client.send(chunks).await;
    let seen = upstream.rest().await;
    assert!(!seen.ends_with(b"0\r\n\r\n"), "{:?}", String::from_utf8_lossy(&seen));
    drop(client);
    bed.until("the end", |c| c.open_connections == 0).await;
}

#[tokio::test]
async fn options_of_the_server_are_its_own() {
    let (bed, _worker) = Bed::and_worker().await;
    let mut client = bed.client().await;
    client.send("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let answer = client.message().await;
    assert_eq!(answer.status(), 204);
    assert!(answer.header("allow").unwrap().contains("GET"));
}

/// A worker's framing is as little believed as a client's.
#[rstest]
#[case::garbage("SSH-2.0-OpenSSH\r\n\r\n")]
#[case::two_lengths("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab")]
#[case::plus("HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\na")]
#[case::fold("HTTP/1.1 200 OK\r\nX: 1\r\n 2\r\nContent-Length: 0\r\n\r\n")]
#[case::length_twice("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na")]
#[case::coding_and_length(
    "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"
)]
#[case::bare_lf("HTTP/1.1 200 OK\nContent-Length: 1\n\na")]
#[case::unasked_upgrade(
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"
)]
#[tokio::test]
async fn a_worker_that_speaks_garbage_is_a_bad_gateway(#[case] answer: &str) {
    let (bed, worker) = Bed::and_worker().await;
    let mut client = bed.client().await;
    client.get("/").await;
    let (_, mut upstream) = worker.request().await;
    upstream.send(answer).await;
    assert_eq!(client.message().await.status(), 502);
    assert_eq!(upstream.rest().await, b"");
}

#[tokio::test]
async fn a_head_too_large_from_a_worker_is_a_bad_gateway() {
    let (bed, worker) = Bed::and_worker().await;
    let mut client = bed.client().await;
    client.get("/").await;
    let (_, mut upstream) = worker.request().await;
    let answer = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(300 << 10));
    // It may be hung up on before it has said everything.
    let _ = tokio::io::AsyncWriteExt::write_all(&mut upstream.stream, answer.as_bytes()).await;
    assert_eq!(client.message().await.status(), 502);
}
