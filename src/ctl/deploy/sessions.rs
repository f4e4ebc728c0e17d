//! All sessions of a run together: begun, locked, interrupted and ended.

use std::pin::pin;
use std::time::Duration;

use futures_util::future::{join_all, try_join_all};

use super::place::Place;
use super::session::Session;
use super::steps::{Step, Steps};
use crate::ctl::exit::{Exit, Failure};
use crate::ctl::host::protocol::{Reply, Request};
use crate::ctl::output::Output;

/// A signal to a group of processes has reached all of them within this time.
const AT_ONCE: Duration = Duration::from_millis(50);

/// Ends with Ctrl-C: whatever is under way here is dropped, and ends on hosts where it can.
pub(in crate::ctl) async fn interruptible(
    work: impl Future<Output = Result<Exit, Failure>>,
    out: &Output,
) -> Result<Exit, Failure> {
    let mut interrupt = pin!(tokio::signal::ctrl_c());
    let done = tokio::select! {
        biased;
        _ = &mut interrupt => None,
        done = work => Some(done),
    };
    match done {
        Some(Ok(Exit::Ok)) => return Ok(Exit::Ok),
        // A terminal sends Ctrl-C to ssh and rsync as well, whose end may be noticed first.
        Some(done) if tokio::time::timeout(AT_ONCE, interrupt).await.is_err() => return done,
        _ => {}
    }
    out.message("interrupted; a host that was told to switch goes on by itself");
    Ok(Exit::Interrupted)
}

/// Locks every host in turn, so that two who want the same hosts cannot wait for each other.
pub(in crate::ctl) async fn lock(
    sessions: &mut [Session],
    wait: bool,
    steps: &Steps<'_>,
    out: &Output,
) -> Result<(), Failure> {
    for session in sessions {
        let name = session.place().name().to_owned();
        let running = steps.begin(Step::Lock, &name);
        let mut reply = session.ask(&Request::Lock { wait }).await?;
        if let Reply::Waiting { holder } = &reply {
            out.message(format_args!("{name}: waiting: {holder}"));
            reply = session.answer().await?;
        }
        match reply {
            Reply::Locked => running.done(""),
            Reply::Held { message } => {
                running.failed("");
                let hint = "--lock-wait waits for it".to_owned();
                let error = anyhow::anyhow!("{name}: {message}");
                return Err(Failure::new(Exit::Locked, error).with_hint(Some(hint)));
            }
            _ => return Err(session.out_of_turn()),
        }
    }
    Ok(())
}

/// Connects to all.
pub(in crate::ctl) async fn begin(
    places: &[Place],
    verb: &str,
    out: &Output,
) -> Result<Vec<Session>, Failure> {
    let sessions = try_join_all(places.iter().map(|place| Session::begin(place, verb))).await?;
    for session in &sessions {
        let (name, hello) = (session.place().name(), session.hello());
        out.detail(format_args!("{name}: {}", hello.version));
        for warning in &hello.warnings {
            out.warning(format_args!("{name}: {warning}"));
        }
    }
    Ok(sessions)
}

/// Ends all sessions, and waits until they have ended.
pub(in crate::ctl) async fn end(sessions: Vec<Session>) {
    join_all(sessions.into_iter().map(Session::end)).await;
}
