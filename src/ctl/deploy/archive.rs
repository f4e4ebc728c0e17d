//! Brings files as a compressed archive through the session: where there is no rsync.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::sync::mpsc;

use super::session::Session;
use crate::ctl::exit::Failure;
use crate::ctl::host::protocol::{MAX_CHUNK, Reply, Request};

/// Sends `files`, paths below `folder`; `progress` is told the bytes of files that were packed.
/// Returns how many bytes went over the wire.
pub(super) async fn send(
    session: &mut Session,
    folder: &Path,
    files: &[String],
    progress: &dyn Fn(u64),
) -> Result<u64, Failure> {
    let (chunks, mut packed) = mpsc::channel(4);
    let (folder, files) = (folder.to_owned(), files.to_vec());
    let packing = tokio::task::spawn_blocking(move || pack(&folder, &files, chunks));
    session.tell(&Request::Archive).await?;
    let mut sent = 0;
    while let Some(Packed { bytes, content }) = packed.recv().await {
        session.send_chunk(&bytes).await?;
        sent += bytes.len() as u64;
        progress(content);
    }
    packing.await??;
    session.send_chunk(&[]).await?;
    match session.answer().await? {
        Reply::Received => Ok(sent),
        _ => Err(session.out_of_turn()),
    }
}

/// A piece of the archive.
struct Packed {
    bytes: Vec<u8>,
    /// How many bytes of files have gone into the archive so far.
    content: u64,
}

fn pack(folder: &Path, files: &[String], chunks: mpsc::Sender<Packed>) -> anyhow::Result<()> {
    let pieces = Pieces { chunks, buffer: Vec::with_capacity(MAX_CHUNK), content: 0 };
    let mut archive = tar::Builder::new(GzEncoder::new(pieces, Compression::fast()));
    for path in files {
        let full: PathBuf = folder.join(path);
        let mut file =
            File::open(&full).map_err(|error| anyhow::anyhow!("{}: {error}", full.display()))?;
        let size = file.metadata()?.len();
        archive.append_file(path, &mut file)?;
        archive.get_mut().get_mut().content += size;
    }
    archive.into_inner()?.finish()?.end()?;
    Ok(())
}

/// Cuts what is written into pieces.
struct Pieces {
    chunks: mpsc::Sender<Packed>,
    buffer: Vec<u8>,
    content: u64,
}

impl Pieces {
    fn pass_on(&mut self) -> io::Result<()> {
        let bytes = std::mem::replace(&mut self.buffer, Vec::with_capacity(MAX_CHUNK));
        let packed = Packed { bytes, content: self.content };
        self.chunks.blocking_send(packed).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    fn end(mut self) -> io::Result<()> {
        // An empty piece would end the archive for the other side, too early for the caller.
        if self.buffer.is_empty() { Ok(()) } else { self.pass_on() }
    }
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(MAX_CHUNK - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..count]);
        if self.buffer.len() == MAX_CHUNK {
            self.pass_on()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
