//! Conditional requests (RFC 9110 section 13).

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::etag::{Comparison, lists};
use crate::proxy::accept_encoding::visible;

/// What tells one state of a representation from another. Without a tag the file was changing
/// while we looked, and nothing may be concluded from it.
#[derive(Debug, Clone, Default)]
pub(super) struct Validators {
    /// The strong entity tag, quotes included.
    pub(super) etag: Option<String>,
    /// When the file was changed, in whole seconds.
    pub(super) last_modified: Option<SystemTime>,
}

/// What the preconditions of a request come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Answer it.
    Proceed,
    /// The client has it: 304.
    NotModified,
    /// The client wants another state: 412.
    PreconditionFailed,
}

/// Evaluates the preconditions of a GET or HEAD in the order of section 13.2.2.
pub(super) fn evaluate(headers: &HeaderMap, current: &Validators) -> Verdict {
    let matches = entity_tags(headers, &header::IF_MATCH, current, Comparison::Strong);
    let unmodified =
        || Some(current.last_modified? <= date(headers, &header::IF_UNMODIFIED_SINCE)?);
    if !matches.or_else(unmodified).unwrap_or(true) {
        return Verdict::PreconditionFailed;
    }
    let known = entity_tags(headers, &header::IF_NONE_MATCH, current, Comparison::Weak);
    // The very date we sent, not merely a later one: a rollback brings older files back, and who
    // has the newer ones must not be told that nothing changed.
    let seen = || Some(current.last_modified? == date(headers, &header::IF_MODIFIED_SINCE)?);
    if known.or_else(seen).unwrap_or(false) { Verdict::NotModified } else { Verdict::Proceed }
}

/// Whether a `Range` applies: there is no `If-Range`, or it names the current state for certain
/// (section 13.1.5). At `now`; `varies` says that the file is also sent in other codings.
pub(super) fn range_applies(
    headers: &HeaderMap,
    current: &Validators,
    varies: bool,
    now: SystemTime,
) -> bool {
    let mut fields = headers.get_all(header::IF_RANGE).iter();
    let Some(field) = fields.next() else { return true };
    let Ok(value) = field.to_str() else { return false };
    if value.contains('"') {
        return current.etag.as_deref() == Some(value.trim()) && fields.next().is_none();
    }
    let Some(modified) = current.last_modified else { return false };
    // A date is a strong validator only when the file cannot have changed again within that
    // second (section 8.8.2.2), and when it stands for one sequence of bytes only.
    let settled = now.duration_since(modified).is_ok_and(|age| age > Duration::from_secs(1));
    settled && !varies && date(headers, &header::IF_RANGE) == Some(modified)
}

/// Whether the fields called `name` list the current tag, or `*`; `None` when there are none.
fn entity_tags(
    headers: &HeaderMap,
    name: &HeaderName,
    current: &Validators,
    comparison: Comparison,
) -> Option<bool> {
    let fields = headers.get_all(name).iter().map(HeaderValue::as_bytes);
    headers.contains_key(name).then(|| names_tag(fields, current.etag.as_deref(), comparison))
}

/// Whether the values of `If-Match` or `If-None-Match` list the `current` tag, or `*`.
pub(super) fn names_tag<'a>(
    fields: impl IntoIterator<Item = &'a [u8]>,
    current: Option<&str>,
    comparison: Comparison,
) -> bool {
    fields.into_iter().filter_map(visible).any(|field| {
        field.trim() == "*" || current.is_some_and(|own| lists(field, own, comparison))
    })
}

