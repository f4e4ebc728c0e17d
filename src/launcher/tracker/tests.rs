use super::*;
use crate::ids::{Generation, Md5};
use crate::launcher::Source;
use proptest::prelude::*;
use rstest::rstest;

fn unit() -> UnitName {
    "tq-worker@index-9000.service".parse().unwrap()
}

fn active_state(word: &str, job: bool) -> Signal {
    let active_state = Some(word.to_owned());
    Signal::Changed(unit(), Change { active_state, job: Some(job), ..Change::default() })
}

fn service(result: &str, main_code: i32, main_status: i32) -> Signal {
    let change = Change {
        result: Some(result.to_owned()),
        main_code: Some(main_code),
        main_status: Some(main_status),
        ..Change::default()
    };
    Signal::Changed(unit(), change)
}

fn job_removed(result: &str) -> Signal {
    Signal::JobRemoved(unit(), result.to_owned())
}

/// The states reported for these signals, by a tracker that has just been told of the start.
fn reported(signals: impl IntoIterator<Item = Signal>) -> Vec<UnitState> {
    let mut tracker = Tracker::default();
    let signals = std::iter::once(Signal::JobNew(unit())).chain(signals);
    let events = signals.filter_map(|signal| tracker.apply(signal));
    events
        .map(|event| match event {
            UnitEvent::Changed { state, .. } => state,
            UnitEvent::Resync(_) => unreachable!("signals are not listings"),
        })
        .collect()
}

#[test]
fn a_life() {
    let life = [
        active_state("inactive", true),
        active_state("activating", true),
        active_state("active", true),
        job_removed("done"),
        active_state("active", false),
        Signal::JobNew(unit()),
        active_state("deactivating", true),
        active_state("inactive", true),
        job_removed("done"),
        active_state("inactive", false),
        Signal::UnitRemoved(unit()),
    ];
    use UnitState::{Activating, Active, Deactivating, Inactive};
    assert_eq!(reported(life), [Activating, Active, Deactivating, Inactive]);
}

#[test]
fn a_failure_has_the_reason_that_came_before_it() {
    let failure = [
        active_state("activating", true),
        service("exit-code", 1, 101),
        active_state("failed", true),
        job_removed("failed"),
        active_state("failed", false),
        Signal::UnitRemoved(unit()),
    ];
    assert_eq!(
        reported(failure),
        [UnitState::Activating, UnitState::Failed(ExitReason::Exited(101))]
    );
}

#[rstest]
#[case("canceled", UnitState::Inactive)]
#[case("dependency", UnitState::Failed(ExitReason::Other("dependency".to_owned())))]
fn a_start_that_never_began_ends_with_its_job(#[case] result: &str, #[case] end: UnitState) {
    assert_eq!(reported([active_state("inactive", true), job_removed(result)]), [end]);
}

#[test]
fn a_canceled_start_is_not_over_before_its_unit_is() {
    let stopped = [active_state("activating", true), job_removed("canceled")];
    assert_eq!(reported(stopped), [UnitState::Activating]);
}

#[test]
fn an_end_that_was_not_signalled_shows_in_the_removal() {
    let lost = [active_state("active", false), Signal::UnitRemoved(unit())];
    assert_eq!(reported(lost), [UnitState::Active, UnitState::Inactive]);
}

#[test]
fn what_is_said_of_an_earlier_bearer_of_the_name_does_not_count() {
    let mut tracker = Tracker::default();
    let stale = || [service("exit-code", 1, 1), active_state("failed", false)];
    for signal in stale() {
        assert_eq!(tracker.apply(signal), None, "not followed yet");
    }
    tracker.apply(Signal::JobNew(unit()));
    assert_eq!(tracker.apply(Signal::UnitRemoved(unit())), None, "that of the old one");
    assert!(tracker.apply(active_state("activating", true)).is_some());
}

#[test]
fn a_listing_is_gone_on_from() {
    let live = LiveUnit {
        unit: unit(),
        source: Source::Tree,
        generation: Generation(1),
        fingerprint: Md5::new([0; 16]),
        main_pid: Some(1),
        control_group: None,
        state: UnitState::Active,
    };
    let mut tracker = Tracker::default();
    tracker.follow(&[live]);
    assert_eq!(tracker.apply(active_state("activating", true)), None, "from before the listing");
    assert_eq!(tracker.apply(active_state("active", false)), None);
    tracker.apply(service("signal", 2, 9));
    assert_eq!(
        tracker.apply(active_state("failed", false)),
        Some(UnitEvent::Changed { unit: unit(), state: UnitState::Failed(ExitReason::Signal(9)) })
    );
}

#[rstest]
#[case("exit-code", 1, 3, "exited 3")]
#[case("signal", 2, 9, "killed by signal 9")]
#[case("core-dump", 3, 11, "killed by signal 11")]
#[case("timeout", 2, 15, "timed out")]
#[case("watchdog", 3, 6, "missed its watchdog")]
#[case("oom-kill", 2, 9, "out of memory")]
#[case("protocol", 1, 0, "failed: its main process ended before it sent READY=1")]
#[case("exit-code", 1, 200, "failed: its working directory could not be entered (status 200)")]
#[case("start-limit-hit", 0, 0, "failed: start-limit-hit")]
fn reasons(#[case] result: &str, #[case] code: i32, #[case] status: i32, #[case] text: &str) {
    assert_eq!(exit_reason(result, code, status).to_string(), text);
}

fn any_signal() -> impl Strategy<Value = Signal> {
    prop_oneof![
        Just(Signal::JobNew(unit())),
        Just(Signal::UnitRemoved(unit())),
        prop::sample::select(vec!["done", "failed", "canceled", "timeout"]).prop_map(job_removed),
        (
            prop::sample::select(vec![
                "inactive",
                "activating",
                "active",
                "deactivating",
                "failed",
                "maintenance"
            ]),
            any::<bool>()
        )
            .prop_map(|(word, job)| active_state(word, job)),
        Just(service("exit-code", 1, 1)),
    ]
}

proptest! {
    /// Whatever comes in whatever order, no one is told of a life that goes backwards or goes on
    /// after its end without another start.
    #[test]
    fn lives_go_forward(signals in prop::collection::vec(any_signal(), 0..60)) {
        let mut tracker = Tracker::default();
        let (mut last, mut started) = (4, false);
        for signal in signals {
            started |= signal == Signal::JobNew(unit());
            if let Some(UnitEvent::Changed { state, .. }) = tracker.apply(signal) {
                let now = stage(&state);
                if now <= last || last == 4 {
                    prop_assert!(last == 4 && started, "{last} then {now}");
                }
                last = now;
                started &= now != 4;
            }
        }
    }
}
