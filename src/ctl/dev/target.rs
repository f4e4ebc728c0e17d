//! `tq-workers.target`, which every worker is part of: given to a manager that does not know it, and
//! taken back with the last session.

use std::fs;
use std::path::Path;

use anyhow::{Context, bail};

use super::systemctl::{have_ended, run, show};

const NAME: &str = "tq-workers.target";
/// The slice that all workers are in.
const SLICE: &str = "tq-workers.slice";
const TEXT: &str = include_str!("../../../units/tq-workers.target");

/// Puts it into `folder`, unless the manager has one.
pub(super) async fn provide(folder: &Path) -> anyhow::Result<()> {
    if show("LoadState", &[NAME]).await?.iter().any(|state| state == "loaded") {
        return Ok(());
    }
    let file = folder.join(NAME);
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(&file, TEXT))
        .with_context(|| file.display().to_string())?;
    reload().await
}

/// Takes it back where it is ours, unless a unit other than `service` needs it. What may be left of
/// workers ends with it.
pub(super) async fn withdraw(service: &str, folder: &Path) -> anyhow::Result<()> {
    let wanted_by = show("WantedBy", &[NAME]).await?;
    let others: Vec<_> =
        wanted_by.iter().flat_map(|it| it.split_whitespace()).filter(|it| *it != service).collect();
    if !others.is_empty() && !have_ended(&others).await? {
        return Ok(());
    }
    // Slices stay when they are empty, until somebody says so. There may be others' in the outer one.
    run(&["stop", NAME, SLICE]).await?;
    let inner = run(&["list-units", "--plain", "--no-legend", "tq-*.slice"]).await?;
    if inner.status.success() && inner.stdout.is_empty() {
        run(&["stop", "tq.slice"]).await?;
    }
    let file = folder.join(NAME);
    if fs::read_to_string(&file).is_ok_and(|text| text == TEXT) {
        fs::remove_file(&file).with_context(|| file.display().to_string())?;
        // It stays where others have units in it.
        let _ = fs::remove_dir(folder);
        reload().await?;
    }
    Ok(())
}

async fn reload() -> anyhow::Result<()> {
    let output = run(&["daemon-reload"]).await?;
    if !output.status.success() {
        bail!("systemctl daemon-reload: {}", String::from_utf8_lossy(&output.stderr).trim_end());
    }
    Ok(())
}
