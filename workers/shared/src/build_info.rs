//! Which build a binary is.

use std::fmt;

/// Which build a binary is. Made by [`build_info!`](crate::build_info) in the worker's own crate.
#[derive(Debug, Clone, Copy)]
pub struct BuildInfo {
    /// The crate's name, which is the worker's.
    pub name: &'static str,
    /// The crate's version.
    pub version: &'static str,
    /// The commit it was built from; `None` or empty in development builds.
    pub commit: Option<&'static str>,
    /// The branch that was checked out.
    pub branch: Option<&'static str>,
    /// The tag on the commit.
    pub tag: Option<&'static str>,
    /// When it was built (RFC 3339).
    pub time: Option<&'static str>,
}

impl BuildInfo {
    /// What `--version` says: `index 0.1.0 (commit …, branch …, tag …, built …)`, or
    /// `index 0.1.0 (development build)`.
    pub fn version_line(&self) -> String {
        let known: Vec<_> = [
            ("commit", self.commit),
            ("branch", self.branch),
            ("tag", self.tag),
            ("built", self.time),
        ]
        .into_iter()
        .filter_map(|(label, value)| Some(format!("{label} {}", value.filter(|v| !v.is_empty())?)))
        .collect();
        let origin =
            if known.is_empty() { "development build".to_owned() } else { known.join(", ") };
        format!("{self} ({origin})")
    }
}

/// The name and version, `index 0.1.0`.
impl fmt::Display for BuildInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.version)
    }
}

/// The [`BuildInfo`] of the crate it stands in. `tqctl build` sets the variables; cargo rebuilds
/// when they change.
#[macro_export]
macro_rules! build_info {
    () => {
        $crate::BuildInfo {
            name: env!("CARGO_PKG_NAME"),
            version: env!("CARGO_PKG_VERSION"),
            commit: option_env!("TQ_GIT_COMMIT"),
            branch: option_env!("TQ_GIT_BRANCH"),
            tag: option_env!("TQ_GIT_TAG"),
            time: option_env!("TQ_BUILD_TIME"),
        }
    };
}

#[cfg(test)]
mod tests {
    use super::BuildInfo;

    const DEVELOPMENT: BuildInfo = BuildInfo {
        name: "index",
        version: "0.1.0",
        commit: None,
        branch: None,
        tag: None,
        time: None,
    };

    #[test]
    fn a_development_build_says_so() {
        assert_eq!(DEVELOPMENT.version_line(), "index 0.1.0 (development build)");
    }

    #[test]
    fn a_deployed_build_names_what_is_known() {
        let build = BuildInfo {
            commit: Some("a1b2c3d"),
            branch: Some("main"),
            tag: Some(""),
            time: Some("2026-01-06T15:25:00Z"),
            ..DEVELOPMENT
        };
        let expected = "index 0.1.0 (commit a1b2c3d, branch main, built 2026-01-06T15:25:00Z)";
        assert_eq!(build.version_line(), expected);
    }
}
