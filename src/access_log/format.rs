//! Lines of the access log.

use std::borrow::Cow;
use std::io::Write as _;

use jiff::Timestamp;
use serde::Serialize;

use super::batch::Written;
use crate::config::settings::AccessLogFormat;

/// Puts a line, with its end, at the end of `out`.
pub(super) fn push(out: &mut Vec<u8>, format: AccessLogFormat, written: &Written<'_>) {
    match format {
        AccessLogFormat::Off => {}
        AccessLogFormat::Json => push_json(out, written),
        AccessLogFormat::Combined => push_combined(out, written),
    }
}

/// An object of the JSON format. What is not known is null.
#[derive(Serialize)]
struct Line<'a> {
    time: Timestamp,
    request: Cow<'a, str>,
    client: Cow<'a, str>,
    method: Option<Cow<'a, str>>,
    path: Option<Cow<'a, str>>,
    protocol: &'static str,
    host: Option<Cow<'a, str>>,
    status: u16,
    bytes: u64,
    duration_seconds: f64,
    worker: Option<&'a str>,
    generation: Option<u64>,
    upstream_seconds: Option<f64>,
    aborted: bool,
    referer: Option<Cow<'a, str>>,
    user_agent: Option<Cow<'a, str>>,
}

fn push_json(out: &mut Vec<u8>, written: &Written<'_>) {
    let facts = written.facts;
    let text = |bytes| String::from_utf8_lossy(bytes);
    let line = Line {
        time: began_at(written),
        request: text(written.id),
        client: text(written.client),
        method: non_empty(written.method),
        path: non_empty(written.target),
        protocol: facts.protocol,
        host: non_empty(written.host),
        status: facts.status,
        bytes: facts.sent,
        duration_seconds: facts.took.as_secs_f64(),
        worker: facts.worker.as_ref().map(|(name, _)| name.as_str()),
        generation: facts.worker.as_ref().map(|(_, generation)| generation.0),
        upstream_seconds: facts.upstream.map(|time| time.as_secs_f64()),
        aborted: facts.aborted,
        referer: non_empty(written.referer),
        user_agent: non_empty(written.user_agent),
    };
    // Writing numbers and texts to memory does not fail.
    serde_json::to_writer(&mut *out, &line).ok();
    out.push(b'\n');
}

/// Apache's `combined`, then the request's name, worker and generation, and both times in seconds.
fn push_combined(out: &mut Vec<u8>, written: &Written<'_>) {
    let facts = written.facts;
    let time = began_at(written).strftime("%d/%b/%Y:%H:%M:%S +0000");
    push_bare(out, written.client);
    // Writing to memory does not fail, here and below.
    write!(out, " - - [{time}] \"").ok();
    if written.method.is_empty() {
        out.push(b'-');
    } else {
        push_quoted(out, written.method);
        out.push(b' ');
        push_quoted(out, written.target);
        write!(out, " {}", facts.protocol).ok();
    }
    write!(out, "\" {} {} \"", facts.status, facts.sent).ok();
    push_quoted(out, or_dash(written.referer));
    out.extend_from_slice(b"\" \"");
    push_quoted(out, or_dash(written.user_agent));
    out.extend_from_slice(b"\" ");
    push_bare(out, or_dash(written.id));
    match &facts.worker {
        Some((worker, generation)) => write!(out, " {worker} {}", generation.0).ok(),
        None => write!(out, " - -").ok(),
    };
    write!(out, " {:.6}", facts.took.as_secs_f64()).ok();
    match facts.upstream {
        Some(time) => writeln!(out, " {:.6}", time.as_secs_f64()).ok(),
        None => writeln!(out, " -").ok(),
    };
}

fn began_at(written: &Written<'_>) -> Timestamp {
    // A clock that is set before 1970 or beyond year 9999 has no other time to offer.
    let at = Timestamp::try_from(written.facts.began_at).unwrap_or(Timestamp::UNIX_EPOCH);
    Timestamp::from_microsecond(at.as_microsecond()).unwrap_or(at)
}

fn non_empty(bytes: &[u8]) -> Option<Cow<'_, str>> {
    (!bytes.is_empty()).then(|| String::from_utf8_lossy(bytes))
}

fn or_dash(bytes: &[u8]) -> &[u8] {
    if bytes.is_empty() { b"-" } else { bytes }
}

/// Within quotation marks: nothing ends them, and a line stays one.
fn push_quoted(out: &mut Vec<u8>, text: &[u8]) {
    push_escaped(out, text, |byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\'));
}

/// Without quotation marks: nor is there a space.
fn push_bare(out: &mut Vec<u8>, text: &[u8]) {
    push_escaped(out, text, |byte| matches!(byte, b'!'..=b'~') && !matches!(byte, b'"' | b'\\'));
}

fn push_escaped(out: &mut Vec<u8>, text: &[u8], is_plain: impl Fn(u8) -> bool) {
    for byte in text {
        if is_plain(*byte) {
            out.push(*byte);
        } else {
            write!(out, "\\x{byte:02x}").ok();
        }
    }
}
