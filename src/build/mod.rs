//! From sources to programs: git facts, toolchains, and deployments put together.
//!
//! What a program is made from is digested first ([`inputs`]); only a program whose inputs changed
//! is built. [`production`] puts a deployment together, [`dev`] builds into the source tree.

mod cargo;
mod command;
mod compiler;
mod concern;
pub mod dev;
pub mod error;
pub mod git;
mod go;
mod inputs;
mod install;
pub mod legacy;
mod parts;
pub mod production;
mod program;
mod record;
pub mod report;
mod reuse;
mod runner;
mod sign;
pub mod toolchain;
mod verdict;

use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::config::settings::{BuildSettings, DiscoverySettings, Settings};
pub use concern::Concern;
pub use error::BuildError;
use git::GitFacts;
pub use program::Skipped;
pub use toolchain::Toolchain;
pub use verdict::Verdict;

/// The project to build, and how.
#[derive(Debug, Clone)]
pub struct Project {
    /// Its folder, absolute and without links, as git and cargo name it.
    pub root: PathBuf,
    /// Which of its folders are workers.
    pub discovery: DiscoverySettings,
    /// How they are built.
    pub build: BuildSettings,
    /// Where deployments go.
    pub deploy_dir: PathBuf,
    /// Whether compilers may colour their messages.
    pub colour: bool,
    /// Whether compilers may tell on stderr how far they are.
    pub progress: bool,
}

impl Project {
    /// The project in `root`, to which relative paths of the settings are relative, built for
    /// somebody at a terminal, which can show colours or not.
    ///
    /// # Errors
    /// When there is no such folder.
    pub fn new(root: &Path, settings: &Settings, colour: bool) -> Result<Self, BuildError> {
        let root = root.canonicalize().map_err(|source| BuildError::io(root, source))?;
        let mut discovery = settings.discovery.clone();
        discovery.workers_dir = root.join(&discovery.workers_dir);
        Ok(Self {
            deploy_dir: root.join(&settings.deployments.deploy_dir),
            build: settings.build.clone(),
            discovery,
            colour,
            progress: true,
            root,
        })
    }

    /// Where compilers put what they need again: CARGO_TARGET_DIR where that is set, else
    /// `target/tqctl`.
    fn target_dir(&self) -> PathBuf {
        match std::env::var_os("CARGO_TARGET_DIR") {
            Some(folder) if !folder.is_empty() => self.root.join(folder),
            _ => self.own_dir(),
        }
    }

    /// What we keep between builds, ignored by git.
    fn own_dir(&self) -> PathBuf {
        self.root.join("target/tqctl")
    }
}

/// Whom a program is built for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// The developer: quickly, and without git's facts, so that equal sources give equal programs.
    Dev,
    /// Everybody: optimised and stripped.
    Release,
}

impl Profile {
    /// What cargo calls it.
    fn cargo_name(self) -> &'static str {
        match self {
            Self::Dev => "dev",
            Self::Release => "release",
        }
    }
}

/// What a program says of its origin when it is asked for its version.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    commit: String,
    branch: String,
    tag: String,
    time: String,
}

impl Stamp {
    fn new(facts: &GitFacts, time: Timestamp) -> Self {
        Self {
            commit: facts.commit.to_string(),
            branch: facts.branch.clone().unwrap_or_default(),
            tag: facts.tag.clone().unwrap_or_default(),
            time: time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        }
    }

    /// The environment of compilers and build commands. What has no value is to be unset, so that
    /// nothing of our own environment gets in.
    fn variables(stamp: Option<&Self>) -> [(&'static str, Option<&str>); 4] {
        let value = |get: fn(&Self) -> &str| stamp.map(get).filter(|value| !value.is_empty());
        [
            ("TQ_GIT_COMMIT", value(|stamp| &stamp.commit)),
            ("TQ_GIT_BRANCH", value(|stamp| &stamp.branch)),
            ("TQ_GIT_TAG", value(|stamp| &stamp.tag)),
            ("TQ_BUILD_TIME", value(|stamp| &stamp.time)),
        ]
    }

    /// Fills in `{{.Commit}}`, `{{.Branch}}`, `{{.Tag}}` and `{{.Time}}`.
    fn fill(&self, template: &str) -> String {
        template
            .replace("{{.Commit}}", &self.commit)
            .replace("{{.Branch}}", &self.branch)
            .replace("{{.Tag}}", &self.tag)
            .replace("{{.Time}}", &self.time)
    }
}
