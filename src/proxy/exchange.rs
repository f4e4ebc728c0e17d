//! One request and its answer, both on their way at once.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::net::TcpStream;
use tokio::time::Instant;

use super::answer::{self, Start};
use super::client::Client;
use super::connection::Connection;
use super::live::Visit;
use super::pump::{Pump, PumpError, Stall};
use super::service::Ask;
use super::socket::{Leg, Socket};
use super::table::UpstreamTimeouts;
use super::target::Target;
use crate::config::settings::CompressionSettings;

/// The largest head of an answer, in bytes; a worker that sends more is answered for with 502.
pub(super) const MAX_RESPONSE_HEAD: usize = 256 << 10;

/// A connection to a worker.
pub(crate) type Upstream = Leg<TcpStream>;

/// Why a request's body could not be passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UploadFault {
    /// It is larger than allowed.
    TooLarge,
    /// The client paused for too long.
    ClientStalled,
    /// The client broke off, or framed it wrongly.
    ClientBroke,
}

/// Why there is no answer on this connection.
#[derive(Debug)]
pub(crate) enum Lost {
    /// The client has hung up.
    Gone,
    /// The worker took too long.
    Silent,
    /// The connection ended.
    Died(io::Error),
    /// What came is no answer.
    Garbage(String),
    /// The request could not be sent to its end.
    Upload(UploadFault),
}

/// How the passing on of an answer ended.
#[derive(Debug)]
pub(crate) enum End {
    /// All of it is through.
    Whole,
    /// The client took no more.
    Gone,
    /// Something broke off.
    Broken(Break),
}

/// What broke an answer off that had begun.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Break {
    /// The answer's own end came too soon.
    #[error("the answer: {0}")]
    Answer(PumpError),
    /// The client's upload, which went on meanwhile.
    #[error("the request's body: {0}")]
    Upload(PumpError),
    /// The worker paused for longer than its limit.
    #[error("the worker fell silent in the middle of its answer")]
    Silent,
    /// The worker took nothing for longer than its limit.
    #[error("the worker does not take the request's body")]
    Stuck,
    /// The client paused for longer than its limit.
    #[error("the client paused in the middle of the request's body")]
    Stalled,
}

/// One request and its answer.
pub(crate) struct Exchange<'a, S> {
    pub(crate) connection: &'a Connection,
    pub(crate) client: &'a mut Client<S>,
    pub(crate) ask: &'a Ask,
    /// In development, whose page it is.
    pub(crate) visit: Option<&'a Visit>,
    /// The request on its way to the worker.
    pub(crate) upload: Pump,
    /// The answer on its way to the client.
    pub(crate) download: Pump,
    /// Which answers are compressed; `None` where none is.
    pub(super) compression: Option<Arc<CompressionSettings>>,
    /// What the answer's head said.
    pub(crate) start: Start,
    /// Where it was written once and lost.
    pub(super) lost_at: Option<Arc<Target>>,
    /// When the last of the request was written, or the worker took no more.
    sent_at: Option<Instant>,
    /// When it was first sent anywhere.
    pub(super) begun_at: Option<Instant>,
    /// Whether the worker takes no more of the request.
    is_refused: bool,
    /// Whether the client is still to be told to go on (RFC 9110 section 10.1.1).
    awaits_continue: bool,
}

impl<'a, S: Socket> Exchange<'a, S> {
    /// Of which nothing was sent yet.
    pub(crate) fn new(
        connection: &'a Connection,
        client: &'a mut Client<S>,
        ask: &'a Ask,
        visit: Option<&'a Visit>,
        upload: Pump,
    ) -> Self {
        Self {
            connection,
            client,
            ask,
            visit,
            upload,
            download: Pump::new(&connection.core.buffers),
            compression: None,
            start: Start::default(),
            lost_at: None,
            sent_at: None,
            begun_at: None,
            is_refused: false,
            awaits_continue: ask.expects_continue,
        }
    }

    /// Sends the request and awaits the head of its answer.
    pub(super) async fn open(
        &mut self,
        upstream: &mut Upstream,
        timeouts: UpstreamTimeouts,
        now: Instant,
    ) -> Result<(), Lost> {
        (self.sent_at, self.is_refused) = (None, false);
        // A request that leaves at once was sent now: the clock need not be asked again.
        let mut now = Some(now);
        poll_fn(|cx| self.poll_open(cx, upstream, timeouts, now.take())).await
    }

    /// Passes the answer on to its end, and what is left of the request.
    pub(crate) async fn finish(
        &mut self,
        upstream: &mut Upstream,
        timeouts: UpstreamTimeouts,
    ) -> End {
        poll_fn(|cx| self.poll_finish(cx, upstream, timeouts)).await
    }

    fn poll_open(
        &mut self,
        cx: &mut Context<'_>,
        upstream: &mut Upstream,
        timeouts: UpstreamTimeouts,
        now: Option<Instant>,
    ) -> Poll<Result<(), Lost>> {
        if self.sent_at.is_none() {
            let is_sent = self.send_more(cx, upstream)?;
            self.sent_at = is_sent.then(|| now.unwrap_or_else(Instant::now));
        }
        if self.receive_head(cx, upstream)? {
            return Poll::Ready(Ok(()));
        }
        let client = &mut self.client.leg;
        if self.sent_at.is_some() && !self.is_refused && client.poll_hung_up(cx).is_ready() {
            return Poll::Ready(Err(Lost::Gone));
        }
        let (at, late) = match (self.sent_at, self.upload.stall()) {
            (Some(sent_at), _) => (sent_at + timeouts.response, Lost::Silent),
            (None, Some(Stall::Sink(since))) => (since + timeouts.body_idle, Lost::Silent),
            (None, Some(Stall::Source(since))) => {
                let limit = self.connection.settings.listener.read_timeout;
                (since + limit, Lost::Upload(UploadFault::ClientStalled))
            }
            (None, None) => return Poll::Pending,
        };
        self.client.deadline.poll(cx, Some(at)).map(|()| Err(late))
    }

