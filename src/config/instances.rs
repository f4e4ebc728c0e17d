//! How many instances a generation has, and which of them get requests.

use super::section::Section;
use super::settings::{InstanceOverrides, InstanceSettings, WorkerOverrides};

/// The most instances of a generation.
const MOST: u8 = 64;

/// Reads the keys, which stand beside the other limits of a worker.
pub(super) fn read(section: &mut Section<'_, '_>) -> InstanceOverrides {
    InstanceOverrides { count: section.number("instances", 1..=MOST).map(usize::from) }
}

impl Default for InstanceSettings {
    fn default() -> Self {
        Self { count: 1 }
    }
}

impl InstanceSettings {
    /// What `overrides` leaves of these.
    #[must_use]
    pub(super) fn with(&self, overrides: &InstanceOverrides) -> Self {
        Self { count: overrides.count.unwrap_or(self.count) }
    }

    /// What the first of `layers` that says something says, else these.
    pub(super) fn under(&self, layers: [&WorkerOverrides; 2]) -> Self {
        layers.iter().rev().fold(*self, |below, layer| below.with(&layer.instances))
    }
}
