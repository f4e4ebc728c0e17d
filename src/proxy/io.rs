//! The client's socket with its time limits.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::counters::ThreadCounters;
use super::timer::LazyTimer;

/// Where a client's connection stands, which decides what limit holds for a read.
#[derive(Debug, Clone, Copy)]
enum Phase {
    /// Just accepted: the first head must be whole in time.
    Fresh(Instant),
    /// Between requests.
    Idle(Instant),
    /// In the middle of a head.
    Head(Instant),
    /// A request is in the works: reads only look for the client's hanging up, and the body's
    /// limit is kept by whoever reads the body.
    Busy,
    /// The answer's last byte was handed to hyper; idle begins when it is written.
    Answered,
}

/// How long a client may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ClientLimits {
    /// For a whole head.
    pub(crate) head: Duration,
    /// Between requests.
    pub(crate) idle: Duration,
    /// For taking any byte of an answer.
    pub(crate) write: Duration,
}

/// The clockwork that a connection's socket and its service share.
#[derive(Debug)]
pub(crate) struct Pace {
    phase: Cell<Phase>,
    limits: ClientLimits,
    late_head: Cell<bool>,
}

impl Pace {
    /// For a connection that was accepted now.
    pub(crate) fn new(limits: ClientLimits) -> Rc<Self> {
        let phase = Cell::new(Phase::Fresh(Instant::now()));
        Rc::new(Self { phase, limits, late_head: Cell::new(false) })
    }

    /// A request's head is complete.
    pub(crate) fn request_began(&self) {
        self.phase.set(Phase::Busy);
    }

    /// An answer's last byte is known.
    pub(crate) fn answer_ended(&self) {
        self.phase.set(Phase::Answered);
    }

    /// Whether the connection ended because a begun head was not complete in time.
    pub(crate) fn late_head(&self) -> bool {
        self.late_head.get()
    }

    fn received(&self) {
        match self.phase.get() {
            Phase::Fresh(since) => self.phase.set(Phase::Head(since)),
            Phase::Idle(_) => self.phase.set(Phase::Head(Instant::now())),
            Phase::Head(_) | Phase::Busy | Phase::Answered => {}
        }
    }

    /// Whether idle time begins with this.
    fn flushed(&self) -> bool {
        let answered = matches!(self.phase.get(), Phase::Answered);
        if answered {
            self.phase.set(Phase::Idle(Instant::now()));
        }
        answered
    }

    fn read_deadline(&self) -> Option<Instant> {
        match self.phase.get() {
            Phase::Fresh(since) | Phase::Head(since) => Some(since + self.limits.head),
            Phase::Idle(since) => Some(since + self.limits.idle),
            Phase::Busy | Phase::Answered => None,
        }
    }

    fn expire(&self) -> io::Error {
        self.late_head.set(matches!(self.phase.get(), Phase::Head(_)));
        io::ErrorKind::TimedOut.into()
    }
}

/// A client's socket that keeps its limits, and counts its bytes.
#[derive(Debug)]
pub(crate) struct ClientIo<S> {
    stream: S,
    pace: Rc<Pace>,
    counters: Arc<ThreadCounters>,
    read_timer: LazyTimer,
    write_timer: LazyTimer,
    write_blocked_since: Option<Instant>,
}

impl<S> ClientIo<S> {
    /// Wraps a stream.
    pub(crate) fn new(stream: S, pace: Rc<Pace>, counters: Arc<ThreadCounters>) -> Self {
        Self {
            stream,
            pace,
            counters,
            read_timer: LazyTimer::default(),
            write_timer: LazyTimer::default(),
            write_blocked_since: None,
        }
    }

    /// The bare stream, for a tunnel.
    pub(crate) fn into_inner(self) -> S {
        self.stream
    }

    /// Books the outcome of a write; one that blocks too long becomes an error.
    fn written(
        &mut self,
        cx: &mut Context<'_>,
        outcome: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        match outcome {
            Poll::Ready(result) => {
                self.write_blocked_since = None;
                if let Ok(n) = &result {
                    self.counters.bytes_sent.add(*n as u64);
                }
                Poll::Ready(result)
            }
            Poll::Pending => {
                let since = *self.write_blocked_since.get_or_insert_with(Instant::now);
                ready!(self.write_timer.poll_elapsed(cx, since + self.pace.limits.write));
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ClientIo<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        match Pin::new(&mut this.stream).poll_read(cx, buf) {
            Poll::Ready(Ok(())) => {
                let n = buf.filled().len() - before;
                if n > 0 {
                    this.counters.bytes_received.add(n as u64);
                    this.pace.received();
                }
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                let Some(deadline) = this.pace.read_deadline() else { return Poll::Pending };
                ready!(this.read_timer.poll_elapsed(cx, deadline));
                Poll::Ready(Err(this.pace.expire()))
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ClientIo<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.written(cx, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.written(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        // hyper flushes the socket only once its own buffer is empty. It may have a read waiting
        // since before, and not ask again: so the idle limit is set here.
        if this.pace.flushed()
            && let Some(deadline) = this.pace.read_deadline()
            && this.read_timer.poll_elapsed(cx, deadline).is_ready()
        {
            cx.waker().wake_by_ref();
        }
        Pin::new(&mut this.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    const LIMITS: ClientLimits = ClientLimits {
        head: Duration::from_secs(30),
        idle: Duration::from_secs(120),
        write: Duration::from_secs(10),
    };

    fn pair() -> (DuplexStream, ClientIo<DuplexStream>, Rc<Pace>) {
        let (client, server) = duplex(16);
        let pace = Pace::new(LIMITS);
        (client, ClientIo::new(server, Rc::clone(&pace), Arc::default()), pace)
    }

    #[tokio::test(start_paused = true)]
    async fn a_trickled_head_ends_at_the_head_limit() {
        let (mut client, mut server, pace) = pair();
        let start = Instant::now();
        let trickle = async {
            loop {
                tokio::time::sleep(Duration::from_secs(7)).await;
                client.write_all(b"x").await.unwrap();
            }
        };
        let read = async {
            loop {
                if let Err(error) = server.read_u8().await {
                    return error;
                }
            }
        };
        let error = tokio::select! { error = read => error, () = trickle => unreachable!() };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(start.elapsed(), LIMITS.head);
        assert!(pace.late_head());
    }

    #[tokio::test(start_paused = true)]
    async fn between_requests_the_idle_limit_counts_from_the_flush() {
        let (mut client, mut server, pace) = pair();
        client.write_all(b"x").await.unwrap();
        server.read_u8().await.unwrap();
        pace.request_began();
        tokio::time::sleep(Duration::from_secs(500)).await;
        pace.answer_ended();
        server.flush().await.unwrap();
        let flushed = Instant::now();
        let error = server.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(flushed.elapsed(), LIMITS.idle);
        assert!(!pace.late_head(), "an idle connection is closed without a word");
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_takes_nothing_is_given_up_and_a_slow_one_is_not() {
        let (mut client, mut server, _pace) = pair();
        let start = Instant::now();
        let write = async {
            loop {
                if let Err(error) = server.write_all(&[0; 16]).await {
                    return error;
                }
            }
        };
        let read = async {
            for _ in 0..20 {
                tokio::time::sleep(Duration::from_secs(9)).await;
                client.read_u8().await.unwrap();
            }
            std::future::pending::<()>().await;
        };
        let error = tokio::select! { error = write => error, () = read => unreachable!() };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(start.elapsed(), Duration::from_secs(20 * 9) + LIMITS.write);
    }
}
