//! A machine with a project on it, on which the documents' commands are run as they stand.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::REPOSITORY;
use crate::console::{Shown, missing};
use crate::samples::Samples;
use crate::support::bed::{Bed, Kind};

/// Where the documents have their project.
const PROJECT: &str = "/srv/shop";

/// Stands before a command's status in what a script prints.
const MARK: char = '\u{1}';

/// A booted system of its own, root's shell on it, and the sample workers in a git repository.
pub(crate) struct Server {
    bed: Bed,
    target_dir: PathBuf,
    _samples: Samples,
}

impl Server {
    pub(crate) fn start() -> Self {
        let target_dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("samples");
        fs::create_dir_all(&target_dir).unwrap();
        // A network of its own: the documents name the default ports.
        let bed = Bed::start(Kind::System, &["--net", "--bind", target_dir.to_str().unwrap()]);
        let samples = Samples::new();
        let project = bed.root_path(PROJECT);
        copy(samples.path(), &project);
        for part in ["Makefile", "units", "config"] {
            copy(&Path::new(REPOSITORY).join(part), &project);
        }
        // What `cargo build --release` would make; the sandbox is not unoptimised.
        let programs = project.join("target/release");
        fs::create_dir_all(&programs).unwrap();
        for program in [env!("CARGO_BIN_EXE_tqserver"), env!("CARGO_BIN_EXE_tqctl")] {
            fs::copy(program, programs.join(Path::new(program).file_name().unwrap())).unwrap();
        }
        let server = Self { bed, target_dir, _samples: samples };
        server.run("git add --all && git commit --quiet --message 'The shop'");
        server
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
