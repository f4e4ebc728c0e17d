//! The end of a session.

use std::fs;

use super::session::Session;
use super::systemctl::{have_ended, run};
use super::target;

/// Stops socket, service and workers, and removes what the session made, as far as any of it is
/// there. tqserver stops its own workers: other sessions' are not touched. The caller has the lock.
pub(super) async fn stop(session: &Session) -> anyhow::Result<()> {
    let units = [&*session.socket(), &*session.service()];
    let stopped = run(&[&["stop"], &units[..]].concat()).await?;
    // Units that are gone already cannot be stopped.
    if !stopped.status.success() && !have_ended(&units).await? {
        let said = String::from_utf8_lossy(&stopped.stderr);
        anyhow::bail!("the session was not stopped: {}", said.trim_end());
    }
    target::withdraw(&session.service(), &session.unit_folder()).await?;
    // What systemd keeps for a restart that then did not come. None of these need be there, and the
    // folder stays while another session is in it.
    let _ = fs::remove_dir_all(session.runtime_dir());
    let _ = fs::remove_file(session.log());
    let _ = fs::remove_dir(session.folder());
    Ok(())
}
