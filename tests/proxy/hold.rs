//! Requests that wait for a worker.

use std::time::{Duration, Instant};

use rstest::rstest;
use tqserver::proxy::table::{Refused, Route, RouteTable, WeightedTargets};

use crate::bed::{Bed, Worker, route, settings};

#[tokio::test]
async fn a_request_before_the_first_table_is_held_and_then_served() {
    let bed = Bed::new();
    let mut client = bed.client().await;
    client
        .send("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        .await;
    bed.until("the hold", |c| c.held == 1).await;
    let worker = Worker::start(1).await;
    bed.publish([worker.route("/")]);
    // Only now is the body asked for.
    assert_eq!(client.head().await.status(), 100);
    client.send("hi").await;
    let (request, mut upstream) = worker.request().await;
    assert_eq!(request.text(), "hi");
    upstream.ok("held").await;
    assert_eq!(client.message().await.text(), "held");
    bed.until("the hold's end", |c| c.held == 0).await;
    assert_eq!((bed.counters().holds, bed.counters().holds_failed), (1, 0));
}

#[tokio::test]
async fn a_route_without_targets_holds_through_tables_that_do_not_help() {
    let bed = Bed::new();
    bed.publish([route("/", WeightedTargets::default())]);
    let mut client = bed.client().await;
    client.get("/").await;
    bed.until("the hold", |c| c.held == 1).await;
    bed.publish([route("/", WeightedTargets::default())]);
    let worker = Worker::start(1).await;
    bed.publish([worker.route("/")]);
    let (_, mut upstream) = worker.request().await;
    upstream.ok("").await;
    assert_eq!(client.message().await.status(), 200);
}

#[rstest]
#[case::undecided(false, "/")]
#[case::no_target(true, "/")]
#[case::static_undecided(false, "/static/app/x.css")]
#[tokio::test]
async fn a_hold_that_passes_is_503_with_retry_after(#[case] decided: bool, #[case] path: &str) {
    let mut settings = settings();
    settings.hold = Duration::from_millis(20);
    let bed = Bed::with(settings);
    if decided {
        bed.publish([route("/", WeightedTargets::default())]);
    }
    let mut client = bed.client().await;
    client.get(path).await;
    let answer = client.message().await;
    assert_eq!(answer.status(), 503);
    assert!(answer.header("retry-after").is_some());
    assert_eq!((bed.counters().holds, bed.counters().holds_failed), (1, 1));
}

#[tokio::test]
async fn while_a_worker_fails_again_and_again_nobody_waits_for_it() {
    let bed = Bed::new();
    let mut early = bed.client().await;
    early.get("/").await;
    bed.until("the hold", |c| c.held == 1).await;
    let until = Instant::now() + Duration::from_secs(10);
    let none = || route("/", WeightedTargets::default());
    bed.publish([Route { refused: Some(Refused::Until(until)), ..none() }]);
    let mut late = bed.client().await;
    late.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi").await;
    for client in [&mut early, &mut late] {
        let answer = client.message().await;
        assert_eq!(answer.status(), 503);
        let after: u64 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=10).contains(&after), "what is left of the wait: {after}");
    }
    // Its attempt is under way: there is no telling when it ends.
    bed.publish([Route { refused: Some(Refused::Until(Instant::now())), ..none() }]);
    early.get("/").await;
    assert_eq!(early.message().await.header("retry-after").as_deref(), Some("1"));
    bed.publish([Route { refused: Some(Refused::Drained), ..none() }]);
    early.get("/").await;
    assert_eq!(early.message().await.header("retry-after").as_deref(), Some("60"));
    bed.publish([none()]);
    early.get("/").await;
    bed.until("the hold", |c| c.held == 1).await;
}

#[tokio::test]
async fn no_more_than_so_many_are_held() {
    let mut settings = settings();
    settings.hold_max_requests = 1;
    let bed = Bed::with(settings);
    let mut first = bed.client().await;
    first.get("/").await;
    bed.until("the hold", |c| c.held == 1).await;
    let mut second = bed.client().await;
    second.get("/").await;
    assert_eq!(second.message().await.status(), 503);
    // A client that gives up makes room.
    drop(first);
    bed.until("the hold's end", |c| c.held == 0).await;
}

#[tokio::test]
async fn no_more_is_held_than_there_is_room_for() {
    let mut settings = settings();
    settings.hold_max_bytes = 1000;
    let bed = Bed::with(settings);
    let large = |len| format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(len));
    let mut first = bed.client().await;
    first.send(large(600)).await;
    bed.until("the hold", |c| c.held == 1).await;
    let mut second = bed.client().await;
    second.send(large(600)).await;
    assert_eq!(second.message().await.status(), 503);
    second.send(large(10)).await;
    bed.until("the hold of a small one", |c| c.held == 2).await;
    drop((first, second));
    bed.until("the holds' end", |c| c.held == 0).await;
    let mut third = bed.client().await;
    third.send(large(800)).await;
    bed.until("the hold where there is room again", |c| c.held == 1).await;
}

#[tokio::test]
async fn unknown_paths_are_not_found_once_routes_are_decided() {
    let bed = Bed::new();
    let worker = Worker::start(1).await;
    bed.publish([worker.route("/api")]);
    let mut client = bed.client().await;
    for path in ["/", "/apix", "/static/nobody/x.css", "/static", "/static/app"] {
        client.get(path).await;
        assert_eq!(client.message().await.status(), 404, "{path}");
    }
    bed.table.publish(RouteTable::new([]));
    client.get("/api").await;
    assert_eq!(client.message().await.status(), 404);
}

#[tokio::test]
async fn with_static_files_off_the_prefix_is_a_path_like_any() {
    let mut settings = settings();
    settings.static_files.enabled = false;
    let bed = Bed::with(settings);
    let worker = Worker::start(1).await;
    bed.publish([worker.route("/")]);
    let mut client = bed.client().await;
    client.get("/static/app/x.css").await;
    assert_eq!(worker.request().await.0.start, "GET /static/app/x.css HTTP/1.1");
}

#[rstest]
#[case("/")]
#[case("/static/app/x.css")]
#[tokio::test]
async fn with_nothing_deployed_nobody_waits_until_something_is(#[case] path: &str) {
    let bed = Bed::new();
    let mut early = bed.client().await;
    early.get(path).await;
    bed.until("the hold", |c| c.held == 1).await;
    bed.table.publish(RouteTable::nothing_deployed());
    let mut late = bed.client().await;
    late.get(path).await;
    for client in [&mut early, &mut late] {
        let answer = client.message().await;
        assert_eq!(answer.status(), 503);
        assert!(answer.header("retry-after").is_some());
        assert!(answer.text().contains("nothing is deployed yet"), "{}", answer.text());
    }

    bed.table.publish(RouteTable::default());
    late.get(path).await;
    bed.until("the hold", |c| c.held == 1).await;
    bed.publish([]);
    assert_eq!(late.message().await.status(), 404);
}
