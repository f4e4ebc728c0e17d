//! Where a deployment goes: a host of a target, or this machine.

use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::path::PathBuf;

use anyhow::Context;
use tokio::process::Command;

use crate::config::targets::{HostName, Target};

/// What is started on a host, as a verb of tqctl.
const SESSION: &str = "host-session";

/// One machine and the folder of deployments there.
#[derive(Debug, Clone)]
pub(in crate::ctl) struct Place {
    /// `None` for this machine.
    remote: Option<Remote>,
    /// The folder of deployments there.
    pub(super) deploy: PathBuf,
    /// The control socket there, where it is not the usual one.
    pub(super) socket: Option<PathBuf>,
}

#[derive(Debug, Clone)]
struct Remote {
    host: HostName,
    target: Target,
}

impl Place {
    /// The hosts of a target, in the order in which they switch.
    pub(in crate::ctl) fn all_of(target: &Target) -> Vec<Self> {
        let on = |remote: Option<Remote>| Self {
            remote,
            deploy: target.path.as_path().join("deploy"),
            socket: target.socket.as_ref().map(|socket| socket.as_path().to_owned()),
        };
        let remote = |host: &HostName| Remote { host: host.clone(), target: target.clone() };
        match target.hosts.is_empty() {
            true => vec![on(None)],
            false => target.hosts.iter().map(|host| on(Some(remote(host)))).collect(),
        }
    }

    /// A folder of deployments on this machine.
    pub(in crate::ctl) fn here(deploy: PathBuf, socket: Option<PathBuf>) -> Self {
        Self { remote: None, deploy, socket }
    }

    /// Its name for people.
    pub(in crate::ctl) fn name(&self) -> &str {
        self.remote.as_ref().map_or("here", |remote| remote.host.as_str())
    }

    /// Whether ssh leads there.
    pub(super) fn is_remote(&self) -> bool {
        self.remote.is_some()
    }

    /// What a person types to run a command there.
    pub(super) fn prefix(&self) -> String {
        self.remote.as_ref().map_or_else(String::new, |remote| match &remote.target.user {
            Some(user) => format!("ssh {}@{} ", user.as_str(), remote.host),
            None => format!("ssh {} ", remote.host),
        })
    }

    /// The session's program, not started yet.
    pub(super) fn session(&self) -> anyhow::Result<Command> {
        let Some(remote) = &self.remote else {
            let program = std::env::current_exe().context("cannot find tqctl's own program")?;
            let mut command = Command::new(program);
            // Ctrl-C is for us; what it has begun is finished, as on a host.
            command.arg(SESSION).process_group(0);
            return Ok(command);
        };
        let mut words = remote.ssh().into_iter();
        let mut command = Command::new(words.next().context("no ssh")?);
        // Killed with us: the session there hears of it by the end of its input.
        command.args(words).arg("--").arg(remote.host.as_str()).kill_on_drop(true);
        // sshd has a shell read this. A `HostPath` needs no quotes, whichever shell that is.
        let tqctl = remote.target.tqctl.as_ref().map_or("tqctl", |path| path.as_str());
        command.arg(tqctl).arg(SESSION);
        Ok(command)
    }

    /// The value of rsync's `--rsh`, which rsync splits into words.
    pub(super) fn rsh(&self) -> Option<OsString> {
        let words = self.remote.as_ref()?.ssh();
        let quoted = words.iter().map(|word| quote(&word.to_string_lossy())).collect::<Vec<_>>();
        Some(quoted.join(" ").into())
    }

    /// `folder` on the host as rsync names it; `None` where that would need quotes.
    pub(super) fn rsync_destination(&self, folder: &str) -> Option<String> {
        let remote = self.remote.as_ref()?;
        folder.parse::<crate::config::targets::HostPath>().ok()?;
        let host = remote.host.as_str();
        // An IPv6 address; rsync takes the brackets off.
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        Some(format!("{host}:{folder}/"))
    }
}

impl Remote {
    /// ssh and its options, without the host.
    fn ssh(&self) -> Vec<OsString> {
        let mut words: Vec<OsString> = ["ssh", "-T", "-x"].map(Into::into).to_vec();
        let mut option = |text: &str| words.extend(["-o".into(), text.into()]);
        // A dead connection is noticed within a minute.
        option("ServerAliveInterval=15");
        option("ServerAliveCountMax=3");
        option("ConnectTimeout=20");
        if !io::stderr().is_terminal() {
            // Nobody is there to answer a question.
            option("BatchMode=yes");
        }
        if let Some(config) = &self.target.ssh_config {
            words.extend(["-F".into(), config.into()]);
        }
        if let Some(port) = self.target.port {
            words.extend(["-p".into(), port.to_string().into()]);
        }
        if let Some(user) = &self.target.user {
            words.extend(["-l".into(), user.as_str().into()]);
        }
        words
    }
}

/// A word for rsync, which takes quotes off and, within them, two for one.
fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Sources};

    fn place(target: &str) -> Place {
        let sources = Sources::of_project("/srv/my shop");
        let text = format!("targets: {{t: {target}}}");
        let loaded = config::parse(&sources, b"", Some(text.as_bytes())).unwrap();
        Place::all_of(&loaded.settings.targets[&"t".parse().unwrap()]).remove(0)
    }

    #[test]
    fn the_host_comes_behind_all_options_and_the_command_is_two_plain_words() {
        let place = place("{hosts: [web1], user: ada, port: 2222, tqctl: /opt/tq/tqctl}");
        let command = place.session().unwrap();
        let words: Vec<_> = command.as_std().get_args().map(|it| it.to_str().unwrap()).collect();
        assert!(words.ends_with(&["--", "web1", "/opt/tq/tqctl", "host-session"]), "{words:?}");
        assert!(words.windows(2).any(|pair| pair == ["-p", "2222"]), "{words:?}");
    }

    #[test]
    fn rsync_gets_words_with_spaces_whole() {
        let place = place("{hosts: ['::1'], ssh_config: it's}");
        let rsh = place.rsh().unwrap().into_string().unwrap();
        assert!(rsh.ends_with("'-F' '/srv/my shop/it''s'"), "{rsh}");
        assert_eq!(place.rsync_destination("/srv/x").unwrap(), "[::1]:/srv/x/");
        assert_eq!(place.rsync_destination("/srv/my shop"), None);
    }

    #[test]
    fn a_target_without_hosts_is_this_machine() {
        let place = place("{path: /srv/shop}");
        assert!(!place.is_remote() && place.rsh().is_none());
        assert_eq!(place.deploy, std::path::Path::new("/srv/shop/deploy"));
    }
}
