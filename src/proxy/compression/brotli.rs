//! Brotli (RFC 7932).

use std::io::{self, Write as _};

use brotli::CompressorWriter;

use super::encoder::{ROOM, WINDOW_BITS};

/// An encoder, which serves for one body.
pub(super) struct Brotli(CompressorWriter<Vec<u8>>);

impl Brotli {
    /// At the front of a body.
    pub(super) fn new(level: u8) -> Self {
        let (level, window) = (u32::from(level), u32::from(WINDOW_BITS));
        Self(CompressorWriter::new(Vec::new(), ROOM, level, window))
    }

    pub(super) fn push(&mut self, content: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        self.0.write_all(content)?;
        out.append(self.0.get_mut());
        Ok(())
    }

    pub(super) fn flush(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        self.0.flush()?;
        out.append(self.0.get_mut());
        Ok(())
    }

    pub(super) fn finish(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        // The one way to its end is to take it apart.
        let none = CompressorWriter::new(Vec::new(), 1, 1, 10);
        out.append(&mut std::mem::replace(&mut self.0, none).into_inner());
        Ok(())
    }
}
