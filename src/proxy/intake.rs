//! How many requests an instance of a worker works on at once, and who waits for one of these places.
//!
//! Invariant (no wake-up is lost): who waits is counted before it looks for a place, and who gives one
//! up looks at that count afterwards.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

/// How much a worker takes in. By default whatever comes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct IntakeSettings {
    /// How many requests an instance works on at once; 0: as many as come.
    pub max_in_flight: u64,
    /// How many requests for the worker may wait for a place; 0: none.
    pub max_queued: usize,
    /// How long each of them.
    pub queue: Duration,
}

/// What the instances of a worker take in, all together.
#[derive(Debug)]
pub struct Intake {
    max_in_flight: AtomicU64,
    max_queued: AtomicUsize,
    queue_millis: AtomicU64,
    waiting: AtomicUsize,
    /// A permit for each place that was given up while somebody waited.
    turns: Semaphore,
}

/// There is no place, and nobody may wait for one any longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Crowded;

impl Default for Intake {
    /// Takes whatever comes.
    fn default() -> Self {
        Self {
            max_in_flight: AtomicU64::new(0),
            max_queued: AtomicUsize::new(0),
            queue_millis: AtomicU64::new(0),
            waiting: AtomicUsize::new(0),
            turns: Semaphore::new(0),
        }
    }
}

impl Intake {
    /// The intake of a worker.
    pub fn new(settings: IntakeSettings) -> Arc<Self> {
        let intake = Self::default();
        intake.set(settings);
        Arc::new(intake)
    }

    /// Goes on with other limits. Who waits hears of them with the next table.
    pub fn set(&self, settings: IntakeSettings) {
        let IntakeSettings { max_in_flight, max_queued, queue } = settings;
        self.max_in_flight.store(max_in_flight, Ordering::Relaxed);
        self.max_queued.store(max_queued, Ordering::Relaxed);
        let millis = queue.as_millis().try_into().unwrap_or(u64::MAX);
        self.queue_millis.store(millis, Ordering::Relaxed);
    }

    /// `None` where as many may be in flight as come.
    pub(super) fn max_in_flight(&self) -> Option<u64> {
        Some(self.max_in_flight.load(Ordering::Relaxed)).filter(|max| *max > 0)
    }

    pub(super) fn somebody_waits(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) > 0
    }

    /// How many requests wait for a place.
    pub fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed) as u64
    }

    /// One more waits, if there is room.
    pub(super) fn queue(self: &Arc<Self>) -> Result<Queued, Crowded> {
        let max = self.max_queued.load(Ordering::Relaxed);
        let one_more = |waiting| (waiting < max).then_some(waiting + 1);
        let before = self
            .waiting
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_more)
            .map_err(|_| Crowded)?;
        let wait = Duration::from_millis(self.queue_millis.load(Ordering::Relaxed));
        let deadline = Instant::now() + wait;
        Ok(Queued { intake: Arc::clone(self), is_first: before == 0, deadline })
    }

    /// An instance has done with a request.
    pub(super) fn freed(&self) {
        let waiting = self.waiting.load(Ordering::SeqCst);
        if waiting > 0 && self.turns.available_permits() < waiting {
            self.turns.add_permits(1);
        }
    }
}

/// One request that waits for a place. It waits no more when dropped.
#[derive(Debug)]
pub(super) struct Queued {
    intake: Arc<Intake>,
    is_first: bool,
    deadline: Instant,
}

impl Queued {
    /// Whose places it waits for.
    pub(super) fn is_at(&self, intake: &Arc<Intake>) -> bool {
        Arc::ptr_eq(&self.intake, intake)
    }

    /// Whether nobody waited before it, so that places that were given up until then are told to nobody.
    pub(super) fn is_first(&self) -> bool {
        self.is_first
    }

    /// Returns when a place was given up, in the order in which they came.
    pub(super) async fn turn(&self) -> Result<(), Crowded> {
        match tokio::time::timeout_at(self.deadline, self.intake.turns.acquire()).await {
            Ok(Ok(turn)) => {
                turn.forget();
                Ok(())
            }
            Ok(Err(_)) | Err(_) => Err(Crowded),
        }
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        self.intake.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn as_many_wait_as_may_for_as_long_as_they_may() {
        let queue = Duration::from_secs(1);
        let intake = Intake::new(IntakeSettings { max_in_flight: 1, max_queued: 2, queue });
        let (first, second) = (intake.queue().unwrap(), intake.queue().unwrap());
        assert!(intake.queue().is_err());
        let (mut one, mut other) = (Box::pin(first.turn()), Box::pin(second.turn()));
        assert!((&mut one).now_or_never().is_none() && (&mut other).now_or_never().is_none());
        intake.freed();
        assert!((&mut other).now_or_never().is_none(), "the first comes first");
        assert_eq!(one.await, Ok(()));
        drop(first);
        assert!(intake.queue().is_ok(), "there is room again");
        assert_eq!(other.await, Err(Crowded), "its time is up");
    }

    #[tokio::test]
    async fn places_that_nobody_waits_for_are_not_remembered() {
        let settings =
            IntakeSettings { max_in_flight: 1, max_queued: 9, queue: Duration::from_secs(1) };
        let intake = Intake::new(settings);
        intake.freed();
        assert_eq!(intake.turns.available_permits(), 0);
        let _queued = intake.queue().unwrap();
        for _ in 0..5 {
            intake.freed();
        }
        assert_eq!(intake.turns.available_permits(), 1);
    }
}
