//! What one thread of the data plane writes with.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::sleep;

use super::AccessLog;
use super::batch::Batch;
use super::entry::Entry;

/// How long a line may wait for others to go with.
pub const FLUSH_INTERVAL: Duration = Duration::from_millis(100);

/// One thread's way to the log. Nothing here waits for anybody.
#[derive(Debug)]
pub struct Pen {
    log: Arc<AccessLog>,
    /// `None` once the log has ended.
    queue: Option<SyncSender<Batch>>,
    batch: RefCell<Batch>,
    /// Told when the batch is no longer empty.
    begun: Notify,
}

impl Pen {
    pub(super) fn new(log: Arc<AccessLog>, queue: Option<SyncSender<Batch>>) -> Self {
        Self { log, queue, batch: RefCell::default(), begun: Notify::new() }
    }

    /// Whether a request that begins now is to be written: the one thing that is done for each
    /// request while the log is off.
    pub fn wants_one(&self) -> bool {
        self.log.wants_one()
    }

    /// Writes a request that is over. `sent` bytes went to the client, and `protocol` is what it spoke.
    pub fn write(&self, entry: &Entry, sent: u64, protocol: &'static str) {
        let mut batch = self.batch.borrow_mut();
        if batch.is_empty() {
            self.begun.notify_one();
        }
        batch.push(entry, sent, protocol);
        let is_full = batch.is_full();
        drop(batch);
        if is_full {
            self.pass_on();
        }
    }

    /// Passes on what was written, or drops it where the writer is too far behind.
    pub fn pass_on(&self) {
        let batch = self.batch.take();
        if batch.is_empty() {
            return;
        }
        let lines = batch.len() as u64;
        let is_taken = self.queue.as_ref().is_some_and(|queue| queue.try_send(batch).is_ok());
        if !is_taken {
            self.log.counts.dropped.fetch_add(lines, Ordering::Relaxed);
        }
    }

    /// Passes on in time what does not fill a batch, for as long as it is polled.
    pub async fn run(&self) {
        loop {
            self.begun.notified().await;
            sleep(FLUSH_INTERVAL).await;
            self.pass_on();
        }
    }
}

#[cfg(test)]
impl Pen {
    /// Whether nothing waits to be passed on.
    pub(super) fn batch_is_empty(&self) -> bool {
        self.batch.borrow().is_empty()
    }
}

impl Drop for Pen {
    fn drop(&mut self) {
        self.pass_on();
    }
}
