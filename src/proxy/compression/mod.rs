//! Compressing workers' answers on their way to clients, where a worker's settings say so.
//!
//! `verdict` decides by the heads of both sides, `fields` says it to the client, and a [`Compressor`],
//! which a [`pump`](super::pump) feeds, makes another body of the worker's. A body is never
//! decompressed here: what a worker has coded itself passes as it is.

mod brotli;
mod encoder;
mod encoders;
mod fields;
mod gzip;
#[cfg(test)]
mod testing;
mod verdict;
mod zstd;

use std::io;

pub(crate) use self::encoders::Encoders;
pub(crate) use self::fields::rewrite;
#[cfg(test)]
pub(crate) use self::testing::decode;
pub(crate) use self::verdict::{Verdict, forbids_transformation, judge};

use self::encoder::Encoder;
use self::encoders::Place;

/// After so many bytes of content it is another task's turn: to compress them takes a thread longer
/// than all else that it does for an answer.
const TURN_BYTES: usize = 64 << 10;

/// One body on its way. What it is given comes out compressed, if not at once then later.
pub(crate) struct Compressor {
    encoder: Encoder,
    /// What came out last.
    out: Vec<u8>,
    /// Whether there may be something that has not come out yet.
    holds_back: bool,
    /// How much it was given in this turn.
    turn: usize,
    place: Place,
}

impl Compressor {
    fn new(encoder: Encoder, place: Place) -> Self {
        Self { encoder, out: Vec::new(), holds_back: false, turn: 0, place }
    }

    /// Takes more of the content, and returns what comes out.
    ///
    /// # Errors
    /// When the encoder fails, as by lack of memory: then there is no right end to the body.
    pub(crate) fn push(&mut self, content: &[u8]) -> io::Result<&[u8]> {
        self.out.clear();
        self.encoder.push(content, &mut self.out)?;
        self.holds_back = true;
        self.turn += content.len();
        Ok(&self.out)
    }

    /// Whether [`flush`](Self::flush) would return anything.
    pub(crate) fn holds_back(&self) -> bool {
        self.holds_back
    }

    /// Returns what was held back: from all that came out so far, all that went in can be read.
    ///
    /// # Errors
    /// As those of [`push`](Self::push).
    pub(crate) fn flush(&mut self) -> io::Result<&[u8]> {
        self.out.clear();
        self.encoder.flush(&mut self.out)?;
        self.holds_back = false;
        Ok(&self.out)
    }

    /// Returns the end of the body.
    ///
    /// # Errors
    /// As those of [`push`](Self::push).
    pub(crate) fn finish(mut self) -> io::Result<Vec<u8>> {
        self.out.clear();
        self.encoder.finish(&mut self.out)?;
        self.place.give_back(self.encoder);
        Ok(self.out)
    }

    /// Whether it has worked for long enough, and others should have their turn before it goes on.
    pub(crate) fn ends_turn(&mut self) -> bool {
        let ends = self.turn >= TURN_BYTES;
        if ends {
            self.turn = 0;
        }
        ends
    }
}

impl std::fmt::Debug for Compressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compressor").field("holds_back", &self.holds_back).finish_non_exhaustive()
    }
}
