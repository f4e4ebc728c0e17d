//! `tqctl history`: what was deployed, by whom, and what came of it.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use super::completion;
use super::deploy;
use super::exit::{Exit, Failure};
use super::output::{Output, Painter, Role, printable};
use super::rollback::{Whither, by, dash, date, deployments, layout};
use crate::admin::api::{Initiator, PastRollout, RefusedWish};
use crate::ids::{CommitId, WorkerName};
use crate::store::manifest::DeployedBy;

/// The JSON document's format.
const SCHEMA: u32 = 1;

/// `tqctl history`
#[derive(Debug, Args)]
pub struct HistoryArgs {
    /// A target of config/deployment.yaml; this machine where it is left out
    #[arg(add = completion::targets())]
    pub target: Option<String>,
    /// How many rollouts and refusals to show, the newest first
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 20)]
    pub lines: usize,
}

/// Shows it. Rollouts are tqserver's account, which it keeps itself.
pub fn run(
    args: &HistoryArgs,
    root: &Path,
    socket: Option<PathBuf>,
    out: &Output,
) -> Result<Exit, Failure> {
    // No commit can be meant here: a name of digits is a target's as well.
    let whither = Whither::named(args.target.as_deref(), root, socket, out)?;
    super::block_on(async {
        let mut sessions = deploy::begin(&whither.places, "history", out).await?;
        let several = sessions.len() > 1;
        let (mut rollouts, mut refused) = (BTreeMap::new(), BTreeMap::new());
        for session in &mut sessions {
            let mut found = deployments(session, false, out).await?;
            found.rollouts.truncate(args.lines);
            found.refused.truncate(args.lines);
            let name = session.place().name().to_owned();
            if several {
                out.line(out.painter().paint(Role::Strong, &name))?;
            }
            let mut events: Vec<_> = found.rollouts.iter().map(Event::of_rollout).collect();
            events.extend(found.refused.iter().map(Event::of_refusal));
            events.sort_by_key(|event| Reverse(event.at));
            events.truncate(args.lines);
            out.line(table(&events, out.painter()))?;
            rollouts.insert(name.clone(), found.rollouts);
            refused.insert(name, found.refused);
        }
        deploy::end(sessions).await;
        out.document(&Document { schema: SCHEMA, hosts: rollouts, refused })?;
        Ok(Exit::Ok)
    })
}

/// What scripts get.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(in crate::ctl) struct Document {
    schema: u32,
    /// What became of rollouts, by host, newest first.
    hosts: BTreeMap<String, Vec<PastRollout>>,
    /// What was refused before anything was started, likewise.
    refused: BTreeMap<String, Vec<RefusedWish>>,
}

/// A line of the history.
struct Event<'a> {
    at: Timestamp,
    commit: Option<&'a CommitId>,
    outcome: (Role, &'static str),
    took_ms: Option<u64>,
    by: Option<&'a Initiator>,
    started: &'a [WorkerName],
    /// What was wrong.
    reason: Option<&'a str>,
}

impl<'a> Event<'a> {
    fn of_rollout(rollout: &'a PastRollout) -> Self {
        Self {
            at: rollout.at,
            commit: Some(&rollout.commit),
            outcome: match &rollout.failure {
                None => (Role::Plain, "served"),
                Some(_) => (Role::Bad, "failed"),
            },
            took_ms: rollout.took_ms,
            by: rollout.by.as_ref(),
            started: &rollout.started,
            reason: rollout.failure.as_deref(),
        }
    }

    fn of_refusal(refusal: &'a RefusedWish) -> Self {
        Self {
            at: refusal.at,
            commit: refusal.commit.as_ref(),
            outcome: (Role::Bad, "refused"),
            took_ms: None,
            by: refusal.by.as_ref(),
            started: &[],
            reason: Some(&refusal.reason),
        }
    }

    fn commit(&self) -> &str {
        self.commit.map_or("-", CommitId::short)
    }

    fn row(&self) -> (Role, [String; 7]) {
        let by_whom = self.by.cloned().map(|by| DeployedBy {
            user: by.user,
            from: by.from,
            client: by.client,
            verb: by.verb,
        });
        let started: Vec<_> = self.started.iter().map(WorkerName::as_str).collect();
        let (role, outcome) = self.outcome;
        let row = [
            date(Some(self.at)),
            self.commit().to_owned(),
            outcome.to_owned(),
            self.took_ms.map_or("-".to_owned(), |ms| format!("{:.1} s", ms as f64 / 1e3)),
            dash(by_whom.as_ref().map(|by| by.verb.as_str())),
            by(by_whom.as_ref()),
            dash(Some(started.join(", ").as_str()).filter(|text| !text.is_empty())),
        ];
        (role, row)
    }
}

const HEADINGS: [&str; 7] = ["WHEN", "COMMIT", "OUTCOME", "TOOK", "VERB", "BY", "STARTED"];

fn table(events: &[Event<'_>], paint: Painter) -> String {
    let mut rows = vec![(Role::Strong, HEADINGS.map(str::to_owned))];
    rows.extend(events.iter().map(Event::row));
    let reasons = events.iter().filter_map(|event| {
        let reason = printable(event.reason?.lines().next().unwrap_or_default()).to_string();
        Some(format!("{} {}: {reason}", paint.paint(Role::Bad, "✗"), event.commit()))
    });
    std::iter::once(layout(&rows, paint)).chain(reasons).collect::<Vec<_>>().join("\n")
}
