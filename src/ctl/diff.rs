//! `tqctl diff`: what a deployment of what is checked out would change.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use clap::Args;
use serde::Serialize;

use super::build;
use super::completion;
use super::deploy::{self, Workers};
use super::exit::{Exit, Failure};
use super::output::{Output, Role, printable};
use super::rollback::Whither;
use crate::build::git::{self, Between};
use crate::config::settings::Mode;
use crate::ids::{CommitId, WorkerName};
use crate::store::deployment::Deployment;
use crate::store::layout::DeployDir;

/// The JSON document's format.
const SCHEMA: u32 = 1;
/// How many commits and files are shown; the others are counted.
const SHOWN: usize = 20;

/// `tqctl diff`
#[derive(Debug, Args)]
pub struct DiffArgs {
    /// A target of config/deployment.yaml; what is deployed on this machine where it is left out
    #[arg(add = completion::targets())]
    pub target: Option<String>,
}

/// Shows it; writes nothing.
pub fn run(
    args: &DiffArgs,
    root: &Path,
    socket: Option<PathBuf>,
    out: &Output,
) -> Result<Exit, Failure> {
    let (project, _) = build::project(root, Mode::Prod, out)?;
    let whither = Whither::named(args.target.as_deref(), root, socket, out)?;
    let head = git::resolve(&project.root, "HEAD")?
        .ok_or_else(|| anyhow!("the repository has no commits yet"))?;
    let built = Deployment::read(&DeployDir::new(&project.deploy_dir), &head).ok();
    super::block_on(async {
        let sessions = deploy::begin(&whither.places, "diff", out).await?;
        let mut documents = BTreeMap::new();
        for session in &sessions {
            let current = session.current();
            let from = current.map(|it| it.git_commit.clone());
            let between = match &from {
                Some(from) => git::between(&project.root, from, &head)?,
                None => None,
            };
            let workers = built.as_ref().map(|built| Workers::between(current, built));
            let name = session.place().name();
            let diff = Diff { from: from.as_ref(), head: &head, between, workers };
            diff.print(whither.target.as_deref().unwrap_or("here"), name, current, out)?;
            documents.insert(name.to_owned(), diff.document());
        }
        deploy::end(sessions).await;
        out.document(&Document { schema: SCHEMA, hosts: documents })?;
        Ok(Exit::Ok)
    })
}

/// What scripts get.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(in crate::ctl) struct Document {
    schema: u32,
    /// By host.
    hosts: BTreeMap<String, HostDocument>,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct HostDocument {
    /// What serves there.
    from: Option<CommitId>,
    /// What is checked out.
    to: CommitId,
    /// Commits that would be gained, a line each; absent where git does not know what serves. So the
    /// next two.
    gained: Option<Vec<String>>,
    /// Commits that serve and are not in what is checked out.
    lost: Option<Vec<String>>,
    /// Files that differ.
    files: Option<Vec<String>>,
    /// What would become of the workers; absent where nothing is built.
    workers: Option<Workers>,
}

struct Diff<'a> {
    from: Option<&'a CommitId>,
    head: &'a CommitId,
    /// `None` where git does not know the commit that serves, or nothing serves.
    between: Option<Between>,
    /// `None` where HEAD is not built.
    workers: Option<Workers>,
}

impl Diff<'_> {
    fn print(
        &self,
        target: &str,
        host: &str,
        current: Option<&Deployment>,
        out: &Output,
    ) -> Result<(), Failure> {
        let paint = out.painter();
        let from = self.from.map_or("nothing", CommitId::short);
        let host =
            if ["here", target].contains(&host) { String::new() } else { format!("  {host}") };
        let title = paint.paint(Role::Strong, target);
        out.line(format_args!("{title}{host}  {from} → {}", self.head.short()))?;
        if self.from == Some(self.head) {
            out.line("  what is checked out serves")?;
            return Ok(());
        }
        let Some(between) = &self.between else {
            if self.from.is_some() {
                out.line(format_args!("  git does not know {from} here (git fetch)"))?;
            }
            return self.print_workers(&BTreeSet::new(), out);
        };
        section("commits", &between.gained, "+", out)?;
        section("commits that serve and are not in what is checked out", &between.lost, "-", out)?;
        section("files", &between.files, " ", out)?;
        let known = current.into_iter().flat_map(|it| it.workers.keys());
        self.print_workers(&concerned(&between.files, known), out)
    }

    fn print_workers(&self, concerned: &BTreeSet<WorkerName>, out: &Output) -> Result<(), Failure> {
        if let Some(workers) = &self.workers {
            out.line(format_args!("  {}", workers.text()))?;
        } else if !concerned.is_empty() {
            let names: Vec<_> = concerned.iter().map(WorkerName::as_str).collect();
            out.line(format_args!("  workers whose files changed: {}", names.join(", ")))?;
            out.message("what restarts is known when it is built: tqctl build --no-activate");
        }
        Ok(())
    }

    fn document(&self) -> HostDocument {
        let between = self.between.as_ref();
        HostDocument {
            from: self.from.cloned(),
            to: self.head.clone(),
            gained: between.map(|it| it.gained.clone()),
            lost: between.map(|it| it.lost.clone()),
            files: between.map(|it| it.files.clone()),
            workers: self.workers.clone(),
        }
    }
}

fn section(title: &str, lines: &[String], mark: &str, out: &Output) -> Result<(), Failure> {
    if lines.is_empty() {
        return Ok(());
    }
    out.line(format_args!("  {} {title}", lines.len()))?;
    for line in lines.iter().take(SHOWN) {
        out.line(format_args!("    {mark} {}", printable(line)))?;
    }
    match lines.len().saturating_sub(SHOWN) {
        0 => Ok(()),
        more => Ok(out.line(format_args!("      … and {more} more"))?),
    }
}

/// The workers in whose folders files changed; all that serve, where it is in the shared one. What
/// programs are made from elsewhere only a build knows.
fn concerned<'a>(
    files: &[String],
    all: impl Iterator<Item = &'a WorkerName>,
) -> BTreeSet<WorkerName> {
    let folder =
        |path: &String| path.split_once("workers/")?.1.split('/').next().map(str::to_owned);
    let folders: BTreeSet<_> = files.iter().filter_map(folder).collect();
    let shared = folders.contains("shared");
    let own = folders.iter().filter_map(|name| name.parse().ok());
    own.chain(all.filter(|_| shared).cloned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_are_concerned_by_files_of_their_own_and_by_shared_ones() {
        let all: Vec<WorkerName> = ["a", "b"].map(|name| name.parse().unwrap()).to_vec();
        let of = |files: &[&str]| {
            let files: Vec<_> = files.iter().map(|it| (*it).to_owned()).collect();
            let found = concerned(&files, all.iter());
            found.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(of(&["workers/a/src/main.rs", "README.md"]), "a");
        assert_eq!(of(&["workers/new/src/main.rs"]), "new");
        assert_eq!(of(&["workers/shared/public/x.css", "workers/new/x"]), "a b new");
        assert_eq!(of(&["docs/workers.md"]), "");
    }
}
