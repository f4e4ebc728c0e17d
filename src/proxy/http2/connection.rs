//! A connection that speaks HTTP/2: it takes streams in, and ends in time.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use h2::server::{self, Builder, SendResponse};
use h2::{Reason, RecvStream};
use http::{Request, Response, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::spawn_local;
use tokio::time::Instant;

use super::request::{Fault, translate};
use super::stream::Stream;
use super::wire::{Activity, Wire};
use crate::config::settings::ListenerSettings;
use crate::proxy::client::Client;
use crate::proxy::connection::Connection;
use crate::proxy::core::LAST_REQUEST_GRACE;
use crate::proxy::deadlines::Deadline;

/// How many requests of one connection may be answered at once; further ones are refused with
/// REFUSED_STREAM, and a client may send them again.
const MAX_STREAMS: u32 = 128;

/// How much of one request's content may wait here for its worker, and of all of a connection's.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;

/// How much of one answer may wait here for the client; its worker is held back then.
const SEND_BUFFER: usize = 64 << 10;

/// Streams that were reset before they were looked at: beyond it the client is told to calm down.
/// They cost memory and no longer count as open (CVE-2023-44487).
const MAX_UNSEEN_RESETS: usize = 32;

/// Streams that had to be reset for errors of the client's (CVE-2025-8671): likewise.
const MAX_ERRORS: usize = 128;

/// Streams that are remembered after a reset of ours, as frames may be on their way that are of no
/// harm.
const MAX_REMEMBERED_RESETS: usize = 64;

/// How many requests a client may call off unanswered while these are more than half of all: each
/// costs a worker's connection (CVE-2023-44487, sent slowly).
const MAX_CALLED_OFF: u64 = 200;

/// After the last word, how long a client may take nothing and say nothing before it is left.
const LINGER: Duration = Duration::from_secs(2);

/// The streams of a connection that are being answered.
#[derive(Debug, Default)]
pub(super) struct Streams {
    open: Cell<usize>,
    answered: Cell<u64>,
    called_off: Cell<u64>,
    /// When the last of them ended, if none is open.
    none_since: Cell<Option<Instant>>,
    /// The connection's, which waits for that.
    waker: RefCell<Option<Waker>>,
}

impl Streams {
    /// One more.
    pub(super) fn opened(&self) {
        self.open.set(self.open.get() + 1);
    }

    /// One less, which the client may have called off.
    pub(super) fn closed(&self, is_called_off: bool) {
        self.count(is_called_off);
        self.open.set(self.open.get() - 1);
        if self.open.get() == 0 {
            self.none_since.set(Some(Instant::now()));
            if let Some(waker) = self.waker.take() {
                waker.wake();
            }
        }
    }

    fn count(&self, is_called_off: bool) {
        let count = if is_called_off { &self.called_off } else { &self.answered };
        count.set(count.get() + 1);
    }

    fn is_abused(&self) -> bool {
        let called_off = self.called_off.get();
        called_off >= MAX_CALLED_OFF && called_off > self.answered.get()
    }
}

/// Serves a client that speaks HTTP/2 over `stream`, of which `early` was read already.
pub(crate) async fn serve<S>(connection: Rc<Connection>, stream: S, early: Vec<u8>)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let core = Rc::clone(&connection.core);
    let limits = &connection.settings.listener;
    let deadline = Deadline::new(&core.deadlines);
    let (wire, activity) = Wire::new(stream, early, Rc::clone(&core));
    let begun_at = Instant::now();
    let handshake = builder(limits).handshake(wire);
    let patience = || core.closing.patience(begun_at, limits.read_timeout);
    let h2 = match deadline.until(patience, handshake).await {
        Some(Ok(h2)) => h2,
        Some(Err(error)) => {
            tracing::debug!(client = %connection.peer, "no HTTP/2: {error}");
            return;
        }
        None => return,
    };
    let mut life = Life {
        h2,
        connection,
        streams: Rc::default(),
        activity,
        deadline,
        begun_at,
        moved: (0, begun_at),
        phase: Phase::Open,
    };
    poll_fn(|cx| life.poll(cx)).await;
}

