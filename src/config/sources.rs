//! Where configuration comes from.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::diagnostic::Diagnostic;
use super::document::MAX_BYTES;
use super::settings::Mode;

/// Everything that decides about the settings.
#[derive(Debug, Clone)]
pub struct Sources {
    /// The folder that relative paths in the files start from.
    pub root: PathBuf,
    /// `config/server.yaml`; it must exist.
    pub server_yaml: PathBuf,
    /// `config/deployment.yaml`; without it, defaults hold.
    pub deployment_yaml: PathBuf,
    /// The variables that values may name.
    pub environment: Environment,
    /// The mode the command line asks for.
    pub mode: Option<Mode>,
}

impl Sources {
    /// The files in `config/` of a project, with no variables and no mode asked for.
    pub fn of_project(root: impl Into<PathBuf>) -> Self {
        let root = root.into();
        Self {
            server_yaml: root.join("config/server.yaml"),
            deployment_yaml: root.join("config/deployment.yaml"),
            root,
            environment: Environment::default(),
            mode: None,
        }
    }
}

/// Variables that `${…}` in values may name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// The process's own, without what is not UTF-8. Only binaries call this: the rest of the
    /// program is a function of its arguments.
    pub fn of_process() -> Self {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Self(std::env::vars_os().filter_map(text).collect())
    }

    /// A variable's value.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(variables: I) -> Self {
        Self(variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

/// The content of a regular file, up to one byte more than is accepted; `None` if there is none.
pub(super) fn read(file: &Path) -> Result<Option<Vec<u8>>, Diagnostic> {
    let failed = |error: std::io::Error| Diagnostic::about(file, format!("cannot read: {error}"));
    // Opening a pipe waits for its writer otherwise, and looking first would be a moment too early.
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits() as i32;
    let opened = match OpenOptions::new().read(true).custom_flags(nonblocking).open(file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(failed)?,
    };
    if !opened.metadata().map_err(failed)?.is_file() {
        return Err(Diagnostic::about(file, "not a regular file"));
    }
    let mut bytes = Vec::new();
    let limit = MAX_BYTES as u64 + 1;
    opened.take(limit).read_to_end(&mut bytes).map_err(failed)?;
    Ok(Some(bytes))
}
