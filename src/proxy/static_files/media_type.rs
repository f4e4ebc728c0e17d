//! `Content-Type` by the file's name.

use std::borrow::Cow;

const UNKNOWN: &str = "application/octet-stream";

/// The media type of a file, with `charset=utf-8` where it is text.
///
/// Sent together with `X-Content-Type-Options: nosniff`, so an unknown ending is a download
/// rather than a guess of the browser's.
pub(super) fn media_type(file_name: &str) -> Cow<'static, str> {
    // mime_guess does not know source maps; they are JSON (ECMA-426).
    let essence = match file_name.rsplit_once('.') {
        Some((_, "map")) => "application/json",
        Some((_, ending)) => mime_guess::from_ext(ending).first_raw().unwrap_or(UNKNOWN),
        None => UNKNOWN,
    };
    if is_text(essence) { format!("{essence}; charset=utf-8").into() } else { essence.into() }
}

/// Whether the bytes are text, and so have a character set worth stating.
fn is_text(essence: &str) -> bool {
    essence.starts_with("text/")
        || essence.ends_with("+json")
        || essence.ends_with("+xml")
        || matches!(essence, "application/json" | "application/javascript" | "application/xml")
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("a.css", "text/css; charset=utf-8")]
    #[case("a.min.js", "text/javascript; charset=utf-8")]
    #[case("a.mjs", "application/javascript; charset=utf-8")]
    #[case("A.HTML", "text/html; charset=utf-8")]
    #[case("a.json", "application/json; charset=utf-8")]
    #[case("a.js.map", "application/json; charset=utf-8")]
    #[case("a.svg", "image/svg+xml; charset=utf-8")]
    #[case("a.xml", "text/xml; charset=utf-8")]
    #[case("a.webmanifest", "application/manifest+json; charset=utf-8")]
    #[case("a.png", "image/png")]
    #[case("a.woff2", "font/woff2")]
    #[case("a.wasm", "application/wasm")]
    #[case("a.tar.gz", "application/gzip")]
    #[case("a.nobodyknows", "application/octet-stream")]
    #[case("LICENSE", "application/octet-stream")]
    #[case("css", "application/octet-stream")]
    fn types(#[case] name: &str, #[case] expected: &str) {
        assert_eq!(media_type(name), expected);
    }
}
