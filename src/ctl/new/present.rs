//! What was written, and what to type next.

use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::Language;
use crate::build::toolchain::Missing;
use crate::ctl::output::{Output, Role, printable};
use crate::ids::{RoutePath, WorkerName};

/// The JSON document's format.
const SCHEMA: u32 = 1;

/// A worker that was written.
pub(super) struct Written<'a> {
    pub(super) name: &'a WorkerName,
    pub(super) language: Language,
    /// Whether it is made with tq-worker.
    pub(super) library: bool,
    pub(super) route: &'a RoutePath,
    /// Its folder, below the project's where it lies there.
    pub(super) folder: PathBuf,
    /// Its files, below its folder.
    pub(super) files: Vec<&'static str>,
    /// The manifest of the cargo workspace that it lies in.
    pub(super) cargo: Option<PathBuf>,
    /// Whether it was excluded there.
    pub(super) excluded: bool,
    /// Whether it is a member of it.
    pub(super) member: bool,
    /// Its toolchain, if that is not installed.
    pub(super) missing: Option<Missing>,
    /// Why tqserver does not find it.
    pub(super) not_found: Option<String>,
    /// Whether the project is not the working directory.
    pub(super) elsewhere: bool,
}

/// What scripts get.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(in crate::ctl) struct Document<'a> {
    schema: u32,
    name: &'a WorkerName,
    language: Language,
    route: &'a RoutePath,
    folder: &'a Path,
    files: &'a [&'static str],
    /// The manifest of the cargo workspace that it is a member of.
    member_of: Option<&'a Path>,
    /// The manifest of the cargo workspace whose `exclude` it was added to.
    excluded_from: Option<&'a Path>,
    /// The Debian package of its toolchain, if that is not installed.
    missing_package: Option<&'static str>,
}

impl Written<'_> {
    /// Prints it.
    pub(super) fn print(&self, root: &Path, out: &Output) -> io::Result<()> {
        let cargo = self.cargo.as_deref();
        out.document(&Document {
            schema: SCHEMA,
            name: self.name,
            language: self.language,
            route: self.route,
            folder: &self.folder,
            files: &self.files,
            member_of: cargo.filter(|_| self.member),
            excluded_from: cargo.filter(|_| self.excluded),
            missing_package: self.missing.as_ref().and_then(Missing::package),
        })?;
        let mark = out.painter().paint(Role::Good, "✓");
        let (name, language, route) = (self.name, self.made_with(), self.route);
        out.line(format_args!("{mark} {name}, {language}, at {route}{}", self.in_cargo()))?;
        let folder = self.folder.display().to_string();
        out.line(format_args!("{}/\n{}", printable(&folder), tree(&self.files).trim_end()))?;
        if let Some(reason) = &self.not_found {
            out.warning(format_args!(
                "tqserver does not find it: {}; see workers.discovery in config/server.yaml",
                printable(reason)
            ));
        }
        if let Some(missing) = &self.missing {
            out.warning(missing);
        }
        let place = match self.elsewhere {
            true => format!(", in {}", printable(&root.display().to_string())),
            false => String::new(),
        };
        out.message(format_args!(
            "next{place}:\n  tqctl build --dev      builds it\n  tqctl reload --wait    serves it, \
             where tqserver serves this source tree"
        ));
        Ok(())
    }

    fn made_with(&self) -> String {
        let library = if self.library { " with tq-worker" } else { "" };
        format!("in {}{library}", self.language.name())
    }

    /// What cargo has to do with it.
    fn in_cargo(&self) -> String {
        let manifest = self.cargo.as_deref().unwrap_or(Path::new("")).display().to_string();
        let manifest = printable(&manifest);
        match (self.language, self.member, self.excluded) {
            (_, _, true) => format!(
                "\n  {manifest}: added to workspace.exclude, as cargo takes it for a package \
                 otherwise"
            ),
            (_, true, _) => format!("\n  a member of the cargo workspace of {manifest}"),
            (Language::Rust, false, _) => "\n  a cargo workspace of its own".to_owned(),
            _ => String::new(),
        }
    }
}

/// Sorted paths as a tree.
fn tree(paths: &[&str]) -> String {
    let mut text = String::new();
    branch(&mut text, "", paths);
    text
}

fn branch(text: &mut String, indent: &str, paths: &[&str]) {
    let folder = |path: &str| path.split_once('/').map(|(folder, _)| folder.to_owned());
    let mut rest = paths;
    while let [first, ..] = rest {
        let same = |path: &&&str| folder(first).is_some() && folder(path) == folder(first);
        let count = rest.iter().take_while(same).count().max(1);
        let (here, after) = rest.split_at(count);
        let (knot, deeper) =
            if after.is_empty() { ("└── ", "    ") } else { ("├── ", "│   ") };
        match folder(first) {
            None => text.extend([indent, knot, first, "\n"]),
            Some(name) => {
                text.extend([indent, knot, &name, "/\n"]);
                let below: Vec<_> = here.iter().map(|path| &path[name.len() + 1..]).collect();
                branch(text, &format!("{indent}{deeper}"), &below);
            }
        }
        rest = after;
    }
}
