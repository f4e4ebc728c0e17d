//! The client of the control socket: HTTP over a unix socket, a connection a request.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::task::JoinSet;

use crate::admin::api::{Accepted, ApiError, PastRollouts, ReloadVerdict, SCHEMA, Status};
use crate::admin::retention::Retention;
use crate::admin::soak::SoakVerdict;
use crate::ids::{CommitId, WorkerName};

mod error;
mod events;

pub use error::ClientError;
pub use events::Events;

/// Where `tqserver-control.socket` listens.
pub const SYSTEM_SOCKET: &str = "/run/tqserver/control.sock";
/// The same below XDG_RUNTIME_DIR, for sessions of a user.
const SESSION_SOCKET: &str = "tqserver/control.sock";
/// For what is answered at once. A first connection may have to start the daemon.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The largest answer, in bytes.
const MAX_ANSWER: usize = 16 * 1024 * 1024;

/// Why a connection failed.
type Lost = Box<dyn std::error::Error + Send + Sync>;

/// Asks one control socket.
#[derive(Debug, Clone)]
pub struct Client {
    socket: PathBuf,
    /// Whether the user named it: then a missing one is a wrong one.
    named: bool,
}

impl Client {
    /// The socket that was named; else the system's or the session's, whichever exists, and the
    /// system's where both or none do.
    pub fn locate(named: Option<PathBuf>, runtime_dir: Option<PathBuf>) -> Self {
        Self::locate_among(named, SYSTEM_SOCKET.as_ref(), runtime_dir)
    }

    fn locate_among(named: Option<PathBuf>, system: &Path, runtime_dir: Option<PathBuf>) -> Self {
        if let Some(socket) = named {
            return Self { socket, named: true };
        }
        let session = runtime_dir.map(|dir| dir.join(SESSION_SOCKET));
        let socket = match session {
            Some(session) if !system.exists() && session.exists() => session,
            _ => system.to_owned(),
        };
        Self { socket, named: false }
    }

    /// The socket it asks.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// How everything stands.
    pub async fn status(&self) -> Result<Status, ClientError> {
        self.within_limit(self.ask(Method::GET, "/v1/status")).await
    }

    /// Which deployments tqserver needs.
    pub async fn retention(&self) -> Result<Retention, ClientError> {
        self.within_limit(self.ask(Method::GET, "/v1/retention")).await
    }

    /// What became of the last rollouts.
    pub async fn past_rollouts(&self) -> Result<PastRollouts, ClientError> {
        self.within_limit(self.ask(Method::GET, "/v1/deployments")).await
    }

    /// Asks for a reload and awaits its verdict, for as long as that takes: the daemon, and
    /// `TimeoutStartSec=` of its unit, set the limit.
    pub async fn reload(&self) -> Result<ReloadVerdict, ClientError> {
        self.ask(Method::POST, "/v1/reload").await
    }

    /// Asks for a new generation of a worker and awaits the verdict, which the start's limit bounds.
    pub async fn restart(&self, worker: &WorkerName) -> Result<ReloadVerdict, ClientError> {
        self.ask(Method::POST, &format!("/v1/workers/{worker}/restart")).await
    }

    /// Takes a worker out of service.
    pub async fn drain(&self, worker: &WorkerName) -> Result<Accepted, ClientError> {
        let path = format!("/v1/workers/{worker}/drain");
        self.within_limit(self.ask(Method::POST, &path)).await
    }

    /// Has a deployment that serves by degrees serve whole, or not at all, and awaits the verdict.
    pub async fn decide(&self, promote: bool) -> Result<ReloadVerdict, ClientError> {
        let what = if promote { "promote" } else { "abort" };
        self.ask(Method::POST, &format!("/v1/canary/{what}")).await
    }

    /// Has a deployment that serves watched for that time, and awaits what comes of it.
    pub async fn soak(
        &self,
        commit: &CommitId,
        time: Duration,
    ) -> Result<SoakVerdict, ClientError> {
        let path = format!("/v1/deployments/{commit}/soak?ms={}", time.as_millis());
        self.ask(Method::POST, &path).await
    }

    /// Asks for a reload, and leaves it at that.
    pub async fn ask_reload(&self) -> Result<Accepted, ClientError> {
        self.within_limit(self.ask(Method::POST, "/v1/reload?wait=false")).await
    }

    /// Has everything in the source tree built anew.
    pub async fn rebuild(&self) -> Result<Accepted, ClientError> {
        self.within_limit(self.ask(Method::POST, "/v1/dev/rebuild")).await
    }

