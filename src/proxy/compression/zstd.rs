//! Zstandard (RFC 8878), within what RFC 9659 lets a content coding look back at.

use std::io;

use zstd::stream::raw::{CParameter, Encoder, InBuffer, Operation, OutBuffer};

use super::encoder::{ROOM, WINDOW_BITS};

/// An encoder.
pub(super) struct Zstd(Encoder<'static>);

impl Zstd {
    /// At the front of a body of `length` bytes, where that is known.
    pub(super) fn new(level: u8, length: Option<u64>) -> io::Result<Self> {
        let mut zstd = Self(Encoder::new(i32::from(level))?);
        zstd.0.set_parameter(CParameter::WindowLog(u32::from(WINDOW_BITS)))?;
        zstd.0.set_pledged_src_size(length)?;
        Ok(zstd)
    }

    /// At the front of another body. Short ones take less memory, and thus less time, when it is known
    /// that they are.
    pub(super) fn again(&mut self, level: u8, length: Option<u64>) -> io::Result<()> {
        self.0.reinit()?;
        self.0.set_parameter(CParameter::CompressionLevel(i32::from(level)))?;
        self.0.set_pledged_src_size(length)
    }

    pub(super) fn push(&mut self, content: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        let mut content = InBuffer::around(content);
        while content.pos() < content.src.len() {
            with_room(out, |room| self.0.run(&mut content, room))?;
        }
        Ok(())
    }

    pub(super) fn flush(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        while with_room(out, |room| self.0.flush(room))? > 0 {}
        Ok(())
    }

    pub(super) fn finish(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        while with_room(out, |room| self.0.finish(room, true))? > 0 {}
        Ok(())
    }
}

fn with_room(
    out: &mut Vec<u8>,
    step: impl FnOnce(&mut OutBuffer<'_, Vec<u8>>) -> io::Result<usize>,
) -> io::Result<usize> {
    out.reserve(ROOM);
    let end = out.len();
    step(&mut OutBuffer::around_pos(out, end))
}
