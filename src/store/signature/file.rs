//! The file of a signature, beside the record it is of.

use std::io;
use std::path::Path;

use super::super::atomic;
use super::super::document::{self, ReadError};
use super::super::layout::{DeployDir, SIGNATURE};
use crate::ids::CommitId;

/// As every file of a deployment.
const MODE: u32 = 0o644;

/// Puts a signature beside the record of `commit`, in place of one that may be there. Nobody looks at
/// it here.
///
/// # Errors
/// When it cannot be written; see [`atomic::write`].
pub fn put(deploy: &DeployDir, commit: &CommitId, signature: &[u8]) -> io::Result<()> {
    atomic::write(&deploy.signature(commit), signature, MODE)
}

/// The armoured signature in `folder`, a deployment's, if there is one.
///
/// # Errors
/// When it is there and cannot be read.
pub fn read(folder: &Path) -> Result<Option<String>, ReadError> {
    match document::read_in(folder, SIGNATURE) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(ReadError::Absent(_)) => Ok(None),
        Err(error) => Err(error),
    }
}
