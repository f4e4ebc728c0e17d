//! A client that asks until it is answered what it waits for.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use crate::session::{get, send};

/// Between two questions.
const PACE: Duration = Duration::from_millis(1);

/// How long after `began` the first answer came that begins with `text`.
pub fn served(addr: SocketAddr, path: &str, text: &str, began: Instant) -> Duration {
    loop {
        if let Ok(answer) = send(addr, &get(path))
            && answer.status == 200
            && answer.body.starts_with(text)
        {
            return began.elapsed();
        }
        thread::sleep(PACE);
    }
}
