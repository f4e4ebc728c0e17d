//! Requests that wait until a worker has a generation ready, bounded in time and in number.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::sync::watch::error::RecvError;
use tokio::time::{Instant, timeout_at};

use super::core::Core;

/// How many requests wait, over all threads.
#[derive(Debug, Default)]
pub(crate) struct HeldCount(AtomicUsize);

/// One request's patience. Its body is not read meanwhile.
pub(crate) struct Hold<'a> {
    core: &'a Core,
    limit: Duration,
    max_held: usize,
    waiting: Option<Waiting<'a>>,
}

struct Waiting<'a> {
    core: &'a Core,
    publications: watch::Receiver<u64>,
    /// In development: how a build ended tells more than to wait on.
    changes: Option<watch::Receiver<u64>>,
    deadline: Instant,
}

/// The hold passed, or too many wait already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Impatient;

impl<'a> Hold<'a> {
    /// Patience for `limit` from the first wait on, if no more than `max_held` wait.
    pub(crate) fn new(core: &'a Core, limit: Duration, max_held: usize) -> Self {
        Self { core, limit, max_held, waiting: None }
    }

    /// Returns when it is worth looking at the table again.
    ///
    /// The first call only subscribes and returns at once, so that a table published between the
    /// caller's look and the subscription is not missed.
    pub(crate) async fn until_changed(&mut self) -> Result<(), Impatient> {
        let Some(waiting) = &mut self.waiting else {
            let waiting = Waiting::enter(self.core, self.limit, self.max_held)?;
            self.waiting = Some(waiting);
            return Ok(());
        };
        match timeout_at(waiting.deadline, waiting.changed()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Impatient),
        }
    }
}

impl<'a> Waiting<'a> {
    fn enter(core: &'a Core, limit: Duration, max_held: usize) -> Result<Self, Impatient> {
        let held = &core.held.0;
        held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| {
            (n < max_held).then_some(n + 1)
        })
        .map_err(|_| Impatient)?;
        core.counters.held.add(1);
        Ok(Self {
            core,
            publications: core.table.subscribe(),
            changes: core.live.as_ref().map(|live| live.subscribe()),
            deadline: Instant::now() + limit,
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

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.core.held.0.fetch_sub(1, Ordering::Relaxed);
        self.core.counters.held.sub(1);
    }
}
