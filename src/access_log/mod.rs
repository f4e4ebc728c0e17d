//! The access log: a line for each request that was answered.
//!
//! A thread of the data plane notes what it knows of a request in an [`Entry`] and appends it to a batch
//! of its own ([`Pen`]). Full batches, and those that have waited for [`FLUSH_INTERVAL`], go through a
//! bounded queue to one `writer`, which makes lines of them (`format`) and appends them to a `sink`.
//! Nobody waits for it: what finds the queue full is dropped, and counted.

mod batch;
mod entry;
mod format;
mod pen;
mod sink;
#[cfg(test)]
mod tests;
mod writer;

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use std::{io, thread};

use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::config::settings::{AccessLogFormat, AccessLogSettings};
use batch::Batch;
pub use entry::{Entry, Heard};
pub use pen::{FLUSH_INTERVAL, Pen};
use writer::{Order, Writer};

/// How many batches may wait for the writer. With [`batch::FULL_BYTES`] it bounds the memory.
const QUEUE: usize = 64;

/// How long the end of the process may wait for the last lines.
const LAST_LINES: Duration = Duration::from_secs(5);

/// The access log of a process.
#[derive(Debug)]
pub struct AccessLog {
    /// Of so many requests one is written; 0: none is.
    one_in: AtomicU32,
    counts: Counts,
    order: Mutex<Order>,
    /// Counted up with each change of `order`, so that the writer need not look at it.
    changes: AtomicU64,
    /// What pens are made with, until the end.
    queue: Mutex<Option<SyncSender<Batch>>>,
    /// The other end, until there is a writer.
    unwritten: Mutex<Option<Receiver<Batch>>>,
    /// Closed when the writer has ended.
    ended: Mutex<Option<oneshot::Receiver<()>>>,
}

/// How many lines came to what.
#[derive(Debug, Default)]
struct Counts {
    written: AtomicU64,
    dropped: AtomicU64,
}

/// Looks into what no panic leaves half done.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl AccessLog {
    /// One that is off until settings are [applied](Self::apply).
    pub fn off() -> Arc<Self> {
        let (queue, unwritten) = sync_channel(QUEUE);
        Arc::new(Self {
            one_in: AtomicU32::new(0),
            counts: Counts::default(),
            order: Mutex::new(Order::default()),
            changes: AtomicU64::new(0),
            queue: Mutex::new(Some(queue)),
            unwritten: Mutex::new(Some(unwritten)),
            ended: Mutex::new(None),
        })
    }

    /// Takes settings into use, for requests that come from now on.
    ///
    /// # Errors
    /// When there is no thread to be had for the writer; then the log stays off.
    pub fn apply(self: &Arc<Self>, settings: &AccessLogSettings) -> io::Result<()> {
        if settings.format != AccessLogFormat::Off {
            self.start_writer()?;
            self.change(|order| order.settings = Some(settings.clone()));
        }
        let one_in = if settings.format == AccessLogFormat::Off { 0 } else { settings.one_in };
        self.one_in.store(one_in, Ordering::Relaxed);
        Ok(())
    }

    /// Has the next line go to what the file's name is then: whoever rotates has renamed it.
    pub fn reopen(&self) {
        self.change(|order| order.reopened += 1);
    }

    /// A pen for one thread of the data plane.
    pub fn pen(self: &Arc<Self>) -> Pen {
        Pen::new(Arc::clone(self), lock(&self.queue).clone())
    }

    /// Lines written so far.
    pub fn written(&self) -> u64 {
        self.counts.written.load(Ordering::Relaxed)
    }

    /// Lines that were lost: the writer was behind, or could not write.
    pub fn dropped(&self) -> u64 {
        self.counts.dropped.load(Ordering::Relaxed)
    }

    /// Waits until what pens have passed on is written. There must be none any more.
    pub async fn finish(&self) {
        drop(lock(&self.queue).take());
        let ended = lock(&self.ended).take();
        if let Some(ended) = ended
            && timeout(LAST_LINES, ended).await.is_err()
        {
            tracing::warn!("the last lines of the access log could not be written in time");
        }
    }

    /// Whether a request that begins now is to be written.
    fn wants_one(&self) -> bool {
        match self.one_in.load(Ordering::Relaxed) {
            0 => false,
            1 => true,
            one_in => fastrand::u32(..one_in) == 0,
        }
    }

    fn change(&self, change: impl FnOnce(&mut Order)) {
        change(&mut lock(&self.order));
        self.changes.fetch_add(1, Ordering::Release);
    }

    fn start_writer(self: &Arc<Self>) -> io::Result<()> {
        let mut unwritten = lock(&self.unwritten);
        let Some(batches) = unwritten.take() else { return Ok(()) };
        let (end, ended) = oneshot::channel::<()>();
        let log = Arc::clone(self);
        let write = move || {
            Writer::new(log).run(&batches);
            drop(end);
        };
        thread::Builder::new().name("access-log".to_owned()).spawn(write)?;
        *lock(&self.ended) = Some(ended);
        Ok(())
    }
}
