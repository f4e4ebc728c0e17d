//! What tqserver tells its service manager: sd_notify(3), and the watchdog of
//! sd_watchdog_enabled(3).

use std::os::fd::AsFd;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::time::{MissedTickBehavior, interval};

/// Tells the service manager how it stands. Without NOTIFY_SOCKET (a try-out in the foreground)
/// nothing is sent. A message that cannot be sent is logged: it must never stop the service.
#[derive(Debug, Clone, Copy, Default)]
pub struct Notifier;

impl Notifier {
    /// Started, or done reloading; with the line that `systemctl status` shows.
    pub fn ready(&self, status: &str) {
        self.send(&[NotifyState::Ready, NotifyState::Status(&one_line(status))]);
    }

    /// A new line for `systemctl status`.
    pub fn status(&self, status: &str) {
        self.send(&[NotifyState::Status(&one_line(status))]);
    }

    /// A reload begins; [`Self::ready`] ends it, whether it succeeded or not.
    pub fn reloading(&self) {
        // Managers since 253 want the time of the message with it, older ones ignore it.
        match NotifyState::monotonic_usec_now() {
            Ok(now) => self.send(&[NotifyState::Reloading, now]),
            Err(error) => tracing::warn!(%error, "the monotonic clock cannot be read: {error}"),
        }
    }

    /// Another process, of the same control group, is the service from here on: only the main
    /// process may say so. Later messages of this one would be refused.
    pub fn main_process(&self, pid: u32) {
        self.send(&[NotifyState::MainPid(pid)]);
    }

    /// Whether there is a service manager that listens.
    pub fn has_manager(&self) -> bool {
        std::env::var_os("NOTIFY_SOCKET").is_some_and(|socket| !socket.is_empty())
    }

    /// Stopping: from here on nothing but the end is expected.
    pub fn stopping(&self, status: &str) {
        self.send(&[NotifyState::Stopping, NotifyState::Status(&one_line(status))]);
    }

    /// Waits until the service manager has taken in all that it was told before
    /// (sd_notify_barrier(3)), for a bounded time.
    pub async fn barrier(&self) {
        /// A manager that is busy for longer is not waited for.
        const PATIENCE: Duration = Duration::from_secs(5);
        if std::env::var_os("NOTIFY_SOCKET").is_none() {
            return;
        }
        let wait = async {
            let (ours, theirs) = std::io::pipe()?;
            // It closes its end when it comes to this message.
            sd_notify::notify_with_fds(&[NotifyState::Custom("BARRIER=1")], &[theirs.as_fd()])?;
            drop(theirs);
            let mut ours = pipe::Receiver::from_owned_fd(ours.into())?;
            ours.read(&mut [0]).await
        };
        match tokio::time::timeout(PATIENCE, wait).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::warn!(%error, "no barrier at the service manager: {error}"),
            Err(_) => tracing::warn!("the service manager is slow to take messages"),
        }
    }

    /// The longest silence that the service manager puts up with (`WatchdogSec=`); `None` when it
    /// does not watch this process.
    pub fn watchdog(&self) -> Option<Duration> {
        sd_notify::watchdog_enabled().filter(|limit| !limit.is_zero())
    }

    /// Feeds the watchdog for as long as it is polled, twice within `limit`, and each time only
    /// if `alive` says that the service does its work. `alive` must not block.
    pub async fn feed_watchdog(self, limit: Duration, alive: impl FnMut() -> bool) {
        feed(limit, alive, || self.send(&[NotifyState::Watchdog])).await;
    }

    fn send(&self, state: &[NotifyState<'_>]) {
        if let Err(error) = sd_notify::notify(state) {
            tracing::warn!(%error, "the service manager was not told {state:?}: {error}");
        }
    }
}

async fn feed(limit: Duration, mut alive: impl FnMut() -> bool, mut ping: impl FnMut()) {
    // Half the limit, as sd_watchdog_enabled(3) recommends.
    let period = (limit / 2).max(Duration::from_millis(1));
    // Begins at once: after a handover the process before us may have fed it almost a period ago.
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if alive() {
            ping();
        } else {
            tracing::error!("not alive: the watchdog is not fed, and systemd will restart us");
        }
    }
}

/// The protocol is a line per assignment, so that a line break would begin another one.
fn one_line(text: &str) -> String {
    text.replace(['\n', '\r', '\0'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::os::unix::net::UnixDatagram;
    use std::process::Command;

    #[tokio::test(start_paused = true)]
    async fn the_watchdog_is_fed_only_while_alive() {
        let (alive, pings) = (Cell::new(true), Cell::new(0));
        let feeding = feed(
            Duration::from_secs(10),
            || alive.get(),
            || {
                pings.set(pings.get() + 1);
            },
        );
        let watching = async {
            tokio::time::sleep(Duration::from_secs(21)).await;
            assert_eq!(pings.get(), 5, "at once, and every 5 seconds");
            alive.set(false);
            tokio::time::sleep(Duration::from_secs(60)).await;
            assert_eq!(pings.get(), 5);
            alive.set(true);
            tokio::time::sleep(Duration::from_secs(5)).await;
            assert_eq!(pings.get(), 6);
        };
        tokio::select! {
            () = feeding => unreachable!("feeding has no end"),
            () = watching => {}
        }
    }

    /// Runs in a process of its own, as the protocol's variables are the whole process's.
    #[test]
    #[ignore = "started by messages_reach_the_manager"]
    fn child() {
        let notifier = Notifier;
        notifier.ready("serving\nMAINPID=1");
        notifier.reloading();
        notifier.stopping("draining");
        assert_eq!(notifier.watchdog(), Some(Duration::from_secs(3)));
    }

    #[test]
    fn messages_reach_the_manager() {
        let dir = tempfile::tempdir().unwrap();
        let manager = UnixDatagram::bind(dir.path().join("notify")).unwrap();
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "sd::notify::tests::child"])
            .env("NOTIFY_SOCKET", dir.path().join("notify"))
            .env("WATCHDOG_USEC", "3000000")
            .env_remove("WATCHDOG_PID")
            .output()
            .unwrap();
        assert!(status.status.success(), "{status:?}");
        let receive = || {
            let mut buffer = [0; 512];
            let len = manager.recv(&mut buffer).unwrap();
            String::from_utf8(buffer[..len].to_vec()).unwrap()
        };
        manager.set_nonblocking(true).unwrap();
        assert_eq!(receive(), "READY=1\nSTATUS=serving MAINPID=1\n");
        let reloading = receive();
        let usec = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
        assert!(usec.trim_end().parse::<u64>().unwrap() > 0, "{reloading}");
        assert_eq!(receive(), "STOPPING=1\nSTATUS=draining\n");
    }

    #[test]
    fn without_a_manager_nothing_happens() {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "sd::notify::tests::child"])
            .env_remove("NOTIFY_SOCKET")
            .env("WATCHDOG_USEC", "3000000")
            .env_remove("WATCHDOG_PID")
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
    }
}
