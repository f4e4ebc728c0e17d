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
        loop {
            // A flush that has not room enough is begun and never ended: what is in its way has
            // to be out before. That it is asked for twice costs an empty block, which says nothing.
            while !self.has_room_left(out, FlushCompress::None)? {}
            if self.has_room_left(out, FlushCompress::Sync)? {
                return Ok(());
            }
        }
    }

    /// Whether all that was to be given out had room.
    fn has_room_left(&mut self, out: &mut Vec<u8>, flush: FlushCompress) -> io::Result<bool> {
        self.deflate(&[], out, flush)?;
        Ok(out.len() < out.capacity())
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

#[cfg(test)]
mod tests {
    use super::super::decode;
    use super::*;
    use crate::config::settings::Coding;

    #[test]
    fn a_flush_gives_out_all_however_little_room_there_was_before() {
        let mut state = 88_172_645_463_325_252_u64;
        let content: Vec<u8> = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[0]
        })
        .take(70_000)
        .collect();
        for length in (0..content.len()).step_by(100) {
            let content = &content[..length];
            let (mut gzip, mut out) = (Gzip::new(6), vec![]);
            gzip.push(content, &mut out).unwrap();
            gzip.flush(&mut out).unwrap();
            assert!(decode(Coding::Gzip, &out).0 == content, "{length} bytes");
        }
    }
}
