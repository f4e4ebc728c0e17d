//! `manifest.json.md5`: where it is there, the manifest is believed only if it has that sum.
//!
//! It is of md5sum(1), for who writes the manifest by means of their own and wants to know that it
//! arrived whole. Two files cannot be replaced at once. So [`write()`] names both sums, the old and
//! the new, while it replaces the manifest: at no moment is there a manifest without its sum. Others
//! may write one after the other: so [`read`] looks again for a while before it finds a difference.

use std::io;
use std::path::Path;
use std::thread;
use std::time::Duration;

use super::atomic;
use super::digest;
use super::document::{self, DocumentError, ReadError};
use super::layout::DeployDir;
use crate::ids::Md5;

/// How often both files are read until they agree.
const ATTEMPTS: u32 = 10;

/// How long is waited between two attempts.
const PAUSE: Duration = Duration::from_millis(50);

/// The largest file of sums that is read, in bytes.
const MAX_BYTES: usize = 4096;

/// What the manifest is called in a line of sums, whichever folder it was made in.
const NAME: &str = "manifest.json";

/// Reads the manifest's bytes and compares them with the sum beside it, if there is one. Blocks, for
/// half a second at most.
///
/// # Errors
/// When one of the files cannot be read, or they do not agree.
pub(super) fn read(deploy: &DeployDir) -> Result<(Vec<u8>, Md5), ReadError> {
    read_waiting(deploy, &mut || thread::sleep(PAUSE))
}

/// [`read`], calling `wait` between two attempts.
fn read_waiting(deploy: &DeployDir, wait: &mut dyn FnMut()) -> Result<(Vec<u8>, Md5), ReadError> {
    let mut attempt = 1;
    loop {
        let bytes = document::read(&deploy.manifest())?;
        let found = digest::md5(&bytes);
        match sums(deploy)? {
            None => return Ok((bytes, found)),
            Some(sums) if sums.contains(&found) => return Ok((bytes, found)),
            Some(_) if attempt < ATTEMPTS => wait(),
            Some(sums) => {
                let (path, sum) = (deploy.manifest(), deploy.manifest_sum());
                let expected = sums[0];
                return Err(ReadError::Sum { path, found, expected, sum });
            }
        }
        attempt += 1;
    }
}

/// Replaces the manifest by `bytes`, and keeps its sum true where there is one.
///
/// # Errors
/// When writing fails. The manifest is then the old or the new one, and its sum true of it.
pub(super) fn write(deploy: &DeployDir, bytes: &[u8], mode: u32) -> io::Result<()> {
    let (path, sum_path) = (deploy.manifest(), deploy.manifest_sum());
    if sum_path.symlink_metadata().is_err() {
        return atomic::write(&path, bytes, mode);
    }
    let new = digest::md5(bytes);
    let line = |sum| format!("{sum}  {NAME}\n");
    // A manifest that did not have its sum before does not get it now.
    let (old, known) = (document::read(&path), sums(deploy));
    let old = old.ok().map(|bytes| digest::md5(&bytes));
    let old = old.filter(|old| known.is_ok_and(|known| known.is_some_and(|it| it.contains(old))));
    let both: String = [Some(new), old].into_iter().flatten().map(line).collect();
    atomic::write(&sum_path, both.as_bytes(), mode)?;
    atomic::write(&path, bytes, mode)?;
    atomic::write(&sum_path, line(new).as_bytes(), mode)
}

/// The sums that the manifest may have, one at least; `None` where no file says.
fn sums(deploy: &DeployDir) -> Result<Option<Vec<Md5>>, ReadError> {
    let path = deploy.manifest_sum();
    let bytes = match document::read(&path) {
        Err(ReadError::Absent(_)) => return Ok(None),
        read => read?,
    };
    let invalid = |reason: &str| DocumentError::NoSums(reason.to_owned()).in_file(&path);
    if bytes.len() > MAX_BYTES {
        return Err(invalid("is too large"));
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| invalid("is not text"))?;
    let sums: Vec<_> = text.lines().filter_map(sum_of_manifest).collect();
    match sums.as_slice() {
        [] => Err(invalid("has no sum of it")),
        _ => Ok(Some(sums)),
    }
}

