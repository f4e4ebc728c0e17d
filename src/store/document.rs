//! What `manifest.json` and `deployment.json` have in common: how they are read and refused.

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::consistency::Inconsistency;
use super::deployment::SCHEMA;
use super::findings::Findings;
use super::walk::open_folder;
use crate::ids::{CommitId, Md5};

/// The largest document that is read, in bytes: room for some thirty thousand files.
pub const MAX_BYTES: u64 = 4 << 20;

/// How much is told of why a document is no JSON of its kind, in characters.
const MAX_REASON: usize = 400;

/// What is wrong with a document, wherever it came from.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// Larger than [`MAX_BYTES`].
    #[error("is larger than {} MiB", MAX_BYTES >> 20)]
    TooLarge,
    /// No JSON, or not the JSON of this document.
    #[error("{line}:{column}: {reason}")]
    Syntax {
        /// From 1.
        line: usize,
        /// In bytes, from 1; 0 where the line has ended.
        column: usize,
        /// What is wrong there.
        reason: String,
    },
    /// Written by something else, or by hand.
    #[error("has no \"schema\": this tqserver reads schema {SCHEMA}, as `tqctl build` writes it")]
    NoSchema,
    /// Written by another version.
    #[error("has schema {found}, and this tqserver reads schema {SCHEMA}: {advice}")]
    Schema {
        /// What stands there.
        found: String,
        /// What to do.
        advice: &'static str,
    },
    /// A file of sums without the one that was looked for.
    #[error(
        "{0}, and manifest.json is not believed without: `md5sum manifest.json >manifest.json.md5`, \
         or remove it"
    )]
    NoSums(String),
    /// Its parts contradict each other or lead out of the deployment.
    #[error("{0}")]
    Inconsistent(Findings<Inconsistency>),
}

impl DocumentError {
    fn schema(found: &serde_json::Value) -> Self {
        let advice = match found.as_u64() {
            Some(number) if number > u64::from(SCHEMA) => "upgrade tqserver here first",
            _ => "build it again with `tqctl build`",
        };
        Self::Schema { found: excerpt(&found.to_string(), 40), advice }
    }

    pub(crate) fn in_file(self, path: &Path) -> ReadError {
        ReadError::Invalid { path: path.to_path_buf(), error: self }
    }
}

impl From<serde_json::Error> for DocumentError {
    fn from(error: serde_json::Error) -> Self {
        let text = error.to_string();
        let position = format!(" at line {} column {}", error.line(), error.column());
        let reason = text.strip_suffix(&position).unwrap_or(&text);
        let reason = if error.is_eof() {
            format!("ends too early ({reason}): it was not written completely")
        } else {
            reason.to_owned()
        };
        let reason = excerpt(&reason, MAX_REASON);
        Self::Syntax { line: error.line(), column: error.column(), reason }
    }
}

/// The first `limit` characters of what stands in a document, without what drives a terminal.
fn excerpt(text: &str, limit: usize) -> String {
    let visible = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
    text.chars().take(limit).map(visible).collect()
}

/// Why a document was not read, with its path.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There is none.
    #[error("{}: does not exist", .0.display())]
    Absent(PathBuf),
    /// A link, a folder, a device.
    #[error("{}: is not a regular file", .0.display())]
    NotAFile(PathBuf),
    /// It could not be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It was read, and is not valid.
    #[error("{}:{}{error}", path.display(), if matches!(error, DocumentError::Syntax { .. }) { "" } else { " " })]
    Invalid {
        /// Where.
        path: PathBuf,
        /// What is wrong with it.
        error: DocumentError,
    },
    /// The manifest is not the one that a sum was made of.
    #[error(
        "{}: has MD5 {found}, and {} says {expected}: upload both again, or, if the manifest is \
         right, `md5sum manifest.json >manifest.json.md5` there", path.display(), sum.display()
    )]
    Sum {
        /// The manifest.
        path: PathBuf,
        /// What it has.
        found: Md5,
        /// What it should have.
        expected: Md5,
        /// The file that says so.
        sum: PathBuf,
    },
    /// A record in the wrong folder.
    #[error("{}: is the record of {found}", path.display())]
    OtherCommit {
        /// Where.
        path: PathBuf,
        /// Whose record it is.
        found: CommitId,
    },
}

/// A document whose parts must agree with each other.
pub(crate) trait Document: DeserializeOwned {
    /// Whether they do.
    fn check(&self) -> Result<(), DocumentError>;
}

/// Parses a document and checks it. The schema comes first: whatever else looks wrong in a
/// document of another version is not the point.
pub(crate) fn parse<T: Document>(bytes: &[u8]) -> Result<T, DocumentError> {
    #[derive(Deserialize)]
    struct Head {
        schema: Option<serde_json::Value>,
    }
    if bytes.len() as u64 > MAX_BYTES {
        return Err(DocumentError::TooLarge);
    }
    match serde_json::from_slice::<Head>(bytes)?.schema {
        None => return Err(DocumentError::NoSchema),
        Some(schema) if schema != SCHEMA => return Err(DocumentError::schema(&schema)),
        Some(_) => {}
    }
    let document: T = serde_json::from_slice(bytes)?;
    document.check()?;
    Ok(document)
}

/// The document as it is written.
pub(crate) fn print(document: &impl Serialize) -> Vec<u8> {
    let mut bytes = serde_json::to_vec_pretty(document)
        .expect("documents have string keys and types that cannot fail to serialise");
    bytes.push(b'\n');
    bytes
}

/// The bytes of a regular file at `path`, of one version of it.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, ReadError> {
    read_at(CWD, path, path)
}

/// The bytes of the file `name` in `folder`, which is not followed where it is a link.
pub(crate) fn read_in(folder: &Path, name: &str) -> Result<Vec<u8>, ReadError> {
    let path = folder.join(name);
    match open_folder(CWD, folder) {
        Ok(Some(opened)) => read_at(opened.as_fd(), Path::new(name), &path),
        Ok(None) => Err(ReadError::Absent(path)),
        Err(source) => Err(ReadError::Io { path: folder.to_path_buf(), source: source.into() }),
    }
}

fn read_at(at: BorrowedFd<'_>, name: &Path, path: &Path) -> Result<Vec<u8>, ReadError> {
    use rustix::io::Errno;
    let failed = |source: io::Error| ReadError::Io { path: path.to_path_buf(), source };
    // A FIFO without a writer would block the opening.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::openat(at, name, flags, Mode::empty()) {
        Ok(fd) => File::from(fd),
        Err(Errno::NOENT) => return Err(ReadError::Absent(path.to_path_buf())),
        // What openat(2) says of a link with O_NOFOLLOW, and of a socket.
        Err(Errno::LOOP | Errno::NXIO) => return Err(ReadError::NotAFile(path.to_path_buf())),
        Err(source) => return Err(failed(source.into())),
    };
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(ReadError::NotAFile(path.to_path_buf()));
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(DocumentError::TooLarge.in_file(path));
    }
    Ok(bytes)
}
