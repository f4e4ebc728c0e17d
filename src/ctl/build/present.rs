//! How a build looks: the lines while it goes on, and what came out.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use crate::build::Skipped;
use crate::build::dev::{self, DevBuild};
use crate::build::git::GitFacts;
use crate::build::production::Production;
use crate::build::report::{Event, Report};
use crate::ctl::output::{Output, Painter, Role, printable, printable_lines};
use crate::ids::Md5;
use crate::store::deployment::Deployment;

/// The JSON documents' format.
const SCHEMA: u32 = 1;

impl Report for Output {
    fn event(&self, event: Event<'_>) {
        match event {
            // A closed stdout is noticed when the result is printed.
            Event::Tree(facts) => drop(self.line(tree_line(facts, self.painter()))),
            Event::Compiled(_) => {}
            Event::Building(names) => self.message(format_args!("building {}", names.join(", "))),
            // The compiler's own words, in its own colours.
            Event::Diagnostic(message) => self.explanation(message.text.trim_end()),
            Event::Output(text) => self.explanation(printable_lines(text.trim_end())),
            Event::Damaged { name, commit, file } => self.warning(format_args!(
                "{name}: {file} of deploy/{commit} is not what was built, so it is built again"
            )),
        }
    }
}

/// `✓ clean tree   a1b2c3d main v1.2.3`
fn tree_line(facts: &GitFacts, paint: Painter) -> String {
    let (mark, state) = match facts.changes.len() {
        0 => (paint.paint(Role::Good, "✓"), "clean tree".to_owned()),
        count => (paint.paint(Role::Warning, "!"), format!("{count} uncommitted changes")),
    };
    let branch = facts.branch.as_deref().unwrap_or("(detached)");
    let tag = facts.tag.as_deref().map(|tag| format!(" {tag}")).unwrap_or_default();
    format!("{mark} {state}   {} {branch}{tag}", facts.short)
}

/// A production build and what it changed.
pub(super) struct Outcome<'a> {
    pub(super) built: &'a Production,
    /// Where programs were put for the old layout.
    pub(super) legacy: &'a [PathBuf],
    /// What the manifest pointed at.
    pub(super) before: Option<&'a Deployment>,
    pub(super) activated: bool,
    pub(super) duration: Duration,
}

/// What scripts get of a production build.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(in crate::ctl) struct Document<'a> {
    schema: u32,
    #[cfg_attr(test, schemars(schema_with = "crate::ctl::schemas::deployment"))]
    deployment: &'a Deployment,
    folder: &'a Path,
    existed: bool,
    activated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    signature: Option<&'a Path>,
    rebuilt: Vec<&'a str>,
    reused: Vec<&'a str>,
    skipped: &'a [Skipped],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    legacy_output: &'a [PathBuf],
    duration_seconds: f64,
}

/// A program of a deployment, as far as its line goes.
struct Line<'a> {
    path: &'a str,
    name: &'a str,
    size: u64,
    md5: Md5,
    before: Option<Md5>,
}

impl Outcome<'_> {
    /// Prints it.
    pub(super) fn print(&self, root: &Path, out: &Output) -> io::Result<()> {
        let lines = self.lines();
        let is_reused = |line: &&Line<'_>| self.built.reused.contains_key(line.path);
        let (reused, rebuilt): (Vec<_>, Vec<_>) = lines.iter().partition(is_reused);
        out.document(&Document {
            schema: SCHEMA,
            deployment: &self.built.deployment,
            folder: &self.built.folder,
            existed: self.built.existed,
            activated: self.activated,
            signature: self.built.signature.as_deref(),
            rebuilt: rebuilt.iter().map(|line| line.name).collect(),
            reused: reused.iter().map(|line| line.name).collect(),
            skipped: &self.built.skipped,
            legacy_output: self.legacy,
            duration_seconds: self.duration.as_secs_f64(),
        })?;
        skipped(&self.built.skipped, out)?;
        let paint = out.painter();
        let width = lines.iter().map(|line| line.name.len()).max().unwrap_or_default();
        for line in &lines {
            out.line(line.text(width, paint))?;
        }
        let folder = self.built.folder.strip_prefix(root).unwrap_or(&self.built.folder);
        let existed = if self.built.existed { " was there and is intact" } else { "" };
        let manifest = match (self.activated, self.built.existed) {
            (false, _) => "",
            (true, false) => " and manifest.json",
            (true, true) => "; manifest.json points at it",
        };
        let mark = paint.paint(Role::Good, "✓");
        let seconds = paint.paint(Role::Dim, format!("({:.1} s)", self.duration.as_secs_f64()));
        out.line(format_args!("{mark} {}/{existed}{manifest}   {seconds}", folder.display()))?;
        if let Some(signature) = &self.built.signature {
            let signature = signature.strip_prefix(root).unwrap_or(signature);
            out.line(format_args!("{mark} signed: {}", signature.display()))?;
        }
        out.line(tree(&self.built.deployment).trim_end())?;
        legacy(self.legacy, out)
    }

    fn lines(&self) -> Vec<Line<'_>> {
        let deployment = &self.built.deployment;
        let server = deployment.server.iter().map(|part| Line {
            path: &part.path,
            name: "tqserver",
            size: part.size_bytes,
            md5: part.binary_md5,
            before: self.before.and_then(|it| Some(it.server.as_ref()?.binary_md5)),
        });
        let workers = deployment.workers.iter().map(|(name, part)| Line {
            path: &part.path,
            name: name.as_str(),
            size: part.size_bytes,
            md5: part.binary_md5,
            before: self.before.and_then(|it| Some(it.workers.get(name)?.binary_md5)),
        });
        server.chain(workers).collect()
    }
}

