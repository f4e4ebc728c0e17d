//! Live reload: which answers get the script, what its WebSocket says, and the pages of builds.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use rstest::rstest;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message as Frame};
use tokio_tungstenite::{WebSocketStream, client_async};
use tqserver::ids::WorkerName;
use tqserver::proxy::table::WeightedTargets;
use tqserver::proxy::{Build, Live, Place, Problems};

use crate::bed::{Bed, Message, Peer, Worker, route, settings, soon};

const DOCUMENT: &str = "Sec-Fetch-Dest: document\r\n";
const HTML: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n";

async fn live() -> (Bed, Arc<Live>, Worker) {
    let (bed, live) = Bed::live(settings());
    let worker = Worker::start(7).await;
    bed.publish([worker.route("/")]);
    (bed, live, worker)
}

fn app() -> WorkerName {
    "app".parse().unwrap()
}

/// Sends a GET with `fields` and has the worker send `answer`.
async fn exchange(bed: &Bed, worker: &Worker, fields: &str, answer: &str) -> (Message, Message) {
    let mut client = bed.client().await;
    client.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n")).await;
    let (request, mut upstream) = worker.request().await;
    upstream.send(answer).await;
    drop(upstream);
    (request, client.message().await)
}

/// The revision in the script's tag, after all else was found to be as it should.
fn revision_of(body: &str, worker: &str, generation: u64) -> u64 {
    let tag = body.rsplit_once("<script ").expect("a tag").1;
    let start = format!(
        "src=\"/_tqserver/live.js\" data-worker=\"{worker}\" data-generation=\"{generation}\" \
         data-revision=\""
    );
    let rest = tag.strip_prefix(&start).unwrap_or_else(|| panic!("{tag}"));
    let (revision, rest) = rest.split_once('"').unwrap();
    assert_eq!(rest, " defer></script>\n");
    revision.parse().unwrap()
}

#[rstest]
#[case::document(DOCUMENT, "200 OK")]
#[case::frame("Sec-Fetch-Dest: iframe\r\n", "200 OK")]
#[case::by_accept("Accept: application/xml;q=0.9, Text/HTML;q=0.8\r\n", "200 OK")]
#[case::not_found(DOCUMENT, "404 Not Found")]
#[case::failed(DOCUMENT, "500 Internal Server Error")]
#[tokio::test]
async fn a_document_ends_with_the_script(#[case] fields: &str, #[case] status: &str) {
    let (bed, _live, worker) = live().await;
    let html = HTML.replace("200 OK", status);
    let answer = format!("{html}ETag: \"1\"\r\nContent-Length: 13\r\n\r\n<p>hello</p>\n");
    let (_, page) = exchange(&bed, &worker, fields, &answer).await;
    assert!(page.start.ends_with(status), "{}", page.start);
    assert!(page.complete);
    let (before, _) = page.text().split_once("<script ").unwrap();
    assert_eq!(before, "<p>hello</p>\n");
    revision_of(page.text(), "app", 7);
    // What names one moment is not to be kept, and is not what the worker named.
    assert_eq!(page.header("cache-control").as_deref(), Some("no-store"));
    assert_eq!(page.header("etag"), None);
}

#[tokio::test]
async fn the_worker_is_asked_for_a_document_as_it_is_now_and_not_encoded() {
    let (bed, _live, worker) = live().await;
    let fields = "Accept-Encoding: gzip\r\nIf-None-Match: \"1\"\r\n\
                  If-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT\r\n";
    let answer = format!("{HTML}Content-Length: 0\r\n\r\n");
    let all = ["accept-encoding", "if-none-match", "if-modified-since"];
    let (request, page) = exchange(&bed, &worker, &format!("{DOCUMENT}{fields}"), &answer).await;
    assert_eq!(all.map(|name| request.header(name)), [None, None, None]);
    revision_of(page.text(), "app", 7);
    let (request, page) = exchange(&bed, &worker, fields, &answer).await;
    assert!(all.iter().all(|name| request.header(name).is_some()));
    assert_eq!(page.text(), "");
}

