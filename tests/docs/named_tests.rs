//! Tests that a document names by a link: `` [`name`](../tests/file.rs) ``.

use std::fs;
use std::path::Path;

/// The tests that a document in `docs/` names, each with its file below the repository.
pub(crate) fn named(markdown: &str) -> Vec<(&str, &str)> {
    let links = markdown.split("[`").skip(1).filter_map(|rest| {
        let (name, rest) = rest.split_once("`](../")?;
        let (file, _) = rest.split_once(')')?;
        Some((name, file))
    });
    links.filter(|(name, file)| file.ends_with(".rs") && !name.contains(['`', '\n'])).collect()
}

/// Whether a file has a test of that name.
pub(crate) fn is_there(repository: &Path, name: &str, file: &str) -> bool {
    let text = fs::read_to_string(repository.join(file)).unwrap_or_default();
    let lines: Vec<_> = text.lines().map(str::trim_start).collect();
    let declared = |line: &&str| {
        ["fn ", "async fn "].iter().any(|prefix| line.starts_with(&format!("{prefix}{name}(")))
    };
    let Some(at) = lines.iter().position(declared) else { return false };
    // Its attributes and those of its cases, back to the item before.
    let before = lines[..at].iter().rev().take_while(|line| !line.is_empty());
    let mut attributes = before.filter(|line| line.starts_with("#["));
    attributes.any(|line| line.contains("test"))
}

/// The rows of tables that name no test that shows them.
pub(crate) fn untold(markdown: &str) -> Vec<&str> {
    let rows =
        markdown.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| fault"));
    rows.filter(|row| {
        let last = row.trim_end_matches([' ', '|']).rsplit(" | ").next().unwrap_or_default();
        !last.contains(".rs)")
    })
    .collect()
}
