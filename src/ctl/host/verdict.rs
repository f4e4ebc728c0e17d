//! What tqserver says of a deployment, by the control socket or, where that may not be used, by
//! whether `systemctl reload` succeeds.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::admin::api::{ReloadOutcome, ReloadVerdict, SCHEMA};
use crate::ctl::client::{Client, ClientError};
use crate::ctl::exit::Failure;
use crate::ctl::reload::{self, VerdictError};

/// How long a tqserver that ended meanwhile may take to be there again.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// How often it is looked for.
pub(super) const PAUSE: Duration = Duration::from_millis(200);

/// Completes a future here and now.
pub(super) fn block_on<T>(future: impl Future<Output = T>) -> std::io::Result<T> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(future))
}

/// Has tqserver look at the manifest, and waits for what comes of it.
pub(super) fn reload(client: &Client) -> Result<ReloadVerdict, Failure> {
    let begun = Instant::now();
    loop {
        match block_on(reload::verdict(client, || ()))? {
            Err(VerdictError::Client(ClientError::Denied(_))) => return by_systemctl(begun),
            // It was restarted, or was killed: whoever comes after it decides.
            Err(VerdictError::Client(
                ClientError::Connection { .. } | ClientError::NotRunning(_),
            )) if begun.elapsed() < PATIENCE => std::thread::sleep(PAUSE),
            other => return other.map_err(VerdictError::into_failure),
        }
    }
}

fn by_systemctl(begun: Instant) -> Result<ReloadVerdict, Failure> {
    let output = Command::new("systemctl")
        .args(["--no-ask-password", "reload", "tqserver.service"])
        .stdin(Stdio::null())
        .output()?;
    let ok = output.status.success();
    let words = String::from_utf8_lossy(&output.stderr);
    let words = words.lines().next().unwrap_or("systemctl reload tqserver.service failed");
    Ok(ReloadVerdict {
        schema: SCHEMA,
        ok,
        commit: None,
        outcome: if ok { ReloadOutcome::Switched } else { ReloadOutcome::Failed },
        started: Vec::new(),
        kept: Vec::new(),
        reason: (!ok)
            .then(|| format!("{words} Why is told on the host alone: journalctl --unit tqserver")),
        details: Vec::new(),
        duration_ms: begun.elapsed().as_millis().try_into().unwrap_or(u64::MAX),
    })
}
