//! Passing a body on from one leg to the other, with what is ours before, between and behind.

mod compressed;
mod spliced;

use std::io::{self, IoSlice};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::time::Instant;

use super::buffers::Buffers;
use super::compression::Compressor;
use super::socket::{Leg, Socket};
use super::splice::Pipe;
use crate::http1::{BodyDecoder, BodyLength, Malformed, Step};

/// Content up to so many bytes is copied behind what is ours, as one slice is cheaper to write than
/// two, and small chunks then leave together.
const COPIED_BYTES: usize = 4 << 10;

/// No more is gathered behind what is ours.
const GATHERED_BYTES: usize = 16 << 10;

/// Why a body could not be passed on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PumpError {
    /// It could not be read on.
    #[error("it could not be read on: {0}")]
    Source(io::Error),
    /// It ended before its end.
    #[error("it ended too early")]
    Truncated,
    /// Its framing is not valid.
    #[error("{0}")]
    Malformed(Malformed),
    /// It is larger than allowed.
    #[error("it is larger than allowed")]
    TooLarge,
    /// It could not be compressed.
    #[error("it could not be compressed: {0}")]
    Compression(io::Error),
    /// It could not be written on.
    #[error("it could not be written on: {0}")]
    Sink(io::Error),
}

/// What a pump waits for, and since when.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Stall {
    /// That something comes.
    Source(Instant),
    /// That something is taken.
    Sink(Instant),
}

/// One message on its way. The order of what is written: `ours`, then `content` bytes of the
/// source's inbox, then `behind`.
#[derive(Debug)]
pub(crate) struct Pump {
    ours: Vec<u8>,
    /// How much of `ours` was written.
    written: usize,
    content: usize,
    behind: &'static [u8],
    decoder: BodyDecoder,
    /// Whether the content is passed on in chunks; else as it is.
    chunks: bool,
    /// How many more bytes of content may come.
    allowance: u64,
    /// What of ours follows the content, as if it were content.
    tail: Bytes,
    /// What the content goes through, until its end.
    compressor: Option<Box<Compressor>>,
    /// Through which a large body goes on once its first bytes have.
    pipe: Option<Box<Pipe>>,
    /// Whether all of the content was read.
    is_read: bool,
    is_begun: bool,
    stall: Option<Stall>,
}

impl Pump {
    /// Passes on nothing but what is pushed, until it is told of a body.
    pub(crate) fn new(buffers: &Buffers) -> Self {
        Self::of(buffers.text())
    }

    /// For `head` and the body that follows it: chunked if it is not known how long it is.
    pub(crate) fn request(head: Vec<u8>, length: BodyLength, allowance: u64) -> Self {
        let mut pump = Self { allowance, ..Self::of(head) };
        pump.begin_body(length, length == BodyLength::Chunked, Bytes::new());
        pump
    }

    fn of(ours: Vec<u8>) -> Self {
        Self {
            ours,
            written: 0,
            content: 0,
            behind: b"",
            decoder: BodyDecoder::Sized(0),
            chunks: false,
            allowance: u64::MAX,
            tail: Bytes::new(),
            compressor: None,
            pipe: None,
            is_read: true,
            is_begun: false,
            stall: None,
        }
    }

    /// A body follows what was pushed; `tail`, which may be empty, follows the body.
    pub(crate) fn begin_body(&mut self, length: BodyLength, chunks: bool, tail: Bytes) {
        self.decoder = BodyDecoder::new(length);
        self.chunks = chunks;
        self.is_read = length.is_empty() && tail.is_empty();
        self.tail = tail;
    }

    /// What is written before all that follows.
    pub(crate) fn ours(&mut self) -> &mut Vec<u8> {
        &mut self.ours
    }

    /// Whether a byte was written.
    pub(crate) fn is_begun(&self) -> bool {
        self.is_begun
    }

    /// Whether what was pushed is written in part.
    pub(crate) fn is_cut(&self) -> bool {
        self.written > 0 && !self.is_written()
    }

