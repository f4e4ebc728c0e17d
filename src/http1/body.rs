//! Where a body ends (RFC 9112 section 6.3).

use super::{ChunkedDecoder, Malformed};

/// How the end of a body is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyLength {
    /// After so many bytes, which may be none.
    Sized(u64),
    /// Where the chunks say so.
    Chunked,
    /// With the connection. Responses only.
    UntilClose,
}

impl BodyLength {
    /// Nothing follows the head.
    pub const EMPTY: Self = Self::Sized(0);

    /// Whether nothing follows the head.
    pub fn is_empty(self) -> bool {
        self == Self::EMPTY
    }
}

/// What comes next in a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// So many bytes at the front are content, at least one. They count as taken.
    Content(usize),
    /// More bytes are needed.
    NeedMore,
    /// The body is whole.
    End,
}

/// Follows a body to its end.
#[derive(Debug)]
pub enum BodyDecoder {
    /// So many bytes are still to come.
    Sized(u64),
    /// Chunks.
    Chunked(ChunkedDecoder),
    /// All that comes until the connection ends.
    UntilClose,
}

impl BodyDecoder {
    /// At the first byte of a body.
    pub fn new(length: BodyLength) -> Self {
        match length {
            BodyLength::Sized(length) => Self::Sized(length),
            BodyLength::Chunked => Self::Chunked(ChunkedDecoder::default()),
            BodyLength::UntilClose => Self::UntilClose,
        }
    }

    /// Looks at the bytes that come next. Returns how many of them are framing, and what follows
    /// these.
    ///
    /// # Errors
    /// When they are not what the body's framing demands.
    pub fn step(&mut self, bytes: &[u8]) -> Result<(usize, Step), Malformed> {
        match self {
            Self::Sized(0) => Ok((0, Step::End)),
            Self::Sized(_) | Self::UntilClose if bytes.is_empty() => Ok((0, Step::NeedMore)),
            Self::Sized(left) => {
                let content = usize::try_from(*left).map_or(bytes.len(), |n| n.min(bytes.len()));
                *left -= content as u64;
                Ok((0, Step::Content(content)))
            }
            Self::UntilClose => Ok((0, Step::Content(bytes.len()))),
            Self::Chunked(chunks) => chunks.step(bytes),
        }
    }

    /// Whether the end of the connection is the end of the body.
    pub fn ends_with_connection(&self) -> bool {
        matches!(self, Self::UntilClose)
    }
}
