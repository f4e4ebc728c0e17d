//! Finds out what the project needs, and whether it is there.

use std::path::{Path, PathBuf};

use futures_util::future::join_all;

use super::{Facts, Linker, State, Tool, looked_up};
use crate::build::Toolchain;
use crate::ctl::doctor::ask::{self, Answer};
use crate::ctl::doctor::project::{self, Worker};

/// The Rust that the worker library is written in: our own.
const LIBRARY_RUST: &str = env!("CARGO_PKG_RUST_VERSION");

/// Programs that say their version quickly, and how. Any other might do something when asked.
const VERSIONS: &[(&str, &str)] = &[
    ("cargo", "--version"),
    ("rustc", "--version"),
    ("go", "version"),
    ("git", "--version"),
    ("node", "--version"),
    ("python3", "--version"),
    ("ruby", "--version"),
    ("php", "--version"),
];

impl Facts {
    /// Looks for what the project needs; without a project, nothing is.
    pub(in crate::ctl::doctor) async fn gather(
        root: &Path,
        project: Option<&project::Facts>,
    ) -> Self {
        let Some(project) = project else {
            return Self { tools: Vec::new(), has_rustup: false, linker: None };
        };
        let needs = needs(project);
        let is_rust = needs.iter().any(|need| need.program == "cargo");
        let tools = join_all(needs.into_iter().map(|need| find(need, root))).await;
        let linker = is_rust.then(|| Linker {
            installed: [("mold", "mold"), ("ld.lld", "lld")]
                .into_iter()
                .find_map(|(program, name)| ask::locate(program, root).map(|_| name)),
            is_chosen: chooses_linker(root),
        });
        Self { tools, has_rustup: ask::locate("rustup", root).is_some(), linker }
    }
}

/// A program that is asked for, from a folder.
struct Need {
    program: String,
    folder: PathBuf,
    needed_by: Vec<String>,
    at_least: Option<&'static str>,
}

/// What the project's workers are built and run with, each once.
fn needs(project: &project::Facts) -> Vec<Need> {
    let mut needs: Vec<Need> = Vec::new();
    let mut add = |program: &str, folder: &Path, by: &str, at_least: Option<&'static str>| {
        let is_path = program.contains('/');
        let same = |need: &&mut Need| {
            need.program == program
                && (!is_path || need.folder == folder || program.starts_with('/'))
        };
        if let Some(need) = needs.iter_mut().find(same) {
            if !need.needed_by.iter().any(|other| other == by) {
                need.needed_by.push(by.to_owned());
            }
            need.at_least = need.at_least.or(at_least);
            return;
        }
        let (program, folder) = (program.to_owned(), folder.to_owned());
        needs.push(Need { program, folder, needed_by: vec![by.to_owned()], at_least });
    };
    add("git", &project.root, "production builds", None);
    // Every build reads the workspace, where there is one.
    if project.root.join("Cargo.toml").is_file() {
        add("cargo", &project.root, "Cargo.toml", None);
        add("rustc", &project.root, "Cargo.toml", None);
    }
    for worker in project.workers() {
        let (name, folder) = (worker.name.as_str(), worker.folder.as_path());
        match &worker.toolchain {
            Some(Toolchain::Cargo) => {
                let at_least = uses_library(folder).then_some(LIBRARY_RUST);
                add("cargo", folder, name, at_least);
                add("rustc", folder, name, at_least);
                add("cc", folder, name, None);
            }
            Some(Toolchain::Go) => add("go", folder, name, None),
            Some(Toolchain::Command(words)) => {
                words.first().into_iter().for_each(|word| add(word, folder, name, None));
            }
            Some(Toolchain::Ready) | None => {}
        }
        interpreters(worker).iter().for_each(|program| add(program, folder, name, None));
    }
    needs
}

/// Whether a package depends on the worker library.
fn uses_library(folder: &Path) -> bool {
    ask::file(folder.join("Cargo.toml")).is_some_and(|text| text.contains("tq-worker"))
}

