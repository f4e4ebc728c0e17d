//! Requests that wait until a worker has a generation ready, bounded in time, in number and in memory.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::watch;
use tokio::sync::watch::error::RecvError;
use tokio::time::{Instant, timeout_at};

use super::ProxySettings;
use super::core::Core;

/// What waits, over all threads.
#[derive(Debug, Default)]
pub(crate) struct HeldCount {
    requests: AtomicUsize,
    bytes: AtomicUsize,
}

/// One request's patience. Its body is not read meanwhile, so that its head is all it takes.
pub(crate) struct Hold<'a> {
    core: &'a Core,
    settings: &'a ProxySettings,
    head_len: usize,
    /// When patience ends that has begun.
    deadline: Option<Instant>,
    waiting: Option<Waiting<'a>>,
}

struct Waiting<'a> {
    core: &'a Core,
    head_len: usize,
    publications: watch::Receiver<u64>,
    /// In development: how a build ended tells more than to wait on.
    changes: Option<watch::Receiver<u64>>,
}

/// The hold passed, or too many wait already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Impatient;

impl<'a> Hold<'a> {
    /// Patience for as long as `settings` say from the first wait on, if there is room among those
    /// that wait.
    pub(crate) fn new(core: &'a Core, settings: &'a ProxySettings) -> Self {
        Self { core, settings, head_len: 0, deadline: None, waiting: None }
    }

    /// Says how long the request's head is, in bytes, before there is anything to wait for.
    pub(crate) fn weigh(&mut self, head_len: usize) {
        self.head_len = head_len;
    }

    /// Makes room for others: the request waits no more. Should it have to wait again, then for what
    /// is left of its patience.
    pub(crate) fn is_over(&mut self) {
        self.waiting = None;
    }

    /// Returns when it is worth looking at the table again.
    ///
    /// The first call only subscribes and returns at once, so that a table published between the
    /// caller's look and the subscription is not missed.
    pub(crate) async fn until_changed(&mut self) -> Result<(), Impatient> {
        let Some(waiting) = &mut self.waiting else {
            let entered = Waiting::enter(self.core, self.settings, self.head_len);
            let waiting = entered.inspect_err(|_| self.core.counters.holds_failed.add(1))?;
            self.waiting = Some(waiting);
            return Ok(());
        };
        let deadline = *self.deadline.get_or_insert_with(|| Instant::now() + self.settings.hold);
        match timeout_at(deadline, waiting.changed()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => {
                self.core.counters.holds_failed.add(1);
                Err(Impatient)
            }
        }
    }
}

impl<'a> Waiting<'a> {
    fn enter(core: &'a Core, settings: &ProxySettings, head_len: usize) -> Result<Self, Impatient> {
        let HeldCount { requests, bytes } = &*core.held;
        take(requests, 1, settings.hold_max_requests)?;
        take(bytes, head_len, settings.hold_max_bytes).inspect_err(|_| {
            requests.fetch_sub(1, Ordering::Relaxed);
        })?;
        core.counters.held.add(1);
        core.counters.holds.add(1);
        Ok(Self {
            core,
            head_len,
            publications: core.table.subscribe(),
            changes: core.live.as_ref().map(|live| live.subscribe()),
        })
    }

    async fn changed(&mut self) -> Result<(), RecvError> {
        let Some(changes) = &mut self.changes else { return self.publications.changed().await };
        tokio::select! {
            changed = self.publications.changed() => changed,
            changed = changes.changed() => changed,
        }
    }
}

/// Adds to a count, unless it would go beyond `max`.
fn take(count: &AtomicUsize, more: usize, max: usize) -> Result<(), Impatient> {
    let sum = |held: usize| held.checked_add(more).filter(|sum| *sum <= max);
    count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, sum).map_err(|_| Impatient)?;
    Ok(())
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.core.held.requests.fetch_sub(1, Ordering::Relaxed);
        self.core.held.bytes.fetch_sub(self.head_len, Ordering::Relaxed);
        self.core.counters.held.sub(1);
    }
}
