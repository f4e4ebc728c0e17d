//! Go programs: what they are made from, and their build.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use serde::Deserialize;

use super::compiler::{Compiler, read_all};
use super::error::BuildError;
use super::inputs::Inputs;
use super::program::Program;
use super::report::{Diagnostic, Event, Place, Report};
use super::{Profile, Stamp, Verdict};
use crate::config::settings::BuildSettings;

/// What `go list -json` says of a package that is built into the program.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[derive(Default)]
struct Package {
    dir: PathBuf,
    import_path: String,
    standard: bool,
    module: Option<Module>,
    go_files: Vec<String>,
    cgo_files: Vec<String>,
    c_files: Vec<String>,
    #[serde(rename = "CXXFiles")]
    cxx_files: Vec<String>,
    h_files: Vec<String>,
    s_files: Vec<String>,
    syso_files: Vec<String>,
    embed_files: Vec<String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Module {
    path: String,
    version: String,
    main: bool,
    go_mod: Option<PathBuf>,
    replace: Option<Box<Module>>,
}

const FIELDS: &str = "-json=Dir,ImportPath,Standard,Module,GoFiles,CgoFiles,CFiles,CXXFiles,HFiles,\
                      SFiles,SysoFiles,EmbedFiles";

/// Adds all that the program is made from: its own files and those of packages that have no
/// version, embedded ones included, and path and version of the others.
pub(super) fn add_inputs(
    program: &Program,
    profile: Profile,
    settings: &BuildSettings,
    inputs: &mut Inputs,
) -> Result<(), BuildError> {
    inputs.field("go", ask(program, &["version"])?);
    inputs.field("env", ask(program, &["env", "GOOS", "GOARCH", "GOFLAGS", "CGO_ENABLED"])?);
    inputs.field("profile", profile.cargo_name());
    inputs.field("ldflags", &settings.ldflags);
    if profile == Profile::Release {
        settings.git_ldflags.iter().for_each(|flag| inputs.field("git_ldflags", flag));
    }
    let listed = ask(program, &["list", "-deps", FIELDS, "./src"])?;
    for package in serde_json::Deserializer::from_slice(&listed).into_iter::<Package>() {
        let package = package.map_err(|error| BuildError::Inputs {
            worker: program.name.clone(),
            command: "go list".to_owned(),
            message: error.to_string(),
        })?;
        add_package(&package, inputs)?;
    }
    Ok(())
}

/// The folder of the module that the worker in `folder` belongs to: of the nearest `go.mod` in the
/// project, else the worker's own.
pub(super) fn module(folder: &Path, project: &Path) -> PathBuf {
    let within = folder.ancestors().take_while(|above| above.starts_with(project));
    let module = within.into_iter().find(|above| above.join("go.mod").is_file());
    module.unwrap_or(folder).to_owned()
}

/// Whether a file may go into a program, by its path below the module's folder: code anywhere, and
/// what lies below a `src` and could be embedded.
pub(super) fn is_source(below: &Path) -> bool {
    const CODE: [&str; 9] = ["go", "c", "cc", "cpp", "cxx", "h", "hh", "s", "syso"];
    let extension = below.extension().and_then(|extension| extension.to_str());
    let is_test = below.to_str().is_some_and(|path| path.ends_with("_test.go"));
    let in_src = || below.iter().any(|part| part == "src");
    !is_test && (extension.is_some_and(|found| CODE.contains(&found)) || in_src())
}

fn add_package(package: &Package, inputs: &mut Inputs) -> Result<(), BuildError> {
    if package.standard {
        return Ok(());
    }
    inputs.field("package", &package.import_path);
    let effective =
        package.module.as_ref().map(|module| module.replace.as_deref().unwrap_or(module));
    if let Some(module) = effective {
        inputs.field("module", format!("{} {}", module.path, module.version));
        if let Some(go_mod) = module.go_mod.as_ref().filter(|_| module.main) {
            inputs.file(go_mod)?;
            inputs.file(&go_mod.with_file_name("go.sum"))?;
        }
        if !module.version.is_empty() {
            return Ok(());
        }
    }
    let lists = [
        &package.go_files,
        &package.cgo_files,
        &package.c_files,
        &package.cxx_files,
        &package.h_files,
        &package.s_files,
        &package.syso_files,
        &package.embed_files,
    ];
    lists.into_iter().flatten().try_for_each(|file| inputs.file(&package.dir.join(file)))
}

/// How go is to be called.
pub(super) struct Build<'a> {
    pub(super) program: &'a Program,
    pub(super) settings: &'a BuildSettings,
    pub(super) stamp: Option<&'a Stamp>,
    /// Of a build that is begun ahead.
    pub(super) ahead: Option<&'a Arc<Verdict>>,
}

