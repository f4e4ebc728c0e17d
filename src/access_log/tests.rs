use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::{Duration, SystemTime};

use proptest::prelude::*;

use super::batch::{Batch, Written};
use super::entry::{Facts, MAX_TEXT};
use super::sink::Sink;
use super::*;
use crate::ids::Generation;

fn heard() -> Heard<'static> {
    Heard {
        client: "192.0.2.7",
        id: "0af1",
        method: "GET",
        path: "/shop",
        query: Some("q=a"),
        host: "shop.example",
        referer: b"https://other.example/",
        user_agent: b"curl/8",
    }
}

fn settings(format: AccessLogFormat, file: Option<&Path>) -> AccessLogSettings {
    AccessLogSettings { format, file: file.map(Path::to_owned), one_in: 1 }
}

/// A line of a request whose times are known.
fn line(format: AccessLogFormat, heard: &Heard<'_>, change: impl FnOnce(&mut Facts)) -> String {
    let entry = Entry::new(heard, Vec::new());
    let mut facts = entry.facts(1234, "HTTP/1.1");
    facts.began_at = SystemTime::UNIX_EPOCH + Duration::from_micros(1_790_000_000_123_456);
    facts.took = Duration::from_micros(2500);
    change(&mut facts);
    let mut batch = Batch::default();
    batch.push(&entry, 0, "");
    let mut out = Vec::new();
    let written = batch.iter().next().unwrap();
    format::push(&mut out, format, &Written { facts: &facts, ..written });
    String::from_utf8(out).unwrap()
}

fn served(facts: &mut Facts) {
    facts.status = 200;
    facts.worker = Some(("shop".parse().unwrap(), Generation(18)));
    facts.upstream = Some(Duration::from_micros(1750));
}

