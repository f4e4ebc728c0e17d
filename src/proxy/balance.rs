//! Which of several instances gets a request: the less busy of two that are drawn at random. New ones
//! get fewer at first, and one that fails again and again none for a while.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::target::Target;

/// When an instance gets fewer requests than its like. By default never.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BalanceSettings {
    /// How long the share of a new instance grows; zero: it is whole at once.
    pub slow_start: Duration,
    /// After how many failures in a row an instance is ejected; 0: never.
    pub eject_after: u32,
    /// For how long.
    pub eject_for: Duration,
}

/// How an instance does.
#[derive(Debug)]
pub(super) struct Standing {
    settings: BalanceSettings,
    since: Instant,
    /// In a row.
    failures: AtomicU32,
    /// In milliseconds from `since`; 0 where it is not ejected.
    ejected_until: AtomicU64,
}

impl Standing {
    pub(super) fn new(settings: BalanceSettings) -> Self {
        let (failures, ejected_until) = (AtomicU32::new(0), AtomicU64::new(0));
        Self { settings, since: Instant::now(), failures, ejected_until }
    }

    /// It has answered, and with no error of its own.
    pub(super) fn succeeded(&self) {
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
    }

    /// It has not, or with one. Returns whether it is ejected for that.
    pub(super) fn failed(&self) -> bool {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if self.settings.eject_after == 0 || failures < self.settings.eject_after {
            return false;
        }
        self.failures.store(0, Ordering::Relaxed);
        let until = millis(self.since.elapsed() + self.settings.eject_for);
        let before = self.ejected_until.fetch_max(until, Ordering::Relaxed);
        before <= millis(self.since.elapsed())
    }

    /// It is not well, and will not be again.
    pub(super) fn eject_for_good(&self) {
        self.ejected_until.store(u64::MAX, Ordering::Relaxed);
    }

    /// The clock is only asked of one that was ejected once.
    pub(super) fn is_ejected(&self) -> bool {
        let until = self.ejected_until.load(Ordering::Relaxed);
        until != 0 && millis(self.since.elapsed()) < until
    }

    /// Whether a request drawn for it is to go to another, as it is still new. `chance` is any evenly
    /// spread number.
    fn declines(&self, chance: u8) -> bool {
        let whole = self.settings.slow_start;
        if whole.is_zero() {
            return false;
        }
        let age = self.since.elapsed();
        age < whole && u128::from(chance) * whole.as_nanos() >= age.as_nanos() * 256
    }
}

fn millis(time: Duration) -> u64 {
    time.as_millis().try_into().unwrap_or(u64::MAX)
}

/// The better of two that were drawn. `chance` is any evenly spread number.
pub(super) fn better<'a, T: AsRef<Target>>(first: &'a T, second: &'a T, chance: u8) -> &'a T {
    let (one, other) = (first.as_ref(), second.as_ref());
    let (chosen, left) =
        if other.in_flight() < one.in_flight() { (second, first) } else { (first, second) };
    if chosen.as_ref().standing().declines(chance) { left } else { chosen }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn one_that_fails_in_a_row_is_ejected_and_comes_back() {
        let settings = BalanceSettings { eject_after: 3, eject_for: SECOND, ..Default::default() };
        let standing = Standing::new(settings);
        assert_eq!([standing.failed(), standing.failed()], [false, false]);
        standing.succeeded();
        assert_eq!([standing.failed(), standing.failed()], [false, false], "not in a row");
        assert!(standing.failed() && standing.is_ejected());
        advance(SECOND).await;
        assert!(!standing.is_ejected());
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_one_declines_less_and_less() {
        let settings = BalanceSettings { slow_start: 8 * SECOND, ..Default::default() };
        let standing = Standing::new(settings);
        let mut declined = Vec::new();
        for _ in 0..3 {
            declined.push((0..=u8::MAX).filter(|chance| standing.declines(*chance)).count());
            advance(4 * SECOND).await;
        }
        assert_eq!(declined, [256, 128, 0]);
    }
}
