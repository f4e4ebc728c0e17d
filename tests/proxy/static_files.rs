//! Public files by way of the table.

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use tempfile::TempDir;
use tokio::net::TcpSocket;
use tqserver::ids::Md5;
use tqserver::proxy::table::{PublicTree, Route, WeightedTargets};

use crate::bed::{Bed, Message, Peer, route, settings, soon};

/// More than is kept in memory, and more than a socket takes at once.
const LARGE: usize = 9_000_001;

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at % 251) as u8 ^ (at >> 12) as u8).collect()
}

/// A route without a worker, with the files of `folder`: a deployment's if `digest` says so.
fn site(folder: &Path, digest: Option<u8>) -> Route {
    let root = Arc::new(File::open(folder).unwrap());
    let digest = digest.map(|byte| Md5::new([byte; 16]));
    let mut app = route("/", WeightedTargets::default());
    app.public = vec![PublicTree { root, path: folder.into(), digest }];
    app
}

/// A deployment of the given files, published.
fn deployed(bed: &Bed, files: &[(&str, &[u8])]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        fs::write(folder.path().join(name), content).unwrap();
    }
    bed.publish([site(folder.path(), Some(1))]);
    folder
}

/// A request with fields of its own.
async fn ask(client: &mut Peer, method: &str, name: &str, fields: &str) {
    let head = format!("{method} /static/app/{name} HTTP/1.1\r\nHost: a.example\r\n{fields}\r\n");
    client.send(head).await;
}

async fn get(client: &mut Peer, name: &str, fields: &str) -> Message {
    ask(client, "GET", name, fields).await;
    client.message().await
}

/// All that a head says but for the date.
fn fields(message: &Message) -> Vec<(String, String)> {
    let dated = |(name, _): &&(String, String)| name != "date";
    message.headers.iter().filter(dated).cloned().collect()
}

#[tokio::test]
async fn a_workers_public_files_are_served_without_the_worker() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a b.css"), "body {}").unwrap();
    let bed = Bed::new();
    bed.publish([site(folder.path(), None)]);
    let mut client = bed.client().await;
    for path in ["/static/app/a%20b.css", "/%73tatic/%61pp/a%20b.css"] {
        client.get(path).await;
        let answer = client.message().await;
        assert_eq!((answer.status(), answer.text()), (200, "body {}"), "{path}");
        assert_eq!(answer.header("content-type").as_deref(), Some("text/css; charset=utf-8"));
    }
    client.get("/static/app/missing.css").await;
    let answer = client.message().await;
    assert_eq!(answer.status(), 404);
    assert!(answer.text().contains("Request "), "the page is the proxy's own");
    client
        .send("POST /static/app/a%20b.css HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
        .await;
    assert_eq!(client.message().await.header("allow").as_deref(), Some("GET, HEAD"));
    bed.until("the counts", |c| c.responses == [0, 2, 0, 2, 0]).await;
}

/// The file is gone from the folder when it is asked for again, which only who kept it does not see.
#[tokio::test]
async fn a_deployments_file_is_given_again_from_memory_in_the_same_words() {
    let bed = Bed::new();
    let folder = deployed(&bed, &[("a.css", b"body {}"), ("b.css", &pattern(100_000))]);
    let mut client = bed.client().await;
    for (name, content) in [("a.css", b"body {}".to_vec()), ("b.css", pattern(100_000))] {
        let first = get(&mut client, name, "").await;
        fs::remove_file(folder.path().join(name)).unwrap();
        let again = get(&mut client, name, "").await;
        assert!(first.body == content && again.body == content, "{name}");
        assert_eq!((again.status(), fields(&again)), (200, fields(&first)));
        assert!(again.header("date").is_some());

        ask(&mut client, "HEAD", name, "").await;
        assert_eq!(fields(&client.head().await), fields(&first));
        ask(&mut client, "POST", name, "Content-Length: 0\r\n").await;
        assert_eq!(client.message().await.status(), 405);
    }
    let last = get(&mut client, "a.css", "Connection: close\r\n").await;
    assert_eq!((last.text(), last.header("connection").as_deref()), ("body {}", Some("close")));
    assert!(client.rest().await.is_empty());
}

