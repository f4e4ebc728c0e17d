//! One line of `tqctl doctor`: what was looked at, how it is, and what mends it.

use serde::Serialize;

/// How bad a finding is, the mildest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub(super) enum Verdict {
    /// As it should be.
    Ok,
    /// Good to know; what mends it is a mere suggestion.
    Info,
    /// It works, and will bite some day.
    Warning,
    /// Something will not work.
    Failed,
}

/// What a check is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub(super) enum Subject {
    Systemd,
    Bus,
    Journal,
    Limits,
    Toolchains,
    Ports,
    Project,
    Daemon,
}

impl Subject {
    /// As people read it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Systemd => "systemd",
            Self::Bus => "bus",
            Self::Journal => "journal",
            Self::Limits => "limits",
            Self::Toolchains => "toolchains",
            Self::Ports => "ports",
            Self::Project => "project",
            Self::Daemon => "daemon",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Check {
    /// What.
    pub(super) name: String,
    pub(super) verdict: Verdict,
    /// What was found, usually one line.
    pub(super) found: String,
    /// Commands to type, in order. `sudo` stands before those that need root.
    pub(super) mend: Vec<String>,
    /// What `-v` adds.
    #[serde(skip)]
    pub(super) details: Vec<String>,
}

impl Check {
    fn new(verdict: Verdict, name: impl Into<String>, found: impl Into<String>) -> Self {
        let (name, found) = (name.into(), found.into());
        Self { name, verdict, found, mend: Vec::new(), details: Vec::new() }
    }

    /// See [`Verdict::Ok`].
    pub(super) fn ok(name: impl Into<String>, found: impl Into<String>) -> Self {
        Self::new(Verdict::Ok, name, found)
    }

    /// See [`Verdict::Info`].
    pub(super) fn info(name: impl Into<String>, found: impl Into<String>) -> Self {
        Self::new(Verdict::Info, name, found)
    }

    /// See [`Verdict::Warning`].
    pub(super) fn warning(name: impl Into<String>, found: impl Into<String>) -> Self {
        Self::new(Verdict::Warning, name, found)
    }

    /// See [`Verdict::Failed`].
    pub(super) fn failed(name: impl Into<String>, found: impl Into<String>) -> Self {
        Self::new(Verdict::Failed, name, found)
    }

    /// Adds a command that mends it, or the next step of several.
    #[must_use]
    pub(super) fn mend(mut self, command: impl Into<String>) -> Self {
        self.mend.push(command.into());
        self
    }

    /// Adds lines that only `-v` shows.
    #[must_use]
    pub(super) fn details(mut self, lines: impl IntoIterator<Item = String>) -> Self {
        self.details.extend(lines);
        self
    }
}

/// The person's editor, or Debian's choice of one.
pub(super) const EDITOR: &str = "${EDITOR:-editor}";

/// A word as a shell reads it back: in quotes where it needs them.
pub(super) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:@%,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// What was found, as the result of tqctl doctor.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(in crate::ctl) struct Report {
    schema: u32,
    pub(super) checks: Vec<Finding>,
}

/// A check and what it is about.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Finding {
    pub(super) subject: Subject,
    #[serde(flatten)]
    pub(super) check: Check,
}

impl Report {
    /// The JSON document's format.
    const SCHEMA: u32 = 1;

    /// The checks of each subject, in order. Root needs no `sudo`, and may not have it.
    pub(super) fn new(
        checks: impl IntoIterator<Item = (Subject, Vec<Check>)>,
        is_root: bool,
    ) -> Self {
        let finding = |subject, mut check: Check| {
            if is_root {
                check.mend = check.mend.iter().map(|line| line.replace("sudo ", "")).collect();
            }
            Finding { subject, check }
        };
        let checks = checks.into_iter().flat_map(|(subject, checks)| {
            checks.into_iter().map(move |check| finding(subject, check))
        });
        Self { schema: Self::SCHEMA, checks: checks.collect() }
    }

    /// How many checks came to this verdict.
    pub(super) fn count(&self, verdict: Verdict) -> usize {
        self.checks.iter().filter(|finding| finding.check.verdict == verdict).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("/srv/shop", "/srv/shop")]
    #[case("/srv/my shop", "'/srv/my shop'")]
    #[case("it's", r"'it'\''s'")]
    #[case("$(reboot)", "'$(reboot)'")]
    #[case("", "''")]
    fn a_path_in_a_command_is_one_word(#[case] word: &str, #[case] expected: &str) {
        assert_eq!(quoted(word), expected);
    }

    #[test]
    fn root_is_not_told_to_use_sudo() {
        let check = Check::failed("git", "missing").mend("echo x | sudo tee y").mend("sudo z");
        let mend = |is_root| {
            let report = Report::new([(Subject::Limits, vec![check.clone()])], is_root);
            report.checks[0].check.mend.clone()
        };
        assert_eq!(mend(true), ["echo x | tee y", "z"]);
        assert_eq!(mend(false), check.mend);
    }
}
