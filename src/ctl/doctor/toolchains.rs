//! The programs that build and run this project's workers, and no others.

use std::path::PathBuf;

use super::check::{Check, quoted};

mod probe;

/// From this version on rustc links with lld of its own accord, on x86-64.
const RUST_WITH_LLD: &str = "1.90";

/// Debian's packages, where they are called otherwise than the program.
const PACKAGES: &[(&str, &str)] = &[
    ("cc", "gcc libc6-dev"),
    ("go", "golang-go"),
    ("node", "nodejs"),
    ("pip3", "python3-pip"),
    ("php", "php-cli"),
    ("java", "default-jre-headless"),
    ("javac", "default-jdk-headless"),
];

/// What is known of tools.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) tools: Vec<Tool>,
    pub(super) has_rustup: bool,
    /// How Rust programs are linked; `None` where there are none.
    pub(super) linker: Option<Linker>,
}

/// A program that is needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tool {
    /// Its name, or the path by which it is asked for.
    pub(super) program: String,
    /// Who needs it.
    pub(super) needed_by: Vec<String>,
    /// The oldest that will do, and for what.
    pub(super) at_least: Option<&'static str>,
    pub(super) state: State,
}

/// Whether a program is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    Missing,
    There {
        path: PathBuf,
        version: Option<String>,
    },
    /// It is there, and cannot be used.
    Failed(String),
}

/// How Rust programs are linked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Linker {
    /// A fast one that is installed, as `-fuse-ld=` names it.
    pub(super) installed: Option<&'static str>,
    /// Whether cargo's configuration or RUSTFLAGS names one.
    pub(super) is_chosen: bool,
}

fn name_of(program: &str) -> &str {
    program.rsplit('/').next().unwrap_or(program)
}

fn looked_up<'t>(table: &[(&str, &'t str)], program: &str) -> Option<&'t str> {
    table.iter().find(|(name, _)| *name == name_of(program)).map(|(_, value)| *value)
}

/// Whether a version is not older than another.
fn is_at_least(version: &str, least: &str) -> bool {
    let numbers = |text: &str| -> Vec<u32> {
        text.split('.').map_while(|part| part.split('-').next()?.parse().ok()).collect()
    };
    numbers(version) >= numbers(least)
}

/// Which tools are there.
pub(super) fn judge(facts: &Facts) -> Vec<Check> {
    let mut checks: Vec<_> =
        facts.tools.iter().map(|tool| judge_tool(tool, facts.has_rustup)).collect();
    let rustc = facts.tools.iter().find(|tool| tool.program == "rustc");
    if let (Some(linker), Some(State::There { version, .. })) =
        (facts.linker, rustc.map(|tool| &tool.state))
    {
        let version = version.as_deref().unwrap_or_default();
        let has_lld = cfg!(target_arch = "x86_64") && is_at_least(version, RUST_WITH_LLD);
        checks.push(judge_linker(linker, has_lld));
    }
    checks
}

fn judge_tool(tool: &Tool, has_rustup: bool) -> Check {
    let program = &tool.program;
    let users = tool.needed_by.join(", ");
    let by = format!("needed by: {users}");
    match &tool.state {
        State::Missing => {
            let check = Check::failed(program, format!("missing; needed by {users}"));
            check.mend(installation(program, has_rustup))
        }
        State::Failed(said) => {
            let check = Check::failed(program, format!("cannot be used: {said}"));
            let check = match (is_rust(program), has_rustup) {
                (true, true) => {
                    check.mend("rustup toolchain install   # what the project asks for")
                }
                _ => check,
            };
            check.details([by])
        }
        State::There { path, version } => {
            let details = [path.display().to_string(), by];
            let found = version.as_ref().map_or_else(|| path.display().to_string(), Clone::clone);
            match (version, tool.at_least) {
                (Some(version), Some(least)) if !is_at_least(version, least) => {
                    let found = format!("{version}, and the worker library needs {least}");
                    let mend = match has_rustup {
                        true => "rustup update stable".to_owned(),
                        false => installation(program, false),
                    };
                    Check::failed(program, found).mend(mend).details(details)
                }
                _ => Check::ok(program, found).details(details),
            }
        }
    }
}

fn is_rust(program: &str) -> bool {
    ["cargo", "rustc"].contains(&program)
}

