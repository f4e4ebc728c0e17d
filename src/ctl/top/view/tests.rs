use ratatui::Terminal;
use ratatui::backend::TestBackend;
use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::ctl::output::{ColorChoice, Output};

fn now() -> Timestamp {
    "2026-11-27T12:00:00Z".parse().unwrap()
}

fn worker(name: &str, requests_per_second: f64, memory_bytes: u64) -> Value {
    json!({
        "name": name,
        "route": format!("/{name}"),
        "state": "serving",
        "generation": 18,
        "port": 9014,
        "unit": format!("tq-worker@{name}-9014.service"),
        "commit": null,
        "since": null,
        "fingerprint": null,
        "in_flight": 3,
        "load": {
            "seconds": 10.0,
            "requests_per_second": requests_per_second,
            "p50_ms": 2.0,
            "p99_ms": 12.0,
            "server_errors": 0.001,
        },
        "memory_bytes": memory_bytes,
        "cpus_busy": 0.08,
        "draining": [],
        "last_failure": null,
    })
}

fn status() -> Status {
    let instance = |port: u16, state: &str| {
        json!({
            "state": state,
            "port": port,
            "unit": format!("tq-worker@index-{port}.service"),
            "since": null,
            "in_flight": 1,
            "memory_bytes": 15 << 20,
        })
    };
    let mut index = worker("index", 412.0, 31 << 20);
    index["instances"] = json!([instance(9014, "serving"), instance(9015, "starting")]);
    index["instances_wanted"] = json!(2);
    let draining = json!({
        "generation": 17,
        "port": 9007,
        "unit": "tq-worker@index-9007.service",
        "commit": null,
        "in_flight": 2,
    });
    index["draining"] = json!([draining]);
    let status = json!({
        "schema": 1,
        "version": "1.2.3",
        "mode": "prod",
        "state": "serving",
        "started_at": "2026-11-24T12:00:00Z",
        "desired": "a1b2c3d4e5f60718293a4b5c6d7e8f9001122334",
        "actual": "a1b2c3d4e5f60718293a4b5c6d7e8f9001122334",
        "branch": "main",
        "tag": null,
        "last_good": null,
        "failed": null,
        "workers": [worker("api_users", 96.0, 24 << 20), index, worker("shop", 0.3, 200 << 20)],
        "counters": {
            "requests": 100,
            "in_flight": 9,
            "held": 0,
            "client_errors": 0,
            "server_errors": 0,
            "connections": 34,
        },
        "warnings": ["the manifest is only polled for"],
    });
    serde_json::from_value(status).unwrap()
}

fn view() -> View {
    View::new(status(), Output::new(ColorChoice::Never, None, false, false).painter())
}

fn press(view: &mut View, keys: &[KeyCode]) {
    for key in keys {
        assert!(view.press(KeyEvent::from(*key)).is_continue());
    }
}

fn screen(view: &mut View, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| view.draw(frame, now())).unwrap();
    let buffer = terminal.backend().buffer();
    let rows = buffer.content().chunks(usize::from(width.max(1)));
    let text = |row: &[ratatui::buffer::Cell]| {
        row.iter().map(|cell| cell.symbol()).collect::<String>().trim_end().to_owned()
    };
    rows.map(text).collect::<Vec<_>>().join("\n")
}

/// The names in the first column, from above.
fn names(view: &mut View) -> Vec<String> {
    let screen = screen(view, 110, 20);
    let table = screen.lines().skip_while(|line| !line.starts_with("WORKER")).skip(1);
    let cells = table.map_while(|line| line.split("  ").next().filter(|name| !name.is_empty()));
    cells.map(str::to_owned).collect()
}

#[test]
fn everything_is_on_the_screen() {
    insta::assert_snapshot!(screen(&mut view(), 110, 11));
}

#[test]
fn the_largest_come_first_and_the_other_way_round() {
    let mut view = view();
    assert_eq!(names(&mut view), ["api_users", "index", "shop"]);
    press(&mut view, &[KeyCode::Char('>')]);
    assert_eq!(names(&mut view), ["index", "api_users", "shop"]);
    press(&mut view, &[KeyCode::Char('r')]);
    assert_eq!(names(&mut view), ["shop", "api_users", "index"]);
    press(&mut view, &[KeyCode::Char('r')]);
    for _ in 0..4 {
        press(&mut view, &[KeyCode::Right]);
    }
    assert_eq!(names(&mut view), ["shop", "index", "api_users"], "by memory");
    press(&mut view, &[KeyCode::Left; 5]);
    assert_eq!(names(&mut view), ["api_users", "index", "shop"]);
}

#[test]
fn who_is_selected_stays_so_where_the_order_changes_and_is_opened() {
    let mut view = view();
    press(&mut view, &[KeyCode::Down, KeyCode::Down, KeyCode::Char('>'), KeyCode::Enter]);
    insta::assert_snapshot!(screen(&mut view, 110, 12));
    press(&mut view, &[KeyCode::Up, KeyCode::Up, KeyCode::Enter]);
    assert!(!screen(&mut view, 110, 12).contains(":9015"), "closed again");
}

#[test]
fn without_an_answer_the_last_stays_and_the_reason_is_told() {
    let mut view = view();
    view.take(Err("nobody listens".into()));
    let shown = screen(&mut view, 110, 12);
    assert!(shown.contains("✗ as it was, asking again: nobody listens"), "{shown}");
    assert_eq!(names(&mut view).len(), 3);
    view.take(Ok(status()));
    assert!(!screen(&mut view, 110, 12).contains("nobody"));
}

#[rstest]
#[case::narrow(40, 12)]
#[case::low(110, 3)]
#[case::a_cell(1, 1)]
fn no_terminal_is_too_small(#[case] width: u16, #[case] height: u16) {
    screen(&mut view(), width, height);
}

#[rstest]
#[case(KeyEvent::from(KeyCode::Char('q')))]
#[case(KeyEvent::from(KeyCode::Esc))]
#[case(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL))]
fn it_ends_when_somebody_says_so(#[case] key: KeyEvent) {
    assert!(view().press(key).is_break());
}
