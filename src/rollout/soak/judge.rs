//! When a worker does worse than before.

use std::time::Duration;

use crate::config::settings::SoakSettings;
use crate::ids::WorkerName;
use crate::proxy::WorkerFigures;

/// So many failed answers say nothing yet.
const FEW: u64 = 5;
/// How many times the share of failed answers before may be reached.
const TIMES: f64 = 2.0;
/// A quantile of fewer durations is that of a few requests.
const ENOUGH: u64 = 100;

/// A worker beside itself.
#[derive(Debug, Default)]
pub(super) struct Compared {
    /// What it had done before; `None` where it is new, or that is not known.
    pub(super) before: Option<WorkerFigures>,
    /// What it has done since.
    pub(super) since: WorkerFigures,
    /// What it has done since it was warm; `None` where it is not.
    pub(super) warm: Option<WorkerFigures>,
}

impl Compared {
    /// Why too many of its answers fail.
    pub(super) fn errors(&self, limits: SoakSettings) -> Option<String> {
        let (failed, share) = (failed(&self.since), share(&self.since));
        let before = self.before.as_ref().map_or(0.0, self::share);
        let allowed = f64::from(limits.errors_percent) / 100.0;
        if failed <= FEW || share <= allowed || share <= before * TIMES {
            return None;
        }
        let requests = answers(&self.since);
        Some(format!(
            "{failed} of {requests} answers failed, {} (before: {})",
            percent(share),
            percent(before)
        ))
    }

    /// Why its answers take too long.
    pub(super) fn latency(&self, limits: SoakSettings) -> Option<String> {
        let p99 = |figures: &WorkerFigures| {
            let durations = figures.all_durations();
            (durations.count() >= ENOUGH).then(|| durations.quantile(0.99)).flatten()
        };
        let (before, now) = (p99(self.before.as_ref()?)?, p99(self.warm.as_ref()?)?);
        if limits.p99_factor == 0 || now <= limits.p99 || now <= before * limits.p99_factor {
            return None;
        }
        Some(format!("p99 is {} (before: {})", millis(now), millis(before)))
    }
}

/// What was seen of all, for people.
pub(super) fn summary(all: &[(WorkerName, Compared)]) -> String {
    let mut sum = WorkerFigures::default();
    all.iter().for_each(|(_, compared)| sum.add(&compared.since));
    match answers(&sum) {
        0 => "no requests".to_owned(),
        1 => format!("1 request, {} failed", failed(&sum)),
        count => format!("{count} requests, {} failed", failed(&sum)),
    }
}

/// Answers 5xx, and those that the worker broke off.
fn failed(figures: &WorkerFigures) -> u64 {
    figures.responses[4] + figures.aborted
}

fn answers(figures: &WorkerFigures) -> u64 {
    figures.responses.iter().sum()
}

fn share(figures: &WorkerFigures) -> f64 {
    match answers(figures) {
        0 => 0.0,
        answers => failed(figures) as f64 / answers as f64,
    }
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

fn millis(duration: Duration) -> String {
    format!("{} ms", duration.as_millis())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::proxy::DurationSums;

    fn answered(well: u64, failed: u64) -> WorkerFigures {
        WorkerFigures { responses: [0, well, 0, 0, failed], ..WorkerFigures::default() }
    }

    fn took(count: usize, millis: u64) -> WorkerFigures {
        let mut figures = answered(count as u64, 0);
        figures.durations[0] =
            DurationSums::of(std::iter::repeat_n(Duration::from_millis(millis), count));
        figures
    }

    fn name() -> WorkerName {
        "app".parse().unwrap()
    }

    #[rstest]
    #[case::few(Some((1000, 0)), (5, 5), true)]
    #[case::many(Some((1000, 0)), (50, 50), false)]
    #[case::a_small_share(Some((1000, 0)), (990, 10), true)]
    #[case::as_many_as_before(Some((500, 500)), (50, 50), true)]
    #[case::more_than_before(Some((900, 100)), (50, 50), false)]
    #[case::none_came(Some((900, 100)), (0, 0), true)]
    #[case::a_new_worker(None, (50, 50), false)]
    fn more_failed_answers_than_before_are_a_reason_to_go_back(
        #[case] before: Option<(u64, u64)>,
        #[case] since: (u64, u64),
        #[case] well: bool,
    ) {
        let before = before.map(|(well, failed)| answered(well, failed));
        let compared = Compared { before, since: answered(since.0, since.1), warm: None };
        let found = compared.errors(SoakSettings::default());
        assert_eq!(found.is_none(), well, "{found:?}");
    }

    #[test]
    fn an_answer_that_was_broken_off_has_failed() {
        let since = WorkerFigures { aborted: 50, ..answered(100, 0) };
        let compared = Compared { before: None, since, warm: None };
        let found = compared.errors(SoakSettings::default()).unwrap();
        assert_eq!(found, "50 of 100 answers failed, 50.0 % (before: 0.0 %)");
    }

    #[rstest]
    #[case::as_before(Some((200, 20)), Some((200, 20)), true)]
    #[case::much_slower(Some((200, 20)), Some((200, 400)), false)]
    #[case::slower_and_still_fast(Some((200, 1)), Some((200, 60)), true)]
    #[case::always_slow(Some((200, 400)), Some((200, 600)), true)]
    #[case::few_requests(Some((200, 20)), Some((99, 400)), true)]
    #[case::few_before(Some((99, 20)), Some((200, 400)), true)]
    #[case::a_new_worker(None, Some((200, 400)), true)]
    #[case::not_warm_yet(Some((200, 20)), None, true)]
    fn much_slower_answers_than_before_are_a_reason_to_go_back(
        #[case] before: Option<(usize, u64)>,
        #[case] warm: Option<(usize, u64)>,
        #[case] well: bool,
    ) {
        let figures = |it: Option<(usize, u64)>| it.map(|(count, millis)| took(count, millis));
        let warm = figures(warm);
        let compared = Compared { before: figures(before), since: warm.unwrap_or_default(), warm };
        let found = compared.latency(SoakSettings::default());
        assert_eq!(found.is_none(), well, "{found:?}");
        let never = SoakSettings { p99_factor: 0, ..SoakSettings::default() };
        assert_eq!(compared.latency(never), None);
    }

    #[test]
    fn what_was_seen_is_summed_up() {
        assert_eq!(summary(&[]), "no requests");
        let compared =
            |well, failed| Compared { since: answered(well, failed), ..Compared::default() };
        let all = [(name(), compared(3, 1)), (name(), compared(4, 0))];
        assert_eq!(summary(&all), "8 requests, 1 failed");
    }
}