#[test]
fn a_line_of_each_format_says_all_there_is() {
    let json = line(AccessLogFormat::Json, &heard(), served);
    insta::assert_snapshot!(json, @r#"
    {"time":"2026-09-21T14:13:20.123456Z","request":"0af1","client":"192.0.2.7","method":"GET","path":"/shop?q=a","protocol":"HTTP/1.1","host":"shop.example","status":200,"bytes":1234,"duration_seconds":0.0025,"worker":"shop","generation":18,"upstream_seconds":0.00175,"aborted":false,"referer":"https://other.example/","user_agent":"curl/8"}
    "#);
    let combined = line(AccessLogFormat::Combined, &heard(), served);
    insta::assert_snapshot!(combined, @r#"
    192.0.2.7 - - [21/Sep/2026:14:13:20 +0000] "GET /shop?q=a HTTP/1.1" 200 1234 "https://other.example/" "curl/8" 0af1 shop 18 0.002500 0.001750
    "#);
}

#[test]
fn what_is_not_known_is_null_or_a_dash() {
    let nothing = Heard {
        method: "",
        path: "",
        query: None,
        host: "",
        referer: b"",
        user_agent: b"",
        ..heard()
    };
    let json = line(AccessLogFormat::Json, &nothing, |facts| facts.protocol = "-");
    insta::assert_snapshot!(json, @r#"
    {"time":"2026-09-21T14:13:20.123456Z","request":"0af1","client":"192.0.2.7","method":null,"path":null,"protocol":"-","host":null,"status":499,"bytes":1234,"duration_seconds":0.0025,"worker":null,"generation":null,"upstream_seconds":null,"aborted":false,"referer":null,"user_agent":null}
    "#);
    let combined = line(AccessLogFormat::Combined, &nothing, |facts| facts.protocol = "-");
    insta::assert_snapshot!(combined, @r#"
    192.0.2.7 - - [21/Sep/2026:14:13:20 +0000] "-" 499 1234 "-" "-" 0af1 - - 0.002500 -
    "#);
}

proptest! {
    /// Whoever reads a line can trust its fields: no client begins another line or ends a text.
    #[test]
    fn no_client_can_forge_a_line(
        path in "[ -~]{0,40}",
        referer in proptest::collection::vec(any::<u8>(), 0..60),
        user_agent in proptest::collection::vec(any::<u8>(), 0..60),
    ) {
        let heard = Heard { path: &path, query: None, referer: &referer, user_agent: &user_agent, ..heard() };
        let json = line(AccessLogFormat::Json, &heard, served);
        prop_assert_eq!(json.lines().count(), 1);
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        prop_assert_eq!(value["status"].as_u64(), Some(200));
        prop_assert_eq!(value["path"].as_str().unwrap_or_default(), &path);

        let combined = line(AccessLogFormat::Combined, &heard, served);
        prop_assert_eq!(combined.lines().count(), 1);
        prop_assert!(combined.trim_end().bytes().all(|byte| matches!(byte, b' '..=b'~')));
        let texts: Vec<&str> = combined.split('"').collect();
        prop_assert_eq!(texts.len(), 7, "{}", combined);
        prop_assert!(texts[6].ends_with(" shop 18 0.002500 0.001750\n"));
    }
}

#[test]
fn of_a_text_that_is_too_long_the_beginning_is_kept() {
    let path = format!("/{}", "a".repeat(MAX_TEXT));
    let heard = Heard { path: &path, user_agent: &[b'u'; 2 * MAX_TEXT], ..heard() };
    let json = line(AccessLogFormat::Json, &heard, served);
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(value["path"].as_str().unwrap(), &path[..MAX_TEXT]);
    assert_eq!(value["user_agent"].as_str().unwrap().len(), MAX_TEXT);
    assert_eq!(value["host"], "shop.example", "the next text is whole");
}

#[test]
fn the_journal_gets_a_message_with_fields_for_each_request() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("socket");
    let journal = UnixDatagram::bind(&socket).unwrap();
    let mut sink = Sink::with_journal(&settings(AccessLogFormat::Json, None), &socket);
    let mut batch = Batch::default();
    // As a trusted proxy may name it.
    let entry = Entry::new(&Heard { id: "a\nTQ_WORKER=other", ..heard() }, Vec::new());
    entry.sent_to(&"shop".parse().unwrap(), Generation(18));
    entry.responded(404);
    batch.push(&entry, 10, "HTTP/1.1");
    batch.push(&Entry::new(&heard(), Vec::new()), 0, "HTTP/1.1");
    sink.append(&batch).unwrap();
    let mut room = [0; 4096];
    let mut next = || {
        let len = journal.recv(&mut room).unwrap();
        String::from_utf8(room[..len].to_vec()).unwrap()
    };
    let first = next();
    let (message, fields) = first.split_once('\n').unwrap();
    assert!(message.starts_with(r#"MESSAGE={"time""#), "{message}");
    assert_eq!(
        fields,
        "PRIORITY=6\nSYSLOG_IDENTIFIER=tqserver-access\nTQ_REQUEST=aTQ_WORKER=other\n\
         TQ_STATUS=404\nTQ_WORKER=shop\nTQ_GENERATION=18\n"
    );
    let second = next();
    assert!(second.ends_with("TQ_REQUEST=0af1\nTQ_STATUS=499\n"), "{second}");
}

/// A log to a file, a pen for it, and what is in the file once the log has ended.
async fn written_by(log: &Arc<AccessLog>, pen: Pen, file: &Path) -> String {
    drop(pen);
    log.finish().await;
    std::fs::read_to_string(file).unwrap_or_default()
}

fn write(pen: &Pen, path: &str) {
    if pen.wants_one() {
        let entry = Entry::new(&Heard { path, query: None, ..heard() }, Vec::new());
        pen.write(&entry, 0, "HTTP/1.1");
    }
}

#[tokio::test]
async fn what_was_passed_on_is_written_before_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("access.log");
    let log = AccessLog::off();
    let pen = log.pen();
    write(&pen, "/before");
    log.apply(&settings(AccessLogFormat::Combined, Some(&file))).unwrap();
    for number in 0..1000 {
        write(&pen, &format!("/{number}"));
    }
    log.apply(&settings(AccessLogFormat::Off, None)).unwrap();
    write(&pen, "/after");
    let text = written_by(&log, pen, &file).await;
    assert_eq!((text.lines().count(), log.written(), log.dropped()), (1000, 1000, 0));
    for (number, line) in text.lines().enumerate() {
        assert!(line.contains(&format!("\"GET /{number} HTTP/1.1\"")), "{line}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_line_does_not_wait_for_a_full_batch() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("access.log");
    let log = AccessLog::off();
    log.apply(&settings(AccessLogFormat::Json, Some(&file))).unwrap();
    let pen = log.pen();
    write(&pen, "/");
    tokio::select! {
        () = pen.run() => {}
        () = tokio::time::sleep(2 * FLUSH_INTERVAL) => {}
    }
    assert!(pen.batch_is_empty(), "it was passed on");
    tokio::time::resume();
    assert_eq!(written_by(&log, pen, &file).await.lines().count(), 1);
}

/// The writer hangs in the opening of a FIFO that nobody reads: requests go on, and memory is bounded.
#[tokio::test]
async fn a_writer_that_hangs_costs_lines_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("fifo");
    nix::unistd::mkfifo(&file, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let log = AccessLog::off();
    log.apply(&settings(AccessLogFormat::Json, Some(&file))).unwrap();
    let pen = log.pen();
    let mut requests = 0;
    while log.dropped() < 1000 {
        write(&pen, "/");
        requests += 1;
    }
    let most = (QUEUE + 3) * batch::FULL_BYTES / 50 + 1000;
    assert!(requests < most, "{requests} were kept or dropped");
    // The reader takes all that waited.
    let reading = std::thread::spawn(move || std::fs::read_to_string(&file).unwrap());
    drop(pen);
    log.finish().await;
    assert_eq!(log.written() + log.dropped(), requests as u64);
    // Its end comes with that of the log's file.
    let lines = reading.join().unwrap().lines().count();
    assert_eq!(lines as u64, log.written());
}

#[tokio::test]
async fn a_file_that_was_moved_away_is_made_anew_when_asked() {
    let dir = tempfile::tempdir().unwrap();
    let (file, rotated) = (dir.path().join("access.log"), dir.path().join("access.log.1"));
    let log = AccessLog::off();
    log.apply(&settings(AccessLogFormat::Json, Some(&file))).unwrap();
    let pen = log.pen();
    let until_written = async |count| {
        while log.written() < count {
            tokio::task::yield_now().await;
        }
    };
    write(&pen, "/first");
    pen.pass_on();
    until_written(1).await;
    std::fs::rename(&file, &rotated).unwrap();
    write(&pen, "/second");
    pen.pass_on();
    until_written(2).await;
    log.reopen();
    write(&pen, "/third");
    let text = written_by(&log, pen, &file).await;
    assert!(text.contains("/third") && text.lines().count() == 1, "{text}");
    let text = std::fs::read_to_string(&rotated).unwrap();
    assert!(text.contains("/first") && text.contains("/second"), "{text}");
}

#[tokio::test]
async fn a_file_that_cannot_be_made_is_lines_lost() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("missing/access.log");
    let log = AccessLog::off();
    log.apply(&settings(AccessLogFormat::Json, Some(&file))).unwrap();
    let pen = log.pen();
    write(&pen, "/");
    written_by(&log, pen, &file).await;
    assert_eq!((log.written(), log.dropped()), (0, 1));
}

#[test]
fn a_sample_is_about_as_large_as_wanted() {
    let log = AccessLog::off();
    log.apply(&AccessLogSettings { one_in: 10, ..settings(AccessLogFormat::Json, None) }).unwrap();
    let pen = log.pen();
    let chosen = (0..100_000).filter(|_| pen.wants_one()).count();
    assert!((9_000..11_000).contains(&chosen), "{chosen} of 100000");
}
