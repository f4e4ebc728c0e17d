//! Packages of the programs under test.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The version that a test begins with.
pub const FIRST: &str = "0.1.0";

/// A higher one.
pub const SECOND: &str = "0.2.0";

const REPOSITORY: &str = env!("CARGO_MANIFEST_DIR");

/// The package with this version. It is kept for all tests, and must stay as it is.
pub fn build(version: &str) -> PathBuf {
    let folder = Path::new(REPOSITORY).join("target/package/versions");
    fs::create_dir_all(&folder).unwrap();
    let programs = Path::new(env!("CARGO_BIN_EXE_tqserver")).parent().unwrap();
    let mut command = Command::new(Path::new(REPOSITORY).join("tests/package/build-deb"));
    command.arg(folder).arg(version).env("TQ_BIN_DIR", programs);
    PathBuf::from(run(&mut command))
}

/// The package with this version and with files that `change`, given the folder of its files, has
/// made different ones. It comes into `folder`.
pub fn changed(version: &str, folder: &Path, change: impl FnOnce(&Path)) -> PathBuf {
    let tree = folder.join(version);
    run(Command::new("dpkg-deb").arg("--raw-extract").arg(build(version)).arg(&tree));
    change(&tree);
    let package = folder.join(format!("tqserver_{version}.deb"));
    let build = ["--root-owner-group", "-Znone", "--build"];
    run(Command::new("dpkg-deb").args(build).arg(&tree).arg(&package));
    fs::remove_dir_all(tree).unwrap();
    package
}

/// Runs a command, which must succeed, and returns the last line that it prints.
#[track_caller]
pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let (stdout, stderr) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{stdout}{stderr}", output.status);
    stdout.lines().last().unwrap_or_default().to_owned()
}
