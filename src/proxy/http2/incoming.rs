//! What a stream's socket reads: the head in HTTP/1.1's words, then the content in HTTP/1.1's framing.

use std::io;
use std::io::Write as _;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use h2::RecvStream;
use tokio::io::ReadBuf;

use super::request::Content;

/// A request on its way in.
pub(super) struct Incoming {
    stream: RecvStream,
    content: Content,
    /// What comes next, before `data`: the head, later what is between two chunks.
    text: Vec<u8>,
    text_taken: usize,
    /// Content that has arrived. The client may send as much again once it is taken.
    data: Bytes,
    is_first_chunk: bool,
}

impl Incoming {
    /// A request whose head is `text`.
    pub(super) fn new(stream: RecvStream, content: Content, text: Vec<u8>) -> Self {
        let data = Bytes::new();
        Self { stream, content, text, text_taken: 0, data, is_first_chunk: true }
    }

    /// Reads on; `Ready(false)` once all of the request was read.
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<bool>> {
        let before = buf.filled().len();
        while buf.remaining() > 0 {
            if self.give(buf) {
                continue;
            }
            let is_more = match self.content {
                Content::Nothing => Poll::Ready(Ok(false)),
                _ => self.poll_data(cx),
            };
            match is_more {
                Poll::Ready(Ok(true)) => {}
                // What was read first comes first; the rest is met again.
                _ if buf.filled().len() > before => break,
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(false)) => return Poll::Ready(Ok(false)),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(true))
    }

    /// Puts what is at hand into `buf`, and says whether there was any.
    fn give(&mut self, buf: &mut ReadBuf<'_>) -> bool {
        let text = &self.text[self.text_taken..];
        if !text.is_empty() {
            let n = text.len().min(buf.remaining());
            buf.put_slice(&text[..n]);
            self.text_taken += n;
            return true;
        }
        if !self.data.is_empty() {
            let n = self.data.len().min(buf.remaining());
            buf.put_slice(&self.data[..n]);
            self.data.advance(n);
            // An error means that the stream has ended, which the next read tells.
            self.stream.flow_control().release_capacity(n).ok();
            return true;
        }
        false
    }

    /// Awaits more of the content, with its frame; `false` at its end, which has one as well.
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let is_chunked = self.content == Content::Chunked;
        match ready!(self.stream.poll_data(cx)) {
            Some(Ok(data)) => {
                if is_chunked && !data.is_empty() {
                    self.begin_text();
                    // Writing to memory does not fail.
                    write!(self.text, "{:x}\r\n", data.len()).ok();
                }
                self.data = data;
                Poll::Ready(Ok(true))
            }
            Some(Err(error)) => Poll::Ready(Err(to_io(error))),
            None => {
                // Trailers are awaited, as h2 finds out about malformed ones, and not passed on.
                ready!(self.stream.poll_trailers(cx)).map_err(to_io)?;
                self.content = Content::Nothing;
                if is_chunked {
                    self.begin_text();
                    self.text.extend_from_slice(b"0\r\n\r\n");
                }
                Poll::Ready(Ok(is_chunked))
            }
        }
    }

    /// Begins a piece of framing: with the end of the chunk before it.
    fn begin_text(&mut self) {
        self.text.clear();
        self.text_taken = 0;
        if !std::mem::replace(&mut self.is_first_chunk, false) {
            self.text.extend_from_slice(b"\r\n");
        }
    }
}

/// The stream or its connection has ended before its time.
pub(super) fn to_io(error: h2::Error) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, error)
}
