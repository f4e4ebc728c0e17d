//! docs/api/openapi.yaml says what the control socket answers: each of its operations is asked for, as it
//! should be and otherwise, methods that it does not have are refused, and docs/operations.md has the same
//! paths.

mod fake_control;
// Shared with tests that use all of it.
#[allow(dead_code, unreachable_pub)]
#[path = "support/published.rs"]
mod published;

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fake_control::{Fake, NEW, Server};
use serde_json::Value;
use tqserver::admin::api::SCHEMA;
use tqserver::admin::retention::Retention;
use tqserver::config::settings::RetentionSettings;

const METHODS: [&str; 7] = ["get", "head", "post", "put", "delete", "patch", "options"];

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

fn description() -> Value {
    serde_yaml::from_str(&read("docs/api/openapi.yaml")).unwrap()
}

/// What a reference within the description leads to.
fn resolve<'a>(description: &'a Value, value: &'a Value) -> &'a Value {
    let within = value["$ref"].as_str().and_then(|it| it.strip_prefix('#'));
    within.map_or(value, |pointer| description.pointer(pointer).unwrap())
}

/// The methods of a path.
fn methods(path: &Value) -> impl Iterator<Item = &'static str> + '_ {
    METHODS.into_iter().filter(|method| path.get(method).is_some())
}

