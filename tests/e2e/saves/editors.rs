//! The ways in which editors and tools save a file, call by call.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A way to save.
pub type Save = fn(&Path, &str);

/// vim, with `backup` and `writebackup` as they are by default: tries whether it may create files,
/// moves the old one aside, writes the new one, and removes the old.
pub fn vim(file: &Path, text: &str) {
    let trial = file.with_file_name("4913");
    fs::write(&trial, "").unwrap();
    fs::remove_file(&trial).unwrap();
    let backup = beside(file, "", "~");
    fs::rename(file, &backup).unwrap();
    fs::write(file, text).unwrap();
    fs::remove_file(backup).unwrap();
}

/// emacs: a lock that is a dangling link, an autosave, a backup that stays, and a write in place.
pub fn emacs(file: &Path, text: &str) {
    let lock = beside(file, ".#", "");
    std::os::unix::fs::symlink("me@host.1234", &lock).unwrap();
    fs::write(beside(file, "#", "#"), text).unwrap();
    fs::rename(file, beside(file, "", "~")).unwrap();
    let mut new = File::create(file).unwrap();
    new.write_all(text.as_bytes()).unwrap();
    new.sync_all().unwrap();
    drop(new);
    fs::remove_file(beside(file, "#", "#")).unwrap();
    fs::remove_file(lock).unwrap();
}

/// VS Code: truncates and writes in place, in pieces.
pub fn vs_code(file: &Path, text: &str) {
    let mut open = OpenOptions::new().write(true).truncate(true).open(file).unwrap();
    for piece in text.as_bytes().chunks(512) {
        open.write_all(piece).unwrap();
    }
}

/// JetBrains' safe write: a temporary file takes the old one's place, which is moved aside.
pub fn jetbrains(file: &Path, text: &str) {
    let (temporary, old) = (beside(file, "", "___jb_tmp___"), beside(file, "", "___jb_old___"));
    fs::write(&temporary, text).unwrap();
    fs::rename(file, &old).unwrap();
    fs::rename(&temporary, file).unwrap();
    fs::remove_file(old).unwrap();
}

/// The real `sed -i`.
pub fn sed(file: &Path, text: &str) {
    // Replaces all of it: the text is passed in by a file, so that nothing in it is a command.
    let wanted = tempfile::NamedTempFile::new().unwrap();
    fs::write(wanted.path(), text).unwrap();
    let script = format!("1{{r {}\nd}};d", wanted.path().display());
    let status = Command::new("sed").arg("-i").arg(script).arg(file).status().unwrap();
    assert!(status.success(), "{status}");
}

fn beside(file: &Path, before: &str, after: &str) -> PathBuf {
    let name = file.file_name().unwrap().to_str().unwrap();
    file.with_file_name(format!("{before}{name}{after}"))
}
