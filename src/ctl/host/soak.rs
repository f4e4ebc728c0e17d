//! Watches a deployment that has just come to serve, by tqserver's own figures.

use std::time::{Duration, Instant};

use super::verdict::block_on;
use crate::admin::api::{Counters, Status, WorkerState};
use crate::ctl::client::Client;
use crate::ids::CommitId;

/// How often the figures are looked at.
const INTERVAL: Duration = Duration::from_millis(500);
/// How many looks in a row must find a worker not serving: one that is replaced is not for a moment.
const IN_A_ROW: usize = 3;
/// So many answers 5xx say nothing yet.
const FEW: u64 = 5;
/// The share of answers 5xx that is never too many.
const ALLOWED: f64 = 0.01;
/// How many times the share before may be reached.
const TIMES: f64 = 2.0;

/// The figures before the switch.
pub(super) struct Soak {
    before: Counters,
    process: jiff::Timestamp,
}

/// What the watching found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// Nothing against it, with what was seen.
    Well(String),
    /// It must not serve on, and why.
    Bad(String),
}

impl Soak {
    /// Notes how many requests fail without the new deployment.
    pub(super) fn begin(status: &Status) -> Self {
        Self { before: status.counters, process: status.started_at }
    }

    /// Watches for `time`, or until there is reason to go back. A tqserver that does not answer is
    /// no such reason: the workers outlive it.
    pub(super) fn watch(&self, client: &Client, commit: &CommitId, time: Duration) -> Finding {
        let end = Instant::now() + time;
        let (mut first, mut in_a_row) = (None, 0);
        let mut seen = "tqserver did not answer meanwhile".to_owned();
        loop {
            if let Ok(Ok(status)) = block_on(client.status()) {
                let first: &Status = first.get_or_insert_with(|| status.clone());
                match not_serving(&status, commit) {
                    Some(reason) => {
                        in_a_row += 1;
                        if in_a_row == IN_A_ROW {
                            return Finding::Bad(reason);
                        }
                    }
                    None => in_a_row = 0,
                }
                match self.compare(first, &status) {
                    Finding::Bad(reason) => return Finding::Bad(reason),
                    Finding::Well(figures) => seen = figures,
                }
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Finding::Well(seen);
            }
            std::thread::sleep(left.min(INTERVAL));
        }
    }

    /// The share of failed requests since the switch beside that before it.
    fn compare(&self, first: &Status, now: &Status) -> Finding {
        if now.started_at != first.started_at {
            return Finding::Well("tqserver was restarted meanwhile".to_owned());
        }
        let requests = now.counters.requests.saturating_sub(first.counters.requests);
        let errors = now.counters.server_errors.saturating_sub(first.counters.server_errors);
        let share = share(errors, requests);
        let before = match self.process == now.started_at {
            true => self::share(self.before.server_errors, self.before.requests),
            false => 0.0,
        };
        let figures = format!(
            "{requests} requests, {:.1} % of them answered 5xx (before: {:.1} %)",
            share * 100.0,
            before * 100.0
        );
        if errors > FEW && share > ALLOWED && share > before * TIMES {
            return Finding::Bad(figures);
        }
        Finding::Well(figures)
    }
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// A worker of the deployment that does not serve, or the deployment that does instead.
fn not_serving(status: &Status, commit: &CommitId) -> Option<String> {
    if status.actual.as_ref() != Some(commit) {
        let actual = status.actual.as_ref().map_or("nothing", CommitId::short);
        return Some(format!("{actual} serves instead"));
    }
    let down = status.workers.iter().find(|worker| worker.state != WorkerState::Serving)?;
    let why = down.last_failure.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
    Some(format!("{} is {}{why}", down.name, down.state.as_str()))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::admin::api::{SCHEMA, ServerState};
    use crate::config::settings::Mode;

    fn status(requests: u64, server_errors: u64) -> Status {
        Status {
            schema: SCHEMA,
            version: String::new(),
            mode: Mode::Prod,
            state: ServerState::Serving,
            started_at: jiff::Timestamp::UNIX_EPOCH,
            desired: None,
            actual: None,
            branch: None,
            tag: None,
            last_good: None,
            failed: None,
            workers: Vec::new(),
            counters: Counters { requests, server_errors, ..Counters::default() },
            warnings: Vec::new(),
        }
    }

    #[rstest]
    #[case::few((1000, 0), (1010, 5), true)]
    #[case::many((1000, 0), (1100, 50), false)]
    #[case::a_small_share((1000, 0), (2000, 10), true)]
    #[case::as_many_as_before((1000, 500), (1100, 550), true)]
    #[case::more_than_before((1000, 100), (1100, 150), false)]
    #[case::none_came((1000, 100), (1000, 100), true)]
    fn more_failed_requests_than_before_are_a_reason_to_go_back(
        #[case] before: (u64, u64),
        #[case] now: (u64, u64),
        #[case] well: bool,
    ) {
        let before = status(before.0, before.1);
        let finding = Soak::begin(&before).compare(&before, &status(now.0, now.1));
        assert_eq!(matches!(finding, Finding::Well(_)), well, "{finding:?}");
    }
}
