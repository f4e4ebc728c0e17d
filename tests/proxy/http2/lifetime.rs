//! How a connection ends: in its time, and without losing what is under way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rstest::rstest;

use super::frames::*;
use super::{Answer, Client, bed, bed_with, get, read, serve, settings};
use crate::bed::{Bed, Worker, soon};

const SHORT: Duration = Duration::from_millis(50);

#[rstest]
#[case::nothing(&b""[..], false)]
#[case::half_a_preface(&PREFACE[..10], false)]
#[case::no_settings(PREFACE, true)]
#[tokio::test]
async fn who_asks_for_nothing_is_closed(#[case] bytes: &[u8], #[case] is_told: bool) {
    let mut settings = settings();
    settings.listener.read_timeout = SHORT;
    let bed = Bed::with(settings);
    let mut peer = bed.client().await;
    peer.send(bytes).await;
    if is_told {
        assert_eq!(next_of(&mut peer, GOAWAY).await.error(), NO_ERROR);
    }
    peer.rest().await;
    drop(peer);
    bed.until("the end", |c| c.open_connections == 0).await;
}

#[tokio::test]
async fn an_idle_connection_is_told_and_closed() {
    let mut settings = settings();
    settings.listener.idle_timeout = SHORT;
    let bed = Bed::with(settings);
    bed.publish([]);
    let mut client = Client::new(&bed).await;
    assert_eq!(client.get("/").await.unwrap().status(), 404);
    soon("the end", &mut client.connection).await.unwrap().unwrap();
    bed.until("the end", |c| c.open_connections == 0).await;
}

#[tokio::test]
async fn a_connection_with_a_request_is_not_idle() {
    let mut settings = settings();
    settings.listener.idle_timeout = SHORT;
    settings.listener.read_timeout = SHORT;
    settings.listener.write_timeout = SHORT;
    let (bed, worker) = bed_with(settings).await;
    let mut client = Client::new(&bed).await;
    let (response, _) = client.begin(get("/"), false).await;
    let (_, mut upstream) = worker.request().await;
    tokio::time::sleep(4 * SHORT).await;
    upstream.ok("at last").await;
    let answer = Answer::of(soon("the answer", response).await.unwrap()).await.unwrap();
    assert_eq!(&answer.body[..], b"at last");
}

/// Who has all but the last bytes of its answer, and does not take those.
#[tokio::test]
async fn who_does_not_take_the_end_of_an_answer_is_left() {
    let mut settings = settings();
    settings.listener.write_timeout = SHORT;
    let (bed, worker) = bed_with(settings).await;
    let mut peer = connect(&bed).await;
    // SETTINGS_INITIAL_WINDOW_SIZE of nothing.
    peer.send(frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0])).await;
    peer.send(request(1, &[])).await;
    worker.request().await.1.ok("never").await;
    next_of(&mut peer, HEADERS).await;
    assert_eq!(next_of(&mut peer, RST_STREAM).await.stream, 1);
    worker.unclaimed().await;
}

#[tokio::test]
async fn a_shutdown_answers_what_is_under_way() {
    let (mut bed, worker) = bed().await;
    let mut client = Client::new(&bed).await;
    let mut under_way = vec![];
    for _ in 0..5 {
        let response = client.begin(get("/"), false).await.0;
        under_way.push((response, worker.request().await.1));
    }
    let mut idle = Client::new(&bed).await;
    bed.until("the idle one", |c| c.connections == 2).await;
    let plane = bed.plane.take().unwrap();
    let shutdown = tokio::spawn(plane.shutdown(Duration::from_secs(20)));
    // The idle one is told, and closed at once.
    soon("the idle one's end", &mut idle.connection).await.unwrap().unwrap();
    let body = "x".repeat(3 << 20);
    for (response, mut upstream) in under_way {
        let (response, ()) = tokio::join!(response, upstream.ok(&body));
        let answer = Answer::of(response.unwrap()).await.unwrap();
        assert_eq!(answer.body.len(), body.len());
    }
    soon("the end", &mut client.connection).await.unwrap().unwrap();
    soon("the shutdown", shutdown).await.unwrap();
    worker.unclaimed().await;
}

