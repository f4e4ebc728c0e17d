//! A client's side of its connection: hearing requests, saying answers, and the time for both.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use super::core::{Closing, Core};
use super::deadlines::Deadline;
use super::http2;
use super::socket::{Leg, Socket};
use crate::config::settings::ListenerSettings;
use crate::http1::{BodyLength, FieldSpace, Malformed, RequestHead};

/// A client's connection.
pub(crate) struct Client<S> {
    pub(crate) leg: Leg<S>,
    /// The head of the request that is being answered, to be looked at again.
    head: Vec<u8>,
    /// For whatever the connection waits for.
    pub(crate) deadline: Deadline,
    /// Since when a request is awaited.
    awaited_since: Instant,
    /// Whether none has come yet.
    is_fresh: bool,
}

/// What a client said.
pub(crate) enum Heard {
    /// A request, which was shown.
    Request,
    /// No request.
    Malformed(Malformed),
    /// A head that is larger than allowed.
    TooLarge,
    /// A head that was begun and not ended in time.
    Late,
    /// Nothing, and nothing is to be expected.
    Nothing,
}

impl<S: Socket> Client<S> {
    /// A connection that was accepted now.
    pub(crate) fn new(socket: S, core: &Rc<Core>) -> Self {
        let deadline = Deadline::new(&core.deadlines);
        let leg = Leg::client(socket, Rc::clone(core));
        Self { leg, head: vec![], deadline, awaited_since: Instant::now(), is_fresh: true }
    }

    /// Whether the connection begins as one of HTTP/2 does. What was read waits.
    pub(crate) async fn begins_http2(
        &mut self,
        limits: &ListenerSettings,
        closing: &Closing,
    ) -> bool {
        poll_fn(|cx| {
            loop {
                if let Some(is_http2) = http2::is_preface(self.leg.inbox.unread()) {
                    return Poll::Ready(is_http2);
                }
                match self.leg.poll_fill(cx) {
                    Poll::Ready(Ok(n)) if n > 0 => {}
                    // Whoever reads on meets the end again.
                    Poll::Ready(_) => return Poll::Ready(false),
                    Poll::Pending => break,
                }
            }
            let at = match self.leg.inbox.unread() {
                [] => closing.patience(self.awaited_since, limits.read_timeout),
                _ => self.awaited_since + limits.read_timeout,
            };
            self.deadline.poll(cx, Some(at)).map(|()| false)
        })
        .await
    }

