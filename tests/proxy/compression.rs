//! Answers that are compressed on their way.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::client;
use http::Request;
use rstest::rstest;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tqserver::config::settings::{Coding, CompressionSettings};
use tqserver::proxy::table::Route;

use crate::bed::{Bed, Message, Peer, Worker, settings, soon};
use crate::https_bed::HttpsBed;

const TEXT: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n";
const CHUNKED: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n";

/// How many answers of a thread are compressed at once, as docs/proxy.md says.
const AT_ONCE: usize = 64;

/// A worker's route at `/` whose answers are compressed, however short they are.
fn compressed(worker: &Worker) -> Route {
    let encodings = vec![Coding::Zstd, Coding::Brotli, Coding::Gzip];
    let settings = CompressionSettings { encodings, min_bytes: 1, ..Default::default() };
    Route { compression: Some(Arc::new(settings)), ..worker.route("/") }
}

async fn bed() -> (Bed, Worker) {
    let bed = Bed::new();
    let worker = Worker::start(1).await;
    bed.publish([compressed(&worker)]);
    (bed, worker)
}

fn request(method: &str, fields: &str) -> String {
    format!("{method} / HTTP/1.1\r\nHost: a.example\r\n{fields}\r\n")
}

fn accepting(coding: Coding) -> String {
    request("GET", &format!("Accept-Encoding: {}\r\n", coding.token()))
}

/// As much of the content as can be read, and whether its end is there.
fn decode(coding: Coding, bytes: &[u8]) -> (Vec<u8>, bool) {
    let mut content = vec![];
    let whole = match coding {
        Coding::Brotli => brotli::Decompressor::new(bytes, 4096).read_to_end(&mut content),
        Coding::Zstd => zstd::stream::read::Decoder::new(bytes).unwrap().read_to_end(&mut content),
        Coding::Gzip => flate2::read::GzDecoder::new(bytes).read_to_end(&mut content),
    };
    (content, whole.is_ok())
}

/// The content of an answer that must be whole, in its framing and in its coding.
fn content(answer: &Message, coding: Coding) -> Vec<u8> {
    assert_eq!(answer.header("content-encoding").as_deref(), Some(coding.token()));
    assert_eq!(answer.header("content-length"), None);
    assert!(answer.complete, "it ends where its framing says");
    let (content, is_whole) = decode(coding, &answer.body);
    assert!(is_whole, "it ends where its coding says");
    content
}

/// Text that no coding makes vanish.
fn text(bytes: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(7);
    let words = ["answers ", "are ", "compressed ", "on ", "their ", "way, ", "and ", "read\n"];
    let mut text = vec![];
    while text.len() < bytes {
        text.extend_from_slice(words[random.usize(..words.len())].as_bytes());
    }
    text.truncate(bytes);
    text
}

/// A worker's answer, whole, in one of the three framings.
fn answer(framing: &str, body: &[u8]) -> Vec<u8> {
    match framing {
        "sized" => {
            let length = format!("Content-Length: {}\r\n\r\n", body.len());
            [TEXT.as_bytes(), length.as_bytes(), body].concat()
        }
        "chunked" => {
            let mut answer = CHUNKED.as_bytes().to_vec();
            for piece in body.chunks(5000) {
                answer.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
                answer.extend_from_slice(piece);
                answer.extend_from_slice(b"\r\n");
            }
            answer.extend_from_slice(b"0\r\n\r\n");
            answer
        }
        "until the end" => [TEXT.as_bytes(), b"\r\n", body].concat(),
        other => panic!("nobody frames by {other}"),
    }
}

/// The next chunk; the last one is empty.
async fn chunk<S: AsyncRead + AsyncWrite + Unpin>(client: &mut Peer<S>) -> Vec<u8> {
    let mut line = vec![];
    while !line.ends_with(b"\r\n") {
        line.extend(client.exactly(1).await);
    }
    let size = std::str::from_utf8(&line).unwrap().trim_end();
    let size = usize::from_str_radix(size, 16).unwrap();
    let mut chunk = client.exactly(size + 2).await;
    chunk.truncate(size);
    chunk
}

