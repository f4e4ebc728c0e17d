//! The end of the process: nothing that was begun is lost.

use std::time::Duration;

use futures_util::StreamExt;
use rstest::rstest;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::{WebSocketStream, accept_async, client_async};

use crate::bed::{Bed, Peer, Worker, settings, soon};
use crate::https_bed::HttpsBed;

const LONG: Duration = Duration::from_secs(20);

/// Begins the shutdown, and returns when connections know.
fn shut_down(bed: &mut Bed, limit: Duration) -> tokio::task::JoinHandle<()> {
    tokio::spawn(bed.plane.take().unwrap().shutdown(limit))
}

#[tokio::test]
async fn requests_in_flight_are_answered_and_the_connection_closed() {
    let (mut bed, worker) = Bed::and_worker().await;
    let mut client = bed.client().await;
    client.get("/").await;
    let (_, mut upstream) = worker.request().await;
    let mut streaming = bed.client().await;
    streaming.get("/long").await;
    let (_, mut long) = worker.request().await;
    long.send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf").await;
    streaming.head().await;
    let mut idle = bed.client().await;
    idle.get("/idle").await;
    worker.request().await.1.ok("").await;
    idle.message().await;

    let down = shut_down(&mut bed, LONG);
    // Proof that it has begun, without a sleep: the idle connection is closed.
    assert_eq!(idle.rest().await, b"");
    upstream.ok("done").await;
    let answer = client.message().await;
    assert_eq!((answer.text(), answer.header("connection").as_deref()), ("done", Some("close")));
    assert_eq!(client.rest().await, b"");
    long.send("half").await;
    assert_eq!(streaming.exactly(8).await, b"halfhalf");
    soon("the end", down).await.unwrap();
}

#[tokio::test]
async fn a_kept_connection_may_begin_one_last_request() {
    let (mut bed, worker) = Bed::and_worker().await;
    let mut client = bed.client().await;
    client.get("/").await;
    let (_, mut upstream) = worker.request().await;
    upstream.ok("").await;
    client.message().await;
    // An event stream tells when the shutdown has begun.
    let mut events = bed.client().await;
    events.get("/").await;
    upstream.message().await;
    upstream.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n").await;
    events.head().await;
    let down = shut_down(&mut bed, LONG);
    assert_eq!(events.exactly(5).await, b"0\r\n\r\n");
    client.get("/last").await;
    worker.request().await.1.ok("last").await;
    let answer = client.message().await;
    assert_eq!((answer.text(), answer.header("connection").as_deref()), ("last", Some("close")));
    soon("the end", down).await.unwrap();
}

/// Far less than the limits on clients that a bed has, and more than a second.
const SOON: Duration = Duration::from_secs(5);

#[rstest]
#[case::http(false)]
#[case::where_http2_may_begin(true)]
#[tokio::test]
async fn who_has_said_nothing_holds_nobody_up(#[case] http2_cleartext: bool) {
    let mut settings = settings();
    settings.listener.http2_cleartext = http2_cleartext;
    let mut bed = Bed::with(settings);
    let mut silent = bed.client().await;
    bed.until("its connection", |c| c.open_connections == 1).await;
    let down = shut_down(&mut bed, LONG);
    timeout(SOON, down).await.expect("a silent client holds up the end").unwrap();
    assert_eq!(silent.rest().await, b"");
}

#[tokio::test]
async fn a_handshake_that_stalls_holds_nobody_up() {
    let (mut bed, _worker) = HttpsBed::and_worker().await;
    let mut silent = Peer::new(TcpStream::connect(bed.https).await.unwrap());
    let mut stalled = Peer::new(TcpStream::connect(bed.https).await.unwrap());
    // The beginning of a ClientHello.
    stalled.send(b"\x16\x03\x01\x02").await;
    let mut shaken = bed.secure_client().await;
    bed.until("their connections", |c| c.open_connections == 3).await;
    let down = shut_down(&mut bed.bed, LONG);
    timeout(SOON, down).await.expect("a handshake holds up the end").unwrap();
    for peer in [&mut silent, &mut stalled] {
        assert_eq!(peer.rest().await, b"");
    }
    assert_eq!(shaken.rest().await, b"");
}

#[rstest]
#[case::http(false)]
#[case::where_http2_may_begin(true)]
#[tokio::test]
async fn a_first_request_that_has_begun_to_arrive_is_answered(#[case] http2_cleartext: bool) {
    let mut settings = settings();
    settings.listener.http2_cleartext = http2_cleartext;
    let mut bed = Bed::with(settings);
    let worker = Worker::start(1).await;
    bed.publish([worker.route("/")]);
    // A `P` could become the beginning of HTTP/2.
    let mut begun = bed.client().await;
    begun.send("P").await;
    bed.until("its first byte", |c| c.bytes_received == 1).await;
    let (mut late, mut silent) = (bed.client().await, bed.client().await);
    bed.until("their connections", |c| c.open_connections == 3).await;
    let down = shut_down(&mut bed, LONG);
    late.get("/late").await;
    let (request, mut upstream) = worker.request().await;
    assert_eq!(request.start, "GET /late HTTP/1.1");
    upstream.ok("late").await;
    assert_eq!(late.message().await.header("connection").as_deref(), Some("close"));
    assert_eq!(silent.rest().await, b"", "the time for silence is over");
    begun.send("UT / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").await;
    upstream.message().await;
    upstream.ok("begun").await;
    let answer = begun.message().await;
    assert_eq!((answer.text(), answer.header("connection").as_deref()), ("begun", Some("close")));
    soon("the end", down).await.unwrap();
}

