//! Requests and answers, translated.

use std::process::Stdio;

use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use rstest::rstest;
use tokio::process::Command;

use super::{Answer, Client, bed, frames, get, post, serve, settings, write};
use crate::bed::{Bed, soon};

#[tokio::test]
async fn a_worker_gets_a_request_in_http_1_1_and_the_client_its_answer_in_http_2() {
    let (bed, worker) = bed().await;
    let mut client = Client::new(&bed).await;
    let request = Request::get("http://a.example/x/y?z=1")
        .header("accept", "text/*")
        .header("cookie", "a=1")
        .header("cookie", "b=2")
        .header("te", "trailers")
        .header("x-forwarded-for", "6.6.6.6")
        .body(())
        .unwrap();
    let (response, _) = client.begin(request, false).await;
    let (request, mut upstream) = worker.request().await;
    assert_eq!(request.start, "GET /x/y?z=1 HTTP/1.1");
    for (name, value) in [
        ("host", "a.example"),
        ("accept", "text/*"),
        ("cookie", "a=1; b=2"),
        ("te", "trailers"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-host", "a.example"),
    ] {
        assert_eq!(request.header(name).as_deref(), Some(value), "{name}");
    }
    assert_eq!(request.header("transfer-encoding"), None);
    upstream
        .send(
            "HTTP/1.1 203 Whatever\r\nX-A: 1\r\nConnection: x-c, keep-alive\r\nX-C: 1\r\n\
             Keep-Alive: timeout=5\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nContent-Length: 2\r\n\r\nhi",
        )
        .await;
    let answer = Answer::of(soon("the answer", response).await.unwrap()).await.unwrap();
    assert_eq!((answer.status(), &answer.body[..]), (203, &b"hi"[..]));
    assert_eq!((answer.field("x-a"), answer.field("content-length")), (Some("1"), Some("2")));
    assert_eq!(answer.head.headers().get_all("set-cookie").iter().count(), 2);
    assert!(answer.field("date").is_some());
    for name in ["connection", "keep-alive", "x-c"] {
        assert_eq!(answer.field(name), None, "{name}");
    }
    // The worker's connection is of use to the next request.
    let (response, _) = client.begin(get("/next"), false).await;
    assert_eq!(upstream.message().await.start, "GET /next HTTP/1.1");
    upstream.ok("").await;
    soon("the next answer", response).await.unwrap();
    assert_eq!(bed.counters().upstream_connections, 1);
}

#[rstest]
#[case::length(true, "POST / HTTP/1.1")]
#[case::chunks(false, "POST / HTTP/1.1")]
#[tokio::test]
async fn bodies_pass_with_or_without_a_length(#[case] has_length: bool, #[case] start: &str) {
    let (bed, worker) = bed().await;
    let mut client = Client::new(&bed).await;
    let body = Bytes::from((0..700_000u32).map(|n| (n % 251) as u8).collect::<Vec<_>>());
    let mut request = post("/");
    if has_length {
        request.headers_mut().insert("content-length", body.len().into());
    }
    let (response, mut send) = client.begin(request, true).await;
    let sending = async {
        write(&mut send, body.clone(), false).await;
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", "1".parse().unwrap());
        send.send_trailers(trailers).unwrap();
    };
    let ((request, mut upstream), ()) = tokio::join!(worker.request(), sending);
    assert_eq!(request.start, start);
    assert!(request.complete && request.body == body);
    assert_eq!(request.header("transfer-encoding").is_none(), has_length);
    assert_eq!(request.header("x-sum"), None);
    // And back the other way round.
    let head = if has_length {
        "Transfer-Encoding: chunked\r\n\r\n".to_owned()
    } else {
        format!("Content-Length: {}\r\n\r\n", body.len())
    };
    let (mut chunks, mut at) = (vec![], 0);
    for size in [1, 5, 16_384, 3, 100_000, 7, 583_600] {
        chunks.extend(format!("{size:x}\r\n").into_bytes());
        chunks.extend(&body[at..at + size]);
        chunks.extend(b"\r\n");
        at += size;
    }
    assert_eq!(at, body.len());
    chunks.extend(b"0\r\nX-Sum: 1\r\n\r\n");
    let answering = async {
        upstream.send(format!("HTTP/1.1 200 OK\r\n{head}")).await;
        upstream.send(if has_length { &chunks[..] } else { &body }).await;
    };
    let answer = async { Answer::of(soon("the answer", response).await.unwrap()).await.unwrap() };
    let (answer, ()) = tokio::join!(answer, answering);
    assert!(answer.body == body && !answer.has_trailers);
}

#[rstest]
#[case::head(Method::HEAD, "200 OK\r\nContent-Length: 5", Some("5"))]
#[case::no_content(Method::GET, "204 No Content", None)]
#[case::not_modified(Method::GET, "304 Not Modified\r\nContent-Length: 5", Some("5"))]
#[case::empty(Method::GET, "200 OK\r\nContent-Length: 0", Some("0"))]
#[tokio::test]
async fn answers_without_a_body_end_with_their_head(
    #[case] method: Method,
    #[case] head: &str,
    #[case] length: Option<&str>,
) {
    let (bed, worker) = bed().await;
    let mut client = Client::new(&bed).await;
    let request = Request::builder().method(method).uri("http://a/").body(()).unwrap();
    let (response, _) = client.begin(request, false).await;
    let (_, mut upstream) = worker.request().await;
    upstream.send(format!("HTTP/1.1 {head}\r\n\r\n")).await;
    let response = soon("the answer", response).await.unwrap();
    assert!(response.body().is_end_stream());
    let field = response.headers().get("content-length");
    assert_eq!(field.map(|value| value.to_str().unwrap()), length);
}

#[tokio::test]
async fn interim_answers_pass() {
    let (bed, worker) = bed().await;
    let mut client = Client::new(&bed).await;
    let mut request = post("/");
    request.headers_mut().insert("expect", "100-continue".parse().unwrap());
    let (mut response, mut send) = client.begin(request, true).await;
    let interim = async |response: &mut h2::client::ResponseFuture| {
        let next = std::future::poll_fn(|cx| response.poll_informational(cx));
        soon("an interim answer", next).await.unwrap().unwrap()
    };
    assert_eq!(interim(&mut response).await.status(), 100);
    send.send_data(Bytes::from_static(b"hello"), true).unwrap();
    let (request, mut upstream) = worker.request().await;
    assert_eq!(request.body, b"hello");
    upstream.send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n").await;
    let hints = interim(&mut response).await;
    assert_eq!(
        (hints.status().as_u16(), &hints.headers()["link"]),
        (103, &"</a>".parse().unwrap())
    );
    upstream.ok("done").await;
    let answer = Answer::of(soon("the answer", response).await.unwrap()).await.unwrap();
    assert_eq!(&answer.body[..], b"done");
}

#[tokio::test]
async fn a_hundred_requests_at_once_share_one_connection_and_each_gets_its_own_answer() {
    let (bed, worker) = bed().await;
    let target = std::sync::Arc::clone(&worker.target);
    let serving = serve(worker, |request| {
        let body = request.start.split(' ').nth(1).unwrap().repeat(50);
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    });
    let mut client = Client::new(&bed).await;
    for round in 0..10 {
        let mut responses = vec![];
        for n in 0..100 {
            let path = format!("/{round}-{n}");
            responses.push((path.clone(), client.begin(get(&path), false).await.0));
        }
        for (path, response) in responses {
            let answer = Answer::of(soon("an answer", response).await.unwrap()).await.unwrap();
            assert_eq!(answer.body, path.repeat(50));
        }
    }
    let counters = bed.counters();
    assert_eq!((counters.connections, counters.requests), (1, 1000));
    // In ten rounds of a hundred no more connections were made than were needed at once.
    assert!(counters.upstream_connections <= 100, "{counters:?}");
    bed.until("the last answer's end", |c| c.in_flight == 0).await;
    assert_eq!(target.in_flight(), 0);
    serving.abort();
}

#[tokio::test]
async fn what_tqserver_answers_itself_is_answered() {
    let bed = Bed::with(settings());
    bed.publish([]);
    let mut client = Client::new(&bed).await;
    let answer = client.get("/").await.unwrap();
    assert_eq!(answer.status(), 404);
    assert_eq!(answer.field("content-length"), Some(&*answer.body.len().to_string()));
    assert_eq!(client.get("/a/../b").await.unwrap().status(), 400);
    assert_eq!(client.get("/static/no/body").await.unwrap().status(), 404);
    assert_eq!(client.get("/").await.unwrap().status(), 404, "the connection goes on");
}

#[tokio::test]
async fn the_server_as_a_whole_is_asked_about_by_an_asterisk() {
    let bed = Bed::with(settings());
    let mut peer = frames::connect(&bed).await;
    let head =
        [(":method", "OPTIONS"), (":scheme", "http"), (":path", "*"), (":authority", "a.example")];
    peer.send(frames::frame(frames::HEADERS, frames::WHOLE, 1, &frames::block(&head))).await;
    let answer = frames::next_of(&mut peer, frames::HEADERS).await;
    // 204 has a number in the static table (RFC 7541 appendix A).
    assert_eq!((answer.flags & frames::WHOLE, answer.payload[0]), (frames::WHOLE, 0x80 | 9));
}

#[rstest]
// Beyond the list that was announced, which h2 answers; and within it, but not of a head of HTTP/1.1.
#[case::size(1, 17 << 10)]
#[case::number(101, 1)]
#[tokio::test]
async fn heads_too_large(#[case] fields: usize, #[case] size: usize) {
    let (bed, _worker) = bed().await;
    let mut client = Client::new(&bed).await;
    // Without the server's settings a client does not know better.
    let mut request = get("/");
    for n in 0..fields {
        let name: http::HeaderName = format!("x-{n}").parse().unwrap();
        request.headers_mut().insert(name, "x".repeat(size).parse().unwrap());
    }
    let (response, _) = client.begin(request, false).await;
    assert_eq!(soon("the answer", response).await.unwrap().status(), 431);
    assert_eq!(bed.counters().upstream_connections, 0);
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_before_it_is_read() {
    let (bed, _worker) = bed().await;
    let mut client = Client::new(&bed).await;
    let mut request = post("/");
    request.headers_mut().insert("content-length", (2 << 20).into());
    let (response, mut send) = client.begin(request, true).await;
    assert_eq!(soon("the answer", response).await.unwrap().status(), 413);
    // RFC 9113 section 8.1: the rest is not wanted, and nothing is wrong.
    let reset = soon("the reset", std::future::poll_fn(|cx| send.poll_reset(cx))).await;
    assert_eq!(reset.unwrap(), h2::Reason::NO_ERROR);
    assert_eq!(bed.counters().upstream_connections, 0);
}

#[tokio::test]
async fn http_1_1_is_spoken_beside_it() {
    let (bed, worker) = bed().await;
    let mut client = bed.client().await;
    // Begins like the preface, in pieces.
    client.send("P").await;
    client.send("R /x HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let (request, mut upstream) = worker.request().await;
    assert_eq!(request.start, "PR /x HTTP/1.1");
    upstream.ok("hi").await;
    assert_eq!(client.message().await.text(), "hi");
}

#[tokio::test]
async fn without_the_setting_it_is_not_spoken() {
    let mut settings = settings();
    settings.listener.http2_cleartext = false;
    let bed = Bed::with(settings);
    let mut client = bed.client().await;
    client.send(frames::PREFACE).await;
    assert_eq!(client.message().await.status(), 505);
}

#[tokio::test]
async fn curl_speaks_it() {
    let (bed, worker) = bed().await;
    let serving = serve(worker, |request| {
        let body = format!("{} {}", request.start, request.text());
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    });
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--http2-prior-knowledge", "--max-time", "20"])
        .args(["--data", "hello", "--write-out", " %{http_version}"])
        .arg(format!("http://{}/x", bed.addr))
        .stdin(Stdio::null())
        .output()
        .await
        .expect("curl is installed");
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(said, "POST /x HTTP/1.1 hello 2", "{output:?}");
    serving.abort();
}
