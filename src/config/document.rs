//! One YAML file, parsed, with the place of every entry.

use std::path::{Path, PathBuf};

use serde_yaml::Value;

use super::diagnostic::{Diagnostic, Position, lines};
use super::positions::Positions;

/// The largest file read, in bytes.
pub(super) const MAX_BYTES: usize = 1 << 20;

/// The most findings kept of one file.
pub(super) const MAX_FINDINGS: usize = 100;

/// Next line, line separator, paragraph separator: they end a line, and with it a comment, in YAML
/// 1.1, which the deserializer reads, and do not in 1.2 (section 5.4), which the positions are of.
/// What one parser takes for a comment would be the whole file to the other, unchecked.
const DISPUTED_BREAKS: [char; 3] = ['\u{85}', '\u{2028}', '\u{2029}'];

/// A parsed file.
#[derive(Debug)]
pub(super) struct Document {
    file: PathBuf,
    text: String,
    pub(super) root: Value,
    pub(super) positions: Positions,
}

impl Document {
    /// Parses the content of `file`. Size, encoding, syntax, duplicate keys and the expansion of
    /// aliases are checked.
    pub(super) fn parse(file: &Path, bytes: &[u8]) -> Result<Self, Vec<Diagnostic>> {
        if bytes.len() > MAX_BYTES {
            return Err(vec![
                Diagnostic::about(file, "larger than 1 MiB")
                    .hint("this is not a configuration file; check the path"),
            ]);
        }
        let text = str::from_utf8(bytes).map_err(|error| vec![not_utf8(file, bytes, &error)])?;
        if let Some((at, found)) = text.char_indices().find(|(_, c)| DISPUTED_BREAKS.contains(c)) {
            let message = format!("the invisible character U+{:04X}", u32::from(found));
            let found = Diagnostic::at(file, text, end_of(&text[..at]), message);
            return Err(vec![
                found.hint("remove it; as a value, put it as an escape in double quotes"),
            ]);
        }
        let positions = Positions::of(text).map_err(|faults| {
            let diagnostic = |(at, message)| Diagnostic::at(file, text, at, message);
            faults.into_iter().take(MAX_FINDINGS).map(diagnostic).collect::<Vec<_>>()
        })?;
        let root = serde_yaml::from_str(text).map_err(|error| {
            let at = error.location().map(|l| Position { line: l.line(), column: l.column() });
            let (at, message) = match (at, positions.first_alias) {
                (Some(at), _) => (at, format!("bad YAML: {error}")),
                // Only the limit on aliases comes without a place.
                (None, Some(alias)) => (alias, "aliases expand to too many entries".to_owned()),
                (None, None) => (Position { line: 1, column: 1 }, format!("bad YAML: {error}")),
            };
            vec![Diagnostic::at(file, text, at, message)]
        })?;
        Ok(Self { file: file.to_owned(), text: text.to_owned(), root, positions })
    }

    /// The document of a file that is not there.
    pub(super) fn absent(file: &Path) -> Result<Self, Vec<Diagnostic>> {
        Self::parse(file, b"")
    }

    /// A finding at a place of this file.
    pub(super) fn diagnostic(&self, at: Position, message: impl Into<String>) -> Diagnostic {
        Diagnostic::at(&self.file, &self.text, at, message)
    }

    /// The file's path as it was given.
    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    /// The text, as it was read.
    pub(super) fn text(&self) -> &str {
        &self.text
    }
}

fn not_utf8(file: &Path, bytes: &[u8], error: &std::str::Utf8Error) -> Diagnostic {
    let valid = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
    let text = String::from_utf8_lossy(bytes);
    Diagnostic::at(file, &text, end_of(&valid), "not UTF-8").hint("save the file in UTF-8")
}

/// The place just behind `text`.
fn end_of(text: &str) -> Position {
    let last = lines(text).last().unwrap_or_default();
    Position { line: lines(text).count(), column: last.chars().count() + 1 }
}
