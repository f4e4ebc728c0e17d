//! Who may read and write what is put into the deployment folder.
//!
//! Everything is for all to read but `bin/` and `private/` of each part, which only the owner and
//! the group may enter: tqserver serves `public/` and has no business in the others. Where the
//! folder above has the set-group-ID bit, what is made in it belongs to that folder's group
//! (inode(7)): the mark of a folder that several users share. There the group may write as well,
//! as otherwise nobody could replace or remove what another of them has deployed.

#[cfg(test)]
mod tests;

use std::fs::Metadata;
use std::os::unix::fs::PermissionsExt;

const SET_GROUP_ID: u32 = 0o2000;

/// Who may change what lies in a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writers {
    /// Its owner.
    Owner,
    /// Everybody in its group.
    Group,
}

impl Writers {
    /// Those of a folder that is there.
    pub(crate) fn of(folder: &Metadata) -> Self {
        match folder.permissions().mode() & SET_GROUP_ID {
            0 => Self::Owner,
            _ => Self::Group,
        }
    }

    /// The mode of a folder: 0755, or 0750 when it is [guarded](is_guarded); shared, 2775 or 2770.
    pub(crate) fn folder(self, guarded: bool) -> u32 {
        let mode = if guarded { 0o750 } else { 0o755 };
        match self {
            Self::Owner => mode,
            Self::Group => mode | SET_GROUP_ID | 0o020,
        }
    }

    /// The mode of a document that is replaced or written again: manifest and lock.
    pub(crate) fn document(self) -> u32 {
        match self {
            Self::Owner => 0o644,
            Self::Group => 0o664,
        }
    }
}

/// The mode of a deployed file, which never changes again. Its folder guards it.
pub(crate) fn of_file(mode: u32) -> u32 {
    if mode & 0o111 == 0 { 0o644 } else { 0o755 }
}

/// Whether `path`, below a deployment's folder, is `bin` or `private` of a part or lies in one.
pub(crate) fn is_guarded(path: &str) -> bool {
    let of_worker = || path.strip_prefix("workers/")?.split_once('/').map(|(_, rest)| rest);
    let in_part = path.strip_prefix("server/").or_else(of_worker).unwrap_or_default();
    matches!(in_part.split('/').next(), Some("bin" | "private"))
}
