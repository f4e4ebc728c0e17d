//! One call of cargo for all programs of a workspace.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use cargo_metadata::diagnostic::DiagnosticLevel;
use cargo_metadata::{Message, MessageIter, PackageId};

use super::super::compiler::{Compiler, read_all};
use super::super::error::BuildError;
use super::super::report::{Diagnostic, Event, Place, Report};
use super::super::{Profile, Stamp, Verdict};
use super::{Binary, Workspace};

/// Where mold is `ld` (mold(1), "-run"; the folder of Debian's package).
const MOLD: &str = "/usr/libexec/mold";

/// What came of it.
pub(in super::super) struct Ran {
    /// The executables, by package. A package that is missing did not build.
    pub(in super::super) executables: BTreeMap<PackageId, PathBuf>,
    /// Cargo, where it has not ended yet.
    pub(in super::super) ending: Option<Ending>,
}

/// A cargo that has put everything in its place, and goes on to write which files it was made from.
pub(in super::super) struct Ending(JoinHandle<()>);

/// How cargo is to be called.
pub(in super::super) struct CargoRun<'a> {
    /// The workspace that all of them belong to.
    pub(in super::super) workspace: &'a Workspace,
    /// The packages of all programs that are ever built from this workspace. Cargo unites the
    /// features of dependencies over the packages it is told: with always the same ones, a
    /// dependency is not compiled anew because another set of programs has changed.
    pub(in super::super) together: BTreeSet<&'a PackageId>,
    /// The programs to build now.
    pub(in super::super) binaries: Vec<&'a Binary>,
    pub(in super::super) profile: Profile,
    pub(in super::super) jobs: usize,
    pub(in super::super) target_dir: &'a Path,
    pub(in super::super) stamp: Option<&'a Stamp>,
    /// Of a build that is begun ahead.
    pub(in super::super) ahead: Option<&'a Arc<Verdict>>,
    pub(in super::super) colour: bool,
    /// Whether cargo tells on stderr how far it is; otherwise its own errors go to `report`.
    pub(in super::super) progress: bool,
}

impl Ending {
    fn of(cargo: Compiler, messages: MessageIter<impl BufRead + Send + 'static>) -> Self {
        Self(thread::spawn(move || {
            // There are none, but a pipe that nobody reads would be an error to it.
            messages.take_while(Result::is_ok).for_each(drop);
            if let Err(error) = cargo.wait() {
                tracing::debug!(%error, "cargo was not awaited");
            }
        }))
    }

    /// Waits until it has ended.
    pub(in super::super) fn wait(self) {
        self.0.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    }
}

impl CargoRun<'_> {
    /// Builds as many as can be built; the compiler's messages go to `report`. In development it is
    /// not awaited that cargo ends, unless something has failed.
    pub(in super::super) fn run(&self, report: &dyn Report) -> Result<Ran, BuildError> {
        let spawn = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => BuildError::NoRust,
            _ => BuildError::io("cargo", error),
        };
        let mut cargo = Compiler::spawn(&mut self.command(), self.ahead).map_err(spawn)?;
        // Beside stdout, or one of the two would fill up while the other is read.
        let words = cargo.stderr().map(|stderr| thread::spawn(|| read_all(stderr)));
        let mut executables = BTreeMap::new();
        if let Some(stdout) = cargo.stdout() {
            let mut messages = Message::parse_stream(BufReader::new(stdout));
            while let Some(message) = messages.next() {
                match message.map_err(|source| BuildError::io("cargo", source))? {
                    Message::CompilerArtifact(artifact) => {
                        let wanted = self.binaries.iter().any(|binary| {
                            binary.package == artifact.package_id
                                && artifact.target.is_bin()
                                && binary.target == artifact.target.name
                        });
                        if let Some(executable) = artifact.executable.filter(|_| wanted) {
                            executables.insert(artifact.package_id, executable.into());
                        }
                    }
                    Message::CompilerMessage(message) => {
                        if let Some(text) = &message.message.rendered {
                            let error = self.place(&message.message);
                            let error = error.as_ref();
                            report.event(Event::Diagnostic(Diagnostic { text, error }));
                        }
                    }
                    // A script's or a macro's own words.
                    Message::TextLine(line) => report.event(Event::Output(&line)),
                    Message::BuildFinished(build)
                        if build.success && self.profile == Profile::Dev =>
                    {
                        return Ok(Ran { executables, ending: Some(Ending::of(cargo, messages)) });
                    }
                    _ => {}
                }
            }
        }
        // Its verdict is in what it built.
        cargo.wait().map_err(|source| BuildError::io("cargo", source))?;
        if let Some(words) = words {
            let words = words.join().unwrap_or_default();
            if !words.is_empty() {
                report.event(Event::Output(&words));
            }
        }
        Ok(Ran { executables, ending: None })
    }

    /// What an error is about. Its paths are relative to the workspace.
    fn place(&self, message: &cargo_metadata::diagnostic::Diagnostic) -> Option<Place> {
        if message.level != DiagnosticLevel::Error {
            return None;
        }
        let span = message.spans.iter().find(|span| span.is_primary)?;
        let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Some(Place {
            file: self.workspace.root.join(&span.file_name),
            line: number(span.line_start),
            column: number(span.column_start),
            message: message.message.clone(),
        })
    }

    fn command(&self) -> Command {
        let mut command = self.workspace.cargo.command(&self.workspace.root);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        if !self.progress {
            command.arg("--quiet").stderr(Stdio::piped());
        }
        command.args(["build", "--keep-going", "--message-format"]);
        command.arg(if self.colour { "json-diagnostic-rendered-ansi" } else { "json" });
        command.args(["--color", if self.colour { "always" } else { "never" }]);
        command.args(["--profile", self.profile.cargo_name()]);
        // The compiler driver looks there for a linker before it takes the usual one. It is no flag
        // that cargo would see, so nothing is compiled anew where mold comes or goes; a rustc that
        // brings a fast linker of its own goes on to use that.
        if self.profile == Profile::Dev
            && env::var_os("COMPILER_PATH").is_none()
            && Path::new(MOLD).join("ld").exists()
        {
            command.env("COMPILER_PATH", MOLD);
        }
        if self.profile == Profile::Release {
            command.args(["--config", "profile.release.strip=true"]);
        }
        if self.workspace.locked {
            command.arg("--locked");
        }
        command.arg("--jobs").arg(self.jobs.to_string());
        command.arg("--target-dir").arg(self.target_dir);
        for package in &self.together {
            command.args(["--package", &package.repr]);
        }
        for binary in &self.binaries {
            command.args(["--bin", &binary.target]);
        }
        for (name, value) in Stamp::variables(self.stamp) {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command
    }
}
