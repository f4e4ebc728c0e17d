//! The chunked transfer coding (RFC 9112 section 7.1).

use super::{Malformed, Step};

/// The most bytes of extensions, and of zeros before sizes, in one body. They mean nothing to
/// anybody, and are dropped.
const MAX_EXTENSION_BYTES: usize = 4 << 10;

/// The most bytes of trailer fields. They are dropped, as RFC 9112 section 7.1.2 lets a proxy do.
const MAX_TRAILER_BYTES: usize = 16 << 10;

/// Follows chunks, whatever pieces they arrive in.
#[derive(Debug, Default)]
pub struct ChunkedDecoder {
    state: State,
    /// The size as far as it was read, then what is left of the chunk.
    size: u64,
    extension_bytes: usize,
    trailer: Vec<u8>,
}

/// What is expected next.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    FirstDigit,
    Digit,
    /// White space after the size, which only an extension may follow.
    BeforeSemicolon,
    Extension,
    SizeLf,
    Content,
    ContentCr,
    ContentLf,
    Trailer,
    End,
}

impl ChunkedDecoder {
    /// See [`BodyDecoder::step`](super::BodyDecoder::step).
    pub(super) fn step(&mut self, bytes: &[u8]) -> Result<(usize, Step), Malformed> {
        let mut at = 0;
        loop {
            match self.state {
                State::End => return Ok((at, Step::End)),
                State::Trailer => {
                    let (used, ended) = self.trailer(&bytes[at..])?;
                    at += used;
                    if !ended {
                        return Ok((at, Step::NeedMore));
                    }
                    self.state = State::End;
                }
                State::Content if at < bytes.len() => {
                    let here = bytes.len() - at;
                    let content = usize::try_from(self.size).map_or(here, |size| size.min(here));
                    self.size -= content as u64;
                    if self.size == 0 {
                        self.state = State::ContentCr;
                    }
                    return Ok((at, Step::Content(content)));
                }
                _ => {
                    let Some(byte) = bytes.get(at) else { return Ok((at, Step::NeedMore)) };
                    self.state = self.after(*byte)?;
                    at += 1;
                }
            }
        }
    }

    /// The state after a byte of framing.
    fn after(&mut self, byte: u8) -> Result<State, Malformed> {
        match (self.state, byte) {
            (State::FirstDigit | State::Digit, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                let digit = (byte as char).to_digit(16).map_or(0, u64::from);
                if self.state == State::Digit && self.size == 0 {
                    self.extension(State::Digit)?;
                }
                self.size = self.size.checked_mul(16).ok_or(Malformed::Chunk)? + digit;
                Ok(State::Digit)
            }
            (State::Digit | State::Extension, b'\r') => Ok(State::SizeLf),
            (State::Digit | State::BeforeSemicolon, b' ' | b'\t') => {
                self.extension(State::BeforeSemicolon)
            }
            (State::Digit | State::BeforeSemicolon, b';') => self.extension(State::Extension),
            (State::Extension, b'\t' | b' '..=b'~' | 0x80..) => self.extension(State::Extension),
            (State::SizeLf, b'\n') if self.size == 0 => Ok(State::Trailer),
            (State::SizeLf, b'\n') => Ok(State::Content),
            (State::ContentCr, b'\r') => Ok(State::ContentLf),
            (State::ContentLf, b'\n') => Ok(State::FirstDigit),
            _ => Err(Malformed::Chunk),
        }
    }

    fn extension(&mut self, next: State) -> Result<State, Malformed> {
        self.extension_bytes += 1;
        if self.extension_bytes > MAX_EXTENSION_BYTES {
            return Err(Malformed::ChunkExtensions);
        }
        Ok(next)
    }

    /// Takes lines up to the empty one. Returns how many bytes that were, and whether it was
    /// among them.
    fn trailer(&mut self, bytes: &[u8]) -> Result<(usize, bool), Malformed> {
        let mut at = 0;
        while let Some(length) = memchr::memchr(b'\n', &bytes[at..]) {
            self.keep(&bytes[at..=at + length])?;
            at += length + 1;
            if !self.trailer.ends_with(b"\r\n") {
                return Err(Malformed::Trailer);
            }
            if self.trailer == b"\r\n" || self.trailer.ends_with(b"\r\n\r\n") {
                return self.check_trailer().map(|()| (at, true));
            }
        }
        self.keep(&bytes[at..])?;
        Ok((bytes.len(), false))
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        self.trailer.extend_from_slice(bytes);
        if self.trailer.len() > MAX_TRAILER_BYTES { Err(Malformed::Trailer) } else { Ok(()) }
    }

