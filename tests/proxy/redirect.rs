//! Requests without TLS that are sent to HTTPS, and what keeps browsers there.

use std::time::Duration;

use rstest::rstest;

use crate::bed::{Worker, network, settings};
use crate::https_bed::HttpsBed;

async fn redirecting() -> (HttpsBed, Worker) {
    HttpsBed::with_worker(|port| {
        let mut settings = settings();
        settings.redirect_port = Some(port);
        settings
    })
    .await
}

#[tokio::test]
async fn requests_without_tls_are_sent_to_https() {
    let (bed, worker) = redirecting().await;
    let port = bed.https.port();
    let mut client = bed.client().await;
    client.send("GET /a%20b?c=d HTTP/1.1\r\nHost: a.example:80\r\n\r\n").await;
    let answer = client.message().await;
    assert_eq!(answer.status(), 301);
    let there = format!("https://a.example:{port}/a%20b?c=d");
    assert_eq!(answer.header("location"), Some(there));
    // The same connection, and a method that is to stay what it is, with its body.
    client.send("PUT /x HTTP/1.1\r\nHost: a.example\r\nContent-Length: 4\r\n\r\nbody").await;
    let answer = client.message().await;
    assert_eq!(answer.status(), 308);
    assert_eq!(answer.header("location"), Some(format!("https://a.example:{port}/x")));
    assert_eq!(bed.counters().upstream_connections, 0, "no worker has heard of them");

    let mut client = bed.secure_client().await;
    client.get("/a").await;
    worker.request().await.1.ok("served").await;
    assert_eq!(client.message().await.text(), "served");
}

#[rstest]
#[case::no_host("GET / HTTP/1.0\r\n\r\n")]
#[case::no_name("GET / HTTP/1.1\r\nHost: a;b\r\n\r\n")]
#[tokio::test]
async fn without_a_host_there_is_nowhere_to_be_sent(#[case] request: &str) {
    let (bed, _worker) = redirecting().await;
    let mut client = bed.client().await;
    client.send(request).await;
    let answer = client.message().await;
    assert_eq!((answer.status(), answer.header("location")), (400, None));
}

#[tokio::test]
async fn challenges_of_a_certificate_authority_are_answered() {
    let (bed, worker) = redirecting().await;
    let mut client = bed.client().await;
    client.get("/.well-known/acme-challenge/token").await;
    worker.request().await.1.ok("token.key").await;
    assert_eq!(client.message().await.text(), "token.key");
    client.get("/.well-known/other").await;
    assert_eq!(client.message().await.status(), 301);
}

#[rstest]
#[case::https("https", true)]
#[case::http("http", false)]
#[tokio::test]
async fn what_came_to_a_trusted_proxy_with_tls_is_served(
    #[case] proto: &str,
    #[case] served: bool,
) {
    let (bed, worker) = HttpsBed::with_worker(|port| {
        let mut settings = settings();
        settings.redirect_port = Some(port);
        settings.listener.trusted_proxies = vec![network("127.0.0.0/8")];
        settings
    })
    .await;
    let mut client = bed.client().await;
    client.send(format!("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-Proto: {proto}\r\n\r\n")).await;
    if served {
        worker.request().await.1.ok("served").await;
    }
    assert_eq!(client.message().await.status(), if served { 200 } else { 301 });
}

#[tokio::test]
async fn a_stranger_cannot_say_that_it_came_with_tls() {
    let (bed, _worker) = redirecting().await;
    let mut client = bed.client().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-Proto: https\r\n\r\n").await;
    assert_eq!(client.message().await.status(), 301);
}

/// A worker's own rule, and none.
const WORKERS_ANSWERS: [&str; 2] = [
    "HTTP/1.1 200 OK\r\nStrict-Transport-Security: max-age=1\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
];

#[tokio::test]
async fn every_answer_over_tls_has_the_rule_once() {
    let (bed, worker) = HttpsBed::with_worker(|_| {
        let mut settings = settings();
        settings.hsts_max_age = Duration::from_secs(86400);
        settings
    })
    .await;
    bed.publish([worker.route("/w")]);
    let field = "strict-transport-security";
    let mut client = bed.secure_client().await;
    client.get("/w").await;
    let (_, mut upstream) = worker.request().await;
    upstream.send(WORKERS_ANSWERS[0]).await;
    assert_eq!(client.message().await.header(field).as_deref(), Some("max-age=86400"));
    client.get("/w").await;
    upstream.message().await;
    upstream.send(WORKERS_ANSWERS[1]).await;
    assert_eq!(client.message().await.header(field).as_deref(), Some("max-age=86400"));
    // Our own, also to what is no request.
    for (request, status) in [("GET /none HTTP/1.1\r\nHost: a\r\n\r\n", 404), ("no\r\n\r\n", 400)] {
        client.send(request).await;
        let answer = client.message().await;
        assert_eq!(answer.status(), status);
        assert_eq!(answer.header(field).as_deref(), Some("max-age=86400"));
    }

    let mut client = bed.secure_client().await;
    client.send("GET /w HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n").await;
    upstream.message().await;
    let switch = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
    upstream.send(switch).await;
    assert_eq!(client.head().await.header(field).as_deref(), Some("max-age=86400"));

    // RFC 6797 section 7.2.
    let mut client = bed.client().await;
    client.get("/none").await;
    assert_eq!(client.message().await.header(field), None);
}

#[tokio::test]
async fn without_a_rule_of_ours_the_workers_holds() {
    let (bed, worker) = HttpsBed::and_worker().await;
    let mut client = bed.secure_client().await;
    for (answer, rule) in WORKERS_ANSWERS.into_iter().zip([Some("max-age=1"), None]) {
        client.get("/").await;
        let (_, mut upstream) = worker.request().await;
        upstream.send(answer).await;
        let answer = client.message().await;
        assert_eq!(answer.header("strict-transport-security").as_deref(), rule);
        drop(upstream);
    }
}
