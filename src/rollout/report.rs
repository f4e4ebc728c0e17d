//! The verdict of a reload, for whoever asked for it.

use std::fmt;

use super::event::{Failure, Outcome, Verdict};
use crate::ids::{CommitId, WorkerName};

/// What came of a reload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// In a word.
    pub result: ReportResult,
    /// The commit that was wanted; `None` in development, or when it was never known.
    pub commit: Option<CommitId>,
    /// Workers whose new generation serves.
    pub started: Vec<WorkerName>,
    /// Workers that needed none.
    pub kept: Vec<WorkerName>,
    /// Workers whose new generation does not.
    pub failed: Vec<WorkerName>,
    /// Why it did not come to serve.
    pub reason: Option<String>,
    /// The last lines of the units that failed.
    pub details: Vec<String>,
}

/// What came of a reload, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReportResult {
    /// The wanted deployment serves now.
    Switched,
    /// It serves a part of the requests, by degrees.
    Canary {
        /// Its share of them, in percent.
        share: u8,
    },
    /// It did already.
    Unchanged,
    /// Its workers were started, and one of them failed.
    Failed,
    /// Nothing was started.
    Refused,
    /// Another process has taken over, and looks at what is wanted itself.
    HandedOver,
}

impl Report {
    /// A reload that came to nothing before any worker was started.
    pub fn refused(reason: &str) -> Self {
        Self {
            result: ReportResult::Refused,
            commit: None,
            started: Vec::new(),
            kept: Vec::new(),
            failed: Vec::new(),
            reason: Some(reason.to_owned()),
            details: Vec::new(),
        }
    }

    /// The deployment serves a part of the requests.
    pub fn canary(commit: Option<CommitId>, share: u8, started: Vec<WorkerName>) -> Self {
        Self {
            result: ReportResult::Canary { share },
            commit,
            started,
            kept: Vec::new(),
            failed: Vec::new(),
            reason: None,
            details: Vec::new(),
        }
    }

    /// Another process answers from here on.
    pub fn handed_over() -> Self {
        Self {
            result: ReportResult::HandedOver,
            commit: None,
            started: Vec::new(),
            kept: Vec::new(),
            failed: Vec::new(),
            reason: None,
            details: Vec::new(),
        }
    }

    /// The report of a verdict, still without details.
    pub fn of(verdict: &Verdict) -> Self {
        let (result, reason) = match &verdict.outcome {
            Outcome::Switched => (ReportResult::Switched, None),
            Outcome::Unchanged => (ReportResult::Unchanged, None),
            Outcome::Failed(failures) => (ReportResult::Failed, Some(failures_line(failures))),
            Outcome::Interrupted => {
                (ReportResult::Failed, Some("tqserver ended before it was ready".to_owned()))
            }
        };
        Self {
            result,
            commit: verdict.commit.clone(),
            started: verdict.started.clone(),
            kept: verdict.kept.clone(),
            failed: match &verdict.outcome {
                Outcome::Failed(failures) => failures.iter().map(|it| it.worker.clone()).collect(),
                Outcome::Switched | Outcome::Unchanged | Outcome::Interrupted => Vec::new(),
            },
            reason,
            details: Vec::new(),
        }
    }
}

/// All failures in one line.
pub fn failures_line(failures: &[Failure]) -> String {
    failures.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |names: &[WorkerName]| {
            names.iter().map(WorkerName::as_str).collect::<Vec<_>>().join(", ")
        };
        let wanted = self.commit.as_ref().map_or("the source tree", CommitId::short);
        match (&self.reason, self.result) {
            (Some(reason), ReportResult::Refused) => write!(f, "nothing was changed: {reason}"),
            (Some(reason), _) => write!(f, "{wanted} does not serve: {reason}"),
            (None, ReportResult::HandedOver) => f.write_str("handed over to the new tqserver"),
            (None, ReportResult::Canary { share }) => {
                let started = names(&self.started);
                write!(f, "{wanted} serves {share} % of requests as a canary, started: {started}")
            }
            (None, ReportResult::Unchanged) => write!(f, "{wanted} serves already"),
            (None, _) if self.started.is_empty() => {
                write!(f, "{wanted} serves, nothing was started")
            }
            (None, _) => write!(f, "{wanted} serves, started: {}", names(&self.started)),
        }
    }
}
