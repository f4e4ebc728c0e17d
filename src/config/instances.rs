//! How many instances a generation has, which of them get requests, how many, and when one is not well.

use std::time::Duration;

use super::section::Section;
use super::server::DAY;
use super::settings::{
    InstanceOverrides, InstanceSettings, ScalingOverrides, ScalingSettings, WorkerOverrides,
};

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
        scaling: section.section("scaling", scaling),
    }
}

/// Reads `scaling`.
fn scaling(section: &mut Section<'_, '_>) -> ScalingOverrides {
    let min = section.number("min", 0..=MOST).map(usize::from);
    let max = section.number("max", 1..=MOST).map(usize::from);
    if let (Some(min), Some(max)) = (min, max)
        && min > max
    {
        let message = format!("fewest instances ({min}) are more than the most ({max})");
        section.error(section.position("min"), message);
    }
    ScalingOverrides {
        min,
        max,
        target_in_flight: section.number("target_in_flight", 1..=1_000_000),
        idle: section.seconds("idle_seconds", 1..=DAY),
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
            scaling: ScalingSettings {
                min: None,
                max: None,
                target_in_flight: 8,
                idle: Duration::from_secs(300),
            },
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
            scaling: self.scaling.with(&overrides.scaling),
        }
    }

    /// The fewest instances of a generation that serves; 0: it may have none while nobody asks for it.
    pub fn fewest(&self) -> usize {
        self.scaling.min.unwrap_or(self.count).min(self.most())
    }

    /// The most instances of a generation.
    pub fn most(&self) -> usize {
        self.scaling.max.unwrap_or_else(|| self.count.max(self.scaling.min.unwrap_or(0)))
    }

    /// How many instances a generation that comes to serve has at first.
    pub fn at_first(&self) -> usize {
        self.count.clamp(self.fewest().max(1), self.most())
    }

    /// Whether their number follows what they have to do.
    pub fn scales(&self) -> bool {
        self.fewest() < self.most()
    }

    /// What the first of `layers` that says something says, else these.
    pub(super) fn under(&self, layers: [&WorkerOverrides; 2]) -> Self {
        layers.iter().rev().fold(*self, |below, layer| below.with(&layer.instances))
    }
}

impl ScalingSettings {
    fn with(self, overrides: &ScalingOverrides) -> Self {
        Self {
            min: overrides.min.or(self.min),
            max: overrides.max.or(self.max),
            target_in_flight: overrides.target_in_flight.unwrap_or(self.target_in_flight),
            idle: overrides.idle.unwrap_or(self.idle),
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::as_many_as_ever(2, None, None, [2, 2, 2])]
    #[case::down_to_none(1, Some(0), None, [0, 1, 1])]
    #[case::up(2, None, Some(5), [2, 2, 5])]
    #[case::to_both_sides(2, Some(1), Some(5), [1, 2, 5])]
    #[case::more_than_at_first(1, Some(2), None, [2, 2, 2])]
    #[case::fewer_than_at_first(8, Some(1), Some(4), [1, 4, 4])]
    #[case::layers_that_contradict_each_other(1, Some(6), Some(4), [4, 4, 4])]
    fn the_number_keeps_within_its_bounds(
        #[case] count: usize,
        #[case] min: Option<usize>,
        #[case] max: Option<usize>,
        #[case] expected: [usize; 3],
    ) {
        let mut settings = InstanceSettings { count, ..InstanceSettings::default() };
        (settings.scaling.min, settings.scaling.max) = (min, max);
        assert_eq!([settings.fewest(), settings.at_first(), settings.most()], expected);
        assert_eq!(settings.scales(), expected[0] < expected[2]);
    }
}
