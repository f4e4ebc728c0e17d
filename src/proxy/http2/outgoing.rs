//! What is written to a stream's socket: an answer in HTTP/1.1, which the client gets in frames.

use std::io;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use h2::server::SendResponse;
use h2::{Reason, SendStream};
use http::header::{HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT};
use http::{Response, StatusCode};

use super::incoming::to_io;
use crate::http1::{BodyDecoder, FieldName, FieldSpace, ResponseHead, Step};

/// An answer on its way out.
pub(super) struct Outgoing {
    state: State,
    is_head: bool,
    /// For a WebSocket: what its worker must answer.
    accept: Option<String>,
}

enum State {
    /// The head is awaited, of which so much is here.
    Head(SendResponse<Bytes>, Vec<u8>),
    /// The body: of what the decoder has found, so many bytes are still to be sent.
    Body(SendStream<Bytes>, BodyDecoder, usize),
    /// What is written is sent as it is.
    Tunnel(SendStream<Bytes>),
    /// The client was told of the end.
    Ended,
}

impl Outgoing {
    /// An answer that has not begun.
    pub(super) fn new(respond: SendResponse<Bytes>, is_head: bool, accept: Option<String>) -> Self {
        Self { state: State::Head(respond, Vec::new()), is_head, accept }
    }

    /// Whether the client was told of the end.
    pub(super) fn is_ended(&self) -> bool {
        matches!(self.state, State::Ended)
    }

    /// Ready when the client has reset the stream, or has gone.
    pub(super) fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let reset = match &mut self.state {
            State::Head(respond, _) => respond.poll_reset(cx),
            State::Body(send, ..) | State::Tunnel(send) => send.poll_reset(cx),
            State::Ended => return Poll::Pending,
        };
        reset.map(|reason| to_io(reason.map_or_else(|error| error, h2::Error::from)))
    }

    /// Takes some of `bytes`.
    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.state {
            State::Head(..) => Poll::Ready(self.write_head(bytes)),
            State::Body(..) => self.poll_write_body(cx, bytes),
            State::Tunnel(send) => {
                let n = ready!(poll_room(send, cx, bytes.len()))?;
                send.send_data(Bytes::copy_from_slice(&bytes[..n]), false).map_err(to_io)?;
                Poll::Ready(Ok(n))
            }
            State::Ended => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    /// The end of a tunnel. An answer has its own.
    pub(super) fn end_tunnel(&mut self) -> io::Result<()> {
        if let State::Tunnel(send) = &mut self.state {
            send.send_data(Bytes::new(), true).map_err(to_io)?;
            self.state = State::Ended;
        }
        Ok(())
    }

    /// Takes what belongs to the head, and sends the head when it is whole.
    fn write_head(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let State::Head(_, held) = &mut self.state else { return Ok(0) };
        let held_before = held.len();
        // Nearly always all of it comes at once.
        let found = if held.is_empty() {
            end_of_head(bytes).map(|end| Bytes::copy_from_slice(&bytes[..end]))
        } else {
            held.extend_from_slice(bytes);
            end_of_head(held).map(|end| Bytes::copy_from_slice(&held[..end]))
        };
        // The values of the fields become slices of this one copy.
        let Some(text) = found else {
            if held_before == 0 {
                held.extend_from_slice(bytes);
            }
            return Ok(bytes.len());
        };
        held.clear();
        let mut space = FieldSpace::new();
        let parsed = ResponseHead::parse(&text, self.is_head, &mut space);
        let head = parsed.map_err(io::Error::other)?.ok_or(io::ErrorKind::InvalidData)?;
        self.send_head(&head, &text)?;
        Ok(text.len() - held_before)
    }

    fn send_head(&mut self, head: &ResponseHead<'_, '_>, text: &Bytes) -> io::Result<()> {
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::from_u16(head.status).map_err(io::Error::other)?;
        *response.headers_mut() = fields(head, text)?;
        let State::Head(respond, _) = &mut self.state else { return Ok(()) };
        if head.status == 101 {
            return self.switch(response);
        }
        if head.status < 200 {
            return respond.send_informational(response).map_err(to_io);
        }
        // To CONNECT a success means that there is a tunnel (RFC 9110 section 9.3.6).
        if self.accept.is_some() && response.status().is_success() {
            return self.refuse_switch("the worker does not switch to WebSocket");
        }
        let body = BodyDecoder::new(head.body);
        let is_empty = matches!(body, BodyDecoder::Sized(0));
        let send = respond.send_response(response, is_empty).map_err(to_io)?;
        self.state = if is_empty { State::Ended } else { State::Body(send, body, 0) };
        Ok(())
    }

    /// The worker has switched: if it is a WebSocket that was asked for, the stream is one now.
    fn switch(&mut self, mut response: Response<()>) -> io::Result<()> {
        let State::Head(respond, _) = &mut self.state else { return Ok(()) };
        let said = response.headers_mut().remove(SEC_WEBSOCKET_ACCEPT);
        if self.accept.is_none()
            || said.as_ref().map(HeaderValue::as_bytes) != self.accept.as_deref().map(str::as_bytes)
        {
            return self.refuse_switch("the worker's Sec-WebSocket-Accept is not the key's");
        }
        *response.status_mut() = StatusCode::OK;
        self.state = State::Tunnel(respond.send_response(response, false).map_err(to_io)?);
        Ok(())
    }

    fn refuse_switch(&mut self, why: &'static str) -> io::Result<()> {
        let State::Head(respond, _) = &mut self.state else { return Ok(()) };
        tracing::warn!("no WebSocket over HTTP/2: {why}");
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::BAD_GATEWAY;
        respond.send_response(response, true).map_err(to_io)?;
        self.state = State::Ended;
        Err(io::Error::other(why))
    }

    /// Sends the content among `bytes` in one go, as far as the client has room.
    fn poll_write_body(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let State::Body(send, body, content) = &mut self.state else { return Poll::Ready(Ok(0)) };
        let mut used = 0;
        let mut data = BytesMut::new();
        // How much the client takes, once that was asked for.
        let mut room = None;
        let is_whole = loop {
            if *content == 0 {
                let step = body.step(&bytes[used..]);
                let (framing, step) = step.map_err(io::Error::other)?;
                used += framing;
                match step {
                    Step::Content(n) => *content = n,
                    Step::NeedMore => break false,
                    Step::End => break true,
                }
            }
            let all = match room {
                Some(all) => all,
                None => match poll_room(send, cx, bytes.len() - used)? {
                    Poll::Ready(all) => *room.insert(all),
                    Poll::Pending if used == 0 => return Poll::Pending,
                    Poll::Pending => break false,
                },
            };
            let n = (*content).min(bytes.len() - used).min(all - data.len());
            if n == 0 {
                break false;
            }
            data.extend_from_slice(&bytes[used..used + n]);
            used += n;
            *content -= n;
        };
        if !data.is_empty() || is_whole {
            send.send_data(data.freeze(), is_whole).map_err(to_io)?;
        }
        if is_whole {
            self.state = State::Ended;
        } else if *content == 0 {
            // What was asked for and not used is for others on the connection.
            send.reserve_capacity(0);
        }
        Poll::Ready(Ok(used))
    }
}

