//! What the reading of one file shares: its document, the variables it may use, and all that was
//! found wrong so far.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use super::diagnostic::{Diagnostic, Position};
use super::document::{Document, MAX_FINDINGS};
use super::sources::Environment;
use super::template::Template;

/// Variables that differ by worker and deployment; they stay in a value until it is used.
const LATER: [&str; 3] = ["DEPLOYMENT_BASE", "DEPLOYMENT_MODE", "WORKER_BASE"];

/// Where in every worker and deployment the programs are.
pub(super) const BIN_DIR: &str = "bin";

/// Whether a value may hold variables that only a worker's start can replace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    /// All variables are replaced while the file is read.
    Now,
    /// Those of [`LATER`] stay.
    PerWorker,
}

/// The state of reading one file.
pub(super) struct Scope<'d> {
    pub(super) document: &'d Document,
    /// `None` for files that may not see the environment.
    environment: Option<&'d Environment>,
    diagnostics: Vec<Diagnostic>,
    unknown: Vec<(Vec<String>, Vec<&'static str>)>,
    /// Every key asked for, dotted: the whole of what the file may say.
    pub(super) keys: BTreeSet<String>,
    /// The variables that were used, and their values.
    pub(super) used: BTreeMap<String, String>,
}

impl<'d> Scope<'d> {
    pub(super) fn new(document: &'d Document, environment: Option<&'d Environment>) -> Self {
        Self {
            document,
            environment,
            diagnostics: Vec::new(),
            unknown: Vec::new(),
            keys: BTreeSet::new(),
            used: BTreeMap::new(),
        }
    }

    /// Notes a finding. Beyond [`MAX_FINDINGS`] they are dropped: nobody reads so many, and each
    /// costs a look through the text.
    pub(super) fn report(&mut self, at: Position, message: impl Display, hint: Option<&str>) {
        if self.diagnostics.len() < MAX_FINDINGS {
            let mut diagnostic = self.document.diagnostic(at, message.to_string());
            diagnostic.hint = hint.map(str::to_owned);
            self.diagnostics.push(diagnostic);
        }
    }

    /// How many findings there are; whoever reads two values that must fit each other compares
    /// only if reading them added none.
    pub(super) fn findings(&self) -> usize {
        self.diagnostics.len()
    }

    /// Notes an entry that nobody asked for, with the keys that might have been meant.
    pub(super) fn unknown(&mut self, path: Vec<String>, siblings: &[&'static str]) {
        if self.unknown.len() < MAX_FINDINGS {
            self.unknown.push((path, siblings.to_vec()));
        }
    }

    /// All findings in the order of the file. Unknown keys come only now: what they may have been
    /// meant for is known when all others were asked for.
    pub(super) fn finish(mut self) -> Vec<Diagnostic> {
        for (path, siblings) in std::mem::take(&mut self.unknown) {
            let at = self.document.positions.key(&path);
            let message = format!("unknown key `{}`", path.join("."));
            let hint = self.meant(&path, &siblings);
            self.report(at, message, hint.as_deref());
        }
        self.diagnostics.sort_by_key(|found| found.position);
        self.diagnostics
    }

    /// What an unknown key was probably meant to be.
    fn meant(&self, path: &[String], siblings: &[&'static str]) -> Option<String> {
        let key = path.last()?;
        let distance = |known: &&&str| strsim::osa_distance(known, key);
        if let Some(near) = siblings.iter().min_by_key(distance)
            && strsim::osa_distance(near, key) <= (key.len() / 3).max(1)
        {
            return Some(format!("did you mean `{near}`?"));
        }
        let elsewhere = |full: &&String| full.rsplit('.').next() == Some(key.as_str());
        self.keys.iter().find(elsewhere).map(|full| format!("there is a key `{full}`"))
    }

    /// `text` with its variables replaced; `None`, and a finding, where that cannot be done.
    pub(super) fn expand(&mut self, text: &str, at: Position, known: Known) -> Option<String> {
        let template = match text.parse::<Template>() {
            Ok(template) => template,
            Err(error) => {
                self.report(at, error, None);
                return None;
            }
        };
        let later = |name: &str| known == Known::PerWorker && LATER.contains(&name);
        let mut refused = None;
        let mut used = BTreeMap::new();
        let lookup = |name: &str| match self.value_of(name) {
            Ok(value) => {
                used.insert(name.to_owned(), value.clone());
                Some(value)
            }
            Err(hint) => {
                refused = Some((name.to_owned(), hint));
                None
            }
        };
        let expanded = match known {
            Known::Now => template.expand(lookup),
            Known::PerWorker => template.bind(later, lookup),
        };
        self.used.extend(used);
        if let Some((name, hint)) = refused {
            let message = format!("the variable `{name}` has no value here");
            self.report(at, message, Some(hint));
            return None;
        }
        Some(expanded)
    }

    /// A variable's value, empty where it is unset; or why this file may not use it.
    fn value_of(&self, name: &str) -> Result<String, &'static str> {
        match (name, self.environment) {
            ("WORKERS_BIN_DIR", _) => Ok(BIN_DIR.into()),
            ("WORKER_BASE" | "DEPLOYMENT_BASE", _) => {
                Err("it differs by worker; it can be used in `env` only")
            }
            (_, Some(environment)) => Ok(environment.get(name).unwrap_or_default().to_owned()),
            (_, None) => Err("worker.yaml can use WORKER_BASE, DEPLOYMENT_BASE and \
                              DEPLOYMENT_MODE, in `env`; pass others on in server.yaml"),
        }
    }
}
