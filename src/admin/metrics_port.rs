//! The numbers for a Prometheus that speaks TCP (`server.metrics.listen`): these and nothing else, to
//! whoever is on this machine.

use std::sync::Arc;

use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::api::Control;
use super::server::{self, Body};
use super::tcp;

/// Connections at once.
const MAX_CONNECTIONS: usize = 8;

/// Answers until `shutdown`.
pub async fn serve(listener: TcpListener, control: Arc<impl Control>, shutdown: CancellationToken) {
    let answer = move |request| {
        let answer = answer(&request, &*control);
        async move { answer }
    };
    tcp::serve(listener, MAX_CONNECTIONS, "metrics", answer, shutdown).await;
}

fn answer(request: &Request<Incoming>, control: &impl Control) -> Response<Body> {
    if !tcp::is_for_this_machine(request.headers()) {
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
