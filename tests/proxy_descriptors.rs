//! Running out of descriptors. Alone in its process: the limit is everybody's.

#[path = "proxy/bed.rs"]
#[allow(dead_code, reason = "shared with tests/proxy, which uses all of it")]
mod bed;

use std::fs::File;

use bed::{Bed, Peer};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::net::TcpSocket;

#[tokio::test]
async fn accept_backs_off_and_recovers() {
    let bed = Bed::new();
    bed.publish([]);
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, 200, hard).unwrap();
    // The client's socket exists before the last descriptor goes.
    let socket = TcpSocket::new_v4().unwrap();
    let mut hogs = Vec::new();
    while let Ok(hog) = File::open("/dev/null") {
        hogs.push(hog);
    }
    let mut client = Peer::new(socket.connect(bed.addr).await.unwrap());
    client.get("/").await;
    bed.until("the refusal of the kernel", |c| c.accept_errors >= 2).await;
    assert_eq!(bed.counters().connections, 0);
    drop(hogs);
    assert_eq!(client.message().await.status(), 404);
}
