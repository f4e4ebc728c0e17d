//! Durations of the same thing, done over and over.

use std::time::Duration;

/// What was measured.
#[derive(Debug, Default)]
pub struct Figures(Vec<Duration>);

impl Figures {
    /// One more.
    pub fn add(&mut self, duration: Duration) {
        let at = self.0.partition_point(|other| *other < duration);
        self.0.insert(at, duration);
    }

    /// The duration that a share of all, in percent, does not exceed, in milliseconds.
    pub fn percentile(&self, percent: usize) -> f64 {
        let rank = (self.0.len() * percent).div_ceil(100).max(1);
        self.0.get(rank - 1).map_or(0.0, |it| it.as_secs_f64()) * 1e3
    }

    /// How many there are.
    pub fn rounds(&self) -> usize {
        self.0.len()
    }
}

impl FromIterator<Duration> for Figures {
    fn from_iter<I: IntoIterator<Item = Duration>>(durations: I) -> Self {
        let mut all: Vec<_> = durations.into_iter().collect();
        all.sort();
        Self(all)
    }
}
