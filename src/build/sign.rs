//! Signs a deployment with a key of whoever builds it.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::error::BuildError;
use crate::ids::CommitId;
use crate::store::layout::DeployDir;
use crate::store::signature;

/// Makes a detached signature of the record of `commit`, in place of one that may be there, and
/// returns its path. gpg may ask for a passphrase, in its own way.
///
/// # Errors
/// [`BuildError::NotSigned`] with what gpg said. A signature that was there is untouched then.
pub(super) fn sign(
    deploy: &DeployDir,
    commit: &CommitId,
    key: &str,
) -> Result<PathBuf, BuildError> {
    let (record, path) = (deploy.record(commit), deploy.signature(commit));
    let not_signed = |reason| BuildError::NotSigned { record: record.clone(), reason };
    let content = File::open(&record).map_err(|source| BuildError::io(&record, source))?;
    let mut gpg = Command::new("gpg");
    gpg.args(["--batch", "--quiet", "--armor", "--no-textmode", "--digest-algo", "SHA512"])
        .arg(format!("--local-user={key}"))
        .args(["--output", "-", "--detach-sign"])
        .stdin(Stdio::from(content));
    let output = gpg.output().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => not_signed("gpg is not installed: apt install gpg".to_owned()),
        _ => not_signed(format!("gpg: {error}")),
    })?;
    if !output.status.success() || output.stdout.is_empty() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        let said = if said.is_empty() { output.status.to_string() } else { said };
        return Err(not_signed(said));
    }
    signature::put(deploy, commit, &output.stdout)
        .map_err(|source| BuildError::io(&path, source))?;
    Ok(path)
}
