//! What must be root's before it is believed.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::config::Sources;

/// Whether the configuration is root's alone to write: the folder and its files.
///
/// # Errors
/// What is wrong, with the path and the command that mends it.
pub(super) fn check_config(folder: &Path, sources: &Sources) -> Result<(), String> {
    check(folder)?;
    check(&sources.server_yaml)?;
    match sources.deployment_yaml.symlink_metadata() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        _ => check(&sources.deployment_yaml),
    }
}

/// Whether nobody but root decides what lies at `deploy_dir`. Deployers write in it, by its group.
///
/// # Errors
/// What is wrong, with the path and the command that mends it.
pub(super) fn check_deploy(deploy_dir: &Path) -> Result<(), String> {
    if let Some(above) = deploy_dir.parent() {
        check(above)?;
    }
    let stat = look(deploy_dir)?;
    rule(deploy_dir, stat.uid(), stat.mode(), 0o002)
}

/// Whether `path` belongs to root, and nobody else can write there.
///
/// # Errors
/// What is wrong, with the path and the command that mends it.
pub(super) fn check(path: &Path) -> Result<(), String> {
    let stat = look(path)?;
    rule(path, stat.uid(), stat.mode(), 0o022)
}

fn look(path: &Path) -> Result<Metadata, String> {
    let stat = path.symlink_metadata().map_err(|error| format!("{}: {error}", path.display()))?;
    match stat.is_symlink() {
        true => Err(format!("{}: is a symbolic link; put what it means there", path.display())),
        false => Ok(stat),
    }
}

/// `others` are the bits of the mode (inode(7)) that must not be set.
fn rule(path: &Path, owner: u32, mode: u32, others: u32) -> Result<(), String> {
    let path = path.display();
    if owner != 0 {
        return Err(format!("{path}: must belong to root: chown root {path}"));
    }
    if mode & others != 0 {
        let whom = if others & 0o020 == 0 { "o" } else { "go" };
        return Err(format!("{path}: must not be writable to others: chmod {whom}-w {path}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(0, 0o100_640, 0o022, None)]
    #[case(0, 0o100_644, 0o022, None)]
    #[case(0, 0o100_660, 0o022, Some("chmod go-w /etc/x"))]
    #[case(0, 0o100_602, 0o022, Some("chmod go-w /etc/x"))]
    #[case(1000, 0o100_600, 0o022, Some("chown root /etc/x"))]
    #[case(65_534, 0o100_600, 0o022, Some("chown root /etc/x"))]
    #[case(0, 0o042_775, 0o002, None)]
    #[case(0, 0o042_777, 0o002, Some("chmod o-w /etc/x"))]
    fn rules(
        #[case] owner: u32,
        #[case] mode: u32,
        #[case] others: u32,
        #[case] mend: Option<&str>,
    ) {
        let answer = rule(Path::new("/etc/x"), owner, mode, others);
        match mend {
            None => assert_eq!(answer, Ok(())),
            Some(mend) => assert!(answer.as_ref().is_err_and(|e| e.ends_with(mend)), "{answer:?}"),
        }
    }

    #[test]
    fn a_link_is_not_what_it_leads_to() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("server.yaml");
        std::os::unix::fs::symlink("/etc/passwd", &link).unwrap();
        let error = check(&link).unwrap_err();
        assert!(error.contains("symbolic link"), "{error}");
    }
}
