//! The session's two pipes.

use std::io::{self, BufRead, BufReader, Read, Stdin, Write};

use super::protocol::{Chunk, MAX_CHUNK, MAX_LINE, Reply, Request};
use crate::ctl::exit::Failure;

/// Lines from stdin, lines to stdout.
pub(super) struct Wire {
    input: BufReader<Stdin>,
}

impl Wire {
    pub(super) fn of_process() -> Self {
        Self { input: BufReader::new(io::stdin()) }
    }

    /// The next request; `None` when there are no more.
    pub(super) fn next(&mut self) -> Result<Option<Request>, Failure> {
        let Some(line) = read_line(&mut self.input)? else { return Ok(None) };
        Ok(Some(serde_json::from_slice(&line)?))
    }

    /// Answers. Whether anybody hears it shows when the next request is read: what is under way goes
    /// on without.
    pub(super) fn say(&mut self, reply: &Reply) {
        let _ = write_line(&mut io::stdout().lock(), reply);
    }

    /// Answers that it cannot be done.
    pub(super) fn fail(&mut self, failure: &Failure) {
        self.say(&Reply::Failed {
            message: failure.to_string(),
            hint: failure.hint().map(str::to_owned),
            exit: failure.exit() as u8,
        });
    }

    /// The content of the chunks that follow.
    pub(super) fn chunks(&mut self) -> Chunks<'_> {
        Chunks { input: &mut self.input, left: 0, ended: false }
    }
}

/// Reads one line without its end; `None` at the end of the input, also of one that broke off.
pub(in crate::ctl) fn read_line(input: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    input.take(MAX_LINE).read_until(b'\n', &mut line)?;
    match line.pop() {
        Some(b'\n') => Ok(Some(line)),
        Some(_) if line.len() as u64 + 1 >= MAX_LINE => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "a line of the deploy protocol is too long",
        )),
        _ => Ok(None),
    }
}

fn write_line(out: &mut impl Write, document: &impl serde::Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(document)?;
    line.push(b'\n');
    out.write_all(&line)?;
    out.flush()
}

/// A stream that was cut into [`Chunk`]s, up to the empty one.
pub(super) struct Chunks<'w> {
    input: &'w mut BufReader<Stdin>,
    left: usize,
    ended: bool,
}

impl Read for Chunks<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 && !self.ended {
            let line = read_line(self.input)?.ok_or(io::ErrorKind::UnexpectedEof)?;
            let Chunk { chunk } = serde_json::from_slice(&line)?;
            if chunk > MAX_CHUNK {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a chunk is too large"));
            }
            (self.left, self.ended) = (chunk, chunk == 0);
        }
        let wanted = buffer.len().min(self.left);
        if wanted == 0 {
            // To read nothing would wait for the next request.
            return Ok(0);
        }
        let count = self.input.read(&mut buffer[..wanted])?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= count;
        Ok(count)
    }
}
