//! Switched protocols (RFC 9110 section 7.8): what was asked for and granted is copied both ways
//! until both sides have ended, or the target or the process wants it to end.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::sleep;

use super::answer::Switched;
use super::core::Core;
use super::exchange::Upstream;
use super::socket::{Leg, Socket};
use super::target::Claim;
use super::websocket::{CLOSE_TO_CLIENT, FrameTracker, close_to_server};

/// How long both sides may take to answer a close frame.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);

/// The worker's end of a tunnel that is about to begin.
pub(crate) struct Tunnel {
    worker: Upstream,
    claim: Claim,
    is_websocket: bool,
}

impl Tunnel {
    /// To a worker that has switched.
    pub(crate) fn new(worker: Upstream, claim: Claim, switched: Option<Switched>) -> Self {
        Self { worker, claim, is_websocket: switched == Some(Switched::WebSocket) }
    }

    /// Copies until the end. What either side sent before it knew of the switch is in its inbox.
    pub(crate) async fn run<S: Socket>(self, core: &Core, mut client: Leg<S>) {
        let Self { mut worker, claim, is_websocket } = self;
        let mut end = pin!(core.closing.stream_is_cut(claim.target()));
        let mut up = Direction::new(is_websocket, close_to_server().to_vec());
        let mut down = Direction::new(is_websocket, CLOSE_TO_CLIENT.to_vec());
        let copy = poll_fn(|cx| {
            if !up.is_closing && end.as_mut().poll(cx).is_ready() {
                up.is_closing = true;
                down.is_closing = true;
            }
            let upwards = up.poll(cx, &mut client, &mut worker);
            let downwards = down.poll(cx, &mut worker, &mut client);
            match (upwards, downwards) {
                // Either side's failure is the other's end: nothing to tell beyond that.
                (Poll::Ready(Err(_)), _) | (_, Poll::Ready(Err(_))) => Poll::Ready(()),
                (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => Poll::Ready(()),
                _ => Poll::Pending,
            }
        });
        let limit = async {
            core.closing.stream_is_cut(claim.target()).await;
            sleep(CLOSE_LIMIT).await;
        };
        tokio::select! {
            () = copy => {}
            () = limit => {}
        }
    }
}

/// One way through the tunnel.
struct Direction {
    /// For WebSocket: where frames end.
    tracker: Option<FrameTracker>,
    /// The tunnel is to end: a WebSocket gets the `close` frame after the frame that is under way,
    /// and what still comes, the other side's close, is dropped.
    is_closing: bool,
    close: Vec<u8>,
    /// How much of the inbox the tracker has seen.
    tracked: usize,
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
    fn new(is_websocket: bool, close: Vec<u8>) -> Self {
        let tracker = is_websocket.then(FrameTracker::default);
        Self { tracker, is_closing: false, close, tracked: 0, state: State::Copying }
    }

    fn poll<R: Socket, W: Socket>(
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
            if ready!(from.poll_fill(cx))? == 0 {
                self.state = State::Ending;
                return Poll::Ready(Ok(()));
            }
        }
    }
}
