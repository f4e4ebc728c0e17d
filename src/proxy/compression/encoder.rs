//! The codings behind one face. Each appends what comes out to a buffer that grows.

use std::io;

use super::brotli::Brotli;
use super::gzip::Gzip;
use super::zstd::Zstd;

/// What the codings look back at, at most, in powers of two: 128 KiB, and 32 KiB for gzip. More would
/// make long texts a little smaller, and each answer in flight cost megabytes.
pub(super) const WINDOW_BITS: u8 = 17;

/// The least room that an encoder is offered at once.
pub(super) const ROOM: usize = 8 << 10;

/// One body's encoder.
pub(super) enum Encoder {
    Brotli(Box<Brotli>),
    Zstd(Zstd),
    Gzip(Box<Gzip>),
}

impl Encoder {
    /// Takes content.
    pub(super) fn push(&mut self, content: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Self::Brotli(brotli) => brotli.push(content, out),
            Self::Zstd(zstd) => zstd.push(content, out),
            Self::Gzip(gzip) => gzip.push(content, out),
        }
    }

    /// Gives out all it has taken, at the cost of some bytes.
    pub(super) fn flush(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Self::Brotli(brotli) => brotli.flush(out),
            Self::Zstd(zstd) => zstd.flush(out),
            Self::Gzip(gzip) => gzip.flush(out),
        }
    }

    /// Gives out what is left, and the body's end.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Self::Brotli(brotli) => brotli.finish(out),
            Self::Zstd(zstd) => zstd.finish(out),
            Self::Gzip(gzip) => gzip.finish(out),
        }
    }
}
