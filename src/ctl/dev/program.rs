//! Which tqserver a session runs: the one beside this tqctl, else the one of PATH.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;

/// The program, by its absolute path.
pub(super) fn tqserver() -> anyhow::Result<PathBuf> {
    let tqctl = std::env::current_exe().context("cannot tell which program this is")?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    find(&tqctl, &path).with_context(|| {
        format!("there is no tqserver beside {} or in PATH: install both", tqctl.display())
    })
}

fn find(tqctl: &Path, path: &OsStr) -> Option<PathBuf> {
    let beside = tqctl.parent().map(Path::to_owned);
    let folders = beside.into_iter().chain(std::env::split_paths(path));
    folders.filter(|it| it.is_absolute()).map(|it| it.join("tqserver")).find(|it| {
        it.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn the_one_beside_comes_before_the_path() {
        let dir = tempfile::tempdir().unwrap();
        let program = |folder: &str, mode| {
            let path = dir.path().join(folder).join("tqserver");
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, "").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            path
        };
        let tqctl = dir.path().join("beside/tqctl");
        program("a", 0o644);
        let in_path = program("b", 0o755);
        let path = std::env::join_paths(["a", "b"].map(|name| dir.path().join(name))).unwrap();
        assert_eq!(find(&tqctl, &path), Some(in_path));
        let beside = program("beside", 0o755);
        assert_eq!(find(&tqctl, &path), Some(beside));
        assert_eq!(find("/nowhere/tqctl".as_ref(), "relative".as_ref()), None);
    }
}
