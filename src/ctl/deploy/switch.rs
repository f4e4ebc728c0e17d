//! Has the hosts of a target switch, all of them or none.

use std::time::Duration;

use futures_util::future::join_all;

use super::session::Session;
use super::steps::{Step, Steps};
use crate::canary::CanaryPlan;
use crate::config::targets::Order;
use crate::ctl::exit::{Exit, Failure};
use crate::ctl::host::protocol::{Outcome, Reply, Request, RolledOut};
use crate::ctl::output::{Output, printable};
use crate::ids::{CommitId, WorkerName};

/// How a deployment is to come to serve.
#[derive(Debug, Clone, Default)]
pub(in crate::ctl) struct How {
    /// How long it is watched then; zero: not at all.
    pub(in crate::ctl) soak: Duration,
    /// By degrees; `None`: at once.
    pub(in crate::ctl) canary: Option<CanaryPlan>,
}

/// What came of it on one host.
#[derive(Debug)]
pub(in crate::ctl) struct Switched {
    /// The machine.
    pub(in crate::ctl) host: String,
    /// What was said of it, or why nothing was; `None` where it was left alone, as another host before it
    /// failed.
    pub(in crate::ctl) result: Option<Result<RolledOut, Failure>>,
    /// What came of bringing back what served before, where another host failed.
    pub(in crate::ctl) put_back: Option<Result<RolledOut, Failure>>,
}

impl Switched {
    /// Whether the deployment serves there.
    pub(in crate::ctl) fn is_well(&self) -> bool {
        self.outcome().is_some_and(is_well)
    }

    /// What came of the deployment in a word, where anything is known.
    pub(in crate::ctl) fn outcome(&self) -> Option<Outcome> {
        Some(self.result.as_ref()?.as_ref().ok()?.outcome)
    }

    /// The exit code that it calls for.
    pub(in crate::ctl) fn exit(&self) -> Exit {
        let of_outcome = |rolled_out: &RolledOut| match rolled_out.outcome {
            Outcome::Switched | Outcome::Unchanged | Outcome::Canary => Exit::Ok,
            Outcome::NotSwitched | Outcome::RolledBack => Exit::NotSwitched,
            Outcome::RollbackFailed => Exit::RollbackFailed,
        };
        match (&self.result, &self.put_back) {
            (_, Some(Ok(put_back))) if of_outcome(put_back) == Exit::Ok => Exit::NotSwitched,
            (_, Some(_)) => Exit::RollbackFailed,
            (Some(Ok(rolled_out)), None) => of_outcome(rolled_out),
            (Some(Err(failure)), None) => failure.exit(),
            (None, None) => Exit::Ok,
        }
    }
}

/// Whether the deployment serves, as far as it is to.
pub(super) fn is_well(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Switched | Outcome::Unchanged | Outcome::Canary)
}

/// Switches the hosts in their order, each of which has the lock. Where one fails, those that have
/// switched go back.
pub(in crate::ctl) async fn switch(
    sessions: &mut [Session],
    commit: &CommitId,
    (order, how): (Order, &How),
    steps: &Steps<'_>,
) -> Vec<Switched> {
    let mut all = Vec::new();
    match order {
        Order::Parallel => {
            all = join_all(sessions.iter_mut().map(|it| one(it, commit, how, steps))).await;
        }
        Order::Rolling => {
            for session in sessions.iter_mut() {
                all.push(one(session, commit, how, steps).await);
                if all.iter().any(|switched| !switched.is_well()) {
                    break;
                }
            }
        }
    }
    if all.iter().all(Switched::is_well) {
        return all;
    }
    let left_alone = sessions[all.len()..].iter().map(|session| session.place().name().to_owned());
    all.extend(left_alone.map(|host| Switched { host, result: None, put_back: None }));
    for (session, switched) in sessions.iter_mut().zip(&mut all) {
        let Some(Ok(RolledOut {
            outcome: Outcome::Switched | Outcome::Canary,
            before: Some(before),
            ..
        })) = &switched.result
        else {
            continue;
        };
        if before != commit {
            let before = before.clone();
            let back = one(session, &before, &How::default(), steps).await;
            switched.put_back = back.result;
        }
    }
    all
}

async fn one(session: &mut Session, commit: &CommitId, how: &How, steps: &Steps<'_>) -> Switched {
    let host = session.place().name().to_owned();
    let result = Some(rolled_out(session, commit, how, steps).await);
    Switched { host, result, put_back: None }
}

