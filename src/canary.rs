//! How a deployment comes to serve by degrees: beside the one before, for a share of the requests that
//! grows, and for testers.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The longest step.
pub const LONGEST_STEP: Duration = Duration::from_secs(24 * 60 * 60);

/// What a deployer wishes of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CanaryPlan {
    /// The share of requests, in percent, step by step; at least one, each greater than the one before
    /// it, all below 100. After the last the deployment serves whole.
    pub steps: Vec<u8>,
    /// How long each step lasts, in seconds: 1 to 86400; absent: until somebody promotes or aborts it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step_seconds: Option<u64>,
    /// Whose requests go to it, whatever the share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub testers: Option<Testers>,
}

/// By what the requests of testers are known: `header:NAME=VALUE` or `cookie:NAME=VALUE` in documents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Testers {
    /// They have this header field.
    Header(Mark),
    /// They bring this cookie.
    Cookie(Mark),
}

/// A name and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// A token (RFC 9110 section 5.6.2).
    pub name: String,
    /// Visible ASCII without `"`, `,`, `;` and `\` (RFC 6265 section 4.1.1); compared byte by byte.
    pub value: String,
}

impl CanaryPlan {
    /// What is wrong with it.
    pub fn check(&self) -> Result<(), String> {
        if self.steps.is_empty() || self.steps.iter().any(|share| *share >= 100) {
            return Err("a canary has a share of 0 % to 99 % in each of its steps".to_owned());
        }
        if !self.steps.is_sorted_by(|a, b| a < b) {
            return Err("each step of a canary is greater than the one before".to_owned());
        }
        let seconds = self.step_seconds.map(Duration::from_secs);
        if seconds.is_some_and(|step| step.is_zero() || step > LONGEST_STEP) {
            let most = LONGEST_STEP.as_secs();
            return Err(format!("a step of a canary lasts 1 s to {most} s"));
        }
        Ok(())
    }

    /// How long a step lasts; `None`: until somebody decides.
    pub fn step(&self) -> Option<Duration> {
        self.step_seconds.map(Duration::from_secs)
    }
}

impl Mark {
    fn check(&self) -> Result<(), String> {
        let is_token =
            |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        let is_value = |byte: u8| byte.is_ascii_graphic() && !b"\",;\\".contains(&byte);
        if self.name.is_empty() || !self.name.bytes().all(is_token) {
            return Err(format!("{:?} is no name of a header field or cookie", self.name));
        }
        if self.value.is_empty() || !self.value.bytes().all(is_value) {
            return Err(format!("{:?} is no value of a cookie", self.value));
        }
        Ok(())
    }
}

impl TryFrom<String> for Testers {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Testers> for String {
    fn from(testers: Testers) -> Self {
        testers.to_string()
    }
}

/// `header:NAME=VALUE` or `cookie:NAME=VALUE`
impl FromStr for Testers {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let form = || format!("{text:?} is not header:NAME=VALUE or cookie:NAME=VALUE");
        let (kind, mark) = text.split_once(':').ok_or_else(form)?;
        let (name, value) = mark.split_once('=').ok_or_else(form)?;
        let mark = Mark { name: name.to_owned(), value: value.to_owned() };
        mark.check()?;
        match kind {
            "header" => Ok(Self::Header(mark)),
            "cookie" => Ok(Self::Cookie(mark)),
            _ => Err(form()),
        }
    }
}

impl fmt::Display for Testers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, Mark { name, value }) = match self {
            Self::Header(mark) => ("header", mark),
            Self::Cookie(mark) => ("cookie", mark),
        };
        write!(f, "{kind}:{name}={value}")
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(&[5, 25, 50], Some(60), true)]
    #[case(&[0], None, true)]
    #[case(&[], None, false)]
    #[case(&[5, 5], None, false)]
    #[case(&[5, 100], None, false)]
    #[case(&[5], Some(0), false)]
    #[case(&[5], Some(86_401), false)]
    fn steps_rise_and_last(
        #[case] steps: &[u8],
        #[case] step_seconds: Option<u64>,
        #[case] is_well: bool,
    ) {
        let plan = CanaryPlan { steps: steps.to_vec(), step_seconds, testers: None };
        assert_eq!(plan.check().is_ok(), is_well);
    }

    #[rstest]
    #[case("header:X-Canary=1", true)]
    #[case("cookie:canary=a=b", true)]
    #[case("cookie:canary=", false)]
    #[case("header:X Canary=1", false)]
    #[case("cookie:canary=a;b", false)]
    #[case("query:canary=1", false)]
    #[case("5%", false)]
    fn testers_are_known_by_one_mark(#[case] text: &str, #[case] is_well: bool) {
        let testers = text.parse::<Testers>();
        assert_eq!(testers.is_ok(), is_well, "{testers:?}");
        if let Ok(testers) = testers {
            assert_eq!(testers.to_string(), text);
        }
    }
}
