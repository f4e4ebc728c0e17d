//! hyper, over bytes in memory: how another implementation reads them.

use std::cell::RefCell;
use std::convert::Infallible;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::service::service_fn;
use hyper::{client, server};

use super::http1::{Request, Response};

/// How often anything is polled before it counts as stuck.
const MAX_POLLS: usize = 100_000;

/// A connection whose other side says all it has, then no more.
struct Wire {
    bytes: Vec<u8>,
    at: usize,
    piece: usize,
    /// Whether it waits until it is spoken to.
    is_quiet: bool,
}

impl Read for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut room: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if self.is_quiet {
            return Poll::Pending;
        }
        let end = self.bytes.len().min(self.at + self.piece.min(room.remaining()));
        room.put_slice(&self.bytes[self.at..end]);
        self.at = end;
        Poll::Ready(Ok(()))
    }
}

impl Write for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.is_quiet = false;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// The requests that hyper's server hears.
pub(crate) fn requests(bytes: &[u8], piece: usize) -> Vec<Request> {
    let wire = Wire { bytes: bytes.to_vec(), at: 0, piece, is_quiet: false };
    let heard = Rc::new(RefCell::new(Vec::new()));
    let service = service_fn(|request: hyper::Request<Incoming>| {
        let heard = Rc::clone(&heard);
        async move {
            let (head, body) = request.into_parts();
            let host = head.headers.get("host").and_then(|host| host.to_str().ok());
            let host = head.uri.authority().map(|authority| authority.as_str()).or(host);
            let query = head.uri.query().map_or_else(String::new, |query| format!("?{query}"));
            heard.borrow_mut().push(Request {
                method: head.method.to_string(),
                target: format!("{}{query}", head.uri.path()),
                host: host.map(str::to_owned),
                is_http11: head.version == hyper::Version::HTTP_11,
                body: None,
            });
            let body = body.collect().await.ok().map(|body| body.to_bytes().to_vec());
            heard.borrow_mut().last_mut().expect("pushed above").body = body;
            Ok::<_, Infallible>(hyper::Response::new(Empty::<Bytes>::new()))
        }
    });
    let mut builder = server::conn::http1::Builder::new();
    let connection = builder.half_close(true).header_read_timeout(None);
    // How it ends says nothing that the requests do not.
    let _ = finish(connection.serve_connection(wire, service));
    heard.take()
}

/// The answer that hyper's client hears; `None` where it refuses it.
pub(crate) fn response(bytes: &[u8], to_head: bool, piece: usize) -> Option<Response> {
    let wire = Wire { bytes: bytes.to_vec(), at: 0, piece, is_quiet: true };
    let (mut sender, connection) = finish(client::conn::http1::handshake(wire)).ok()?;
    let request = hyper::Request::builder()
        .method(if to_head { "HEAD" } else { "GET" })
        .header("host", "h")
        .body(Empty::<Bytes>::new())
        .expect("it is valid");
    let mut connection = pin!(connection);
    let mut is_open = true;
    let mut exchange = pin!(async {
        let response = sender.send_request(request).await.ok()?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.ok();
        Some(Response { status, body: body.map(|body| body.to_bytes().to_vec()) })
    });
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..MAX_POLLS {
        is_open = is_open && connection.as_mut().poll(&mut cx).is_pending();
        if let Poll::Ready(answer) = exchange.as_mut().poll(&mut cx) {
            return answer;
        }
    }
    panic!("hyper does not end");
}

fn finish<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    for _ in 0..MAX_POLLS {
        if let Poll::Ready(end) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return end;
        }
    }
    panic!("hyper does not end");
}