impl Build<'_> {
    /// Builds the program into `output`. `false` when it does not compile, which `report` has heard.
    pub(super) fn run(&self, output: &Path, report: &dyn Report) -> Result<bool, BuildError> {
        let mut go = go(self.program);
        go.args(["build", "-trimpath", "-o"]).arg(output);
        go.arg("-ldflags").arg(link_flags(self.settings, self.stamp)).arg("./src");
        let temporary = output.with_extension("tmp");
        if self.ahead.is_some() {
            fs::create_dir_all(&temporary).map_err(|source| BuildError::io(&temporary, source))?;
            go.env("GOTMPDIR", &temporary);
        }
        let go = go.stdout(Stdio::null()).stderr(Stdio::piped());
        let failed = |error| BuildError::io("go", error);
        let mut go = Compiler::spawn(go, self.ahead).map_err(failed)?;
        let text = go.stderr().map(read_all).unwrap_or_default();
        let built = go.wait().map_err(failed)?;
        if built.code().is_none() {
            // It was stopped: what it left half written the next would take for whole.
            for left in [fs::remove_file(output), fs::remove_dir_all(&temporary)] {
                if let Err(error) = left {
                    tracing::debug!(%error, "nothing to remove");
                }
            }
        }
        if !text.trim().is_empty() {
            let error = text.lines().find_map(|line| place(&self.program.folder, line));
            let error = error.as_ref();
            report.event(Event::Diagnostic(Diagnostic { text: &text, error }));
        }
        Ok(built.success())
    }
}

/// What a line such as `src/main.go:14:9: undefined: x` is about. Its path is relative to `folder`,
/// where go was called.
fn place(folder: &Path, line: &str) -> Option<Place> {
    let mut parts = line.splitn(4, ':');
    let (file, line, column) = (parts.next()?, parts.next()?, parts.next()?);
    Some(Place {
        file: folder.join(file),
        line: line.parse().ok()?,
        column: column.parse().ok()?,
        message: parts.next()?.trim().to_owned(),
    })
}

/// The mode's own flags, then git's facts for a program that carries them.
fn link_flags(settings: &BuildSettings, stamp: Option<&Stamp>) -> String {
    let git = stamp
        .into_iter()
        .flat_map(|stamp| settings.git_ldflags.iter().map(|template| stamp.fill(template)));
    std::iter::once(settings.ldflags.clone()).chain(git).collect::<Vec<_>>().join(" ")
}

fn ask(program: &Program, arguments: &[&str]) -> Result<Vec<u8>, BuildError> {
    let output = run(go(program).args(arguments))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    Err(BuildError::Inputs {
        worker: program.name.clone(),
        command: format!("go {}", arguments[0]),
        message: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}

fn go(program: &Program) -> Command {
    let mut command = Command::new("go");
    // What git knows is told by us; go would refuse where it cannot find out.
    command.current_dir(&program.folder).env("GOFLAGS", go_flags()).stdin(Stdio::null());
    command
}

fn go_flags() -> String {
    let own = std::env::var("GOFLAGS").unwrap_or_default();
    format!("{own} -buildvcs=false").trim_start().to_owned()
}

fn run(command: &mut Command) -> Result<Output, BuildError> {
    command.output().map_err(|error| BuildError::io("go", error))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::development("-race", false, "-race")]
    #[case::release("-s -w", true, "-s -w -X main.GitCommit=abc -X main.GitTag=")]
    fn a_modes_own_flags_count_in_both(
        #[case] own: &str,
        #[case] stamped: bool,
        #[case] expected: &str,
    ) {
        let settings = BuildSettings {
            parallel_builds: 1,
            require_clean_working_dir: true,
            include_commit_in_binary: true,
            copy_assets: true,
            sign_key: None,
            ldflags: own.to_owned(),
            git_ldflags: ["-X main.GitCommit={{.Commit}}", "-X main.GitTag={{.Tag}}"]
                .map(str::to_owned)
                .to_vec(),
        };
        let (branch, tag, time) = (String::new(), String::new(), String::new());
        let stamp = Stamp { commit: "abc".to_owned(), branch, tag, time };
        assert_eq!(link_flags(&settings, stamped.then_some(&stamp)), expected);
    }
}
