//! The project's own commands before and after a deployment.

use std::io;
use std::os::fd::AsFd;
use std::process::Stdio;

use anyhow::{Context, bail};
use tokio::process::Command;

use crate::build::Project;
use crate::ids::CommitId;

/// Runs a command in the project, whose program is looked for there if its name has a slash. What it
/// prints goes to stderr: stdout is for our own result.
pub(super) async fn run(
    words: &[String],
    project: &Project,
    (target, commit, outcome): (&str, &CommitId, Option<&str>),
) -> anyhow::Result<()> {
    let [program, arguments @ ..] = words else { bail!("the hook names no program") };
    let path = match program.contains('/') {
        true => project.root.join(program),
        false => program.into(),
    };
    let mut command = Command::new(path);
    command.args(arguments).current_dir(&project.root).kill_on_drop(true);
    command.env("TQ_TARGET", target).env("TQ_COMMIT", commit.as_str());
    if let Some(outcome) = outcome {
        command.env("TQ_OUTCOME", outcome);
    }
    let stderr = io::stderr().as_fd().try_clone_to_owned()?;
    command.stdin(Stdio::null()).stdout(stderr);
    let status = command.status().await.with_context(|| format!("hook {program}"))?;
    if !status.success() {
        bail!("the hook {program} failed: {status}");
    }
    Ok(())
}
