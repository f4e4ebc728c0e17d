//! The sums that `deployment.json` has of a worker's folder.

use super::TreeDigest;
use crate::ids::{Md5, WorkerName};

/// What [`WorkerPart`](crate::store::deployment::WorkerPart) records of a worker's folder. The
/// build writes it and verification computes it anew, both by this one rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkerSums {
    /// Of the executable, or of all of `bin/` where `run:` is used.
    pub binary_md5: Md5,
    /// Of the same, in bytes.
    pub size_bytes: u64,
    /// Of `public/`.
    pub public_md5: Md5,
    /// Of `private/` and `config/`.
    pub private_md5: Md5,
    /// Of the whole folder.
    pub tree_md5: Md5,
}

impl WorkerSums {
    /// The sums of `worker`, whose folder is `tree`; `None` when it has no file `binary`.
    ///
    /// A `binary` other than `bin/<worker>` stands for a `run:` command, which may use anything
    /// in `bin/`.
    pub fn of(tree: &TreeDigest, worker: &WorkerName, binary: &str) -> Option<Self> {
        let file = tree.files.get(binary)?;
        let (binary_md5, size_bytes) = if is_built(worker, binary) {
            (file.md5, file.size)
        } else {
            (tree.md5_of(&["bin"]), tree.below("bin").map(|(_, file)| file.size).sum())
        };
        Some(Self {
            binary_md5,
            size_bytes,
            public_md5: tree.md5_of(&["public"]),
            private_md5: tree.md5_of(&["private", "config"]),
            tree_md5: tree.md5,
        })
    }
}

/// Whether `binary` is the program that a toolchain built, not what `run:` names.
pub(crate) fn is_built(worker: &WorkerName, binary: &str) -> bool {
    binary.strip_prefix("bin/") == Some(worker.as_str())
}
