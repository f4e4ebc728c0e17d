//! How many folders of a project the globs of `watch_patterns` reach: each takes a watch.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use glob::{MatchOptions, Pattern};

use super::ask::PATIENCE;

/// As a shell matches: a leading dot must be written.
const OPTIONS: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: true,
};

/// The most that are counted.
const MAX: usize = 1_000_000;

/// The folders that have to be watched for `patterns` below `root`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Watched {
    pub(super) folders: u64,
    /// Whether that is all, or where counting was given up.
    pub(super) whole: bool,
}

impl Watched {
    /// Counts them, without following links.
    pub(super) fn count(root: &Path, patterns: &[String]) -> Self {
        let mut walk =
            Walk { folders: BTreeSet::new(), deadline: Instant::now() + PATIENCE, whole: true };
        for pattern in patterns {
            let parts: Vec<_> = pattern.split('/').filter(|part| !part.is_empty()).collect();
            walk.enter(root, &parts);
        }
        Self { folders: walk.folders.len() as u64, whole: walk.whole }
    }
}

struct Walk {
    folders: BTreeSet<PathBuf>,
    deadline: Instant,
    whole: bool,
}

impl Walk {
    /// Counts `folder`, in which the first part of a pattern may match, and those below it.
    fn enter(&mut self, folder: &Path, parts: &[&str]) {
        let [first, rest @ ..] = parts else { return };
        if self.folders.len() >= MAX || Instant::now() >= self.deadline {
            self.whole = false;
            return;
        }
        if *first != "**" && !is_glob(first) && !rest.is_empty() {
            // Watched even where it has no such folder yet: that may be made.
            self.folders.insert(folder.to_owned());
            let below = folder.join(first);
            if fs::symlink_metadata(&below).is_ok_and(|it| it.is_dir()) {
                self.enter(&below, rest);
            }
            return;
        }
        let Ok(entries) = fs::read_dir(folder) else { return };
        self.folders.insert(folder.to_owned());
        let is_deep = *first == "**";
        if is_deep {
            self.enter(folder, rest);
        }
        if rest.is_empty() && !is_deep {
            return;
        }
        let pattern = Pattern::new(if is_deep { "*" } else { first }).ok();
        for entry in entries.flatten().filter(|it| it.file_type().is_ok_and(|it| it.is_dir())) {
            let name = entry.file_name();
            let is_match = |it: &Pattern| it.matches_with(&name.to_string_lossy(), OPTIONS);
            if pattern.as_ref().is_some_and(is_match) {
                self.enter(&entry.path(), if is_deep { parts } else { rest });
            }
        }
    }
}

fn is_glob(part: &str) -> bool {
    part.contains(['*', '?', '['])
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::deep(&["workers/*/src/**/*"], &["", "workers", "workers/a", "workers/a/src", "workers/a/src/x",
        "workers/a/src/x/y", "workers/b"])]
    #[case::files(&["config/*.yaml"], &["", "config"])]
    #[case::file(&["src/main.rs"], &["", "src"])]
    #[case::deep_files(&["src/**/*.rs"], &["", "src"])]
    #[case::overlapping(&["workers/*/config/*", "workers/a/config/*"],
        &["", "workers", "workers/a", "workers/a/config", "workers/b"])]
    #[case::nowhere(&["nowhere/**/*"], &[""])]
    fn folders_that_can_hold_a_match_are_counted(
        #[case] patterns: &[&str],
        #[case] expected: &[&str],
    ) {
        let root = tempfile::tempdir().unwrap();
        for folder in ["workers/a/src/x/y", "workers/a/config", "workers/b", "config/z", "src/.git"]
        {
            fs::create_dir_all(root.path().join(folder)).unwrap();
        }
        // Its folders are counted where they are.
        std::os::unix::fs::symlink(root.path(), root.path().join("workers/a/src/up")).unwrap();
        let patterns: Vec<_> = patterns.iter().map(|&it| it.to_owned()).collect();
        let counted = Watched::count(root.path(), &patterns);
        assert_eq!(counted, Watched { folders: expected.len() as u64, whole: true });
    }
}
