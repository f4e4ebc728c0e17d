//! The command line of `tqserver`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use super::handover::Stage;
use crate::config::settings::Mode;
use crate::launcher::bus::{Bus, Through};
use crate::sd::journal::Manager;
use crate::store::verify::Scope;

/// Runs web applications as systemd services and swaps them without losing a request.
///
/// Usually started by tqserver.socket. Takes its sockets from systemd, its configuration from
/// server.yaml and deployment.yaml, and what to run from the deployment manifest.
#[derive(Debug, Parser)]
#[command(name = "tqserver", version = crate::version::VERSION_LINE.as_str())]
pub struct Args {
    /// The folder that relative paths of the configuration start from
    #[arg(long, env = "TQ_ROOT", default_value = ".", value_name = "DIR")]
    pub root: PathBuf,

    /// The folder of server.yaml and deployment.yaml [default: config below the root, else
    /// /etc/tqserver]
    #[arg(long, env = "TQ_CONFIG_DIR", value_name = "DIR")]
    pub config: Option<PathBuf>,

    /// Where workers run from, over what the environment and the configuration say
    #[arg(long, value_enum)]
    pub mode: Option<ModeArg>,

    /// The service manager that runs the workers [default: the user's where there is one]
    #[arg(long, value_enum)]
    pub manager: Option<ManagerArg>,

    /// Listen here, for a try-out in the foreground; refused when systemd passes sockets
    #[arg(long, value_name = "ADDR:PORT")]
    pub listen: Option<SocketAddr>,

    /// For `tqctl dev`: the units it made are called so, and are stopped, with all workers, when
    /// nobody follows the events any more
    #[arg(long, hide = true, value_name = "UNIT")]
    pub session: Option<String>,

    /// For tqserver itself, when it starts its successor
    #[arg(long, hide = true, value_enum, value_name = "STAGE")]
    pub take_over: Option<Stage>,
}

/// See [`Mode`].
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum ModeArg {
    /// From the source tree
    Dev,
    /// From deployments, as the manifest says
    Prod,
}

/// A service manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ManagerArg {
    /// The user's own
    User,
    /// The machine's
    System,
    /// The machine's, by way of tq-launcher: for a tqserver without privileges
    Launcher,
}

impl Args {
    /// The mode that was asked for.
    pub fn mode(&self) -> Option<Mode> {
        self.mode.map(|mode| match mode {
            ModeArg::Dev => Mode::Dev,
            ModeArg::Prod => Mode::Prod,
        })
    }

    /// The bus of the service manager, and who is asked to start and stop.
    pub fn manager(&self) -> (Bus, Through) {
        match self.manager_arg() {
            ManagerArg::User => (Bus::Session, Through::Manager),
            ManagerArg::System => (Bus::System, Through::Manager),
            ManagerArg::Launcher => (Bus::System, Through::Service),
        }
    }

    /// Whose journal has the units' lines.
    pub fn journal_manager(&self) -> Manager {
        match self.manager_arg() {
            ManagerArg::User => Manager::User,
            ManagerArg::System | ManagerArg::Launcher => Manager::System,
        }
    }

    /// How much of a deployment is verified here: who starts the workers' programs verifies those.
    pub fn verify_scope(&self) -> Scope {
        match self.manager_arg() {
            ManagerArg::User | ManagerArg::System => Scope::Whole,
            // It verifies the rest, and more than we could: see launcher::copies.
            ManagerArg::Launcher => Scope::Public,
        }
    }

    /// pam_systemd(8) and user@.service set XDG_RUNTIME_DIR; the machine's services have none.
    fn manager_arg(&self) -> ManagerArg {
        let of_user = std::env::var_os("XDG_RUNTIME_DIR").is_some_and(|dir| !dir.is_empty());
        self.manager.unwrap_or(if of_user { ManagerArg::User } else { ManagerArg::System })
    }
}
