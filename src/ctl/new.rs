//! `tqctl new`: a worker to start from, which serves as it is written.

mod cargo;
mod files;
mod place;
mod present;

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use clap::{Args, ValueEnum};
use serde::Serialize;

use super::exit::{Exit, Failure};
use super::output::{Output, printable_lines};
use crate::build::toolchain::Missing;
use crate::config::discover::{Discovered, discover};
use crate::config::settings::{Mode, Settings};
use crate::config::worker::WorkerFile;
use crate::config::{self, Environment, Sources};
use crate::ids::{RoutePath, WorkerName};
use cargo::Membership;
use place::Placed;
#[cfg(test)]
pub(in crate::ctl) use present::Document;

/// `tqctl new`
#[derive(Debug, Args)]
pub struct NewArgs {
    /// Its name, which decides its route: index is /, and _ becomes /
    pub name: WorkerName,
    /// What it is written in
    #[arg(long, value_name = "LANGUAGE", default_value = "rust")]
    pub lang: Language,
}

/// What a worker can be written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// With tq-worker where the project has it in workers/shared, else with axum
    Rust,
    /// With the standard library alone
    Go,
    /// With what Node brings along
    Node,
    /// With the standard library alone
    Python,
}

impl Language {
    fn name(self) -> &'static str {
        match self {
            Self::Rust => "Rust",
            Self::Go => "Go",
            Self::Node => "Node",
            Self::Python => "Python",
        }
    }

    /// The program that builds or runs it.
    fn toolchain(self) -> &'static str {
        match self {
            Self::Rust => "cargo",
            Self::Go => "go",
            Self::Node => "/usr/bin/node",
            Self::Python => "/usr/bin/python3",
        }
    }
}

/// Writes the worker into the project in `root`. A name that is taken, or whose route is, is
/// [`Exit::Failure`]; then nothing was written.
pub fn run(args: &NewArgs, root: &Path, out: &Output) -> Result<Exit, Failure> {
    // As git and cargo name it, and so that the settings' paths begin with it.
    let root = root.canonicalize().with_context(|| root.display().to_string())?;
    let sources = Sources {
        mode: Some(Mode::Dev),
        environment: Environment::of_process(),
        ..Sources::of_project(&root)
    };
    let loaded = config::load(&sources)?;
    for warning in &loaded.warnings {
        out.warning(printable_lines(&warning.to_string()));
    }
    let settings = loaded.settings;
    let workers = &settings.discovery.workers_dir;
    let folder = workers.join(args.name.as_str());
    let shown = |path: &Path| path.strip_prefix(&root).unwrap_or(path).to_owned();

    if folder.symlink_metadata().is_ok() {
        let taken = anyhow!("{} is there already", shown(&folder).display());
        let hint = "choose another name; nothing is ever overwritten".to_owned();
        return Err(Failure::from(taken).with_hint(Some(hint)));
    }
    let route = free_route(&args.name, &settings, shown)?;

    let cargo = Membership::of(&folder)?;
    let member = cargo.as_ref().filter(|it| it.takes && args.lang == Language::Rust);
    if let Some(package) = member.and_then(|it| it.package_named(args.name.as_str())) {
        let package = shown(&package);
        let taken = anyhow!("the package of {} is called {} already", package.display(), args.name);
        let hint = "choose another name: cargo refuses two packages of one name".to_owned();
        return Err(Failure::from(taken).with_hint(Some(hint)));
    }
    let library = args.lang == Language::Rust && cargo::is_tq_worker(&workers.join("shared"))?;
    let files = files::of(args.lang, library, &args.name, &route, cargo.as_ref());
    // Before the folder is there: cargo would take it for a package without a Cargo.toml.
    let excluded = match (&cargo, args.lang) {
        (Some(cargo), Language::Go | Language::Node | Language::Python) if cargo.takes => {
            cargo.exclude()?;
            true
        }
        _ => false,
    };
    let placed = Placed::write(&folder, &files)?;
    let found = discover(&settings.discovery)?;
    let written = present::Written {
        name: &args.name,
        language: args.lang,
        library,
        route: &route,
        folder: shown(&folder),
        files: placed.files,
        cargo: cargo.as_ref().map(|cargo| shown(cargo.manifest())),
        excluded,
        member: member.is_some(),
        missing: Missing::check(args.lang.toolchain()),
        not_found: not_found(&found, &folder),
        elsewhere: root != std::env::current_dir().unwrap_or_default(),
    };
    written.print(&root, out)?;
    Ok(Exit::Ok)
}

/// The route of the name, unless somebody else has it.
fn free_route(
    name: &WorkerName,
    settings: &Settings,
    shown: impl Fn(&Path) -> PathBuf,
) -> Result<RoutePath, Failure> {
    let route = RoutePath::from_worker_name(name);
    let files = &settings.static_files;
    if files.enabled && files.url_prefix.covers(route.as_str()) {
        let message = anyhow!(
            "{name} would get no requests: {route} lies below server.static.url_prefix, {}",
            files.url_prefix
        );
        return Err(Failure::from(message).with_hint(Some("choose another name".to_owned())));
    }
    if !settings.discovery.workers_dir.exists() {
        return Ok(route);
    }
    for other in discover(&settings.discovery)?.workers {
        let path = other.dir.join(WorkerFile::PATH);
        // What is wrong in another worker's file is told when that is built.
        let file = WorkerFile::read(&path).unwrap_or_default();
        if file.route_for(&other.name) == route {
            let message = anyhow!("worker {} is at {route} already", other.name);
            let hint =
                format!("choose another name, or set `route:` in {}", shown(&path).display());
            return Err(Failure::from(message).with_hint(Some(hint)));
        }
    }
    Ok(route)
}

/// Why the worker that was written is not found in the project.
fn not_found(found: &Discovered, folder: &Path) -> Option<String> {
    if found.workers.iter().any(|worker| worker.dir == folder) {
        return None;
    }
    let reason = found.skipped.iter().find(|(skipped, _)| skipped == folder);
    Some(reason.map_or_else(|| "it is not there".to_owned(), |(_, reason)| reason.clone()))
}
