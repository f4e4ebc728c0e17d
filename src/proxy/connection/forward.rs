//! Requests that go to a worker, and the worker's answers.

use std::io;
use std::rc::Rc;
use std::sync::Arc;

use http::StatusCode;
use tokio::time::Instant;

use super::super::client::Client;
use super::super::error_page::Page;
use super::super::exchange::{End, Exchange, Upstream};
use super::super::forward::{Failure, SendError};
use super::super::forwarding::RequestId;
use super::super::hold::Hold;
use super::super::live::Visit;
use super::super::pump::Pump;
use super::super::service::{self, Ask, Order, Refusal};
use super::super::socket::Socket;
use super::super::table::Route;
use super::super::tally::Tally;
use super::super::target::Target;
use super::super::tunnel::Tunnel;
use super::{Connection, Next, Upgraded};

impl Connection {
    /// Forwards a request to the target that was claimed, or to others should it be unreachable.
    pub(super) async fn forward<S: Socket>(
        &self,
        client: &mut Client<S>,
        ask: &Ask,
        mut order: Order,
        hold: &mut Hold<'_>,
        visit: Option<&Visit>,
    ) -> Next {
        let max_body = self.settings.listener.max_body_bytes;
        let allowance = if max_body == 0 { u64::MAX } else { max_body };
        let mut head_len = order.head.len();
        let upload = Pump::request(std::mem::take(&mut order.head), ask.body, allowance);
        let mut exchange = Exchange::new(self, client, ask, visit, upload);
        self.tally(&order).requests.add(1);
        note_target(ask, &order);
        let upstream = loop {
            let others = order.route.targets.len() > 1 || order.route.canary.is_some();
            exchange.compression.clone_from(&order.route.compression);
            match exchange.send(order.claim.target(), order.route.timeouts, others).await {
                Ok(upstream) => break upstream,
                Err(SendError::Gone) => return Next::Close,
                Err(SendError::Failed(failure)) => {
                    if failure.is_the_workers() {
                        failed(order.claim.target());
                    }
                    let refusal = self.explain(&failure, &order.route, &ask.id);
                    self.answered_for(&exchange, &order, failure.status());
                    return Box::pin(self.give_up(&mut exchange, refusal)).await;
                }
                Err(SendError::Unreachable(error)) => {
                    failed(order.claim.target());
                    let head = exchange.client.head().to_vec();
                    hold.weigh(head.len());
                    let other = self.other_order(&head, ask, &order, hold, visit, &error);
                    match Box::pin(exchange.client.unless_gone(other)).await {
                        Some(Ok(other)) => {
                            self.tally(&order).retries.add(1);
                            self.tally(&other).requests.add(1);
                            order = other;
                            note_target(ask, &order);
                        }
                        Some(Err(refusal)) => {
                            self.answered_for(&exchange, &order, StatusCode::BAD_GATEWAY);
                            return Box::pin(self.give_up(&mut exchange, refusal)).await;
                        }
                        None => return Next::Close,
                    }
                    exchange.upload.replace_head(head_len, &order.head);
                    head_len = order.head.len();
                }
            }
        };
        self.deliver(&mut exchange, upstream, order).await
    }

    /// Refuses a request that was on its way.
    async fn give_up<S: Socket>(
        &self,
        exchange: &mut Exchange<'_, S>,
        mut refusal: Refusal,
    ) -> Next {
        if exchange.download.is_cut() {
            // Behind half an interim answer nothing more can be said.
            return Next::Close;
        }
        let Exchange { client, ask, visit, .. } = exchange;
        // Some of a body may be with the worker: what is left would be taken for a request.
        refusal.close |= !ask.body.is_empty();
        self.refuse(client, ask, &refusal, *visit).await
    }

