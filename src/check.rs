//! Whether what lies on disk would be served, and what stands in its way: what `tqctl check` says.
//!
//! It is read by what tqserver reads it with, so that both say the same; nothing is written and nobody is
//! asked.

use std::path::PathBuf;

use serde::Serialize;

use crate::config::settings::Mode;
use crate::config::{self, Diagnostic, Position, Sources};
use crate::ids::{CommitId, RoutePath, WorkerName};
use crate::launcher::Output;
use crate::rollout::desired::Desired;
use crate::rollout::load::{LoadError, Loader};
use crate::store::verify::Scope;

/// The JSON document's format.
const SCHEMA: u32 = 1;

/// What was found.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Report {
    schema: u32,
    /// Whether all that was looked at would be served: no finding is an error.
    pub ok: bool,
    /// What is wrong or doubtful, the configuration first.
    pub findings: Vec<Finding>,
    /// What would be served.
    pub served: Vec<Served>,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// tqserver refuses it, and what served before serves on.
    Error,
    /// It has a meaning, and may not be what was meant.
    Warning,
}

/// One thing that is wrong, or doubtful.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The file, where it is about the configuration.
    file: Option<PathBuf>,
    /// Its line and column there, from 1, where it is about a place.
    line: Option<usize>,
    column: Option<usize>,
    /// What is wrong. Of what is not about the configuration it may have several lines.
    message: String,
    /// What to do.
    hint: Option<String>,
    /// All of it, for people.
    #[serde(skip)]
    pub text: String,
}

impl Finding {
    fn of_diagnostic(severity: Severity, found: &Diagnostic) -> Self {
        let (line, column) = found.position.map(|Position { line, column }| (line, column)).unzip();
        Self {
            severity,
            file: Some(found.file.clone()),
            line,
            column,
            message: found.message.clone(),
            hint: found.hint.clone(),
            text: found.to_string(),
        }
    }

    /// One that is only known by its words.
    pub fn told(severity: Severity, text: impl Into<String>) -> Self {
        let text = text.into();
        let (file, line, column, hint) = Default::default();
        Self { severity, file, line, column, message: text.clone(), hint, text }
    }
}

/// What would be served in a mode.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Served {
    /// From the source tree (`dev`), or from the deployment that the manifest names (`prod`).
    pub mode: &'static str,
    /// The deployment.
    pub commit: Option<CommitId>,
    /// The workers, by name.
    pub workers: Vec<ServedWorker>,
}

/// One worker.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ServedWorker {
    /// Its name.
    pub name: WorkerName,
    /// Where it is mounted.
    pub route: RoutePath,
    /// Whether it has a program; in development it may be yet to be built.
    pub built: bool,
}

impl Served {
    fn new(mode: Mode, desired: &Desired) -> Self {
        let mut workers: Vec<_> = desired
            .settings()
            .map(|(name, settings)| ServedWorker {
                name: name.clone(),
                route: settings.route.clone(),
                built: !desired.unbuilt.contains_key(name),
            })
            .collect();
        workers.sort_by(|a, b| a.name.cmp(&b.name));
        Self { mode: mode.as_str(), commit: desired.commit.clone(), workers }
    }
}

/// Reads the configuration, and what it leads to in each of the `modes`; deployments as far as `scope`
/// goes. Blocks: programs and files of a deployment are hashed.
pub fn check(sources: &Sources, scope: Scope, modes: &[Option<Mode>]) -> Report {
    let (mut findings, mut served) = (Vec::new(), Vec::new());
    let mut found = |finding: Finding| {
        // What is wrong with the configuration is so in every mode.
        if !findings.contains(&finding) {
            findings.push(finding);
        }
    };
    for mode in modes {
        let sources = Sources { mode: mode.or(sources.mode), ..sources.clone() };
        let loaded = match config::load(&sources) {
            Ok(loaded) => loaded,
            Err(errors) => {
                let errors = errors.diagnostics().iter();
                errors.for_each(|it| found(Finding::of_diagnostic(Severity::Error, it)));
                continue;
            }
        };
        let warnings = loaded.warnings.iter();
        warnings.for_each(|it| found(Finding::of_diagnostic(Severity::Warning, it)));
        match Loader::looking_only(sources, Output::Journal, scope).load_wanted() {
            Ok(wanted) => {
                // The configuration's own come first, and are there already.
                let others = wanted.warnings.into_iter().skip(loaded.warnings.len());
                others.for_each(|text| found(Finding::told(Severity::Warning, text)));
                served.push(Served::new(loaded.settings.mode, &wanted.desired));
            }
            Err(LoadError::Config(errors)) => {
                let errors = errors.diagnostics().iter();
                errors.for_each(|it| found(Finding::of_diagnostic(Severity::Error, it)));
            }
            Err(error @ LoadError::NoManifest(_)) => {
                found(Finding::told(Severity::Warning, error.to_string()));
            }
            Err(error) => found(Finding::told(Severity::Error, error.to_string())),
        }
    }
    let ok = findings.iter().all(|it| it.severity != Severity::Error);
    Report { schema: SCHEMA, ok, findings, served }
}