    async fn within_limit<T>(
        &self,
        asking: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, ClientError> {
        let late = |_| Err(ClientError::Timeout(self.socket.clone()));
        tokio::time::timeout(TIMEOUT, asking).await.unwrap_or_else(late)
    }

    async fn ask<T: DeserializeOwned>(&self, method: Method, path: &str) -> Result<T, ClientError> {
        let (status, body) =
            exchange(self.connect().await?, method, path).await.map_err(|it| self.lost(it))?;
        if !status.is_success() {
            return Err(refused(status, &body));
        }
        self.parse(&body)
    }

    async fn connect(&self) -> Result<UnixStream, ClientError> {
        UnixStream::connect(&self.socket).await.map_err(|error| self.explain(error))
    }

    fn parse<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, ClientError> {
        #[derive(Deserialize)]
        struct Versioned {
            schema: u32,
        }
        let garbage = |error: serde_json::Error| ClientError::Garbage {
            socket: self.socket.clone(),
            reason: error.to_string(),
        };
        // First of all: another version may well not parse.
        let Versioned { schema } = serde_json::from_slice(body).map_err(garbage)?;
        if schema != SCHEMA {
            return Err(ClientError::Schema(schema));
        }
        serde_json::from_slice(body).map_err(garbage)
    }

    fn explain(&self, error: io::Error) -> ClientError {
        let socket = self.socket.clone();
        match error.kind() {
            io::ErrorKind::NotFound if self.named => ClientError::NoSuchSocket(socket),
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                ClientError::NotRunning(socket)
            }
            io::ErrorKind::PermissionDenied => ClientError::Denied(socket),
            _ => ClientError::Connection { socket, source: error.into() },
        }
    }

    fn lost(&self, source: Lost) -> ClientError {
        ClientError::Connection { socket: self.socket.clone(), source }
    }
}

fn refused(status: StatusCode, body: &[u8]) -> ClientError {
    let message = serde_json::from_slice(body).map_or_else(
        |_| String::from_utf8_lossy(body).chars().take(200).collect(),
        |ApiError { error }| error,
    );
    ClientError::Refused { status, message }
}

/// What drives a connection; dropped, it ends it.
type Driver = JoinSet<hyper::Result<()>>;

async fn send(
    stream: UnixStream,
    request: http::request::Builder,
) -> Result<(Response<Incoming>, Driver), Lost> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    // There is no host in a path of the file system, and HTTP/1.1 wants one.
    let request = request.header(header::HOST, "localhost").body(Empty::<Bytes>::new())?;
    Ok((sender.send_request(request).await?, driver))
}

async fn exchange(
    stream: UnixStream,
    method: Method,
    path: &str,
) -> Result<(StatusCode, Bytes), Lost> {
    let (response, _driver) = send(stream, Request::builder().method(method).uri(path)).await?;
    let status = response.status();
    let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await?;
    Ok((status, body.to_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ctl::exit::Exit;
    use rstest::rstest;
    use std::fs;

    #[rstest]
    #[case::neither(&[], "system")]
    #[case::system(&["system"], "system")]
    #[case::session(&["session/tqserver/control.sock"], "session/tqserver/control.sock")]
    #[case::both(&["system", "session/tqserver/control.sock"], "system")]
    fn the_existing_socket_wins(#[case] existing: &[&str], #[case] expected: &str) {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("session/tqserver")).unwrap();
        for path in existing {
            fs::write(dir.path().join(path), "").unwrap();
        }
        let session = Some(dir.path().join("session"));
        let client = Client::locate_among(None, &dir.path().join("system"), session);
        assert_eq!(client.socket(), dir.path().join(expected));
    }

    #[rstest]
    #[case::named(Some("/nowhere".into()), Exit::Unreachable)]
    #[case::default(None, Exit::Degraded)]
    #[tokio::test]
    async fn a_missing_socket_is_wrong_only_when_named(
        #[case] named: Option<PathBuf>,
        #[case] exit: Exit,
    ) {
        let client = Client::locate_among(named, "/nowhere/either".as_ref(), None);
        assert_eq!(client.status().await.unwrap_err().into_failure().exit(), exit);
    }

    #[test]
    fn another_schema_is_said_to_be_one() {
        let client = Client::locate(None, None);
        let error = client.parse::<Status>(br#"{"schema": 99}"#).unwrap_err();
        assert!(matches!(error, ClientError::Schema(99)), "{error}");
        let error = client.parse::<Status>(b"<html>").unwrap_err();
        assert!(matches!(error, ClientError::Garbage { .. }), "{error}");
    }
}