    fn check_trailer(&self) -> Result<(), Malformed> {
        let mut fields = [httparse::EMPTY_HEADER; super::MAX_FIELDS];
        match httparse::parse_headers(&self.trailer, &mut fields) {
            Ok(httparse::Status::Complete((length, _))) if length == self.trailer.len() => Ok(()),
            _ => Err(Malformed::Trailer),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    /// A body's content, and what follows it.
    type Decoded = (Vec<u8>, Vec<u8>);

    /// Decodes a body that arrives in pieces of `piece` bytes.
    fn decode(bytes: &[u8], piece: usize) -> Result<Option<Decoded>, Malformed> {
        let mut decoder = ChunkedDecoder::default();
        let (mut content, mut held, mut at) = (vec![], vec![], 0);
        loop {
            let (framing, step) = decoder.step(&held)?;
            held.drain(..framing);
            match step {
                Step::Content(n) => content.extend(held.drain(..n)),
                Step::End => {
                    held.extend_from_slice(&bytes[at..]);
                    return Ok(Some((content, held)));
                }
                Step::NeedMore if at == bytes.len() => return Ok(None),
                Step::NeedMore => {
                    let next = bytes.len().min(at + piece);
                    held.extend_from_slice(&bytes[at..next]);
                    at = next;
                }
            }
        }
    }

    #[rstest]
    #[case::plain("5\r\nhello\r\n0\r\n\r\nnext", "hello")]
    #[case::leading_zeros("0005\r\nhello\r\n000\r\n\r\nnext", "hello")]
    #[case::extensions("5;a=\"b\";c\r\nhello\r\n0 ;d\r\n\r\nnext", "hello")]
    #[case::trailers("5\r\nhello\r\n0\r\nX-Sum: 1\r\nY: 2\r\n\r\nnext", "hello")]
    #[case::upper("A\r\n0123456789\r\n0\r\n\r\nnext", "0123456789")]
    #[case::empty("0\r\n\r\nnext", "")]
    fn decodes_in_any_pieces(#[case] bytes: &str, #[case] content: &str) {
        for piece in 1..bytes.len() {
            let decoded = decode(bytes.as_bytes(), piece).unwrap().unwrap();
            assert_eq!(decoded, (content.into(), b"next".to_vec()), "by {piece}");
        }
    }

    #[rstest]
    #[case::bare_lf("5\nhello\r\n0\r\n\r\n")]
    #[case::bare_lf_after_content("5\r\nhello\n0\r\n\r\n")]
    #[case::bare_lf_in_extension("5;a\nhello\r\n0\r\n\r\n")]
    #[case::bare_lf_at_the_end("0\r\n\n")]
    #[case::bare_cr_in_extension("5;a\rb\r\nhello\r\n0\r\n\r\n")]
    #[case::no_size("\r\nhello")]
    #[case::sign("+5\r\nhello")]
    #[case::hex_prefix("0x5\r\nhello")]
    #[case::underscore("1_0\r\nhello")]
    #[case::space_before(" 5\r\nhello")]
    #[case::space_after("5 \r\nhello")]
    #[case::too_large("10000000000000000\r\nhello")]
    #[case::too_short("4\r\nhello\r\n")]
    #[case::too_long("6\r\nhello\r\n")]
    #[case::nul_in_extension("5;\0\r\nhello\r\n")]
    #[case::folded_trailer("0\r\nX: 1\r\n 2\r\n\r\n")]
    #[case::bare_lf_in_trailer("0\r\nX: 1\n\r\n")]
    #[case::bare_lf_after_trailer("0\r\nX: 1\r\n\n\r\n")]
    #[case::no_field("0\r\nGET / HTTP/1.1\r\n\r\n")]
    fn refuses_in_any_pieces(#[case] bytes: &str) {
        for piece in 1..=bytes.len() {
            assert!(decode(bytes.as_bytes(), piece).is_err(), "by {piece}");
        }
    }

    #[test]
    fn what_is_dropped_is_bounded() {
        let extensions = format!("1;{}", "x".repeat(MAX_EXTENSION_BYTES));
        assert_eq!(decode(extensions.as_bytes(), 999), Err(Malformed::ChunkExtensions));
        let little_by_little = "1;x=1\r\na\r\n".repeat(MAX_EXTENSION_BYTES / 4 + 1);
        assert_eq!(decode(little_by_little.as_bytes(), 999), Err(Malformed::ChunkExtensions));
        let zeros = "0".repeat(MAX_EXTENSION_BYTES + 2);
        assert_eq!(decode(zeros.as_bytes(), 999), Err(Malformed::ChunkExtensions));
        let trailer = format!("0\r\n{}", "X: 1\r\n".repeat(MAX_TRAILER_BYTES / 6 + 1));
        assert_eq!(decode(trailer.as_bytes(), 999), Err(Malformed::Trailer));
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded(
            chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..300), 0..6),
            piece in 1..400usize,
        ) {
            let mut bytes = vec![];
            for chunk in &chunks {
                bytes.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
                bytes.extend(chunk);
                bytes.extend(b"\r\n");
            }
            bytes.extend(b"0\r\n\r\n");
            prop_assert_eq!(decode(&bytes, piece), Ok(Some((chunks.concat(), vec![]))));
        }
    }
}
