//! What was removed, and what stays.

use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Serialize;

use crate::ctl::output::{Output, Role, printable};
use crate::ids::CommitId;
use crate::store::layout::DeployDir;
use crate::store::prune::{Plan, Removable};
use crate::store::space;

/// The JSON document's format.
const SCHEMA: u32 = 1;

/// A run that is over, or was only planned.
pub(super) struct Outcome<'a> {
    pub(super) plan: &'a Plan,
    pub(super) deploy: &'a DeployDir,
    /// What is gone; `None` where nothing was to be.
    pub(super) removed: Option<&'a [&'a CommitId]>,
    /// Unfinished folders of processes that are gone, which were removed, too.
    pub(super) left_over: &'a [PathBuf],
}

/// What scripts get.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(in crate::ctl) struct Document<'a> {
    schema: u32,
    deploy_dir: &'a Path,
    dry_run: bool,
    removed: Vec<Gone<'a>>,
    kept: Vec<Kept<'a>>,
    left_over: &'a [PathBuf],
    bytes: u64,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Gone<'a> {
    commit: &'a CommitId,
    #[cfg_attr(test, schemars(with = "String", extend("format" = "date-time")))]
    since: Timestamp,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Kept<'a> {
    commit: &'a CommitId,
    reason: String,
}

impl Outcome<'_> {
    /// Prints it.
    pub(super) fn print(&self, out: &Output) -> io::Result<()> {
        let Plan { kept, removable, bytes } = self.plan;
        let is_gone = |it: &&Removable| self.removed.is_none_or(|gone| gone.contains(&&it.commit));
        let gone: Vec<_> = removable.iter().filter(is_gone).collect();
        // Where one could not be removed nobody has counted what the others freed.
        let bytes = if gone.len() == removable.len() { *bytes } else { 0 };
        out.document(&Document {
            schema: SCHEMA,
            deploy_dir: self.deploy.path(),
            dry_run: self.removed.is_none(),
            removed: gone.iter().map(|it| Gone { commit: &it.commit, since: it.since }).collect(),
            kept: kept.iter().map(|(commit, it)| Kept { commit, reason: it.to_string() }).collect(),
            left_over: self.left_over,
            bytes,
        })?;
        for (commit, reason) in kept {
            let line = format!("kept     {}  {}", commit.short(), printable(&reason.to_string()));
            match self.removed {
                None => out.line(line)?,
                Some(_) => out.detail(line),
            }
        }
        let verb = if self.removed.is_none() { "would go" } else { "removed " };
        for it in &gone {
            out.line(format_args!("{verb} {}  of {}", it.commit.short(), day(it.since)))?;
        }
        for path in self.left_over {
            let path = path.display().to_string();
            out.line(format_args!("removed  {}, which was never finished", printable(&path)))?;
        }
        let total = kept.len() + removable.len();
        let (mark, freed) = match self.removed {
            None => (out.painter().paint(Role::Plain, "nothing was changed:"), "to be had"),
            Some(_) => (out.painter().paint(Role::Good, "✓"), "freed"),
        };
        let path = self.deploy.path().display().to_string();
        out.line(format_args!(
            "{mark} {} of {total} deployments   {} {freed}   {}",
            gone.len(),
            space::bytes(bytes),
            printable(&path)
        ))
    }
}

fn day(time: Timestamp) -> impl std::fmt::Display {
    time.strftime("%Y-%m-%d")
}
