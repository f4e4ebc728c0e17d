//! What the data plane has done so far. Each thread counts for itself without atomic
//! read-modify-write; readers add the threads up.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The sums over all threads at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Requests whose head was read.
    pub requests: u64,
    /// Requests whose answer is not through yet, event streams among them.
    pub in_flight: u64,
    /// Answers by class: 1xx (switched protocols) to 5xx.
    pub responses: [u64; 5],
    /// Answers that were broken off because the worker broke off.
    pub aborted: u64,
    /// Requests that wait for a worker's generation to be published.
    pub held: u64,
    /// Requests refused because their worker had enough to do.
    pub shed: u64,
    /// Requests that had to wait so, since the start.
    pub holds: u64,
    /// Those that waited in vain, or found no room to wait.
    pub holds_failed: u64,
    /// Client connections accepted.
    pub connections: u64,
    /// Client connections open now, tunnels among them.
    pub open_connections: u64,
    /// Upgraded connections open now.
    pub open_tunnels: u64,
    /// Failed `accept(2)`s, such as for want of descriptors.
    pub accept_errors: u64,
    /// Connections made to workers.
    pub upstream_connections: u64,
    /// Bytes read from clients.
    pub bytes_received: u64,
    /// Bytes written to clients.
    pub bytes_sent: u64,
}

/// Adds the threads' numbers up.
#[derive(Debug, Clone, Default)]
pub struct CountersReader(Vec<Arc<ThreadCounters>>);

impl CountersReader {
    /// The sums at this moment.
    pub fn sum(&self) -> Counters {
        let mut sums = Counters::default();
        for thread in &self.0 {
            thread.add_to(&mut sums);
        }
        sums
    }

    /// A number for every thread that rises while the thread does its work, a few times a minute
    /// at least. For the watchdog.
    pub fn heartbeats(&self) -> Vec<u64> {
        self.0.iter().map(|thread| thread.heartbeats.get()).collect()
    }

    pub(crate) fn add_thread(&mut self, counters: Arc<ThreadCounters>) {
        self.0.push(counters);
    }
}

/// A number that only its own thread changes.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    /// Adds `n`. A plain load and store, as there is one writer.
    pub(crate) fn add(&self, n: u64) {
        self.0.store(self.get().wrapping_add(n), Ordering::Relaxed);
    }

    /// Takes `n` off.
    pub(crate) fn sub(&self, n: u64) {
        self.0.store(self.get().wrapping_sub(n), Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One thread's numbers, on cache lines of their own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct ThreadCounters {
    pub(crate) heartbeats: Count,
    pub(crate) requests: Count,
    pub(crate) in_flight: Count,
    responses: [Count; 5],
    pub(crate) aborted: Count,
    pub(crate) held: Count,
    pub(crate) shed: Count,
    pub(crate) holds: Count,
    pub(crate) holds_failed: Count,
    pub(crate) connections: Count,
    pub(crate) open_connections: Count,
    pub(crate) open_tunnels: Count,
    pub(crate) accept_errors: Count,
    pub(crate) upstream_connections: Count,
    pub(crate) bytes_received: Count,
    pub(crate) bytes_sent: Count,
}

impl ThreadCounters {
    /// Counts an answer in its class.
    pub(crate) fn responded(&self, status: u16) {
        let class = usize::from(status / 100).saturating_sub(1);
        if let Some(count) = self.responses.get(class) {
            count.add(1);
        }
    }

    /// Adds this thread's numbers to `sums`.
    fn add_to(&self, sums: &mut Counters) {
        for (sum, count) in sums.responses.iter_mut().zip(&self.responses) {
            *sum += count.get();
        }
        for (sum, count) in [
            (&mut sums.requests, &self.requests),
            (&mut sums.in_flight, &self.in_flight),
            (&mut sums.aborted, &self.aborted),
            (&mut sums.held, &self.held),
            (&mut sums.shed, &self.shed),
            (&mut sums.holds, &self.holds),
            (&mut sums.holds_failed, &self.holds_failed),
            (&mut sums.connections, &self.connections),
            (&mut sums.open_connections, &self.open_connections),
            (&mut sums.open_tunnels, &self.open_tunnels),
            (&mut sums.accept_errors, &self.accept_errors),
            (&mut sums.upstream_connections, &self.upstream_connections),
            (&mut sums.bytes_received, &self.bytes_received),
            (&mut sums.bytes_sent, &self.bytes_sent),
        ] {
            *sum += count.get();
        }
    }
}
