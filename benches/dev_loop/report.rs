//! What was measured, for people and for programs.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::contest::Result;
use crate::figures::Figures;

/// A line of the first table.
pub struct Row {
    /// What took that long.
    pub what: &'static str,
    /// Half of all should not take longer, in milliseconds.
    pub goal: Option<f64>,
    /// How long it took.
    pub figures: Figures,
}

/// Prints the first table.
pub fn print_rows(rows: &[Row]) {
    println!("{:<50} {:>8} {:>8} {:>7} {:>6}", "ms", "p50", "p90", "goal", "rounds");
    for Row { what, goal, figures } in rows {
        let goal = goal.map_or(String::new(), |goal| format!("{goal:.0}"));
        let [half, most] = [50, 90].map(|percent| figures.percentile(percent));
        println!("{what:<50} {half:>8.1} {most:>8.1} {goal:>7} {:>6}", figures.rounds());
    }
}

/// Prints what came of a contest.
pub fn print_contest(what: &str, results: &[Result]) {
    println!(
        "\n{what:<22} {:>8} {:>7} {:>7} {:>6} {:>9} {:>10} {:>7} {:>9} {:>7} {:>6}",
        "waits ms",
        "p50 ms",
        "p90 ms",
        "ratio",
        "installed",
        "out p50 ms",
        "lost",
        "lost/save",
        "again",
        "saves"
    );
    for Result { name, waits, answered, ratio, to_installed, out, lost, repeated, .. } in results {
        let (saves, out) = (answered.rounds(), out.percentile(50));
        let [half, most] = [50, 90].map(|percent| answered.percentile(percent));
        let each = *lost as f64 / saves as f64;
        println!(
            "{name:<22} {waits:>8} {half:>7.0} {most:>7.0} {ratio:>6.2} {to_installed:>9.2} \
             {out:>10.0} {lost:>7} {each:>9.1} {repeated:>7} {saves:>6}"
        );
    }
}

/// Writes all of it as JSON.
pub fn write(path: &Path, short: bool, rows: &[Row], good: &[Result], broken: &[Result]) {
    let figures = |figures: &Figures| {
        json!({
            "p50_ms": figures.percentile(50),
            "p90_ms": figures.percentile(90),
            "rounds": figures.rounds(),
        })
    };
    let row =
        |row: &Row| json!({"what": row.what, "goal_ms": row.goal, "took": figures(&row.figures)});
    let result = |it: &Result| {
        json!({
            "name": it.name,
            "answered": figures(&it.answered),
            "waits_ms": it.waits,
            "ratio": it.ratio,
            "ratio_to_installed": it.to_installed,
            "out": figures(&it.out),
            "requests": it.requests,
            "lost": it.lost,
            "repeated": it.repeated,
        })
    };
    let all = |results: &[Result]| results.iter().map(result).collect::<Vec<Value>>();
    let document = json!({
        "schema": 1,
        "short": short,
        "processors": std::thread::available_parallelism().map_or(1, usize::from),
        "figures": rows.iter().map(row).collect::<Vec<_>>(),
        "good_saves": all(good),
        "broken_saves": all(broken),
    });
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, format!("{document:#}\n")).unwrap();
}
