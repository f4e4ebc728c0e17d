//! Switched protocols (RFC 9110 section 7.8): what was asked for and granted is copied both ways
//! until both sides have ended, or the target or the process wants it to end.

mod direction;

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use direction::Direction;
use tokio::time::sleep;

use super::answer::Switched;
use super::core::Core;
use super::exchange::Upstream;
use super::socket::{Leg, Socket};
use super::target::Claim;
use super::websocket::{CLOSE_TO_CLIENT, close_to_server};

/// How long both sides may take to answer a close frame.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);

/// The worker's end of a tunnel that is about to begin.
pub(crate) struct Tunnel {
    worker: Upstream,
    claim: Claim,
    is_websocket: bool,
}

impl Tunnel {
    /// To a worker that has switched.
    pub(crate) fn new(worker: Upstream, claim: Claim, switched: Option<Switched>) -> Self {
        Self { worker, claim, is_websocket: switched == Some(Switched::WebSocket) }
    }

    /// Copies until the end. What either side sent before it knew of the switch is in its inbox.
    pub(crate) async fn run<S: Socket>(self, core: &Core, mut client: Leg<S>) {
        let Self { mut worker, claim, is_websocket } = self;
        let mut end = pin!(core.closing.stream_is_cut(claim.target()));
        let mut up = Direction::new(is_websocket, close_to_server().to_vec());
        let mut down = Direction::new(is_websocket, CLOSE_TO_CLIENT.to_vec());
        let copy = poll_fn(|cx| {
            if !up.is_closing() && end.as_mut().poll(cx).is_ready() {
                up.close();
                down.close();
            }
            let upwards = up.poll(cx, &mut client, &mut worker);
            let downwards = down.poll(cx, &mut worker, &mut client);
            match (upwards, downwards) {
                // Either side's failure is the other's end: nothing to tell beyond that.
                (Poll::Ready(Err(_)), _) | (_, Poll::Ready(Err(_))) => Poll::Ready(()),
                (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => Poll::Ready(()),
                _ => Poll::Pending,
            }
        });
        let limit = async {
            core.closing.stream_is_cut(claim.target()).await;
            sleep(CLOSE_LIMIT).await;
        };
        tokio::select! {
            () = copy => {}
            () = limit => {}
        }
        claim.target().tally(core.thread).passed(&worker);
    }
}
