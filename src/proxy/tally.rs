//! What one generation has done, counted as in [`counters`](super::counters): each thread for itself, in
//! cells that hang on the target, so that a request looks nothing up.

use std::sync::OnceLock;
use std::time::Duration;

use super::counters::Count;
use super::durations::{DurationSums, Durations};
use super::exchange::Upstream;

/// The most threads a data plane has.
pub(super) const MAX_THREADS: usize = 256;
/// Classes of answers whose durations are told apart: 2xx to 5xx.
pub const CLASSES: usize = 4;

/// One thread's numbers of one generation, on cache lines of their own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Tally {
    /// Requests sent to it.
    pub(crate) requests: Count,
    responses: [Count; 5],
    pub(crate) aborted: Count,
    pub(crate) retries: Count,
    pub(crate) bytes_sent: Count,
    pub(crate) bytes_received: Count,
    durations: [Durations; CLASSES],
}

impl Tally {
    /// Counts an answer in its class.
    pub(crate) fn responded(&self, status: u16) {
        let class = usize::from(status / 100).wrapping_sub(1);
        if let Some(count) = self.responses.get(class) {
            count.add(1);
        }
    }

    /// Counts what went over a connection to it.
    pub(crate) fn passed(&self, connection: &Upstream) {
        self.bytes_sent.add(connection.sent);
        self.bytes_received.add(connection.received);
    }

    /// Counts how long it took to answer with a final status.
    pub(crate) fn took(&self, status: u16, duration: Duration) {
        let class = usize::from(status / 100).wrapping_sub(2);
        if let Some(durations) = self.durations.get(class) {
            durations.took(duration);
        }
    }
}

/// One generation's numbers, a thread each; a thread that never served it takes no room.
#[derive(Debug)]
pub(super) struct Tallies(Box<[OnceLock<Box<Tally>>]>);

impl Default for Tallies {
    fn default() -> Self {
        Self((0..MAX_THREADS).map(|_| OnceLock::new()).collect())
    }
}

impl Tallies {
    /// Those of a thread, which alone may count there. `thread` is below [`MAX_THREADS`].
    pub(super) fn of_thread(&self, thread: usize) -> &Tally {
        self.0[thread].get_or_init(Box::default)
    }

    pub(super) fn sum(&self) -> WorkerFigures {
        let mut sums = WorkerFigures::default();
        for tally in self.0.iter().filter_map(OnceLock::get) {
            sums.requests += tally.requests.get();
            for (sum, count) in sums.responses.iter_mut().zip(&tally.responses) {
                *sum += count.get();
            }
            sums.aborted += tally.aborted.get();
            sums.retries += tally.retries.get();
            sums.bytes_sent += tally.bytes_sent.get();
            sums.bytes_received += tally.bytes_received.get();
            for (sum, durations) in sums.durations.iter_mut().zip(&tally.durations) {
                sum.add(&durations.sums());
            }
        }
        sums
    }
}

/// The sums over all threads: of a generation, or of all of a worker's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WorkerFigures {
    /// Requests sent to it. One that is sent to a second generation counts at both.
    pub requests: u64,
    /// Answers by class: 1xx (switched protocols) to 5xx; what tqserver answers in its stead is counted
    /// here, too.
    pub responses: [u64; 5],
    /// Answers that broke off.
    pub aborted: u64,
    /// Requests that were sent once more.
    pub retries: u64,
    /// Bytes written to it. Counted when an answer or a tunnel has ended.
    pub bytes_sent: u64,
    /// Bytes read from it, likewise.
    pub bytes_received: u64,
    /// From the sending of a request until the last byte of its answer was passed on, by class, 2xx to 5xx.
    /// Event streams and tunnels, which end when somebody wants them to, are not among them.
    pub durations: [DurationSums; CLASSES],
}

impl WorkerFigures {
    /// Durations of all classes.
    pub fn all_durations(&self) -> DurationSums {
        let mut sum = DurationSums::default();
        self.durations.iter().for_each(|class| sum.add(class));
        sum
    }

    /// Adds another generation's.
    pub fn add(&mut self, other: &Self) {
        self.combine(other, |ours, theirs| ours + theirs);
        for (sum, durations) in self.durations.iter_mut().zip(&other.durations) {
            sum.add(durations);
        }
    }

    /// What happened since `earlier`.
    pub fn since(&self, earlier: &Self) -> Self {
        let mut since = *self;
        since.combine(earlier, u64::saturating_sub);
        for (durations, earlier) in since.durations.iter_mut().zip(&earlier.durations) {
            *durations = durations.since(earlier);
        }
        since
    }

    fn combine(&mut self, other: &Self, with: impl Fn(u64, u64) -> u64) {
        for (ours, theirs) in self.responses.iter_mut().zip(&other.responses) {
            *ours = with(*ours, *theirs);
        }
        for (ours, theirs) in [
            (&mut self.requests, other.requests),
            (&mut self.aborted, other.aborted),
            (&mut self.retries, other.retries),
            (&mut self.bytes_sent, other.bytes_sent),
            (&mut self.bytes_received, other.bytes_received),
        ] {
            *ours = with(*ours, theirs);
        }
    }
}
