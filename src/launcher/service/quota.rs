//! How many units there may be. tqserver itself stays far below these numbers; they bound what
//! somebody could start who has taken it over.

use crate::config::settings::RolloutSettings;
use crate::ids::{Port, UnitName};

/// The most units of all workers together, whatever the port range.
const TOTAL: usize = 256;

/// Generations of one worker beyond those that drain: the one that serves, its successor, one that
/// was told to stop, and one for good measure.
const BESIDE_DRAINING: usize = 4;

/// Whether `unit` may be started beside the `live` ones, whatever its worker is.
///
/// # Errors
/// Which rule it breaks.
pub(super) fn check(
    rollout: &RolloutSettings,
    unit: &UnitName,
    live: &[UnitName],
) -> Result<(), String> {
    let (first, last) = (rollout.port_range_start, rollout.port_range_end);
    if !(first..=last).contains(&Port::get(unit.port)) {
        return Err(format!(
            "port {} is not one of {first} to {last}, the port_range_start and port_range_end of \
             server.yaml",
            unit.port
        ));
    }
    let ports = usize::from(last - first) + 1;
    let total = ports.min(TOTAL);
    if live.len() >= total {
        return Err(format!(
            "there are {} units of workers, and at most {total} may be",
            live.len()
        ));
    }
    Ok(())
}

/// Whether there may be one more unit of the worker, of whose generations each has as many
/// `instances`.
///
/// # Errors
/// That there may not.
pub(super) fn check_worker(
    rollout: &RolloutSettings,
    instances: usize,
    unit: &UnitName,
    live: &[UnitName],
) -> Result<(), String> {
    let own = live.iter().filter(|other| other.worker == unit.worker).count();
    let generations = rollout.max_draining + BESIDE_DRAINING;
    let limit = generations * instances;
    if own >= limit {
        return Err(format!(
            "it has {own} units, and at most {limit} may be: {generations} generations \
             (max_draining_generations of server.yaml and {BESIDE_DRAINING} more) with `instances: \
             {instances}` each"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Sources, parse};
    use rstest::rstest;

    /// Units of two workers, `index` first.
    fn units(index: usize, other: usize) -> Vec<UnitName> {
        let unit = |name, port: usize| format!("tq-worker@{name}-{port}.service").parse().unwrap();
        let index = (0..index).map(|number| unit("index", 9000 + number));
        index.chain((0..other).map(|number| unit("other", 10_000 + number))).collect()
    }

    #[rstest]
    #[case::fine(9000, 1, 0, 0, None)]
    #[case::last_port(9999, 1, 0, 0, None)]
    #[case::below(8999, 1, 0, 0, Some("port 8999 is not one of 9000 to 9999"))]
    #[case::above(10_000, 1, 0, 0, Some("port 10000"))]
    #[case::well_known(22, 1, 0, 0, Some("port 22"))]
    #[case::as_many_as_may_be(9001, 1, 5, 200, None)]
    #[case::too_many_of_one(9001, 1, 6, 0, Some("it has 6 units, and at most 6"))]
    #[case::as_many_instances_as_may_be(9001, 3, 17, 0, None)]
    #[case::too_many_instances(9001, 3, 18, 0, Some("it has 18 units, and at most 18"))]
    #[case::too_many_of_all(9001, 64, 0, 256, Some("at most 256"))]
    fn bounds(
        #[case] port: u16,
        #[case] instances: usize,
        #[case] index: usize,
        #[case] other: usize,
        #[case] refusal: Option<&str>,
    ) {
        let yaml = b"workers: {port_range_start: 9000, port_range_end: 9999, \
                     max_draining_generations: 2}";
        let settings = parse(&Sources::of_project("/srv"), yaml, None).unwrap().settings;
        let unit = format!("tq-worker@index-{port}.service").parse().unwrap();
        let live = units(index, other);
        let answer = check(&settings.rollout, &unit, &live)
            .and_then(|()| check_worker(&settings.rollout, instances, &unit, &live));
        match refusal {
            None => assert_eq!(answer, Ok(())),
            Some(reason) => {
                assert!(answer.as_ref().is_err_and(|e| e.contains(reason)), "{answer:?}")
            }
        }
    }
}
