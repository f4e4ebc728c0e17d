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
use tqserver::admin::events::EventKind;
use tqserver::admin::feed::KEPT;
use tqserver::admin::server::{self, MAX_BODY, MAX_CONNECTIONS, MAX_STREAMS};
use tqserver::ctl::client::{Client, Events};

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
fn metrics_are_text_for_prometheus() {
    let (code, head, body) = get(&Server::start(&Fake::new()), "/metrics");
    assert_eq!((code, body.as_str()), (200, "# TYPE fake gauge\nfake 1\n"));
    assert!(head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"), "{head}");
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
fn a_soak_is_of_a_commit_and_takes_a_time() {
    let path = format!("/v1/deployments/{}/soak?ms=1500", fake_control::OLD);
    let (code, _, body) = post(&Server::start(&Fake::new()), &path);
    assert_eq!(code, 200);
    let verdict: serde_json::Value = serde_json::from_str(&body).unwrap();
    let expected = serde_json::json!(
        {"schema": 1, "outcome": "well", "reason": "9f8e7d6 for 1500 ms"}
    );
    assert_eq!(verdict, expected);
}

#[test]
fn a_restart_answers_with_the_verdict() {
    let (code, _, body) = post(&Server::start(&Fake::new()), "/v1/workers/api_users/restart");
    assert_eq!(code, 200);
    let verdict: ReloadVerdict = serde_json::from_str(&body).unwrap();
    assert_eq!(verdict.started, ["api_users".parse().unwrap()]);
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
#[case::metrics_are_read("POST", "/metrics", 405)]
#[case::a_restart_is_no_get("GET", "/v1/workers/index/restart", 405)]
#[case::no_name_of_a_worker("POST", "/v1/workers/No-Name/restart", 400)]
#[case::no_such_verb("POST", "/v1/workers/index/kill", 404)]
#[case::a_soak_is_no_get(
    "GET",
    "/v1/deployments/9f8e7d6c5b4a39281706f5e4d3c2b1a098765432/soak?ms=1",
    405
)]
#[case::a_soak_of_no_commit("POST", "/v1/deployments/v1.2/soak?ms=1", 400)]
#[case::a_soak_without_a_time(
    "POST",
    "/v1/deployments/9f8e7d6c5b4a39281706f5e4d3c2b1a098765432/soak",
    400
)]
#[case::a_soak_that_is_too_long(
    "POST",
    "/v1/deployments/9f8e7d6c5b4a39281706f5e4d3c2b1a098765432/soak?ms=3600001",
    400
)]
#[case::no_worker("POST", "/v1/workers/a/b/restart", 404)]
#[case::reload_is_no_get("GET", "/v1/reload", 405)]
#[case::unknown_query("POST", "/v1/reload?wait=maybe", 400)]
#[case::events_are_read("POST", "/v1/events", 405)]
#[case::a_rebuild_is_no_get("GET", "/v1/dev/rebuild", 405)]
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

fn notice(text: &str) -> EventKind {
    EventKind::Notice { text: text.to_owned() }
}

const EVENTS: &str = "GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n";

/// Awaits `what` for far longer than it takes.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), what).await.expect("it happens")
}

/// Texts of the notices that are there, once there are `count`.
async fn texts(events: &mut Events, count: usize) -> Vec<String> {
    let mut texts = Vec::new();
    while texts.len() < count {
        let event = soon(events.next()).await.unwrap().expect("the stream goes on");
        let EventKind::Notice { text } = event.what else { panic!("{event:?}") };
        texts.push(text);
    }
    texts
}

fn follow(dir: &tempfile::TempDir) -> Client {
    Client::locate(Some(dir.path().join("s")), None)
}

#[tokio::test]
async fn events_are_told_as_they_were_and_as_they_come() {
    let fake = Fake::new();
    let (dir, _shutdown, _task) = spawn(&fake);
    fake.feed.publish(notice("before"));
    let mut events = soon(follow(&dir).events(None)).await.unwrap();
    assert_eq!(texts(&mut events, 1).await, ["before"]);
    fake.feed.publish(notice("line\nend"));
    fake.feed.publish(notice("and"));
    let event = soon(events.next()).await.unwrap().unwrap();
    assert_eq!(event.what, notice("line\nend"));
    drop(events);
    let mut events = soon(follow(&dir).events(Some(event.id))).await.unwrap();
    assert_eq!(texts(&mut events, 1).await, ["and"], "what was heard is not told again");
}

