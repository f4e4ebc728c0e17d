//! What the programs say when they are asked for their version.

use std::sync::LazyLock;

/// The version for `--version`: with commit, branch, tag and time of the build where it was a
/// production build, which sets them for the compiler.
pub static VERSION_LINE: LazyLock<String> = LazyLock::new(|| {
    let facts = [
        ("commit", option_env!("TQ_GIT_COMMIT").map(|commit| commit.get(..7).unwrap_or(commit))),
        ("branch", option_env!("TQ_GIT_BRANCH")),
        ("tag", option_env!("TQ_GIT_TAG")),
        ("built", option_env!("TQ_BUILD_TIME")),
    ];
    version_line(env!("CARGO_PKG_VERSION"), facts)
});

fn version_line(version: &str, facts: [(&str, Option<&str>); 4]) -> String {
    let known: Vec<_> =
        facts.iter().filter_map(|(name, value)| Some(format!("{name} {}", (*value)?))).collect();
    if known.is_empty() {
        return format!("{version} (development build)");
    }
    format!("{version} ({})", known.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_says_what_it_knows() {
        let none = [("commit", None), ("branch", None), ("tag", None), ("built", None)];
        assert_eq!(version_line("0.1.0", none), "0.1.0 (development build)");
        let detached = [
            ("commit", Some("abc1234")),
            ("branch", None),
            ("tag", Some("v1")),
            ("built", Some("2026-11-23T10:00:00Z")),
        ];
        assert_eq!(
            version_line("0.1.0", detached),
            "0.1.0 (commit abc1234, tag v1, built 2026-11-23T10:00:00Z)"
        );
    }
}
