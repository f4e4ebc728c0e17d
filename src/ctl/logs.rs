//! `tqctl logs`: journalctl, with the matches that find workers' lines.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::anyhow;
use clap::Args;

use super::Globals;
use super::client::Client;
use super::completion;
use super::exit::{Exit, Failure};
use super::output::{ColorChoice, Output};
use crate::ids::{CommitId, Generation, WorkerName};

/// The fewest digits of a commit that name one.
const DIGITS: usize = 4;

/// `tqctl logs`
#[derive(Debug, Args)]
pub struct LogsArgs {
    /// Whose lines, and what tqserver says of it; by default all workers' and tqserver's own
    #[arg(add = completion::workers())]
    pub worker: Option<WorkerName>,
    /// Go on with new lines, also of generations to come, until Ctrl-C
    #[arg(short, long)]
    pub follow: bool,
    /// Only the last lines
    #[arg(short = 'n', long, value_name = "COUNT")]
    pub lines: Option<u32>,
    /// Only lines that match a regular expression (PCRE2); in lower case it matches either case
    #[arg(short, long, value_name = "PATTERN")]
    pub grep: Option<String>,
    /// Only lines of one generation
    #[arg(long, value_name = "NUMBER", value_parser = parse_generation)]
    pub r#gen: Option<Generation>,
    /// Only lines of a deployment: its commit, or the first digits of it
    #[arg(long, value_name = "COMMIT", add = completion::commits())]
    pub commit: Option<String>,
}

/// `3` or, as tables show it, `g3`.
fn parse_generation(text: &str) -> Result<Generation, String> {
    let digits = text.strip_prefix('g').unwrap_or(text);
    digits.parse().map(Generation).map_err(|_| "a generation is a number, such as 3 or g3".into())
}

/// Becomes journalctl; comes back only with an error.
pub async fn run(
    args: &LogsArgs,
    globals: &Globals,
    client: &Client,
    out: &Output,
) -> Result<Exit, Failure> {
    let workers = match &args.worker {
        Some(worker) => vec![worker.clone()],
        None => workers(client, globals, out).await,
    };
    let commit = match &args.commit {
        Some(commit) => Some(whole(commit, client).await?),
        None => None,
    };
    let mut command = Command::new("journalctl");
    command.args(arguments(args, globals, &workers, commit.as_ref()));
    if globals.color != ColorChoice::Auto {
        command.env("SYSTEMD_COLORS", u8::from(globals.color == ColorChoice::Always).to_string());
    }
    out.detail(format_args!("{command:?}"));
    let error = command.exec();
    Err(Failure::from(anyhow!("journalctl: {error}"))
        .with_hint(Some("tqctl doctor says whether there is a journal".to_owned())))
}

/// All workers: those that tqserver knows, and where it does not answer, all that the journal knows.
async fn workers(client: &Client, globals: &Globals, out: &Output) -> Vec<WorkerName> {
    match client.status().await {
        Ok(status) => status.workers.into_iter().map(|worker| worker.name).collect(),
        Err(error) => {
            out.detail(format_args!("asking the journal who there is: {error}"));
            let mut command = Command::new("journalctl");
            command.args(is_session(globals).then_some("--user")).arg("--field=TQ_WORKER");
            let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output();
            let names = output.map(|output| output.stdout).unwrap_or_default();
            let names = String::from_utf8_lossy(&names);
            names.lines().filter_map(|name| name.parse().ok()).collect()
        }
    }
}

/// The commit that begins with these digits, among those that tqserver knows.
async fn whole(digits: &str, client: &Client) -> Result<CommitId, Failure> {
    if let Ok(commit) = digits.parse() {
        return Ok(commit);
    }
    let status = client.status().await.map_err(|error| error.into_failure())?;
    let past = client.past_rollouts().await.map_err(|error| error.into_failure())?;
    let workers = status.workers.into_iter().flat_map(|worker| {
        let draining = worker.draining.into_iter().filter_map(|old| old.commit);
        worker.commit.into_iter().chain(draining)
    });
    let mut all: Vec<CommitId> =
        workers.chain(past.rollouts.into_iter().map(|past| past.commit)).collect();
    all.sort();
    all.dedup();
    choose(digits, all)
}

