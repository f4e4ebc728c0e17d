//! `Accept-Encoding` (RFC 9110 section 12.5.3): which coding of several a client gets.

use http::{HeaderMap, HeaderValue, header};

use crate::config::settings::Coding;

/// A quality in thousandths, so that they compare exactly.
type Quality = u16;

/// What a client takes, as far as it matters here. Of what is listed twice the first counts.
#[derive(Debug, Default)]
pub(crate) struct AcceptEncoding {
    /// In the order of [`Coding::ALL`].
    codings: [Option<Quality>; Coding::ALL.len()],
    identity: Option<Quality>,
    /// `*`.
    any: Option<Quality>,
}

impl AcceptEncoding {
    /// Reads every `Accept-Encoding` of a request; elements that do not parse are passed over.
    pub(crate) fn from_headers(headers: &HeaderMap) -> Self {
        Self::parse(headers.get_all(header::ACCEPT_ENCODING).iter().map(HeaderValue::as_bytes))
    }

    /// Reads the values of all `Accept-Encoding` fields, without allocating.
    pub(crate) fn parse<'a>(fields: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut accept = Self::default();
        let fields = fields.into_iter().filter_map(visible);
        for (token, quality) in fields.flat_map(|field| field.split(',')).filter_map(element) {
            if let Some(place) = accept.place(token) {
                place.get_or_insert(quality);
            }
        }
        accept
    }

    fn place(&mut self, token: &str) -> Option<&mut Option<Quality>> {
        // Section 8.4.1.3: recipients treat x-gzip as gzip.
        let token = if token.eq_ignore_ascii_case("x-gzip") { "gzip" } else { token };
        match token {
            "*" => Some(&mut self.any),
            _ if token.eq_ignore_ascii_case("identity") => Some(&mut self.identity),
            _ => {
                let known = |coding: &Coding| token.eq_ignore_ascii_case(coding.token());
                Coding::ALL.iter().position(known).map(|at| &mut self.codings[at])
            }
        }
    }

    /// The best of the `available` codings, given in our order of preference; `None` stands for
    /// the body as it is.
    ///
    /// That is also what a client gets that rules everything out: section 12.4.1 lets a server
    /// disregard the field, and an answer serves it better than a 406.
    pub(crate) fn choose(&self, available: impl IntoIterator<Item = Coding>) -> Option<Coding> {
        let identity = self.identity.or(self.any).unwrap_or(0);
        let mut best: Option<(Coding, Quality)> = None;
        for coding in available {
            let quality = self.codings[coding as usize].or(self.any).unwrap_or(0);
            if quality > best.map_or(0, |(_, most)| most) {
                best = Some((coding, quality));
            }
        }
        best.filter(|(_, quality)| *quality >= identity).map(|(coding, _)| coding)
    }
}

/// A field's value, if it is text as [`HeaderValue::to_str`] knows it.
pub(crate) fn visible(value: &[u8]) -> Option<&str> {
    let is_visible = value.iter().all(|b| matches!(b, b'\t' | b' '..=b'~'));
    std::str::from_utf8(value).ok().filter(|_| is_visible)
}

/// `gzip` or `gzip;q=0.5`.
fn element(text: &str) -> Option<(&str, Quality)> {
    let mut parts = text.split(';').map(str::trim);
    let token = parts.next().filter(|token| !token.is_empty())?;
    let quality = match parts.next() {
        None => 1000,
        Some(weight) => quality(weight.strip_prefix(['q', 'Q'])?.trim_start().strip_prefix('=')?)?,
    };
    Some((token, quality))
}

/// `0`, `1`, or with up to three decimals, at most 1 (section 12.4.2).
fn quality(text: &str) -> Option<Quality> {
    let (whole, decimals) = text.trim().split_once('.').unwrap_or((text.trim(), ""));
    if decimals.len() > 3 || !decimals.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let digits = decimals.bytes().map(|b| Quality::from(b - b'0'));
    let thousandths = digits.zip([100, 10, 1]).map(|(digit, weight)| digit * weight).sum();
    match whole {
        "0" => Some(thousandths),
        "1" if thousandths == 0 => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const BR: Option<Coding> = Some(Coding::Brotli);
    const ZSTD: Option<Coding> = Some(Coding::Zstd);
    const GZIP: Option<Coding> = Some(Coding::Gzip);

    #[rstest]
    #[case("gzip, deflate, br, zstd", BR)]
    #[case("gzip, zstd", ZSTD)]
    #[case("gzip", GZIP)]
    #[case("GZIP", GZIP)]
    #[case("x-gzip", GZIP)]
    #[case("*", BR)]
    #[case("br;q=0.5, gzip;q=0.9", GZIP)]
    #[case("br;q=0.999,gzip;q=1.0", GZIP)]
    #[case("br;q=0, *;q=0.1", ZSTD)]
    #[case("br ; q=0.5 , gzip ; q = 0.4", BR)]
    #[case("identity, gzip;q=0.5", None)]
    #[case("identity;q=0.5, gzip;q=0.5", GZIP)]
    #[case("identity;q=0, gzip;q=0.001", GZIP)]
    #[case("gzip;q=0.5, *;q=0", GZIP)]
    #[case("gzip;q=0", None)]
    #[case("*;q=0", None)]
    #[case("identity;q=0", None)]
    #[case("", None)]
    #[case("deflate", None)]
    #[case("gzip;q=2", None)]
    #[case("gzip;q=1.001", None)]
    #[case("gzip;q=0.1234", None)]
    #[case("gzip;level=9", None)]
    #[case(";q=1,,gzip", GZIP)]
    fn choices_where_all_are_there(#[case] field: &str, #[case] chosen: Option<Coding>) {
        let headers = HeaderMap::from_iter([(header::ACCEPT_ENCODING, field.parse().unwrap())]);
        assert_eq!(AcceptEncoding::from_headers(&headers).choose(Coding::ALL), chosen);
    }

    #[test]
    fn the_first_of_two_counts_also_over_several_fields() {
        let accept = AcceptEncoding::parse([&b"gzip;q=0"[..], b"zstd, x-gzip", b"br\xff"]);
        assert_eq!(accept.choose(Coding::ALL), ZSTD);
        assert_eq!(accept.choose([Coding::Gzip]), None);
    }

    #[test]
    fn only_what_is_there_is_chosen() {
        let headers =
            HeaderMap::from_iter([(header::ACCEPT_ENCODING, "br, gzip".parse().unwrap())]);
        let accept = AcceptEncoding::from_headers(&headers);
        assert_eq!(accept.choose([Coding::Gzip]), GZIP);
        assert_eq!(accept.choose([]), None);
        assert_eq!(AcceptEncoding::default().choose(Coding::ALL), None);
    }
}
