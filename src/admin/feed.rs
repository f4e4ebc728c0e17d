//! What happened last, and who wants to hear of it: a ring of events that readers follow at their own
//! pace. A reader that is too slow loses its place; the publisher never waits.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::sync::watch;

use super::api::SCHEMA;
use super::events::{Event, EventKind};

/// How many events are kept.
pub const KEPT: usize = 256;

/// The events of one process. Clones are the same feed.
#[derive(Debug, Clone)]
pub struct Feed(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    ring: Mutex<Ring>,
    /// The number of the next event, for those who wait for it.
    next: watch::Sender<u64>,
    subscribers: watch::Sender<usize>,
    /// Builds that succeeded, and that failed.
    builds: [AtomicU64; 2],
}

#[derive(Debug)]
struct Ring {
    events: VecDeque<Arc<Event>>,
    next: u64,
}

impl Ring {
    /// The number of the oldest event that is kept, or of the next where there is none.
    fn oldest(&self) -> u64 {
        self.events.front().map_or(self.next, |event| event.id)
    }
}

impl Default for Feed {
    fn default() -> Self {
        Self::new()
    }
}

impl Feed {
    /// A feed in which nothing has happened. Its numbers begin with the time in microseconds, which
    /// puts them above those of the process before and leaves them exact in JavaScript.
    pub fn new() -> Self {
        Self::starting_at(u64::try_from(Timestamp::now().as_microsecond()).unwrap_or(1))
    }

    fn starting_at(next: u64) -> Self {
        Self(Arc::new(Shared {
            ring: Mutex::new(Ring { events: VecDeque::with_capacity(KEPT), next }),
            next: watch::Sender::new(next),
            subscribers: watch::Sender::new(0),
            builds: Default::default(),
        }))
    }

    /// Tells it to all who listen now, and to those who come later for as long as it is kept. Does
    /// not block.
    pub fn publish(&self, what: EventKind) {
        let [succeeded, failed] = &self.0.builds;
        match what {
            EventKind::Built { .. } => _ = succeeded.fetch_add(1, Ordering::Relaxed),
            EventKind::BuildFailed { .. } => _ = failed.fetch_add(1, Ordering::Relaxed),
            _ => {}
        }
        let mut ring = self.ring();
        let id = ring.next;
        if ring.events.len() == KEPT {
            ring.events.pop_front();
        }
        let event = Event { schema: SCHEMA, id, at: Timestamp::now(), what: what.bounded() };
        ring.events.push_back(Arc::new(event));
        ring.next += 1;
        // Under the lock: another publisher must not be overtaken by our number.
        self.0.next.send_replace(ring.next);
    }

    /// Listens: to what is kept after the event with the number `last`, or to all that is kept, and
    /// then to what happens. A number that this feed has not reached is one of another process, and
    /// counts as none.
    pub fn subscribe(&self, last: Option<u64>) -> Subscription {
        let ring = self.ring();
        let next = last
            .and_then(|last| last.checked_add(1))
            .filter(|next| (ring.oldest()..=ring.next).contains(next))
            .unwrap_or(ring.oldest());
        self.0.subscribers.send_modify(|count| *count += 1);
        Subscription { feed: self.clone(), next, news: self.0.next.subscribe() }
    }

    /// How many builds it has told of that succeeded, and that failed.
    pub fn builds(&self) -> [u64; 2] {
        [0, 1].map(|outcome: usize| self.0.builds[outcome].load(Ordering::Relaxed))
    }

    /// How many listen, and every change of that.
    pub fn subscribers(&self) -> watch::Receiver<usize> {
        self.0.subscribers.subscribe()
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        // Nothing below the lock leaves it half changed.
        self.0.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A reader's place in a feed.
#[derive(Debug)]
pub struct Subscription {
    feed: Feed,
    /// The number of the event it gets next.
    next: u64,
    news: watch::Receiver<u64>,
}

/// Events were dropped before this reader got to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lagged {
    /// How many.
    pub missed: u64,
}

impl Subscription {
    /// The next event, once there is one. After [`Lagged`] it goes on with the oldest that is kept.
    /// Loses nothing when it is dropped before it completes.
    pub async fn next(&mut self) -> Result<Arc<Event>, Lagged> {
        loop {
            if let Some(next) = self.kept() {
                return next;
            }
            // The sender is in the feed, which we have: this never fails.
            let _ = self.news.wait_for(|next| *next > self.next).await;
        }
    }

    fn kept(&mut self) -> Option<Result<Arc<Event>, Lagged>> {
        let ring = self.feed.ring();
        let oldest = ring.oldest();
        if self.next < oldest {
            let missed = oldest - self.next;
            self.next = oldest;
            return Some(Err(Lagged { missed }));
        }
        let index = usize::try_from(self.next - oldest).ok()?;
        let event = Arc::clone(ring.events.get(index)?);
        self.next += 1;
        Some(Ok(event))
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.feed.0.subscribers.send_modify(|count| *count -= 1);
    }
}

#[cfg(test)]
mod tests;
