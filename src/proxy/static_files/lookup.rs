//! Which file answers a path: the first tree that has it, and its precompressed variants.

use std::path::PathBuf;
use std::sync::Arc;

use super::open::{OpenError, OpenFile, Wait, open_beneath};
use super::path::PublicPath;
use crate::config::settings::Coding;
use crate::proxy::table::PublicTree;

/// A public file with everything that was found beside it.
#[derive(Debug)]
pub(super) struct Found {
    /// The file as it is.
    pub(super) original: OpenFile,
    /// Its precompressed variants, in our order of preference.
    pub(super) variants: Vec<(Coding, OpenFile)>,
    /// Whether its tree never changes.
    pub(super) immutable_tree: bool,
}

/// What stopped the search, and at which file.
#[derive(Debug, thiserror::Error)]
#[error("{}: {error}", path.display())]
pub(super) struct LookupError {
    pub(super) path: PathBuf,
    pub(super) error: OpenError,
}

/// Looks for `path` in the `trees`, nearest first; `None` if none has it.
///
/// Only a miss goes on to the next tree: what one has but may not give is not replaced by
/// another's. Waits for a disk only on a thread made for waiting.
pub(super) async fn find(
    trees: &[PublicTree],
    path: Arc<PublicPath>,
) -> Result<Option<Found>, LookupError> {
    match find_in(trees, &path, Wait::Never) {
        Err(LookupError { error: OpenError::WouldBlock, .. }) => {
            let trees = trees.to_vec();
            let task = tokio::task::spawn_blocking(move || find_in(&trees, &path, Wait::AsNeeded));
            task.await.unwrap_or_else(|join| {
                Err(LookupError { path: PathBuf::new(), error: OpenError::Io(join.into()) })
            })
        }
        answer => answer,
    }
}

fn find_in(
    trees: &[PublicTree],
    path: &PublicPath,
    wait: Wait,
) -> Result<Option<Found>, LookupError> {
    for tree in trees {
        let at = |error| LookupError { path: tree.path.join(path.as_str()), error };
        match open_beneath(&tree.root, path.as_str(), wait) {
            Err(OpenError::Missing) => {}
            Err(error) => return Err(at(error)),
            Ok(original) => {
                let immutable_tree = tree.digest.is_some();
                let mut variants = variants(tree, path, wait).map_err(at)?;
                if !immutable_tree {
                    // The original was edited and not yet compressed again.
                    variants.retain(|(_, v)| !v.version.is_older_than(&original.version));
                }
                return Ok(Some(Found { original, variants, immutable_tree }));
            }
        }
    }
    Ok(None)
}

/// What a variant's name has after the original's.
fn suffix(coding: Coding) -> &'static str {
    match coding {
        Coding::Brotli => ".br",
        Coding::Zstd => ".zst",
        Coding::Gzip => ".gz",
    }
}

/// The variants beside a file. One that cannot be had is as good as none.
fn variants(
    tree: &PublicTree,
    path: &PublicPath,
    wait: Wait,
) -> Result<Vec<(Coding, OpenFile)>, OpenError> {
    let name = path.as_str();
    let mut found = Vec::new();
    if Coding::ALL.iter().any(|coding| name.ends_with(suffix(*coding))) {
        return Ok(found);
    }
    for coding in Coding::ALL {
        match open_beneath(&tree.root, &format!("{name}{}", suffix(coding)), wait) {
            Ok(file) => found.push((coding, file)),
            Err(error @ (OpenError::WouldBlock | OpenError::Exhausted(_))) => return Err(error),
            Err(error @ (OpenError::Denied | OpenError::Io(_))) => {
                tracing::warn!(file = %tree.path.join(name).display(), coding = coding.token(), %error,
                    "a precompressed variant is not served");
            }
            Err(OpenError::Missing | OpenError::Refused) => {}
        }
    }
    Ok(found)
}
