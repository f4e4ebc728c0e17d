use std::path::PathBuf;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use arc_swap::ArcSwap;
use proptest::prelude::*;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::*;
use crate::access_log::AccessLog;
use crate::config::settings::{Coding, CompressionLevels, ListenerSettings, StaticSettings};
use crate::proxy::ProxySettings;
use crate::proxy::compression::{Encoders, decode};
use crate::proxy::core::{Closing, Core, OpenConnections};
use crate::proxy::date::Date;
use crate::proxy::pool::Pool;
use crate::proxy::splice::Pipes;
use crate::proxy::static_files::Cache;
use crate::proxy::table::PublishedTable;

const HEAD: &[u8] = b"the head\r\n\r\n";
/// What is gone already, and left a gap.
const OLD: &[u8] = b"the message before";
/// What follows a body, and is not of it.
const NEXT: &[u8] = b"the next message";

/// Gives and takes pieces of the sizes in `pieces`, over and over; 0 is a pause.
struct Rough {
    input: Vec<u8>,
    given: usize,
    output: Vec<u8>,
    pieces: Vec<usize>,
    turn: usize,
}

impl Rough {
    fn new(input: Vec<u8>, pieces: &[usize]) -> Self {
        Self { input, given: 0, output: vec![], pieces: pieces.to_vec(), turn: 0 }
    }

    fn piece(&mut self) -> Option<usize> {
        self.turn += 1;
        Some(self.pieces[self.turn % self.pieces.len()]).filter(|piece| *piece > 0)
    }
}

