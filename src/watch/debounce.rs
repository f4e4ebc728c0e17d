//! When changes that come in a row are over.

use std::time::Duration;

use tokio::time::Instant;

/// However long changes go on, they are acted on after this time (or the debounce itself, where
/// that is longer).
const LONGEST: Duration = Duration::from_millis(500);

/// After this time without a change there is a pause: what an editor does to save a file, which may
/// be some renames and writes, is done without one.
const PAUSE: Duration = Duration::from_millis(8);

/// Waits until nothing has changed for a while.
#[derive(Debug)]
pub(super) struct Debounce {
    quiet: Duration,
    row: Option<Row>,
}

#[derive(Debug, Clone, Copy)]
struct Row {
    /// When its first change came.
    first: Instant,
    /// When its last change came.
    last: Instant,
    /// Whether the pause after that was noticed.
    paused: bool,
}

impl Debounce {
    /// One that wants `quiet` to pass without a change.
    pub(super) fn new(quiet: Duration) -> Self {
        Self { quiet, row: None }
    }

    /// Something has changed.
    pub(super) fn changed(&mut self, now: Instant) {
        let first = self.row.map_or(now, |row| row.first);
        self.row = Some(Row { first, last: now, paused: false });
    }

    /// Begins the row anew.
    pub(super) fn restart(&mut self, now: Instant) {
        self.row = Some(Row { first: now, last: now, paused: false });
    }

    /// When the row is to be acted on; `None` where nothing has changed.
    pub(super) fn due(&self) -> Option<Instant> {
        let Row { first, last, .. } = self.row?;
        Some((last + self.quiet).min(first + LONGEST.max(self.quiet)))
    }

    /// When the row pauses; `None` where it is over before, or the pause was noticed.
    pub(super) fn pause(&self) -> Option<Instant> {
        let row = self.row.filter(|row| !row.paused)?;
        Some(row.last + PAUSE).filter(|pause| Some(*pause) < self.due())
    }

    /// Notices the pause.
    pub(super) fn paused(&mut self) {
        if let Some(row) = &mut self.row {
            row.paused = true;
        }
    }

    /// When the first change of the row came.
    pub(super) fn since(&self) -> Option<Instant> {
        self.row.map(|row| row.first)
    }

    /// Ends the row; returns when its last change came.
    pub(super) fn take(&mut self) -> Option<Instant> {
        self.row.take().map(|row| row.last)
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

    #[test]
    fn a_row_pauses_once_after_each_change_unless_it_is_over_before() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut debounce = Debounce::new(Duration::from_millis(100));
        assert_eq!(debounce.pause(), None);
        debounce.changed(at(0));
        debounce.changed(at(5));
        assert_eq!(debounce.pause(), Some(at(13)));
        debounce.paused();
        assert_eq!(debounce.pause(), None);
        assert_eq!(debounce.due(), Some(at(105)), "the row goes on");
        debounce.changed(at(60));
        assert_eq!(debounce.pause(), Some(at(68)));
        debounce.changed(at(495));
        assert_eq!((debounce.pause(), debounce.due()), (None, Some(at(500))));

        let mut quick = Debounce::new(Duration::from_millis(1));
        quick.changed(at(0));
        assert_eq!(quick.pause(), None);
    }
}
