//! Which variables of the caller's shell a session gets: those that its builds go by, and those that
//! the project's configuration names.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::config::settings::Settings;
use crate::config::worker::WorkerFile;

/// What toolchains and tqserver itself look at.
const NAMES: &[&str] = &[
    "AR",
    "CC",
    "CFLAGS",
    "CXX",
    "CXXFLAGS",
    "HOME",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "LANG",
    "LDFLAGS",
    "LD_LIBRARY_PATH",
    "NO_PROXY",
    "PATH",
    "PKG_CONFIG_PATH",
    "RUSTC",
    "RUSTC_WRAPPER",
    "RUSTFLAGS",
    "RUST_BACKTRACE",
    "RUST_LOG",
    "SSH_AUTH_SOCK",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "TQ_LOG",
    "http_proxy",
    "https_proxy",
    "no_proxy",
];
/// What whole families of them begin with.
const PREFIXES: &[&str] = &["CARGO_", "CGO_", "GO", "LC_", "RUSTUP_"];

/// The names of variables that are set and to be passed on.
pub(super) fn passed_on(root: &Path, settings: &Settings) -> BTreeSet<String> {
    // What systemd would refuse, and the whole unit with it, is left out.
    let set = std::env::vars_os().filter_map(|(name, value)| {
        let fit = value.to_str()?.chars().all(|c| !c.is_control() || c == '\t' || c == '\n');
        fit.then(|| name.into_string().ok()).flatten()
    });
    let named: BTreeSet<_> =
        configuration(root, settings).iter().flat_map(|text| variables(text)).collect();
    select(set, &named)
}

fn select(set: impl Iterator<Item = String>, named: &BTreeSet<String>) -> BTreeSet<String> {
    // Cargo and rustup tell the programs they run of themselves; a build is not part of that.
    let of_a_run = |name: &str| {
        name.starts_with("CARGO_PKG_")
            || name.starts_with("CARGO_BIN_")
            || name == "CARGO_MANIFEST_DIR"
    };
    set.filter(|name| {
        let known = NAMES.contains(&name.as_str())
            || PREFIXES.iter().any(|prefix| name.starts_with(prefix)) && !of_a_run(name);
        let fit = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        fit && (named.contains(name) || known)
    })
    .collect()
}

/// The texts of all configuration files that can be read.
fn configuration(root: &Path, settings: &Settings) -> Vec<String> {
    let of_project = ["config/server.yaml", "config/deployment.yaml"].map(|file| root.join(file));
    let folders = fs::read_dir(&settings.discovery.workers_dir).into_iter().flatten().flatten();
    let of_workers = folders.map(|folder| folder.path().join(WorkerFile::PATH));
    let files: Vec<PathBuf> = of_project.into_iter().chain(of_workers).collect();
    files.iter().filter_map(|file| fs::read_to_string(file).ok()).collect()
}

/// The names in `${NAME}` and `${NAME:-default}`. One too many, from a comment, does no harm.
fn variables(text: &str) -> impl Iterator<Item = String> {
    text.split("${").skip(1).map(|rest| {
        let name = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_');
        name.collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_of_toolchains_and_of_the_configuration_are_passed_on() {
        let text = "a: ${DATABASE_URL}\nb: ${PORT_OF:-1}:$x $${NOT} ${}";
        let named: BTreeSet<_> = variables(text).collect();
        let set = [
            "CARGO_HOME",
            "CARGO_PKG_NAME",
            "DATABASE_URL",
            "GOFLAGS",
            "PATH",
            "PORT_OF",
            "SECRET",
            "XDG_SESSION_ID",
        ];
        let passed = select(set.map(str::to_owned).into_iter(), &named);
        let passed: Vec<_> = passed.iter().map(String::as_str).collect();
        assert_eq!(passed, ["CARGO_HOME", "DATABASE_URL", "GOFLAGS", "PATH", "PORT_OF"]);
    }
}
