//! What tqctl prints, and where: results on stdout, messages on stderr, colour only for people.

use std::fmt::{self, Display};
use std::io::{self, IsTerminal, Write};

use anstyle::{AnsiColor, Style};
use clap::ValueEnum;
use serde::Serialize;

/// `--color`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum ColorChoice {
    /// On a terminal that can, unless NO_COLOR is set.
    #[default]
    Auto,
    /// Always, also into a pipe.
    Always,
    /// Never.
    Never,
}

impl ColorChoice {
    /// Whether to colour a stream. NO_COLOR counts when it is not empty (no-color.org), and
    /// `--color=always` overrules it, as the nearer wish.
    fn resolve(self, is_terminal: bool, env: impl Fn(&str) -> Option<String>) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto => {
                let no_color = env("NO_COLOR").is_some_and(|value| !value.is_empty());
                let dumb = env("TERM").is_some_and(|term| term == "dumb");
                is_terminal && !no_color && !dumb
            }
        }
    }
}

/// `--json[=pretty]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum JsonLayout {
    /// One line a document.
    Compact,
    /// Indented, for reading.
    Pretty,
}

/// What a piece of text means. How it looks follows from that, in one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// As it should be.
    Good,
    /// Wants attention.
    Warning,
    /// Failed.
    Bad,
    /// Headings and names.
    Strong,
    /// Of less interest.
    Dim,
    /// Everything else.
    Plain,
}

impl Role {
    fn style(self) -> Style {
        match self {
            Self::Good => AnsiColor::Green.on_default(),
            Self::Warning => AnsiColor::Yellow.on_default(),
            Self::Bad => AnsiColor::Red.on_default().bold(),
            Self::Strong => Style::new().bold(),
            Self::Dim => Style::new().dimmed(),
            Self::Plain => Style::new(),
        }
    }
}

/// Paints text for one stream, or leaves it as it is where that stream is not to be coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Painter {
    colour: bool,
}

impl Painter {
    /// Whether text of others on the same stream may be coloured, too.
    pub fn is_coloured(self) -> bool {
        self.colour
    }

    /// The text in the look of its role.
    pub fn paint<T: Display>(self, role: Role, text: T) -> Painted<T> {
        Painted { style: if self.colour { role.style() } else { Style::new() }, text }
    }
}

/// Text in the look of its role.
#[derive(Debug, Clone, Copy)]
pub struct Painted<T> {
    style: Style,
    text: T,
}

impl<T: Display> Display for Painted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { style, text } = self;
        write!(f, "{style}{text}{style:#}")
    }
}

/// A line of which each part has a look of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Line(pub Vec<(Role, String)>);

impl Line {
    /// A line that begins with a mark.
    pub fn marked(role: Role, mark: &str, text: impl Display) -> Self {
        Self(vec![(role, mark.to_owned()), (Role::Plain, format!(" {text}"))])
    }

    /// Adds a part.
    pub fn push(&mut self, role: Role, text: impl Display) {
        self.0.push((role, text.to_string()));
    }

    /// The line as it is written to a stream.
    pub fn painted(&self, paint: Painter) -> String {
        self.0.iter().map(|(role, text)| paint.paint(*role, text).to_string()).collect()
    }
}

/// The two streams of one run of tqctl.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    json: Option<JsonLayout>,
    quiet: bool,
    verbose: bool,
    stdout: Painter,
    stderr: Painter,
}

impl Output {
    /// Output as the command line and the terminals wish it.
    pub fn new(color: ColorChoice, json: Option<JsonLayout>, quiet: bool, verbose: bool) -> Self {
        let env = |name: &str| std::env::var(name).ok();
        let painter = |terminal| Painter { colour: color.resolve(terminal, env) };
        Self {
            json,
            quiet,
            verbose,
            stdout: painter(io::stdout().is_terminal()),
            stderr: painter(io::stderr().is_terminal()),
        }
    }

    /// Whether the result is wanted as a JSON document instead of text.
    pub fn wants_json(&self) -> bool {
        self.json.is_some()
    }

    /// Whether only what is necessary is wanted (`-q`).
    pub fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Whether details are wanted as well (`-v`).
    pub fn is_verbose(&self) -> bool {
        self.verbose
    }

    /// Paints for stdout.
    pub fn painter(&self) -> Painter {
        self.stdout
    }

    /// Paints for stderr.
    pub fn message_painter(&self) -> Painter {
        self.stderr
    }

