//! `--canary`: how a deployment is to come to serve by degrees.

use std::str::FromStr;
use std::time::Duration;

use crate::canary::{CanaryPlan, Testers};

/// The shares that follow the first one, in percent.
const FURTHER: [u8; 3] = [5, 25, 50];

/// How long a step lasts where that is not said.
const STEP: Duration = Duration::from_secs(60);

/// `5%`, `header:NAME=VALUE` or `cookie:NAME=VALUE`
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CanaryOption {
    /// The first share of the requests, in percent.
    Share(u8),
    /// Whose requests go to it whatever the share.
    Testers(Testers),
}

impl FromStr for CanaryOption {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.contains(':') {
            return text.parse().map(Self::Testers);
        }
        let share = text.strip_suffix('%').and_then(|digits| digits.parse().ok());
        let share = share.filter(|share| *share < 100).map(Self::Share);
        share.ok_or_else(|| {
            "a share from 0% to 99%, header:NAME=VALUE or cookie:NAME=VALUE".to_owned()
        })
    }
}

/// What the options come to; `None` where there are none. Where they have no share, the deployment waits
/// with none until somebody promotes it.
///
/// # Errors
/// When one says the same as another, or there is a step without a share.
pub(super) fn plan(
    options: &[CanaryOption],
    step: Option<Duration>,
) -> Result<Option<CanaryPlan>, String> {
    let (mut first, mut testers) = (None, None);
    for option in options {
        let is_second = match option {
            CanaryOption::Share(share) => first.replace(*share).is_some(),
            CanaryOption::Testers(mark) => testers.replace(mark.clone()).is_some(),
        };
        if is_second {
            return Err("--canary has one share and one kind of testers at most".to_owned());
        }
    }
    let step_seconds = match (first, step) {
        (None, Some(_)) => {
            return Err("--canary-step is the time of a share: --canary 5%".to_owned());
        }
        (None, None) => None,
        (Some(_), step) => Some(step.unwrap_or(STEP).as_secs()),
    };
    if options.is_empty() {
        return Ok(None);
    }
    let first = first.unwrap_or(0);
    let further = FURTHER.into_iter().filter(|share| step_seconds.is_some() && *share > first);
    let steps = std::iter::once(first).chain(further).collect();
    let plan = CanaryPlan { steps, step_seconds, testers };
    plan.check()?;
    Ok(Some(plan))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn parsed(options: &[&str]) -> Vec<CanaryOption> {
        options.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[rstest]
    #[case::a_share(&["5%"], None, &[5, 25, 50], Some(60))]
    #[case::another_time(&["30%"], Some(10), &[30, 50], Some(10))]
    #[case::most(&["90%"], None, &[90], Some(60))]
    #[case::testers_first(&["0%", "cookie:t=1"], None, &[0, 5, 25, 50], Some(60))]
    #[case::testers_alone(&["header:X-T=1"], None, &[0], None)]
    fn options_come_to_a_plan(
        #[case] options: &[&str],
        #[case] step: Option<u64>,
        #[case] steps: &[u8],
        #[case] step_seconds: Option<u64>,
    ) {
        let found = plan(&parsed(options), step.map(Duration::from_secs)).unwrap().unwrap();
        assert_eq!((&*found.steps, found.step_seconds), (steps, step_seconds));
    }

    #[test]
    fn without_options_there_is_none() {
        assert_eq!(plan(&[], None), Ok(None));
    }

    #[rstest]
    #[case::twice(&["5%", "6%"], None)]
    #[case::a_time_without_a_share(&["cookie:t=1"], Some(10))]
    #[case::a_time_alone(&[], Some(10))]
    fn contradictions_are_refused(#[case] options: &[&str], #[case] step: Option<u64>) {
        assert!(plan(&parsed(options), step.map(Duration::from_secs)).is_err());
    }

    #[rstest]
    #[case("100%")]
    #[case("5")]
    #[case("-1%")]
    #[case("header:X=")]
    fn what_is_neither_a_share_nor_testers_is_refused(#[case] text: &str) {
        assert!(text.parse::<CanaryOption>().is_err());
    }
}
