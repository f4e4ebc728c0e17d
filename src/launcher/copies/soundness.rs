//! What is true of a worker's files beyond their SHA-256 sums: what the record adds up from them,
//! and that its program can run here.

use std::path::Path;

use crate::ids::WorkerName;
use crate::store::deployment::WorkerPart;
use crate::store::digest::{DigestError, TreeDigest, WorkerSums, is_built};
use crate::store::elf::Machine;
use crate::store::verify::Problem;

/// Compares `found`, the files of the copy in `folder`, with the sums in `part`, which decide
/// whether a worker is restarted and, by `tree_md5`, what is executable; and looks at its program.
///
/// # Errors
/// The first thing that is wrong.
pub(super) fn check(
    folder: &Path,
    worker: &WorkerName,
    part: &WorkerPart,
    found: &TreeDigest,
) -> Result<(), Problem> {
    let path = format!("{}/{}", part.path, part.binary);
    let sums = WorkerSums::of(found, worker, &part.binary)
        .ok_or_else(|| Problem::Missing(path.clone()))?;
    let full = folder.join(&part.binary);
    let machine = Machine::of_file(&full).map_err(|source| DigestError::io(full, source))?;
    match machine {
        None if is_built(worker, &part.binary) => return Err(Problem::NotAProgram(path)),
        Some(found) if found != Machine::native() => return Err(Problem::Foreign { path, found }),
        Some(_) if !found.files[&part.binary].executable => {
            return Err(Problem::NotExecutable(path));
        }
        _ => {}
    }
    let equal = [
        ("binary_md5", sums.binary_md5 == part.binary_md5),
        ("size_bytes", sums.size_bytes == part.size_bytes),
        ("public_md5", sums.public_md5 == part.public_md5),
        ("private_md5", sums.private_md5 == part.private_md5),
        ("tree_md5", sums.tree_md5 == part.tree_md5),
    ];
    match equal.into_iter().find(|(_, equal)| !equal) {
        Some((sum, _)) => Err(Problem::Sum { part: part.path.clone(), sum }),
        None => Ok(()),
    }
}