fn builder(limits: &ListenerSettings) -> Builder {
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(MAX_STREAMS)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(SEND_BUFFER)
        // It bounds the CONTINUATION frames of a head as well (CVE-2024-27316). At most 64 KiB.
        .max_header_list_size(u32::try_from(limits.max_header_bytes).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(MAX_UNSEEN_RESETS)
        .max_local_error_reset_streams(Some(MAX_ERRORS))
        .max_concurrent_reset_streams(MAX_REMEMBERED_RESETS)
        .enable_connect_protocol();
    builder
}

/// A connection's life after its first bytes.
struct Life<S> {
    h2: server::Connection<Wire<S>, Bytes>,
    connection: Rc<Connection>,
    streams: Rc<Streams>,
    activity: Rc<Activity>,
    deadline: Deadline,
    begun_at: Instant,
    /// What had moved at the last look, and since when it is so.
    moved: (u64, Instant),
    phase: Phase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// The client was told, then, that it is to open no more streams.
    Closing(Instant),
    /// It was told that nothing more is answered.
    Ended,
}

impl<S: AsyncRead + AsyncWrite + Unpin + 'static> Life<S> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match self.h2.poll_accept(cx) {
                Poll::Ready(Some(Ok((request, respond)))) => {
                    self.accept(cx, request, respond);
                    continue;
                }
                Poll::Ready(Some(Err(error))) => {
                    tracing::debug!(client = %self.connection.peer, "HTTP/2 ended: {error}");
                    return Poll::Ready(());
                }
                Poll::Ready(None) => return Poll::Ready(()),
                Poll::Pending => {}
            }
            if self.phase != Phase::Ended && self.streams.is_abused() {
                tracing::debug!(client = %self.connection.peer, "too many requests are called off");
                self.end(Reason::ENHANCE_YOUR_CALM);
                continue;
            }
            if self.phase == Phase::Open && self.connection.core.closing.connections.is_said() {
                self.close();
                continue;
            }
            *self.streams.waker.borrow_mut() = Some(cx.waker().clone());
            let moved = self.activity.moved.get();
            if self.moved.0 != moved {
                self.moved = (moved, Instant::now());
            }
            let due = self.due();
            if self.deadline.poll(cx, due).is_pending() {
                return Poll::Pending;
            }
            match self.phase {
                _ if self.is_stuck() => return Poll::Ready(()),
                Phase::Open => self.close(),
                Phase::Closing(_) => self.end(Reason::NO_ERROR),
                Phase::Ended => return Poll::Ready(()),
            }
        }
    }

    /// Whether nothing is left to do but that the client takes what it was sent.
    fn is_stuck(&self) -> bool {
        let is_unsent = self.streams.open.get() == 0 && self.h2.has_streams();
        self.activity.is_ending.get() || self.phase == Phase::Ended || is_unsent
    }

    /// When it is time for something else. Streams have deadlines of their own.
    fn due(&self) -> Option<Instant> {
        let limits = &self.connection.settings.listener;
        let (_, moved_at) = self.moved;
        if self.activity.is_ending.get() || self.phase == Phase::Ended {
            return Some(moved_at + LINGER);
        }
        if self.streams.open.get() > 0 {
            return None;
        }
        let none_since = self.streams.none_since.get();
        if self.h2.has_streams() {
            return Some(moved_at.max(none_since.unwrap_or(moved_at)) + limits.write_timeout);
        }
        match (self.phase, none_since) {
            (Phase::Closing(at), _) => Some(at.max(none_since.unwrap_or(at)) + LAST_REQUEST_GRACE),
            // As in HTTP/1.1, the first request is to come sooner than the next.
            (_, None) => Some(self.begun_at + limits.read_timeout),
            (_, Some(since)) => Some(since + limits.idle_timeout),
        }
    }

    /// Tells the client to open no more streams; those that are on their way are answered.
    fn close(&mut self) {
        self.phase = Phase::Closing(Instant::now());
        self.h2.graceful_shutdown();
    }

    /// Tells the client that nothing more is answered.
    fn end(&mut self, reason: Reason) {
        self.phase = Phase::Ended;
        self.moved.1 = Instant::now();
        self.h2.abrupt_shutdown(reason);
    }

    /// Answers a request in a task of its own.
    fn accept(
        &self,
        cx: &mut Context<'_>,
        request: Request<RecvStream>,
        mut respond: SendResponse<Bytes>,
    ) {
        // It may have been called off while it waited.
        if respond.poll_reset(cx).is_ready() {
            return self.streams.count(true);
        }
        let core = &self.connection.core;
        let (head, receive) = request.into_parts();
        match translate(&head, receive.is_end_stream()) {
            Ok(translated) => {
                let streams = Rc::clone(&self.streams);
                let stream = Stream::new(translated, receive, respond, streams);
                let connection = Rc::clone(&self.connection);
                spawn_local(async move {
                    let mut client = Client::new(stream, &connection.core);
                    if let Some(upgraded) = connection.run(&mut client).await {
                        upgraded.run(&connection.core, client).await;
                    }
                });
            }
            Err(Fault::Malformed(what)) => {
                tracing::debug!(client = %self.connection.peer, "refused: {what}");
                respond.send_reset(Reason::PROTOCOL_ERROR);
                self.streams.count(true);
            }
            Err(Fault::UnknownProtocol) => {
                core.counters.requests.add(1);
                core.counters.responded(501);
                let mut response = Response::new(());
                *response.status_mut() = StatusCode::NOT_IMPLEMENTED;
                // A failure means that the client is gone.
                respond.send_response(response, true).ok();
                self.streams.count(false);
            }
        }
    }
}
