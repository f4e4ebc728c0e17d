//! A body that is compressed on its way: all of it goes through the compressor, and what comes out goes
//! on in chunks.

use std::io;

use bytes::Bytes;

use super::{Pump, PumpError};
use crate::proxy::compression::Compressor;

impl Pump {
    /// The body that was begun is to be compressed. It goes on in chunks, as nobody knows how long it
    /// will be.
    pub(crate) fn compress(&mut self, compressor: Compressor) {
        debug_assert!(self.chunks && !self.is_read);
        self.compressor = Some(Box::new(compressor));
    }

    /// Takes content. What comes out of it goes on, and that may be nothing yet.
    pub(super) fn push_compressed(&mut self, content: &[u8]) -> Result<(), PumpError> {
        self.pass_compressed(|compressor| compressor.push(content))
    }

    /// Has all that was taken go on, and says whether there was any: nothing more may come for long.
    pub(super) fn flush_compressed(&mut self) -> Result<bool, PumpError> {
        let holds_back = self.compressor.as_ref().is_some_and(|it| it.holds_back());
        if holds_back {
            self.pass_compressed(Compressor::flush)?;
        }
        Ok(holds_back)
    }

    /// All of the content was taken, but for the `tail`.
    pub(super) fn finish_compressed(&mut self, tail: &Bytes) -> Result<(), PumpError> {
        self.push_compressed(tail)?;
        if let Some(compressor) = self.compressor.take() {
            let end = compressor.finish().map_err(PumpError::Compression)?;
            self.put_chunk(&end);
        }
        Ok(())
    }

    /// Whether it is another task's turn.
    pub(super) fn ends_turn(&mut self) -> bool {
        self.compressor.as_mut().is_some_and(|compressor| compressor.ends_turn())
    }

    fn pass_compressed(
        &mut self,
        step: impl FnOnce(&mut Compressor) -> io::Result<&[u8]>,
    ) -> Result<(), PumpError> {
        if let Some(mut compressor) = self.compressor.take() {
            self.put_chunk(step(&mut compressor).map_err(PumpError::Compression)?);
            self.compressor = Some(compressor);
        }
        Ok(())
    }

    fn put_chunk(&mut self, bytes: &[u8]) {
        // An empty chunk would be the last.
        if !bytes.is_empty() {
            self.frame(bytes.len());
            self.ours.extend_from_slice(bytes);
            self.settle();
        }
    }
}
