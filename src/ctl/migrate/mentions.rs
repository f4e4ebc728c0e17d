//! Lines that still speak of the old layout, which people have to look at.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::plan::Plan;

/// Files above this size are no source.
const MAX_BYTES: u64 = 1 << 20;

/// What such lines contain. An embedded file has to lie where the source does.
const OLD: [&str; 4] = ["pages/", "templates/", "tqworker_", "go:embed "];

/// A line that names an old place.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Mention {
    /// Below the project's folder.
    pub(super) file: PathBuf,
    /// From 1.
    pub(super) line: usize,
    /// In characters, from 1.
    pub(super) column: usize,
    /// The line itself.
    pub(super) text: String,
}

/// The mentions in the files that are moved (in a dry run: where they still are), and in the
/// project's configuration. A file that cannot be read has none.
pub(super) fn find(root: &Path, plan: &Plan, dry_run: bool) -> Vec<Mention> {
    let moved = plan.moves.iter().map(|step| if dry_run { &step.from } else { &step.to }.clone());
    let configuration = ["config/server.yaml", "config/deployment.yaml"].map(PathBuf::from);
    // Nothing to say where nothing was to be done.
    let configuration = configuration.into_iter().filter(|_| !plan.moves.is_empty());
    moved.chain(configuration).flat_map(|file| in_file(root, &file)).collect()
}

fn in_file(root: &Path, file: &Path) -> Vec<Mention> {
    let path = root.join(file);
    let is_small = fs::metadata(&path).is_ok_and(|found| found.len() <= MAX_BYTES);
    let Some(text) = is_small.then(|| fs::read_to_string(&path).ok()).flatten() else {
        return Vec::new();
    };
    let mention = |(index, line): (usize, &str)| {
        let at = OLD.iter().filter_map(|old| first(line, old)).min()?;
        Some(Mention {
            file: file.to_owned(),
            line: index + 1,
            column: line[..at].chars().count() + 1,
            text: line.trim().to_owned(),
        })
    };
    text.lines().enumerate().filter_map(mention).collect()
}

/// Where `old` is named first: as a path's part of its own, and not below `private/`, where templates
/// belong.
fn first(line: &str, old: &str) -> Option<usize> {
    let is_named = |at: &usize| {
        let before = &line[..*at];
        let within_word = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
        !before.ends_with(within_word) && !before.ends_with("private/")
    };
    line.match_indices(old).map(|(at, _)| at).find(is_named)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("os.ReadFile(\"pages/index/index.html\")", "pages/", Some(13))]
    #[case("import \"example.org/shop/pages/index/store\"", "pages/", Some(25))]
    #[case("homepages/", "pages/", None)]
    #[case("private/templates/base.html", "templates/", None)]
    #[case("../templates/base.html", "templates/", Some(3))]
    fn a_name_is_a_part_of_a_path(
        #[case] line: &str,
        #[case] old: &str,
        #[case] expected: Option<usize>,
    ) {
        assert_eq!(first(line, old), expected);
    }
}
