//! What is known of a program's last build.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::cargo::files_read;
use super::error::BuildError;
use super::inputs::Inputs;
use super::program::Program;
use super::runner::Made;
use super::{Profile, Project};
use crate::ids::Md5;

/// A program's last build, kept in `target/tqctl`. Losing it costs no more than a build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// What it was made from.
    pub(super) inputs_md5: Md5,
    /// Files that it embeds, by their path below the project. They are no sources by their place,
    /// and only the compiler knows of them; a change of one is a change of the program.
    pub(super) embedded: Vec<PathBuf>,
}

impl Record {
    /// What to remember of a build: files of the project that the compiler has read besides the
    /// known `inputs` are inputs from now on.
    pub(super) fn of(project: &Project, inputs: &Inputs, made: &Made) -> Result<Self, BuildError> {
        let read = match made {
            Made::Executable(path) => {
                files_read(path).map_err(|source| BuildError::io(path, source))?
            }
            Made::BinFolder => Vec::new(),
        };
        let target_dir = project.target_dir();
        let mut embedded: Vec<PathBuf> = read
            .into_iter()
            // What a build script generated follows from its own inputs.
            .filter(|file| !file.starts_with(&target_dir) && !inputs.has(file))
            .filter_map(|file| Some(file.strip_prefix(&project.root).ok()?.to_owned()))
            .collect();
        embedded.sort();
        let inputs_md5 = inputs.digest_with(&embedded)?;
        Ok(Self { inputs_md5, embedded })
    }

    /// The record of a program, where there is a readable one.
    pub(super) fn read(project: &Project, profile: Profile, program: &Program) -> Option<Self> {
        serde_json::from_slice(&fs::read(path(project, profile, program)).ok()?).ok()
    }

    /// Writes it.
    pub(super) fn write(
        &self,
        project: &Project,
        profile: Profile,
        program: &Program,
    ) -> Result<(), BuildError> {
        let path = path(project, profile, program);
        let write = || -> io::Result<()> {
            fs::create_dir_all(path.parent().unwrap_or(&path))?;
            ignore(&project.own_dir())?;
            fs::write(&path, serde_json::to_vec(self)?)
        };
        write().map_err(|source| BuildError::io(&path, source))
    }
}

fn path(project: &Project, profile: Profile, program: &Program) -> PathBuf {
    let name = format!("{}.json", program.place);
    project.own_dir().join("records").join(profile.cargo_name()).join(name)
}

/// Keeps git from seeing our own files in projects that do not ignore `target`.
pub(super) fn ignore(folder: &Path) -> io::Result<()> {
    let path = folder.join(".gitignore");
    if path.exists() { Ok(()) } else { fs::write(path, "*\n") }
}
