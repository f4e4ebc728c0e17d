//! `tqctl migrate`: from the old flat layout (`pages/`, `templates/`, `bin/tqworker_*`) to `workers/`.

mod conflict;
mod mentions;
mod old;
mod perform;
mod place;
mod plan;
mod present;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use clap::Args;

use super::exit::{Exit, Failure};
use super::output::{Output, printable_lines};
use old::OldLayout;
use plan::Plan;
#[cfg(test)]
pub(in crate::ctl) use present::Document;

/// `tqctl migrate`
#[derive(Debug, Args)]
pub struct MigrateArgs {
    /// The project's folder, instead of that of --root
    pub dir: Option<PathBuf>,
    /// Say what would be moved, and move nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// Moves the files of a project to where they belong now. Nothing is overwritten: whatever stands in
/// the way is told before the first file is moved, all of it at once, with [`Exit::Failure`]. A run that
/// was interrupted is carried on by the next.
pub fn run(args: &MigrateArgs, root: &Path, out: &Output) -> Result<Exit, Failure> {
    let root = args.dir.as_deref().unwrap_or(root);
    let root = root.canonicalize().with_context(|| root.display().to_string())?;
    let old = OldLayout::read(&root)?;
    if old.is_nothing() && !root.join("workers").is_dir() {
        let message = anyhow!(
            "{}: has neither pages/, templates/ or bin/tqworker_* of the old layout nor workers/",
            root.display()
        );
        let hint = "name the project's folder: tqctl migrate DIR".to_owned();
        return Err(Failure::from(message).with_hint(Some(hint)));
    }
    let plan = Plan::new(&old);
    let conflicts = conflict::find(&root, &old, &plan);
    if !conflicts.is_empty() {
        let listed: Vec<_> = conflicts.iter().map(|it| format!("\n  {it}")).collect();
        let message = anyhow!("nothing was moved:{}", printable_lines(&listed.concat()));
        let hint = "nothing is ever overwritten: move or rename what is named here".to_owned();
        return Err(Failure::from(message).with_hint(Some(hint)));
    }
    if !args.dry_run {
        perform::perform(&root, &plan)
            .context("not all is moved; the next `tqctl migrate` goes on from here")?;
    }
    let mentions = mentions::find(&root, &plan, args.dry_run);
    present::Migration { plan: &plan, mentions: &mentions, dry_run: args.dry_run }.print(out)?;
    Ok(Exit::Ok)
}
