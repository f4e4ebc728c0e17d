//! Our end of a session on a host.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, anyhow};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout};

use super::place::Place;
use crate::ctl::exit::{Exit, Failure};
use crate::ctl::host::protocol::{Chunk, Hello, MAX_LINE, PROTOCOL, Reply, Request};
use crate::store::deployment::Deployment;

/// What ssh's own failures exit with (ssh(1)), and a shell that does not find a program.
const SSH_FAILED: i32 = 255;
const NOT_FOUND: i32 = 127;

/// How long a session may take to end.
const END: Duration = Duration::from_secs(10);

/// A session on a host. Dropped, it ends, and with it the lock it has.
#[derive(Debug)]
pub(in crate::ctl) struct Session {
    place: Place,
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    hello: Hello,
    current: Option<Deployment>,
}

impl Session {
    /// Connects, and asks who is there.
    pub(in crate::ctl) async fn begin(place: &Place, verb: &str) -> Result<Self, Failure> {
        let mut command = place.session()?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().with_context(|| match place.is_remote() {
            true => "cannot start ssh (apt install openssh-client)",
            false => "cannot start tqctl",
        })?;
        let input = child.stdin.take().context("no stdin")?;
        let output = BufReader::new(child.stdout.take().context("no stdout")?);
        let hello = Hello {
            protocol: 0,
            version: String::new(),
            rsync: false,
            current: None,
            last_good: None,
            warnings: Vec::new(),
        };
        let place = place.clone();
        let mut session = Self { place, child, input, output, hello, current: None };
        let request = Request::Hello {
            protocol: PROTOCOL,
            deploy: session.place.deploy.clone(),
            socket: session.place.socket.clone(),
            client: client(),
            verb: verb.to_owned(),
        };
        let Reply::Hello(hello) = session.ask(&request).await? else {
            return Err(session.out_of_turn());
        };
        session.current = match &hello.current {
            Some(text) => Some(Deployment::parse(text.as_bytes()).with_context(|| {
                format!("{}: the deployment that serves", session.place.name())
            })?),
            None => None,
        };
        session.hello = hello;
        Ok(session)
    }

    /// The machine.
    pub(in crate::ctl) fn place(&self) -> &Place {
        &self.place
    }

    /// How it stood at the beginning.
    pub(in crate::ctl) fn hello(&self) -> &Hello {
        &self.hello
    }

    /// What served there at the beginning or, where tqserver did not say, what was wanted.
    pub(in crate::ctl) fn current(&self) -> Option<&Deployment> {
        self.current.as_ref()
    }

    /// Ends it, and waits until it has ended: until its lock is free.
    pub(in crate::ctl) async fn end(self) {
        let Self { input, mut child, .. } = self;
        drop(input);
        // A host that has gone away frees it by itself.
        let _ = tokio::time::timeout(END, child.wait()).await;
    }

    /// Asks, and waits for the answer. [`Reply::Failed`] is an error.
    pub(in crate::ctl) async fn ask(&mut self, request: &Request) -> Result<Reply, Failure> {
        self.tell(request).await?;
        self.answer().await
    }

    /// Asks, and leaves the waiting to [`answer`](Self::answer).
    pub(super) async fn tell(&mut self, request: &Request) -> Result<(), Failure> {
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        // Where it cannot be written, what is read tells why.
        let _ = self.input.write_all(&line).await;
        Ok(())
    }

    /// Waits for a further answer.
    pub(in crate::ctl) async fn answer(&mut self) -> Result<Reply, Failure> {
        let mut line = Vec::new();
        let read = (&mut self.output).take(MAX_LINE).read_until(b'\n', &mut line).await;
        if read.is_err() || line.pop() != Some(b'\n') {
            return Err(self.lost().await);
        }
        let name = self.place.name();
        match serde_json::from_slice(&line) {
            Ok(Reply::Failed { message, hint, exit }) => {
                Err(Failure::new(Exit::of_code(exit), anyhow!("{name}: {message}")).with_hint(hint))
            }
            Ok(reply) => Ok(reply),
            Err(_) => {
                let error = anyhow!(
                    "{name}: the shell there writes to its standard output, or tqctl there is no \
                     tqctl: {:?}",
                    String::from_utf8_lossy(&line).chars().take(120).collect::<String>()
                );
                Err(Failure::new(Exit::Unreachable, error))
            }
        }
    }

    /// Sends a piece of an archive; an empty one ends it.
    pub(super) async fn send_chunk(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let mut line = serde_json::to_vec(&Chunk { chunk: bytes.len() })?;
        line.push(b'\n');
        let sent = async {
            self.input.write_all(&line).await?;
            self.input.write_all(bytes).await?;
            self.input.flush().await
        };
        match sent.await {
            Ok(()) => Ok(()),
            // It has said why, or is gone.
            Err(_) => Err(match self.answer().await {
                Ok(_) => self.out_of_turn(),
                Err(failure) => failure,
            }),
        }
    }

    /// The error of an answer to something else.
    pub(in crate::ctl) fn out_of_turn(&self) -> Failure {
        anyhow!("{}: tqctl there answered out of turn", self.place.name()).into()
    }

    async fn lost(&mut self) -> Failure {
        let ended = tokio::time::timeout(END, self.child.wait()).await;
        let status = ended.ok().and_then(Result::ok);
        let name = self.place.name();
        let failed = |error: anyhow::Error| Failure::new(Exit::Unreachable, error);
        match status.and_then(|status| status.code()) {
            Some(SSH_FAILED) if self.place.is_remote() => {
                failed(anyhow!("{name}: the connection failed or was lost"))
            }
            Some(NOT_FOUND) => failed(anyhow!("{name}: there is no tqctl there")).with_hint(Some(
                "install tqserver there, or name it: targets.<target>.tqctl".to_owned(),
            )),
            _ => failed(anyhow!("{name}: the session ended unexpectedly")),
        }
    }
}

/// Who we are, for the history of a host: `ada@laptop`.
fn client() -> Option<String> {
    let user = nix::unistd::User::from_uid(nix::unistd::getuid()).ok().flatten()?;
    let host = nix::unistd::gethostname().ok()?;
    Some(format!("{}@{}", user.name, host.to_string_lossy()))
}
