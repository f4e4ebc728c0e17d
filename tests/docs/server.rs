//! A machine with a project on it, on which the documents' commands are run as they stand.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::console::{Shown, missing};
use crate::repository::Repository;
use crate::samples::Samples;
use crate::support::bed::{Bed, Kind};
use crate::support::deployments::worker;
use crate::{REPOSITORY, deb};

/// Where the documents have their project.
const PROJECT: &str = "/srv/shop";

/// Puts the units of a checkout on the machine, with tqserver as root: no package, no tq-launcher.
const INSTALL: &str = "
set -e
install target/release/tqserver target/release/tqctl /usr/bin/
cp units/* /etc/systemd/system/
mkdir -p /etc/systemd/system/tqserver{.service,.socket,-control.socket}.d
cat >/etc/systemd/system/tqserver.service.d/local.conf <<END
[Service]
User=root
Group=root
ExecStart=
ExecStart=/usr/bin/tqserver --root /srv/shop --mode prod --manager system
END
cat >/etc/systemd/system/tqserver.socket.d/local.conf <<END
[Socket]
ListenStream=
ListenStream=8080
END
cat >/etc/systemd/system/tqserver-control.socket.d/local.conf <<END
[Socket]
SocketUser=root
SocketGroup=root
END
systemctl daemon-reload
systemctl enable --quiet --now tqserver.socket tqserver-control.socket
echo installed
";

/// Stands before a command's status in what a script prints.
const MARK: char = '\u{1}';

/// A booted system of its own, root's shell on it, and a project in a git repository.
pub(crate) struct Server {
    bed: Bed,
    target_dir: PathBuf,
}

impl Server {
    /// With the sample workers, and tqserver from a checkout.
    pub(crate) fn installed() -> Self {
        let server = Self::start();
        let project = server.bed.root_path(PROJECT);
        copy(Samples::new().path(), &project);
        for part in ["Makefile", "units", "config"] {
            copy(&Path::new(REPOSITORY).join(part), &project);
        }
        // What `cargo build --release` would make; the sandbox is not unoptimised.
        let programs = project.join("target/release");
        fs::create_dir_all(&programs).unwrap();
        for program in [env!("CARGO_BIN_EXE_tqserver"), env!("CARGO_BIN_EXE_tqctl")] {
            fs::copy(program, programs.join(Path::new(program).file_name().unwrap())).unwrap();
        }
        server.run("git add --all && git commit --quiet --message 'The shop'");
        let printed = server.run(INSTALL);
        assert!(printed.ends_with("installed\n"), "{printed}");
        server
    }

    /// With a worker that needs no compiler, and a signed repository with the package.
    pub(crate) fn bare() -> Self {
        let server = Self::start();
        let project = server.bed.root_path(PROJECT);
        worker("index", "well").write(&project.join("workers/index"));
        copy(&Path::new(REPOSITORY).join("config"), &project);
        let repository = Repository::of(&[deb::build(deb::FIRST)]);
        copy(&repository.path(), &server.bed.root_path("/srv/repo"));
        server.run(
            "rm -rf /etc/apt/sources.list /etc/apt/sources.list.d/*
             git init --quiet; git add --all; git commit --quiet --message 'The shop'",
        );
        server
    }

    fn start() -> Self {
        let target_dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("samples");
        fs::create_dir_all(&target_dir).unwrap();
        // A network of its own: the documents name the default ports.
        let bed = Bed::start(Kind::System, &["--net", "--bind", target_dir.to_str().unwrap()]);
        Self { bed, target_dir }
    }

    /// Runs a document's commands in one shell. Each must succeed, unless the next shows its
    /// status, and print what is shown below it.
    pub(crate) fn follow(&self, document: &str, commands: &[Shown]) {
        let mut script = String::new();
        for command in commands {
            // What a worker has just said may still be on its way.
            if command.text.starts_with("journalctl") {
                script.push_str("journalctl --sync\n");
            }
            // The shell's own `$?` is what it would be without us.
            let mark = format!("(status=$?; printf '\\n{MARK}%s\\n' $status; exit $status)\n");
            script.extend([&command.text, "\n", &mark]);
        }
        let printed = self.run(&script);
        let mut outcomes = printed.split(MARK);
        let mut output = outcomes.next().unwrap_or_default();
        for (index, command) in commands.iter().enumerate() {
            let place = format!("{document}:{}: {}", command.line, command.text);
            let outcome = outcomes.next().unwrap_or_else(|| panic!("{place}: no end\n{printed}"));
            let (status, next) = outcome.split_once('\n').unwrap_or_default();
            let asked = commands.get(index + 1).is_some_and(|next| next.text == "echo $?");
            assert!(status == "0" || asked, "{place}: exit {status}\n{output}{}", self.log());
            if let Some(line) = missing(&command.output, output) {
                panic!("{place}\nshows\n{line}\nand prints\n{output}{}", self.log());
            }
            output = next;
        }
    }

    fn run(&self, script: &str) -> String {
        let mut bash = self.bed.command("bash");
        bash.args(["-c", &format!("exec 2>&1 </dev/null; cd {PROJECT}; {script}")]);
        bash.env("CARGO_TARGET_DIR", &self.target_dir);
        for role in ["AUTHOR", "COMMITTER"] {
            bash.env(format!("GIT_{role}_NAME"), "Ada");
            bash.env(format!("GIT_{role}_EMAIL"), "ada@example.org");
        }
        let output = bash.output().expect("nsenter can be run");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn log(&self) -> String {
        self.run("echo; echo '--- journal'; journalctl --no-pager --output=cat --lines=40")
    }
}

/// Into the folder `to` if it is there, else as it.
fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").args(["--recursive", "--"]).args([from, to]).status().unwrap();
    assert!(status.success(), "cp {} {}: {status}", from.display(), to.display());
}
