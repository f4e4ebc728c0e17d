//! One thread's deadlines. Nearly all of them are moved before they pass, so that moving one must
//! cost nothing: it is a store, and the clock looks at all of them when the earliest may have passed.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use slab::Slab;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// The least time between two looks. A deadline passes by so much too late at most.
const GRANULARITY: Duration = Duration::from_millis(10);

/// The clock, and those who wait for it.
#[derive(Debug, Default)]
pub(crate) struct Deadlines {
    entries: RefCell<Slab<Entry>>,
    /// The earliest of the deadlines, or earlier.
    next: Cell<Option<Instant>>,
    /// Told when `next` is earlier than it was.
    sooner: Notify,
}

#[derive(Debug, Default)]
struct Entry {
    at: Option<Instant>,
    passed: bool,
    waker: Option<Waker>,
}

impl Deadlines {
    /// Lets deadlines pass, for ever.
    pub(crate) async fn run(&self) {
        let mut look_at = Instant::now();
        loop {
            let sooner = self.sooner.notified();
            match self.next.get() {
                None => sooner.await,
                Some(next) => {
                    tokio::select! {
                        () = sooner => {}
                        () = sleep_until(next.max(look_at)) => {
                            self.look(Instant::now());
                            look_at = Instant::now() + GRANULARITY;
                        }
                    }
                }
            }
        }
    }

    fn look(&self, now: Instant) {
        let mut next: Option<Instant> = None;
        for (_, entry) in self.entries.borrow_mut().iter_mut() {
            let Some(at) = entry.at.filter(|_| !entry.passed) else { continue };
            if at > now {
                next = Some(next.map_or(at, |next| next.min(at)));
                continue;
            }
            entry.passed = true;
            if let Some(waker) = entry.waker.take() {
                waker.wake();
            }
        }
        self.next.set(next);
    }

    /// Wakes everybody, as something has happened that changes what they wait for.
    pub(crate) fn wake_all(&self) {
        for (_, entry) in self.entries.borrow_mut().iter_mut() {
            if let Some(waker) = entry.waker.take() {
                waker.wake();
            }
        }
    }
}

/// A deadline that moves.
#[derive(Debug)]
pub(crate) struct Deadline {
    clock: Rc<Deadlines>,
    key: usize,
}

impl Deadline {
    /// One that is nowhere yet.
    pub(crate) fn new(clock: &Rc<Deadlines>) -> Self {
        let key = clock.entries.borrow_mut().insert(Entry::default());
        Self { clock: Rc::clone(clock), key }
    }

    /// Ready once `at` has passed; never for `None`. The caller is woken by
    /// [`Deadlines::wake_all`] as well.
    pub(crate) fn poll(&self, cx: &mut Context<'_>, at: Option<Instant>) -> Poll<()> {
        let mut entries = self.clock.entries.borrow_mut();
        let entry = &mut entries[self.key];
        if entry.at != at {
            entry.at = at;
            entry.passed = false;
            if let Some(at) = at
                && self.clock.next.get().is_none_or(|next| at < next)
            {
                self.clock.next.set(Some(at));
                self.clock.sooner.notify_one();
            }
        }
        if entry.passed {
            return Poll::Ready(());
        }
        if entry.waker.as_ref().is_none_or(|waker| !waker.will_wake(cx.waker())) {
            entry.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// The outcome of `future`, or `None` when it takes longer than `limit`.
    pub(crate) async fn limit<F: Future>(&self, limit: Duration, future: F) -> Option<F::Output> {
        let mut at = None;
        self.until(|| *at.get_or_insert_with(|| Instant::now() + limit), future).await
    }

    /// The outcome of `future`, or `None` when it is not there at the time that `at` says. That is asked
    /// anew with every look.
    pub(crate) async fn until<F: Future>(
        &self,
        mut at: impl FnMut() -> Instant,
        future: F,
    ) -> Option<F::Output> {
        let mut future = pin!(future);
        poll_fn(|cx| {
            if let Poll::Ready(outcome) = future.as_mut().poll(cx) {
                return Poll::Ready(Some(outcome));
            }
            self.poll(cx, Some(at())).map(|()| None)
        })
        .await
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        self.clock.entries.borrow_mut().remove(self.key);
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::LocalSet;

    use super::*;

    /// Runs `test` beside a clock.
    async fn clocked<F: Future>(test: impl FnOnce(Rc<Deadlines>) -> F) -> F::Output {
        let clock = Rc::new(Deadlines::default());
        let local = LocalSet::new();
        let running = Rc::clone(&clock);
        local.spawn_local(async move { running.run().await });
        local.run_until(test(clock)).await
    }

    const MINUTE: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn passes_where_it_was_moved_last() {
        let start = Instant::now();
        clocked(async |clock| {
            let deadline = Deadline::new(&clock);
            let poll = async |at| poll_fn(|cx| Poll::Ready(deadline.poll(cx, at))).await;
            assert!(poll(Some(start + MINUTE)).await.is_pending());
            poll_fn(|cx| deadline.poll(cx, Some(start + 3 * MINUTE))).await;
            assert_eq!(start.elapsed(), 3 * MINUTE);
            assert!(poll(None).await.is_pending());
            assert!(poll(Some(start + 9 * MINUTE)).await.is_pending());
            poll_fn(|cx| deadline.poll(cx, Some(start + 4 * MINUTE))).await;
            assert_eq!(start.elapsed(), 4 * MINUTE);
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn each_passes_in_its_time() {
        let start = Instant::now();
        clocked(async |clock| {
            let (soon, late) = (Deadline::new(&clock), Deadline::new(&clock));
            let forever = std::future::pending::<()>;
            let ended = tokio::join!(
                async { late.limit(2 * MINUTE, forever()).await.map(|()| start.elapsed()) },
                async {
                    assert_eq!(soon.limit(MINUTE, forever()).await, None);
                    assert_eq!(start.elapsed(), MINUTE);
                },
            );
            assert_eq!(ended.0, None);
            assert_eq!(start.elapsed(), 2 * MINUTE);
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn many_at_once_are_looked_at_together() {
        clocked(async |clock| {
            let start = Instant::now();
            let all: Vec<_> = (0..100).map(|_| Deadline::new(&clock)).collect();
            let waits = all.iter().enumerate().map(|(n, deadline)| {
                deadline.limit(Duration::from_micros(n as u64), std::future::pending::<()>())
            });
            futures_util::future::join_all(waits).await;
            assert!(start.elapsed() <= 2 * GRANULARITY, "{:?}", start.elapsed());
        })
        .await;
    }
}
