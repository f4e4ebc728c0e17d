//! One instance of a generation as the data plane sees it: an address, and a count of the requests it owes.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::balance::{BalanceSettings, Standing};
use super::intake::Intake;
use super::tally::{Tallies, Tally, WorkerFigures};
use crate::control_group::ControlGroup;
use crate::ids::{Generation, WorkerName};

/// Set in [`Target::state`] once no new request may be claimed; the other bits count claims.
const DRAINING: u64 = 1 << 63;

/// An upstream that requests are sent to.
#[derive(Debug)]
pub struct Target {
    /// Whose generation it is.
    pub worker: WorkerName,
    /// Which one.
    pub generation: Generation,
    /// Where it listens.
    pub addr: SocketAddr,
    /// Where its program is, once that is known.
    control_group: OnceLock<ControlGroup>,
    /// Claims in flight, and the draining bit.
    state: AtomicU64,
    /// How many may be in flight, and who waits.
    intake: Arc<Intake>,
    /// After how many claims it is worn out; 0: never. Nothing is counted then.
    max_requests: u64,
    taken: AtomicU64,
    /// Told once when it is.
    worn_out: Notify,
    /// Told when the last claim of a draining target is dropped.
    drained: Notify,
    /// What it has done, by thread.
    tallies: Tallies,
    /// Ends event streams and tunnels once the drain limit has passed.
    cut: CancellationToken,
    standing: Standing,
}

/// How requests come to a target, and how many.
#[derive(Debug, Clone, Default)]
pub struct TargetSettings {
    /// When it gets fewer than its like.
    pub balance: BalanceSettings,
    /// How many may be in flight, which all instances of a worker share.
    pub intake: Arc<Intake>,
    /// After how many requests it is to be replaced; 0: never.
    pub max_requests: u64,
}

impl Target {
    /// A target that takes requests, with [`TargetSettings::default`].
    pub fn new(worker: WorkerName, generation: Generation, addr: SocketAddr) -> Arc<Self> {
        Self::with_settings(worker, generation, addr, TargetSettings::default())
    }

    /// A target that takes requests.
    pub fn with_settings(
        worker: WorkerName,
        generation: Generation,
        addr: SocketAddr,
        settings: TargetSettings,
    ) -> Arc<Self> {
        Arc::new(Self {
            worker,
            generation,
            addr,
            control_group: OnceLock::new(),
            state: AtomicU64::new(0),
            intake: settings.intake,
            max_requests: settings.max_requests,
            taken: AtomicU64::new(0),
            worn_out: Notify::new(),
            drained: Notify::new(),
            tallies: Tallies::default(),
            cut: CancellationToken::new(),
            standing: Standing::new(settings.balance),
        })
    }

    /// Takes a request on, or refuses because the target drains, or has enough.
    ///
    /// Invariant (claim or retry): counting and the look at the draining bit are one atomic step,
    /// so a request is either counted before the drain began, and waited for, or refused, and then
    /// its caller loads the table again. None is ever sent to a generation told to stop.
    pub fn claim(self: &Arc<Self>) -> Option<Claim> {
        match self.intake.max_in_flight() {
            Some(_) if self.intake.somebody_waits() => None,
            Some(_) => self.claim_in_turn(),
            None => self.claim_any(),
        }
    }

    /// The same for a request whose turn it is among those that wait for a place.
    pub(super) fn claim_in_turn(self: &Arc<Self>) -> Option<Claim> {
        let Some(max) = self.intake.max_in_flight() else { return self.claim_any() };
        let one_more = |state| (state & DRAINING == 0 && state < max).then_some(state + 1);
        self.state.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_more).ok()?;
        Some(self.claimed())
    }

    fn claim_any(self: &Arc<Self>) -> Option<Claim> {
        let before = self.state.fetch_add(1, Ordering::AcqRel);
        if before & DRAINING != 0 {
            self.release();
            return None;
        }
        Some(self.claimed())
    }

    fn claimed(self: &Arc<Self>) -> Claim {
        if self.max_requests != 0
            && self.taken.fetch_add(1, Ordering::Relaxed) + 1 == self.max_requests
        {
            self.worn_out.notify_one();
        }
        Claim { target: Arc::clone(self) }
    }

    /// What a request waits at for which there is no place, though the target does not drain.
    pub(super) fn intake_when_full(&self) -> Option<&Arc<Intake>> {
        let max = self.intake.max_in_flight()?;
        let is_full = self.intake.somebody_waits() || self.in_flight() >= max;
        (is_full && !self.is_draining()).then_some(&self.intake)
    }

    /// From now on no connection is used at whose other end another program is.
    pub fn set_control_group(&self, group: ControlGroup) {
        // A unit stays in its group.
        self.control_group.get_or_init(|| group);
    }

    /// Where its program is, if that is known.
    pub(super) fn control_group(&self) -> Option<ControlGroup> {
        self.control_group.get().copied()
    }

    /// How many requests are in flight.
    pub fn in_flight(&self) -> u64 {
        self.state.load(Ordering::Acquire) & !DRAINING
    }

    /// Refuses every later claim.
    ///
    /// Invariant (publish, then drain): call it only after a table without this target was
    /// published, else a request could load the same table for ever.
    pub fn start_draining(&self) {
        self.state.fetch_or(DRAINING, Ordering::AcqRel);
        self.drained.notify_waiters();
    }

    /// Whether claims are refused.
    pub fn is_draining(&self) -> bool {
        self.state.load(Ordering::Acquire) & DRAINING != 0
    }

    /// Whether it drains and nothing is in flight: then nothing ever will be.
    pub(super) fn is_drained(&self) -> bool {
        self.state.load(Ordering::Acquire) == DRAINING
    }

    /// What it has done so far.
    pub fn figures(&self) -> WorkerFigures {
        self.tallies.sum()
    }

    /// Where a thread counts what it does with it.
    pub(super) fn tally(&self, thread: usize) -> &Tally {
        self.tallies.of_thread(thread)
    }

    /// Completes when the target drains and nothing is in flight.
    pub async fn drained(&self) {
        loop {
            let notified = self.drained.notified();
            if self.is_drained() {
                return;
            }
            notified.await;
        }
    }

    /// Completes once, when the target has taken as many requests as it may. It takes more until
    /// another has its place.
    pub async fn worn_out(&self) {
        self.worn_out.notified().await;
    }

    /// Ends what would otherwise never end: event streams with a complete last chunk, tunnels
    /// with a close frame.
    pub fn cut_streams(&self) {
        self.cut.cancel();
    }

    pub(super) fn standing(&self) -> &Standing {
        &self.standing
    }

    /// Prefers others for as long as it is there.
    pub fn set_unwell(&self) {
        self.standing.eject_for_good();
    }

    /// Whether it failed so often in a row that others are preferred for a while.
    pub fn is_ejected(&self) -> bool {
        self.standing.is_ejected()
    }

    /// Cancelled once streams are to end.
    pub fn cut(&self) -> &CancellationToken {
        &self.cut
    }

    fn release(&self) {
        let before = self.state.fetch_sub(1, Ordering::SeqCst);
        if before == DRAINING | 1 {
            self.drained.notify_waiters();
        }
        if self.intake.max_in_flight().is_some() {
            self.intake.freed();
        }
    }
}

