//! What `systemd-analyze security` thinks of the units.

use rstest::rstest;

use crate::machine::{Debian, Machine};
use crate::support::deployments::worker;

/// Tenths of a point, 0 to 100; less is safer.
fn exposure(machine: &Machine, unit: &str) -> (u32, String) {
    let table = machine.bed.run(&["systemd-analyze", "security", "--no-pager", unit]);
    let score = table
        .lines()
        .last()
        .and_then(|line| line.split_once("exposure level for "))
        .and_then(|(_, rest)| rest.split_once(": "))
        .and_then(|(_, rest)| rest.split_whitespace().next())
        .and_then(|score| score.replace('.', "").parse().ok());
    let costs = table.lines().filter(|line| line.starts_with('✗')).collect::<Vec<_>>().join("\n");
    (score.unwrap_or_else(|| panic!("no score in {table}")), costs)
}

#[rstest]
#[case::debian_12(Debian::Bookworm)]
#[case::debian_13(Debian::Trixie)]
fn the_units_are_closed_up(#[case] debian: Debian) {
    let machine = Machine::with_tqserver(debian);
    machine.deploy('1', &[worker("index", "well")]);
    assert_eq!(machine.get("/").status, 200);
    let limits = [
        ("tqserver.service".to_owned(), 15),
        ("tq-launcher.service".to_owned(), 6),
        (machine.unit_of("index"), 12),
    ];
    let over: Vec<_> = limits
        .iter()
        .map(|(unit, limit)| (unit, limit, exposure(&machine, unit)))
        .filter(|(_, limit, (score, _))| score > limit)
        .map(|(unit, limit, (score, costs))| format!("{unit}: {score} > {limit}\n{costs}"))
        .collect();
    assert!(over.is_empty(), "in tenths of a point:\n{}", over.join("\n"));
}
