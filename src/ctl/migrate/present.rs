//! What was moved, or would be.

use std::io;
use std::path::Path;

use serde::Serialize;

use super::mentions::Mention;
use super::plan::{Left, Migrated, Move, Plan};
use crate::ctl::output::{Output, Role, printable};

/// The JSON document's format.
const SCHEMA: u32 = 1;

/// A migration that was done, or planned.
pub(super) struct Migration<'a> {
    pub(super) plan: &'a Plan,
    pub(super) mentions: &'a [Mention],
    pub(super) dry_run: bool,
}

/// What scripts get.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(in crate::ctl) struct Document<'a> {
    schema: u32,
    dry_run: bool,
    workers: &'a [Migrated],
    written: Vec<&'a Path>,
    moves: &'a [Move],
    left: &'a [Left],
    mentions: &'a [Mention],
}

impl Migration<'_> {
    /// Prints it.
    pub(super) fn print(&self, out: &Output) -> io::Result<()> {
        let Plan { workers, written, moves, left, .. } = self.plan;
        out.document(&Document {
            schema: SCHEMA,
            dry_run: self.dry_run,
            workers,
            written: written.iter().map(|file| file.path.as_path()).collect(),
            moves,
            left,
            mentions: self.mentions,
        })?;
        for file in written {
            let path = file.path.display().to_string();
            out.line(format_args!("{}: {}", printable(&path), printable(file.text.trim_end())))?;
        }
        for Move { from, to } in moves {
            let (from, to) = (from.display().to_string(), to.display().to_string());
            out.line(format_args!("{} → {}", printable(&from), printable(&to)))?;
        }
        self.warn(out);
        let names: Vec<_> =
            workers.iter().map(|it| format!("{} at {}", it.name, it.route)).collect();
        let names = printable(&names.join(", ")).to_string();
        match (moves.len(), self.dry_run) {
            (0, _) => out.line("nothing to migrate"),
            (count, true) => {
                out.line(format_args!("would move {count} files   {names}   (nothing was changed)"))
            }
            (count, false) => {
                let mark = out.painter().paint(Role::Good, "✓");
                out.line(format_args!("{mark} moved {count} files   {names}"))?;
                out.message("next: tqctl doctor, then tqctl build --dev --legacy-output");
                Ok(())
            }
        }
    }

    fn warn(&self, out: &Output) {
        for Left { path, reason } in &self.plan.left {
            let path = path.display().to_string();
            out.warning(format_args!("{} stays: it {reason}", printable(&path)));
        }
        for Mention { file, line, column, text } in self.mentions {
            let file = file.display().to_string();
            let (file, text) = (printable(&file), printable(text));
            out.warning(format_args!("{file}:{line}:{column}: names an old place: {text}"));
        }
    }
}
