//! Which losses a fault explains. What was lost without one is a broken promise.

use super::faults::{Faults, Kill};
use crate::support::load::{Failure, Kind, Loss, MOST_FAILURES, Tally};

/// Fails, naming them, if there were losses that nothing explains, or nothing was done.
pub(super) fn judge(tally: &Tally, faults: &Faults<'_>, log: impl FnOnce() -> String) {
    let lost = tally.failures();
    assert!(lost.len() < MOST_FAILURES, "too much was lost to judge it: {:#?}", &lost[..10]);
    let (explained, broken): (Vec<_>, Vec<_>) =
        lost.iter().partition(|failure| is_explained(failure, faults.kills()));
    eprintln!("{} losses that kills explain, of {} exchanges", explained.len(), tally.done());
    let shown: Vec<_> = broken
        .iter()
        .map(|it| {
            let at = |time: std::time::Instant| {
                time.saturating_duration_since(faults.begun()).as_secs_f64()
            };
            format!("{:.3}-{:.3} {:?}: {:?}", at(it.begun), at(it.ended), it.kind, it.loss)
        })
        .collect();
    assert!(shown.is_empty(), "not explained: {shown:#?}\n{faults}{}", log());
    assert!(tally.done() > 0, "nothing was done");
}

fn worker_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Post => "api_users",
        Kind::KeepAlive | Kind::NewConnection | Kind::Download | Kind::Events | Kind::WebSocket => {
            "index"
        }
    }
}

/// - A killed tqserver takes its connections along. It never refuses one, and what it has begun to
///   answer does not look whole.
/// - A killed worker takes along what it has begun to answer. What it had not is asked of its
///   successor, but for a POST, which gets 502; and for a GET that died of two kills.
fn is_explained(failure: &Failure, kills: &[Kill]) -> bool {
    let kills: Vec<_> =
        kills.iter().filter(|it| it.begun <= failure.ended && failure.begun <= it.ended).collect();
    let server = kills.iter().any(|kill| kill.worker.is_none());
    let worker = worker_of(failure.kind);
    let workers = kills.iter().filter(|kill| kill.worker == Some(worker)).count();
    match &failure.loss {
        Loss::Unanswered(_) => server,
        Loss::BrokenOff(_) => server || workers > 0,
        Loss::Status(502) if failure.kind == Kind::Post => workers > 0,
        Loss::Status(502) => workers > 1,
        Loss::Refused(_) | Loss::Status(_) | Loss::Wrong(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn failure(kind: Kind, loss: Loss, at: Instant) -> Failure {
        Failure { kind, begun: at, ended: at + Duration::from_secs(1), loss }
    }

    #[test]
    fn only_what_a_kill_met_is_explained_by_it() {
        let now = Instant::now();
        let kill = |worker| Kill { worker, begun: now, ended: now + Duration::from_millis(1) };
        let (server, index, api) = (kill(None), kill(Some("index")), kill(Some("api_users")));
        let explained = |failure: &Failure, kills: &[&Kill]| {
            is_explained(failure, &kills.iter().copied().cloned().collect::<Vec<_>>())
        };
        let unanswered = |at| failure(Kind::KeepAlive, Loss::Unanswered(String::new()), at);
        assert!(explained(&unanswered(now), &[&server]));
        assert!(!explained(&unanswered(now + Duration::from_secs(1)), &[&server]));
        assert!(!explained(&unanswered(now), &[&index]), "it is retried");
        let refused = failure(Kind::KeepAlive, Loss::Refused(String::new()), now);
        assert!(!explained(&refused, &[&server, &index]));
        let status = |kind| failure(kind, Loss::Status(502), now);
        assert!(explained(&status(Kind::Post), &[&api]));
        assert!(!explained(&status(Kind::Post), &[&index]), "another worker");
        assert!(!explained(&status(Kind::KeepAlive), &[&index]));
        assert!(explained(&status(Kind::KeepAlive), &[&index, &index]));
        let wrong = failure(Kind::Post, Loss::Wrong(String::new()), now);
        assert!(!explained(&wrong, &[&api, &index]));
    }
}
