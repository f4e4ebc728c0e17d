//! Accepting connections of this machine, a request each.

use std::convert::Infallible;
use std::net::IpAddr;

use http::header::HOST;
use http::uri::Authority;
use http::{HeaderMap, Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::server::{self, ACCEPT_BACKOFF, Body};

/// Answers until `shutdown`, with `most` connections at once; further ones wait in the kernel's queue.
/// `what` is what the log calls it.
pub(super) async fn serve<F, A>(
    listener: TcpListener,
    most: usize,
    what: &'static str,
    answer: F,
    shutdown: CancellationToken,
) where
    F: Fn(Request<Incoming>) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Response<Body>> + Send,
{
    let mut connections = JoinSet::new();
    loop {
        let full = connections.len() >= most;
        tokio::select! {
            () = shutdown.cancelled() => return,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if !full => match accepted {
                Ok((stream, _)) => {
                    let answer = answer.clone();
                    connections.spawn(async move {
                        let service = service_fn(|request| {
                            let answered = answer(request);
                            async move { Ok::<_, Infallible>(answered.await) }
                        });
                        server::serve_one(stream, service, what).await;
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "{what}: cannot accept: {error}");
                    tokio::time::sleep(ACCEPT_BACKOFF).await;
                }
            },
        }
    }
}

/// Whether a request is for this machine by its own name for itself: a page of somebody's browser on it
/// may have a name of its own point here.
pub(super) fn is_for_this_machine(fields: &HeaderMap) -> bool {
    fields.get(HOST).is_some_and(|host| is_of_this_machine(host.as_bytes()))
}

fn is_of_this_machine(host: &[u8]) -> bool {
    let Ok(authority) = Authority::try_from(host) else { return false };
    let name = authority.host().trim_start_matches('[').trim_end_matches(']');
    let is_loopback = |addr: IpAddr| addr.is_loopback();
    name.eq_ignore_ascii_case("localhost") || name.parse().is_ok_and(is_loopback)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_of_this_machine() {
        for host in ["localhost", "LOCALHOST:9464", "127.0.0.1:9464", "127.1.2.3", "[::1]:9464"] {
            assert!(is_of_this_machine(host.as_bytes()), "{host}");
        }
        for host in
            ["", "evil.example", "localhost.evil.example:9464", "192.0.2.1", "[::2]:1", "a b"]
        {
            assert!(!is_of_this_machine(host.as_bytes()), "{host}");
        }
    }
}