    /// A line (or several) of the result, on stdout. Not printed when JSON is wanted, so that
    /// stdout holds the document and nothing else.
    pub fn line(&self, text: impl Display) -> io::Result<()> {
        if self.wants_json() {
            return Ok(());
        }
        until_closed(writeln!(io::stdout().lock(), "{text}"))
    }

    /// The result as a JSON document, on stdout, when that is wanted.
    pub fn document(&self, document: &impl Serialize) -> io::Result<()> {
        let text = match self.json {
            None => return Ok(()),
            Some(JsonLayout::Compact) => serde_json::to_string(document)?,
            Some(JsonLayout::Pretty) => serde_json::to_string_pretty(document)?,
        };
        until_closed(writeln!(io::stdout().lock(), "{text}"))
    }

    /// A message about what is going on, on stderr; not with `-q`.
    pub fn message(&self, text: impl Display) {
        if !self.quiet {
            self.stderr_line(text);
        }
    }

    /// Text that says why something failed, as it came, on stderr, also with `-q`.
    pub fn explanation(&self, text: impl Display) {
        self.stderr_line(text);
    }

    /// A detail that only `-v` asks for, on stderr.
    pub fn detail(&self, text: impl Display) {
        if self.verbose {
            self.stderr_line(self.stderr.paint(Role::Dim, text));
        }
    }

    /// A warning, on stderr, also with `-q`.
    pub fn warning(&self, text: impl Display) {
        self.stderr_line(format_args!("{}: {text}", self.stderr.paint(Role::Warning, "warning")));
    }

    /// An error, on stderr, also with `-q`.
    pub fn error(&self, text: impl Display) {
        self.stderr_line(format_args!("{}: {text}", self.stderr.paint(Role::Bad, "error")));
    }

    /// What to do about an error, on stderr below it.
    pub fn hint(&self, text: impl Display) {
        self.stderr_line(format_args!("{}: {text}", self.stderr.paint(Role::Strong, "hint")));
    }

    fn stderr_line(&self, text: impl Display) {
        // Nobody is left to tell when stderr itself fails.
        let _ = writeln!(io::stderr().lock(), "{text}");
    }
}

/// The text without what a terminal would obey: workers' output and reasons come from outside.
pub fn printable(text: &str) -> Printable<'_> {
    Printable(text)
}

/// As [`printable`], and line ends stay: for text of several lines.
pub fn printable_lines(text: &str) -> String {
    text.lines().map(|line| printable(line).to_string()).collect::<Vec<_>>().join("\n")
}

/// See [`printable`].
#[derive(Debug, Clone, Copy)]
pub struct Printable<'a>(&'a str);

impl Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '\t' => f.write_str("    "),
            c if c.is_control() => write!(f, "{}", c.escape_default()),
            c => fmt::Write::write_char(f, c),
        })
    }
}

/// `tqctl … | head` closes the pipe when it has seen enough: no failure of ours.
fn until_closed(written: io::Result<()>) -> io::Result<()> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::terminal(ColorChoice::Auto, true, &[], true)]
    #[case::pipe(ColorChoice::Auto, false, &[], false)]
    #[case::no_color(ColorChoice::Auto, true, &[("NO_COLOR", "1")], false)]
    #[case::empty_no_color(ColorChoice::Auto, true, &[("NO_COLOR", "")], true)]
    #[case::dumb(ColorChoice::Auto, true, &[("TERM", "dumb")], false)]
    #[case::always_wins(ColorChoice::Always, false, &[("NO_COLOR", "1")], true)]
    #[case::never(ColorChoice::Never, true, &[], false)]
    fn colour_is_for_terminals_that_want_it(
        #[case] choice: ColorChoice,
        #[case] terminal: bool,
        #[case] vars: &[(&str, &str)],
        #[case] expected: bool,
    ) {
        let env = |name: &str| {
            vars.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        };
        assert_eq!(choice.resolve(terminal, env), expected);
    }

    #[test]
    fn escape_sequences_do_not_reach_the_terminal() {
        let text = "\u{1b}]0;owned\u{7}\tünï\n";
        assert_eq!(printable(text).to_string(), "\\u{1b}]0;owned\\u{7}    ünï\\n");
    }

    #[test]
    fn paint_leaves_plain_text_untouched_without_colour() {
        let plain = Painter { colour: false }.paint(Role::Bad, "x").to_string();
        let red = Painter { colour: true }.paint(Role::Bad, "x").to_string();
        assert_eq!(plain, "x");
        assert!(red.starts_with('\u{1b}') && red.ends_with("\u{1b}[0m"), "{red:?}");
    }
}
