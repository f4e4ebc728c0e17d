//! Reading files without making the other connections of the thread wait for a disk.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use rustix::io::{Errno, ReadWriteFlags, preadv2};
use tokio::task::JoinHandle;

use super::range::Span;

/// The most that is read at once: large enough that system calls do not count, small enough that
/// ten thousand slow readers fit in memory.
pub(super) const CHUNK: usize = 64 * 1024;

/// Bytes that are there, or will be.
pub(super) enum Read {
    /// They were in the page cache.
    Ready(io::Result<Bytes>),
    /// A blocking thread is getting them from the disk.
    Pending(JoinHandle<io::Result<Bytes>>),
}

/// Starts reading the first [`CHUNK`] of `span`, or less; what arrives is never empty.
///
/// The page cache answers nearly always, and then a hop to another thread costs more than the
/// read. RWF_NOWAIT (preadv2(2)) tells the two cases apart.
pub(super) fn start(file: &Arc<File>, span: Span) -> Read {
    let mut chunk = vec![0; span.len.min(CHUNK as u64) as usize];
    let at = span.start;
    match preadv2(file, &mut [IoSliceMut::new(&mut chunk)], at, ReadWriteFlags::NOWAIT) {
        Ok(len) => Read::Ready(filled(chunk, len)),
        // NOTSUPP: the file system cannot say, so ask where waiting is allowed.
        Err(Errno::AGAIN | Errno::INTR | Errno::OPNOTSUPP) => {
            let file = Arc::clone(file);
            Read::Pending(tokio::task::spawn_blocking(move || {
                let len = file.read_at(&mut chunk, at)?;
                filled(chunk, len)
            }))
        }
        Err(errno) => Read::Ready(Err(errno.into())),
    }
}

/// What the kernel reads ahead (`read_ahead_kb`) unless told otherwise, so that it comes, and mostly
/// goes, as one.
const AHEAD: usize = 128 * 1024;

/// Has `span` in the page cache, so that who sends it need not wait for a disk.
///
/// A byte of every [`AHEAD`] and the last stand for all: to look at every page would cost as much as to
/// copy them.
pub(super) async fn bring_in(file: &Arc<File>, span: Span) -> io::Result<()> {
    let (start, end) = (span.start, span.start + span.len);
    let looked_at = (start..end).step_by(AHEAD).chain([end.saturating_sub(1)]);
    if looked_at.into_iter().all(|at| is_present(file, at)) {
        return Ok(());
    }
    let file = Arc::clone(file);
    let task = tokio::task::spawn_blocking(move || {
        let mut chunk = vec![0; CHUNK];
        let mut at = start;
        while at < end {
            match file.read_at(&mut chunk, at)? {
                // Cut short: whoever sends it will find out.
                0 => break,
                len => at += len as u64,
            }
        }
        Ok(())
    });
    task.await?
}

fn is_present(file: &File, at: u64) -> bool {
    preadv2(file, &mut [IoSliceMut::new(&mut [0])], at, ReadWriteFlags::NOWAIT).is_ok()
}

/// Reads the whole of `span`, which should be small.
pub(super) async fn all(file: &Arc<File>, mut span: Span) -> io::Result<Bytes> {
    let mut content = Vec::new();
    while span.len > 0 {
        let chunk = match start(file, span) {
            Read::Ready(chunk) => chunk?,
            Read::Pending(task) => task.await??,
        };
        span.start += chunk.len() as u64;
        span.len -= chunk.len() as u64;
        if content.is_empty() && span.len == 0 {
            return Ok(chunk);
        }
        content.extend_from_slice(&chunk);
    }
    Ok(content.into())
}

/// The `len` bytes that were read; none means that the file is shorter than it was, which must
/// never look like the end of what was announced.
fn filled(mut chunk: Vec<u8>, len: usize) -> io::Result<Bytes> {
    if len == 0 && !chunk.is_empty() {
        return Err(truncated());
    }
    chunk.truncate(len);
    Ok(chunk.into())
}

/// The error of a file that is shorter than it was.
pub(super) fn truncated() -> io::Error {
    let message = "the file was truncated while it was being served";
    io::Error::new(io::ErrorKind::UnexpectedEof, message)
}