async fn rolled_out(
    session: &mut Session,
    commit: &CommitId,
    How { soak, canary }: &How,
    steps: &Steps<'_>,
) -> Result<RolledOut, Failure> {
    let host = session.place().name().to_owned();
    let mut running = steps.begin(Step::Activate, &host);
    let soak_ms = soak.as_millis().try_into().unwrap_or(u64::MAX);
    let request = Request::RollOut { commit: commit.clone(), soak_ms, canary: canary.clone() };
    let mut reply = session.ask(&request).await?;
    let (mut activated, mut watched, mut told) = (false, false, 0);
    loop {
        match reply {
            Reply::Activated if !activated => {
                activated = true;
                running.done("");
                running = steps.begin(Step::Rollout, &host);
            }
            Reply::Canary { share_percent } if activated && !watched => {
                running.done("");
                running = steps.begin(Step::Canary(share_percent), &host);
            }
            Reply::Serving { started, kept, notes } if activated && !watched => {
                told = notes.len();
                let shown = std::iter::once(workers(&started, &kept)).chain(notes);
                let shown: Vec<_> = shown.filter(|text| !text.is_empty()).collect();
                running.done(&shown.join("   "));
                watched = true;
                running = steps.begin(Step::Soak, &host);
            }
            Reply::RolledOut(rolled_out) => {
                match (is_well(rolled_out.outcome), watched && soak.is_zero()) {
                    (true, _) if rolled_out.outcome == Outcome::Canary => {
                        running.done("until `tqctl rollout promote`, or abort")
                    }
                    (true, true) => running.skipped(),
                    (true, false) => {
                        running.done(&rolled_out.notes.get(told..).unwrap_or_default().join("; "))
                    }
                    (false, _) => running.failed(rolled_out.reason.as_deref().unwrap_or_default()),
                }
                return Ok(rolled_out);
            }
            _ => return Err(session.out_of_turn()),
        }
        reply = session.answer().await.map_err(|failure| {
            let hint = "the host goes on by itself; what comes of it: tqctl history";
            failure.with_hint(Some(hint.to_owned()))
        })?;
    }
}

fn workers(started: &[WorkerName], kept: &[WorkerName]) -> String {
    let groups = [("started", started), ("kept", kept)];
    let shown = groups.iter().filter(|(_, names)| !names.is_empty()).map(|(what, names)| {
        let names = names.iter().map(WorkerName::as_str).collect::<Vec<_>>();
        format!("{what}: {}", names.join(", "))
    });
    shown.collect::<Vec<_>>().join("   ")
}

/// Says why hosts did not switch, and returns the exit code for all of them: the worst.
pub(in crate::ctl) fn explain(all: &[Switched], out: &Output) -> Exit {
    let failed = all.iter().any(|switched| !switched.is_well());
    for switched in all {
        let host = &switched.host;
        match &switched.result {
            Some(Ok(rolled_out)) => {
                for line in &rolled_out.details {
                    out.explanation(format_args!("     | {}", printable(line)));
                }
                if let Some(text) = consequence(rolled_out) {
                    out.error(format_args!("{host}: {text}"));
                }
            }
            Some(Err(failure)) => {
                out.error(failure);
                failure.hint().into_iter().for_each(|hint| out.hint(hint));
            }
            None => {
                out.message(format_args!("{host}: left alone, as another host did not switch"));
            }
        }
        match &switched.put_back {
            None if failed && switched.outcome() == Some(Outcome::Switched) => {
                out.message(format_args!("{host}: serves it, as there was nothing to go back to"));
            }
            None => {}
            Some(Ok(back)) if is_well(back.outcome) => {
                out.message(format_args!("{host}: went back, as another host did not switch"));
            }
            Some(Ok(back)) => out.error(format_args!(
                "{host}: could not go back: {}",
                printable(back.reason.as_deref().unwrap_or("see its log"))
            )),
            Some(Err(failure)) => out.error(format_args!("{host}: could not go back: {failure}")),
        }
    }
    worst(all)
}

/// What serves now, where the deployment does not.
fn consequence(rolled_out: &RolledOut) -> Option<String> {
    let reason = printable(rolled_out.reason.as_deref().unwrap_or("see its log")).to_string();
    let manifest = match &rolled_out.before {
        Some(before) => format!("The manifest is put back to {}.", before.short()),
        None => "There was no deployment before, and there is none now.".to_owned(),
    };
    match rolled_out.outcome {
        Outcome::Switched | Outcome::Unchanged | Outcome::Canary => None,
        Outcome::NotSwitched => {
            Some(format!("never switched: {reason}. What served before serves on. {manifest}"))
        }
        Outcome::RolledBack => {
            Some(format!("rolled back: {reason}. What served before serves again. {manifest}"))
        }
        Outcome::RollbackFailed => Some(format!("{reason}; {}", rolled_out.notes.join("; "))),
    }
}

fn worst(all: &[Switched]) -> Exit {
    let exits: Vec<_> = all.iter().map(Switched::exit).filter(|exit| *exit != Exit::Ok).collect();
    for severe in [Exit::RollbackFailed, Exit::NotSwitched] {
        if exits.contains(&severe) {
            return severe;
        }
    }
    exits.into_iter().next().unwrap_or(Exit::Ok)
}
