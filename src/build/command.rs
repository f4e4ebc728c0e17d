//! Programs that a command of their own builds: `build:` in worker.yaml.

use std::path::Path;
use std::process::{Command, Stdio};

use super::Stamp;
use super::error::BuildError;
use super::inputs::{Inputs, sources};
use super::program::Program;
use super::report::{Event, Report};

/// Adds all that such a program can be made from: the command, and the worker's folder but for
/// `bin/` and `config/`.
pub(super) fn add_inputs(
    program: &Program,
    command: &[String],
    inputs: &mut Inputs,
) -> Result<(), BuildError> {
    for word in command {
        inputs.field("word", word);
    }
    sources(&program.folder, &is_source)?.iter().try_for_each(|file| inputs.file(file))
}

/// Whether a file counts, by its path below the worker's folder.
pub(super) fn is_source(below: &Path) -> bool {
    !(below.starts_with("bin") || below.starts_with("config"))
}

/// Adds what a program that needs no build consists of: `bin/`.
pub(super) fn add_ready(program: &Program, inputs: &mut Inputs) -> Result<(), BuildError> {
    sources(&program.folder.join("bin"), &|_| true)?.iter().try_for_each(|file| inputs.file(file))
}

/// Runs the command in the worker's folder. `false` when it failed; `report` has its output.
pub(super) fn build(
    program: &Program,
    words: &[String],
    stamp: Option<&Stamp>,
    report: &dyn Report,
) -> Result<bool, BuildError> {
    let [first, rest @ ..] = words else {
        return Err(BuildError::Config(format!("worker {}: `build:` is empty", program.name)));
    };
    let mut command = Command::new(first);
    command.args(rest).current_dir(&program.folder).stdin(Stdio::null());
    for (name, value) in Stamp::variables(stamp) {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let failed = |message: String| BuildError::Inputs {
        worker: program.name.clone(),
        command: first.clone(),
        message,
    };
    let output = command.output().map_err(|error| failed(error.to_string()))?;
    for text in [&output.stdout, &output.stderr] {
        if !text.is_empty() {
            report.event(Event::Output(&String::from_utf8_lossy(text)));
        }
    }
    Ok(output.status.success())
}
