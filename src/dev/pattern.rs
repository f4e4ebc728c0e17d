//! Globs over whole paths, which also tell whether a folder is worth entering.

use std::ffi::OsStr;
use std::path::Path;

/// A glob such as `workers/*/src/**/*`: `*` and `?` within a name, `**` for any number of folders.
#[derive(Debug, Clone)]
pub(super) struct PathPattern(Vec<Part>);

#[derive(Debug, Clone)]
enum Part {
    Name(String),
    Glob(glob::Pattern),
    /// `**`
    Folders,
}

impl PathPattern {
    /// The pattern of a text that the configuration has found to be one.
    pub(super) fn new(text: &str) -> Self {
        let part = |part: &str| match part {
            "**" => Part::Folders,
            name if name.contains(['*', '?', '[']) => match glob::Pattern::new(name) {
                Ok(glob) => Part::Glob(glob),
                Err(_) => Part::Name(name.to_owned()),
            },
            name => Part::Name(name.to_owned()),
        };
        Self(text.split('/').filter(|name| !["", "."].contains(name)).map(part).collect())
    }

    /// Whether the pattern is that of the file at `path`, which is relative.
    pub(super) fn has(&self, path: &Path) -> bool {
        let names: Vec<_> = path.iter().collect();
        matches(&self.0, &names)
    }

    /// Whether the pattern may be that of a file below `folder`, which is relative.
    pub(super) fn may_be_below(&self, folder: &Path) -> bool {
        let mut parts = self.0.as_slice();
        for name in folder {
            match parts {
                [Part::Folders, ..] => return true,
                [part, rest @ ..] if part.is(name) => parts = rest,
                _ => return false,
            }
        }
        !parts.is_empty()
    }
}

fn matches(parts: &[Part], names: &[&OsStr]) -> bool {
    match (parts, names) {
        ([], []) => true,
        ([Part::Folders, rest @ ..], _) => {
            (0..=names.len()).any(|skipped| matches(rest, &names[skipped..]))
        }
        ([part, parts @ ..], [name, names @ ..]) => part.is(name) && matches(parts, names),
        _ => false,
    }
}

impl Part {
    fn is(&self, name: &OsStr) -> bool {
        match self {
            Self::Name(own) => name == own.as_str(),
            Self::Glob(glob) => name.to_str().is_some_and(|name| glob.matches(name)),
            Self::Folders => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("workers/*/src/**/*", "workers/index/src/main.rs", true)]
    #[case("workers/*/src/**/*", "workers/index/src/a/b/c.rs", true)]
    #[case("workers/*/src/**/*", "workers/index/public/app.js", false)]
    #[case("workers/*/src/**/*", "workers/src/main.rs", false)]
    #[case("src/**/*.rs", "src/main.rs", true)]
    #[case("src/**/*.rs", "src/proxy/live.js", false)]
    #[case("config/*.yaml", "config/server.yaml", true)]
    #[case("config/*.yaml", "config/more/server.yaml", false)]
    #[case("./README.md", "README.md", true)]
    fn is_the_pattern_of(#[case] pattern: &str, #[case] path: &str, #[case] expected: bool) {
        assert_eq!(PathPattern::new(pattern).has(Path::new(path)), expected);
    }

    #[rstest]
    #[case("workers/*/src/**/*", "", true)]
    #[case("workers/*/src/**/*", "workers", true)]
    #[case("workers/*/src/**/*", "workers/index", true)]
    #[case("workers/*/src/**/*", "workers/index/src/deep/er", true)]
    #[case("workers/*/src/**/*", "workers/index/bin", false)]
    #[case("workers/*/src/**/*", "deploy", false)]
    #[case("config/*.yaml", "config", true)]
    #[case("config/*.yaml", "config/more", false)]
    fn folders_are_entered_where_something_may_be(
        #[case] pattern: &str,
        #[case] folder: &str,
        #[case] expected: bool,
    ) {
        assert_eq!(PathPattern::new(pattern).may_be_below(Path::new(folder)), expected);
    }
}