#[rstest]
#[tokio::test]
async fn bodies_arrive_in_every_coding_and_framing(
    #[values(Coding::Zstd, Coding::Brotli, Coding::Gzip)] coding: Coding,
    #[values("sized", "chunked", "until the end")] framing: &str,
    #[values(1, 3000, 2_000_000)] bytes: usize,
) {
    let (bed, worker) = bed().await;
    let mut client = bed.client().await;
    client.send(accepting(coding)).await;
    let body = text(bytes);
    let bytes = answer(framing, &body);
    let (_, mut upstream) = worker.request().await;
    let sending = tokio::spawn(async move { upstream.send(bytes).await });
    let answer = client.message().await;
    sending.await.unwrap();
    assert!(content(&answer, coding) == body);
    assert_eq!(answer.header("vary").as_deref(), Some("accept-encoding"));
    assert!(answer.body.len() < 100 || answer.body.len() < body.len() / 3);
}

#[rstest]
#[tokio::test]
async fn what_has_come_is_with_the_client_when_the_worker_pauses(
    #[values(Coding::Zstd, Coding::Brotli, Coding::Gzip)] coding: Coding,
) {
    let (bed, worker) = bed().await;
    let mut client = bed.client().await;
    client.send(accepting(coding)).await;
    let (_, mut upstream) = worker.request().await;
    upstream.send(CHUNKED).await;
    client.head().await;
    let (mut sent, mut came) = (String::new(), vec![]);
    for number in 0..20 {
        let piece = format!("{number:05}");
        upstream.send(format!("5\r\n{piece}\r\n")).await;
        sent.push_str(&piece);
        while decode(coding, &came).0 != sent.as_bytes() {
            came.extend(chunk(&mut client).await);
        }
    }
    upstream.send("0\r\n\r\n").await;
    loop {
        let chunk = chunk(&mut client).await;
        if chunk.is_empty() {
            break;
        }
        came.extend(chunk);
    }
    assert_eq!(decode(coding, &came), (sent.into_bytes(), true));
}

#[rstest]
#[case::the_client_takes_none("Accept-Encoding: identity\r\n", "", true)]
#[case::the_client_says_nothing("", "", true)]
#[case::coded_by_the_worker("Accept-Encoding: gzip\r\n", "Content-Encoding: gzip\r\n", false)]
#[case::not_to_be_transformed(
    "Accept-Encoding: gzip\r\n",
    "Cache-Control: no-transform\r\n",
    false
)]
#[case::with_a_digest("Accept-Encoding: gzip\r\n", "Repr-Digest: sha-256=:x:\r\n", false)]
#[tokio::test]
async fn what_is_not_to_be_compressed_passes_as_it_is(
    #[case] accepted: &str,
    #[case] fields: &str,
    #[case] varies: bool,
) {
    let (bed, worker) = bed().await;
    let mut client = bed.client().await;
    client.send(request("GET", accepted)).await;
    let (_, mut upstream) = worker.request().await;
    let own = format!("{fields}ETag: \"x\"\r\nAccept-Ranges: bytes\r\n");
    upstream.send(format!("{TEXT}{own}Content-Length: 4\r\n\r\nbody")).await;
    let answer = client.message().await;
    assert_eq!(answer.text(), "body");
    assert_eq!(answer.header("etag").as_deref(), Some("\"x\""));
    assert_eq!(answer.header("accept-ranges").as_deref(), Some("bytes"));
    assert_eq!(answer.header("content-encoding").is_some(), fields.contains("Encoding"));
    assert_eq!(answer.header("vary").is_some(), varies);
}

#[rstest]
#[case("204 No Content", "text/plain", "")]
#[case("206 Partial Content", "text/plain", "part")]
#[case("404 Not Found", "text/plain", "nothing")]
#[case("200 OK", "image/png", "pixels")]
#[case("200 OK", "text/event-stream", "data: 1\n\n")]
#[tokio::test]
async fn other_answers_pass_as_they_are(
    #[case] status: &str,
    #[case] media_type: &str,
    #[case] body: &str,
) {
    let (bed, worker) = bed().await;
    let mut client = bed.client().await;
    client.send(accepting(Coding::Gzip)).await;
    let (_, mut upstream) = worker.request().await;
    let length = if status.starts_with("204") { "" } else { "Content-Length: " };
    let length =
        if length.is_empty() { String::new() } else { format!("{length}{}\r\n", body.len()) };
    upstream
        .send(format!("HTTP/1.1 {status}\r\nContent-Type: {media_type}\r\n{length}\r\n{body}"))
        .await;
    let answer = client.message().await;
    assert_eq!((answer.text(), answer.header("content-encoding")), (body, None));
    assert_eq!(answer.header("vary"), None);
}

