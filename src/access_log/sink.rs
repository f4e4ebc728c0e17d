//! Where lines go.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::batch::{Batch, Written};
use super::format;
use crate::config::settings::{AccessLogFormat, AccessLogSettings};

/// The journal's socket (systemd.io/JOURNAL_NATIVE_PROTOCOL).
const JOURNAL: &str = "/run/systemd/journal/socket";

/// How long a file that could not be opened is left alone.
const RETRY: Duration = Duration::from_secs(1);

/// The mode of a file that is made: it says who asked for what.
const FILE_MODE: u32 = 0o640;

/// What lines are appended to.
#[derive(Debug)]
pub(super) struct Sink {
    format: AccessLogFormat,
    to: To,
    /// A batch's lines, or a message's.
    buffer: Vec<u8>,
}

#[derive(Debug)]
enum To {
    File(LogFile),
    Journal(UnixDatagram),
    /// Where there is no journal: as the rest of what tqserver says.
    Stderr,
}

#[derive(Debug)]
struct LogFile {
    path: PathBuf,
    file: Option<File>,
    failed_at: Option<Instant>,
}

impl Sink {
    /// As the settings want it.
    pub(super) fn new(settings: &AccessLogSettings) -> Self {
        Self::with_journal(settings, Path::new(JOURNAL))
    }

    /// The same with the journal's socket elsewhere.
    pub(super) fn with_journal(settings: &AccessLogSettings, journal: &Path) -> Self {
        let to = match &settings.file {
            Some(path) => To::File(LogFile { path: path.clone(), file: None, failed_at: None }),
            None => match connect(journal) {
                Ok(socket) => To::Journal(socket),
                Err(_) => To::Stderr,
            },
        };
        Self { format: settings.format, to, buffer: Vec::new() }
    }

    /// Opens a file anew with the next line.
    pub(super) fn reopen(&mut self) {
        if let To::File(file) = &mut self.to {
            (file.file, file.failed_at) = (None, None);
        }
    }

    /// Appends all lines of a batch, and says how many it could.
    ///
    /// # Errors
    /// Why not all of them, with that number.
    pub(super) fn append(&mut self, batch: &Batch) -> Result<(), (usize, io::Error)> {
        let (buffer, format) = (&mut self.buffer, self.format);
        buffer.clear();
        if let To::Journal(socket) = &self.to {
            for (written, line) in batch.iter().enumerate() {
                push_message(buffer, format, &line);
                socket.send(buffer).map_err(|error| (written, error))?;
            }
            return Ok(());
        }
        batch.iter().for_each(|line| format::push(buffer, format, &line));
        let done = match &mut self.to {
            To::File(file) => file.append(buffer),
            _ => io::stderr().write_all(buffer),
        };
        done.map_err(|error| (0, error))
    }
}

impl LogFile {
    fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.failed_at.is_some_and(|at| at.elapsed() < RETRY) {
            return Err(io::Error::other("it could not be opened a moment ago"));
        }
        let file = match &mut self.file {
            Some(file) => file,
            None => {
                let mut options = OpenOptions::new();
                let opened = options.append(true).create(true).mode(FILE_MODE).open(&self.path);
                self.failed_at = opened.is_err().then(Instant::now);
                self.file.insert(opened.map_err(|error| {
                    io::Error::new(error.kind(), format!("{}: {error}", self.path.display()))
                })?)
            }
        };
        file.write_all(lines)
    }
}

fn connect(journal: &Path) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(journal)?;
    Ok(socket)
}

/// One message of the journal, with the fields that tqserver's own messages have.
fn push_message(out: &mut Vec<u8>, format: AccessLogFormat, written: &Written<'_>) {
    out.clear();
    out.extend_from_slice(b"MESSAGE=");
    // A line is one, whatever a client said, so that it needs no length.
    format::push(out, format, written);
    out.extend_from_slice(b"PRIORITY=6\nSYSLOG_IDENTIFIER=tqserver-access\nTQ_REQUEST=");
    out.extend(written.id.iter().filter(|byte| byte.is_ascii_graphic()));
    // Writing to memory does not fail.
    writeln!(out, "\nTQ_STATUS={}", written.facts.status).ok();
    if let Some((worker, generation)) = &written.facts.worker {
        writeln!(out, "TQ_WORKER={worker}\nTQ_GENERATION={}", generation.0).ok();
    }
}
