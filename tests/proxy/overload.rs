//! Workers that are asked for more than they take.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tqserver::ids::Generation;
use tqserver::proxy::intake::{Intake, IntakeSettings};
use tqserver::proxy::table::WeightedTargets;
use tqserver::proxy::target::{Target, TargetSettings};

use crate::bed::{Bed, Peer, Worker, route};

/// Longer than a test takes.
const LONG: Duration = Duration::from_secs(20);

/// An instance that shares the limits of its worker.
async fn instance(intake: &Arc<Intake>) -> Worker {
    let mut worker = Worker::start(1).await;
    let settings = TargetSettings { intake: Arc::clone(intake), ..TargetSettings::default() };
    let name = worker.target.worker.clone();
    worker.target = Target::with_settings(name, Generation(1), worker.target.addr, settings);
    worker
}

/// A worker of one instance.
async fn limited(settings: IntakeSettings) -> (Bed, Worker, Arc<Intake>) {
    let (bed, intake) = (Bed::new(), Intake::new(settings));
    let worker = instance(&intake).await;
    bed.publish([worker.route("/")]);
    (bed, worker, intake)
}

/// A client that asks, and how many requests have been heard of then.
async fn ask(bed: &Bed, path: &str, requests: u64) -> Peer {
    let mut client = bed.client().await;
    client.get(path).await;
    bed.until("the request", |c| c.requests == requests).await;
    client
}

#[tokio::test]
async fn what_is_too_much_waits_in_its_order_and_the_rest_is_refused_at_once() {
    let settings = IntakeSettings { max_in_flight: 1, max_queued: 2, queue: LONG };
    let (bed, worker, _) = limited(settings).await;
    let mut clients = Vec::new();
    for (number, path) in (1..).zip(["/first", "/second", "/third"]) {
        clients.push(ask(&bed, path, number).await);
    }
    let begun = Instant::now();
    let refused = ask(&bed, "/fourth", 4).await.message().await;
    assert_eq!((refused.status(), refused.header("retry-after").as_deref()), (503, Some("1")));
    assert!(begun.elapsed() < LONG / 2);
    assert_eq!(bed.counters().shed, 1);

    let (request, mut upstream) = worker.request().await;
    assert_eq!(request.start, "GET /first HTTP/1.1");
    assert_eq!(worker.target.in_flight(), 1);
    upstream.ok("").await;
    for path in ["/second", "/third"] {
        assert_eq!(upstream.message().await.start, format!("GET {path} HTTP/1.1"));
        assert_eq!(worker.target.in_flight(), 1);
        upstream.ok("").await;
    }
    for client in &mut clients {
        assert_eq!(client.message().await.status(), 200);
    }
    worker.unclaimed().await;
}

#[tokio::test]
async fn nobody_waits_for_a_place_for_long() {
    let queue = Duration::from_millis(50);
    let (bed, worker, _) = limited(IntakeSettings { max_in_flight: 1, max_queued: 9, queue }).await;
    let mut first = ask(&bed, "/", 1).await;
    let (_, mut upstream) = worker.request().await;
    let begun = Instant::now();
    assert_eq!(ask(&bed, "/", 2).await.message().await.status(), 503);
    assert!(begun.elapsed() >= queue);
    upstream.ok("").await;
    assert_eq!(first.message().await.status(), 200);
    // The place is free again.
    first.get("/").await;
    upstream.message().await;
    upstream.ok("").await;
    assert_eq!(first.message().await.status(), 200);
}

#[tokio::test]
async fn a_client_that_gives_up_leaves_its_place_in_the_queue() {
    let settings = IntakeSettings { max_in_flight: 1, max_queued: 1, queue: LONG };
    let (bed, worker, _) = limited(settings).await;
    let _first = ask(&bed, "/first", 1).await;
    let (_, mut upstream) = worker.request().await;
    drop(ask(&bed, "/gone", 2).await);
    bed.until("its end", |c| c.in_flight == 1).await;
    let mut third = ask(&bed, "/third", 3).await;
    upstream.ok("").await;
    assert_eq!(upstream.message().await.start, "GET /third HTTP/1.1");
    upstream.ok("").await;
    assert_eq!(third.message().await.status(), 200);
}

#[tokio::test]
async fn another_instance_is_a_place_for_those_who_wait() {
    let settings = IntakeSettings { max_in_flight: 1, max_queued: 1, queue: LONG };
    let (bed, one, intake) = limited(settings).await;
    let _first = ask(&bed, "/", 1).await;
    let _busy = one.request().await;
    let mut second = ask(&bed, "/second", 2).await;
    let other = instance(&intake).await;
    let both = [(Arc::clone(&one.target), 1), (Arc::clone(&other.target), 1)];
    bed.publish([route("/", WeightedTargets::new(both))]);
    let (request, mut upstream) = other.request().await;
    assert_eq!(request.start, "GET /second HTTP/1.1");
    upstream.ok("").await;
    assert_eq!(second.message().await.status(), 200);
}

#[tokio::test]
async fn limits_may_be_raised_under_those_who_wait() {
    let settings = IntakeSettings { max_in_flight: 1, max_queued: 1, queue: LONG };
    let (bed, worker, intake) = limited(settings).await;
    let _first = ask(&bed, "/", 1).await;
    let _busy = worker.request().await;
    let _second = ask(&bed, "/second", 2).await;
    intake.set(IntakeSettings { max_in_flight: 2, ..settings });
    bed.publish([worker.route("/")]);
    assert_eq!(worker.request().await.0.start, "GET /second HTTP/1.1");
}

/// Many at once, over more threads than one: nobody is forgotten in the queue, and the limit holds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_load_the_limit_holds_and_nobody_is_forgotten() {
    let bed = Bed::threaded(2, crate::bed::settings());
    let intake = Intake::new(IntakeSettings { max_in_flight: 3, max_queued: 100, queue: LONG });
    let worker = Arc::new(instance(&intake).await);
    bed.publish([worker.route("/")]);
    let serving = {
        let worker = Arc::clone(&worker);
        tokio::spawn(async move {
            while let Some(mut peer) = worker.accept_if_any().await {
                let worker = Arc::clone(&worker);
                tokio::spawn(async move {
                    while peer.next_message().await.is_some() {
                        assert!(worker.target.in_flight() <= 3);
                        peer.ok("").await;
                    }
                });
            }
        })
    };
    let mut clients = Vec::new();
    for _ in 0..40 {
        let mut client = bed.client().await;
        clients.push(tokio::spawn(async move {
            for _ in 0..25 {
                client.get("/").await;
                assert_eq!(client.message().await.status(), 200);
            }
        }));
    }
    for client in clients {
        client.await.unwrap();
    }
    serving.abort();
    worker.unclaimed().await;
}
