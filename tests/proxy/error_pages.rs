//! Answers of the proxy's own.

use rstest::rstest;

use crate::bed::Bed;

#[rstest]
#[case("text/html", "text/html; charset=utf-8")]
#[case("application/json", "application/json")]
#[case("*/*", "text/plain; charset=utf-8")]
#[tokio::test]
async fn speak_the_clients_language(#[case] accept: &str, #[case] content_type: &str) {
    let bed = Bed::new();
    bed.publish([]);
    let mut client = bed.client().await;
    client.send(format!("GET / HTTP/1.1\r\nHost: a\r\nAccept: {accept}\r\n\r\n")).await;
    let page = client.message().await;
    assert_eq!(page.status(), 404);
    assert_eq!(page.header("content-type").as_deref(), Some(content_type));
    assert!(page.text().contains("Not Found"));
}

#[tokio::test]
async fn have_no_body_for_head() {
    let bed = Bed::new();
    bed.publish([]);
    let mut client = bed.client().await;
    client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(client.head().await.status(), 404);
    client.get("/").await;
    assert_eq!(client.message().await.status(), 404);
}

#[tokio::test]
async fn carry_the_id_the_worker_saw() {
    let (bed, worker) = Bed::and_worker().await;
    let mut client = bed.client().await;
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").await;
    let (request, upstream) = worker.request().await;
    drop(upstream);
    let page = client.message().await;
    assert_eq!(page.status(), 502);
    assert!(page.text().contains(&request.header("x-request-id").unwrap()));
}
