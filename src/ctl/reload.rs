//! `tqctl reload [--wait]`

use std::fmt::Write;

use clap::Args;

use super::client::{Client, ClientError};
use super::exit::{Exit, Failure};
use super::output::{Output, Painter, Role, printable};
use crate::admin::api::{ReloadOutcome, ReloadVerdict};
use crate::ids::WorkerName;

/// How many handovers in a row are followed: more than one only when the program is replaced
/// during the first.
const MAX_HANDOVERS: usize = 5;

/// Why there is no verdict.
#[derive(Debug, thiserror::Error)]
pub(super) enum VerdictError {
    /// tqserver could not be asked.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Each process that was asked gave way to another.
    #[error("tqserver hands over again and again; see its log")]
    HandsOver,
}

impl VerdictError {
    pub(super) fn into_failure(self) -> Failure {
        match self {
            Self::Client(error) => error.into_failure(),
            Self::HandsOver => self.into(),
        }
    }
}

/// `tqctl reload`
#[derive(Debug, Args)]
pub struct ReloadArgs {
    /// Wait for the verdict, and fail when the new deployment was not switched to
    #[arg(long)]
    pub wait: bool,
}

/// Asks for a reload and, with `--wait`, tells what came of it.
pub async fn run(args: &ReloadArgs, client: &Client, out: &Output) -> Result<Exit, Failure> {
    if !args.wait {
        let accepted = client.ask_reload().await.map_err(|error| error.into_failure())?;
        out.document(&accepted)?;
        out.message("reload asked for; what comes of it: tqctl status");
        return Ok(Exit::Ok);
    }
    let handed_over = || out.message("tqserver handed over to its new program");
    let verdict = verdict(client, handed_over).await.map_err(VerdictError::into_failure)?;
    out.document(&verdict)?;
    out.line(render(&verdict, out.painter()))?;
    Ok(if verdict.ok { Exit::Ok } else { Exit::NotSwitched })
}

/// The verdict on what is wanted. A process that hands over has none: its successor is asked.
pub(super) async fn verdict(
    client: &Client,
    handed_over: impl Fn(),
) -> Result<ReloadVerdict, VerdictError> {
    let mut duration_ms = 0;
    for _ in 0..MAX_HANDOVERS {
        let verdict = client.reload().await?;
        duration_ms += verdict.duration_ms;
        if verdict.outcome != ReloadOutcome::HandedOver {
            return Ok(ReloadVerdict { duration_ms, ..verdict });
        }
        handed_over();
    }
    Err(VerdictError::HandsOver)
}

/// What came of it, for people.
pub(super) fn render(verdict: &ReloadVerdict, paint: Painter) -> String {
    let commit = verdict.commit.as_ref().map_or("", |commit| commit.short());
    let took = verdict.duration_ms as f64 / 1000.0;
    let (mark, role, outcome) = match verdict.outcome {
        ReloadOutcome::Switched => ("✓", Role::Good, "switched"),
        ReloadOutcome::Canary => ("·", Role::Warning, "serves by degrees"),
        ReloadOutcome::Unchanged => ("=", Role::Good, "unchanged"),
        ReloadOutcome::Failed => ("✗", Role::Bad, "never switched"),
        ReloadOutcome::Refused => ("✗", Role::Bad, "refused"),
        ReloadOutcome::HandedOver => ("✓", Role::Good, "handed over"),
    };
    let words = [commit, outcome].into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>();
    let mut text = format!("{} {} in {took:.1} s", paint.paint(role, mark), words.join(" "));
    // Writing to a String cannot fail.
    for (what, workers) in [("started", &verdict.started), ("kept", &verdict.kept)] {
        if !workers.is_empty() {
            let _ = write!(text, "   {what}: {}", names(workers));
        }
    }
    if let Some(reason) = &verdict.reason {
        for line in reason.lines() {
            let _ = write!(text, "\n  {}", paint.paint(role, printable(line)));
        }
    }
    for line in &verdict.details {
        let _ = write!(text, "\n     | {}", printable(line));
    }
    text
}

fn names(workers: &[WorkerName]) -> String {
    workers.iter().map(WorkerName::as_str).collect::<Vec<_>>().join(", ")
}