    /// Passes on what there is of the request, and says whether that was the last of it.
    fn send_more(&mut self, cx: &mut Context<'_>, upstream: &mut Upstream) -> Result<bool, Lost> {
        let client = &mut self.client.leg;
        if std::mem::take(&mut self.awaits_continue) && client.inbox.unread().is_empty() {
            self.download.ours().extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        match self.upload.poll(cx, client, upstream) {
            Poll::Ready(Ok(())) => Ok(true),
            // The worker may have answered before it hung up.
            Poll::Ready(Err(PumpError::Sink(_))) if self.upload.is_begun() => {
                self.is_refused = true;
                Ok(true)
            }
            Poll::Ready(Err(PumpError::Sink(error))) => Err(Lost::Died(error)),
            Poll::Ready(Err(PumpError::TooLarge)) => Err(Lost::Upload(UploadFault::TooLarge)),
            Poll::Ready(Err(_)) => Err(Lost::Upload(UploadFault::ClientBroke)),
            Poll::Pending => Ok(false),
        }
    }

    /// Looks at what has come of the answer, and says whether its head is whole.
    fn receive_head(
        &mut self,
        cx: &mut Context<'_>,
        upstream: &mut Upstream,
    ) -> Result<bool, Lost> {
        loop {
            // Interim answers go on at once, however fast the next ones come. Should the client take
            // none, the answer itself will tell.
            if !self.download.ours().is_empty()
                && let Poll::Ready(Err(_)) = self.download.poll_flush(cx, &mut self.client.leg)
            {
                return Err(Lost::Gone);
            }
            match upstream.poll_fill(cx) {
                Poll::Pending => return Ok(false),
                Poll::Ready(Err(error)) => return Err(Lost::Died(error)),
                Poll::Ready(Ok(0)) => {
                    return Err(Lost::Died(io::ErrorKind::UnexpectedEof.into()));
                }
                Poll::Ready(Ok(_)) => {}
            }
            if answer::begin(self, upstream).map_err(Lost::Garbage)? {
                return Ok(true);
            }
            let inbox = &mut upstream.inbox;
            if inbox.unread().len() > MAX_RESPONSE_HEAD {
                return Err(Lost::Garbage("its head is too large".to_owned()));
            }
            if inbox.is_full() {
                inbox.grow(MAX_RESPONSE_HEAD + 1);
            }
        }
    }

    fn poll_finish(
        &mut self,
        cx: &mut Context<'_>,
        upstream: &mut Upstream,
        timeouts: UpstreamTimeouts,
    ) -> Poll<End> {
        let client = &mut self.client.leg;
        if !self.is_refused && !self.upload.is_done() {
            match self.upload.poll(cx, client, upstream) {
                Poll::Ready(Err(PumpError::Sink(_))) => self.is_refused = true,
                Poll::Ready(Err(error)) => {
                    return Poll::Ready(End::Broken(Break::Upload(error)));
                }
                Poll::Ready(Ok(())) | Poll::Pending => {}
            }
        }
        if let Some(cut) = &mut self.start.cut
            && cut.as_mut().poll(cx).is_ready()
        {
            self.start.cut = None;
            self.start.keeps_alive = false;
            self.download.end_early();
        }
        match self.download.poll(cx, upstream, client) {
            Poll::Ready(Ok(())) => return Poll::Ready(End::Whole),
            Poll::Ready(Err(PumpError::Sink(_))) => return Poll::Ready(End::Gone),
            Poll::Ready(Err(error)) => return Poll::Ready(End::Broken(Break::Answer(error))),
            Poll::Pending => {}
        }
        let is_uploading = !self.is_refused && !self.upload.is_done();
        if !is_uploading && client.poll_hung_up(cx).is_ready() {
            return Poll::Ready(End::Gone);
        }
        self.poll_limits(cx, timeouts, is_uploading)
    }

    fn poll_limits(
        &self,
        cx: &mut Context<'_>,
        timeouts: UpstreamTimeouts,
        is_uploading: bool,
    ) -> Poll<End> {
        let limits = &self.connection.settings.listener;
        let idle = timeouts.body_idle;
        let download = match self.download.stall() {
            Some(Stall::Sink(since)) => Some((since + limits.write_timeout, End::Gone)),
            // Event streams may be silent for as long as they like.
            Some(Stall::Source(_)) if self.start.is_event_stream => None,
            Some(Stall::Source(since)) => Some((since + idle, End::Broken(Break::Silent))),
            None => None,
        };
        let upload = match self.upload.stall().filter(|_| is_uploading) {
            Some(Stall::Sink(since)) => Some((since + idle, End::Broken(Break::Stuck))),
            Some(Stall::Source(since)) => {
                Some((since + limits.read_timeout, End::Broken(Break::Stalled)))
            }
            None => None,
        };
        let first = [download, upload].into_iter().flatten().min_by_key(|(at, _)| *at);
        let at = first.as_ref().map(|(at, _)| *at);
        match (self.client.deadline.poll(cx, at), first) {
            (Poll::Ready(()), Some((_, end))) => Poll::Ready(end),
            _ => Poll::Pending,
        }
    }
}
