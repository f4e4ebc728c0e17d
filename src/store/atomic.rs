//! Replaces a file so that, whenever the power fails, either the old or the new one is there.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Replaces the file at `path` by `bytes`, with exactly the permission bits of `mode`.
///
/// The bytes go to `<path>.new` first, which is flushed to the disk and renamed, and then the
/// folder is flushed. Writers of the same path, in any process, take turns.
///
/// # Errors
/// When any of that fails. The file is then as it was, unless only flushing the folder failed:
/// then the new one is there, but may not survive a power cut.
pub fn write(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    write_in_steps(path, bytes, mode, &mut |_| Ok(()))
}

/// What is done, in this order; tests stop before each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Create,
    Truncate,
    Mode,
    /// A part of the bytes.
    Write,
    FlushFile,
    Rename,
    FlushFolder,
}

/// How much is written at a time; small enough for a manifest to take several.
const CHUNK: usize = 4096;

/// [`write`], calling `before` ahead of each step and stopping at its first error.
pub(crate) fn write_in_steps(
    path: &Path,
    bytes: &[u8],
    mode: u32,
    before: &mut dyn FnMut(Step) -> io::Result<()>,
) -> io::Result<()> {
    let temporary = beside(path)?;
    before(Step::Create)?;
    let mut file = open_alone(&temporary)?;
    let mut fill = || {
        before(Step::Truncate)?;
        file.set_len(0)?;
        before(Step::Mode)?;
        file.set_permissions(Permissions::from_mode(mode))?;
        for chunk in bytes.chunks(CHUNK) {
            before(Step::Write)?;
            file.write_all(chunk)?;
        }
        before(Step::FlushFile)?;
        file.sync_all()?;
        before(Step::Rename)?;
        fs::rename(&temporary, path)
    };
    fill().inspect_err(|_| {
        // Best effort: what is left behind is overwritten by the next writer.
        let _ = fs::remove_file(&temporary);
    })?;
    before(Step::FlushFolder)?;
    flush_folder(path.parent().unwrap_or(Path::new(".")))
}

/// Flushes a folder's list of names to the disk.
pub(crate) fn flush_folder(folder: &Path) -> io::Result<()> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    File::open(folder)?.sync_all()
}

fn beside(path: &Path) -> io::Result<PathBuf> {
    let mut name = path
        .file_name()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "names no file"))?
        .to_owned();
    name.push(".new");
    Ok(path.with_file_name(name))
}

/// Opens `temporary` for writing and locks it against other writers until it is closed.
fn open_alone(temporary: &Path) -> io::Result<File> {
    loop {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits() as i32)
            .open(temporary)?;
        file.lock()?;
        // Whoever had the lock before has renamed or removed what we opened: start over.
        match fs::symlink_metadata(temporary) {
            Ok(there) if same_file(&there, &file.metadata()?) => return Ok(file),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
}

fn same_file(one: &fs::Metadata, other: &fs::Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    fn steps(path: &Path, bytes: &[u8]) -> Vec<Step> {
        let mut seen = Vec::new();
        write_in_steps(path, bytes, 0o644, &mut |step| {
            seen.push(step);
            Ok(())
        })
        .unwrap();
        seen
    }

    #[test]
    fn the_content_is_flushed_before_the_name_and_the_name_before_success() {
        let temp = tempfile::tempdir().unwrap();
        let steps = steps(&temp.path().join("state.json"), &[b'x'; 3 * CHUNK]);
        use Step::*;
        let order = [Create, Truncate, Mode, Write, Write, Write, FlushFile, Rename, FlushFolder];
        assert_eq!(steps, order);
    }

    /// At every step: killed there (no clean-up runs), and failing there (as on a full disk).
    #[test]
    fn stopped_anywhere_the_file_is_the_old_or_the_new_one() {
        let (old, new) = (vec![b'o'; 2 * CHUNK], vec![b'n'; 3 * CHUNK]);
        let temp = tempfile::tempdir().unwrap();
        let count = steps(&temp.path().join("count"), &new).len();
        for stop in 0..count {
            for killed in [true, false] {
                let path = temp.path().join(format!("{stop}-{killed}"));
                write(&path, &old, 0o644).unwrap();
                let mut step = 0;
                let mut before = |_| {
                    step += 1;
                    match step - 1 == stop {
                        true if killed => panic!("killed"),
                        true => Err(io::Error::from(io::ErrorKind::StorageFull)),
                        false => Ok(()),
                    }
                };
                let outcome = catch_unwind(AssertUnwindSafe(|| {
                    write_in_steps(&path, &new, 0o644, &mut before)
                }));
                assert_eq!(outcome.is_err(), killed);
                let renamed = stop == count - 1;
                let expected = if renamed { &new } else { &old };
                assert_eq!(&fs::read(&path).unwrap(), expected, "step {stop}, killed: {killed}");
                if !killed {
                    assert!(!beside(&path).unwrap().exists(), "step {stop} left its file behind");
                }

                write(&path, b"next", 0o644).unwrap();
                assert_eq!(fs::read(&path).unwrap(), b"next", "after step {stop}");
            }
        }
    }

    #[test]
    fn the_mode_is_exact() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("secret");
        for mode in [0o600, 0o664] {
            write(&path, b"", mode).unwrap();
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, mode);
        }
    }

    #[test]
    fn a_link_in_the_place_of_the_temporary_file_is_not_followed() {
        let temp = tempfile::tempdir().unwrap();
        let (path, victim) = (temp.path().join("state"), temp.path().join("victim"));
        fs::write(&victim, "precious").unwrap();
        std::os::unix::fs::symlink(&victim, beside(&path).unwrap()).unwrap();
        assert!(write(&path, b"new", 0o644).is_err());
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
    }

    #[test]
    fn writers_take_turns() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("shared");
        std::thread::scope(|scope| {
            for writer in 0..4u8 {
                let path = &path;
                scope.spawn(move || {
                    for _ in 0..25 {
                        write(path, &vec![writer; 3 * CHUNK], 0o644).unwrap();
                        let read = fs::read(path).unwrap();
                        assert_eq!(read.len(), 3 * CHUNK);
                        assert!(read.iter().all(|byte| *byte == read[0]));
                    }
                });
            }
        });
    }
}
