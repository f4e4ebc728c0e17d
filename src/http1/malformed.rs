//! All that can be wrong with a message's framing or form.

use http::StatusCode;

/// Why a message has no single meaning. Nothing of it is passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A byte that may not stand where it stands (RFC 9112 sections 3 and 5).
    #[error("the head is not HTTP/1.1: {0}")]
    Syntax(httparse::Error),
    /// A line that ends with LF alone, which some read as a line's end and some do not.
    #[error("a line ends without a carriage return")]
    BareLineFeed,
    /// More fields than [`MAX_FIELDS`](super::MAX_FIELDS).
    #[error("the head has too many fields")]
    TooManyFields,
    /// A version other than 1.0 and 1.1.
    #[error("the version is neither HTTP/1.0 nor HTTP/1.1")]
    Version,
    /// A request target in none of the forms of RFC 9112 section 3.2, or with what must be escaped.
    #[error("the request target is not valid")]
    Target,
    /// No `Host` where one is due, several, or one that is no host (RFC 9112 section 3.2).
    #[error("the Host field is missing, repeated or not valid")]
    Host,
    /// A `Content-Length` that is not one number, or that is repeated.
    #[error("the Content-Length is not one number")]
    Length,
    /// A `Transfer-Encoding` that is repeated, or whose last coding is not `chunked`.
    #[error("the Transfer-Encoding does not say where the body ends")]
    Coding,
    /// A coding below `chunked`, which nobody here can take off.
    #[error("the transfer coding is not supported")]
    UnknownCoding,
    /// Both `Transfer-Encoding` and `Content-Length`.
    #[error("the message has a Transfer-Encoding and a Content-Length")]
    TwoLengths,
    /// A transfer coding in HTTP/1.0, which has none.
    #[error("HTTP/1.0 has no transfer codings")]
    CodingInHttp10,
    /// A status that is no number from 100 to 599.
    #[error("the status is out of range")]
    Status,
    /// A chunk's size, its extensions or its end (RFC 9112 section 7.1).
    #[error("a chunk is not valid")]
    Chunk,
    /// Chunk extensions that are longer than anybody needs.
    #[error("a chunk's extensions are too long")]
    ChunkExtensions,
    /// Trailer fields that are not fields, or are too long.
    #[error("the trailer is not valid or too long")]
    Trailer,
}

impl Malformed {
    /// What a client that sent it is told. After it the connection is of no more use.
    pub fn status(self) -> StatusCode {
        match self {
            Self::TooManyFields => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Version => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Self::UnknownCoding => StatusCode::NOT_IMPLEMENTED,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}

impl From<httparse::Error> for Malformed {
    fn from(error: httparse::Error) -> Self {
        match error {
            httparse::Error::TooManyHeaders => Self::TooManyFields,
            httparse::Error::Version => Self::Version,
            other => Self::Syntax(other),
        }
    }
}