#[tokio::test]
async fn what_is_kept_answers_conditions_as_the_file_does() {
    let bed = Bed::new();
    let folder = deployed(&bed, &[("a.css", b"body {}")]);
    let mut client = bed.client().await;
    let first = get(&mut client, "a.css", "").await;
    let (tag, date) = (first.header("etag").unwrap(), first.header("last-modified").unwrap());
    let requests = [
        (format!("If-None-Match: \"other\", W/{tag}\r\nIf-Modified-Since: x\r\n"), 304, true),
        ("If-None-Match: \"other\"\r\nIf-None-Match: *\r\n".to_owned(), 304, true),
        (format!("If-None-Match: \"other\"\r\nIf-Modified-Since: {date}\r\n"), 200, true),
        (format!("If-Modified-Since: {date}\r\n"), 304, false),
        ("If-Match: \"other\"\r\n".to_owned(), 412, false),
        (format!("If-Unmodified-Since: {date}\r\n"), 200, false),
        ("Range: bytes=0-3\r\n".to_owned(), 206, false),
    ];
    // By the file, and then from memory, in which the latter alone are not to be had.
    let mut by_file = Vec::new();
    bed.publish([site(folder.path(), None)]);
    for (request, status, _) in &requests {
        let answer = get(&mut client, "a.css", request).await;
        assert_eq!(answer.status(), *status, "{request}");
        by_file.push(answer);
    }
    bed.publish([site(folder.path(), Some(1))]);
    get(&mut client, "a.css", "").await;
    fs::remove_file(folder.path().join("a.css")).unwrap();
    for ((request, status, is_kept), by_file) in requests.iter().zip(by_file) {
        let answer = get(&mut client, "a.css", request).await;
        assert_eq!(answer.status(), if *is_kept { *status } else { 404 }, "{request}");
        if *is_kept {
            let names = |message: &Message| {
                fields(message).into_iter().map(|(name, _)| name).collect::<Vec<_>>()
            };
            assert_eq!((names(&answer), &answer.body), (names(&by_file), &by_file.body));
        }
    }
}

#[tokio::test]
async fn each_client_gets_the_coding_it_likes_best_from_memory_too() {
    let bed = Bed::new();
    let files: [(&str, &[u8]); 3] = [("f", b"plain"), ("f.br", b"brotli"), ("f.gz", b"gzip")];
    let folder = deployed(&bed, &files);
    let mut client = bed.client().await;
    let requests = [
        ("", "plain"),
        ("Accept-Encoding: gzip\r\n", "gzip"),
        ("Accept-Encoding: gzip;q=0.5\r\nAccept-Encoding: br\r\n", "brotli"),
        ("Accept-Encoding: zstd, *;q=0\r\n", "plain"),
        ("Accept-Encoding: x-gzip, br;q=0.1\r\n", "gzip"),
        ("Accept-Encoding: identity, br;q=0.1\r\n", "plain"),
    ];
    for round in ["from the files", "from memory"] {
        for (request, body) in requests {
            let answer = get(&mut client, "f", request).await;
            assert_eq!(answer.text(), body, "{request:?} {round}");
            assert_eq!(answer.header("vary").as_deref(), Some("Accept-Encoding"));
        }
        for (name, _) in files {
            fs::remove_file(folder.path().join(name)).ok();
        }
    }
}

#[tokio::test]
async fn a_publication_changes_what_is_served_at_once_and_closes_what_was_open() {
    let bed = Bed::threaded(2, settings());
    let mut clients = Vec::new();
    for _ in 0..8 {
        clients.push(bed.client().await);
    }
    for number in 1..=20 {
        let small = format!("deployment {number}");
        let large = pattern(100_000 + number);
        let folder = deployed(&bed, &[("small", small.as_bytes()), ("large", &large)]);
        for client in &mut clients {
            for _ in 0..2 {
                assert_eq!(get(client, "small", "").await.text(), small);
                assert!(get(client, "large", "").await.body == large);
            }
        }
        let file = folder.path().join("large");
        assert!(is_open(&file));
        bed.publish([]);
        soon("the file's end", async {
            while is_open(&file) {
                tokio::task::yield_now().await;
            }
        })
        .await;
        assert_eq!(get(&mut clients[0], "small", "").await.status(), 404);
    }
}

/// Whether this process has `file` open.
fn is_open(file: &Path) -> bool {
    let open = fs::read_dir("/proc/self/fd").unwrap().flatten();
    open.filter_map(|fd| fs::read_link(fd.path()).ok()).any(|target| target == file)
}

#[tokio::test]
async fn in_development_every_edit_is_seen() {
    let bed = Bed::new();
    let folder = tempfile::tempdir().unwrap();
    bed.publish([site(folder.path(), None)]);
    let mut client = bed.client().await;
    for text in ["one", "two", "three"] {
        fs::write(folder.path().join("f"), text).unwrap();
        assert_eq!(get(&mut client, "f", "").await.text(), text);
    }
}

