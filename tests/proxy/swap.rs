//! Claim or retry: while generations come and go, no request is lost, and none reaches a
//! generation that was told to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tqserver::ids::Generation;
use tqserver::proxy::table::WeightedTargets;
use tqserver::proxy::target::Target;

use crate::bed::{Bed, route, settings, soon};

const SWAPS: u64 = 2000;
const CLIENTS: usize = 16;

/// Requests that reached a generation after it had drained.
static LATE: AtomicU64 = AtomicU64::new(0);

/// A worker that answers at once, and knows when it must not be asked any more.
struct Generating {
    target: Arc<Target>,
    stopped: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<()>,
}

impl Generating {
    async fn start(generation: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let target = Target::new("app".parse().unwrap(), Generation(generation), addr);
        let stopped = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&stopped);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(answer(stream, Arc::clone(&flag)));
            }
        });
        Self { target, stopped, task }
    }
}

async fn answer(mut stream: TcpStream, stopped: Arc<AtomicBool>) {
    let mut buffer = [0; 4096];
    // A request fits one read: heads are small and clients wait for answers.
    while stream.read(&mut buffer).await.is_ok_and(|n| n > 0) {
        if stopped.load(Ordering::SeqCst) {
            LATE.fetch_add(1, Ordering::SeqCst);
        }
        if stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.is_err() {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_swaps_loses_nothing() {
    let bed = Arc::new(Bed::threaded(2, settings()));
    let mut current = Generating::start(0).await;
    bed.publish([route("/", WeightedTargets::single(Arc::clone(&current.target)))]);

    let done = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let (bed, done) = (Arc::clone(&bed), Arc::clone(&done));
            tokio::spawn(async move {
                let mut client = bed.client().await;
                let mut asked = 0;
                while !done.load(Ordering::Relaxed) {
                    // POST as well: a swap must not even need a retry.
                    let method = if number % 2 == 0 { "GET" } else { "POST" };
                    client
                        .send(format!(
                            "{method} / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"
                        ))
                        .await;
                    let answer = client.message().await;
                    assert_eq!((answer.status(), answer.text()), (200, "ok"));
                    asked += 1;
                }
                asked
            })
        })
        .collect();

    for generation in 1..=SWAPS {
        // The load keeps up with the swaps, however the threads are scheduled.
        bed.until("more requests", |counters| counters.requests >= 4 * generation).await;
        let next = Generating::start(generation).await;
        bed.publish([route("/", WeightedTargets::single(Arc::clone(&next.target)))]);
        let old = std::mem::replace(&mut current, next);
        old.target.start_draining();
        soon("the drain", old.target.drained()).await;
        old.stopped.store(true, Ordering::SeqCst);
        assert!(old.target.claim().is_none());
        old.task.abort();
    }
    done.store(true, Ordering::Relaxed);
    let mut asked = 0;
    for client in clients {
        asked += soon("a client's end", client).await.unwrap();
    }
    let counters = bed.counters();
    assert_eq!(counters.requests, asked);
    assert_eq!(counters.responses, [0, asked, 0, 0, 0]);
    assert_eq!(counters.aborted, 0);
    assert_eq!(LATE.load(Ordering::SeqCst), 0);
    soon("the last claim's end", async {
        while current.target.in_flight() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