/// What a worker's `run:` needs beside the worker's own files: an absolute program, and what
/// scripts in `bin/` name in their first line.
fn interpreters(worker: &Worker) -> Vec<String> {
    let words = worker.file.as_ref().ok().and_then(|file| file.run.as_deref());
    let words = words.unwrap_or_default();
    let system = words.first().filter(|word| word.starts_with('/')).cloned();
    let script = words.first().filter(|word| word.starts_with("bin/"));
    let script = script.and_then(|word| ask::file(worker.folder.join(word)));
    system.into_iter().chain(script.as_deref().and_then(interpreter)).collect()
}

/// `#!/usr/bin/env -S python3 -u` asks for `python3`.
fn interpreter(script: &str) -> Option<String> {
    let mut words = script.lines().next()?.strip_prefix("#!")?.split_whitespace();
    let first = words.next()?;
    if first.rsplit('/').next() != Some("env") {
        return Some(first.to_owned());
    }
    words.find(|word| !word.starts_with('-') && !word.contains('=')).map(str::to_owned)
}

async fn find(need: Need, root: &Path) -> Tool {
    let Need { program, folder, needed_by, at_least } = need;
    let state = match ask::locate(&program, &folder) {
        None => State::Missing,
        Some(path) => match version_option(&program) {
            None => State::There { path, version: None },
            Some(option) => match ask::program(&[&path.to_string_lossy(), option], root).await {
                Answer::Said(text) => State::There { path, version: version_in(&text) },
                Answer::Missing => State::Missing,
                Answer::Failed(said) => State::Failed(said),
            },
        },
    };
    Tool { program, needed_by, at_least, state }
}

fn version_option(program: &str) -> Option<&'static str> {
    // One of the project's own may be called so, too.
    let is_system = !program.contains('/') || program.starts_with('/');
    looked_up(VERSIONS, program).filter(|_| is_system)
}

/// The version in what a program says of itself.
fn version_in(text: &str) -> Option<String> {
    let number = |word: &str| {
        let number = word.trim_start_matches("go").trim_start_matches('v');
        number.starts_with(|c: char| c.is_ascii_digit()).then(|| number.to_owned())
    };
    text.split_whitespace().find_map(number)
}

/// Whether cargo was told which linker to use.
fn chooses_linker(root: &Path) -> bool {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")));
    let folders = home.into_iter().chain([root.join(".cargo")]);
    let files = folders.filter_map(|folder| ask::file(folder.join("config.toml")));
    let flags = ["RUSTFLAGS", "CARGO_BUILD_RUSTFLAGS"];
    let flags = flags.into_iter().filter_map(|name| std::env::var(name).ok());
    files.chain(flags).any(|text| text.contains("fuse-ld=") || text.contains("linker ="))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("cargo 1.95.0 (f2d3ce0bd 2026-03-21)", Some("1.95.0"))]
    #[case("go version go1.19.8 linux/amd64", Some("1.19.8"))]
    #[case("git version 2.39.5", Some("2.39.5"))]
    #[case("v18.20.4", Some("18.20.4"))]
    #[case("Python 3.11.2", Some("3.11.2"))]
    #[case("hello", None)]
    fn versions_are_found_in_what_programs_say(#[case] text: &str, #[case] found: Option<&str>) {
        assert_eq!(version_in(text).as_deref(), found);
    }

    #[rstest]
    #[case("#!/bin/sh -e\n", Some("/bin/sh"))]
    #[case("#!/usr/bin/env python3\nimport os", Some("python3"))]
    #[case("#! /usr/bin/env -S A=b node --x", Some("node"))]
    #[case("\u{7f}ELF", None)]
    fn scripts_name_their_interpreters(#[case] script: &str, #[case] found: Option<&str>) {
        assert_eq!(interpreter(script).as_deref(), found);
    }
}
