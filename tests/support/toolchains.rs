//! The toolchains of workers in other languages than Rust.

use std::path::Path;
use std::process::Command;

/// Installs what is missing of Go, Node and Python. A Node from elsewhere is left as it is.
///
/// # Panics
///
/// When they cannot be installed; the script has said why on stderr.
#[track_caller]
pub fn install() {
    let mut packages = vec!["golang-go", "python3"];
    if !Path::new("/usr/bin/node").exists() {
        packages.push("nodejs");
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bed/install");
    let status = Command::new(&script).args(&packages).status();
    let status = status.unwrap_or_else(|error| panic!("{}: {error}", script.display()));
    assert!(status.success(), "{} {packages:?}: {status}", script.display());
}
