//! What goes where, and in which order.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::old::{OldLayout, Page};
use super::place;
use crate::config::worker::WorkerFile;
use crate::ids::{RoutePath, WorkerName};

/// A file's way. Paths begin at the project's folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Move {
    pub(super) from: PathBuf,
    pub(super) to: PathBuf,
}

/// A worker that comes out of a page.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Migrated {
    pub(super) name: WorkerName,
    pub(super) route: RoutePath,
    /// The page's folder.
    pub(super) from: PathBuf,
}

/// A file that stays where it is.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Left {
    pub(super) path: PathBuf,
    pub(super) reason: &'static str,
}

/// A file to write.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) path: PathBuf,
    pub(super) text: String,
}

/// All there is to do: first what is written, then the moves one after the other.
///
/// The main file of a page goes last, as it is by this that the next run knows an unfinished page.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) workers: Vec<Migrated>,
    pub(super) written: Vec<Written>,
    pub(super) moves: Vec<Move>,
    pub(super) left: Vec<Left>,
    /// Pages that cannot become workers, and why.
    pub(super) impossible: Vec<String>,
}

impl Plan {
    /// Where each file of the old layout goes.
    pub(super) fn new(old: &OldLayout) -> Self {
        let mut plan = Self::default();
        let shared = Path::new("workers/shared/private");
        for from in &old.templates {
            plan.moves.push(Move { from: from.clone(), to: shared.join(from) });
        }
        for page in &old.pages {
            match named(page) {
                Ok((name, route)) => plan.add(page, name, route, old),
                Err(reason) => plan.impossible.push(reason),
            }
        }
        let left = |path: &PathBuf, reason| Left { path: path.clone(), reason };
        plan.left.extend(old.stray.iter().map(|path| left(path, "is part of no page")));
        let of_page = |path: &&PathBuf| old.pages.iter().any(|page| page.program() == **path);
        let orphans = old.programs.iter().filter(|path| !of_page(path));
        plan.left.extend(orphans.map(|path| left(path, "is the program of no page")));
        // Which is all that is left to say of a project that is migrated already.
        if !plan.moves.is_empty() {
            let reason = "is the old server, which serves until you cut over";
            plan.left.extend(old.server.iter().map(|path| left(path, reason)));
        }
        plan
    }

    fn add(&mut self, page: &Page, name: WorkerName, route: RoutePath, old: &OldLayout) {
        let folder = Path::new("workers").join(name.as_str());
        let worker_file = Path::new(WorkerFile::PATH);
        let brings_its_own = page.files.iter().any(|file| place::of(file) == worker_file);
        if route != RoutePath::from_worker_name(&name) && !brings_its_own {
            let text = format!("route: {}\n", scalar(route.as_str()));
            self.written.push(Written { path: folder.join(worker_file), text });
        }
        let program = page.program();
        if old.programs.contains(&program) {
            let to = folder.join("bin").join(name.as_str());
            self.moves.push(Move { from: program, to });
        }
        for file in &page.files {
            let (from, to) = (page.folder.join(file), folder.join(place::of(file)));
            self.moves.push(Move { from, to });
        }
        self.workers.push(Migrated { name, route, from: page.folder.clone() });
    }
}

/// The worker that a page becomes, and the route that the page had.
fn named(page: &Page) -> Result<(WorkerName, RoutePath), String> {
    let parts = page.parts();
    let name = parts.join("_").replace('-', "_").to_lowercase();
    let refused = |reason: &dyn std::fmt::Display| format!("{}: {reason}", page.folder.display());
    if name == "shared" {
        return Err(refused(&"workers/shared is for what all workers share; rename the page"));
    }
    let name = name.parse().map_err(|error| refused(&error))?;
    let route = match parts.as_slice() {
        [index] if index == "index" => RoutePath::root(),
        parts => format!("/{}", parts.join("/")).parse().map_err(|error| refused(&error))?,
    };
    Ok((name, route))
}

/// Text as YAML, in quotes where it needs them.
fn scalar(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/_-.~".contains(c);
    if text.chars().all(plain) {
        text.to_owned()
    } else {
        serde_json::Value::from(text).to_string()
    }
}
