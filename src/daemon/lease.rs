//! The lease of a development session: it lasts while somebody follows the events, so that a
//! `tqctl dev` that was killed leaves nothing running.

use std::time::Duration;

use tokio::process::Command;
use tokio::sync::watch;
use tokio::time::timeout;

/// How long it lasts without anybody: long enough to come back after a restart of tqserver.
const LEASE: Duration = Duration::from_secs(15);

/// Watches over the session whose socket and service are called `name`. Completes when it is over;
/// by then its units are being stopped, the socket too, which would start us again otherwise.
pub(super) async fn keep(name: &str, followers: watch::Receiver<usize>) {
    run_out(followers, LEASE).await;
    let units = [format!("{name}.socket"), format!("{name}.service")];
    let mut stop = Command::new("systemctl");
    let stopping = stop.args(["--user", "--no-block", "stop", "--"]).args(&units).status().await;
    if !stopping.as_ref().is_ok_and(|status| status.success()) {
        tracing::warn!("cannot stop {}: {stopping:?}", units.join(" and "));
    }
}

/// Completes once nobody has followed for `lease`.
async fn run_out(mut followers: watch::Receiver<usize>, lease: Duration) {
    // An error means that the feed is gone, which the daemon outlives only at its own end.
    while followers.wait_for(|count| *count == 0).await.is_ok() {
        if timeout(lease, followers.wait_for(|count| *count > 0)).await.is_err() {
            tracing::info!("nobody has followed the events for {lease:?}: the session ends");
            return;
        }
    }
    std::future::pending().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::{Instant, advance};

    #[tokio::test(start_paused = true)]
    async fn it_runs_out_when_nobody_ever_came() {
        let followers = watch::Sender::new(0);
        let begin = Instant::now();
        run_out(followers.subscribe(), LEASE).await;
        assert_eq!(begin.elapsed(), LEASE);
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_back_in_time_renews_it() {
        let followers = watch::Sender::new(1);
        let lease = tokio::spawn(run_out(followers.subscribe(), LEASE));
        for _ in 0..3 {
            advance(10 * LEASE).await;
            followers.send_replace(0);
            advance(LEASE / 2).await;
            followers.send_replace(1);
            advance(Duration::from_millis(1)).await;
            assert!(!lease.is_finished());
        }
        let last = Instant::now();
        followers.send_replace(0);
        lease.await.unwrap();
        assert_eq!(last.elapsed(), LEASE);
    }
}
