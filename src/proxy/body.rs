//! What tqserver answers by itself.

use bytes::Bytes;

use super::static_files::StaticBody;

/// The body of an answer that no worker gives.
#[derive(Debug)]
pub(crate) enum Body {
    /// Bytes that are at hand.
    Full(Bytes),
    /// What a file holds.
    File(StaticBody),
}

impl Body {
    /// Nothing.
    pub(crate) fn empty() -> Self {
        Self::Full(Bytes::new())
    }

    /// Bytes that are at hand.
    pub(crate) fn full(bytes: impl Into<Bytes>) -> Self {
        Self::Full(bytes.into())
    }

    /// How many bytes it has.
    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::Full(bytes) => bytes.len() as u64,
            Self::File(body) => body.len(),
        }
    }
}