#[tokio::test]
async fn the_stream_is_server_sent_events() {
    let fake = Fake::new();
    let (dir, shutdown, task) = spawn(&fake);
    fake.feed.publish(notice("hello"));
    let mut stream = client(&dir, EVENTS).await;
    let mut got = String::new();
    while !got.contains("hello") {
        let mut bytes = [0; 1024];
        let count = soon(stream.read(&mut bytes)).await.unwrap();
        got.push_str(std::str::from_utf8(&bytes[..count]).unwrap());
    }
    shutdown.cancel();
    got.push_str(&soon(rest(stream)).await);
    soon(task).await.unwrap();
    let got = got.to_ascii_lowercase();
    assert!(got.contains("content-type: text/event-stream\r\n"), "{got}");
    assert!(got.contains("\nevent: notice\ndata: {\"schema\":1,\"id\":"), "{got}");
    assert!(got.ends_with("\r\n0\r\n\r\n"), "it ends as a whole answer: {got}");
}

#[tokio::test(start_paused = true)]
async fn stopping_does_not_wait_for_streams() {
    let fake = Fake::new();
    let (dir, shutdown, task) = spawn(&fake);
    let mut events = follow(&dir).events(None).await.unwrap();
    let before = tokio::time::Instant::now();
    shutdown.cancel();
    task.await.unwrap();
    assert_eq!(before.elapsed(), Duration::ZERO);
    assert_eq!(events.next().await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn a_silent_stream_is_kept_alive() {
    let (dir, _shutdown, _task) = spawn(&Fake::new());
    let mut stream = client(&dir, EVENTS).await;
    let mut got = String::new();
    while got.matches("\r\n:\n\n\r\n").count() < 2 {
        let mut bytes = [0; 1024];
        let count = stream.read(&mut bytes).await.unwrap();
        assert_ne!(count, 0, "{got}");
        got.push_str(std::str::from_utf8(&bytes[..count]).unwrap());
    }
}

#[tokio::test]
async fn who_does_not_read_is_let_go_and_comes_back() {
    let fake = Fake::new();
    let (dir, _shutdown, _task) = spawn(&fake);
    let mut events = soon(follow(&dir).events(None)).await.unwrap();
    fake.feed.publish(notice("first"));
    let last = soon(events.next()).await.unwrap().unwrap().id;
    // More than the buffers between the two can hold, and than the feed keeps.
    let large = "x".repeat(32 * 1024);
    for _ in 0..4 * KEPT {
        fake.feed.publish(notice(&large));
        tokio::task::yield_now().await;
    }
    let mut heard = last;
    while let Some(event) = soon(events.next()).await.unwrap() {
        assert_eq!(event.id, heard + 1, "nothing is left out before the end");
        heard = event.id;
    }
    let mut events = soon(follow(&dir).events(Some(heard))).await.unwrap();
    let next = soon(events.next()).await.unwrap().unwrap().id;
    assert_eq!(next, last + 3 * KEPT as u64 + 1, "the oldest that is kept");
}

#[tokio::test]
async fn streams_leave_room_for_those_who_ask() {
    let fake = Fake::new();
    let (dir, _shutdown, _task) = spawn(&fake);
    let mut streams = Vec::new();
    for _ in 0..MAX_STREAMS {
        streams.push(soon(follow(&dir).events(None)).await.unwrap());
    }
    let refused = soon(follow(&dir).events(None)).await.unwrap_err().to_string();
    assert!(refused.contains("503"), "{refused}");
    assert!(soon(follow(&dir).status()).await.is_ok());
    // One that goes makes room.
    let mut count = fake.feed.subscribers();
    streams.pop();
    soon(count.wait_for(|count| *count < MAX_STREAMS)).await.unwrap();
    while follow(&dir).events(None).await.is_err() {
        tokio::task::yield_now().await;
    }
}

#[test]
fn a_number_of_an_event_is_a_number() {
    let server = Server::start(&Fake::new());
    let request = "GET /v1/events HTTP/1.1\r\nHost: x\r\nLast-Event-ID: seven\r\n\r\n";
    let (code, _, body) = exchange(&server, request);
    assert_eq!(code, 400, "{body}");
}

#[test]
fn a_rebuild_is_accepted_or_refused_with_the_reason() {
    let fake = Fake::new();
    let server = Server::start(&fake);
    let (code, _, body) = post(&server, "/v1/dev/rebuild");
    assert_eq!((code, body.as_str()), (202, "{\"schema\":1,\"accepted\":true}\n"));
    *fake.no_rebuild.lock().unwrap() = Some("this is no development mode".to_owned());
    let (code, _, body) = post(&server, "/v1/dev/rebuild");
    assert_eq!(code, 409);
    let ApiError { error } = serde_json::from_str(&body).unwrap();
    assert_eq!(error, "this is no development mode");
}