    /// Whether all was written.
    pub(crate) fn is_done(&self) -> bool {
        self.is_read && self.is_written()
    }

    /// What it waits for.
    pub(crate) fn stall(&self) -> Option<Stall> {
        self.stall
    }

    fn is_written(&self) -> bool {
        self.written == self.ours.len() && self.content == 0 && self.behind.is_empty()
    }

    /// Begins again. Only for a message without a body.
    pub(crate) fn rewind(&mut self) {
        self.written = 0;
        self.is_begun = false;
    }

    /// Puts another head in the place of the first `len` bytes. Nothing was written yet.
    pub(crate) fn replace_head(&mut self, len: usize, head: &[u8]) {
        debug_assert!(!self.is_begun);
        self.ours.splice(..len, head.iter().copied());
    }

    /// Takes no more of the body, and passes on what it has as if it were whole. Not for one that is
    /// compressed: streams that end when somebody wants them to are not.
    pub(crate) fn end_early(&mut self) {
        debug_assert!(self.compressor.is_none());
        if !self.is_read {
            self.is_read = true;
            self.push_end();
        }
    }

    /// Gives the memory back, once nothing is to be written any more.
    pub(crate) fn recycle(&mut self, buffers: &Buffers) {
        buffers.give_back_text(std::mem::take(&mut self.ours));
    }

