//! gzip (RFC 1952): a frame of our own around deflate, as flate2's cannot be used again.

use std::io;

use flate2::{Compress, Compression, Crc, FlushCompress, Status};

use super::encoder::ROOM;

/// Deflate, no name, no time, an unknown system.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

/// An encoder.
pub(super) struct Gzip {
    deflate: Compress,
    /// Of what was pushed.
    sum: Crc,
    level: u8,
    is_begun: bool,
}

impl Gzip {
    /// At the front of a body.
    pub(super) fn new(level: u8) -> Self {
        let deflate = Compress::new(Compression::new(u32::from(level)), false);
        Self { deflate, sum: Crc::new(), level, is_begun: false }
    }

    /// At the front of another body.
    pub(super) fn again(&mut self) {
        self.deflate.reset();
        self.sum.reset();
        self.is_begun = false;
    }

    /// How hard it tries.
    pub(super) fn level(&self) -> u8 {
        self.level
    }

    pub(super) fn push(&mut self, mut content: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        self.begin(out);
        self.sum.update(content);
        while !content.is_empty() {
            let before = self.deflate.total_in();
            self.deflate(content, out, FlushCompress::None)?;
            // No more than the content's length.
            content = &content[(self.deflate.total_in() - before) as usize..];
        }
        Ok(())
    }

    pub(super) fn flush(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        self.begin(out);
        let mut flush = FlushCompress::Sync;
        loop {
            let before = out.len();
            self.deflate(&[], out, flush)?;
            if out.len() < out.capacity() || out.len() == before {
                return Ok(());
            }
            // Asked once more to flush it would put another empty block behind.
            flush = FlushCompress::None;
        }
    }

    pub(super) fn finish(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        self.begin(out);
        while self.deflate(&[], out, FlushCompress::Finish)? != Status::StreamEnd {}
        out.extend_from_slice(&self.sum.sum().to_le_bytes());
        // The length to the base 2^32, as the format wants it.
        out.extend_from_slice(&self.sum.amount().to_le_bytes());
        Ok(())
    }

    fn begin(&mut self, out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.is_begun, true) {
            out.extend_from_slice(&HEADER);
        }
    }

    fn deflate(
        &mut self,
        content: &[u8],
        out: &mut Vec<u8>,
        flush: FlushCompress,
    ) -> io::Result<Status> {
        out.reserve(ROOM);
        self.deflate.compress_vec(content, out, flush).map_err(io::Error::other)
    }
}
