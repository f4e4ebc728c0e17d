//! What the rollout is told, from what systemd signals. Pure: signals in, events out.

use std::collections::HashMap;

use super::signals::{Change, Signal};
use super::{ExitReason, LiveUnit, UnitEvent, UnitState};
use crate::ids::UnitName;

/// The units that live, as far as signals have told.
///
/// A unit is followed from the announcement of its start job until it is gone. systemd announces
/// the job (`JobNew`) before it answers `StartTransientUnit` and before any change, so whatever
/// is said of a unit that is not followed belongs to an earlier bearer of its name.
#[derive(Debug, Default)]
pub(super) struct Tracker {
    units: HashMap<UnitName, Tracked>,
}

/// One unit that is followed.
#[derive(Debug, Default)]
struct Tracked {
    /// What was last reported; `None` until it has left `inactive`.
    state: Option<UnitState>,
    job: bool,
    result: String,
    main_code: i32,
    main_status: i32,
}

impl Tracker {
    /// Forgets everything, and follows these: what a listing found.
    pub(super) fn follow(&mut self, live: &[LiveUnit]) {
        let tracked = |unit: &LiveUnit| {
            let state = Some(unit.state.clone());
            (unit.unit.clone(), Tracked { state, ..Tracked::default() })
        };
        self.units = live.iter().map(tracked).collect();
    }

    /// Takes a signal in, and says what it means to the rollout.
    pub(super) fn apply(&mut self, signal: Signal) -> Option<UnitEvent> {
        match signal {
            Signal::JobNew(unit) => {
                self.units.entry(unit).or_default();
                None
            }
            Signal::Changed(unit, change) => {
                let tracked = self.units.get_mut(&unit)?;
                let state = tracked.change(change)?;
                self.report(unit, state)
            }
            // Only for a unit that never began does the job tell more than the unit's own state.
            Signal::JobRemoved(unit, result) => {
                self.units.get(&unit).filter(|tracked| tracked.state.is_none())?;
                let state = match result.as_str() {
                    "done" | "canceled" => UnitState::Inactive,
                    _ => UnitState::Failed(ExitReason::Other(result)),
                };
                self.report(unit, state)
            }
            // Its end was not signalled, yet it is no more. That of an earlier bearer of the name
            // comes before the new one has begun.
            Signal::UnitRemoved(unit) => {
                self.units.get(&unit).filter(|tracked| tracked.state.is_some())?;
                self.report(unit, UnitState::Inactive)
            }
            // What is unloaded now has not ended. The listing afterwards tells what has.
            Signal::Reloading => {
                self.units.clear();
                None
            }
            Signal::Reloaded | Signal::Owner(_) => None,
        }
    }

    fn report(&mut self, unit: UnitName, state: UnitState) -> Option<UnitEvent> {
        match state {
            UnitState::Inactive | UnitState::Failed(_) => {
                self.units.remove(&unit);
            }
            _ => self.units.get_mut(&unit)?.state = Some(state.clone()),
        }
        Some(UnitEvent::Changed { unit, state })
    }
}

impl Tracked {
    /// Merges a change; answers with the new state where it is another than before.
    fn change(&mut self, change: Change) -> Option<UnitState> {
        self.job = change.job.unwrap_or(self.job);
        self.result = change.result.unwrap_or_else(|| std::mem::take(&mut self.result));
        self.main_code = change.main_code.unwrap_or(self.main_code);
        self.main_status = change.main_status.unwrap_or(self.main_status);
        let state = match change.active_state?.as_str() {
            // A start that has not begun, or a stop whose end is about to be signalled.
            "inactive" if self.job => return None,
            "inactive" => UnitState::Inactive,
            "failed" => {
                UnitState::Failed(exit_reason(&self.result, self.main_code, self.main_status))
            }
            other => live_state(other)?,
        };
        // A life only goes forward. A signal from before a listing may arrive after it.
        (stage(&state) > self.state.as_ref().map_or(0, stage)).then_some(state)
    }
}

/// How far a life has come. Units are not restarted, so no stage comes twice.
fn stage(state: &UnitState) -> u8 {
    match state {
        UnitState::Activating => 1,
        UnitState::Active => 2,
        UnitState::Deactivating => 3,
        UnitState::Inactive | UnitState::Failed(_) => 4,
    }
}

/// The state of a unit that is there; `None` when it is dead, or in a word we do not know.
pub(super) fn live_state(active_state: &str) -> Option<UnitState> {
    match active_state {
        "activating" => Some(UnitState::Activating),
        "active" | "reloading" | "refreshing" => Some(UnitState::Active),
        "deactivating" => Some(UnitState::Deactivating),
        _ => None,
    }
}

/// Why a unit failed.
///
/// `main_code` is a CLD_ constant: CLD_EXITED is 1, CLD_KILLED 2 and CLD_DUMPED 3 (sigaction(2)).
pub(super) fn exit_reason(result: &str, main_code: i32, main_status: i32) -> ExitReason {
    match (result, main_code) {
        ("timeout", _) => ExitReason::Timeout,
        ("watchdog", _) => ExitReason::Watchdog,
        ("oom-kill", _) => ExitReason::OutOfMemory,
        ("protocol", _) => {
            ExitReason::Other("its main process ended before it sent READY=1".to_owned())
        }
        ("resources", _) => {
            ExitReason::Other("systemd could not prepare its start; see the journal".to_owned())
        }
        ("exit-code", _) => match setup_failure(main_status) {
            Some(step) => ExitReason::Other(format!("{step} (status {main_status})")),
            None => ExitReason::Exited(main_status),
        },
        ("signal" | "core-dump", 2 | 3) => ExitReason::Signal(main_status),
        (other, _) => ExitReason::Other(other.to_owned()),
    }
}

/// What systemd was at when it exited in the program's stead (systemd.exec(5), "Process Exit
/// Codes"). A program that uses these numbers itself is taken for it, as by systemctl.
fn setup_failure(status: i32) -> Option<&'static str> {
    Some(match status {
        200 => "its working directory could not be entered",
        203 => "its program could not be executed: missing, not executable, or for another machine",
        209 | 222 => "its output could not be opened",
        216 | 217 => "its user or group does not exist",
        219 => "its control group could not be joined",
        226 => "its sandbox could not be set up",
        243 => "its credentials could not be read",
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
