//! Where workers' output goes when there is no journal: a bounded file for each unit, so that a
//! failed generation's last lines are at hand.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use nix::fcntl::{FallocateFlags, fallocate};

use crate::ids::UnitName;

/// How much of a unit's output is kept, in bytes, when [`OutputDir::bound`] is through.
const KEPT_BYTES: u64 = 256 * 1024;

/// How many files of units that are gone are kept when [`OutputDir::prune`] is through.
const KEPT_FILES: usize = 32;

/// How many files there may be before it is time for that.
const MOST_FILES: usize = 2 * KEPT_FILES;

/// A folder of output files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputDir(PathBuf);

impl OutputDir {
    /// The folder at `path`, which must be absolute; it is made when it is first needed.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The file that has a unit's output.
    pub fn file(&self, unit: &UnitName) -> PathBuf {
        self.0.join(format!("{}-{}.log", unit.worker, unit.port))
    }

    /// Makes room for a unit that is about to start: an earlier bearer of its name leaves nothing
    /// behind. Returns whether there are so many files that it is time to [`prune`](Self::prune).
    ///
    /// # Errors
    /// When the folder cannot be made or read, or the file not be removed.
    pub fn prepare(&self, unit: &UnitName) -> io::Result<bool> {
        fs::create_dir_all(&self.0)?;
        remove(&self.file(unit))?;
        Ok(fs::read_dir(&self.0)?.count() > MOST_FILES)
    }

    /// Removes files of units that are not `live`, but for the few dozen newest.
    ///
    /// # Errors
    /// When the folder cannot be read, or a file not be removed.
    pub fn prune(&self, live: &[UnitName]) -> io::Result<()> {
        let live: Vec<_> = live.iter().map(|unit| self.file(unit)).collect();
        let mut dead = self.files()?;
        dead.retain(|(path, _)| !live.contains(path));
        dead.sort_by_key(|(_, stat)| std::cmp::Reverse(stat.modified().ok()));
        dead.iter().skip(KEPT_FILES).try_for_each(|(path, _)| remove(path))
    }

    /// The last `lines` lines a unit wrote, without its line ends; fewer where there are no more.
    /// Bytes that are not UTF-8 are replaced.
    ///
    /// # Errors
    /// When the file cannot be read. A unit that has written nothing has no lines.
    pub fn tail(&self, unit: &UnitName, lines: usize) -> io::Result<Vec<String>> {
        /// Enough for any number of lines that a person wants to see in an error.
        const WINDOW: u64 = 16 * 1024;
        let mut file = match File::open(self.file(unit)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            opened => opened?,
        };
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(WINDOW)))?;
        let mut bytes = Vec::new();
        file.take(WINDOW).read_to_end(&mut bytes)?;
        let text = String::from_utf8_lossy(&bytes);
        let all: Vec<_> = text.lines().collect();
        Ok(all[all.len().saturating_sub(lines)..].iter().map(|&line| line.to_owned()).collect())
    }

    /// Gives back the space of all but the newest output of each file.
    ///
    /// # Errors
    /// When the folder cannot be read, or is on a file system that cannot make holes.
    pub fn bound(&self) -> io::Result<()> {
        self.files()?.iter().try_for_each(|(path, stat)| give_back(path, stat.len()))
    }

    fn files(&self) -> io::Result<Vec<(PathBuf, fs::Metadata)>> {
        let entries = match fs::read_dir(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut files = Vec::new();
        for entry in entries {
            let entry = entry?;
            match entry.metadata() {
                Ok(stat) if stat.is_file() => files.push((entry.path(), stat)),
                Ok(_) => {}
                Err(error) => unless_gone(error)?,
            }
        }
        Ok(files)
    }
}

/// Another start may be cleaning up at the same time.
fn remove(path: &Path) -> io::Result<()> {
    fs::remove_file(path).or_else(unless_gone)
}

fn unless_gone(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

/// Punches a hole where the old output is. The writer goes on at the end of the file as if nothing
/// had happened, and no line is lost between a copy and a truncation.
fn give_back(path: &Path, length: u64) -> io::Result<()> {
    let old = length.saturating_sub(KEPT_BYTES);
    if old == 0 {
        return Ok(());
    }
    let file = match OpenOptions::new().write(true).open(path) {
        Ok(file) => file,
        Err(error) => return unless_gone(error),
    };
    let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    Ok(fallocate(file, flags, 0, i64::try_from(old).unwrap_or(i64::MAX))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::fs::MetadataExt;

    fn unit(port: u16) -> UnitName {
        format!("tq-worker@index-{port}.service").parse().unwrap()
    }

    #[test]
    fn a_flood_is_bounded_and_its_end_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let output = OutputDir::new(dir.path());
        let mut writer =
            OpenOptions::new().append(true).create(true).open(output.file(&unit(9000))).unwrap();
        writer.write_all(&b"flood\n".repeat(1_000_000)).unwrap();
        output.bound().unwrap();
        let used = fs::metadata(output.file(&unit(9000))).unwrap().blocks() * 512;
        assert!(used <= 2 * KEPT_BYTES, "{used}");
        writer.write_all(b"last but one\nlast\n").unwrap();
        assert_eq!(output.tail(&unit(9000), 2).unwrap(), ["last but one", "last"]);
    }

    #[test]
    fn files_of_the_dead_make_room_and_those_of_the_living_stay() {
        let dir = tempfile::tempdir().unwrap();
        let output = OutputDir::new(dir.path());
        for port in 9000..9100 {
            fs::write(output.file(&unit(port)), "x").unwrap();
        }
        let live = [unit(9000), unit(9050)];
        assert!(output.prepare(&unit(9099)).unwrap(), "so many are too many");
        output.prune(&live).unwrap();
        assert!(!output.prepare(&unit(9099)).unwrap());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), KEPT_FILES + live.len());
        assert!(live.iter().all(|unit| output.file(unit).exists()));
    }

    #[test]
    fn starts_side_by_side_do_not_mind_each_others_clean_up() {
        let dir = tempfile::tempdir().unwrap();
        let output = OutputDir::new(dir.path());
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let output = &output;
                scope.spawn(move || {
                    for port in 0..200 {
                        fs::write(output.file(&unit(1000 * thread + 1 + port)), "x").unwrap();
                        output.prepare(&unit(9000 + thread)).unwrap();
                        output.prune(&[]).unwrap();
                        output.bound().unwrap();
                    }
                });
            }
        });
    }

    #[test]
    fn a_new_unit_does_not_inherit_lines() {
        let dir = tempfile::tempdir().unwrap();
        let output = OutputDir::new(dir.path().join("made/when/needed"));
        output.prepare(&unit(9000)).unwrap();
        fs::write(output.file(&unit(9000)), "of the old one").unwrap();
        output.prepare(&unit(9000)).unwrap();
        assert!(output.tail(&unit(9000), 10).unwrap().is_empty());
    }
}
