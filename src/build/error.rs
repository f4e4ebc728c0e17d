//! Why there is no build.

use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};

use super::git::GitError;
use super::program::Skipped;
use crate::store::digest::DigestError;
use crate::store::space::SpaceError;
use crate::store::stage::StageError;

/// Why there is no build, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// Git has nothing to say.
    #[error(transparent)]
    Git(#[from] GitError),
    /// There are uncommitted changes.
    #[error(
        "the working directory has uncommitted changes; a deployment is named by its commit, so \
         commit, stash or ignore them first:{}", list(.0)
    )]
    Dirty(Vec<String>),
    /// There are uncommitted changes, which may be, but the commit's folder is there already.
    #[error(
        "{} is there already, and the working directory has uncommitted changes that are not in \
         it; commit them first", .0.display()
    )]
    DirtyAndDeployed(PathBuf),
    /// No folder is a worker.
    #[error("{}: there is no worker below it{}", folder.display(), list(skipped))]
    NoWorkers {
        /// Where they should be.
        folder: PathBuf,
        /// Why others are none.
        skipped: Vec<Skipped>,
    },
    /// gpg did not sign.
    #[error("{}: is built and not signed: {reason}", record.display())]
    NotSigned {
        /// What was to be signed.
        record: PathBuf,
        /// What gpg said.
        reason: String,
    },
    /// Workers could not be looked for, or one has a bad name or `worker.yaml`.
    #[error("{0}")]
    Config(String),
    /// Nothing says how it is built.
    #[error(
        "{}: nothing says how to build it; it needs a Cargo.toml, a src/main.go, or `build:` or \
         `run:` in config/worker.yaml", .0.display()
    )]
    NoRecipe(PathBuf),
    /// `run:` names nothing that could be hashed.
    #[error(
        "{}: `run:` of config/worker.yaml names no file below bin/; all that runs must lie there",
        .0.display()
    )]
    RunOutsideBin(PathBuf),
    /// No cargo or rustc.
    #[error(
        "cargo and rustc are needed and not installed (apt install cargo, or https://rustup.rs)"
    )]
    NoRust,
    /// Workers need programs that this machine has not. A deployment without them would remove
    /// them from what is served.
    #[error(
        "there is no deployment without all of its workers, and some cannot be built or run \
         here:{}", list(.0)
    )]
    NoToolchain(Vec<Skipped>),
    /// Cargo does not understand the package.
    #[error("{}: {message}", manifest.display())]
    CargoMetadata {
        /// Its `Cargo.toml`.
        manifest: PathBuf,
        /// What cargo says.
        message: String,
    },
    /// It has several executables, or none.
    #[error(
        "{}: needs a [[bin]] called {name:?}{}", manifest.display(),
        if found.is_empty() { String::new() } else { format!(", and has {}", found.join(", ")) }
    )]
    NoBinaryTarget {
        /// Its `Cargo.toml`.
        manifest: PathBuf,
        /// The worker's name.
        name: String,
        /// What it has.
        found: Vec<String>,
    },
    /// A go or other program could not say what it needs.
    #[error("worker {worker}: {command}: {message}")]
    Inputs {
        /// Whose sources they are.
        worker: String,
        /// What was run.
        command: String,
        /// What it said.
        message: String,
    },
    /// It was begun ahead, and was not wanted in the end.
    #[error("the build was stopped, as its sources have changed")]
    Stopped,
    /// Compilers or build commands failed; they have said why.
    #[error("build failed: {}", .0.join(", "))]
    Failed(Vec<String>),
    /// It was built, and what should have come out is not there.
    #[error("worker {worker}: its build left no {}", path.display())]
    NoOutput {
        /// Which worker.
        worker: String,
        /// What was looked for.
        path: PathBuf,
    },
    /// `bin/<name>` is no program.
    #[error(
        "worker {worker}: {} is not an executable ELF program; if it is a script, give it another \
         name, and name that in `run:` of config/worker.yaml", path.display()
    )]
    NotAProgram {
        /// Which worker.
        worker: String,
        /// The file.
        path: PathBuf,
    },
    /// The commit's folder is there, and is not what was built.
    #[error(
        "{}: is there already and damaged, so it is not used; remove it and build again: {problem}",
        folder.display()
    )]
    Damaged {
        /// The folder.
        folder: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A folder that cannot be deployed as it is.
    #[error(transparent)]
    Digest(#[from] DigestError),
    /// There is too little room for it.
    #[error(transparent)]
    Space(#[from] SpaceError),
    /// The deployment could not be put together.
    #[error(transparent)]
    Stage(#[from] StageError),
    /// A file or folder.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
}

impl BuildError {
    pub(super) fn io(path: impl AsRef<Path>, source: io::Error) -> Self {
        Self::Io { path: path.as_ref().to_owned(), source }
    }

    /// Whether a program did not build, as opposed to not having been tried.
    pub fn is_build_failure(&self) -> bool {
        matches!(self, Self::Failed(_) | Self::NoOutput { .. } | Self::NotAProgram { .. })
    }
}

/// Up to twenty lines below a message.
fn list(lines: &[impl Display]) -> String {
    const SHOWN: usize = 20;
    let mut text: String = lines.iter().take(SHOWN).map(|line| format!("\n  {line}")).collect();
    if let Some(more) = lines.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        text.push_str(&format!("\n  and {more} more"));
    }
    text
}
