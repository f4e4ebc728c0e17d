use super::*;
use crate::admin::api::SCHEMA;
use crate::ctl::output::ColorChoice;
use crate::ctl::output::Output;

fn worker(name: &str) -> WorkerName {
    name.parse().unwrap()
}

fn renderer(verbose: bool, color: ColorChoice) -> Renderer {
    let painter = Output::new(color, None, false, verbose).painter();
    Renderer::new("http://localhost:8080".to_owned(), TimeZone::UTC, painter, verbose)
}

/// The lines for events a second apart.
fn lines(renderer: &mut Renderer, events: Vec<EventKind>) -> String {
    let begin: Timestamp = "2026-11-20T12:04:10Z".parse().unwrap();
    let at = |number: usize| begin + jiff::SignedDuration::from_secs(number as i64);
    let events = events.into_iter().enumerate().map(|(number, what)| Event {
        schema: SCHEMA,
        id: number as u64,
        at: at(number),
        what,
    });
    events.flat_map(|event| renderer.event(&event)).collect::<Vec<_>>().join("\n")
}

fn serving(name: &str, route: &str, generation: u64, ready_ms: u64) -> EventKind {
    EventKind::Serving {
        worker: worker(name),
        route: route.parse().unwrap(),
        language: "rust".to_owned(),
        generation: Generation(generation),
        ready_ms,
        tabs: if generation > 1 { 2 } else { 0 },
        overhead_ms: (generation > 1).then_some(142),
    }
}

fn project_worker((name, route): (&str, &str)) -> ProjectWorker {
    let (name, route) = (worker(name), route.parse().unwrap());
    ProjectWorker { name, route, language: "rust".to_owned() }
}

fn watching() -> EventKind {
    let workers = [("api_users", "/api/users"), ("index", "/")].map(project_worker);
    EventKind::Watching { workers: workers.into(), directories: 41, polling: None }
}

fn changed(name: Option<&str>, paths: &[&str], more: usize) -> EventKind {
    let paths = paths.iter().map(|&path| path.to_owned()).collect();
    EventKind::Changed { worker: name.map(worker), paths, more }
}

fn built(name: &str, changed: bool) -> EventKind {
    EventKind::Built { worker: worker(name), seconds: 1.314, changed }
}

fn reloaded(name: Option<&str>, path: &str, style: bool, tabs: usize) -> EventKind {
    let (worker, paths) = (name.map(worker), vec![path.to_owned()]);
    EventKind::Reloaded { worker, paths, style, tabs, ms: 118 }
}

fn build_failed() -> EventKind {
    EventKind::BuildFailed {
        workers: vec![worker("index")],
        seconds: 0.8,
        serving: Some(Generation(2)),
        place: Some("workers/index/src/main.rs:14:9".to_owned()),
        log: "error[E0308]: mismatched types\n  --> workers/index/src/main.rs:14:9\n\n".to_owned(),
    }
}

#[test]
fn a_session_from_start_to_failure() {
    let events = vec![
        watching(),
        EventKind::Building { workers: vec![worker("index"), worker("api_users")] },
        built("index", true),
        serving("index", "/", 1, 212),
        serving("api_users", "/api/users", 1, 96),
        changed(Some("index"), &["workers/index/src/main.rs"], 0),
        EventKind::Building { workers: vec![worker("index")] },
        built("index", true),
        serving("index", "/", 2, 18),
        reloaded(Some("index"), "workers/index/private/views/home.html", false, 2),
        build_failed(),
        built("index", false),
        EventKind::NotServing {
            worker: worker("index"),
            reason: "g3 exited 101 before it was ready".to_owned(),
            details: vec!["thread 'main' panicked: no \u{1b}[31mport".to_owned()],
            serving: Some(Generation(2)),
        },
    ];
    insta::assert_snapshot!(lines(&mut renderer(false, ColorChoice::Never), events));
}

#[test]
fn what_else_may_happen() {
    let events = vec![
        EventKind::Watching {
            workers: vec![project_worker(("index", "/"))],
            directories: 1,
            polling: Some("no inotify watches left\nsysctl fs.inotify.max_user_watches=1".into()),
        },
        changed(None, &["Cargo.toml", "workers/shared/src/lib.rs"], 3),
        EventKind::BuildFailed {
            workers: vec![worker("index"), worker("api_users")],
            seconds: 0.8,
            serving: None,
            place: None,
            log: "error: could not find `Cargo.toml`".to_owned(),
        },
        serving("index", "/", 1, 212),
        serving("index", "/", 1, 212),
        EventKind::Serving {
            worker: worker("index"),
            route: "/".parse().unwrap(),
            language: "rust".to_owned(),
            generation: Generation(2),
            ready_ms: 3,
            tabs: 0,
            overhead_ms: None,
        },
        reloaded(None, "workers/shared/public/a.css", true, 1),
        reloaded(Some("index"), "workers/index/public/a.js", false, 0),
        EventKind::Configuration { refused: None },
        EventKind::Configuration { refused: Some("config/server.yaml:2:9: no".to_owned()) },
        EventKind::Skipped { folder: "workers/new".to_owned(), reason: "no program".to_owned() },
        EventKind::Notice { text: "something\u{7}".to_owned() },
        watching(),
    ];
    insta::assert_snapshot!(lines(&mut renderer(false, ColorChoice::Never), events));
}

#[test]
fn verbose_tells_of_what_had_no_effect() {
    let events = || {
        vec![
            serving("index", "/", 1, 212),
            EventKind::Unchanged { paths: vec!["workers/index/src/main.rs".to_owned()] },
            EventKind::Building { workers: vec![worker("index")] },
        ]
    };
    let quiet = lines(&mut renderer(false, ColorChoice::Never), events());
    assert_eq!(quiet.lines().count(), 2, "{quiet}");
    let verbose = lines(&mut renderer(true, ColorChoice::Never), events());
    assert!(verbose.contains("12:04:11 written, the same as before: workers/index/src/main.rs"));
    assert!(verbose.contains("12:04:12 building index"), "{verbose}");
}

#[test]
fn colours_are_for_terminals() {
    let coloured =
        lines(&mut renderer(false, ColorChoice::Always), vec![watching(), build_failed()]);
    assert!(coloured.starts_with("\u{1b}[1mtqserver dev\u{1b}[0m · http"), "{coloured:?}");
    assert!(coloured.contains("\u{1b}[31m✗ build failed"), "{coloured:?}");
}

#[test]
fn one_worker_at_a_time() {
    let mut renderer = renderer(false, ColorChoice::Never);
    let start = vec![watching(), serving("index", "/", 1, 9), serving("api", "/api", 1, 9)];
    lines(&mut renderer, start);
    let shown = |renderer: &mut Renderer| {
        let events = ["api", "index"].map(|name| changed(Some(name), &["a"], 0));
        lines(renderer, [&events[..], &[changed(None, &["b"], 0)]].concat()).lines().count()
    };
    assert_eq!(shown(&mut renderer), 3);
    assert_eq!(renderer.next_filter(), "showing api");
    assert_eq!(shown(&mut renderer), 2);
    assert_eq!(renderer.next_filter(), "showing index");
    assert_eq!(shown(&mut renderer), 2);
    assert_eq!(renderer.next_filter(), "showing all workers");
    assert_eq!(shown(&mut renderer), 3);
}
