//! The built program, started and stopped the way systemd does it.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use futures_util::StreamExt as _;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

/// Nothing takes nearly that long; a hang becomes a failure.
const HANG: Duration = Duration::from_secs(30);

/// A running worker, on a port of the kernel's choice.
struct Running {
    child: Child,
    address: String,
    /// Where systemd would listen.
    notify: UnixDatagram,
    _folder: TempDir,
}

impl Running {
    /// Starts it and returns once it has said READY=1.
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let notify = UnixDatagram::bind(&path).unwrap();
        notify.set_read_timeout(Some(HANG)).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_index"))
            .env_clear()
            .envs([("PORT", "0"), ("TQ_WORKER_BASE", env!("CARGO_MANIFEST_DIR"))])
            .env("NOTIFY_SOCKET", &path)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut running = Self { child, address: String::new(), notify, _folder: folder };
        let ready = running.notification();
        let address = ready.strip_prefix("READY=1\nSTATUS=serving on ").expect(&ready);
        running.address = address.trim().to_owned();
        running
    }

    /// The next message to systemd.
    fn notification(&self) -> String {
        let mut message = [0; 1024];
        let length = self.notify.recv(&mut message).unwrap();
        String::from_utf8(message[..length].to_vec()).unwrap()
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(&self.address).await.unwrap()
    }

    /// Sends a request and reads the answer up to and including `mark`.
    async fn request(&self, path: &str, mark: &str) -> (TcpStream, String) {
        let mut stream = self.connect().await;
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        while !answer.contains(mark) {
            let mut buffer = [0; 4096];
            let length = stream.read(&mut buffer).await.unwrap();
            assert_ne!(length, 0, "no {mark:?} in {answer:?}");
            answer.push_str(std::str::from_utf8(&buffer[..length]).unwrap());
        }
        (stream, answer)
    }

    fn terminate(&self) {
        let pid = i32::try_from(self.child.id().unwrap()).unwrap();
        kill(Pid::from_raw(pid), Signal::SIGTERM).unwrap();
    }
}

async fn rest(mut stream: TcpStream) -> String {
    let mut rest = String::new();
    stream.read_to_string(&mut rest).await.unwrap();
    rest
}

#[tokio::test]
async fn stops_when_what_is_in_flight_is_through() {
    let mut worker = Running::start();
    let (_, health) = worker.request("/health", "\r\n\r\n").await;
    assert!(health.starts_with("HTTP/1.1 204"), "{health}");

    let (download, begun) = worker.request("/download?seconds=1", "line 1 of 10").await;
    let (clock, _) = worker.request("/clock", "\"tick\":0").await;
    let url = format!("ws://{}/echo", worker.address);
    let (mut socket, _) = client_async(url, worker.connect().await).await.unwrap();
    for message in [Message::text("text"), Message::binary(&b"\0\xff"[..])] {
        futures_util::SinkExt::send(&mut socket, message.clone()).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), message);
    }

    worker.terminate();
    assert!(worker.notification().starts_with("STOPPING=1\n"));

    let Some(Ok(Message::Close(Some(close)))) = socket.next().await else { panic!("no close") };
    assert_eq!(close.code, CloseCode::Away);
    let ended = rest(clock).await;
    assert!(ended.ends_with("0\r\n\r\n"), "an event stream ends with its last chunk: {ended:?}");
    let (_, body) = begun.split_once("\r\n\r\n").unwrap();
    assert_eq!(body.len() + rest(download).await.len(), 40_960, "the download is whole");
    let status = tokio::time::timeout(HANG, worker.child.wait()).await.expect("it hangs").unwrap();
    assert!(status.success(), "{status}");
    assert!(TcpStream::connect(&worker.address).await.is_err(), "it still listens");
}

#[tokio::test]
async fn says_what_it_needs_and_which_build_it_is() {
    let program = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_index"));
        command.env_clear();
        command
    };
    let bare = program().output().await.unwrap();
    let message = String::from_utf8(bare.stderr).unwrap();
    assert!(!bare.status.success());
    assert!(message.contains("PORT is not set; TQ_WORKER_BASE is not set"), "{message}");

    let version = program().arg("--version").output().await.unwrap();
    let line = String::from_utf8(version.stdout).unwrap();
    assert!(version.status.success());
    assert!(line.starts_with(concat!("index ", env!("CARGO_PKG_VERSION"), " (")), "{line}");
}
