//! What the access log says of requests.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tqserver::access_log::AccessLog;
use tqserver::config::settings::{AccessLogFormat, AccessLogSettings};
use tqserver::proxy::ProxySettings;

use crate::bed::{Bed, Worker, network, settings, soon};

struct Logged {
    bed: Bed,
    worker: Worker,
    log: Arc<AccessLog>,
    dir: TempDir,
}

impl Logged {
    async fn new(settings: ProxySettings) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let log = AccessLog::off();
        let file = Some(dir.path().join("log"));
        log.apply(&AccessLogSettings { format: AccessLogFormat::Json, file, one_in: 1 }).unwrap();
        let bed = Bed::logging(1, settings, &log);
        let worker = Worker::start(7).await;
        bed.publish([worker.route("/")]);
        Self { bed, worker, log, dir }
    }

    /// All lines, once the data plane has ended.
    async fn lines(mut self) -> Vec<Value> {
        self.bed.plane.take().unwrap().shutdown(Duration::from_secs(5)).await;
        self.log.finish().await;
        let text = std::fs::read_to_string(self.dir.path().join("log")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

#[tokio::test]
async fn a_line_joins_what_client_worker_and_proxy_saw() {
    let logged = Logged::new(settings()).await;
    let mut client = logged.bed.client().await;
    client
        .send("POST /a?b=c HTTP/1.1\r\nHost: a.example\r\nContent-Length: 2\r\nUser-Agent: me\r\n\r\nhi")
        .await;
    let (request, mut upstream) = logged.worker.request().await;
    upstream.ok("0123456789").await;
    let head = client.head().await;
    client.exactly(10).await;
    client.get("/none").await;
    upstream.message().await;
    upstream.send("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").await;
    client.message().await;
    drop(client);

    let lines = logged.lines().await;
    assert_eq!(lines.len(), 2, "{lines:?}");
    let first = &lines[0];
    assert_eq!(first["request"].as_str(), request.header("x-request-id").as_deref());
    for (field, value) in [
        ("client", "127.0.0.1"),
        ("method", "POST"),
        ("path", "/a?b=c"),
        ("protocol", "HTTP/1.1"),
        ("host", "a.example"),
        ("worker", "app"),
        ("user_agent", "me"),
    ] {
        assert_eq!(first[field], value, "{field}");
    }
    assert_eq!((first["status"].as_u64(), first["generation"].as_u64()), (Some(200), Some(7)));
    let lines_of_head = std::iter::once(head.start.len() + 2)
        .chain(head.headers.iter().map(|(name, value)| name.len() + value.len() + 4));
    let bytes = lines_of_head.sum::<usize>() + 2 + 10;
    assert_eq!(first["bytes"].as_u64(), Some(bytes as u64));
    let seconds = |field: &str| first[field].as_f64().unwrap();
    assert!(0.0 < seconds("upstream_seconds"), "{first}");
    assert!(seconds("upstream_seconds") <= seconds("duration_seconds"), "{first}");
    assert_eq!(lines[1]["status"], 404);
}

#[tokio::test]
async fn what_tqserver_answers_itself_is_logged_as_well() {
    let logged = Logged::new(settings()).await;
    let mut client = logged.bed.client().await;
    client.get("/static/app/none.css").await;
    assert_eq!(client.message().await.status(), 404);
    client.get("/dies").await;
    drop(logged.worker.request().await);
    drop(logged.worker.request().await);
    assert_eq!(client.message().await.status(), 502);
    let mut stranger = logged.bed.client().await;
    stranger.send("no request\r\n\r\n").await;
    assert_eq!(stranger.message().await.status(), 400);
    drop((client, stranger));

    let lines = logged.lines().await;
    let found: Vec<_> = lines
        .iter()
        .map(|line| (line["status"].as_u64().unwrap(), &line["path"], line["worker"].as_str()))
        .collect();
    assert_eq!(found[0], (404, &"/static/app/none.css".into(), None));
    assert_eq!(found[1], (502, &"/dies".into(), Some("app")));
    assert_eq!(found[2], (400, &Value::Null, None));
}

#[tokio::test]
async fn an_answer_that_broke_off_and_a_client_that_left_are_told_apart() {
    let logged = Logged::new(settings()).await;
    let mut client = logged.bed.client().await;
    client.get("/broken").await;
    let (_, mut upstream) = logged.worker.request().await;
    upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npartial").await;
    drop(upstream);
    client.message().await;
    let mut hasty = logged.bed.client().await;
    hasty.get("/left").await;
    let (_, upstream) = logged.worker.request().await;
    drop(hasty);
    logged.bed.until("its end", |counters| counters.in_flight == 0).await;
    drop((client, upstream));

    let lines = logged.lines().await;
    assert_eq!((&lines[0]["status"], &lines[0]["aborted"]), (&200.into(), &true.into()));
    assert_eq!((&lines[1]["status"], &lines[1]["aborted"]), (&499.into(), &false.into()));
}

#[tokio::test]
async fn the_client_is_the_one_before_all_trusted_proxies() {
    let mut settings = settings();
    settings.listener.trusted_proxies = vec![network("127.0.0.0/8"), network("10.0.0.0/8")];
    let logged = Logged::new(settings).await;
    let mut client = logged.bed.client().await;
    let mut upstream = None;
    for chain in ["192.0.2.1, 198.51.100.7, 10.0.0.3", "nonsense", "10.0.0.1, 10.0.0.2"] {
        client.send(format!("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: {chain}\r\n\r\n")).await;
        let worker = match &mut upstream {
            None => upstream.insert(logged.worker.accept().await),
            Some(worker) => worker,
        };
        worker.message().await;
        worker.ok("").await;
        client.message().await;
    }
    drop(client);
    let lines = logged.lines().await;
    let clients: Vec<_> = lines.iter().map(|line| line["client"].as_str().unwrap()).collect();
    assert_eq!(clients, ["198.51.100.7", "127.0.0.1", "10.0.0.1"]);
}

#[tokio::test]
async fn requests_of_http2_are_logged_as_such() {
    let mut settings = settings();
    settings.listener.http2_cleartext = true;
    let logged = Logged::new(settings).await;
    let stream = tokio::net::TcpStream::connect(logged.bed.addr).await.unwrap();
    let (mut send, connection) = h2::client::handshake(stream).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = http::Request::get("http://a.example/two").body(()).unwrap();
    let (answer, _) = send.send_request(request, true).unwrap();
    logged.worker.request().await.1.ok("").await;
    soon("an answer", answer).await.unwrap();
    drop(send);
    soon("the end", connection).await.unwrap().unwrap();
    let lines = logged.lines().await;
    assert_eq!((&lines[0]["protocol"], &lines[0]["path"]), (&"HTTP/2.0".into(), &"/two".into()));
}
