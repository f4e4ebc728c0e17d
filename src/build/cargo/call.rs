//! Which cargo is called, and how.

use std::env;
use std::ffi::{OsStr, OsString};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The cargo of a folder.
///
/// Where `cargo` is rustup, that looks up the folder's toolchain at each call, which takes longer than
/// cargo needs to start. Here it is asked once, and the toolchain's own cargo called from then on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cargo {
    program: OsString,
    /// `RUSTUP_TOOLCHAIN`, by which whatever cargo calls is of the same toolchain.
    toolchain: Option<OsString>,
}

impl Cargo {
    /// Finds it: the one that calls us, where one does.
    pub(super) fn of(folder: &Path) -> Self {
        if let Some(program) = env::var_os("CARGO") {
            return Self { program, toolchain: None };
        }
        Self::behind_rustup(folder)
            .unwrap_or_else(|| Self { program: "cargo".into(), toolchain: None })
    }

    /// The folder's toolchain, which may be a matter of its `rust-toolchain.toml`; `None` where there
    /// is no rustup, or it has none to call.
    fn behind_rustup(folder: &Path) -> Option<Self> {
        let rustup = rustup(&env::var_os("PATH")?)?;
        let output = Command::new(rustup).args(["which", "cargo"]).current_dir(folder).output();
        let output = output.ok().filter(|output| output.status.success())?;
        Self::in_toolchain(Path::new(String::from_utf8(output.stdout).ok()?.trim_end()))
    }

    /// `<toolchains>/<name>/bin/cargo`
    fn in_toolchain(program: &Path) -> Option<Self> {
        let toolchain = program.parent()?.parent()?;
        let name = toolchain.file_name()?.to_owned();
        let is_rustups = toolchain.parent()?.file_name() == Some(OsStr::new("toolchains"));
        is_rustups.then(|| Self { program: program.into(), toolchain: Some(name) })
    }

    /// A call in `folder`, to which its arguments are to be added.
    pub(super) fn command(&self, folder: &Path) -> Command {
        let mut command = Command::new(&self.program);
        command.current_dir(folder).envs(self.variable());
        command
    }

    /// The program.
    pub(super) fn program(&self) -> &OsStr {
        &self.program
    }

    /// What is to be in its environment.
    pub(super) fn variable(&self) -> Option<(&'static str, &OsStr)> {
        self.toolchain.as_deref().map(|name| ("RUSTUP_TOOLCHAIN", name))
    }
}

/// The rustup that `cargo` is, found in `path`: a link to the program beside it, or another name of it.
fn rustup(path: &OsStr) -> Option<PathBuf> {
    let cargo = env::split_paths(path).map(|dir| dir.join("cargo")).find(|it| it.is_file())?;
    let rustup = cargo.with_file_name("rustup");
    let file = |path: &Path| path.metadata().ok().map(|file| (file.dev(), file.ino()));
    (file(&rustup).is_some() && file(&rustup) == file(&cargo)).then_some(rustup)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_cargo_is_rustup_when_it_is_the_same_file() {
        let folder = |name: &str| {
            let dir = tempfile::tempdir().unwrap();
            fs::write(dir.path().join(name), "").unwrap();
            dir
        };
        let (linked, named, plain) = (folder("rustup"), folder("rustup"), folder("cargo"));
        symlink("rustup", linked.path().join("cargo")).unwrap();
        fs::hard_link(named.path().join("rustup"), named.path().join("cargo")).unwrap();
        fs::write(plain.path().join("rustup"), "").unwrap();
        let found = |dirs: &[&Path]| rustup(&env::join_paths(dirs).unwrap());
        let [linked, named, plain] = [&linked, &named, &plain].map(|dir| dir.path());
        assert_eq!(found(&[linked]), Some(linked.join("rustup")));
        assert_eq!(found(&[named]), Some(named.join("rustup")));
        assert_eq!(found(&[plain, linked]), None, "the first cargo counts");
        assert_eq!(found(&[Path::new("/nowhere"), linked]), Some(linked.join("rustup")));
    }

    #[test]
    fn a_toolchain_has_its_name_from_its_folder() {
        let cargo = Cargo::in_toolchain(Path::new("/home/me/.rustup/toolchains/1.90/bin/cargo"));
        let cargo = cargo.expect("one of rustup's");
        assert_eq!(cargo.variable(), Some(("RUSTUP_TOOLCHAIN", OsStr::new("1.90"))));
        assert_eq!(Cargo::in_toolchain(Path::new("/usr/bin/cargo")), None);
    }
}
