//! From the running process to one of a new program, without losing a connection or a request.
//!
//! | old | new |
//! |---|---|
//! | a reload finds another program on disk: starts it, offers the sockets | reads the configuration, connects to the bus: `Prepared` |
//! | lets a rollout end, then decides nothing more: `Yours` | adopts the live units, publishes, accepts connections: `Ready` |
//! | tells systemd the new main process: `Main`; accepts no more, finishes its requests | `READY=1`, feeds the watchdog; stops no unit that was there before it |
//! | has none left, or the drain limit has passed: ends | sees the end of the connection: stops what is to be stopped |
//!
//! Until `Ready` the new process has accepted nothing, so the old one can kill it and go on as if
//! nothing had been: it does so when the new one fails, ends, or takes too long.
//!
//! The new process must be systemd's child, not ours: systemd hears of the end of a service only
//! from its own children. So what we start is a relay, which starts the real one and ends.

mod error;
mod predecessor;
mod program;
mod successor;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::proxy::STREAM_GRACE;
use crate::rollout::actor::{RolloutHandle, Suspended};
use crate::rollout::report::Report;
use crate::sd::notify::Notifier;
use crate::sd::sockets::InheritedSockets;
use error::HandoverError;
pub(super) use predecessor::{Predecessor, relay};
pub(super) use program::Program;
pub(super) use successor::Successor;

/// What a process that was started to take over is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Stage {
    /// Start another process for [`Stage::Serve`], and end.
    Relay,
    /// Take over.
    Serve,
}

/// The argument that says so; in one piece, so that it can be told from others.
fn take_over(stage: Stage) -> &'static str {
    match stage {
        Stage::Relay => "--take-over=relay",
        Stage::Serve => "--take-over=serve",
    }
}

/// How long the steps may take. Together less than `TimeoutStartSec=`, which bounds a reload.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// Until the new process has all that it needs.
    prepare: Duration,
    /// For a rollout to end.
    rest: Duration,
    /// Until the new process serves.
    serve: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            prepare: Duration::from_secs(30),
            rest: Duration::from_secs(60),
            serve: Duration::from_secs(30),
        }
    }
}

/// Who waits for a handover.
pub(super) type Asker = oneshot::Sender<Report>;

/// The old process's side.
#[derive(Debug)]
pub(super) struct Handover {
    program: Arc<Program>,
    sockets: InheritedSockets,
    rollout: RolloutHandle,
    drain_timeout: Duration,
    limits: Limits,
}

impl Handover {
    /// Will hand over `sockets` to whatever is in the place of `program` by then.
    pub(super) fn new(
        program: Arc<Program>,
        sockets: InheritedSockets,
        rollout: RolloutHandle,
        drain_timeout: Duration,
    ) -> Self {
        Self { program, sockets, rollout, drain_timeout, limits: Limits::default() }
    }

    /// Hands over when somebody asks for it, until it has worked: then the new process goes to
    /// `established`. Who asks while a handover is under way gets its verdict.
    pub(super) async fn run(
        self,
        mut asked: mpsc::Receiver<Asker>,
        established: oneshot::Sender<Successor>,
    ) {
        while let Some(first) = asked.recv().await {
            let outcome = self.attempt().await;
            let report = self.report(&outcome);
            answer(first, &mut asked, &report);
            if let Ok(successor) = outcome {
                // Nobody wants it where the process is ending anyway.
                let _ = established.send(successor);
                while let Some(late) = asked.recv().await {
                    let _ = late.send(report.clone());
                }
                return;
            }
        }
    }

    fn report(&self, outcome: &Result<Successor, HandoverError>) -> Report {
        let program = self.program.path().display();
        match outcome {
            Ok(_) => {
                tracing::info!("handed over to the new {program}; finishing requests");
                Report::handed_over()
            }
            Err(error) => {
                let reason = format!("the new {program} {error}");
                tracing::error!("not handed over, this process serves on: {reason}");
                Report::refused(&reason)
            }
        }
    }

    async fn attempt(&self) -> Result<Successor, HandoverError> {
        tracing::info!("{} is another program now: handing over", self.program.path().display());
        let mut successor = Successor::start(self.program.path(), &self.sockets).await?;
        match self.steps(&mut successor).await {
            Ok(suspended) => {
                suspended.handed_over();
                Ok(successor)
            }
            Err((error, suspended)) => {
                // Only then may we decide again.
                successor.end().await;
                drop(suspended);
                Err(error)
            }
        }
    }

    async fn steps(
        &self,
        successor: &mut Successor,
    ) -> Result<Suspended, (HandoverError, Option<Suspended>)> {
        let Limits { prepare, rest, serve } = self.limits;
        within("prepared", prepare, successor.prepared()).await.map_err(|error| (error, None))?;
        let suspended = match timeout(rest, self.rollout.suspend()).await {
            Ok(Some(suspended)) => suspended,
            Ok(None) => return Err((HandoverError::Ending, None)),
            Err(_) => return Err((HandoverError::Busy(rest), None)),
        };
        match self.establish(successor, serve).await {
            Ok(()) => Ok(suspended),
            Err(error) => Err((error, Some(suspended))),
        }
    }

    async fn establish(
        &self,
        successor: &mut Successor,
        limit: Duration,
    ) -> Result<(), HandoverError> {
        let snapshot = self.rollout.snapshot();
        let served = snapshot.workers.iter().filter(|w| w.route.is_some() && w.serves());
        let serving = served.map(|worker| worker.name.clone()).collect();
        within("serving", limit, successor.ready(serving)).await?;
        // Before the new process hears of it: what it notifies then is heeded.
        Notifier.main_process(successor.pid().ok_or(HandoverError::Ended)?);
        successor.establish(self.drain_timeout + STREAM_GRACE).await
    }
}

async fn within<T>(
    step: &'static str,
    limit: Duration,
    doing: impl Future<Output = Result<T, HandoverError>>,
) -> Result<T, HandoverError> {
    timeout(limit, doing).await.unwrap_or(Err(HandoverError::Late { step, limit }))
}

fn answer(first: Asker, others: &mut mpsc::Receiver<Asker>, report: &Report) {
    let mut next = Some(first);
    while let Some(asker) = next {
        // Who asked may have gone away.
        let _ = asker.send(report.clone());
        next = others.try_recv().ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::net::TcpListener;
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    fn script(dir: &tempfile::TempDir, text: &str) -> PathBuf {
        let path = dir.path().join("tqserver");
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    fn sockets() -> InheritedSockets {
        let http = vec![TcpListener::bind("127.0.0.1:0").unwrap()];
        InheritedSockets { http, https: Vec::new(), control: None, admin: Vec::new() }
    }

    #[tokio::test]
    async fn a_program_that_hangs_is_killed_at_the_limit() {
        let dir = tempfile::tempdir().unwrap();
        let program = script(&dir, "exec sleep 1000");
        let mut successor = Successor::start(&program, &sockets()).await.unwrap();
        let limit = Duration::from_millis(20);
        let error = within("prepared", limit, successor.prepared()).await.unwrap_err();
        assert_eq!(error.to_string(), "was not prepared within 0.02 s");
        // Its end of the connection is closed only with its end.
        successor.end().await;
    }

    #[tokio::test]
    async fn a_program_that_cannot_be_run_is_said_to_be_one() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("tqserver");
        fs::write(&program, "half a prog").unwrap();
        let error = Successor::start(&program, &sockets()).await.unwrap_err();
        assert!(error.to_string().starts_with("cannot be started: "), "{error}");
    }
}