#[tokio::test]
async fn a_handshake_that_ends_in_time_is_followed_by_a_request() {
    let (mut bed, worker) = HttpsBed::and_worker().await;
    let arriving = TcpStream::connect(bed.https).await.unwrap();
    // An event stream tells when the shutdown has begun.
    let mut events = bed.client().await;
    events.get("/").await;
    let (_, mut upstream) = worker.request().await;
    upstream.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n").await;
    events.head().await;
    bed.until("both connections", |c| c.open_connections == 2).await;
    let down = shut_down(&mut bed.bed, LONG);
    assert_eq!(events.exactly(5).await, b"0\r\n\r\n");
    let mut client = Peer::new(bed.shake_hands(arriving).await);
    client.get("/last").await;
    worker.request().await.1.ok("last").await;
    let answer = client.message().await;
    assert_eq!((answer.text(), answer.header("connection").as_deref()), ("last", Some("close")));
    soon("the end", down).await.unwrap();
}

#[tokio::test]
async fn websockets_are_closed_with_1001_at_once() {
    let (mut bed, worker) = Bed::and_worker().await;
    let client = client_async("ws://a/", TcpStream::connect(bed.addr).await.unwrap());
    let server = async { accept_async(worker.accept().await.stream).await };
    let (client, server) = soon("the handshake", async { tokio::join!(client, server) }).await;
    let (client, server) = (client.unwrap().0, server.unwrap());
    bed.until("the tunnel", |c| c.open_tunnels == 1).await;
    let down = shut_down(&mut bed, LONG);
    let to_the_end = async |mut socket: WebSocketStream<TcpStream>| {
        assert!(socket.next().await.unwrap().unwrap().is_close());
        while let Some(Ok(_)) = socket.next().await {}
    };
    soon("both ends", async { tokio::join!(to_the_end(client), to_the_end(server)) }).await;
    soon("the end", down).await.unwrap();
}

/// With a successor that accepts already, nobody waits for the end of a stream.
#[tokio::test]
async fn streams_outlive_a_handover_until_somebody_is_in_a_hurry() {
    let (mut bed, worker) = Bed::and_worker().await;
    let mut events = bed.client().await;
    events.get("/").await;
    let (_, mut upstream) = worker.request().await;
    upstream.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n").await;
    upstream.send("Transfer-Encoding: chunked\r\n\r\n").await;
    events.head().await;
    let mut idle = bed.client().await;
    idle.get("/idle").await;
    worker.request().await.1.ok("").await;
    idle.message().await;

    let (hurry, hurried) = tokio::sync::oneshot::channel::<()>();
    let plane = bed.plane.take().unwrap();
    let down = tokio::spawn(plane.retire(LONG, async { drop(hurried.await) }));
    assert_eq!(idle.rest().await, b"", "it has begun");
    upstream.send("5\r\nlater\r\n").await;
    assert_eq!(events.exactly(10).await, b"5\r\nlater\r\n");
    drop(hurry);
    assert_eq!(events.rest().await, b"0\r\n\r\n");
    soon("the end", down).await.unwrap();
}

#[tokio::test]
async fn streams_end_completely_when_the_limit_of_a_handover_has_passed() {
    let (mut bed, worker) = Bed::and_worker().await;
    let mut events = bed.client().await;
    events.get("/").await;
    let (_, mut upstream) = worker.request().await;
    upstream.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n").await;
    events.head().await;
    let plane = bed.plane.take().unwrap();
    let down = tokio::spawn(plane.retire(Duration::from_millis(50), std::future::pending()));
    assert_eq!(events.rest().await, b"0\r\n\r\n");
    soon("the end", down).await.unwrap();
}

#[tokio::test]
async fn what_is_left_after_the_limit_is_broken_off() {
    let (mut bed, worker) = Bed::and_worker().await;
    let mut client = bed.client().await;
    client.get("/").await;
    let (_, mut upstream) = worker.request().await;
    soon("the end", shut_down(&mut bed, Duration::from_millis(50))).await.unwrap();
    assert_eq!(client.rest().await, b"");
    assert_eq!(upstream.rest().await, b"");
    worker.unclaimed().await;
}

/// The kernel's queue belongs to the socket, which outlives the process in systemd's hands.
#[tokio::test]
async fn connections_that_were_not_accepted_wait_for_the_successor() {
    use std::sync::Arc;

    use arc_swap::ArcSwap;
    use tqserver::access_log::AccessLog;
    use tqserver::proxy::table::{PublishedTable, RouteTable};
    use tqserver::proxy::{DataPlane, Listener};

    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let settings = Arc::new(ArcSwap::from_pointee(crate::bed::settings()));
    let start = || {
        let table = PublishedTable::new();
        table.publish(RouteTable::new([]));
        let listeners = vec![Listener::http(listener.try_clone().unwrap())];
        DataPlane::start(listeners, 2, table, Arc::clone(&settings), None, &AccessLog::off())
            .unwrap()
    };
    let plane = start();
    soon("the end", plane.shutdown(LONG)).await;
    let mut waiting = Peer::new(TcpStream::connect(addr).await.unwrap());
    waiting.get("/").await;
    let successor = start();
    assert_eq!(soon("the answer", waiting.message()).await.status(), 404);
    soon("the end", successor.shutdown(LONG)).await;
}
