//! `Cache-Control`: how long a client may keep a public file without asking.

use std::time::Duration;

/// The value for a file.
///
/// What may change under its name at any moment (`immutable_tree` is false: development) is
/// asked for every time. What carries a hash of its content in its name never changes under that
/// name, and is kept for a year (RFC 8246). The rest is kept for `max_age`, whole seconds.
pub(super) fn cache_control(file_name: &str, immutable_tree: bool, max_age: Duration) -> String {
    if !immutable_tree {
        "no-cache".to_owned()
    } else if has_content_hash(file_name) {
        "public, max-age=31536000, immutable".to_owned()
    } else {
        format!("public, max-age={}", max_age.as_secs())
    }
}

/// Whether bundlers would have written this name for one content only: `app.3f9a2b1c.js`,
/// `app-3f9a2b1c.min.css`, `app.3f9a2b1c.js.map`.
///
/// A name that is wrongly taken for one stays stale for a year, one that is missed is merely
/// asked for more often. So a hash is at least eight lower-case hexadecimal digits after a `.`
/// or `-` and before an ending, among them a letter (`report-20261231.pdf` is a date) and a
/// figure (`deadbeef` is a word), and not the end of a UUID. Hashes in base 64, as some bundlers
/// write them, look like any other word and are not recognised.
fn has_content_hash(file_name: &str) -> bool {
    let Some((stem, _ending)) = file_name.rsplit_once('.') else { return false };
    stem.split('.').enumerate().any(|(position, part)| match part.rsplit_once('-') {
        Some((before, last)) => is_hash(last) && !is_uuid_tail(before, last),
        // The first part is the file's own name.
        None => position > 0 && is_hash(part),
    })
}

fn is_hash(token: &str) -> bool {
    token.len() >= 8
        && token.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        && token.bytes().any(|b| b.is_ascii_digit())
        && token.bytes().any(|b| b.is_ascii_lowercase())
}

/// UUIDs end in four digits, a dash and twelve; they name a thing, not what it contains.
fn is_uuid_tail(before: &str, last: &str) -> bool {
    last.len() == 12 && before.rsplit('-').next().is_some_and(|token| token.len() == 4)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("app.3f9a2b1c.js", true)]
    #[case("app-3f9a2b1c.js", true)]
    #[case("app-3f9a2b1c.min.js", true)]
    #[case("app.3f9a2b1c.js.map", true)]
    #[case("vendor-ui.0123456789abcdef0123.css", true)]
    #[case("app.js", false)]
    #[case("app.3f9a2b1.js", false)]
    #[case("app.3f9a2b1g.js", false)]
    #[case("app.3F9A2B1C.js", false)]
    #[case("app3f9a2b1c.js", false)]
    #[case("app_3f9a2b1c.js", false)]
    #[case("3f9a2b1c.js", false)]
    #[case("app.3f9a2b1c", false)]
    #[case("report-20261231.pdf", false)]
    #[case("so-deadbeef.txt", false)]
    #[case("photo-123e4567-e89b-12d3-a456-42661417400f.jpg", false)]
    #[case("3f9a2b1c-thumbnail.jpg", false)]
    fn content_hashes(#[case] name: &str, #[case] hashed: bool) {
        assert_eq!(has_content_hash(name), hashed, "{name}");
    }

    #[rstest]
    #[case("app.css", true, "public, max-age=3600")]
    #[case("app.3f9a2b1c.css", true, "public, max-age=31536000, immutable")]
    #[case("app.3f9a2b1c.css", false, "no-cache")]
    fn values(#[case] name: &str, #[case] immutable_tree: bool, #[case] expected: &str) {
        assert_eq!(cache_control(name, immutable_tree, Duration::from_secs(3600)), expected);
    }
}