impl AsyncRead for Rough {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        assert!(room.remaining() > 0, "no room would look like the end");
        let Some(piece) = self.piece() else { return Poll::Pending };
        let end = self.input.len().min(self.given + piece.min(room.remaining()));
        room.put_slice(&self.input[self.given..end]);
        self.given = end;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Rough {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        assert!(parts.iter().any(|part| !part.is_empty()), "nothing is written for nothing");
        let Some(piece) = self.piece() else { return Poll::Pending };
        let before = self.output.len();
        for part in parts {
            let left = piece - (self.output.len() - before);
            self.output.extend_from_slice(&part[..left.min(part.len())]);
        }
        Poll::Ready(Ok(self.output.len() - before))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Socket for Rough {
    fn poll_readable(&self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn reset_when_closed(&self) {}
}

fn core() -> Rc<Core> {
    let settings = ProxySettings {
        listener: ListenerSettings {
            port: 0,
            read_timeout: Duration::MAX,
            write_timeout: Duration::MAX,
            idle_timeout: Duration::MAX,
            max_header_bytes: 1 << 10,
            max_body_bytes: 0,
            max_connections: 1,
            trusted_proxies: vec![],
            proxy_protocol: vec![],
            http2_cleartext: false,
        },
        static_files: StaticSettings {
            enabled: false,
            url_prefix: "/static".parse().unwrap(),
            cache_max_age: Duration::ZERO,
            dev_root: PathBuf::new(),
        },
        hold: Duration::ZERO,
        hold_max_requests: 0,
        hold_max_bytes: 1 << 20,
        redirect_port: None,
        hsts_max_age: Duration::ZERO,
    };
    Rc::new(Core {
        table: PublishedTable::new(),
        settings: Arc::new(ArcSwap::from_pointee(settings)),
        thread: 0,
        counters: Arc::default(),
        held: Arc::default(),
        connections: Arc::default(),
        pool: Pool::default(),
        sock_diag: None,
        buffers: Buffers::default(),
        pipes: Pipes::default(),
        encoders: Rc::default(),
        files: Cache::default(),
        deadlines: Rc::default(),
        date: Date::default(),
        closing: Closing::default(),
        open: OpenConnections::default(),
        live: None,
        access_log: AccessLog::off().pen(),
    })
}

/// A body, and how it is to be passed on.
#[derive(Debug, Clone)]
struct Body {
    length: BodyLength,
    content: Vec<u8>,
    /// On the wire.
    bytes: Vec<u8>,
    /// Whether it goes on in chunks.
    chunks: bool,
    tail: &'static [u8],
}

fn bodies() -> impl Strategy<Value = Body> {
    let sizes = prop_oneof![1..40usize, 4090..4100usize, 1..70_000usize];
    let tails = prop_oneof![Just(&b""[..]), Just(&b"a tail"[..])];
    let parts = prop::collection::vec(sizes, 0..6);
    (parts, 0..3, any::<bool>(), tails).prop_map(|(sizes, kind, chunks, tail)| {
        // Of a length that no buffer has, so that bytes tell their place.
        let pattern = b"Every byte tells its place. ".repeat(2600);
        let parts: Vec<Vec<u8>> =
            sizes.iter().enumerate().map(|(at, size)| pattern[at..at + size].to_vec()).collect();
        let content = parts.concat();
        let (length, bytes) = match kind {
            0 => (BodyLength::Sized(content.len() as u64), content.clone()),
            1 => (BodyLength::UntilClose, content.clone()),
            _ => {
                let chunks = parts.iter().map(|part| {
                    [format!("{:x};x\r\n", part.len()).as_bytes(), part, b"\r\n"].concat()
                });
                let mut bytes = chunks.collect::<Vec<_>>().concat();
                bytes.extend_from_slice(b"0\r\nX: 1\r\n\r\n");
                (BodyLength::Chunked, bytes)
            }
        };
        // A known length is kept.
        let chunks = chunks && kind != 0;
        Body { length, content, bytes, chunks, tail }
    })
}

fn pieces() -> impl Strategy<Value = Vec<usize>> {
    let piece =
        prop_oneof![2 => Just(0), 3 => 1..30usize, 3 => 1..5_000usize, 2 => 1..100_000usize];
    prop::collection::vec(piece, 1..20).prop_filter("it gets on", |all| all.iter().any(|n| *n > 9))
}

/// Both legs, with a head kept in the first one's inbox.
struct Way {
    from: Leg<Rough>,
    to: Leg<Rough>,
}

impl Way {
    fn new(input: &[u8], give: &[usize], take: &[usize]) -> Self {
        let core = core();
        let input = [OLD, input].concat();
        let mut from = Leg::worker(Rough::new(input, give), Rc::clone(&core));
        let mut cx = Context::from_waker(Waker::noop());
        while from.inbox.unread().len() < OLD.len() {
            let _ = from.poll_fill(&mut cx);
        }
        from.inbox.consume(OLD.len());
        Self { from, to: Leg::client(Rough::new(vec![], take), core) }
    }

    fn poll(&mut self, pump: &mut Pump) -> Poll<Result<(), PumpError>> {
        pump.poll(&mut Context::from_waker(Waker::noop()), &mut self.from, &mut self.to)
    }

    fn run(&mut self, pump: &mut Pump) -> Result<(), PumpError> {
        loop {
            if let Poll::Ready(end) = self.poll(pump) {
                return end;
            }
            let stall = pump.stall();
            assert!(stall.is_some(), "it waits for something");
        }
    }

    /// What was passed on behind the head, and whether it has an end.
    fn passed(&self, chunks: bool) -> (Vec<u8>, bool) {
        let output = &self.to.socket.output;
        let Some(body) = output.strip_prefix(HEAD) else {
            assert!(HEAD.starts_with(output), "the head comes first");
            return (vec![], false);
        };
        if chunks { unchunked(body) } else { (body.to_vec(), true) }
    }

    /// What is left for whoever comes next.
    fn left(&self) -> Vec<u8> {
        [self.from.inbox.unread(), &self.from.socket.input[self.from.socket.given..]].concat()
    }
}

/// The content of chunks, as simply as can be, and whether their end is there and nothing behind it.
fn unchunked(mut bytes: &[u8]) -> (Vec<u8>, bool) {
    let mut content = vec![];
    while let Some(line) = bytes.windows(2).position(|end| end == b"\r\n") {
        let size = std::str::from_utf8(&bytes[..line]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        let rest = &bytes[line + 2..];
        content.extend_from_slice(&rest[..size.min(rest.len())]);
        if size == 0 {
            assert!(b"\r\n".starts_with(rest), "{rest:?} is behind the end");
            return (content, rest == b"\r\n");
        }
        let Some(after) = rest.get(size..).filter(|after| after.len() >= 2) else {
            return (content, false);
        };
        assert_eq!(&after[..2], b"\r\n");
        bytes = &after[2..];
    }
    (content, false)
}

fn download(body: &Body) -> Pump {
    let mut pump = Pump::new(&Buffers::default());
    pump.ours().extend_from_slice(HEAD);
    pump.begin_body(body.length, body.chunks, Bytes::from_static(body.tail));
    pump
}

/// The same through an encoder.
fn compressed(body: &Body, coding: Coding) -> Pump {
    let levels = CompressionLevels { br: 4, zstd: 3, gzip: 6 };
    let content = (body.content.len() + body.tail.len()) as u64;
    let length = matches!(body.length, BodyLength::Sized(_)).then_some(content);
    let compressor = Rc::new(Encoders::default()).compressor(coding, levels, length);
    let mut pump = download(&Body { chunks: true, ..body.clone() });
    pump.compress(compressor.unwrap());
    pump
}

fn codings() -> impl Strategy<Value = Coding> {
    prop::sample::select(&Coding::ALL[..])
}

#[test]
fn others_have_their_turn_while_much_is_compressed() {
    let content = b"It goes on and on. ".repeat(50_000);
    let length = BodyLength::Sized(content.len() as u64);
    let body = Body { length, bytes: content.clone(), content, chunks: false, tail: b"" };
    // Neither side ever makes it wait.
    let mut way = Way::new(&body.bytes, &[usize::MAX], &[usize::MAX]);
    let mut pump = compressed(&body, Coding::Zstd);
    let turns = std::iter::repeat_with(|| way.poll(&mut pump)).take_while(Poll::is_pending).count();
    assert!((5..50).contains(&turns), "{turns} turns for {} bytes", body.content.len());
    assert!(pump.is_done() && pump.stall().is_none());
}

/// The input with what follows it, where the body has an end of its own.
fn input(body: &Body) -> (Vec<u8>, &'static [u8]) {
    let next = if body.length == BodyLength::UntilClose { b"" } else { NEXT };
    ([&body.bytes, next].concat(), next)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_body_arrives_as_it_was_and_what_follows_stays(
        body in bodies(), give in pieces(), take in pieces(),
    ) {
        let (input, next) = input(&body);
        let mut way = Way::new(&input, &give, &take);
        let mut pump = download(&body);
        prop_assert!(way.run(&mut pump).is_ok() && pump.is_done());
        let expected = [&body.content, body.tail].concat();
        prop_assert!(way.passed(body.chunks) == (expected, true));
        prop_assert_eq!(way.left(), next);
    }

    #[test]
    fn no_more_than_allowed_goes_on(
        body in bodies(), give in pieces(), take in pieces(), allowance in 0..100_000u64,
    ) {
        prop_assume!(body.length != BodyLength::UntilClose);
        let chunks = body.length == BodyLength::Chunked;
        let mut way = Way::new(&input(&body).0, &give, &take);
        let mut pump = Pump::request(HEAD.to_vec(), body.length, allowance);
        let end = way.run(&mut pump);
        let (passed, has_end) = way.passed(chunks);
        if body.content.len() as u64 <= allowance {
            prop_assert!(end.is_ok() && has_end && passed == body.content);
            prop_assert_eq!(way.left(), NEXT);
        } else {
            prop_assert!(matches!(end, Err(PumpError::TooLarge)) && !(chunks && has_end));
            prop_assert!(passed.len() as u64 <= allowance && body.content.starts_with(&passed));
        }
    }

    #[test]
    fn what_breaks_off_has_no_end(
        body in bodies(), give in pieces(), take in pieces(), cut in any::<prop::sample::Index>(),
    ) {
        prop_assume!(body.length != BodyLength::UntilClose && !body.bytes.is_empty());
        let mut way = Way::new(&body.bytes[..cut.index(body.bytes.len())], &give, &take);
        let end = way.run(&mut download(&body));
        prop_assert!(matches!(end, Err(PumpError::Truncated)), "{:?}", end);
        let (passed, has_end) = way.passed(body.chunks);
        prop_assert!(body.content.starts_with(&passed) && !(body.chunks && has_end));
    }

    #[test]
    fn an_early_end_is_an_end(
        body in bodies(), give in pieces(), take in pieces(), polls in 0..30usize,
    ) {
        let mut way = Way::new(&input(&body).0, &give, &take);
        let mut pump = download(&body);
        if (0..polls).any(|_| way.poll(&mut pump).is_ready()) {
            return Ok(());
        }
        pump.end_early();
        prop_assert!(way.run(&mut pump).is_ok());
        let (passed, has_end) = way.passed(body.chunks);
        prop_assert!([&body.content, body.tail].concat().starts_with(&passed) && has_end);
    }

    #[test]
    fn what_is_compressed_can_be_read(
        body in bodies(), give in pieces(), take in pieces(), coding in codings(),
    ) {
        // Of nothing nothing is compressed.
        prop_assume!(!body.length.is_empty());
        let (input, next) = input(&body);
        let mut way = Way::new(&input, &give, &take);
        let mut pump = compressed(&body, coding);
        while !matches!(way.poll(&mut pump), Poll::Ready(end) if { prop_assert!(end.is_ok()); true }) {}
        let (passed, has_end) = way.passed(true);
        let expected = [&body.content, body.tail].concat();
        prop_assert!(has_end && decode(coding, &passed) == (expected, true));
        prop_assert_eq!(way.left(), next);
    }

    /// Neither that of the chunks nor that of the coding.
    #[test]
    fn what_breaks_off_while_it_is_compressed_has_no_end(
        body in bodies(), give in pieces(), take in pieces(), coding in codings(),
        cut in any::<prop::sample::Index>(),
    ) {
        prop_assume!(body.length != BodyLength::UntilClose && !body.bytes.is_empty());
        let mut way = Way::new(&body.bytes[..cut.index(body.bytes.len())], &give, &take);
        let mut pump = compressed(&body, coding);
        let end = loop {
            if let Poll::Ready(end) = way.poll(&mut pump) {
                break end;
            }
        };
        prop_assert!(matches!(end, Err(PumpError::Truncated)), "{:?}", end);
        let (passed, has_end) = way.passed(true);
        let (content, is_whole) = decode(coding, &passed);
        prop_assert!(body.content.starts_with(&content) && !has_end && !is_whole);
    }
}

/// A connection of which each side keeps few bytes for the other: the one that connected, the accepted.
async fn narrow_connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_send_buffer_size(4 << 10).unwrap();
    socket.set_recv_buffer_size(4 << 10).unwrap();
    let connected = socket.connect(listener.local_addr().unwrap()).await.unwrap();
    (connected, listener.accept().await.unwrap().0)
}

/// The client takes only as much as lets the pump go on, so that the pipe still holds some of the body
/// when the worker's last byte is in it.
#[tokio::test]
async fn what_a_pipe_still_holds_when_all_was_read_is_passed_on() {
    let (worker, mut far) = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let worker = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (worker, listener.accept().await.unwrap().0)
    };
    let (client, mut reader) = narrow_connection().await;
    let core = core();
    let mut from = Leg::worker(worker, Rc::clone(&core));
    let mut to = Leg::client(client, Rc::clone(&core));
    let content = b"Every byte tells its place. ".repeat(10_000);
    let length = BodyLength::Sized(content.len() as u64);
    let sent = content.clone();
    tokio::spawn(async move { far.write_all(&sent).await.map(|()| far) });

    let body = Body { length, bytes: vec![], content, chunks: false, tail: b"" };
    let mut pump = download(&body);
    let mut passed = vec![];
    loop {
        let mut piece = [0; 1000];
        tokio::select! {
            biased;
            end = std::future::poll_fn(|cx| pump.poll(cx, &mut from, &mut to)) => break end.unwrap(),
            n = reader.read(&mut piece) => passed.extend_from_slice(&piece[..n.unwrap()]),
        }
    }
    drop(to);
    reader.read_to_end(&mut passed).await.unwrap();
    assert_eq!(passed.len(), HEAD.len() + body.content.len());
    assert!(passed.ends_with(&body.content));
    assert!(core.pipes.borrow().is_some_and(|pipe| pipe.held() == 0));
}
