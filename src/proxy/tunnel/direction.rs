//! One way through a tunnel.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use super::super::socket::{Leg, Socket};
use super::super::splice::Pipe;
use super::super::websocket::{FrameTracker, MAX_HEADER};

/// Where so much came at once, or is left of a frame, it goes on without a copy. Below, a copy costs
/// less than the pipe.
const BULK_BYTES: usize = 32 << 10;

/// No more is taken into a pipe at once, in bytes.
const MAX_SPLICED: u64 = 1 << 20;

/// What one side sends, on its way to the other. In their order: what is in the pipe, then the inbox.
pub(super) struct Direction {
    /// For WebSocket: where frames end.
    tracker: Option<FrameTracker>,
    /// The tunnel is to end: a WebSocket gets the `close` frame after the frame that is under way,
    /// and what still comes, the other side's close, is dropped.
    is_closing: bool,
    close: Vec<u8>,
    /// How much of the inbox the tracker has seen.
    tracked: usize,
    /// Whether much came at once the last time, so that as much may follow.
    is_bulk: bool,
    /// Bytes that go on without a copy. The tracker has seen them.
    pipe: Option<Pipe>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Copying,
    /// So many bytes of the close frame are written.
    Closing(usize),
    /// The close frame is written, and the rest is dropped.
    Draining,
    /// The source has ended.
    Ending,
    Ended,
}

impl Direction {
    /// Of a WebSocket or of a protocol that nobody here knows; `close` is the frame that ends the
    /// former.
    pub(super) fn new(is_websocket: bool, close: Vec<u8>) -> Self {
        Self {
            tracker: is_websocket.then(FrameTracker::default),
            is_closing: false,
            close,
            tracked: 0,
            is_bulk: false,
            pipe: None,
            state: State::Copying,
        }
    }

    /// Has it end where it can.
    pub(super) fn close(&mut self) {
        self.is_closing = true;
    }

    /// Whether it is to end.
    pub(super) fn is_closing(&self) -> bool {
        self.is_closing
    }

    /// Copies on; ready when all that was to go on has.
    pub(super) fn poll<R: Socket, W: Socket>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Leg<R>,
        to: &mut Leg<W>,
    ) -> Poll<io::Result<()>> {
        loop {
            match self.state {
                State::Copying => ready!(self.poll_copy(cx, from, to))?,
                State::Closing(written) if written == self.close.len() => {
                    self.state = State::Draining;
                }
                State::Closing(written) => {
                    let rest = [IoSlice::new(&self.close[written..])];
                    let n = ready!(to.poll_write(cx, &rest))?;
                    self.state = State::Closing(written + n);
                }
                State::Draining => {
                    from.inbox.consume(from.inbox.unread().len());
                    ready!(to.poll_flush(cx))?;
                    if ready!(from.poll_fill(cx))? == 0 {
                        self.state = State::Ending;
                    }
                }
                State::Ending => {
                    ready!(Pin::new(&mut to.socket).poll_shutdown(cx))?;
                    self.state = State::Ended;
                }
                State::Ended => return Poll::Ready(Ok(())),
            }
        }
    }

    /// Copies until there is nothing to copy, the source ends, or the tunnel is to end.
    fn poll_copy<R: Socket, W: Socket>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Leg<R>,
        to: &mut Leg<W>,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(self.poll_drain_pipe(cx, from, to))?;
            let unread = from.inbox.unread();
            let mut goes_on = unread.len();
            if let Some(tracker) = &mut self.tracker {
                goes_on = self.tracked;
                let new = &unread[self.tracked..];
                if !self.is_closing {
                    tracker.feed(new);
                    goes_on = unread.len();
                } else if !tracker.at_boundary() {
                    goes_on += tracker.feed_to_boundary(new).unwrap_or(new.len());
                }
                self.tracked = goes_on;
            }
            if goes_on > 0 {
                let n = ready!(to.poll_write(cx, &[IoSlice::new(&unread[..goes_on])]))?;
                from.inbox.consume(n);
                self.tracked = self.tracked.saturating_sub(n);
                continue;
            }
            if self.is_closing {
                match &self.tracker {
                    None => {
                        self.state = State::Ending;
                        return Poll::Ready(Ok(()));
                    }
                    Some(tracker) if tracker.at_boundary() => {
                        self.state = State::Closing(0);
                        return Poll::Ready(Ok(()));
                    }
                    Some(_) => {}
                }
            }
            from.rest();
            ready!(to.poll_flush(cx))?;
            if ready!(self.poll_fill(cx, from, to))? == 0 {
                self.state = State::Ending;
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Takes what there is into the pipe or the inbox, which are empty, and says how much that was; 0
    /// at the end.
    fn poll_fill<R: Socket, W: Socket>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Leg<R>,
        to: &Leg<W>,
    ) -> Poll<io::Result<usize>> {
        if self.is_bulk {
            let n = ready!(self.poll_fill_pipe(cx, from, to))?;
            if n > 0 {
                return Poll::Ready(Ok(n));
            }
        }
        let n = ready!(from.poll_fill(cx))?;
        self.is_bulk = n >= BULK_BYTES;
        Poll::Ready(Ok(n))
    }

    /// Takes what there is into a pipe, of a WebSocket no more than the rest of one frame, and says how
    /// much that was; 0 where it has to go through the inbox.
    fn poll_fill_pipe<R: Socket, W: Socket>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Leg<R>,
        to: &Leg<W>,
    ) -> Poll<io::Result<usize>> {
        let mut header = [0; MAX_HEADER];
        let mut seen = 0;
        let mut left = u64::MAX;
        if let Some(tracker) = &self.tracker {
            seen = ready!(from.poll_peek(cx, &mut header))?;
            left = tracker.frame_left(&header[..seen]).unwrap_or(0);
        }
        let bulk = left >= BULK_BYTES as u64;
        let Some(mut pipe) = bulk.then(|| from.pipe_to(to)).flatten() else {
            return Poll::Ready(Ok(0));
        };
        let max = left.min(MAX_SPLICED) as usize;
        // An idle tunnel holds no pipe.
        let Poll::Ready(n) = from.poll_fill_pipe(cx, &mut pipe, max)? else {
            from.give_back_pipe(pipe);
            return Poll::Pending;
        };
        match &mut self.tracker {
            Some(tracker) => {
                let seen = seen.min(n);
                tracker.feed(&header[..seen]);
                tracker.skip((n - seen) as u64);
            }
            None => self.is_bulk = n >= BULK_BYTES,
        }
        self.pipe = Some(pipe);
        Poll::Ready(Ok(n))
    }

    /// Ready when the pipe is empty.
    fn poll_drain_pipe<R: Socket, W: Socket>(
        &mut self,
        cx: &mut Context<'_>,
        from: &Leg<R>,
        to: &mut Leg<W>,
    ) -> Poll<io::Result<()>> {
        let Some(pipe) = &mut self.pipe else { return Poll::Ready(Ok(())) };
        while pipe.held() > 0 {
            ready!(to.poll_drain_pipe(cx, pipe))?;
        }
        if let Some(pipe) = self.pipe.take() {
            from.give_back_pipe(pipe);
        }
        Poll::Ready(Ok(()))
    }
}
