//! Brings a deployment to a host, as far as the host does not have it.

use super::local::Local;
use super::session::Session;
use super::steps::{Step, Steps};
use super::{archive, rsync};
use crate::ctl::exit::Failure;
use crate::ctl::host::protocol::{Reply, Request};

/// What an upload came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Uploaded {
    /// Bytes of the files that the host had not.
    pub(super) missing_bytes: u64,
    /// Bytes that went over the wire for them.
    pub(super) sent_bytes: u64,
}

/// Brings it and gives it its name there.
pub(super) async fn upload(
    session: &mut Session,
    local: &Local,
    steps: &Steps<'_>,
) -> Result<Uploaded, Failure> {
    let name = session.place().name().to_owned();
    let running = steps.begin(Step::Upload, &name);
    let sizes = local.sizes()?;
    let size = sizes.iter().sum();
    let (record, signature) = (local.record.clone(), local.signature.clone());
    let stage = Request::Stage { record, sizes, signature };
    let (folder, missing, resembling) = match session.ask(&stage).await? {
        Reply::Present => {
            running.done("there already");
            steps.begin(Step::Verify, &name).done("intact");
            return Ok(Uploaded::default());
        }
        Reply::Staged { folder, missing, resembling } => (folder, missing, resembling),
        _ => return Err(session.out_of_turn()),
    };
    let missing_bytes = local.size_of(&missing)?;
    running.expect(missing_bytes);
    let destination = session.place().rsync_destination(&folder);
    let by_rsync = session.hello().rsync && rsync::is_installed();
    let sent_bytes = match destination {
        _ if missing.is_empty() => 0,
        Some(destination) if by_rsync => {
            let progress = |percent: u64| running.reached(missing_bytes * percent / 100);
            // What is being brought is among the deployments.
            let deploy = folder.rsplit_once('/').map_or("", |(deploy, _)| deploy);
            let resembling = (deploy, resembling.as_slice());
            rsync::send(
                session.place(),
                &local.folder,
                &missing,
                &destination,
                resembling,
                &progress,
            )
            .await?
        }
        _ => {
            let progress = |bytes: u64| running.reached(bytes);
            archive::send(session, &local.folder, &missing, &progress).await?
        }
    };
    running.done(&format!(
        "{} sent for {} of {}",
        megabytes(sent_bytes),
        megabytes(missing_bytes),
        megabytes(size)
    ));
    let running = steps.begin(Step::Verify, &name);
    match session.ask(&Request::Publish).await? {
        Reply::Published => running.done(""),
        _ => return Err(session.out_of_turn()),
    }
    Ok(Uploaded { missing_bytes, sent_bytes })
}

/// `2.1 MB`
pub(super) fn megabytes(bytes: u64) -> String {
    match bytes {
        0..100_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}