#[tokio::test]
async fn events_arrive_one_by_one_and_their_streams_end_when_cut() {
    let (bed, worker) = bed().await;
    let mut client = bed.client().await;
    client.send(accepting(Coding::Gzip)).await;
    let (_, mut upstream) = worker.request().await;
    upstream.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n").await;
    assert_eq!(client.head().await.header("content-encoding"), None);
    assert_eq!(chunk(&mut client).await, b"data: 1\n\n");
    worker.target.cut_streams();
    assert_eq!(client.exactly(5).await, b"0\r\n\r\n");
}

#[tokio::test]
async fn a_worker_whose_answers_are_not_to_be_compressed_is_left_alone() {
    let (bed, worker) = Bed::and_worker().await;
    let mut client = bed.client().await;
    client.send(accepting(Coding::Gzip)).await;
    let (request, mut upstream) = worker.request().await;
    assert_eq!(request.header("accept-encoding").as_deref(), Some("gzip"));
    let body = String::from_utf8(text(100_000)).unwrap();
    upstream.send(format!("{TEXT}Content-Length: 100000\r\n\r\n{body}")).await;
    let answer = client.message().await;
    assert_eq!((answer.text(), answer.header("vary")), (body.as_str(), None));
}

#[tokio::test]
async fn clients_of_http_1_0_get_it_as_it_is() {
    let (bed, worker) = bed().await;
    let mut client = bed.client().await;
    client.send("GET / HTTP/1.0\r\nAccept-Encoding: gzip\r\n\r\n").await;
    let (_, mut upstream) = worker.request().await;
    upstream.send(answer("sized", b"body")).await;
    let answer = client.message().await;
    assert_eq!((answer.text(), answer.header("content-encoding")), ("body", None));
    assert_eq!(answer.header("vary").as_deref(), Some("accept-encoding"));
}

#[tokio::test]
async fn short_answers_are_not_worth_it() {
    let (bed, worker) = bed().await;
    let mut route = compressed(&worker);
    Arc::get_mut(route.compression.as_mut().unwrap()).unwrap().min_bytes = 100;
    bed.publish([route]);
    let mut client = bed.client().await;
    let mut upstream = None;
    for (bytes, is_compressed) in [(99, false), (100, true)] {
        client.send(accepting(Coding::Zstd)).await;
        let upstream = match &mut upstream {
            None => upstream.insert(worker.accept().await),
            Some(upstream) => upstream,
        };
        upstream.message().await;
        upstream.send(answer("sized", &text(bytes))).await;
        let answer = client.message().await;
        assert_eq!(answer.header("content-encoding").is_some(), is_compressed, "{bytes} bytes");
    }
}

#[rstest]
#[case::sized("sized")]
#[case::chunked("chunked")]
#[tokio::test]
async fn an_answer_that_breaks_off_is_never_made_to_look_whole(
    #[case] framing: &str,
    #[values(Coding::Zstd, Coding::Brotli, Coding::Gzip)] coding: Coding,
) {
    let (bed, worker) = bed().await;
    let mut client = bed.client().await;
    client.send(accepting(coding)).await;
    let (_, mut upstream) = worker.request().await;
    let whole = answer(framing, &text(20_000));
    upstream.send(&whole[..whole.len() - 10]).await;
    drop(upstream);
    let answer = client.message().await;
    assert!(!answer.complete, "its framing has no end");
    assert!(!decode(coding, &answer.body).1, "nor has its coding");
    bed.until("the break", |counters| counters.aborted == 1).await;
}

#[tokio::test]
async fn when_the_client_goes_the_worker_is_told() {
    let (bed, worker) = bed().await;
    let mut client = bed.client().await;
    client.send(accepting(Coding::Zstd)).await;
    let (_, mut upstream) = worker.request().await;
    upstream.send(format!("{CHUNKED}5\r\nhello\r\n")).await;
    client.head().await;
    drop(client);
    assert_eq!(upstream.rest().await, b"");
    worker.unclaimed().await;
}

#[tokio::test]
async fn a_client_that_takes_nothing_holds_the_worker_back() {
    const MUCH: usize = 64 << 20;
    let (bed, worker) = bed().await;
    let mut client = bed.client().await;
    client.send(accepting(Coding::Zstd)).await;
    let (_, mut upstream) = worker.request().await;
    let sending = tokio::spawn(async move {
        upstream.send(format!("{TEXT}Content-Length: {MUCH}\r\n\r\n")).await;
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..MUCH >> 16 {
            // Nothing makes it smaller.
            let piece: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(1 << 16).collect();
            upstream.send(piece).await;
        }
    });
    client.head().await;
    let mut sending = sending;
    let all = tokio::time::timeout(Duration::from_millis(500), &mut sending).await;
    assert!(all.is_err(), "64 MiB are held somewhere");
    sending.abort();
}

