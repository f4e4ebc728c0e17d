//! The start of a session: what `systemd-run` is told, so that the same can be done by hand
//! (docs/development.md).

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::Path;

use super::session::Session;
use super::systemctl::{checked, command, run};
use super::{environment, program, target};
use crate::config::settings::Settings;

/// Makes the units and starts the socket, not yet the service.
pub(super) async fn make_units(
    session: &Session,
    addresses: &[SocketAddr],
    settings: &Settings,
) -> anyhow::Result<()> {
    let program = program::tqserver()?;
    session.make_log()?;
    target::provide(&session.unit_folder()).await?;
    let variables = environment::passed_on(session.root(), settings);
    let mut systemd_run = command("systemd-run");
    systemd_run.args(arguments(session, addresses, variables, &program));
    // A value never shows in a list of processes: only the name is passed, here and below.
    systemd_run.env("TQ_ROOT", session.root());
    checked(systemd_run).await
}

/// Waits until tqserver is ready; false when it did not become so.
pub(super) async fn start(session: &Session) -> anyhow::Result<bool> {
    Ok(run(&["start", &session.service()]).await?.status.success())
}

fn arguments(
    session: &Session,
    addresses: &[SocketAddr],
    variables: impl IntoIterator<Item = String>,
    program: &Path,
) -> Vec<OsString> {
    let log = session.log();
    let log = log.display();
    let mut arguments = vec![
        "--user".to_owned(),
        "--quiet".to_owned(),
        "--collect".to_owned(),
        format!("--unit={}", session.name()),
        format!("--description=tqserver dev, {}", session.root().display()),
    ];
    arguments.extend(addresses.iter().map(|it| format!("--socket-property=ListenStream={it}")));
    arguments.extend([
        "--socket-property=FileDescriptorName=http".to_owned(),
        "--property=Type=notify".to_owned(),
        "--property=Restart=on-failure".to_owned(),
        // EX_CONFIG: it would fail again.
        "--property=RestartPreventExitStatus=78".to_owned(),
        "--property=KillMode=mixed".to_owned(),
        "--property=Wants=tq-workers.target".to_owned(),
        "--property=After=tq-workers.target".to_owned(),
        format!("--property=RuntimeDirectory={}", session.runtime_directory()),
        // What it knows of its workers is in there.
        "--property=RuntimeDirectoryPreserve=restart".to_owned(),
        format!("--property=StandardOutput=append:{log}"),
        format!("--property=StandardError=append:{log}"),
        // By its environment, as systemd would expand a dollar in an argument.
        "--setenv=TQ_ROOT".to_owned(),
    ]);
    arguments.extend(variables.into_iter().map(|name| format!("--setenv={name}")));
    let mut arguments: Vec<_> = arguments.into_iter().map(OsString::from).collect();
    arguments.push(program.into());
    arguments.extend(["--mode=dev".into(), format!("--session={}", session.name()).into()]);
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systemd_is_told_all_of_it() {
        let session = Session::of("/home/ada/shop".as_ref(), "/run/user/1000".as_ref());
        let addresses = ["127.0.0.1:8080", "[::1]:8080"].map(|it| it.parse().unwrap());
        let variables = ["CARGO_HOME", "PATH"].map(str::to_owned);
        let arguments = arguments(&session, &addresses, variables, "/usr/bin/tqserver".as_ref());
        let lines: Vec<_> = arguments.iter().map(|it| it.to_str().unwrap()).collect();
        insta::assert_snapshot!(lines.join("\n"));
    }
}