    /// Passes an answer on that has begun.
    async fn deliver<S: Socket>(
        &self,
        exchange: &mut Exchange<'_, S>,
        mut upstream: Upstream,
        order: Order,
    ) -> Next {
        let core = &self.core;
        let tally = self.tally(&order);
        core.counters.responded(exchange.start.status);
        tally.responded(exchange.start.status);
        if let Some(entry) = &exchange.ask.entry {
            entry.responded(exchange.start.status);
            exchange.begun_at.inspect(|begun| entry.answered_after(begun.elapsed()));
        }
        if exchange.start.status >= 500 {
            failed(order.claim.target());
        } else {
            order.claim.target().standing().succeeded();
        }
        if exchange.start.is_event_stream {
            let (core, target) = (Rc::clone(core), Arc::clone(order.claim.target()));
            exchange.start.cut =
                Some(Box::pin(async move { core.closing.stream_is_cut(&target).await }));
        }
        let end = exchange.finish(&mut upstream, order.route.timeouts).await;
        let is_uploaded = exchange.upload.is_done();
        if exchange.start.switched.is_none() {
            tally.passed(&upstream);
        }
        exchange.download.recycle(&core.buffers);
        exchange.upload.recycle(&core.buffers);
        let Exchange { client, ask, start, begun_at, .. } = exchange;
        match end {
            End::Whole if start.switched.is_some() => {
                let tunnel = Tunnel::new(upstream, order.claim, start.switched);
                Next::Upgrade(Upgraded::Tunnel(Box::new(tunnel)))
            }
            End::Whole => {
                let now = Instant::now();
                if let Some(begun) = begun_at.filter(|_| !start.is_event_stream) {
                    tally.took(start.status, now.duration_since(begun));
                }
                client.answered(now);
                let (socket, unread) = upstream.into_parts();
                // A worker that said more than its answer is not to be believed.
                if is_uploaded && start.keeps_alive && unread.is_empty() {
                    core.pool.put(order.claim.target(), socket, now);
                }
                match is_uploaded {
                    false => Next::Linger,
                    true if start.client_keeps_alive => Next::Request,
                    true => self.end(client),
                }
            }
            End::Gone => {
                broke_off(ask);
                Next::Close
            }
            End::Broken(why) => {
                core.counters.aborted.add(1);
                tally.aborted.add(1);
                broke_off(ask);
                tracing::warn!(
                    client = %self.peer, worker = %order.route.worker, request = %ask.id,
                    "answer broken off: {why}"
                );
                if start.close_delimited { Next::Reset } else { Next::Close }
            }
        }
    }

    /// Where this thread counts what it does with an order's target.
    fn tally<'o>(&self, order: &'o Order) -> &'o Tally {
        order.claim.target().tally(self.core.thread)
    }

    /// Counts an answer that is given in the stead of a target.
    fn answered_for<S: Socket>(
        &self,
        exchange: &Exchange<'_, S>,
        order: &Order,
        status: StatusCode,
    ) {
        let tally = self.tally(order);
        tally.responded(status.as_u16());
        if let Some(begun) = exchange.begun_at {
            tally.took(status.as_u16(), begun.elapsed());
        }
    }

    /// Another target for a request that its first one takes no connection for.
    async fn other_order(
        &self,
        head: &[u8],
        ask: &Ask,
        order: &Order,
        hold: &mut Hold<'_>,
        visit: Option<&Visit>,
        error: &io::Error,
    ) -> Result<Order, Refusal> {
        let dead = order.claim.target();
        self.core.pool.forget(dead);
        tracing::debug!(
            worker = %dead.worker, generation = %dead.generation, addr = %dead.addr,
            "worker takes no connections: {error}"
        );
        let other = service::reorder(self, head, ask, hold, visit, dead).await;
        other.map_err(|refusal| match refusal.page {
            Page::Status(StatusCode::SERVICE_UNAVAILABLE) => {
                tracing::warn!(
                    worker = %dead.worker, generation = %dead.generation,
                    request = %ask.id, "worker takes no connections: {error}"
                );
                Refusal::new(StatusCode::BAD_GATEWAY)
            }
            _ => refusal,
        })
    }

    /// The journal gets the detail, the client the status.
    fn explain(&self, failure: &Failure, route: &Route, id: &RequestId) -> Refusal {
        match failure {
            Failure::Upload(fault) => tracing::debug!(request = %id, "upload failed: {fault:?}"),
            _ => tracing::warn!(worker = %route.worker, request = %id, "{failure}"),
        }
        let close = matches!(failure, Failure::Upload(_));
        Refusal { page: Page::Status(failure.status()), close }
    }
}

/// Has the access log know where a request went.
fn note_target(ask: &Ask, order: &Order) {
    if let Some(entry) = &ask.entry {
        let target = order.claim.target();
        entry.sent_to(&target.worker, target.generation);
    }
}

/// And that its answer is not whole.
fn broke_off(ask: &Ask) {
    if let Some(entry) = &ask.entry {
        entry.broke_off();
    }
}

/// Remembers that a target has failed a request, which may eject it for a while.
fn failed(target: &Target) {
    if target.standing().failed() {
        tracing::warn!(
            worker = %target.worker, generation = %target.generation, addr = %target.addr,
            "fails again and again: other instances are preferred for a while"
        );
    }
}
