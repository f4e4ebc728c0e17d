//! How many instances a generation has, which of them get requests, how many, and when one is not well.

use std::time::Duration;

use super::section::Section;
use super::settings::{InstanceOverrides, InstanceSettings, WorkerOverrides};

/// The most instances of a generation.
const MOST: u8 = 64;

/// The longest of all times here: an hour.
const HOUR: u64 = 3600;

/// Reads the keys, which stand beside the other limits of a worker.
pub(super) fn read(section: &mut Section<'_, '_>) -> InstanceOverrides {
    InstanceOverrides {
        count: section.number("instances", 1..=MOST).map(usize::from),
        slow_start: section.seconds("slow_start_seconds", 0..=HOUR),
        eject_after: section.number("eject_after_failures", 0..=1000),
        eject_for: section.seconds("eject_seconds", 1..=HOUR),
        max_in_flight: section.number("max_in_flight", 0..=1_000_000),
        max_queued: section.number("max_queued", 0..=100_000_u32).map(|count| count as usize),
        queue: section.seconds("queue_seconds", 1..=60),
        check_every: section.seconds("health_interval_seconds", 0..=HOUR),
        unwell_after: section.number("health_failures", 1..=100),
    }
}

impl Default for InstanceSettings {
    fn default() -> Self {
        Self {
            count: 1,
            slow_start: Duration::from_secs(10),
            eject_after: 5,
            eject_for: Duration::from_secs(10),
            max_in_flight: 0,
            max_queued: 100,
            queue: Duration::from_secs(1),
            check_every: Duration::ZERO,
            unwell_after: 3,
        }
    }
}

impl InstanceSettings {
    /// What `overrides` leaves of these.
    #[must_use]
    pub(super) fn with(&self, overrides: &InstanceOverrides) -> Self {
        Self {
            count: overrides.count.unwrap_or(self.count),
            slow_start: overrides.slow_start.unwrap_or(self.slow_start),
            eject_after: overrides.eject_after.unwrap_or(self.eject_after),
            eject_for: overrides.eject_for.unwrap_or(self.eject_for),
            max_in_flight: overrides.max_in_flight.unwrap_or(self.max_in_flight),
            max_queued: overrides.max_queued.unwrap_or(self.max_queued),
            queue: overrides.queue.unwrap_or(self.queue),
            check_every: overrides.check_every.unwrap_or(self.check_every),
            unwell_after: overrides.unwell_after.unwrap_or(self.unwell_after),
        }
    }

    /// What the first of `layers` that says something says, else these.
    pub(super) fn under(&self, layers: [&WorkerOverrides; 2]) -> Self {
        layers.iter().rev().fold(*self, |below, layer| below.with(&layer.instances))
    }
}
