//! Durations of the same thing, done over and over.

use std::fmt;
use std::time::Duration;

/// What was measured.
#[derive(Debug, Default)]
pub struct Figures(Vec<Duration>);

impl Figures {
    /// One more.
    pub fn add(&mut self, duration: Duration) {
        self.0.push(duration);
        self.0.sort();
    }

    /// The duration that a share of all, in percent, does not exceed.
    pub fn percentile(&self, percent: usize) -> Duration {
        self.0.get((self.0.len().saturating_sub(1)) * percent / 100).copied().unwrap_or_default()
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |percent| self.percentile(percent).as_secs_f64() * 1e3;
        write!(f, "p50 {:8.2} ms  p90 {:8.2} ms  n {}", ms(50), ms(90), self.0.len())
    }
}