fn choose(digits: &str, mut known: Vec<CommitId>) -> Result<CommitId, Failure> {
    let hint = |text: &str| Some(text.to_owned());
    if digits.len() < DIGITS {
        let error = anyhow!("{digits:?} is too short for a commit: {DIGITS} digits at least");
        return Err(Failure::new(Exit::Usage, error));
    }
    known.retain(|commit| commit.as_str().starts_with(digits));
    match (known.pop(), known.len()) {
        (Some(commit), 0) => Ok(commit),
        (None, _) => Err(Failure::from(anyhow!("tqserver knows no commit {digits:?}"))
            .with_hint(hint("tqctl history lists commits; one of 40 digits need not be known"))),
        (Some(_), others) => {
            Err(Failure::from(anyhow!("{} commits begin with {digits:?}", others + 1))
                .with_hint(hint("give more digits")))
        }
    }
}

/// Whether it is a user's session, whose lines are that user's, and not the machine's.
fn is_session(globals: &Globals) -> bool {
    let runtime_dir = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    is_below(globals.client().socket(), runtime_dir.as_deref())
}

fn is_below(socket: &Path, runtime_dir: Option<&Path>) -> bool {
    runtime_dir.is_some_and(|dir| socket.starts_with(dir))
}

fn arguments(
    args: &LogsArgs,
    globals: &Globals,
    workers: &[WorkerName],
    commit: Option<&CommitId>,
) -> Vec<String> {
    let mut all = Vec::new();
    let flags = [
        (is_session(globals), "--user"),
        (args.follow, "--follow"),
        (globals.no_pager, "--no-pager"),
        (globals.quiet, "--quiet"),
        (globals.json.is_some(), "--output=json"),
    ];
    all.extend(flags.iter().filter(|(wanted, _)| *wanted).map(|(_, flag)| (*flag).to_owned()));
    all.extend(args.lines.map(|count| format!("--lines={count}")));
    // In one argument, so that a pattern that begins with a dash is no option.
    all.extend(args.grep.as_ref().map(|pattern| format!("--grep={pattern}")));
    // Units would be found by name as well, but those to come only by a field that all of them have.
    let narrowed = [
        args.r#gen.map(|generation| format!("TQ_GENERATION={}", generation.0)),
        commit.map(|commit| format!("TQ_COMMIT={commit}")),
    ];
    let narrowed: Vec<String> = narrowed.into_iter().flatten().collect();
    all.extend(workers.iter().map(|worker| format!("TQ_WORKER={worker}")));
    if args.worker.is_none() && narrowed.is_empty() {
        if !workers.is_empty() {
            all.push("+".to_owned());
        }
        all.push("SYSLOG_IDENTIFIER=tqserver".to_owned());
    }
    all.extend(narrowed);
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn commits(all: &[char]) -> Vec<CommitId> {
        all.iter().map(|digit| digit.to_string().repeat(40).parse().unwrap()).collect()
    }

    #[rstest]
    #[case("aaaa", Ok("a"))]
    #[case("aaa", Err("too short"))]
    #[case("cccc", Err("knows no commit"))]
    fn a_commit_is_found_by_its_first_digits(
        #[case] digits: &str,
        #[case] expected: Result<&str, &str>,
    ) {
        match (choose(digits, commits(&['a', 'b'])), expected) {
            (Ok(commit), Ok(digit)) => assert_eq!(commit.as_str(), digit.repeat(40)),
            (Err(failure), Err(said)) => assert!(failure.to_string().contains(said), "{failure}"),
            (other, _) => panic!("{other:?}"),
        }
    }

    #[test]
    fn digits_of_two_commits_name_neither() {
        let two = [format!("{:a<40}", "1"), format!("{:a<39}b", "1")];
        let two = two.map(|text| text.parse().unwrap()).to_vec();
        assert!(choose("1aaa", two).unwrap_err().to_string().contains("2 commits"));
    }

    #[rstest]
    #[case("/run/user/1000/tqserver/control.sock", Some("/run/user/1000"), true)]
    #[case("/run/tqserver/control.sock", Some("/run/user/1000"), false)]
    #[case("/run/tqserver/control.sock", None, false)]
    fn a_session_is_below_its_users_folder(
        #[case] socket: &str,
        #[case] runtime_dir: Option<&str>,
        #[case] expected: bool,
    ) {
        assert_eq!(is_below(socket.as_ref(), runtime_dir.map(Path::new)), expected);
    }
}
