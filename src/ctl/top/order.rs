//! In which order workers are shown.

use std::cmp::Ordering;

use crate::admin::api::WorkerStatus;

/// What they are sorted by, in the order of the columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Name,
    Rate,
    P99,
    Errors,
    InFlight,
    Memory,
    Cpu,
    Restarts,
}

impl Key {
    const ALL: [Self; 8] = [
        Self::Name,
        Self::Rate,
        Self::P99,
        Self::Errors,
        Self::InFlight,
        Self::Memory,
        Self::Cpu,
        Self::Restarts,
    ];

    /// The one of a column further right, or left.
    pub(super) fn moved(self, right: bool) -> Self {
        let at = Self::ALL.iter().position(|key| *key == self).unwrap_or(0);
        let steps = if right { 1 } else { Self::ALL.len() - 1 };
        Self::ALL[(at + steps) % Self::ALL.len()]
    }

    /// The heading of its column.
    pub(super) fn heading(self) -> &'static str {
        match self {
            Self::Name => "WORKER",
            Self::Rate => "REQ/S",
            Self::P99 => "P50/P99",
            Self::Errors => "5XX",
            Self::InFlight => "IN FLIGHT",
            Self::Memory => "MEM",
            Self::Cpu => "CPU",
            Self::Restarts => "RESTARTS",
        }
    }

    /// Names from A on, figures from the largest on; those of one figure by name.
    pub(super) fn compare(self, a: &WorkerStatus, b: &WorkerStatus) -> Ordering {
        let largest_first = self.figure(b).total_cmp(&self.figure(a));
        largest_first.then_with(|| a.name.cmp(&b.name))
    }

    /// What is not known comes last.
    fn figure(self, worker: &WorkerStatus) -> f64 {
        let unknown = -1.0;
        let load = worker.load;
        match self {
            Self::Name => 0.0,
            Self::Rate => load.map_or(unknown, |load| load.requests_per_second),
            Self::P99 => load.and_then(|load| load.p99_ms).unwrap_or(unknown),
            Self::Errors => load.and_then(|load| load.server_errors).unwrap_or(unknown),
            Self::InFlight => worker.in_flight as f64,
            Self::Memory => worker.memory_bytes.map_or(unknown, |bytes| bytes as f64),
            Self::Cpu => worker.cpus_busy.unwrap_or(unknown),
            Self::Restarts => worker.restarts as f64,
        }
    }
}
