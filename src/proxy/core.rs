//! What one thread of the data plane owns, and what it shares with the others.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::ProxySettings;
use super::buffers::Buffers;
use super::compression::Encoders;
use super::counters::ThreadCounters;
use super::date::Date;
use super::deadlines::Deadlines;
use super::hold::HeldCount;
use super::live::Live;
use super::pool::Pool;
use super::splice::Pipes;
use super::static_files::Cache;
use super::table::PublishedTable;
use super::target::Target;
use crate::access_log::Pen;
use crate::control_group::SockDiag;

/// On shutdown, how long a client that is silent may still begin a request: it may have sent it already,
/// and a close would lose it. The answer then says `Connection: close`.
pub(crate) const LAST_REQUEST_GRACE: Duration = Duration::from_secs(1);

/// One thread's world. Everything on the thread holds it by `Rc`.
pub(crate) struct Core {
    /// Which of the threads it is, from nought.
    pub(crate) thread: usize,
    pub(crate) table: Arc<PublishedTable>,
    pub(crate) settings: Arc<ArcSwap<ProxySettings>>,
    pub(crate) counters: Arc<ThreadCounters>,
    pub(crate) held: Arc<HeldCount>,
    pub(crate) connections: Arc<ConnectionLimit>,
    pub(crate) pool: Pool,
    /// Tells workers from strangers; `None` where the kernel is not to be asked.
    pub(crate) sock_diag: Option<SockDiag>,
    pub(crate) buffers: Buffers,
    pub(crate) pipes: Pipes,
    pub(crate) encoders: Rc<Encoders>,
    pub(crate) deadlines: Rc<Deadlines>,
    pub(crate) date: Date,
    /// Answers with files of deployments.
    pub(crate) files: Cache,
    pub(crate) closing: Closing,
    pub(crate) open: OpenConnections,
    pub(crate) access_log: Pen,
    /// In development, what browsers are told of.
    pub(crate) live: Option<Arc<Live>>,
}

/// This thread's open connections, for whoever waits until there are none.
#[derive(Debug, Default)]
pub(crate) struct OpenConnections {
    count: Cell<usize>,
    none_left: Notify,
}

impl OpenConnections {
    /// One more.
    pub(crate) fn opened(&self) {
        self.count.set(self.count.get() + 1);
    }

    /// One less.
    pub(crate) fn closed(&self) {
        self.count.set(self.count.get() - 1);
        if self.count.get() == 0 {
            self.none_left.notify_waiters();
        }
    }

    /// Completes when there are none.
    pub(crate) async fn none_left(&self) {
        let none_left = self.none_left.notified();
        if self.count.get() > 0 {
            none_left.await;
        }
    }
}

/// Tells a thread's connections that the process is about to end: first that they are to close
/// after the request they are at, and then that streams, which have no end of their own, are to end
/// too.
#[derive(Debug, Default)]
pub(crate) struct Closing {
    /// Connections are to close.
    pub(crate) connections: Word,
    /// Streams are to end.
    pub(crate) streams: Word,
}

impl Closing {
    /// Until when to wait for a client that has been silent since then: `limit` at most, and no longer
    /// than [`LAST_REQUEST_GRACE`] once connections are to close. Whoever waits is to look anew when
    /// [`Deadlines::wake_all`] says so.
    pub(crate) fn patience(&self, since: Instant, limit: Duration) -> Instant {
        let at = since + limit;
        let last = self.connections.said_at().map(|said| said.max(since) + LAST_REQUEST_GRACE);
        last.map_or(at, |last| last.min(at))
    }

    /// Completes when a stream from `target` is to end: by the target's wish, or the process's.
    pub(crate) async fn stream_is_cut(&self, target: &Target) {
        tokio::select! {
            () = target.cut().cancelled() => {}
            () = self.streams.heard() => {}
        }
    }
}

/// Something said once, and for all who listen then or later. Looked at with every poll, hence no
/// more than a flag.
#[derive(Debug, Default)]
pub(crate) struct Word {
    said_at: Cell<Option<Instant>>,
    wake: Notify,
}

impl Word {
    /// Tells everyone.
    pub(crate) fn say(&self) {
        self.said_at.set(Some(Instant::now()));
        self.wake.notify_waiters();
    }

    /// Whether it was said.
    pub(crate) fn is_said(&self) -> bool {
        self.said_at.get().is_some()
    }

    /// When it was said.
    pub(crate) fn said_at(&self) -> Option<Instant> {
        self.said_at.get()
    }

    /// Completes when it is said.
    pub(crate) async fn heard(&self) {
        let wake = self.wake.notified();
        if !self.is_said() {
            wake.await;
        }
    }
}

/// How many client connections are open over all threads.
#[derive(Debug, Default)]
pub(crate) struct ConnectionLimit {
    open: AtomicUsize,
    closed: Notify,
}

/// A place among the open connections.
#[derive(Debug)]
pub(crate) struct ConnectionPlace(Arc<ConnectionLimit>);

impl ConnectionLimit {
    /// Waits until fewer than `max` (asked anew each time) are open.
    ///
    /// Looking and [`enter`](Self::enter)ing are two steps, so that nobody holds a place while it
    /// waits for a client: the limit may be overshot by one for every accept loop.
    pub(crate) async fn below(&self, max: impl Fn() -> usize) {
        loop {
            let closed = self.closed.notified();
            if self.open.load(Ordering::Acquire) < max() {
                return;
            }
            closed.await;
        }
    }

    /// Counts a connection until the place is dropped.
    pub(crate) fn enter(self: &Arc<Self>) -> ConnectionPlace {
        self.open.fetch_add(1, Ordering::AcqRel);
        ConnectionPlace(Arc::clone(self))
    }
}

impl Drop for ConnectionPlace {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::AcqRel);
        self.0.closed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn waits_until_a_connection_closes() {
        let limit = Arc::new(ConnectionLimit::default());
        limit.below(|| 1).await;
        let place = limit.enter();
        let mut next = Box::pin(limit.below(|| 1));
        assert!((&mut next).now_or_never().is_none());
        drop(place);
        next.await;
    }
}