/// The command that installs a program.
fn installation(program: &str, has_rustup: bool) -> String {
    if is_rust(program) {
        return match has_rustup {
            true => "rustup default stable".to_owned(),
            // Debian's own may be older than the library.
            false => "curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh".to_owned(),
        };
    }
    if program.contains('/') && !program.starts_with('/') {
        return format!("chmod +x {}   # in the worker's folder, if it is there", quoted(program));
    }
    let name = name_of(program);
    format!(
        "sudo apt install {}",
        looked_up(PACKAGES, name).map_or_else(|| quoted(name), Into::into)
    )
}

fn judge_linker(linker: Linker, has_lld: bool) -> Check {
    let name = "linker";
    let told = |linker: &str| {
        format!(
            "export RUSTFLAGS=-Clink-arg=-fuse-ld={linker}   # or as rustflags in .cargo/config.toml"
        )
    };
    match linker.installed {
        _ if linker.is_chosen => Check::ok(name, "chosen in cargo's configuration"),
        _ if has_lld => Check::ok(name, "lld, by rustc's own choice"),
        Some(fast) => {
            let found =
                format!("{fast} is installed and not used; small changes link faster with:");
            Check::info(name, found).mend(told(fast))
        }
        None => Check::info(name, "the system's; small changes link faster with a faster one:")
            .mend("sudo apt install mold")
            .mend(told("mold")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::Verdict;
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("1.89.0", true)]
    #[case("1.100.0", true)]
    #[case("2.0", true)]
    #[case("1.89.0-nightly", true)]
    #[case("1.88.9", false)]
    #[case("1.9.0", false)]
    fn versions_are_compared_by_number(#[case] version: &str, #[case] expected: bool) {
        assert_eq!(is_at_least(version, "1.89"), expected);
    }

    fn tool(program: &str, at_least: Option<&'static str>, version: Option<&str>) -> Tool {
        let path = PathBuf::from("/usr/bin").join(program);
        let there = |version: &str| State::There { path, version: Some(version.to_owned()) };
        Tool {
            program: program.to_owned(),
            needed_by: vec!["index".to_owned()],
            at_least,
            state: version.map_or(State::Missing, there),
        }
    }

    #[rstest]
    #[case::new(tool("cargo", Some("1.89"), Some("1.95.0")), true, Verdict::Ok, None)]
    #[case::old(
        tool("rustc", Some("1.89"), Some("1.63.0")),
        true,
        Verdict::Failed,
        Some("rustup update stable")
    )]
    #[case::old_without_library(tool("rustc", None, Some("1.63.0")), true, Verdict::Ok, None)]
    #[case::old_of_debian(
        tool("rustc", Some("1.89"), Some("1.63.0")),
        false,
        Verdict::Failed,
        Some("curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh")
    )]
    #[case::without_toolchain(
        tool("cargo", None, None),
        true,
        Verdict::Failed,
        Some("rustup default stable")
    )]
    #[case::other_name(
        tool("node", None, None),
        false,
        Verdict::Failed,
        Some("sudo apt install nodejs")
    )]
    #[case::path(
        tool("/usr/bin/node", None, None),
        false,
        Verdict::Failed,
        Some("sudo apt install nodejs")
    )]
    #[case::own(
        tool("./build.sh", None, None),
        false,
        Verdict::Failed,
        Some("chmod +x ./build.sh   # in the worker's folder, if it is there")
    )]
    fn a_tool_that_is_missing_or_old_has_its_command(
        #[case] tool: Tool,
        #[case] has_rustup: bool,
        #[case] verdict: Verdict,
        #[case] mend: Option<&str>,
    ) {
        let check = judge_tool(&tool, has_rustup);
        assert_eq!(check.verdict, verdict, "{check:?}");
        assert_eq!(check.mend.first().map(String::as_str), mend);
    }

    #[rstest]
    #[case::chosen(None, true, false, Verdict::Ok, 0)]
    #[case::of_rustc(None, false, true, Verdict::Ok, 0)]
    #[case::installed(Some("lld"), false, false, Verdict::Info, 1)]
    #[case::none(None, false, false, Verdict::Info, 2)]
    fn a_fast_linker_is_a_suggestion(
        #[case] installed: Option<&'static str>,
        #[case] is_chosen: bool,
        #[case] has_lld: bool,
        #[case] verdict: Verdict,
        #[case] commands: usize,
    ) {
        let check = judge_linker(Linker { installed, is_chosen }, has_lld);
        assert_eq!((check.verdict, check.mend.len()), (verdict, commands));
    }
}
