//! A deadline that may move with every read and write at next to no cost.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::time::{Instant, Sleep, sleep_until};

/// A timer that leaves the runtime's wheel alone while its deadline only moves later, which is
/// what idle limits do: it lets the old deadline fire and then sleeps on to the new one.
#[derive(Debug, Default)]
pub(crate) struct LazyTimer {
    sleep: Option<Pin<Box<Sleep>>>,
}

impl LazyTimer {
    /// Ready once `deadline` has passed. The deadline may differ from call to call.
    pub(crate) fn poll_elapsed(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        loop {
            ready!(sleep.as_mut().poll(cx));
            if sleep.deadline() >= deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn fires_at_the_last_deadline_it_was_given() {
        let start = Instant::now();
        let (second, minute) = (Duration::from_secs(1), Duration::from_secs(60));
        let mut timer = LazyTimer::default();
        // Registered for one second, then moved later, then earlier again.
        let first_poll = poll_fn(|cx| Poll::Ready(timer.poll_elapsed(cx, start + second)));
        assert!(first_poll.await.is_pending());
        poll_fn(|cx| timer.poll_elapsed(cx, start + minute)).await;
        assert_eq!(start.elapsed(), minute);

        let mut timer = LazyTimer::default();
        let _ = poll_fn(|cx| Poll::Ready(timer.poll_elapsed(cx, start + 3 * minute))).await;
        poll_fn(|cx| timer.poll_elapsed(cx, start + 2 * minute)).await;
        assert_eq!(start.elapsed(), 2 * minute);
    }
}
