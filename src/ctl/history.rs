//! `tqctl history`: what was deployed, by whom, and what came of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;

use super::deploy;
use super::exit::{Exit, Failure};
use super::output::{Output, Painter, Role, printable};
use super::rollback::{Whither, by, dash, date, deployments, layout};
use crate::admin::api::PastRollout;
use crate::ids::WorkerName;
use crate::store::manifest::DeployedBy;

/// The JSON document's format.
const SCHEMA: u32 = 1;

/// `tqctl history`
#[derive(Debug, Args)]
pub struct HistoryArgs {
    /// A target of config/deployment.yaml; this machine where it is left out
    pub target: Option<String>,
    /// How many rollouts to show, the newest first
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
        let mut documents = BTreeMap::new();
        for session in &mut sessions {
            let mut found = deployments(session, false, out).await?.rollouts;
            found.truncate(args.lines);
            let name = session.place().name().to_owned();
            if several {
                out.line(out.painter().paint(Role::Strong, &name))?;
            }
            out.line(table(&found, out.painter()))?;
            documents.insert(name, found);
        }
        deploy::end(sessions).await;
        out.document(&serde_json::json!({ "schema": SCHEMA, "hosts": documents }))?;
        Ok(Exit::Ok)
    })
}

const HEADINGS: [&str; 7] = ["WHEN", "COMMIT", "OUTCOME", "TOOK", "VERB", "BY", "STARTED"];

fn table(rollouts: &[PastRollout], paint: Painter) -> String {
    let mut rows = vec![(Role::Strong, HEADINGS.map(str::to_owned))];
    let mut reasons = Vec::new();
    for rollout in rollouts {
        let by_whom = rollout.by.clone().map(|by| DeployedBy {
            user: by.user,
            from: by.from,
            client: by.client,
            verb: by.verb,
        });
        let started: Vec<_> = rollout.started.iter().map(WorkerName::as_str).collect();
        let (role, outcome) = match &rollout.failure {
            None => (Role::Plain, "served"),
            Some(_) => (Role::Bad, "failed"),
        };
        rows.push((
            role,
            [
                date(Some(rollout.at)),
                rollout.commit.short().to_owned(),
                outcome.to_owned(),
                rollout.took_ms.map_or("-".to_owned(), |ms| format!("{:.1} s", ms as f64 / 1e3)),
                dash(by_whom.as_ref().map(|by| by.verb.as_str())),
                by(by_whom.as_ref()),
                dash(Some(started.join(", ").as_str()).filter(|text| !text.is_empty())),
            ],
        ));
        if let Some(failure) = &rollout.failure {
            let mark = paint.paint(Role::Bad, "✗");
            let failure = printable(failure.lines().next().unwrap_or_default()).to_string();
            reasons.push(format!("{mark} {}: {failure}", rollout.commit.short()));
        }
    }
    std::iter::once(layout(&rows, paint)).chain(reasons).collect::<Vec<_>>().join("\n")
}
