//! A built program takes its place in the source tree.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use std::process;

use super::error::BuildError;

/// Puts `executable` at `bin/<name>` by rename, unless the same bytes are there.
pub(super) fn install(executable: &Path, bin: &Path, name: &str) -> Result<bool, BuildError> {
    let target = bin.join(name);
    let temporary = bin.join(format!(".{name}.{}", process::id()));
    let put = || -> io::Result<bool> {
        if is_same(executable, &target)? {
            return Ok(false);
        }
        fs::create_dir_all(bin)?;
        fs::copy(executable, &temporary)?;
        fs::rename(&temporary, &target)?;
        Ok(true)
    };
    put().map_err(|source| {
        // The first error is the one to tell.
        let _ = fs::remove_file(&temporary);
        BuildError::io(&target, source)
    })
}

/// Whether two files have the same bytes. Reads no further than the first that differ.
fn is_same(new: &Path, old: &Path) -> io::Result<bool> {
    let old = match File::open(old) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        old => old?,
    };
    let new = File::open(new)?;
    let size = new.metadata()?.len();
    if size != old.metadata()?.len() {
        return Ok(false);
    }
    const CHUNK: usize = 256 << 10;
    let (mut a, mut b) = (Vec::with_capacity(CHUNK), Vec::with_capacity(CHUNK));
    let mut left = size;
    while left > 0 {
        for (file, chunk) in [(&new, &mut a), (&old, &mut b)] {
            chunk.clear();
            file.take(CHUNK as u64).read_to_end(chunk)?;
        }
        if a != b || a.is_empty() {
            return Ok(false);
        }
        left = left.saturating_sub(a.len() as u64);
    }
    Ok(true)
}