    /// Passes on all there is; ready when the message is whole.
    pub(crate) fn poll<R: Socket, W: Socket>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Leg<R>,
        to: &mut Leg<W>,
    ) -> Poll<Result<(), PumpError>> {
        loop {
            self.gather(from)?;
            let is_written = self.is_written();
            let outcome = match is_written {
                false => self.poll_write(cx, from, to),
                // Before more is awaited, which may take for ever.
                true => to.poll_flush(cx),
            };
            match outcome {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(PumpError::Sink(error))),
                Poll::Pending => {
                    self.waits_for_sink();
                    return Poll::Pending;
                }
            }
            if !is_written {
                self.stall = None;
                continue;
            }
            if self.is_read {
                self.stall = None;
                return Poll::Ready(Ok(()));
            }
            if self.can_splice(from, to) {
                match self.poll_splice(cx, from, to) {
                    Poll::Ready(Ok(())) => continue,
                    other => return other,
                }
            }
            match from.poll_fill(cx) {
                Poll::Ready(Ok(0)) if self.decoder.ends_with_connection() => self.read()?,
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(PumpError::Truncated)),
                Poll::Ready(Ok(_)) => {
                    self.stall = None;
                    if self.ends_turn() {
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(PumpError::Source(error))),
                Poll::Pending if self.flush_compressed()? => {}
                Poll::Pending => {
                    self.waits_for_source();
                    return Poll::Pending;
                }
            }
        }
    }

    fn waits_for_source(&mut self) {
        if !matches!(self.stall, Some(Stall::Source(_))) {
            self.stall = Some(Stall::Source(Instant::now()));
        }
    }

    fn waits_for_sink(&mut self) {
        if !matches!(self.stall, Some(Stall::Sink(_))) {
            self.stall = Some(Stall::Sink(Instant::now()));
        }
    }

    /// Writes what was pushed, without reading anything.
    pub(crate) fn poll_flush<W: Socket>(
        &mut self,
        cx: &mut Context<'_>,
        to: &mut Leg<W>,
    ) -> Poll<io::Result<()>> {
        while self.written < self.ours.len() {
            let n = ready!(to.poll_write(cx, &[IoSlice::new(&self.ours[self.written..])]))?;
            self.written += n;
            self.is_begun = true;
        }
        ready!(to.poll_flush(cx))?;
        self.ours.clear();
        self.written = 0;
        Poll::Ready(Ok(()))
    }

    /// Readies what has arrived for the next write.
    fn gather<R: Socket>(&mut self, from: &mut Leg<R>) -> Result<(), PumpError> {
        if self.content == 0 {
            self.settle();
        }
        // The body goes on through the pipe, and has not ended before that is empty.
        if self.pipe.is_some() {
            return Ok(());
        }
        while !self.is_read && self.content == 0 && self.ours.len() < GATHERED_BYTES {
            let step = self.decoder.step(from.inbox.unread());
            let (framing, step) = step.map_err(PumpError::Malformed)?;
            from.inbox.consume(framing);
            match step {
                Step::NeedMore => return Ok(()),
                Step::End => self.read()?,
                Step::Content(n) => {
                    let rest = self.allowance.checked_sub(n as u64);
                    self.allowance = rest.ok_or(PumpError::TooLarge)?;
                    if self.compressor.is_some() {
                        self.push_compressed(&from.inbox.unread()[..n])?;
                        from.inbox.consume(n);
                    } else if n <= COPIED_BYTES {
                        self.frame(n);
                        self.ours.extend_from_slice(&from.inbox.unread()[..n]);
                        self.settle();
                        from.inbox.consume(n);
                    } else {
                        self.frame(n);
                        self.content = n;
                    }
                    // So that the last byte of a body of known length needs no further look.
                    if matches!(self.decoder, BodyDecoder::Sized(0)) {
                        self.read()?;
                    }
                }
            }
        }
        Ok(())
    }

    /// The body's last byte is here.
    fn read(&mut self) -> Result<(), PumpError> {
        if self.compressor.is_some() {
            let tail = std::mem::take(&mut self.tail);
            self.finish_compressed(&tail)?;
        } else if !self.tail.is_empty() {
            let tail = std::mem::take(&mut self.tail);
            // Behind content that is still in the inbox nothing can be put yet.
            if self.content > 0 {
                self.tail = tail;
                return Ok(());
            }
            self.frame(tail.len());
            self.ours.extend_from_slice(&tail);
            self.settle();
        }
        self.is_read = true;
        self.push_end();
        Ok(())
    }

    fn frame(&mut self, n: usize) {
        if self.chunks {
            use std::io::Write;
            // Writing to memory does not fail.
            write!(self.ours, "{n:x}\r\n").ok();
            self.behind = b"\r\n";
        }
    }

    fn push_end(&mut self) {
        if self.chunks {
            // Behind content that is still in the inbox, or else at the end of what is ours.
            match self.content {
                0 => {
                    self.settle();
                    self.ours.extend_from_slice(b"0\r\n\r\n");
                }
                _ => self.behind = b"\r\n0\r\n\r\n",
            }
        }
    }

    fn poll_write<R: Socket, W: Socket>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Leg<R>,
        to: &mut Leg<W>,
    ) -> Poll<io::Result<()>> {
        let ours = &self.ours[self.written..];
        let content = &from.inbox.unread()[..self.content];
        let parts = [IoSlice::new(ours), IoSlice::new(content), IoSlice::new(self.behind)];
        let parts = match (ours.is_empty(), content.is_empty(), self.behind.is_empty()) {
            (false, true, true) => &parts[..1],
            (true, false, true) => &parts[1..2],
            (false, false, true) => &parts[..2],
            _ => &parts[..],
        };
        let n = ready!(to.poll_write(cx, parts))?;
        self.is_begun = true;
        let of_ours = n.min(ours.len());
        let of_content = (n - of_ours).min(self.content);
        self.written += of_ours;
        self.content -= of_content;
        from.inbox.consume(of_content);
        self.behind = &self.behind[n - of_ours - of_content..];
        // A head without a body may have to be sent again.
        if self.written == self.ours.len() && !self.is_read {
            self.ours.clear();
            self.written = 0;
        }
        Poll::Ready(Ok(()))
    }

    /// Makes the end of `ours` the end of all that is to be written.
    fn settle(&mut self) {
        debug_assert_eq!(self.content, 0);
        self.ours.extend_from_slice(self.behind);
        self.behind = b"";
    }
}

#[cfg(test)]
mod tests;
