//! Writes what the command lines of tqserver's programs can be made into: the man pages of
//! sections 1 and 8, one a verb of tqctl, and completions of tqserver for bash, zsh and fish;
//! those of tqctl ask the program itself.
//!
//! `packaging/manual/generate` calls it and adds what only prose can say.

use std::fs;
use std::path::PathBuf;

use anyhow::Context;
use clap::{Command, CommandFactory, Parser};
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::Roff;

/// Writes man pages and completions.
#[derive(Parser)]
struct Args {
    /// Where to, an existing folder
    dir: PathBuf,
    /// The date in the footers, YYYY-MM-DD
    date: String,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let mut tqserver = tqserver::daemon::Args::command();
    let mut tqctl = tqserver::ctl::Cli::command().disable_help_subcommand(true);
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut tqserver, "tqserver", &args.dir)?;
    }

    // Gives verbs the global options, and their full names.
    tqctl.build();
    let shown = tqctl.get_subcommands().filter(|verb| !verb.is_hide_set());
    let verbs = shown.map(|verb| (verb.clone(), "1"));
    let tq_launcher = tqserver::launcher::service::Args::command();
    let programs = [(tqctl.clone(), "1"), (tqserver, "8"), (tq_launcher, "8")];
    for (command, section) in verbs.chain(programs) {
        let name = command.get_display_name().unwrap_or(command.get_name()).to_owned();
        let path = args.dir.join(format!("{name}.{section}"));
        fs::write(&path, page(command, &name, section, &args.date)?)
            .with_context(|| path.display().to_string())?;
    }
    Ok(())
}

/// All sections that the command line gives rise to, see man-pages(7).
fn page(command: Command, name: &str, section: &str, date: &str) -> anyhow::Result<Vec<u8>> {
    let exit_status = command.get_after_help().map(ToString::to_string);
    let has_verbs = command.has_subcommands();
    let man = Man::new(command)
        .title(name.to_uppercase())
        .section(section)
        .date(date)
        .source(concat!("tqserver ", env!("CARGO_PKG_VERSION")))
        .manual(if section == "1" { "User Commands" } else { "System Administration" });
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    if has_verbs {
        man.render_subcommands_section(&mut text)?;
    }
    man.render_options_section(&mut text)?;
    if let Some(exit_status) = exit_status {
        let mut roff = Roff::default();
        roff.control("SH", ["EXIT STATUS"]);
        roff.text([clap_mangen::roff::roman(exit_status)]);
        roff.to_writer(&mut text)?;
    }
    Ok(text)
}