#[tokio::test]
async fn a_tree_that_may_change_before_a_deployments_is_looked_at_every_time() {
    let bed = Bed::new();
    let (near, far) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(far.path().join("f"), "far").unwrap();
    let mut app = site(near.path(), None);
    app.public.extend(site(far.path(), Some(1)).public);
    bed.publish([app]);
    let mut client = bed.client().await;
    assert_eq!(get(&mut client, "f", "").await.text(), "far");
    fs::write(near.path().join("f"), "near").unwrap();
    assert_eq!(get(&mut client, "f", "").await.text(), "near");
}

#[tokio::test]
async fn large_files_and_parts_of_them_arrive_byte_for_byte_at_a_slow_reader() {
    let bed = Bed::new();
    let content = pattern(LARGE);
    let _folder = deployed(&bed, &[("f", &content)]);
    let requests = [
        ("", 200, 0..LARGE),
        ("", 200, 0..LARGE),
        ("Range: bytes=70001-8000000\r\n", 206, 70_001..8_000_001),
    ];
    for (request, status, span) in requests {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(8 << 10).unwrap();
        let mut client = Peer::new(socket.connect(bed.addr).await.unwrap());
        ask(&mut client, "GET", "f", request).await;
        let head = client.head().await;
        assert_eq!(head.status(), status);
        assert_eq!(head.header("content-length"), Some(span.len().to_string()));
        let mut received = 0;
        while received < span.len() {
            let n = 40_000.min(span.len() - received);
            let at = span.start + received;
            assert!(client.exactly(n).await == content[at..at + n], "at {at}");
            received += n;
            tokio::task::yield_now().await;
        }
        ask(&mut client, "HEAD", "f", "").await;
        assert_eq!(client.head().await.status(), 200, "the connection goes on");
    }
    bed.until("the bytes", |c| c.bytes_sent > (2 * LARGE + 7_930_000) as u64).await;
}

#[tokio::test]
async fn a_file_that_was_cut_short_breaks_its_answer_off() {
    let bed = Bed::new();
    let content = pattern(LARGE);
    let folder = deployed(&bed, &[("f", &content)]);
    let mut client = bed.client().await;
    // By the complete way, and then from the file that is kept open.
    for round in 1..=2 {
        fs::write(folder.path().join("f"), &content).unwrap();
        ask(&mut client, "GET", "f", "").await;
        client.exactly(100_000).await;
        File::options().write(true).open(folder.path().join("f")).unwrap().set_len(1).unwrap();
        let rest = client.rest().await;
        assert!(rest.len() < LARGE - 100_000, "{} bytes follow", rest.len());
        bed.until("the abort", |c| c.aborted == round).await;
        client = bed.client().await;
    }
}

#[tokio::test]
async fn who_takes_nothing_of_a_file_is_let_go() {
    let mut settings = settings();
    settings.listener.write_timeout = std::time::Duration::from_millis(50);
    let bed = Bed::with(settings);
    let _folder = deployed(&bed, &[("f", &pattern(LARGE))]);
    let mut client = bed.client().await;
    for round in 1..=2 {
        ask(&mut client, "GET", "f", "").await;
        bed.until("the abort", |c| c.aborted == round).await;
        client = bed.client().await;
    }
}

#[tokio::test]
async fn many_clients_are_given_many_files_more_than_are_kept() {
    let bed = Bed::threaded(2, settings());
    let contents: Vec<_> = (0..300).map(|n| pattern(60_000 + 40 * n)).collect();
    let names: Vec<_> = (0..300).map(|n| n.to_string()).collect();
    let files: Vec<_> = names.iter().zip(&contents).map(|(n, c)| (&**n, &**c)).collect();
    let _folder = deployed(&bed, &files);
    let clients = (0..16).map(|number| {
        let (bed, contents) = (&bed, &contents);
        async move {
            let mut client = bed.client().await;
            for turn in 0..300 {
                let n = (turn * 7 + number * 31) % 300;
                let answer = get(&mut client, &n.to_string(), "").await;
                assert!(answer.status() == 200 && answer.body == contents[n], "{n}");
            }
        }
    });
    futures_util::future::join_all(clients).await;
    bed.until("the counts", |c| c.responses == [0, 16 * 300, 0, 0, 0] && c.aborted == 0).await;
}
