//! Waiting for what another process brings about and no event tells of.

use std::time::{Duration, Instant};

/// How often the condition is looked at.
const INTERVAL: Duration = Duration::from_millis(10);

/// Returns once `condition` holds.
///
/// # Panics
///
/// Names `what` when it does not hold within `timeout`.
#[track_caller]
pub fn await_until(what: &str, timeout: Duration, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + timeout;
    while !condition() {
        assert!(Instant::now() < deadline, "not within {timeout:?}: {what}");
        std::thread::sleep(INTERVAL);
    }
}
