//! What a worker sees of a request, and a client of an answer.

use rstest::rstest;
use tqserver::config::settings::IpNetwork;

use crate::bed::{Bed, Worker, settings};

#[tokio::test]
async fn requests_and_answers_pass_with_their_bodies_over_kept_connections() {
    let (bed, worker) = Bed::and_worker().await;
    let mut client = bed.client().await;
    client.send("POST /a?b=c HTTP/1.1\r\nHost: a.example\r\nContent-Length: 4\r\n\r\nping").await;
    let (request, mut upstream) = worker.request().await;
    assert_eq!(request.start, "POST /a?b=c HTTP/1.1");
    assert_eq!(request.body, b"ping");
    upstream.ok("pong").await;
    let answer = client.message().await;
    assert_eq!((answer.status(), answer.text()), (200, "pong"));

    // Both connections serve another request, this one chunked both ways.
    client
        .send("POST /2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
        .await;
    let request = upstream.message().await;
    assert_eq!((request.start.as_str(), &request.body[..]), ("POST /2 HTTP/1.1", &b"abc"[..]));
    upstream
        .send("HTTP/1.1 201 Made\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nde\r\n0\r\n\r\n")
        .await;
    let answer = client.message().await;
    assert_eq!((answer.start.as_str(), answer.text()), ("HTTP/1.1 201 Made", "de"));

    bed.until("the count", |c| c.requests == 2 && c.responses[1] == 2 && c.in_flight == 0).await;
    assert_eq!(bed.counters().upstream_connections, 1);
    worker.unclaimed().await;
}

#[tokio::test]
async fn bodies_stream_both_ways_at_once() {
    let (bed, worker) = Bed::and_worker().await;
    let mut client = bed.client().await;
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    let mut upstream = worker.accept().await;
    upstream.head().await;
    upstream.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    assert_eq!(client.head().await.status(), 200);
    for _ in 0..3 {
        client.send("4\r\nping\r\n").await;
        assert_eq!(upstream.exactly(9).await, b"4\r\nping\r\n");
        upstream.send("4\r\npong\r\n").await;
        assert_eq!(client.exactly(9).await, b"4\r\npong\r\n");
    }
    assert_eq!(worker.target.in_flight(), 1, "the claim lasts as long as the bodies");
    client.send("0\r\n\r\n").await;
    upstream.exactly(5).await;
    upstream.send("0\r\n\r\n").await;
    assert_eq!(client.exactly(5).await, b"0\r\n\r\n");
    bed.until("the end", |c| c.in_flight == 0).await;
    worker.unclaimed().await;
}

#[tokio::test]
async fn hop_by_hop_fields_stay_behind_both_ways() {
    let (bed, worker) = Bed::and_worker().await;
    let mut client = bed.client().await;
    client
        .send(
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\n\
             Keep-Alive: timeout=5\r\nProxy-Connection: x\r\nProxy: x\r\nTE: trailers, gzip\r\nUpgrade: h2c\r\n\
             Forwarded: for=1.2.3.4\r\nX-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Prefix: /x\r\n\
             X-Request-Id: forged\r\ntraceparent: 00-1-2-01\r\n\r\n",
        )
        .await;
    let (request, mut upstream) = worker.request().await;
    let gone =
        ["connection", "x-hop", "keep-alive", "proxy-connection", "proxy", "upgrade", "forwarded"];
    for name in gone {
        assert_eq!(request.header(name), None, "{name}");
    }
    assert_eq!(request.header("te").as_deref(), Some("trailers"));
    assert_eq!(request.header("traceparent").as_deref(), Some("00-1-2-01"));
    assert_eq!(request.header("x-forwarded-for").as_deref(), Some("127.0.0.1"));
    assert_eq!(request.header("x-forwarded-proto").as_deref(), Some("http"));
    assert_eq!(request.header("x-forwarded-host").as_deref(), Some("a"));
    assert_eq!(request.header("x-forwarded-prefix"), None);
    assert_eq!(request.header("x-request-id").unwrap().len(), 32);
    upstream
        .send(
            "HTTP/1.1 200 OK\r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n\
             Server: app\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nContent-Length: 0\r\n\r\n",
        )
        .await;
    let answer = client.message().await;
    for name in ["connection", "x-hop", "keep-alive"] {
        assert_eq!(answer.header(name), None, "{name}");
    }
    assert_eq!(answer.header("server").as_deref(), Some("app"));
    assert_eq!(answer.header("date").as_deref(), Some("Thu, 01 Jan 1970 00:00:00 GMT"));
}

#[tokio::test]
async fn a_trusted_proxys_word_is_passed_on() {
    let mut settings = settings();
    let loopback = IpNetwork { addr: [127, 0, 0, 0].into(), prefix_len: 8 };
    settings.listener.trusted_proxies = vec![loopback];
    let bed = Bed::with(settings);
    let worker = Worker::start(1).await;
    bed.publish([worker.route("/")]);
    let mut client = bed.client().await;
    client
        .send(
            "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\n\
             X-Request-Id: theirs\r\nForwarded: for=1.2.3.4\r\n\r\n",
        )
        .await;
    let (request, _upstream) = worker.request().await;
    assert_eq!(request.header("x-forwarded-for").as_deref(), Some("1.2.3.4, 127.0.0.1"));
    assert_eq!(request.header("x-forwarded-proto").as_deref(), Some("https"));
    assert_eq!(request.header("x-request-id").as_deref(), Some("theirs"));
    assert_eq!(request.header("forwarded").as_deref(), Some("for=1.2.3.4"));
}

#[rstest]
#[case::below("/api/users/7?q=1", "/7?q=1", Some("/api/users"))]
#[case::exactly("/api/users", "/", Some("/api/users"))]
#[case::query_only("/api/users?q", "/?q", Some("/api/users"))]
#[case::escaped("/%61pi/users/%37%20", "/%37%20", Some("/api/users"))]
#[case::not_a_segment("/api/usersx", "/api/usersx", None)]
#[case::double_slash("/api//users", "/api//users", None)]
#[case::absolute("http://b.example/api/users/7", "/7", Some("/api/users"))]
#[case::absolute_root("http://b.example", "/", None)]
#[tokio::test]
async fn the_mount_point_is_taken_off(
    #[case] target: &str,
    #[case] seen: &str,
    #[case] prefix: Option<&str>,
) {
    let bed = Bed::new();
    let worker = Worker::start(1).await;
    bed.publish([worker.route("/"), worker.route("/api/users")]);
    let mut client = bed.client().await;
    client.get(target).await;
    let (request, _upstream) = worker.request().await;
    assert_eq!(request.start, format!("GET {seen} HTTP/1.1"));
    assert_eq!(request.header("x-forwarded-prefix").as_deref(), prefix);
    let host = if target.starts_with("http:") { "b.example" } else { "a.example" };
    assert_eq!(request.header("host").as_deref(), Some(host));
}

#[tokio::test]
async fn a_route_may_keep_its_prefix() {
    let bed = Bed::new();
    let worker = Worker::start(1).await;
    let mut route = worker.route("/api");
    route.strip_prefix = false;
    bed.publish([route]);
    let mut client = bed.client().await;
    client.get("/api/x").await;
    let (request, _upstream) = worker.request().await;
    assert_eq!(request.start, "GET /api/x HTTP/1.1");
    assert_eq!(request.header("x-forwarded-prefix"), None);
}

#[rstest]
#[case::head("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n", Some("1234"))]
#[case::head_chunked("HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", None)]
#[case::no_content("GET", "HTTP/1.1 204 No Content\r\n\r\n", None)]
#[case::not_modified("GET", "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n", None)]
#[tokio::test]
async fn answers_without_a_body_end_with_their_head(
    #[case] method: &str,
    #[case] sent: &str,
    #[case] length: Option<&str>,
) {
    let (bed, worker) = Bed::and_worker().await;
    let mut client = bed.client().await;
    client.send(format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n")).await;
    let (_, mut upstream) = worker.request().await;
    upstream.send(sent).await;
    let answer = client.head().await;
    assert_eq!(answer.header("content-length").as_deref(), length);
    assert_eq!(answer.header("transfer-encoding"), None);
    // The next answer follows at once: no byte of a body was sent.
    client.get("/next").await;
    upstream.message().await;
    upstream.ok("next").await;
    assert_eq!(client.message().await.text(), "next");
}

#[tokio::test]
async fn interim_answers_pass_and_expectations_are_met_by_the_proxy() {
    let (bed, worker) = Bed::and_worker().await;
    let mut client = bed.client().await;
    client
        .send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
        .await;
    assert_eq!(client.head().await.status(), 100);
    client.send("ping").await;
    let (request, mut upstream) = worker.request().await;
    assert_eq!((request.header("expect"), &request.body[..]), (None, &b"ping"[..]));
    upstream.send("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n").await;
    let hints = client.head().await;
    assert_eq!((hints.status(), hints.header("link").as_deref()), (103, Some("x")));
    upstream.ok("done").await;
    assert_eq!(client.message().await.text(), "done");
}

#[tokio::test]
async fn http_1_0_clients_get_an_answer_they_understand() {
    let (bed, worker) = Bed::and_worker().await;
    let mut client = bed.client().await;
    client.send("GET / HTTP/1.0\r\n\r\n").await;
    let (request, mut upstream) = worker.request().await;
    assert_eq!(request.start, "GET / HTTP/1.1");
    upstream
        .send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n")
        .await;
    let answer = client.head().await;
    assert_eq!(answer.header("transfer-encoding"), None);
    assert_eq!(client.rest().await, b"hi");
}

#[tokio::test]
async fn a_client_that_hangs_up_frees_the_worker() {
    let (bed, worker) = Bed::and_worker().await;
    let mut client = bed.client().await;
    client.get("/").await;
    let (_, mut upstream) = worker.request().await;
    drop(client);
    assert_eq!(upstream.rest().await, b"");
    bed.until("the end of the request", |c| c.in_flight == 0).await;
    worker.unclaimed().await;
}

#[tokio::test]
async fn a_slow_reader_holds_the_worker_back() {
    use tokio::io::AsyncWriteExt;

    let (bed, worker) = Bed::and_worker().await;
    let mut client = bed.client().await;
    client.get("/").await;
    let (_, mut upstream) = worker.request().await;
    upstream.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    client.head().await;
    // Nobody reads: sooner or later the worker's writes must block, not grow our memory.
    let chunk = [&b"10000\r\n"[..], &[b'x'; 0x10000], b"\r\n"].concat();
    let mut written = 0;
    let blocked = async {
        loop {
            upstream.stream.write_all(&chunk).await.unwrap();
            written += chunk.len();
        }
    };
    let quiet = std::time::Duration::from_millis(300);
    assert!(tokio::time::timeout(quiet, blocked).await.is_err());
    assert!(written < 64 << 20, "{written} bytes were taken in");
}