/// Answers that pass as they are, in `body` and in the fields that would give a change away.
#[rstest]
#[case::a_program("", HTML)]
#[case::any("Accept: */*\r\n", HTML)]
#[case::fetch("Sec-Fetch-Dest: empty\r\nAccept: text/html\r\n", HTML)]
#[case::a_piece_of_html("Accept: text/html\r\nX-Requested-With: XMLHttpRequest\r\n", HTML)]
#[case::json(DOCUMENT, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")]
#[case::no_type(DOCUMENT, "HTTP/1.1 200 OK\r\n")]
#[case::other_html(DOCUMENT, "HTTP/1.1 200 OK\r\nContent-Type: text/htmlx\r\n")]
#[case::wide(DOCUMENT, "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=UTF-16LE\r\n")]
#[case::encoded(DOCUMENT, &format!("{HTML}Content-Encoding: gzip\r\n"))]
#[case::md5(DOCUMENT, &format!("{HTML}Content-MD5: x\r\n"))]
#[case::digest(DOCUMENT, &format!("{HTML}Digest: x\r\n"))]
#[case::content_digest(DOCUMENT, &format!("{HTML}Content-Digest: x\r\n"))]
#[case::repr_digest(DOCUMENT, &format!("{HTML}Repr-Digest: x\r\n"))]
#[case::by_the_workers_wish(DOCUMENT, &format!("{HTML}Cache-Control: private, No-Transform\r\n"))]
#[case::a_download(DOCUMENT, &format!("{HTML}Content-Disposition: Attachment; filename=x\r\n"))]
#[case::a_part(DOCUMENT, &HTML.replace("200 OK", "206 Partial Content"))]
#[tokio::test]
async fn everything_else_passes_as_it_is(#[case] fields: &str, #[case] head: &str) {
    let (bed, _live, worker) = live().await;
    let answer = format!("{head}ETag: \"1\"\r\nContent-Length: 5\r\n\r\nhello");
    let (_, page) = exchange(&bed, &worker, fields, &answer).await;
    assert_eq!(page.text(), "hello");
    assert_eq!(page.header("content-length").as_deref(), Some("5"));
    assert_eq!(page.header("etag").as_deref(), Some("\"1\""));
    assert_ne!(page.header("cache-control").as_deref(), Some("no-store"));
}

#[rstest]
#[case::none("204 No Content")]
#[case::not_modified("304 Not Modified")]
#[tokio::test]
async fn an_answer_without_a_body_stays_without(#[case] status: &str) {
    let (bed, _live, worker) = live().await;
    let head = HTML.replace("200 OK", status);
    let (_, page) = exchange(&bed, &worker, DOCUMENT, &format!("{head}\r\n")).await;
    assert!(page.start.ends_with(status), "{}", page.start);
    assert_eq!((page.text(), page.header("content-length")), ("", None));
}

#[rstest]
#[case::head("HEAD")]
#[case::post("POST")]
#[tokio::test]
async fn only_a_get_brings_a_document(#[case] method: &str) {
    let (bed, _live, worker) = live().await;
    let mut client = bed.client().await;
    let fields = format!("Host: a\r\nContent-Length: 0\r\n{DOCUMENT}");
    client.send(format!("{method} / HTTP/1.1\r\n{fields}\r\n")).await;
    let (_, mut upstream) = worker.request().await;
    let body = if method == "HEAD" { "" } else { "hello" };
    upstream.send(format!("{HTML}Content-Length: 5\r\n\r\n{body}")).await;
    assert_eq!(client.head().await.header("content-length").as_deref(), Some("5"));
    assert_eq!(client.exactly(body.len()).await, body.as_bytes());
    // Nothing came behind it.
    client.get("/next").await;
    upstream.message().await;
    upstream.ok("next").await;
    assert_eq!(client.message().await.text(), "next");
}

async fn stream(bed: &Bed, worker: &Worker, fields: &str, kind: &str) -> (Peer, Peer) {
    let mut client = bed.client().await;
    client.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n")).await;
    let (_, mut upstream) = worker.request().await;
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n");
    upstream.send(format!("{head}Transfer-Encoding: chunked\r\n\r\n3\r\n<p>\r\n")).await;
    client.head().await;
    // It is here although the answer has not ended.
    assert_eq!(client.exactly(8).await, b"3\r\n<p>\r\n");
    (client, upstream)
}