#[tokio::test]
async fn connections_go_on_after_a_compressed_answer() {
    let (bed, worker) = bed().await;
    let mut client = bed.client().await;
    // Both at once: the second waits for the first's end.
    client.send([accepting(Coding::Gzip), request("GET", "")].concat()).await;
    let (_, mut upstream) = worker.request().await;
    upstream.send(answer("chunked", &text(30_000))).await;
    assert!(content(&client.message().await, Coding::Gzip) == text(30_000));
    upstream.message().await;
    upstream.send(answer("sized", b"plain")).await;
    assert_eq!(client.message().await.text(), "plain");
    client.send(accepting(Coding::Brotli)).await;
    upstream.message().await;
    upstream.send(answer("sized", &text(5000))).await;
    assert!(content(&client.message().await, Coding::Brotli) == text(5000));
}

#[tokio::test]
async fn a_request_with_a_body_gets_a_compressed_answer() {
    let (bed, worker) = bed().await;
    let mut client = bed.client().await;
    client.send(request("POST", "Accept-Encoding: zstd\r\nContent-Length: 5\r\n")).await;
    client.send("hello").await;
    let (request, mut upstream) = worker.request().await;
    assert_eq!(request.text(), "hello");
    upstream.send(answer("sized", &text(3000))).await;
    assert!(content(&client.message().await, Coding::Zstd) == text(3000));
}

#[tokio::test]
async fn head_has_the_fields_of_get() {
    let (bed, worker) = bed().await;
    let mut heads = vec![];
    for method in ["GET", "HEAD"] {
        let mut client = bed.client().await;
        client.send(request(method, "Accept-Encoding: br\r\n")).await;
        let (_, mut upstream) = worker.request().await;
        let fields = "ETag: \"x\"\r\nAccept-Ranges: bytes\r\nDate: now\r\nContent-Length: 2000\r\n";
        upstream.send(format!("{TEXT}{fields}\r\n")).await;
        if method == "GET" {
            upstream.send(text(2000)).await;
        }
        let mut head = client.head().await.headers;
        head.retain(|(name, _)| name != "transfer-encoding");
        heads.push(head);
        if method == "HEAD" {
            // Nothing follows it but the next answer.
            client.send(request("GET", "")).await;
            upstream.message().await;
            upstream.send(answer("sized", b"next")).await;
            assert_eq!(client.message().await.text(), "next");
        }
    }
    assert_eq!(heads[0], heads[1]);
    let field = |name: &str| heads[1].iter().find(|field| field.0 == name).map(|it| it.1.as_str());
    assert_eq!(field("content-encoding"), Some("br"));
    assert_eq!((field("etag"), field("vary")), (Some("W/\"x\""), Some("accept-encoding")));
    assert_eq!((field("content-length"), field("accept-ranges")), (None, None));
}

#[tokio::test]
async fn what_a_client_keeps_can_be_revalidated() {
    let (bed, worker) = bed().await;
    let mut client = bed.client().await;
    client.send(accepting(Coding::Zstd)).await;
    let (_, mut upstream) = worker.request().await;
    upstream.send(format!("{TEXT}ETag: \"x\"\r\nContent-Length: 4\r\n\r\nbody")).await;
    let tag = client.message().await.header("etag").unwrap();
    let conditional = format!("Accept-Encoding: zstd\r\nIf-None-Match: {tag}\r\n");
    client.send(request("GET", &conditional)).await;
    assert_eq!(upstream.message().await.header("if-none-match").as_ref(), Some(&tag));
    upstream.send("HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n").await;
    let answer = client.message().await;
    assert_eq!((answer.status(), answer.header("etag")), (304, Some(tag)));
    assert_eq!(answer.header("vary").as_deref(), Some("accept-encoding"));
}

#[tokio::test]
async fn beyond_what_a_thread_can_bear_answers_pass_as_they_are() {
    let (bed, worker) = bed().await;
    let mut open = vec![];
    for number in 0..=AT_ONCE {
        let mut client = bed.client().await;
        client.send(accepting(Coding::Gzip)).await;
        let (_, mut upstream) = worker.request().await;
        upstream.send(format!("{CHUNKED}5\r\nhello\r\n")).await;
        let head = client.head().await;
        assert_eq!(head.header("content-encoding").is_some(), number < AT_ONCE, "{number}");
        assert_eq!(head.header("vary").as_deref(), Some("accept-encoding"));
        open.push((client, upstream));
    }
    // When one of them has ended there is room for another.
    let (mut client, mut upstream) = open.swap_remove(0);
    upstream.send("0\r\n\r\n").await;
    while !chunk(&mut client).await.is_empty() {}
    client.send(accepting(Coding::Gzip)).await;
    upstream.message().await;
    upstream.send(answer("sized", b"body")).await;
    assert_eq!(content(&client.message().await, Coding::Gzip), b"body");
}

