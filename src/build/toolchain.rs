//! What builds a worker, and programs that workers need beside tqctl: what builds them, and what
//! interprets them.

use std::env;
use std::fmt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::config::worker::WorkerFile;

/// The Debian packages of toolchains, by the name of their program.
const PACKAGES: &[(&str, &str)] = &[
    ("cargo", "cargo"),
    ("deno", "deno"),
    ("dotnet", "dotnet-sdk"),
    ("gcc", "gcc"),
    ("go", "golang-go"),
    ("java", "default-jre-headless"),
    ("javac", "default-jdk-headless"),
    ("make", "make"),
    ("node", "nodejs"),
    ("npm", "npm"),
    ("perl", "perl"),
    ("php", "php-cli"),
    ("pip3", "python3-pip"),
    ("python3", "python3"),
    ("ruby", "ruby"),
];

/// What builds a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Toolchain {
    /// The command in `build:` of its worker.yaml, before anything else.
    Command(Vec<String>),
    /// cargo, as there is a `Cargo.toml`.
    Cargo,
    /// go, as there is a `src/main.go`.
    Go,
    /// Nothing: `run:` of its worker.yaml interprets what is in `bin/`.
    Ready,
}

impl Toolchain {
    /// That of the worker in `folder`; `None` where nothing says how to build it.
    pub fn of(folder: &Path, file: &WorkerFile) -> Option<Self> {
        if let Some(words) = &file.build {
            Some(Self::Command(words.clone()))
        } else if folder.join("Cargo.toml").is_file() {
            Some(Self::Cargo)
        } else if folder.join("src/main.go").is_file() {
            Some(Self::Go)
        } else {
            file.run.is_some().then_some(Self::Ready)
        }
    }
}

/// A program that a worker needs and this machine has not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    program: String,
}

impl Missing {
    /// Looks for a program: an absolute path where it names, any other name in `PATH`. `None` when
    /// it is there.
    pub fn check(program: &str) -> Option<Self> {
        let there = if program.starts_with('/') {
            is_executable(Path::new(program))
        } else {
            let path = env::var_os("PATH").unwrap_or_default();
            env::split_paths(&path).any(|folder| is_executable(&folder.join(program)))
        };
        (!there).then(|| Self { program: program.to_owned() })
    }

    /// The Debian package it is in, where that is known.
    pub fn package(&self) -> Option<&'static str> {
        let path = PathBuf::from(&self.program);
        let name = path.file_name()?.to_str()?;
        PACKAGES.iter().find(|(program, _)| *program == name).map(|(_, package)| *package)
    }
}

/// What is missing, and what to do about it: `no go: apt-get install golang-go`.
impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no {}", self.program)?;
        match self.package() {
            Some(package) => write!(f, ": apt-get install {package}"),
            None => Ok(()),
        }
    }
}

fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::in_path("sh", None)]
    #[case::absolute("/bin/sh", None)]
    #[case::not_executable("/etc/passwd", Some("no /etc/passwd"))]
    #[case::a_folder("/usr", Some("no /usr"))]
    #[case::a_known_one("/nowhere/node", Some("no /nowhere/node: apt-get install nodejs"))]
    #[case::an_unknown_one("no_such_program", Some("no no_such_program"))]
    fn what_is_missing_is_named_with_its_package(
        #[case] program: &str,
        #[case] expected: Option<&str>,
    ) {
        let message = Missing::check(program).map(|missing| missing.to_string());
        assert_eq!(message.as_deref(), expected);
    }
}