impl Drop for Outgoing {
    /// An answer that was not ended was broken off, and must not look complete. A tunnel that is left
    /// ends as a socket does, behind what was written to it.
    fn drop(&mut self) {
        match &mut self.state {
            State::Head(respond, _) => respond.send_reset(Reason::INTERNAL_ERROR),
            State::Body(send, ..) => send.send_reset(Reason::INTERNAL_ERROR),
            // A failure means that the client is gone.
            State::Tunnel(send) => drop(send.send_data(Bytes::new(), true)),
            State::Ended => {}
        }
    }
}

fn end_of_head(bytes: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes, b"\r\n\r\n").map(|at| at + 4)
}

/// Awaits that the client has room, and says for how many of `wanted` bytes.
fn poll_room(
    send: &mut SendStream<Bytes>,
    cx: &mut Context<'_>,
    wanted: usize,
) -> Poll<io::Result<usize>> {
    send.reserve_capacity(wanted);
    let mut room = send.capacity();
    if room == 0 {
        room = match ready!(send.poll_capacity(cx)) {
            Some(Ok(room)) => room,
            Some(Err(error)) => return Poll::Ready(Err(to_io(error))),
            None => return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
        };
    }
    Poll::Ready(Ok(room.min(wanted)))
}

/// The fields, but for those that HTTP/2 has no use for (RFC 9113 section 8.2.2). `text` is what the
/// head is slices of.
fn fields(head: &ResponseHead<'_, '_>, text: &Bytes) -> io::Result<HeaderMap> {
    let mut fields = HeaderMap::with_capacity(head.fields.len());
    for field in head.fields {
        if matches!(
            FieldName::of(field.name),
            FieldName::Connection
                | FieldName::KeepAlive
                | FieldName::ProxyConnection
                | FieldName::TransferEncoding
                | FieldName::Upgrade
        ) {
            continue;
        }
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(io::Error::other)?;
        let value = HeaderValue::from_maybe_shared(text.slice_ref(field.value));
        fields.append(name, value.map_err(io::Error::other)?);
    }
    Ok(fields)
}
