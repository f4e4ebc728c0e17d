//! systemd's own tools, by argv. They run in a process group of their own: Ctrl-C is for tqctl,
//! which has them clean up.

use std::process::{Output, Stdio};

use anyhow::{Context, bail};
use tokio::process::Command;

/// A program that Ctrl-C does not reach, and that ends with its future.
pub(super) fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    command.process_group(0).stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Runs `systemctl --user`.
pub(super) async fn run(args: &[&str]) -> anyhow::Result<Output> {
    let output = command("systemctl").arg("--user").args(args).output().await;
    output.context("cannot run systemctl")
}

/// Runs a command that has to succeed.
pub(super) async fn checked(mut command: Command) -> anyhow::Result<()> {
    let program = command.as_std().get_program().to_string_lossy().into_owned();
    let output = command.output().await.with_context(|| format!("cannot run {program}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{program}: {}: {}", output.status, said.trim_end());
    }
    Ok(())
}

/// One property of each of these units.
pub(super) async fn show(property: &str, units: &[&str]) -> anyhow::Result<Vec<String>> {
    let property = format!("--property={property}");
    let output = run(&[&["show", "--value", &property], units].concat()).await?;
    if !output.status.success() {
        bail!("systemctl show: {}", String::from_utf8_lossy(&output.stderr).trim_end());
    }
    // An empty line is between two units.
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.trim_end().split("\n\n").map(str::to_owned).collect())
}

/// Whether all of these units have ended, well or not, or are not there.
pub(super) async fn have_ended(units: &[&str]) -> anyhow::Result<bool> {
    let states = show("ActiveState", units).await?;
    Ok(states.iter().all(|state| ["inactive", "failed"].contains(&state.as_str())))
}