/// One request in flight at a target. Dropped when the last byte of the answer's body, or of the
/// tunnel, is through.
#[derive(Debug)]
pub struct Claim {
    target: Arc<Target>,
}

impl Claim {
    /// What was claimed.
    pub fn target(&self) -> &Arc<Target> {
        &self.target
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.target.release();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use futures_util::FutureExt;
    use proptest::prelude::*;

    use super::*;

    fn target() -> Arc<Target> {
        Target::new("app".parse().unwrap(), Generation(1), ([127, 0, 0, 1], 9000).into())
    }

    #[derive(Debug, Clone, Copy)]
    enum Step {
        Claim,
        Release,
        Drain,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step =
            prop_oneof![5 => Just(Step::Claim), 5 => Just(Step::Release), 1 => Just(Step::Drain)];
        proptest::collection::vec(step, 0..60)
    }

    proptest! {
        #[test]
        fn claims_are_counted_and_refused_once_it_drains(steps in steps()) {
            let target = target();
            let mut drained = Box::pin(target.drained());
            let mut claims = Vec::new();
            let mut draining = false;
            for step in steps {
                match step {
                    Step::Claim => {
                        let claim = target.claim();
                        prop_assert_eq!(claim.is_none(), draining);
                        claims.extend(claim);
                    }
                    Step::Release => drop(claims.pop()),
                    Step::Drain => {
                        target.start_draining();
                        draining = true;
                    }
                }
                prop_assert_eq!(target.in_flight(), claims.len() as u64);
                prop_assert_eq!(target.is_draining(), draining);
                let done = draining && claims.is_empty();
                prop_assert_eq!((&mut drained).now_or_never().is_some(), done);
                if done {
                    break;
                }
            }
        }
    }

    #[test]
    fn it_is_worn_out_once_and_claimed_on() {
        let (worker, addr) = ("app".parse().unwrap(), ([127, 0, 0, 1], 9000).into());
        let settings = TargetSettings { max_requests: 2, ..TargetSettings::default() };
        let target = Target::with_settings(worker, Generation(1), addr, settings);
        drop(target.claim());
        assert!(target.worn_out().now_or_never().is_none());
        let claims = [target.claim(), target.claim()];
        assert!(claims.iter().all(Option::is_some), "until another has its place");
        assert!(target.worn_out().now_or_never().is_some());
        assert!(target.worn_out().now_or_never().is_none());
    }

    /// Threads claim while one drains: whoever holds a claim sees a target that still lives.
    #[test]
    fn nobody_holds_a_claim_once_it_has_drained() {
        for _ in 0..200 {
            let (target, stopped) = (target(), AtomicBool::new(false));
            std::thread::scope(|scope| {
                for _ in 0..3 {
                    scope.spawn(|| {
                        while let Some(claim) = target.claim() {
                            assert!(!stopped.load(Ordering::SeqCst), "claimed after the drain");
                            std::thread::yield_now();
                            assert!(!stopped.load(Ordering::SeqCst), "drained under a claim");
                            drop(claim);
                        }
                    });
                }
                std::thread::yield_now();
                target.start_draining();
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                runtime.block_on(target.drained());
                stopped.store(true, Ordering::SeqCst);
            });
            assert_eq!(target.in_flight(), 0);
        }
    }
}
