//! What the head of an answer says to the client when its body becomes another one.

use super::Verdict;
use crate::http1::{Field, FieldName, tokens};

/// The fields of an answer after a verdict. `weak` is where the tag of the new body is put.
///
/// A strong tag stands for one sequence of bytes. An encoder may make others the next time, hence the
/// tag becomes weak (RFC 9110 section 8.8.3). A worker that is asked with it later still finds it equal
/// to its own (section 13.1.2).
pub(crate) fn rewrite<'f>(
    fields: &[Field<'f>],
    verdict: Verdict,
    weak: &'f mut Vec<u8>,
) -> Vec<Field<'f>> {
    let coding = match verdict {
        Verdict::Compressed(coding) => Some(coding),
        Verdict::AsItIs | Verdict::Varies | Verdict::StillGood => None,
    };
    let weakens = coding.is_some() || verdict == Verdict::StillGood;
    let is = |field: &Field<'_>, name: &str| field.name.eq_ignore_ascii_case(name);
    let strong =
        fields.iter().find(|field| weakens && is(field, "etag") && field.value.starts_with(b"\""));
    if let Some(tag) = strong {
        weak.extend_from_slice(b"W/");
        weak.extend_from_slice(tag.value);
    }
    let weak: &'f [u8] = weak;
    let is_of_original = |field: &Field<'_>| {
        FieldName::of(field.name) == FieldName::ContentLength || is(field, "accept-ranges")
    };
    let mut rewritten = Vec::with_capacity(fields.len() + 2);
    for field in fields {
        match strong {
            _ if coding.is_some() && is_of_original(field) => {}
            Some(tag) if std::ptr::eq(tag, field) => {
                rewritten.push(Field { name: field.name, value: weak });
            }
            _ => rewritten.push(*field),
        }
    }
    if let Some(coding) = coding {
        rewritten.push(Field { name: "content-encoding", value: coding.token().as_bytes() });
    }
    if verdict != Verdict::AsItIs && !varies(fields) {
        rewritten.push(Field { name: "vary", value: b"accept-encoding" });
    }
    rewritten
}

/// Whether caches know already that it depends on `Accept-Encoding`.
fn varies(fields: &[Field<'_>]) -> bool {
    let mut vary = fields.iter().filter(|field| field.name.eq_ignore_ascii_case("vary"));
    vary.any(|field| {
        tokens(field.value)
            .any(|name| name == b"*" || name.eq_ignore_ascii_case(b"accept-encoding"))
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::config::settings::Coding;

    fn rewritten(head: &str, verdict: Verdict) -> String {
        let pairs = head.split_terminator("; ").map(|line| line.split_once(": ").unwrap());
        let fields: Vec<_> =
            pairs.map(|(name, value)| Field { name, value: value.as_bytes() }).collect();
        let mut weak = vec![];
        let rewritten = rewrite(&fields, verdict, &mut weak);
        let text = |field: &Field<'_>| {
            format!("{}: {}", field.name, std::str::from_utf8(field.value).unwrap())
        };
        rewritten.iter().map(text).collect::<Vec<_>>().join("; ")
    }

    #[rstest]
    #[case(
        "A: 1; Content-Length: 5; Accept-Ranges: bytes; ETag: \"x\"; B: 2",
        "A: 1; ETag: W/\"x\"; B: 2; content-encoding: zstd; vary: accept-encoding"
    )]
    #[case("ETag: W/\"x\"", "ETag: W/\"x\"; content-encoding: zstd; vary: accept-encoding")]
    #[case("Vary: Cookie", "Vary: Cookie; content-encoding: zstd; vary: accept-encoding")]
    #[case(
        "Vary: Cookie, Accept-Encoding",
        "Vary: Cookie, Accept-Encoding; content-encoding: zstd"
    )]
    #[case("Vary: *", "Vary: *; content-encoding: zstd")]
    fn a_compressed_answer_has_other_fields(#[case] before: &str, #[case] after: &str) {
        assert_eq!(rewritten(before, Verdict::Compressed(Coding::Zstd)), after);
    }

    #[test]
    fn one_that_passes_as_it_is_keeps_its_own() {
        let own = "Content-Length: 5; Accept-Ranges: bytes; ETag: \"x\"";
        assert_eq!(rewritten(own, Verdict::AsItIs), own);
        assert_eq!(rewritten(own, Verdict::Varies), format!("{own}; vary: accept-encoding"));
    }

    #[test]
    fn what_is_still_good_keeps_the_tag_it_had() {
        let own = "ETag: \"x\"; Content-Length: 5";
        let expected = "ETag: W/\"x\"; Content-Length: 5; vary: accept-encoding";
        assert_eq!(rewritten(own, Verdict::StillGood), expected);
    }
}