/// The date in the field called `name`; `None`, so that the field is ignored, where there is not
/// exactly one or it is not an HTTP date.
fn date(headers: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    let mut fields = headers.get_all(name).iter();
    let (Some(field), None) = (fields.next(), fields.next()) else { return None };
    httpdate::parse_http_date(field.to_str().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const AT: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const AFTER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

    fn current() -> Validators {
        Validators {
            etag: Some("\"now\"".to_owned()),
            last_modified: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777)),
        }
    }

    fn request(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        fields
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    #[rstest]
    #[case(&[], Verdict::Proceed)]
    #[case(&[("if-none-match", "\"now\"")], Verdict::NotModified)]
    #[case(&[("if-none-match", "W/\"now\"")], Verdict::NotModified)]
    #[case(&[("if-none-match", "\"old\", \"now\"")], Verdict::NotModified)]
    #[case(&[("if-none-match", "*")], Verdict::NotModified)]
    #[case(&[("if-none-match", "\"old\"")], Verdict::Proceed)]
    #[case(&[("if-modified-since", AT)], Verdict::NotModified)]
    #[case(&[("if-modified-since", "Sunday, 06-Nov-94 08:49:37 GMT")], Verdict::NotModified)]
    #[case(&[("if-modified-since", BEFORE)], Verdict::Proceed)]
    #[case(&[("if-modified-since", AFTER)], Verdict::Proceed)]
    #[case(&[("if-modified-since", "yesterday")], Verdict::Proceed)]
    // The tag decides over the date, either way.
    #[case(&[("if-none-match", "\"old\""), ("if-modified-since", AT)], Verdict::Proceed)]
    #[case(&[("if-none-match", "\"now\""), ("if-modified-since", BEFORE)], Verdict::NotModified)]
    #[case(&[("if-match", "\"now\"")], Verdict::Proceed)]
    #[case(&[("if-match", "*")], Verdict::Proceed)]
    #[case(&[("if-match", "W/\"now\"")], Verdict::PreconditionFailed)]
    #[case(&[("if-match", "\"old\"")], Verdict::PreconditionFailed)]
    #[case(&[("if-match", "now")], Verdict::PreconditionFailed)]
    #[case(&[("if-unmodified-since", BEFORE)], Verdict::PreconditionFailed)]
    #[case(&[("if-unmodified-since", AT)], Verdict::Proceed)]
    #[case(&[("if-unmodified-since", AFTER)], Verdict::Proceed)]
    #[case(&[("if-unmodified-since", "yesterday")], Verdict::Proceed)]
    #[case(&[("if-match", "\"now\""), ("if-unmodified-since", BEFORE)], Verdict::Proceed)]
    // 412 comes before 304.
    #[case(&[("if-match", "\"old\""), ("if-none-match", "\"now\"")], Verdict::PreconditionFailed)]
    #[case(&[("if-match", "\"now\""), ("if-none-match", "\"now\"")], Verdict::NotModified)]
    fn preconditions(#[case] fields: &[(&'static str, &'static str)], #[case] verdict: Verdict) {
        assert_eq!(evaluate(&request(fields), &current()), verdict);
    }

    #[test]
    fn several_fields_are_one_list() {
        let mut headers = request(&[("if-none-match", "\"old\"")]);
        headers.append(header::IF_NONE_MATCH, "\"now\"".parse().unwrap());
        assert_eq!(evaluate(&headers, &current()), Verdict::NotModified);
    }

    #[rstest]
    #[case(&[("if-none-match", "\"now\"")], Verdict::Proceed)]
    #[case(&[("if-modified-since", AT)], Verdict::Proceed)]
    #[case(&[("if-match", "\"now\"")], Verdict::PreconditionFailed)]
    fn a_changing_file_matches_nothing(
        #[case] fields: &[(&'static str, &'static str)],
        #[case] verdict: Verdict,
    ) {
        assert_eq!(evaluate(&request(fields), &Validators::default()), verdict);
    }

    #[rstest]
    #[case(&[], true)]
    #[case(&[("if-range", "\"now\"")], true)]
    #[case(&[("if-range", "W/\"now\"")], false)]
    #[case(&[("if-range", "\"old\"")], false)]
    #[case(&[("if-range", "\"old\", \"now\"")], false)]
    #[case(&[("if-range", AT)], true)]
    #[case(&[("if-range", AFTER)], false)]
    #[case(&[("if-range", BEFORE)], false)]
    #[case(&[("if-range", "now")], false)]
    fn ranges_apply(#[case] fields: &[(&'static str, &'static str)], #[case] applies: bool) {
        assert_eq!(range_applies(&request(fields), &current(), false, SystemTime::now()), applies);
    }

    #[test]
    fn a_date_must_be_a_strong_validator() {
        let headers = request(&[("if-range", AT)]);
        let modified = current().last_modified.unwrap();
        let within_the_second = modified + Duration::from_millis(900);
        assert!(!range_applies(&headers, &current(), false, within_the_second));
        assert!(!range_applies(&headers, &current(), true, SystemTime::now()));
    }
}