/// An answer's status, fields and body. Of a stream only what comes first.
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn field(&self, name: &str) -> Option<&str> {
        let fields = self.head.lines().filter_map(|line| line.split_once(": "));
        fields.into_iter().find(|(it, _)| it.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

fn ask(server: &Server, method: &str, path: &str, fields: &str) -> Answer {
    let mut stream = UnixStream::connect(server.socket()).unwrap();
    // Far beyond what an answer takes: a test that fails should say so, and not hang.
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let method = method.to_uppercase();
    let head = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n{fields}\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let (mut answer, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        let n = stream.read(&mut piece).unwrap();
        answer.extend_from_slice(&piece[..n]);
        let text = String::from_utf8_lossy(&answer);
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            assert!(n > 0, "{text}");
            continue;
        };
        if n == 0 || head.contains("text/event-stream") {
            let status = head.split(' ').nth(1).unwrap().parse().unwrap();
            return Answer { status, head: head.to_owned(), body: body.to_owned() };
        }
    }
}

/// Compares an answer with what the operation at `path` (as it is described) may answer.
#[track_caller]
fn assert_described(description: &Value, path: &str, method: &str, answer: &Answer) {
    let responses = &description["paths"][path][method]["responses"];
    let described = &responses[answer.status.to_string()];
    let described = if described.is_null() { &responses["default"] } else { described };
    let response = resolve(description, described);
    let what = format!("{method} {path}: {}: {}", answer.status, answer.body);
    let Some(content) = response["content"].as_object() else {
        assert!(response["description"].is_string() && answer.body.is_empty(), "{what}");
        return;
    };
    let (media_type, schema) = content.iter().next().unwrap();
    assert!(answer.field("content-type").unwrap().starts_with(media_type), "{what}");
    let file = schema["schema"]["$ref"].as_str().and_then(|it| it.strip_prefix("../schema/"));
    match file.and_then(|it| it.strip_suffix(".schema.json")) {
        Some(name) => drop(published::document(name, answer.body.as_bytes())),
        None => assert_eq!(schema["schema"]["type"], "string", "{what}"),
    }
}

/// A daemon that knows everything it is asked.
fn knowing() -> Arc<Fake> {
    let fake = Fake::new();
    *fake.retention.lock().unwrap() = Ok(Retention {
        schema: SCHEMA,
        deploy_dir: "/var/lib/tqserver/deploy".into(),
        rules: RetentionSettings { keep: 5, days: 7 },
        needed: vec![],
    });
    fake
}

#[test]
fn what_is_asked_for_as_it_should_be_is_answered_as_described() {
    let (description, server) = (description(), Server::start(&knowing()));
    let soak = format!("/v1/deployments/{NEW}/soak?ms=1000");
    let asked = [
        ("/v1/status", "get", "/v1/status", 200),
        ("/v1/status", "head", "/v1/status", 200),
        ("/metrics", "get", "/metrics", 200),
        ("/metrics", "head", "/metrics", 200),
        ("/v1/retention", "get", "/v1/retention", 200),
        ("/v1/retention", "head", "/v1/retention", 200),
        ("/v1/deployments", "get", "/v1/deployments", 200),
        ("/v1/deployments", "head", "/v1/deployments", 200),
        ("/v1/reload", "post", "/v1/reload", 200),
        ("/v1/reload", "post", "/v1/reload?wait=true", 200),
        ("/v1/reload", "post", "/v1/reload?wait=false", 202),
        ("/v1/deployments/{commit}/soak", "post", &soak, 200),
        ("/v1/workers/{name}/restart", "post", "/v1/workers/index/restart", 200),
        ("/v1/workers/{name}/drain", "post", "/v1/workers/index/drain", 200),
        ("/v1/canary/promote", "post", "/v1/canary/promote", 200),
        ("/v1/canary/abort", "post", "/v1/canary/abort", 200),
        ("/v1/events", "get", "/v1/events", 200),
        ("/v1/dev/rebuild", "post", "/v1/dev/rebuild", 202),
    ];
    for (path, method, target, status) in asked {
        let answer = ask(&server, method, target, "");
        assert_eq!(answer.status, status, "{method} {target}: {}", answer.body);
        assert!(description["paths"][path][method]["responses"][status.to_string()].is_object());
        assert_described(&description, path, method, &answer);
    }
    let all: BTreeSet<_> = asked.iter().map(|(path, method, ..)| (*path, *method)).collect();
    let paths = description["paths"].as_object().unwrap();
    let described =
        paths.iter().flat_map(|(path, it)| methods(it).map(move |m| (path.as_str(), m)));
    assert_eq!(all, described.collect());
}

#[test]
fn what_is_refused_is_refused_as_described() {
    let description = description();
    let fake = Fake::new();
    *fake.no_rebuild.lock().unwrap() = Some("nothing is built here".to_owned());
    let server = Server::start(&fake);
    let (soak, restart) = ("/v1/deployments/{commit}/soak", "/v1/workers/{name}/restart");
    let drain = "/v1/workers/{name}/drain";
    let of_new = |query: &str| format!("/v1/deployments/{NEW}/soak{query}");
    let last = "Last-Event-ID: yesterday\r\n";
    let refused = [
        ("/v1/retention", "get", "/v1/retention".to_owned(), "", 409),
        ("/v1/dev/rebuild", "post", "/v1/dev/rebuild".to_owned(), "", 409),
        ("/v1/reload", "post", "/v1/reload?wait=perhaps".to_owned(), "", 400),
        ("/v1/reload", "post", "/v1/reload?force=true".to_owned(), "", 400),
        (soak, "post", of_new(""), "", 400),
        (soak, "post", of_new("?ms=-1"), "", 400),
        (soak, "post", of_new("?ms=3600001"), "", 400),
        (soak, "post", "/v1/deployments/abc/soak?ms=1".to_owned(), "", 400),
        (restart, "post", "/v1/workers/In%20dex/restart".to_owned(), "", 400),
        (restart, "post", "/v1/workers/a/b/restart".to_owned(), "", 404),
        (drain, "post", "/v1/workers/nobody/drain".to_owned(), "", 409),
        (drain, "post", "/v1/workers/No/drain".to_owned(), "", 400),
        ("/v1/events", "get", "/v1/events".to_owned(), last, 400),
        ("/v1/status", "get", "/v1/statuses".to_owned(), "", 404),
        ("/v1/status", "get", "/".to_owned(), "", 404),
    ];
    for (path, method, target, fields, status) in refused {
        let answer = ask(&server, method, &target, fields);
        assert_eq!(answer.status, status, "{method} {target}: {}", answer.body);
        assert_described(&description, path, method, &answer);
    }
}

#[test]
fn other_methods_are_refused_with_those_that_there_are() {
    let (description, server) = (description(), Server::start(&knowing()));
    for (path, it) in description["paths"].as_object().unwrap() {
        let target = path.replace("{commit}", NEW).replace("{name}", "index");
        let there: Vec<_> = methods(it).map(str::to_uppercase).collect();
        for other in METHODS.into_iter().filter(|method| it.get(method).is_none()) {
            let answer = ask(&server, other, &format!("{target}?ms=1"), "");
            assert_eq!(answer.status, 405, "{other} {path}");
            assert_eq!(answer.field("allow"), Some(there.join(", ").as_str()), "{other} {path}");
        }
    }
}

#[test]
fn the_manual_has_the_same_paths() {
    let text = read("docs/operations.md");
    let requests = text.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` |"));
    let asked = requests.filter_map(|(request, _)| {
        let (method, target) =
            request.split_once(' ').filter(|(it, _)| ["GET", "POST"].contains(it))?;
        let path = target.split('?').next().unwrap_or(target);
        Some((path.to_owned(), method.to_lowercase()))
    });
    let description = description();
    let paths = description["paths"].as_object().unwrap();
    let described = paths.iter().flat_map(|(path, it)| {
        let methods = methods(it).filter(|method| *method != "head");
        methods.map(move |method| (path.clone(), method.to_owned()))
    });
    assert_eq!(asked.collect::<BTreeSet<_>>(), described.collect());
}