impl Line<'_> {
    /// `✓ index      1.9 MB  md5 91ab…  changed`
    fn text(&self, width: usize, paint: Painter) -> String {
        let (mark, state) = match self.before {
            Some(before) if before == self.md5 => (paint.paint(Role::Dim, "="), "unchanged"),
            Some(_) => (paint.paint(Role::Good, "✓"), "changed"),
            None => (paint.paint(Role::Good, "✓"), "new"),
        };
        let megabytes = format!("{:.1} MB", self.size as f64 / 1e6);
        let md5 = &self.md5.to_string()[..4];
        format!("{mark} {:width$}  {megabytes:>8}  md5 {md5}…  {state}", self.name)
    }
}

/// The folders of a deployment and their programs.
fn tree(deployment: &Deployment) -> String {
    let mut text = format!("deploy/{}/\n", deployment.git_commit);
    if let Some(server) = &deployment.server {
        let folders = [("public/", server.has_public), ("private/", server.has_private)];
        let folders = folders.iter().filter(|(_, there)| *there).map(|(name, _)| *name);
        text.push_str("├── server/\n");
        branch(&mut text, "│   ", std::iter::once(server.binary.as_str()).chain(folders));
    }
    text.push_str("└── workers/\n");
    let last = deployment.workers.len().saturating_sub(1);
    for (index, (name, part)) in deployment.workers.iter().enumerate() {
        let (knot, indent) =
            if index == last { ("└──", "        ") } else { ("├──", "    │   ") };
        // String never fails to be written to.
        let _ = writeln!(text, "    {knot} {name}/  {}", part.route);
        let has = |folder: &str| part.sha256.keys().any(|path| path.starts_with(folder));
        let folders = ["public/", "private/", "config/"].into_iter().filter(|folder| has(folder));
        branch(&mut text, indent, std::iter::once(part.binary.as_str()).chain(folders));
    }
    text
}

fn branch<'a>(text: &mut String, indent: &str, entries: impl Iterator<Item = &'a str>) {
    let mut entries = entries.peekable();
    while let Some(entry) = entries.next() {
        let knot = if entries.peek().is_some() { "├──" } else { "└──" };
        let _ = writeln!(text, "{indent}{knot} {entry}");
    }
}

/// What scripts get of a development build.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(in crate::ctl) struct DevDocument<'a> {
    schema: u32,
    workers: BTreeMap<&'a str, dev::Outcome>,
    skipped: &'a [Skipped],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    legacy_output: &'a [PathBuf],
    duration_seconds: f64,
}

/// Prints a development build.
pub(super) fn dev(
    built: &DevBuild,
    legacy: &[PathBuf],
    duration: Duration,
    out: &Output,
) -> io::Result<()> {
    let workers = built.workers.iter().map(|(name, outcome)| (name.as_str(), *outcome)).collect();
    out.document(&DevDocument {
        schema: SCHEMA,
        workers,
        skipped: &built.skipped,
        legacy_output: legacy,
        duration_seconds: duration.as_secs_f64(),
    })?;
    skipped(&built.skipped, out)?;
    let paint = out.painter();
    for (name, outcome) in &built.workers {
        let (role, mark, state) = match outcome {
            dev::Outcome::UpToDate => (Role::Dim, "=", "up to date"),
            dev::Outcome::Unchanged => (Role::Dim, "=", "built, the same program as before"),
            dev::Outcome::Built => (Role::Good, "✓", "built"),
            dev::Outcome::Failed => (Role::Bad, "✗", "build failed"),
        };
        out.line(format_args!("{} {name} {state}", paint.paint(role, mark)))?;
    }
    self::legacy(legacy, out)
}

fn legacy(places: &[PathBuf], out: &Output) -> io::Result<()> {
    let mark = out.painter().paint(Role::Good, "✓");
    for place in places {
        out.line(format_args!("{mark} {}", printable(&place.display().to_string())))?;
    }
    Ok(())
}

fn skipped(skipped: &[Skipped], out: &Output) -> io::Result<()> {
    for it in skipped {
        out.line(format_args!("Skipping {}", printable(&it.to_string())))?;
    }
    Ok(())
}
