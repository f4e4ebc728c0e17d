//! Names of credentials, and where root keeps them.

use std::fmt;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// A credential's name, which is a file's name in `$CREDENTIALS_DIRECTORY`: `[a-z0-9_.-]`, at most
/// 255 bytes, and neither `.` nor `..`. systemd takes all of these (systemd.exec(5), "Credentials").
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CredentialName(Box<str>);

impl CredentialName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for CredentialName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_.-".contains(&b);
        let valid = (1..=255).contains(&text.len())
            && text.bytes().all(allowed)
            && ![".", ".."].contains(&text);
        if !valid {
            let shown: String = text.chars().take(40).collect();
            return Err(format!(
                "{shown:?} is not the name of a credential: it must match [a-z0-9_.-]{{1,255}}"
            ));
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for CredentialName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for CredentialName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The path of a credential's file, which systemd reads as root.
pub(super) fn path(text: &str) -> Result<PathBuf, String> {
    let path = Path::new(text);
    let mut parts = path.components();
    let plain = parts.next() == Some(Component::RootDir)
        && parts.all(|part| matches!(part, Component::Normal(_)))
        && path.file_name().is_some();
    if !plain || text.contains('\0') {
        return Err(format!("{text:?} is not an absolute path of a file, without `..`"));
    }
    if ["/tmp", "/var/tmp"].iter().any(|shared| path.starts_with(shared)) {
        return Err(format!("{text:?} is where everybody may put files; keep secrets elsewhere"));
    }
    Ok(path.components().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("db.password-2", true)]
    #[case("..", false)]
    #[case("", false)]
    #[case("a/b", false)]
    #[case("Db", false)]
    #[case(&"x".repeat(256), false)]
    fn names(#[case] text: &str, #[case] valid: bool) {
        assert_eq!(text.parse::<CredentialName>().is_ok(), valid);
    }

    #[rstest]
    #[case("/etc/tqserver//credentials/db", Some("/etc/tqserver/credentials/db"))]
    #[case("credentials/db", None)]
    #[case("/etc/../tmp/db", None)]
    #[case("/", None)]
    #[case("/tmp/db", None)]
    fn paths(#[case] text: &str, #[case] expected: Option<&str>) {
        assert_eq!(path(text).ok().as_deref(), expected.map(Path::new));
    }
}
