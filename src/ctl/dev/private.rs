//! `--private-systemd`: the same command again, beside a user manager that is made for it and ends
//! with it. The script that makes one is that of the test beds.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, anyhow};

/// Where the package has it.
const INSTALLED: &str = "/usr/share/tqserver/bed/user";
/// Where a checkout has it, above `target/`.
const IN_CHECKOUT: &str = "tests/bed/user";

/// Becomes the script. Returns only where that fails.
pub(super) fn become_one() -> anyhow::Error {
    let replaced = || -> anyhow::Result<std::convert::Infallible> {
        let program = std::env::current_exe().context("cannot tell which program this is")?;
        let script = script(&program).with_context(|| {
            format!("neither {INSTALLED} nor, above {}, {IN_CHECKOUT} is there", program.display())
        })?;
        let mut command = Command::new(&script);
        command.arg("--").arg(&program).args(arguments(std::env::args_os()));
        Err(anyhow!(command.exec()).context(script.display().to_string()))
    };
    match replaced() {
        Err(error) => error,
        Ok(never) => match never {},
    }
}

fn script(program: &Path) -> Option<PathBuf> {
    let in_checkout = program.ancestors().map(|folder| folder.join(IN_CHECKOUT));
    in_checkout.chain([PathBuf::from(INSTALLED)]).find(|script| script.is_file())
}

/// The arguments for the run in the private manager: these, without the one that asks for it.
fn arguments(all: impl Iterator<Item = OsString>) -> impl Iterator<Item = OsString> {
    all.skip(1).filter(|argument| argument != "--private-systemd")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_of_the_checkout_is_found_from_its_build() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        for folder in ["tests/bed", "target/debug"] {
            std::fs::create_dir_all(at(folder)).unwrap();
        }
        std::fs::write(at(IN_CHECKOUT), "").unwrap();
        assert_eq!(script(&at("target/debug/tqctl")), Some(at(IN_CHECKOUT)));
    }

    #[test]
    fn the_second_run_does_not_ask_again() {
        let all = ["tqctl", "dev", "--private-systemd", "--listen", "80"].map(OsString::from);
        let passed: Vec<_> = arguments(all.into_iter()).collect();
        assert_eq!(passed, ["dev", "--listen", "80"]);
    }
}
