//! `Range` and `Content-Range` (RFC 9110 section 14).

use http::{HeaderMap, header};

/// What part of a representation a request wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Requested {
    /// All of it: there is no `Range`, or none that we act on.
    Whole,
    /// One part, which exists and is not empty.
    Part(Span),
    /// One part, and no byte of it exists.
    Unsatisfiable,
}

/// Bytes of a representation, by position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    /// The first byte.
    pub(crate) start: u64,
    /// How many.
    pub(crate) len: u64,
}

impl Span {
    /// The value of `Content-Range` for this part of `total` bytes; the span is not empty.
    pub(super) fn content_range(self, total: u64) -> String {
        format!("bytes {}-{}/{total}", self.start, self.start + self.len - 1)
    }
}

/// Reads the `Range` of a request for a representation of `total` bytes.
///
/// What a server may ignore (section 14.2) is ignored, so that the answer is the whole: other
/// units, what does not parse, and several ranges at once. Clients that resume or seek ask for
/// one; several in one answer cost a format of their own and have been a way to multiply work.
pub(super) fn requested(headers: &HeaderMap, total: u64) -> Requested {
    let mut fields = headers.get_all(header::RANGE).iter();
    let (Some(field), None) = (fields.next(), fields.next()) else { return Requested::Whole };
    field.to_str().ok().and_then(|value| parse(value, total)).unwrap_or(Requested::Whole)
}

/// `bytes=FIRST-[LAST]` or `bytes=-LENGTH`; `None` when it is anything else.
fn parse(value: &str, total: u64) -> Option<Requested> {
    let (unit, range) = value.split_once('=')?;
    let (first, last) = range.trim_matches([' ', '\t']).split_once('-')?;
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    if first.is_empty() {
        return Some(match number(last)? {
            0 => Requested::Unsatisfiable,
            // Satisfiable by the letter of section 14.1.2, but no Content-Range can say so.
            _ if total == 0 => Requested::Whole,
            len => Requested::Part(Span { start: total.saturating_sub(len), len: len.min(total) }),
        });
    }
    let start = number(first)?;
    let last = if last.is_empty() { u64::MAX } else { number(last)? };
    if last < start {
        return None;
    }
    if start >= total {
        return Some(Requested::Unsatisfiable);
    }
    Some(Requested::Part(Span { start, len: last.min(total - 1) - start + 1 }))
}

/// Digits only; a number too large for us is as good as the largest.
fn number(digits: &str) -> Option<u64> {
    let valid = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    valid.then(|| digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn part(start: u64, len: u64) -> Requested {
        Requested::Part(Span { start, len })
    }

    #[rstest]
    #[case("bytes=0-0", part(0, 1))]
    #[case("bytes=0-99", part(0, 100))]
    #[case("bytes=0-100", part(0, 100))]
    #[case("bytes=99-", part(99, 1))]
    #[case("bytes=10-19", part(10, 10))]
    #[case("bytes=-1", part(99, 1))]
    #[case("bytes=-100", part(0, 100))]
    #[case("bytes=-101", part(0, 100))]
    #[case("BYTES= 1-2 ", part(1, 2))]
    #[case("bytes=0-99999999999999999999999", part(0, 100))]
    #[case("bytes=-99999999999999999999999", part(0, 100))]
    #[case("bytes=100-", Requested::Unsatisfiable)]
    #[case("bytes=99999999999999999999999-", Requested::Unsatisfiable)]
    #[case("bytes=-0", Requested::Unsatisfiable)]
    #[case("bytes=2-1", Requested::Whole)]
    #[case("bytes=-", Requested::Whole)]
    #[case("bytes=", Requested::Whole)]
    #[case("bytes", Requested::Whole)]
    #[case("bytes=+1-2", Requested::Whole)]
    #[case("bytes=1-+2", Requested::Whole)]
    #[case("bytes=a-b", Requested::Whole)]
    #[case("bytes=1 - 2", Requested::Whole)]
    #[case("bytes=--1", Requested::Whole)]
    #[case("bytes=0-1,5-6", Requested::Whole)]
    #[case("lines=0-1", Requested::Whole)]
    fn ranges_of_a_hundred_bytes(#[case] value: &str, #[case] expected: Requested) {
        let headers = HeaderMap::from_iter([(header::RANGE, value.parse().unwrap())]);
        assert_eq!(requested(&headers, 100), expected);
    }

    #[rstest]
    #[case("bytes=0-", Requested::Unsatisfiable)]
    #[case("bytes=-5", Requested::Whole)]
    fn ranges_of_nothing(#[case] value: &str, #[case] expected: Requested) {
        let headers = HeaderMap::from_iter([(header::RANGE, value.parse().unwrap())]);
        assert_eq!(requested(&headers, 0), expected);
    }

    #[test]
    fn two_fields_are_ignored() {
        let mut headers = HeaderMap::new();
        headers.append(header::RANGE, "bytes=0-1".parse().unwrap());
        headers.append(header::RANGE, "bytes=2-3".parse().unwrap());
        assert_eq!(requested(&headers, 100), Requested::Whole);
    }

    proptest! {
        #[test]
        fn a_part_lies_within(value in "bytes=[0-9]{0,21}-[0-9]{0,21}", total: u64) {
            if let Some(Requested::Part(span)) = parse(&value, total) {
                prop_assert!(span.len > 0);
                prop_assert!(span.start.checked_add(span.len).is_some_and(|end| end <= total));
            }
        }
    }
}
