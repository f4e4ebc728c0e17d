//! When changes that come in a row are over.

use std::time::Duration;

use tokio::time::Instant;

/// However long changes go on, they are acted on after this time (or the debounce itself, where
/// that is longer).
const LONGEST: Duration = Duration::from_millis(500);

/// Waits until nothing has changed for a while.
#[derive(Debug)]
pub(super) struct Debounce {
    quiet: Duration,
    /// When the first and the last change of the row came.
    row: Option<(Instant, Instant)>,
}

impl Debounce {
    /// One that wants `quiet` to pass without a change.
    pub(super) fn new(quiet: Duration) -> Self {
        Self { quiet, row: None }
    }

    /// Something has changed.
    pub(super) fn changed(&mut self, now: Instant) {
        let first = self.row.map_or(now, |(first, _)| first);
        self.row = Some((first, now));
    }

    /// Begins the row anew.
    pub(super) fn restart(&mut self, now: Instant) {
        self.row = Some((now, now));
    }

    /// When the row is to be acted on; `None` where nothing has changed.
    pub(super) fn due(&self) -> Option<Instant> {
        let (first, last) = self.row?;
        Some((last + self.quiet).min(first + LONGEST.max(self.quiet)))
    }

    /// When the first change of the row came.
    pub(super) fn since(&self) -> Option<Instant> {
        self.row.map(|(first, _)| first)
    }

    /// Ends the row; returns when its last change came.
    pub(super) fn take(&mut self) -> Option<Instant> {
        self.row.take().map(|(_, last)| last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_ends_with_quiet_or_when_it_lasts_too_long() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut debounce = Debounce::new(Duration::from_millis(100));
        assert_eq!(debounce.due(), None);
        debounce.changed(at(0));
        assert_eq!(debounce.due(), Some(at(100)));
        for ms in (0..480).step_by(40) {
            debounce.changed(at(ms));
        }
        assert_eq!(debounce.due(), Some(at(500)));
        assert_eq!(debounce.take(), Some(at(440)));
        assert_eq!(debounce.due(), None);

        let mut slow = Debounce::new(Duration::from_secs(2));
        slow.changed(at(0));
        assert_eq!(slow.due(), Some(at(2000)));
    }
}