    /// Awaits a request's head, and shows it to `show`.
    pub(crate) async fn request(
        &mut self,
        limits: &ListenerSettings,
        closing: &Closing,
        mut show: impl FnMut(&RequestHead<'_, '_>),
    ) -> Heard {
        self.forget();
        let mut looked_at = 0;
        let mut begun_at = None;
        let heard = poll_fn(|cx| {
            loop {
                let unread = self.leg.inbox.unread();
                // A head ends with a line: until there is another, there is nothing to see. One that
                // trickles in is not looked at with every byte.
                if looked_at == 0 && !unread.is_empty()
                    || memchr::memchr(b'\n', &unread[looked_at..]).is_some()
                {
                    looked_at = unread.len();
                    match RequestHead::parse(unread, &mut FieldSpace::new()) {
                        Ok(Some(head)) if head.len <= limits.max_header_bytes => {
                            show(&head);
                            let len = head.len;
                            self.head = self.leg.buffers().text();
                            self.head.extend_from_slice(&unread[..len]);
                            self.leg.inbox.consume(len);
                            self.leg.rest();
                            return Poll::Ready(Heard::Request);
                        }
                        Ok(Some(_)) => return Poll::Ready(Heard::TooLarge),
                        Ok(None) => {}
                        Err(error) => return Poll::Ready(Heard::Malformed(error)),
                    }
                }
                if unread.len() > limits.max_header_bytes {
                    return Poll::Ready(Heard::TooLarge);
                }
                if self.leg.inbox.is_full() {
                    self.leg.inbox.grow(limits.max_header_bytes + 1);
                }
                match self.leg.poll_fill(cx) {
                    Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Heard::Nothing),
                    Poll::Ready(Ok(_)) => {}
                    Poll::Pending => break,
                }
            }
            let begun = !self.leg.inbox.unread().is_empty();
            let at = match (begun, self.is_fresh) {
                (true, true) => self.awaited_since + limits.read_timeout,
                (true, false) => *begun_at.get_or_insert_with(Instant::now) + limits.read_timeout,
                (false, true) => closing.patience(self.awaited_since, limits.read_timeout),
                (false, false) => closing.patience(self.awaited_since, limits.idle_timeout),
            };
            let late = if begun { Heard::Late } else { Heard::Nothing };
            self.deadline.poll(cx, Some(at)).map(|()| late)
        })
        .await;
        self.is_fresh = false;
        heard
    }

    /// The head of the request that was shown last, as it was sent.
    pub(crate) fn head(&self) -> &[u8] {
        &self.head
    }

    /// Holds no memory while nothing is to be read.
    pub(crate) fn forget(&mut self) {
        self.leg.rest();
        let head = std::mem::take(&mut self.head);
        if head.capacity() > 0 {
            self.leg.buffers().give_back_text(head);
        }
    }

    /// The answer is through: the next request is awaited from now on.
    pub(crate) fn answered(&mut self, now: Instant) {
        self.awaited_since = now;
    }

    /// The outcome of `future`, or `None` when the client hangs up before. What it sends meanwhile
    /// waits.
    pub(crate) async fn unless_gone<F: Future>(&mut self, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
            Poll::Pending => self.leg.poll_hung_up(cx).map(|()| None),
        })
        .await
    }

    /// Takes a request's body that nobody will read, if all of it is here. Else the connection is of no
    /// more use.
    pub(crate) fn skip_body(&mut self, length: BodyLength) -> bool {
        let BodyLength::Sized(length) = length else { return false };
        let here = usize::try_from(length).ok();
        let Some(n) = here.filter(|n| *n <= self.leg.inbox.unread().len()) else { return false };
        self.leg.inbox.consume(n);
        true
    }

    /// Writes all of `head` and `content`, together if the kernel has room, with no pause longer than
    /// `limit`.
    pub(crate) async fn write_all(
        &mut self,
        mut head: &[u8],
        mut content: &[u8],
        limit: Duration,
    ) -> io::Result<()> {
        while !(head.is_empty() && content.is_empty()) {
            let parts = [IoSlice::new(head), IoSlice::new(content)];
            let parts = match (head.is_empty(), content.is_empty()) {
                (true, _) => &parts[1..],
                (_, true) => &parts[..1],
                _ => &parts[..],
            };
            let n = self.unless_stuck(limit, |leg, cx| leg.poll_write(cx, parts)).await?;
            let of_head = n.min(head.len());
            head = &head[of_head..];
            content = &content[n - of_head..];
        }
        // TLS may hold some of it.
        self.unless_stuck(limit, |leg, cx| leg.poll_flush(cx)).await
    }

    /// What `write` comes to, if the client takes something within `limit`.
    pub(crate) async fn unless_stuck<T>(
        &mut self,
        limit: Duration,
        mut write: impl FnMut(&mut Leg<S>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> io::Result<T> {
        let mut blocked_since = None;
        poll_fn(|cx| {
            if let Poll::Ready(outcome) = write(&mut self.leg, cx) {
                return Poll::Ready(outcome);
            }
            let since = *blocked_since.get_or_insert_with(Instant::now);
            let elapsed = self.deadline.poll(cx, Some(since + limit));
            elapsed.map(|()| Err(io::ErrorKind::TimedOut.into()))
        })
        .await
    }

    /// Says that nothing follows, for as long as `limit` at most.
    pub(crate) async fn farewell(&mut self, limit: Duration) {
        let farewell = poll_fn(|cx| self.leg.socket.poll_farewell(cx));
        self.deadline.limit(limit, farewell).await;
    }
}
