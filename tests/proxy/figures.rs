//! What is counted of each worker, and at which of its generations.

use std::time::Duration;

use tqserver::proxy::WorkerFigures;

use crate::bed::{Bed, Worker, settings, soon};

/// A worker's figures once they say so: they are written by other threads.
async fn figures(bed: &Bed, what: &str, done: impl Fn(&WorkerFigures) -> bool) -> WorkerFigures {
    soon(what, async {
        loop {
            let figures = bed.table.figures().remove(&"app".parse().unwrap()).unwrap_or_default();
            if done(&figures) {
                return figures;
            }
            tokio::task::yield_now().await;
        }
    })
    .await
}

#[tokio::test]
async fn answers_of_all_generations_are_a_workers_own() {
    let (bed, first) = Bed::and_worker().await;
    let mut client = bed.client().await;
    client.send("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi").await;
    let (request, mut upstream) = first.request().await;
    upstream.ok("0123456789").await;
    client.message().await;
    client.get("/b").await;
    upstream.message().await;
    upstream.send("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").await;
    client.message().await;

    let second = Worker::start(2).await;
    bed.publish([second.route("/")]);
    first.unclaimed().await;
    first.target.start_draining();
    client.get("/c").await;
    let (_, mut upstream) = second.request().await;
    upstream.ok("").await;
    client.message().await;

    let all = figures(&bed, "three answers", |figures| figures.all_durations().count() == 3).await;
    assert_eq!((all.requests, all.responses), (3, [0, 2, 0, 1, 0]));
    assert_eq!((all.durations[0].count(), all.durations[2].count()), (2, 1));
    assert_eq!((all.retries, all.aborted), (0, 0));
    assert!(all.bytes_sent > request.start.len() as u64 + 2, "{all:?}");
    assert_eq!(all.bytes_received, {
        let ok = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789".len();
        let missing = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".len();
        let empty = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".len();
        (ok + missing + empty) as u64
    });
    assert_eq!(second.target.figures().requests, 1, "the first's are not the second's");
}

#[tokio::test]
async fn how_long_an_answer_takes_is_measured_to_its_last_byte() {
    let (bed, worker) = Bed::and_worker().await;
    let mut client = bed.client().await;
    client.get("/").await;
    let (_, mut upstream) = worker.request().await;
    upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na").await;
    client.head().await;
    let pause = Duration::from_millis(30);
    // Not a wait for something: it is the time that is measured.
    tokio::time::sleep(pause).await;
    upstream.send("b").await;
    client.exactly(2).await;
    let one = figures(&bed, "an answer", |figures| figures.all_durations().count() == 1).await;
    assert!(one.all_durations().micros() >= 30_000, "{one:?}");
    assert!(one.all_durations().quantile(0.5).unwrap() >= pause);
}

#[tokio::test]
async fn what_is_answered_in_a_workers_stead_counts_as_its_own() {
    let mut settings = settings();
    settings.hold = Duration::from_millis(20);
    let bed = Bed::with(settings);
    let worker = Worker::start(1).await;
    bed.publish([worker.route("/")]);
    let mut client = bed.client().await;
    client.get("/dies").await;
    drop(worker.request().await);
    drop(worker.request().await);
    assert_eq!(client.message().await.status(), 502);
    let tried = figures(&bed, "a refusal", |figures| figures.responses[4] == 1).await;
    assert_eq!((tried.requests, tried.retries), (1, 1), "{tried:?}");

    drop(worker);
    client.get("/dead").await;
    assert_eq!(client.message().await.status(), 502);
    let dead = figures(&bed, "another", |figures| figures.responses[4] == 2).await;
    assert_eq!(dead.durations[3].count(), 2);
}

#[tokio::test]
async fn an_answer_that_broke_off_is_counted_and_not_measured() {
    let (bed, worker) = Bed::and_worker().await;
    let mut client = bed.client().await;
    client.get("/").await;
    let (_, mut upstream) = worker.request().await;
    upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npartial").await;
    drop(upstream);
    client.message().await;
    let broken = figures(&bed, "the break", |figures| figures.aborted == 1).await;
    assert_eq!((broken.responses[1], broken.all_durations().count()), (1, 0));
}
