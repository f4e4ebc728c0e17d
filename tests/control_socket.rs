//! The control socket's protocol, spoken byte by byte.

mod fake_control;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use fake_control::{Fake, Server};
use rstest::rstest;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tqserver::admin::api::{ApiError, ReloadVerdict, Status};
use tqserver::admin::server::{self, MAX_BODY, MAX_CONNECTIONS};

/// Sends bytes and reads until the server closes: the status line's code, head and body.
fn exchange(server: &Server, request: &str) -> (u16, String, String) {
    let mut stream = UnixStream::connect(server.socket()).unwrap();
    // Far beyond what an answer takes: a test that fails should say so, and not hang.
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").expect("a complete head");
    let code = head.split(' ').nth(1).unwrap().parse().unwrap();
    (code, head.to_ascii_lowercase(), body.to_owned())
}

fn get(server: &Server, path: &str) -> (u16, String, String) {
    exchange(server, &format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"))
}

fn post(server: &Server, path: &str) -> (u16, String, String) {
    exchange(server, &format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"))
}

#[test]
fn status_is_the_document_the_daemon_gave() {
    let fake = Fake::new();
    let server = Server::start(&fake);
    let (code, head, body) = get(&server, "/v1/status");
    assert_eq!(code, 200);
    assert!(head.contains("content-type: application/json"), "{head}");
    assert_eq!(serde_json::from_str::<Status>(&body).unwrap(), fake_control::serving());
}

#[test]
fn the_status_document_is_what_scripts_know() {
    insta::assert_json_snapshot!(fake_control::degraded());
}

#[test]
fn reload_answers_with_the_verdict() {
    let fake = Fake::new();
    let server = Server::start(&fake);
    let (code, _, body) = post(&server, "/v1/reload");
    assert_eq!(code, 200);
    assert_eq!(serde_json::from_str::<ReloadVerdict>(&body).unwrap(), fake_control::switched());
    assert_eq!(fake.reloads(), 1);
}

#[test]
fn a_failed_verdict_is_still_an_answer() {
    let fake = Fake::new();
    fake.verdict.lock().unwrap().ok = false;
    let server = Server::start(&fake);
    let (code, _, body) = post(&server, "/v1/reload?wait=true");
    assert_eq!(code, 200);
    assert!(!serde_json::from_str::<ReloadVerdict>(&body).unwrap().ok);
}

#[test]
fn reload_without_waiting_is_asked_and_accepted() {
    let fake = Fake::new();
    fake.decided.send_replace(false);
    let server = Server::start(&fake);
    let (code, _, body) = post(&server, "/v1/reload?wait=false");
    assert_eq!((code, body.as_str()), (202, "{\"schema\":1,\"accepted\":true}\n"));
    assert_eq!(fake.reloads(), 1);
}

#[rstest]
#[case::unknown_path("GET", "/v1/nothing", 404)]
#[case::no_prefixes("GET", "/v1/status/", 404)]
#[case::root("GET", "/", 404)]
#[case::wrong_method("DELETE", "/v1/status", 405)]
#[case::reload_is_no_get("GET", "/v1/reload", 405)]
#[case::unknown_query("POST", "/v1/reload?wait=maybe", 400)]
fn what_is_not_understood_is_refused_in_json(
    #[case] method: &str,
    #[case] path: &str,
    #[case] expected: u16,
) {
    let fake = Fake::new();
    let server = Server::start(&fake);
    let request = format!("{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n");
    let (code, head, body) = exchange(&server, &request);
    assert_eq!(code, expected);
    assert_eq!(head.contains("allow: "), expected == 405, "{head}");
    assert!(!serde_json::from_str::<ApiError>(&body).unwrap().error.is_empty());
    assert_eq!(fake.reloads(), 0);
}

#[test]
fn head_has_no_body() {
    let server = Server::start(&Fake::new());
    let (code, _, body) = exchange(&server, "HEAD /v1/status HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!((code, body.as_str()), (200, ""));
}

#[test]
fn a_large_body_is_refused() {
    let fake = Fake::new();
    let server = Server::start(&fake);
    let body = "x".repeat(MAX_BODY + 1);
    let length = body.len();
    let request =
        format!("POST /v1/reload HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}");
    assert_eq!(exchange(&server, &request).0, 413);
    assert_eq!(fake.reloads(), 0);
}

#[test]
fn a_large_head_is_refused() {
    let server = Server::start(&Fake::new());
    let junk = "x".repeat(64 * 1024);
    let mut stream = UnixStream::connect(server.socket()).unwrap();
    // The server may close before it has all been written.
    let _ = write!(stream, "GET /v1/status HTTP/1.1\r\nX: {junk}\r\n\r\n");
    let mut code = [0; 12];
    stream.read_exact(&mut code).unwrap();
    assert_eq!(&code, b"HTTP/1.1 431");
}

/// The server in this very runtime, so that a test decides when it runs and what time it is.
fn spawn(fake: &Arc<Fake>) -> (tempfile::TempDir, CancellationToken, JoinHandle<()>) {
    let dir = tempfile::tempdir().unwrap();
    let listener = tokio::net::UnixListener::bind(dir.path().join("s")).unwrap();
    let shutdown = CancellationToken::new();
    let task = tokio::spawn(server::serve(listener, Arc::clone(fake), shutdown.clone()));
    (dir, shutdown, task)
}

/// A client that has sent `request`.
async fn client(dir: &tempfile::TempDir, request: &str) -> tokio::net::UnixStream {
    let mut stream = tokio::net::UnixStream::connect(dir.path().join("s")).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

/// What a client gets until the server closes.
async fn rest(mut stream: tokio::net::UnixStream) -> String {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

const RELOAD: &str = "POST /v1/reload HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n";

#[tokio::test]
async fn connections_beyond_the_limit_wait_their_turn() {
    let fake = Fake::new();
    fake.decided.send_replace(false);
    let (dir, _shutdown, _task) = spawn(&fake);
    let mut clients = Vec::new();
    for _ in 0..MAX_CONNECTIONS + 1 {
        clients.push(client(&dir, RELOAD).await);
    }
    // The server gets far more turns than it would need to take the last one on.
    for _ in 0..10_000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(fake.reloads(), MAX_CONNECTIONS);
    fake.decided.send_replace(true);
    for client in clients {
        assert!(rest(client).await.starts_with("HTTP/1.1 200"));
    }
    assert_eq!(fake.reloads(), MAX_CONNECTIONS + 1);
}

#[tokio::test]
async fn a_client_that_hangs_up_does_no_harm() {
    let fake = Fake::new();
    fake.decided.send_replace(false);
    let (dir, _shutdown, _task) = spawn(&fake);
    let gone = client(&dir, RELOAD).await;
    fake.reloads.subscribe().wait_for(|count| *count == 1).await.unwrap();
    drop(gone);
    fake.decided.send_replace(true);
    let answer = rest(client(&dir, "GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n").await).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[rstest]
#[case::silence("", "")]
#[case::half_a_head("GET /v1/status HT", "")]
#[case::half_a_body("POST /v1/reload HTTP/1.1\r\nContent-Length: 9\r\n\r\nx", "HTTP/1.1 408")]
#[tokio::test(start_paused = true)]
async fn slow_clients_are_let_go(#[case] request: &str, #[case] answer: &str) {
    let fake = Fake::new();
    let (dir, _shutdown, _task) = spawn(&fake);
    let got = rest(client(&dir, request).await).await;
    assert!(got.starts_with(answer) && got.is_empty() == answer.is_empty(), "{got}");
    assert_eq!(fake.reloads(), 0);
}

#[tokio::test(start_paused = true)]
async fn stopping_waits_for_a_verdict_but_not_for_ever() {
    let fake = Fake::new();
    fake.decided.send_replace(false);
    let (dir, shutdown, task) = spawn(&fake);
    let (answered, left) = (client(&dir, RELOAD).await, client(&dir, RELOAD).await);
    fake.reloads.subscribe().wait_for(|count| *count == 2).await.unwrap();
    shutdown.cancel();
    fake.decided.send_replace(true);
    assert!(rest(answered).await.starts_with("HTTP/1.1 200"));
    assert!(rest(left).await.starts_with("HTTP/1.1 200"));
    task.await.unwrap();

    fake.decided.send_replace(false);
    let (dir, shutdown, task) = spawn(&fake);
    let left = client(&dir, RELOAD).await;
    fake.reloads.subscribe().wait_for(|count| *count == 3).await.unwrap();
    shutdown.cancel();
    task.await.unwrap();
    assert_eq!(rest(left).await, "");
}