#[tokio::test]
async fn a_streamed_document_stays_streamed() {
    let (bed, _live, worker) = live().await;
    let (mut client, mut upstream) = stream(&bed, &worker, DOCUMENT, "text/html").await;
    upstream.send("0\r\n\r\n").await;
    let size = client.exactly(4).await;
    let size = usize::from_str_radix(std::str::from_utf8(&size[..2]).unwrap(), 16).unwrap();
    let tag = client.exactly(size).await;
    revision_of(std::str::from_utf8(&tag).unwrap(), "app", 7);
    assert_eq!(client.exactly(7).await, b"\r\n0\r\n\r\n");
}

#[tokio::test]
async fn an_event_stream_is_left_alone() {
    let (bed, _live, worker) = live().await;
    let (mut client, mut upstream) = stream(&bed, &worker, DOCUMENT, "text/event-stream").await;
    upstream.send("0\r\n\r\n").await;
    assert_eq!(client.exactly(5).await, b"0\r\n\r\n");
}

#[tokio::test]
async fn a_document_that_breaks_off_breaks_off() {
    let (bed, _live, worker) = live().await;
    let (mut client, upstream) = stream(&bed, &worker, DOCUMENT, "text/html").await;
    drop(upstream);
    assert_eq!(client.rest().await, b"", "neither a script nor a last chunk");
    bed.until("the abort", |c| c.aborted == 1).await;

    // With the script added, the last of these is no number of 64 bits any more.
    for length in [9, u64::MAX] {
        let answer = format!("{HTML}Content-Length: {length}\r\n\r\nhello");
        let (_, page) = exchange(&bed, &worker, DOCUMENT, &answer).await;
        assert!(!page.complete);
        assert_eq!(page.text(), "hello");
    }
}

#[tokio::test]
async fn without_live_reload_nothing_is_changed_and_nothing_is_served() {
    let (bed, worker) = Bed::and_worker().await;
    let fields = format!("{DOCUMENT}Accept-Encoding: gzip\r\n");
    let answer = format!("{HTML}Content-Length: 5\r\n\r\nhello");
    let (request, page) = exchange(&bed, &worker, &fields, &answer).await;
    assert_eq!(request.header("accept-encoding").as_deref(), Some("gzip"));
    assert_eq!(page.text(), "hello");
    let mut client = bed.client().await;
    client.get("/_tqserver/live.js").await;
    assert_eq!(worker.request().await.0.start, "GET /_tqserver/live.js HTTP/1.1");
}

#[tokio::test]
async fn pages_of_tqserver_have_the_script_too() {
    let (bed, live, worker) = live().await;
    bed.publish([worker.route("/app")]);
    let mut client = bed.client().await;
    let fields = "Host: a\r\nAccept: text/html\r\n";
    client.send(format!("GET /other HTTP/1.1\r\n{fields}\r\n")).await;
    let page = client.message().await;
    assert_eq!(page.status(), 404);
    // Nobody's: two tables were published.
    let before = revision_of(page.text(), "", 2);
    live.pages_changed(&app());
    client.send(format!("GET /static/app/x.html HTTP/1.1\r\n{fields}\r\n")).await;
    let page = client.message().await;
    assert_eq!((page.status(), revision_of(page.text(), "app", 7)), (404, before + 1));
    client.send(format!("GET /app HTTP/1.1\r\n{fields}\r\n")).await;
    drop(worker.request().await);
    drop(worker.request().await);
    let page = client.message().await;
    assert_eq!((page.status(), revision_of(page.text(), "app", 7)), (502, before + 1));
    client.send("GET /other HTTP/1.1\r\nHost: a\r\nAccept: application/json\r\n\r\n").await;
    assert!(!client.message().await.text().contains("script"));
}

#[tokio::test]
async fn a_document_tells_of_the_time_before_the_worker_made_it() {
    let (bed, live, worker) = live().await;
    let mut client = bed.client().await;
    client.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{DOCUMENT}\r\n")).await;
    let (_, mut upstream) = worker.request().await;
    // It may have read its templates before, or after.
    live.pages_changed(&app());
    bed.publish([Worker::start(8).await.route("/")]);
    upstream.send(format!("{HTML}Content-Length: 0\r\n\r\n")).await;
    let revision = revision_of(client.message().await.text(), "app", 7);
    let state = State::of(&bed, "app").await;
    assert_eq!(state.last["pages"], revision + 1);
    assert_eq!(state.last["generation"], 8);
}