#[tokio::test]
async fn pages_get_their_script_in_development() {
    let (bed, _live) = Bed::live(settings());
    let worker = Worker::start(1).await;
    bed.publish([compressed(&worker)]);
    let mut client = bed.client().await;
    let fields = "Accept-Encoding: zstd\r\nSec-Fetch-Dest: document\r\n";
    client.send(request("GET", fields)).await;
    let (_, mut upstream) = worker.request().await;
    upstream
        .send("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 4\r\n\r\nbody")
        .await;
    let page = content(&client.message().await, Coding::Zstd);
    assert!(page.starts_with(b"body<script src=\"/_tqserver/live.js\""));
}

/// Over HTTP/2 in TLS, as browsers have it.
async fn http2(bed: &HttpsBed) -> client::SendRequest<Bytes> {
    let (send, connection) = client::handshake(bed.http2_stream().await).await.unwrap();
    tokio::spawn(connection);
    soon("room for a stream", send.ready()).await.unwrap()
}

async fn https_bed() -> (HttpsBed, Worker) {
    let (bed, worker) = HttpsBed::and_worker().await;
    bed.publish([compressed(&worker)]);
    (bed, worker)
}

fn http2_request() -> Request<()> {
    let request = Request::get("https://a.example/").header("accept-encoding", "gzip, br, zstd");
    request.body(()).unwrap()
}

#[tokio::test]
async fn http2_and_tls_are_no_different() {
    let (bed, worker) = https_bed().await;
    let mut http2 = http2(&bed).await;
    let (response, _) = http2.send_request(http2_request(), true).unwrap();
    let (_, mut upstream) = worker.request().await;
    upstream.send(answer("sized", &text(200_000))).await;
    let mut response = soon("the head", response).await.unwrap();
    assert_eq!(response.headers()["content-encoding"], "zstd");
    assert!(!response.headers().contains_key("content-length"));
    let mut body = vec![];
    while let Some(data) = soon("data", response.body_mut().data()).await {
        let data = data.unwrap();
        response.body_mut().flow_control().release_capacity(data.len()).unwrap();
        body.extend_from_slice(&data);
    }
    assert!(decode(Coding::Zstd, &body) == (text(200_000), true));

    let mut secure = bed.secure_client().await;
    secure.send(accepting(Coding::Brotli)).await;
    upstream.message().await;
    upstream.send(answer("sized", &text(200_000))).await;
    assert!(content(&secure.message().await, Coding::Brotli) == text(200_000));
}

#[tokio::test]
async fn over_http2_what_has_come_is_with_the_client_and_a_break_is_a_reset() {
    let (bed, worker) = https_bed().await;
    let mut http2 = http2(&bed).await;
    let (response, _) = http2.send_request(http2_request(), true).unwrap();
    let (_, mut upstream) = worker.request().await;
    upstream.send(format!("{CHUNKED}5\r\nhello\r\n")).await;
    let mut response = soon("the head", response).await.unwrap();
    let mut body = vec![];
    while decode(Coding::Zstd, &body).0 != b"hello" {
        let data = soon("data", response.body_mut().data()).await.unwrap().unwrap();
        body.extend_from_slice(&data);
    }
    drop(upstream);
    let end = soon("the end", response.body_mut().data()).await;
    assert_eq!(end.unwrap().unwrap_err().reason(), Some(h2::Reason::INTERNAL_ERROR));
}

/// Not in the answer to another client's request, whatever the order.
#[tokio::test]
async fn encoders_that_serve_again_have_forgotten_what_they_served() {
    let (bed, worker) = bed().await;
    let mut client: Peer<TcpStream> = bed.client().await;
    let mut upstream = None;
    for number in 0..12 {
        let coding = Coding::ALL[number % 3];
        client.send(accepting(coding)).await;
        let upstream = match &mut upstream {
            None => upstream.insert(worker.accept().await),
            Some(upstream) => upstream,
        };
        upstream.message().await;
        let body = format!("{number} of {}", "secrets ".repeat(number * 500));
        upstream.send(answer("sized", body.as_bytes())).await;
        assert!(content(&client.message().await, coding) == body.as_bytes());
    }
}
