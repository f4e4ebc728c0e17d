//! From a request's path to a worker or a public file, through the whole data plane.

use percent_encoding::percent_decode_str;

use super::site::{Reply, STATIC, WORKERS, public_file, site};

/// The target of a request line, as a client sends it.
///
/// It is answered. Where a worker answers, it is the one with the longest route that covers the
/// path by whole segments, and it sees what is below its route. Where a file does, it is the one
/// the path names, and public. Ordinary paths are not refused.
pub fn routing(data: &[u8]) {
    // More than this is another limit's matter; line ends would make it several requests.
    if data.len() > 4096 || data.iter().any(|byte| b"\r\n".contains(byte)) {
        return;
    }
    let reply = site().ask(data);
    let Ok(target) = str::from_utf8(data) else {
        assert!(matches!(reply, Reply::Refused), "{data:?} is no path, and was let through");
        return;
    };
    match &reply {
        Reply::Worker { name, seen } => check_routed(path_of(target), name, seen),
        Reply::File(name) => check_file(path_of(target), name),
        Reply::Refused => {}
    }
    if is_ordinary(target) {
        let found = matches!(reply, Reply::Worker { .. });
        assert!(found || is_static(target), "{target:?} was refused");
    }
}

/// The path of `/path`, or of `http://host/path`, without query and fragment.
fn path_of(target: &str) -> &str {
    let target = target.split(['?', '#']).next().unwrap_or_default();
    match target.split_once("://") {
        Some((_, rest)) if !target.starts_with('/') => rest.find('/').map_or("/", |at| &rest[at..]),
        _ => target,
    }
}

fn check_routed(path: &str, name: &str, seen: &str) {
    let decoded = decode(path);
    assert!(!is_static(&decoded), "{path:?} is a file's, and {name} got it");
    let segments: Vec<_> = decoded.split('/').skip(1).collect();
    let way_up = segments.iter().any(|segment| [".", ".."].contains(segment));
    assert!(!way_up, "{path:?} was let through");
    let covers = |route: &str| {
        let wanted: Vec<_> = route.split('/').skip(1).filter(|part| !part.is_empty()).collect();
        segments.starts_with(&wanted.iter().map(|part| &**part).collect::<Vec<_>>())
    };
    let (expected, route, strips) = WORKERS
        .into_iter()
        .filter(|(_, route, _)| covers(route))
        .max_by_key(|(_, route, _)| route.len())
        .expect("`/` covers every path");
    assert_eq!(name, expected, "{path:?} is of {route}");

    let seen = seen.split('?').next().unwrap_or_default();
    assert!(seen.starts_with('/'), "{path:?} arrives as {seen:?}");
    if !strips || route == "/" {
        assert_eq!(seen, path, "it arrives in other words");
        return;
    }
    let below = &decoded[route.len()..];
    let below = if below.is_empty() { "/" } else { below };
    assert_eq!(decode(seen), below, "{path:?} without {route}");
    assert!(path.ends_with(seen) || seen == "/", "{seen:?} is not how the client wrote it");
}

fn check_file(path: &str, name: &str) {
    let decoded = decode(path);
    let below = decoded.strip_prefix(STATIC).and_then(|rest| rest.split_once('/'));
    let below = below.and_then(|(_, rest)| rest.split_once('/')).map(|(_, file)| file);
    let file = below.map(|file| match file {
        folder if folder.is_empty() || folder.ends_with('/') => format!("{folder}index.html"),
        file => file.to_owned(),
    });
    assert_eq!(file.as_deref(), Some(name), "{path:?} got another file");
    assert!(public_file(name), "{name:?} is not public");
}

/// Whether nobody could have a reason to refuse it.
fn is_ordinary(target: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_~/".contains(&byte);
    target.starts_with('/') && target.bytes().all(plain)
}

fn is_static(path: &str) -> bool {
    path.strip_prefix(STATIC).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn decode(path: &str) -> String {
    percent_decode_str(path).decode_utf8().expect("what was let through is UTF-8").into_owned()
}
