//! The memory that bytes pass through. A connection borrows a buffer when there is something to
//! read and gives it back when all of it has gone on, so that idle connections hold none.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::ReadBuf;

use super::socket::Socket;
use super::spare::Spare;

/// Room for a body's 64 KiB, the unit in which the kernel hands over bulk data on loopback, and a
/// head before it.
const BUFFER_BYTES: usize = 66 << 10;

/// The most buffers that a thread keeps for later.
const MAX_SPARE: usize = 256;

/// One thread's spare buffers.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    spare: Spare<Box<[u8]>, MAX_SPARE>,
    /// Those for what is written anew: heads, and the frames of chunks.
    texts: Spare<Vec<u8>, MAX_SPARE>,
}

impl Buffers {
    fn borrow(&self) -> Box<[u8]> {
        self.spare.take().unwrap_or_else(|| vec![0; BUFFER_BYTES].into())
    }

    fn give_back(&self, buffer: Box<[u8]>) {
        // One that was grown for a large head is not kept.
        if buffer.len() == BUFFER_BYTES {
            self.spare.put(buffer);
        }
    }

    /// An empty text.
    pub(crate) fn text(&self) -> Vec<u8> {
        self.texts.take().unwrap_or_else(|| Vec::with_capacity(1 << 10))
    }

    /// Takes a text back, whatever is in it.
    pub(crate) fn give_back_text(&self, mut text: Vec<u8>) {
        if text.capacity() <= 32 << 10 {
            text.clear();
            self.texts.put(text);
        }
    }

    /// Lets go of what was of no use since the last call.
    pub(crate) fn trim(&self) {
        self.spare.trim();
    }
}

/// What was read from a socket and has not gone on.
///
/// Invariant: `start <= end <= buffer.len()`, and both are 0 without a buffer.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    buffer: Option<Box<[u8]>>,
    start: usize,
    end: usize,
}

impl Inbox {
    /// The bytes that nobody has taken yet.
    pub(crate) fn unread(&self) -> &[u8] {
        self.buffer.as_ref().map_or(&[], |buffer| &buffer[self.start..self.end])
    }

    /// Takes the first `n`.
    pub(crate) fn consume(&mut self, n: usize) {
        self.start += n;
        debug_assert!(self.start <= self.end);
    }

    /// Gives the buffer back if all of it was taken.
    pub(crate) fn rest(&mut self, buffers: &Buffers) {
        if self.start == self.end {
            self.give_up(buffers);
        }
    }

    /// Forgets everything.
    pub(crate) fn give_up(&mut self, buffers: &Buffers) {
        if let Some(buffer) = self.buffer.take() {
            buffers.give_back(buffer);
        }
        (self.start, self.end) = (0, 0);
    }

    /// Whether no more can be read until some of it is taken.
    pub(crate) fn is_full(&self) -> bool {
        self.buffer.as_ref().is_some_and(|buffer| self.end - self.start == buffer.len())
    }

    /// Makes room for `len` bytes in a row.
    pub(crate) fn grow(&mut self, len: usize) {
        let Some(old) = self.buffer.take() else { return };
        let mut bytes = Vec::from(old);
        bytes.resize(len.max(bytes.len()), 0);
        self.buffer = Some(bytes.into());
    }

    /// Reads what the socket has, as far as there is room, and says how much that was; 0 at its end.
    /// There must be room.
    pub(crate) fn poll_fill<S: Socket>(
        &mut self,
        cx: &mut Context<'_>,
        socket: &mut S,
        buffers: &Buffers,
    ) -> Poll<io::Result<usize>> {
        self.rest(buffers);
        if self.buffer.is_none() {
            // Nothing is borrowed for a socket that has nothing.
            ready!(socket.poll_readable(cx))?;
        }
        let buffer = self.buffer.get_or_insert_with(|| buffers.borrow());
        if self.end == buffer.len() {
            buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        let mut room = ReadBuf::new(&mut buffer[self.end..]);
        let outcome = Pin::new(socket).poll_read(cx, &mut room);
        let n = room.filled().len();
        self.end += n;
        self.rest(buffers);
        outcome.map_ok(|()| n)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::AsyncWriteExt;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (near, listener.accept().await.unwrap().0)
    }

    #[tokio::test]
    async fn bytes_pass_in_order_and_nothing_is_held_when_all_are_gone() {
        let (mut far, mut near) = pair().await;
        let (buffers, mut inbox) = (Buffers::default(), Inbox::default());
        let (mut sent, mut taken) = (0u8, 0u8);
        let mut passed = 0;
        while passed < 5 * BUFFER_BYTES {
            let bytes: Vec<u8> = (0..10_000).map(|n| sent.wrapping_add(n as u8)).collect();
            far.write_all(&bytes).await.unwrap();
            sent = sent.wrapping_add(10_000u32 as u8);
            passed += poll_fn(|cx| inbox.poll_fill(cx, &mut near, &buffers)).await.unwrap();
            let n = inbox.unread().len().min(9_999);
            for byte in &inbox.unread()[..n] {
                assert_eq!(*byte, taken);
                taken = taken.wrapping_add(1);
            }
            inbox.consume(n);
        }
        inbox.consume(inbox.unread().len());
        inbox.rest(&buffers);
        assert!(inbox.buffer.is_none());
        assert_eq!(buffers.spare.len(), 1);
    }

    #[tokio::test]
    async fn a_socket_that_has_nothing_borrows_nothing() {
        // Of one that was just accepted the runtime assumes that it has something.
        let (mut near, _far) = pair().await;
        let (buffers, mut inbox) = (Buffers::default(), Inbox::default());
        let fill = poll_fn(|cx| Poll::Ready(inbox.poll_fill(cx, &mut near, &buffers)));
        assert!(fill.await.is_pending());
        assert!(inbox.buffer.is_none() && buffers.spare.len() == 0);
    }
}
