//! Passing bytes on from socket to socket without a copy (splice(2)): the kernel hands the pages that
//! hold them from one to the other, through a pipe.

use std::io;
use std::os::fd::OwnedFd;
use std::task::{Context, Poll, ready};

use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use tokio::io::Interest;
use tokio::net::TcpStream;

use super::spare::Spare;

/// How much a pipe is to hold, in bytes. A page of the kernel's is a slot of it, however little is on
/// that page.
const PIPE_BYTES: usize = 256 << 10;

/// The most pipes that a thread keeps for later.
const MAX_SPARE: usize = 16;

/// One thread's spare pipes, all of them empty.
#[derive(Debug, Default)]
pub(crate) struct Pipes(Spare<Pipe, MAX_SPARE>);

impl Pipes {
    /// An empty pipe; `None` where the process has no descriptors left for one.
    pub(crate) fn borrow(&self) -> Option<Pipe> {
        self.0.take().or_else(|| Pipe::new().ok())
    }

    /// Takes a pipe back. One that is not empty is closed.
    pub(crate) fn give_back(&self, pipe: Pipe) {
        if pipe.held == 0 {
            self.0.put(pipe);
        }
    }

    /// Closes what was of no use since the last call.
    pub(crate) fn trim(&self) {
        self.0.trim();
    }
}

/// Bytes between two sockets, which no program has seen.
#[derive(Debug)]
pub(crate) struct Pipe {
    into: OwnedFd,
    out: OwnedFd,
    held: usize,
}

impl Pipe {
    fn new() -> io::Result<Self> {
        let (out, into) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // Users may be denied more than the 64 KiB that every pipe has: then there are more turns.
        fcntl_setpipe_size(&into, PIPE_BYTES).ok();
        Ok(Self { into, out, held: 0 })
    }

    /// How many bytes are in it.
    pub(crate) fn held(&self) -> usize {
        self.held
    }

    /// Takes up to `max` bytes from `socket`, and says how many; 0 at its end.
    ///
    /// Invariant: the pipe is empty, so that it is the socket's lack of bytes that makes this wait.
    pub(crate) fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        socket: &TcpStream,
        max: usize,
    ) -> Poll<io::Result<usize>> {
        debug_assert_eq!(self.held, 0);
        let take = || splice(socket, None, &self.into, None, max, FLAGS).map_err(io::Error::from);
        loop {
            ready!(socket.poll_read_ready(cx))?;
            match socket.try_io(Interest::READABLE, take) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
                Ok(n) => {
                    self.held = n;
                    return Poll::Ready(Ok(n));
                }
            }
        }
    }

    /// Gives some of what it holds to `socket`, and says how many bytes that were.
    ///
    /// Without `SPLICE_F_MORE`, although more may follow: the kernel would keep what does not fill a
    /// segment for up to 200 ms (tcp(7), `TCP_CORK`), and the worker may wait for us meanwhile.
    pub(crate) fn poll_drain(
        &mut self,
        cx: &mut Context<'_>,
        socket: &TcpStream,
    ) -> Poll<io::Result<usize>> {
        let give =
            || splice(&self.out, None, socket, None, self.held, FLAGS).map_err(io::Error::from);
        loop {
            ready!(socket.poll_write_ready(cx))?;
            match socket.try_io(Interest::WRITABLE, give) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(n) => {
                    self.held -= n;
                    return Poll::Ready(Ok(n));
                }
            }
        }
    }
}

const FLAGS: SpliceFlags = SpliceFlags::NONBLOCK.union(SpliceFlags::MOVE);
