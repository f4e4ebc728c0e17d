//! Asking programs, files and buses, none of them for longer than [`PATIENCE`].

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::unistd::{AccessFlags, access};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::UnixStream;
use tokio::process::Command;
use zbus::connection;
use zbus::fdo::{DBusProxy, PropertiesProxy};
use zbus::names::InterfaceName;

/// How long anything may take to answer; it takes milliseconds where all is well.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// The most that is read of a file or a program's output, in bytes.
const MAX_BYTES: u64 = 64 * 1024;

/// What came of running a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// It succeeded; its stdout.
    Said(String),
    /// There is no such program.
    Missing,
    /// It failed; its stderr, or why it could not be run.
    Failed(String),
}

/// Runs a program in `folder`, in such a way that it installs and locks nothing.
pub(super) async fn program(words: &[&str], folder: &Path) -> Answer {
    let [first, rest @ ..] = words else { return Answer::Missing };
    let mut command = Command::new(first);
    command.args(rest).current_dir(folder).kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.env("LC_ALL", "C").env("GIT_OPTIONAL_LOCKS", "0");
    // rustup and go would download the version that the project asks for.
    command.env("RUSTUP_AUTO_INSTALL", "0").env("GOTOOLCHAIN", "local");
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Answer::Missing,
        Err(error) => return Answer::Failed(error.to_string()),
    };
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let running = async {
        let (said, complained) = tokio::join!(text(stdout), text(stderr));
        (child.wait().await, said, complained)
    };
    match tokio::time::timeout(PATIENCE, running).await {
        Ok((Ok(status), said, _)) if status.success() => Answer::Said(said),
        Ok((Ok(_), _, complained)) => Answer::Failed(complained.trim().to_owned()),
        Ok((Err(error), ..)) => Answer::Failed(error.to_string()),
        Err(_) => Answer::Failed(format!("no answer within {} s", PATIENCE.as_secs())),
    }
}

async fn text(stream: Option<impl AsyncRead + Unpin>) -> String {
    let mut bytes = Vec::new();
    if let Some(stream) = stream {
        // What was read until an error is what there is.
        let _ = stream.take(MAX_BYTES).read_to_end(&mut bytes).await;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The first bytes of a file, without white space at the ends; `None` if it cannot be read.
pub(super) fn file(path: impl AsRef<Path>) -> Option<String> {
    let mut bytes = Vec::new();
    let file = File::open(path).ok().filter(|it| it.metadata().is_ok_and(|it| it.is_file()))?;
    file.take(MAX_BYTES).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).trim().to_owned())
}

/// Where a program is: a path is taken from `folder`, a mere name is looked for in `PATH`.
pub(super) fn locate(program: &str, folder: &Path) -> Option<PathBuf> {
    let is_program = |path: &PathBuf| path.is_file() && access(path, AccessFlags::X_OK).is_ok();
    if program.contains('/') {
        return Some(folder.join(program)).filter(is_program);
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(is_program)
}

/// Whether anybody accepts connections at a path.
pub(super) async fn listens(socket: &Path) -> bool {
    let connecting = tokio::time::timeout(PATIENCE, UnixStream::connect(socket));
    matches!(connecting.await, Ok(Ok(_)))
}

/// One of the two buses.
#[derive(Debug, Clone, Copy)]
pub(super) enum Bus {
    Session,
    System,
}

/// The version of the service manager on a bus, or why there is no answer.
pub(super) async fn manager_version(bus: Bus) -> Result<String, String> {
    const MANAGER: &str = "org.freedesktop.systemd1";
    let asking = async {
        let connection = connect(bus).await?;
        let manager =
            PropertiesProxy::new(&connection, MANAGER, "/org/freedesktop/systemd1").await?;
        let interface = InterfaceName::try_from("org.freedesktop.systemd1.Manager")?;
        let version = manager.get(interface, "Version").await?;
        String::try_from(version)
    };
    in_time(asking).await
}

/// The names on the system bus that can be started on demand, or why there is no answer.
pub(super) async fn activatable_names() -> Result<Vec<String>, String> {
    let asking = async {
        let connection = connect(Bus::System).await?;
        let names = DBusProxy::new(&connection).await?.list_activatable_names().await?;
        Ok(names.iter().map(ToString::to_string).collect())
    };
    in_time(asking).await
}

async fn connect(bus: Bus) -> zbus::Result<zbus::Connection> {
    let builder = match bus {
        Bus::Session => connection::Builder::session(),
        Bus::System => connection::Builder::system(),
    };
    builder.build().await
}

async fn in_time<T>(asking: impl Future<Output = zbus::Result<T>>) -> Result<T, String> {
    match tokio::time::timeout(PATIENCE, asking).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[tokio::test]
    async fn a_program_that_hangs_is_given_up() {
        let started = Instant::now();
        let answer = program(&["sleep", "60"], Path::new("/")).await;
        assert_eq!(answer, Answer::Failed("no answer within 2 s".into()));
        assert!(started.elapsed() < Duration::from_secs(30));
    }

    #[tokio::test]
    async fn a_program_that_says_too_much_is_cut_short() {
        let Answer::Failed(_) = program(&["yes"], Path::new("/")).await else {
            panic!("it was let finish");
        };
    }

    #[tokio::test]
    async fn a_programs_answer_is_told_from_its_absence() {
        let run = async |words: &[&str]| program(words, Path::new("/")).await;
        assert_eq!(run(&["echo", "x"]).await, Answer::Said("x\n".into()));
        assert_eq!(run(&["sh", "-c", "echo no >&2; false"]).await, Answer::Failed("no".into()));
        assert_eq!(run(&["tqserver-no-such-program"]).await, Answer::Missing);
    }
}
