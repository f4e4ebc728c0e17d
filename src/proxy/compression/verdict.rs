//! Which answers are compressed, and for whom.

use crate::config::settings::{Coding, CompressionSettings};
use crate::http1::{
    BodyLength, Field, FieldName, FieldSpace, RequestHead, ResponseHead, Version, tokens,
};
use crate::proxy::accept_encoding::AcceptEncoding;
use crate::proxy::answer::is_event_stream;

/// What becomes of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It passes as it is.
    AsItIs,
    /// To this client it passes as it is, and another would get it compressed: caches must know.
    Varies,
    /// It is compressed.
    Compressed(Coding),
    /// It says that what the client has is still good, and that was compressed once.
    StillGood,
}

/// Judges an answer by its head and by the bytes of the `request`'s, whose answer has a body unless it is
/// `to_head`: that has the fields of the answer to GET.
pub(crate) fn judge(
    settings: &CompressionSettings,
    answer: &ResponseHead<'_, '_>,
    request: &[u8],
    to_head: bool,
) -> Verdict {
    let is_candidate = match answer.status {
        200 => is_compressible(settings, answer, to_head),
        304 => true,
        _ => false,
    };
    if !is_candidate {
        return Verdict::AsItIs;
    }
    let mut space = FieldSpace::new();
    let Ok(Some(request)) = RequestHead::parse(request, &mut space) else { return Verdict::AsItIs };
    if answer.status == 304 {
        return match knows_compressed(&request, answer) {
            true => Verdict::StillGood,
            false => Verdict::AsItIs,
        };
    }
    let accepted = AcceptEncoding::parse(values(request.fields, "accept-encoding"));
    match accepted.choose(settings.encodings.iter().copied()) {
        // Without chunks the end of such a body could not be told from its breaking off.
        Some(coding) if request.version == Version::Http11 => Verdict::Compressed(coding),
        _ => Verdict::Varies,
    }
}

fn is_compressible(
    settings: &CompressionSettings,
    answer: &ResponseHead<'_, '_>,
    to_head: bool,
) -> bool {
    let is_covered = |value| settings.types.iter().any(|range| range.covers(value));
    // Events are to arrive one by one, and their streams to end when somebody wants them to.
    answer.content_type.is_some_and(|value| is_covered(value) && !is_event_stream(value))
        && length(answer, to_head).is_none_or(|length| length >= settings.min_bytes)
        && !answer.fields.iter().any(forbids)
}

/// How long the body is, or would be; `None` where nobody knows.
fn length(answer: &ResponseHead<'_, '_>, to_head: bool) -> Option<u64> {
    match answer.body {
        // What is said is about the answer to GET.
        BodyLength::Sized(_) if to_head => {
            let length = |field: &&Field<'_>| FieldName::of(field.name) == FieldName::ContentLength;
            let value = answer.fields.iter().find(length)?.value;
            std::str::from_utf8(value).ok()?.parse().ok()
        }
        BodyLength::Sized(length) => Some(length),
        BodyLength::Chunked | BodyLength::UntilClose => None,
    }
}

/// Whether a field is about the very bytes of the body, or says that these are to stay.
fn forbids(field: &Field<'_>) -> bool {
    let is = |name: &str| field.name.eq_ignore_ascii_case(name);
    is("content-encoding")
        || is("content-range")
        || FieldName::is_digest(field.name)
        || is("cache-control") && forbids_transformation(field.value)
}

/// RFC 9111 section 5.2.2.6.
pub(crate) fn forbids_transformation(directives: &[u8]) -> bool {
    tokens(directives).any(|directive| directive.eq_ignore_ascii_case(b"no-transform"))
}

/// Whether the client asked about the weak form of a strong tag, as answers that were compressed have.
fn knows_compressed(request: &RequestHead<'_, '_>, answer: &ResponseHead<'_, '_>) -> bool {
    let Some(tag) = values(answer.fields, "etag").next().filter(|tag| tag.starts_with(b"\""))
    else {
        return false;
    };
    // There is no quotation mark within a tag, so that what is found is one of the list.
    let weak = [b"W/", tag].concat();
    values(request.fields, "if-none-match").any(|list| memchr::memmem::find(list, &weak).is_some())
}