/// A client may have sent a request before it hears of the end.
#[tokio::test]
async fn a_shutdown_loses_no_request_of_busy_clients() {
    let (mut bed, worker) = bed().await;
    let serving = serve(worker, |_| "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_owned());
    let mut clients = vec![];
    for _ in 0..4 {
        let client = Client::new(&bed).await;
        clients.push(tokio::spawn(async move {
            let mut answered = 0;
            loop {
                // Refused before it was sent, when the client has heard of the end.
                let Ok(mut send) = client.send.clone().ready().await else { return answered };
                let Ok((response, _)) = send.send_request(get("/"), true) else { return answered };
                match response.await {
                    Ok(response) => {
                        assert_eq!(Answer::of(response).await.unwrap().body, "ok");
                        answered += 1;
                    }
                    // Not processed, as GOAWAY said (RFC 9113 section 6.8).
                    Err(error) => {
                        assert!(error.is_go_away() && error.is_remote(), "{error:?}");
                        assert_eq!(error.reason(), Some(h2::Reason::NO_ERROR));
                        return answered;
                    }
                }
            }
        }));
    }
    bed.until("some answers", |c| c.requests > 200).await;
    let plane = bed.plane.take().unwrap();
    soon("the shutdown", plane.shutdown(Duration::from_secs(20))).await;
    for client in clients {
        assert!(soon("a client's end", client).await.unwrap() > 0);
    }
    serving.abort();
}

#[tokio::test]
async fn event_streams_end_whole_on_a_shutdown() {
    let (mut bed, worker) = bed().await;
    let mut client = Client::new(&bed).await;
    let (response, _) = client.begin(get("/"), false).await;
    let (_, mut upstream) = worker.request().await;
    let head =
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    upstream.send(format!("{head}3\r\nhi\n\r\n")).await;
    let mut body = soon("the head", response).await.unwrap().into_body();
    soon("data", body.data()).await.unwrap().unwrap();
    let plane = bed.plane.take().unwrap();
    let shutdown = tokio::spawn(plane.shutdown(Duration::from_secs(20)));
    assert_eq!(read(&mut body).await.unwrap(), "");
    soon("the shutdown", shutdown).await.unwrap();
}

#[tokio::test]
async fn generations_change_under_load_and_no_request_is_lost() {
    let (bed, worker) = bed().await;
    let answer = |n: u64| {
        move |_: &crate::bed::Message| {
            let body = n.to_string();
            format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
        }
    };
    let mut old = Arc::clone(&worker.target);
    let mut serving = vec![serve(worker, answer(1))];
    let stop = Arc::new(AtomicBool::new(false));
    let mut clients = vec![];
    for _ in 0..3 {
        let mut client = Client::new(&bed).await;
        let stop = Arc::clone(&stop);
        clients.push(tokio::spawn(async move {
            let mut answered = 0;
            while !stop.load(Ordering::Relaxed) {
                let mut responses = vec![];
                for _ in 0..20 {
                    responses.push(client.begin(get("/"), false).await.0);
                }
                for response in responses {
                    let answer = Answer::of(response.await.unwrap()).await.unwrap();
                    assert_eq!(answer.status(), 200);
                    answered += 1;
                }
            }
            answered
        }));
    }
    for n in 2..8 {
        let before = bed.counters().requests;
        bed.until("some requests", |c| c.requests > before + 100).await;
        let worker = Worker::start(n).await;
        bed.publish([worker.route("/")]);
        old.start_draining();
        let next = Arc::clone(&worker.target);
        serving.push(serve(worker, answer(n)));
        soon("the end of the old one's requests", async {
            while old.in_flight() > 0 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        // It takes no connections any more.
        serving[serving.len() - 2].abort();
        old = next;
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        assert!(soon("a client's end", client).await.unwrap() > 0);
    }
    let counters = bed.counters();
    assert_eq!((counters.aborted, counters.responses[4]), (0, 0), "{counters:?}");
}
