//! A generation beside the one that serves gets what it is to get, and nothing is lost by it.

use tqserver::proxy::canary::Canary;
use tqserver::proxy::table::{Route, WeightedTargets};

use crate::bed::{Bed, Worker};

/// What serves, and a canary with a share of the requests and with testers.
async fn beside(share: u8, testers: Option<&str>) -> (Bed, Worker, Worker) {
    let (bed, stable) = Bed::and_worker().await;
    let canary = Worker::start(2).await;
    publish(&bed, &stable, &canary, share, testers);
    (bed, stable, canary)
}

fn publish(bed: &Bed, stable: &Worker, canary: &Worker, share: u8, testers: Option<&str>) {
    let targets = WeightedTargets::single(canary.target.clone());
    let testers = testers.map(|text| text.parse().unwrap());
    let canary = Some(Canary { targets, share, testers });
    bed.publish([Route { canary, ..stable.route("/") }]);
}

const TESTER: &str = "GET / HTTP/1.1\r\nHost: x\r\nX-Canary: yes\r\n\r\n";

#[tokio::test]
async fn testers_get_the_canary_and_others_what_serves() {
    let (bed, stable, canary) = beside(0, Some("header:X-Canary=yes")).await;
    let mut client = bed.client().await;
    for _ in 0..3 {
        client.send(TESTER).await;
        let (_, mut upstream) = canary.request().await;
        upstream.ok("new").await;
        assert_eq!(client.message().await.text(), "new");
        client.get("/").await;
        let (_, mut upstream) = stable.request().await;
        upstream.ok("old").await;
        assert_eq!(client.message().await.text(), "old");
    }
}

#[tokio::test]
async fn a_share_of_the_requests_goes_to_the_canary() {
    let (bed, stable, canary) = beside(50, None).await;
    let mut seen = [false; 2];
    while seen != [true; 2] {
        let mut client = bed.client().await;
        client.get("/").await;
        let ((_, mut upstream), index) = tokio::select! {
            request = stable.request() => (request, 0),
            request = canary.request() => (request, 1),
        };
        seen[index] = true;
        upstream.ok("").await;
        assert_eq!(client.message().await.status(), 200);
    }
}

#[tokio::test]
async fn what_a_canary_cannot_take_goes_to_what_serves() {
    let (bed, stable, canary) = beside(0, Some("header:X-Canary=yes")).await;
    let target = canary.target.clone();
    // Its port is nobody's now.
    drop(canary);
    let mut client = bed.client().await;
    client.send(TESTER).await;
    let (_, mut upstream) = stable.request().await;
    upstream.ok("old").await;
    assert_eq!(client.message().await.text(), "old");

    target.start_draining();
    client.send(TESTER).await;
    upstream.message().await;
    upstream.ok("old").await;
    assert_eq!(client.message().await.text(), "old");
}