/// `<sum>  manifest.json`, or `<sum> *manifest.json`, as md5sum(1) writes it.
fn sum_of_manifest(line: &str) -> Option<Md5> {
    let (sum, name) = line.split_once([' '])?;
    let name = name.strip_prefix([' ', '*'])?;
    let is_manifest = Path::new(name).file_name().is_some_and(|last| last == NAME);
    sum.parse().ok().filter(|_| is_manifest)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::store::manifest::Manifest;
    use rstest::rstest;

    fn folder() -> (tempfile::TempDir, DeployDir) {
        let temp = tempfile::tempdir().unwrap();
        let deploy = DeployDir::new(temp.path());
        fs::write(deploy.manifest(), "the manifest").unwrap();
        (temp, deploy)
    }

    /// Stands for the sum of "the manifest".
    const SUM: &str = "c1c5a5a5";

    fn with_sum(deploy: &DeployDir, text: &str) {
        let sum = digest::md5(b"the manifest").to_string();
        fs::write(deploy.manifest_sum(), text.replace(SUM, &sum)).unwrap();
    }

    #[rstest]
    #[case::of_text("c1c5a5a5  manifest.json\n")]
    #[case::of_bytes("c1c5a5a5 *manifest.json\n")]
    #[case::without_an_end("c1c5a5a5  manifest.json")]
    #[case::from_elsewhere("c1c5a5a5  deploy/manifest.json\n")]
    #[case::among_others("00000000000000000000000000000000  other\nc1c5a5a5  manifest.json\n")]
    #[case::while_it_is_replaced(
        "00000000000000000000000000000000  manifest.json\nc1c5a5a5  manifest.json\n"
    )]
    fn a_true_sum_is_believed(#[case] text: &str) {
        let (_temp, deploy) = folder();
        with_sum(&deploy, text);
        let read = read_waiting(&deploy, &mut || panic!("not at once")).unwrap();
        assert_eq!(read, (b"the manifest".to_vec(), digest::md5(b"the manifest")));
    }

    #[rstest]
    #[case("00000000000000000000000000000000  manifest.json\n", "manifest.json: has MD5 ")]
    #[case("", "manifest.json.md5: has no sum of it")]
    #[case("c1c5a5a5  other.json\n", "has no sum of it")]
    #[case("c1c5a5a5\n", "has no sum of it")]
    #[case("\u{fffd}", "has no sum of it")]
    #[case(&"x".repeat(5000), "is too large")]
    fn all_else_is_an_error_that_says_what_to_do(#[case] text: &str, #[case] reason: &str) {
        let (_temp, deploy) = folder();
        with_sum(&deploy, text);
        let error = read_waiting(&deploy, &mut || {}).unwrap_err().to_string();
        assert!(error.contains(reason) && error.contains("md5sum manifest.json"), "{error}");
    }

    #[test]
    fn without_a_sum_there_is_nothing_to_compare() {
        let (_temp, deploy) = folder();
        assert!(read(&deploy).is_ok());
        write(&deploy, b"next", 0o644).unwrap();
        assert!(!deploy.manifest_sum().exists());
    }

    /// Whoever writes the two one after the other, in whichever order.
    #[test]
    fn what_is_about_to_agree_is_waited_for() {
        let (_temp, deploy) = folder();
        fs::write(deploy.manifest_sum(), format!("{}  manifest.json", digest::md5(b"next")))
            .unwrap();
        let mut waited = 0;
        let mut wait = || {
            waited += 1;
            if waited == 3 {
                fs::write(deploy.manifest(), "next").unwrap();
            }
        };
        assert_eq!(read_waiting(&deploy, &mut wait).unwrap().0, b"next");
        assert_eq!(waited, 3);
    }

    #[test]
    fn replaced_it_has_its_sum_at_every_moment() {
        let (temp, deploy) = folder();
        let manifest = |text: &str| {
            let sum = digest::md5(text.as_bytes());
            (text.as_bytes().to_vec(), sum)
        };
        with_sum(&deploy, "c1c5a5a5  manifest.json\n");
        let half = deploy.manifest_new();
        // Where the new manifest cannot be written, the old one goes on to be believed.
        fs::create_dir(&half).unwrap();
        write(&deploy, b"next", 0o644).unwrap_err();
        assert_eq!(read(&deploy).unwrap(), manifest("the manifest"));
        fs::remove_dir(&half).unwrap();
        write(&deploy, b"next", 0o644).unwrap();
        assert_eq!(read(&deploy).unwrap(), manifest("next"));
        let md5sum = std::process::Command::new("md5sum")
            .args(["--check", "--strict", "--quiet", "manifest.json.md5"])
            .current_dir(temp.path())
            .status();
        assert!(md5sum.unwrap().success());
    }

    #[test]
    fn a_wrong_sum_does_not_become_true_while_the_manifest_is_replaced() {
        let (_temp, deploy) = folder();
        with_sum(&deploy, "00000000000000000000000000000000  manifest.json\n");
        fs::create_dir(deploy.manifest_new()).unwrap();
        write(&deploy, b"next", 0o644).unwrap_err();
        assert!(read_waiting(&deploy, &mut || {}).is_err());
    }

    #[test]
    fn a_manifest_with_a_wrong_sum_is_not_parsed() {
        let (_temp, deploy) = folder();
        with_sum(&deploy, "00000000000000000000000000000000  manifest.json\n");
        assert!(matches!(Manifest::read(&deploy), Err(ReadError::Sum { .. })));
    }
}