#[tokio::test]
async fn a_document_names_the_generation_that_made_it_in_the_end() {
    let (bed, _live, worker) = live().await;
    // It takes no connections any more, and is still in the table.
    drop(worker);
    let mut client = bed.client().await;
    client.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{DOCUMENT}\r\n")).await;
    bed.until("the hold", |c| c.held == 1).await;
    let next = Worker::start(8).await;
    bed.publish([next.route("/")]);
    let (_, mut upstream) = next.request().await;
    upstream.send(format!("{HTML}Content-Length: 0\r\n\r\n")).await;
    revision_of(client.message().await.text(), "app", 8);
}

#[tokio::test]
async fn the_script_is_served_before_all_routes() {
    let (bed, _live, _worker) = live().await;
    let mut client = bed.client().await;
    client.get("/_tqserver/live.js").await;
    let script = client.message().await;
    assert_eq!(script.header("content-type").as_deref(), Some("text/javascript; charset=utf-8"));
    assert_eq!(script.header("cache-control").as_deref(), Some("no-cache"));
    assert!(script.text().contains("WebSocket"));
    let length = script.header("content-length");
    client.send("HEAD /_tqserver/live.js HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(client.head().await.header("content-length"), length);
    client.send("PUT /_tqserver/live.js HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").await;
    let refusal = client.message().await;
    assert_eq!(refusal.status(), 405);
    assert_eq!(refusal.header("allow").as_deref(), Some("GET, HEAD"));
}

type Socket = WebSocketStream<TcpStream>;

async fn open(bed: &Bed, query: &str, origin: Option<&str>) -> Result<Socket, Error> {
    let url = format!("ws://a.example:80/_tqserver/live{query}");
    let mut request = url.into_client_request().unwrap();
    if let Some(origin) = origin {
        request.headers_mut().insert("origin", origin.parse().unwrap());
    }
    let stream = TcpStream::connect(bed.addr).await.unwrap();
    soon("the handshake", client_async(request, stream)).await.map(|(socket, _)| socket)
}

/// What a page hears.
struct State {
    socket: Socket,
    last: Value,
}

impl State {
    async fn of(bed: &Bed, worker: &str) -> Self {
        let query = format!("?worker={worker}");
        let socket = open(bed, &query, Some("http://A.example:80")).await.unwrap();
        let mut state = Self { socket, last: Value::Null };
        state.next().await;
        state
    }

    async fn next(&mut self) -> &Value {
        let message = soon("a message", self.socket.next()).await.unwrap().unwrap();
        self.last = serde_json::from_str(message.to_text().unwrap()).unwrap();
        &self.last
    }

    /// Reads to the end, and returns what it ended with.
    async fn close_code(mut self) -> CloseCode {
        loop {
            match soon("a close", self.socket.next()).await {
                Some(Ok(Frame::Close(Some(close)))) => return close.code,
                Some(Ok(Frame::Text(_))) => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

fn problems() -> Problems {
    let place = Place {
        file: "/srv/my app/main.rs".into(),
        shown: "workers/app/main.rs".into(),
        line: 12,
        column: 5,
        message: "expected `;`".into(),
    };
    Problems { log: "error: expected `;` <here>\n".into(), places: vec![place] }
}

#[tokio::test]
async fn a_page_hears_how_things_stand_at_once_and_with_each_change() {
    let (bed, live, _worker) = live().await;
    let mut state = State::of(&bed, "app").await;
    let since = state.last["pages"].as_u64().unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    assert!(now.as_millis() as u64 - since < 60_000, "revisions rise from process to process");
    assert_eq!(
        state.last,
        json!({"generation": 7, "pages": since, "styles": {}, "build": null, "build_revision": 0})
    );
    live.pages_changed(&app());
    assert_eq!(state.next().await["pages"], since + 1);
    live.styles_changed(["/static/app/a.css".to_owned()]);
    assert_eq!(state.next().await["styles"], json!({"/static/app/a.css": since + 2}));
    live.set_build(&app(), Build::Building);
    assert_eq!(state.next().await["build"], json!({"state": "building"}));
    live.set_build(&app(), Build::Failed(problems()));
    let place = json!({
        "file": "workers/app/main.rs", "line": 12, "column": 5, "message": "expected `;`",
        "href": "vscode://file/srv/my%20app/main.rs:12:5",
    });
    let failed = json!({"state": "failed", "log": problems().log, "places": [place]});
    assert_eq!(state.next().await["build"], failed);
    assert_eq!(state.last["build_revision"], since + 4);

    // One that comes late hears the same. Another worker's page has nothing to do with it.
    assert_eq!(State::of(&bed, "app").await.last, state.last);
    let other = State::of(&bed, "other").await.last;
    assert_eq!(
        (&other["pages"], &other["build"], &other["generation"]),
        (&since.into(), &Value::Null, &0.into())
    );

    live.set_build(&app(), Build::Fine);
    assert_eq!(state.next().await["build"], Value::Null);
    bed.publish([Worker::start(8).await.route("/")]);
    assert_eq!(state.next().await["generation"], 8);
    // What is no change is not told: the next is the one after.
    live.set_build(&app(), Build::Fine);
    bed.publish([route("/", WeightedTargets::default())]);
    assert_eq!(state.next().await["generation"], 0);
}

#[tokio::test]
async fn of_several_generations_the_oldest_counts() {
    let (bed, _live, worker) = live().await;
    let newer = Worker::start(8).await;
    let both = [&newer, &worker].map(|it| (Arc::clone(&it.target), 1));
    bed.publish([route("/", WeightedTargets::new(both))]);
    assert_eq!(State::of(&bed, "app").await.last["generation"], 7);
}

#[tokio::test]
async fn nobodys_page_hears_of_tables() {
    let (bed, _live, worker) = live().await;
    let mut state = State::of(&bed, "").await;
    assert_eq!(state.last["generation"], 1);
    bed.publish([worker.route("/")]);
    assert_eq!(state.next().await["generation"], 2);
}

#[tokio::test]
async fn more_style_sheets_than_are_kept_make_pages_load_again() {
    let (bed, live, _worker) = live().await;
    let mut state = State::of(&bed, "app").await;
    let since = state.last["pages"].as_u64().unwrap();
    live.styles_changed((0..513).map(|n| format!("/static/app/{n}.css")));
    assert_eq!(state.next().await["styles"], json!({}));
    assert_eq!(state.last["pages"], since + 1);
}

#[rstest]
#[case::none(None, "?worker=app", 403)]
#[case::other(Some("http://b.example:80"), "?worker=app", 403)]
#[case::other_port(Some("http://a.example"), "?worker=app", 403)]
#[case::opaque(Some("null"), "?worker=app", 403)]
#[case::scheme(Some("ftp://a.example:80"), "?worker=app", 403)]
#[case::name(Some("http://a.example:80"), "?worker=App%20", 400)]
#[tokio::test]
async fn only_a_page_of_the_same_origin_is_listened_to(
    #[case] origin: Option<&str>,
    #[case] query: &str,
    #[case] status: u16,
) {
    let (bed, live, _worker) = live().await;
    let Err(Error::Http(refusal)) = open(&bed, query, origin).await else { panic!("accepted") };
    assert_eq!(refusal.status(), status);
    assert_eq!(live.tabs(&app()), 0);
}

#[tokio::test]
async fn what_is_no_handshake_is_refused() {
    let (bed, _live, _worker) = live().await;
    let mut client = bed.client().await;
    client.get("/_tqserver/live?worker=app").await;
    assert_eq!(client.message().await.status(), 400);
}

#[tokio::test]
async fn tabs_are_counted_and_limited() {
    let (bed, live, _worker) = live().await;
    let mut tabs = Vec::new();
    for _ in 0..256 {
        tabs.push(State::of(&bed, "app").await);
    }
    assert_eq!(live.tabs(&app()), 256);
    assert_eq!(live.tabs(&"other".parse().unwrap()), 0);
    let Err(Error::Http(refusal)) = open(&bed, "", Some("http://a.example:80")).await else {
        panic!("accepted")
    };
    assert_eq!(refusal.status(), 503);
    // One that closes is answered, and one that is gone is noticed.
    let mut closing = tabs.pop().unwrap().socket;
    closing.close(None).await.unwrap();
    assert!(soon("the answer", closing.next()).await.unwrap().unwrap().is_close());
    drop(tabs);
    bed.until("the sockets' end", |c| c.open_tunnels == 0 && c.open_connections == 0).await;
    assert_eq!(live.tabs(&app()), 0);
    State::of(&bed, "app").await;
}

#[rstest]
#[case::unasked(Frame::text("hello"), CloseCode::Unsupported)]
#[case::large(Frame::binary(vec![0; 257]), CloseCode::Size)]
#[tokio::test]
async fn a_page_has_nothing_to_say(#[case] frame: Frame, #[case] code: CloseCode) {
    let (bed, _live, _worker) = live().await;
    let mut state = State::of(&bed, "app").await;
    state.socket.send(frame).await.unwrap();
    assert_eq!(state.close_code().await, code);
}

#[tokio::test]
async fn at_shutdown_pages_are_told_to_come_back() {
    let (mut bed, _live, _worker) = live().await;
    let state = State::of(&bed, "app").await;
    let plane = bed.plane.take().unwrap();
    let (code, ()) = tokio::join!(state.close_code(), plane.shutdown(Duration::from_secs(20)));
    assert_eq!(code, CloseCode::Away);
}

/// A process that retires serves its streams on, and hears of no change.
#[tokio::test]
async fn a_process_that_retires_sends_pages_to_its_successor() {
    let (mut bed, _live, _worker) = live().await;
    let state = State::of(&bed, "app").await;
    let plane = bed.plane.take().unwrap();
    let retiring = plane.retire(Duration::from_secs(20), std::future::pending());
    let retiring = soon("the end", async { tokio::join!(state.close_code(), retiring) });
    assert_eq!(retiring.await.0, CloseCode::Away);
}

#[rstest]
#[case::html("text/html")]
#[case::json("application/json")]
#[case::text("text/plain")]
#[tokio::test]
async fn a_failed_build_with_nothing_to_serve_is_shown_at_once(#[case] accept: &str) {
    let (bed, live) = Bed::live(settings());
    bed.publish([route("/", WeightedTargets::default())]);
    live.set_build(&app(), Build::Building);
    let get = format!("GET / HTTP/1.1\r\nHost: a\r\nAccept: {accept}\r\n\r\n");
    // The first waits for the build, the second comes after it.
    let (mut held, mut client) = (bed.client().await, bed.client().await);
    held.send(&get).await;
    bed.until("the hold", |c| c.held == 1).await;
    live.set_build(&app(), Build::Failed(problems()));
    client.send(&get).await;
    for client in [&mut held, &mut client] {
        let page = client.message().await;
        assert_eq!(page.status(), 503);
        let text = page.text();
        match accept {
            "text/html" => {
                assert!(text.contains("error: expected `;` &lt;here&gt;"), "{text}");
                revision_of(text, "app", 0);
            }
            "application/json" => {
                let page: Value = serde_json::from_str(text).unwrap();
                assert_eq!(page["log"], problems().log);
                assert_eq!(page["places"][0]["file"], "workers/app/main.rs");
                assert!(!text.contains("/srv/my"), "the absolute path is the editor's");
            }
            _ => assert!(text.contains("error: expected `;` <here>"), "{text}"),
        }
    }
}

#[tokio::test]
async fn a_failed_build_does_not_hide_what_serves() {
    let (bed, live, worker) = live().await;
    live.set_build(&app(), Build::Failed(problems()));
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
    let (_, page) = exchange(&bed, &worker, DOCUMENT, answer).await;
    assert_eq!(page.text(), "hello");
}

#[tokio::test]
async fn a_first_build_that_outlasts_the_hold_is_named() {
    let mut settings = settings();
    settings.hold = Duration::from_millis(20);
    let (bed, live) = Bed::live(settings);
    bed.publish([route("/", WeightedTargets::default())]);
    live.set_build(&app(), Build::Building);
    let mut client = bed.client().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\nAccept: text/html\r\n\r\n").await;
    let page = client.message().await;
    assert_eq!(page.status(), 503);
    assert!(page.header("retry-after").is_some());
    assert!(page.text().contains("<code>app</code> is being built"), "{}", page.text());
    revision_of(page.text(), "app", 0);
}
