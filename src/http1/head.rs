//! What requests' heads and responses' heads have in common.

use std::mem::MaybeUninit;

use super::{BodyLength, ConnectionOptions, Field, FieldName, Malformed};

/// The most fields of a head.
pub const MAX_FIELDS: usize = 100;

/// Where the fields of a head are put while it is looked at.
pub struct FieldSpace<'b>([MaybeUninit<Field<'b>>; MAX_FIELDS]);

impl<'b> FieldSpace<'b> {
    /// Room for [`MAX_FIELDS`].
    #[inline]
    pub const fn new() -> Self {
        Self([const { MaybeUninit::uninit() }; MAX_FIELDS])
    }

    #[inline]
    pub(super) fn slots(&mut self) -> &mut [MaybeUninit<Field<'b>>] {
        &mut self.0
    }
}

impl Default for FieldSpace<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for FieldSpace<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FieldSpace").finish_non_exhaustive()
    }
}

/// A version that is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// HTTP/1.0: a connection a request, unless both say otherwise.
    Http10,
    /// HTTP/1.1.
    Http11,
}

impl Version {
    pub(super) fn from_minor(minor: Option<u8>) -> Result<Self, Malformed> {
        match minor {
            Some(0) => Ok(Self::Http10),
            Some(1) => Ok(Self::Http11),
            _ => Err(Malformed::Version),
        }
    }

    /// As it is on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
        }
    }
}

/// What the fields say of a message's framing, gathered field by field.
#[derive(Debug, Default)]
pub(super) struct Framing<'b> {
    length: Option<u64>,
    coding: Option<&'b [u8]>,
    pub(super) connection: ConnectionOptions,
}

impl<'b> Framing<'b> {
    /// Takes note of a field that is about framing.
    ///
    /// # Errors
    /// When it is repeated, or not valid by itself.
    #[inline]
    pub(super) fn note(&mut self, name: FieldName, value: &'b [u8]) -> Result<(), Malformed> {
        match name {
            FieldName::ContentLength => {
                let length = number(value).ok_or(Malformed::Length)?;
                // A list of equal numbers could be meant (RFC 9112 section 6.3), and is what
                // smuggling looks like.
                self.length.replace(length).map_or(Ok(()), |_| Err(Malformed::Length))
            }
            FieldName::TransferEncoding => {
                self.coding.replace(value).map_or(Ok(()), |_| Err(Malformed::Coding))
            }
            FieldName::Connection => {
                self.connection.add(value);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// The length that the fields give; `None` where they do not say.
    ///
    /// # Errors
    /// When they contradict each other or cannot be followed.
    pub(super) fn length(&self, version: Version) -> Result<Option<BodyLength>, Malformed> {
        match (self.coding, self.length) {
            (None, None) => Ok(None),
            (None, Some(length)) => Ok(Some(BodyLength::Sized(length))),
            (Some(_), Some(_)) => Err(Malformed::TwoLengths),
            (Some(_), None) if version == Version::Http10 => Err(Malformed::CodingInHttp10),
            (Some(coding), None) if coding.eq_ignore_ascii_case(b"chunked") => {
                Ok(Some(BodyLength::Chunked))
            }
            (Some(codings), None) => {
                let last = super::tokens(codings).last().unwrap_or_default();
                let chunked_last = last.eq_ignore_ascii_case(b"chunked");
                Err(if chunked_last { Malformed::UnknownCoding } else { Malformed::Coding })
            }
        }
    }
}

/// Digits and nothing else, and no more than 64 bits of them.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

/// Refuses a head, already whole, in which a line ends with LF alone.
pub(super) fn check_lines(head: &[u8]) -> Result<(), Malformed> {
    let lf = memchr::memchr_iter(b'\n', head);
    let bare = |at: usize| at == 0 || head[at - 1] != b'\r';
    if lf.into_iter().any(bare) { Err(Malformed::BareLineFeed) } else { Ok(()) }
}
