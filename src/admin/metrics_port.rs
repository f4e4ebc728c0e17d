//! The numbers for a Prometheus that speaks TCP (`server.metrics.listen`): these and nothing else, to
//! whoever is on this machine.

use std::convert::Infallible;
use std::sync::Arc;

use http::header::HOST;
use http::uri::Authority;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::api::Control;
use super::server::{self, ACCEPT_BACKOFF, Body};

/// Connections at once; further ones wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 8;

/// Answers until `shutdown`.
pub async fn serve(listener: TcpListener, control: Arc<impl Control>, shutdown: CancellationToken) {
    let mut connections = JoinSet::new();
    loop {
        let full = connections.len() >= MAX_CONNECTIONS;
        tokio::select! {
            () = shutdown.cancelled() => return,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if !full => match accepted {
                Ok((stream, _)) => {
                    let control = Arc::clone(&control);
                    let service = service_fn(move |request| {
                        let answer = answer(&request, &*control);
                        async move { Ok::<_, Infallible>(answer) }
                    });
                    connections.spawn(server::serve_one(stream, service, "metrics"));
                }
                Err(error) => {
                    tracing::warn!(%error, "metrics: cannot accept: {error}");
                    tokio::time::sleep(ACCEPT_BACKOFF).await;
                }
            },
        }
    }
}

fn answer(request: &Request<Incoming>, control: &impl Control) -> Response<Body> {
    // A page of somebody's browser on this machine may have its own name point here.
    if !request.headers().get(HOST).is_some_and(|host| is_of_this_machine(host.as_bytes())) {
        let error = "only localhost is answered for, or an address of loopback".to_owned();
        return server::refuse(StatusCode::MISDIRECTED_REQUEST, error);
    }
    match (request.uri().path(), request.method()) {
        ("/metrics", &Method::GET | &Method::HEAD) => server::metrics(control.metrics()),
        ("/metrics", _) => server::method_not_allowed("GET, HEAD"),
        (path, _) => {
            server::refuse(StatusCode::NOT_FOUND, format!("there is no {path:?}, only /metrics"))
        }
    }
}

fn is_of_this_machine(host: &[u8]) -> bool {
    let Ok(authority) = Authority::try_from(host) else { return false };
    let name = authority.host().trim_start_matches('[').trim_end_matches(']');
    let is_loopback = |addr: std::net::IpAddr| addr.is_loopback();
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