/// The values of all fields of a name.
fn values<'b>(fields: &[Field<'b>], name: &str) -> impl Iterator<Item = &'b [u8]> {
    fields
        .iter()
        .filter(move |field| field.name.eq_ignore_ascii_case(name))
        .map(|field| field.value)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const BR: Verdict = Verdict::Compressed(Coding::Brotli);
    const ZSTD: Verdict = Verdict::Compressed(Coding::Zstd);
    const GZIP: Verdict = Verdict::Compressed(Coding::Gzip);

    fn settings() -> CompressionSettings {
        let encodings = vec![Coding::Zstd, Coding::Brotli, Coding::Gzip];
        CompressionSettings { encodings, ..CompressionSettings::default() }
    }

    fn judged(answer: &str, request: &str, to_head: bool) -> Verdict {
        let mut space = FieldSpace::new();
        let answer = ResponseHead::parse(answer.as_bytes(), to_head, &mut space).unwrap().unwrap();
        judge(&settings(), &answer, request.as_bytes(), to_head)
    }

    /// For a client that sends these fields.
    fn for_client(fields: &str) -> Verdict {
        let answer = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n";
        judged(answer, &format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"), false)
    }

    /// An answer with that status and these fields, for a client that takes all codings.
    fn of_answer(status: &str, fields: &str) -> Verdict {
        let request = "GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: zstd\r\n\r\n";
        judged(&format!("HTTP/1.1 {status} X\r\n{fields}\r\n"), request, false)
    }

    #[rstest]
    #[case("Accept-Encoding: gzip, deflate, br, zstd\r\n", ZSTD)]
    #[case("Accept-Encoding: gzip, br\r\n", BR)]
    #[case("accept-encoding: gzip\r\nAccept-Encoding: br;q=0.1\r\n", GZIP)]
    #[case("Accept-Encoding: gzip;q=1, zstd;q=0.9\r\n", GZIP)]
    #[case("Accept-Encoding: zstd;q=0, *\r\n", BR)]
    #[case("Accept-Encoding: *\r\n", ZSTD)]
    #[case("Accept-Encoding: identity\r\n", Verdict::Varies)]
    #[case("Accept-Encoding: identity, zstd;q=0.5\r\n", Verdict::Varies)]
    #[case("Accept-Encoding: *;q=0\r\n", Verdict::Varies)]
    #[case("Accept-Encoding: deflate\r\n", Verdict::Varies)]
    #[case("Accept-Encoding:\r\n", Verdict::Varies)]
    #[case("", Verdict::Varies)]
    fn clients_get_what_they_like_best(#[case] fields: &str, #[case] verdict: Verdict) {
        assert_eq!(for_client(fields), verdict);
    }

    #[test]
    fn clients_without_chunks_get_it_as_it_is() {
        let answer = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n";
        let request = "GET / HTTP/1.0\r\nAccept-Encoding: gzip\r\n\r\n";
        assert_eq!(judged(answer, request, false), Verdict::Varies);
    }

    #[rstest]
    #[case::unsized_body("", ZSTD)]
    #[case::large("Content-Length: 1024\r\n", ZSTD)]
    #[case::small("Content-Length: 1023\r\n", Verdict::AsItIs)]
    #[case::cached("Cache-Control: public, max-age=1\r\n", ZSTD)]
    #[case::no_transform(
        "Cache-Control: public\r\ncache-control: max-age=1, No-Transform\r\n",
        Verdict::AsItIs
    )]
    #[case::coded("Content-Encoding: gzip\r\n", Verdict::AsItIs)]
    #[case::said_not_to_be("Content-Encoding: identity\r\n", Verdict::AsItIs)]
    #[case::part("Content-Range: bytes 0-1/2\r\n", Verdict::AsItIs)]
    #[case::content_digest("Content-Digest: sha-256=:x:\r\n", Verdict::AsItIs)]
    #[case::repr_digest("Repr-Digest: sha-256=:x:\r\n", Verdict::AsItIs)]
    #[case::digest("Digest: sha-256=x\r\n", Verdict::AsItIs)]
    #[case::md5("Content-MD5: x\r\n", Verdict::AsItIs)]
    fn fields_decide(#[case] fields: &str, #[case] verdict: Verdict) {
        assert_eq!(of_answer("200", &format!("Content-Type: text/plain\r\n{fields}")), verdict);
    }

    #[rstest]
    #[case("Content-Type: application/json; charset=utf-8\r\n", ZSTD)]
    #[case("Content-Type: IMAGE/SVG+XML\r\n", ZSTD)]
    #[case("Content-Type: image/png\r\n", Verdict::AsItIs)]
    #[case("Content-Type: text/event-stream\r\n", Verdict::AsItIs)]
    #[case("Content-Type: text/event-stream; charset=utf-8\r\n", Verdict::AsItIs)]
    #[case("", Verdict::AsItIs)]
    fn types_decide(#[case] fields: &str, #[case] verdict: Verdict) {
        assert_eq!(of_answer("200", fields), verdict);
    }

    #[rstest]
    #[case("201")]
    #[case("204")]
    #[case("206")]
    #[case("404")]
    #[case("500")]
    fn other_statuses_pass(#[case] status: &str) {
        assert_eq!(of_answer(status, "Content-Type: text/plain\r\n"), Verdict::AsItIs);
    }

    #[rstest]
    #[case("Content-Length: 5000\r\n", ZSTD)]
    #[case("Content-Length: 5\r\n", Verdict::AsItIs)]
    #[case("", ZSTD)]
    fn an_answer_to_head_is_judged_like_that_to_get(
        #[case] fields: &str,
        #[case] verdict: Verdict,
    ) {
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n{fields}\r\n");
        let request = "HEAD / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: zstd\r\n\r\n";
        assert_eq!(judged(&answer, request, true), verdict);
    }

    #[rstest]
    #[case("\"a\"", "W/\"a\"", Verdict::StillGood)]
    #[case("\"a\"", "\"b\", W/\"a\"", Verdict::StillGood)]
    #[case("\"a\"", "\"a\"", Verdict::AsItIs)]
    #[case("\"a\"", "W/\"ab\"", Verdict::AsItIs)]
    #[case("W/\"a\"", "W/\"a\"", Verdict::AsItIs)]
    fn what_was_compressed_is_still_good(
        #[case] tag: &str,
        #[case] asked: &str,
        #[case] verdict: Verdict,
    ) {
        let answer = format!("HTTP/1.1 304 X\r\nETag: {tag}\r\n\r\n");
        let request = format!("GET / HTTP/1.1\r\nHost: a\r\nIf-None-Match: {asked}\r\n\r\n");
        assert_eq!(judged(&answer, &request, false), verdict);
    }
}
