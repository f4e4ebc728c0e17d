use super::*;
use crate::admin::api::SCHEMA;

fn worker(name: &str) -> WorkerName {
    name.parse().unwrap()
}

/// One of each kind.
fn all() -> Vec<EventKind> {
    let paths = || vec!["workers/index/src/main.rs".to_owned()];
    vec![
        EventKind::Watching {
            workers: vec![ProjectWorker {
                name: "index".parse().unwrap(),
                route: "/".parse().unwrap(),
                language: "rust".to_owned(),
            }],
            directories: 41,
            polling: None,
        },
        EventKind::Changed { worker: Some(worker("index")), paths: paths(), more: 0 },
        EventKind::Unchanged { paths: paths() },
        EventKind::Building { workers: vec![worker("index")] },
        EventKind::Built { worker: worker("index"), seconds: 1.31, changed: true },
        EventKind::BuildFailed {
            workers: vec![worker("index")],
            seconds: 0.8,
            serving: Some(Generation(2)),
            place: Some("workers/index/src/main.rs:14:9".to_owned()),
            log: "error[E0308]: mismatched types\n".to_owned(),
        },
        EventKind::Serving {
            worker: worker("index"),
            route: "/".parse().unwrap(),
            language: "rust".to_owned(),
            generation: Generation(2),
            ready_ms: 18,
            tabs: 2,
            overhead_ms: Some(142),
        },
        EventKind::NotServing {
            worker: worker("index"),
            reason: "exited 101 before it was ready".to_owned(),
            details: vec!["thread 'main' panicked".to_owned()],
            serving: None,
        },
        EventKind::Reloaded { worker: None, paths: paths(), style: true, tabs: 2, ms: 118 },
        EventKind::Configuration { refused: Some("config/server.yaml:2:9: no".to_owned()) },
        EventKind::Skipped { folder: "workers/new".to_owned(), reason: "no program".to_owned() },
        EventKind::Notice { text: "hello".to_owned() },
    ]
}

fn event(what: EventKind) -> Event {
    Event { schema: SCHEMA, id: 7, at: "2026-11-20T08:00:01Z".parse().unwrap(), what }
}

#[test]
fn the_documents_are_what_scripts_know() {
    let lines: Vec<_> =
        all().into_iter().map(|what| serde_json::to_string(&event(what)).unwrap()).collect();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn an_event_survives_the_way_through_json() {
    for what in all() {
        let sent = event(what);
        let text = serde_json::to_string(&sent).unwrap();
        assert_eq!(serde_json::from_str::<Event>(&text).unwrap(), sent, "{text}");
        let kind = format!("\"kind\":\"{}\"", sent.what.name());
        assert!(text.contains(&kind), "{kind} is not in {text}");
    }
}

#[test]
fn long_lists_and_logs_are_cut() {
    let many: Vec<_> = (0..9).map(|n| format!("file{n}")).collect();
    let changed = EventKind::Changed { worker: None, paths: many, more: 1 }.bounded();
    let EventKind::Changed { paths, more, .. } = changed else { unreachable!() };
    assert_eq!((paths.len(), more), (MAX_PATHS, 5));
    let failed = EventKind::BuildFailed {
        workers: Vec::new(),
        seconds: 0.0,
        serving: None,
        place: None,
        log: "ü".repeat(MAX_LOG),
    };
    let EventKind::BuildFailed { log, .. } = failed.bounded() else { unreachable!() };
    assert_eq!(log.len(), MAX_LOG);
}
