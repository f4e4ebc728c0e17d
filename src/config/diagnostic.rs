//! What is wrong with a file, where, and what to do about it.

use std::fmt;
use std::path::{Path, PathBuf};

/// A place in a file; both numbers count from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

/// One finding. Displays as `file:line:column: message`, then the line itself with a caret, then
/// the hint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// The file as the caller named it, or what else the finding is about.
    pub file: PathBuf,
    /// Where in the file; `None` where it is about the file as a whole.
    pub position: Option<Position>,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
    /// The line that `position` names.
    pub source_line: Option<String>,
}

impl Diagnostic {
    /// A finding about `file` as a whole.
    pub fn about(file: &Path, message: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            position: None,
            message: message.into(),
            hint: None,
            source_line: None,
        }
    }

    /// A finding at a place of `text`, the content of `file`; at the nearest there is where a parser
    /// names one behind the end of a line or of the text.
    pub fn at(file: &Path, text: &str, position: Position, message: impl Into<String>) -> Self {
        let nearest = lines(text).zip(1..).take(position.line).last();
        let (source, line) = nearest.unwrap_or_default();
        let end = source.chars().count() + 1;
        let column = if line < position.line { end } else { position.column.min(end) };
        Self {
            position: Some(Position { line, column }),
            source_line: Some(source.to_owned()),
            ..Self::about(file, message)
        }
    }

    /// The same with advice.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// The lines as YAML counts them: a carriage return alone ends one, too (YAML 1.2.2, section 5.4).
pub(super) fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.split('\n').flat_map(|line| line.strip_suffix('\r').unwrap_or(line).split('\r'))
}

/// How much of a line is shown before and after the caret, in characters.
const CONTEXT: usize = 60;

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(Position { line, column }) = self.position {
            write!(f, ":{line}:{column}")?;
        }
        write!(f, ": {}", printable(&self.message))?;
        if let (Some(at), Some(source)) = (self.position, &self.source_line) {
            // A megabyte on one line must not be a megabyte on the terminal.
            let skipped = at.column.saturating_sub(CONTEXT + 1);
            let shown: String = source.chars().skip(skipped).take(2 * CONTEXT).collect();
            let caret = " ".repeat(at.column - 1 - skipped);
            write!(f, "\n{:>5} | {}\n      | {caret}^", at.line, printable(&shown))?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n      = {}", printable(hint))?;
        }
        Ok(())
    }
}

/// Tabs become one space, so that the caret stands where it should; other control characters
/// could drive the reader's terminal.
fn printable(text: &str) -> String {
    let visible = |c| match c {
        '\t' => ' ',
        c if char::is_control(c) => char::REPLACEMENT_CHARACTER,
        c => c,
    };
    text.chars().map(visible).collect()
}

/// Everything that is wrong, at once, in the order of the files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors(Vec<Diagnostic>);

impl ConfigErrors {
    /// How many are displayed; the rest is counted.
    const SHOWN: usize = 20;

    /// `Err` if there is anything in `diagnostics`.
    pub(super) fn check(diagnostics: Vec<Diagnostic>) -> Result<(), Self> {
        if diagnostics.is_empty() { Ok(()) } else { Err(Self(diagnostics)) }
    }

    /// The findings; never empty.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.0
    }
}

impl From<Diagnostic> for ConfigErrors {
    fn from(diagnostic: Diagnostic) -> Self {
        Self(vec![diagnostic])
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.0.iter().take(Self::SHOWN).enumerate() {
            let separator = if index == 0 { "" } else { "\n\n" };
            write!(f, "{separator}{diagnostic}")?;
        }
        match self.0.len().saturating_sub(Self::SHOWN) {
            0 => Ok(()),
            more => write!(f, "\n\n… and {more} more"),
        }
    }
}

impl std::error::Error for ConfigErrors {}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[test]
    fn a_long_line_is_cut_around_the_caret() {
        let text = format!("{}!{}", "x".repeat(1000), "y".repeat(1000));
        let at = Position { line: 1, column: 1001 };
        let shown = Diagnostic::at(Path::new("f"), &text, at, "m").to_string();
        let lines: Vec<_> = shown.lines().collect();
        assert_eq!(lines[1].find('!'), lines[2].find('^'));
        assert!(lines[1].len() < 200);
    }

    #[test]
    fn the_line_shown_is_the_one_that_yaml_counts() {
        let at = Position { line: 4, column: 1 };
        let found = Diagnostic::at(Path::new("f"), "a\r\nb\rc\nd\r\ne", at, "m");
        assert_eq!(found.source_line.as_deref(), Some("d"));
    }

    #[rstest]
    #[case("a\nb", (3, 1), (2, 2))]
    #[case("a\nb\n", (3, 1), (3, 1))]
    #[case("abc\n", (1, 9), (1, 4))]
    #[case("", (1, 1), (1, 1))]
    fn a_place_behind_the_text_is_the_nearest_in_it(
        #[case] text: &str,
        #[case] named: (usize, usize),
        #[case] shown: (usize, usize),
    ) {
        let place = |(line, column)| Position { line, column };
        let found = Diagnostic::at(Path::new("f"), text, place(named), "m");
        assert_eq!(found.position, Some(place(shown)));
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        let at = Position { line: 1, column: 3 };
        let shown = Diagnostic::at(Path::new("f"), "\t\u{1b}[2Jx", at, "m").to_string();
        assert!(!shown.contains(['\u{1b}', '\t']), "{shown:?}");
    }

    #[test]
    fn many_errors_are_counted_rather_than_shown() {
        let errors = ConfigErrors(vec![Diagnostic::about(Path::new("f"), "m"); 25]);
        assert!(errors.to_string().ends_with("… and 5 more"));
        assert_eq!(errors.diagnostics().len(), 25);
    }
}
