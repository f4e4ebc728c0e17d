//! `tqctl status`

use std::fmt::Write;

use clap::Args;
use comfy_table::{ContentArrangement, Table, presets};
use jiff::Timestamp;

use super::client::Client;
use super::exit::{Exit, Failure};
use super::output::{Output, Painter, Role, printable, printable_lines};
use crate::admin::api::{
    BreakerState, CanaryStatus, GenerationBeside, InstanceStatus, ServerState, Status, WorkerLoad,
    WorkerState, WorkerStatus,
};
use crate::config::settings::Mode;
use crate::ids::{CommitId, UnitName};

/// `tqctl status`
#[derive(Debug, Args)]
pub struct StatusArgs {}

/// Prints how everything stands. Anything but "serving" is [`Exit::Degraded`].
pub async fn run(_args: &StatusArgs, client: &Client, out: &Output) -> Result<Exit, Failure> {
    let status = client.status().await.map_err(|error| error.into_failure())?;
    out.document(&status)?;
    out.line(render(&status, Timestamp::now(), out.painter()))?;
    Ok(match status.state {
        ServerState::Serving => Exit::Ok,
        ServerState::Starting | ServerState::Degraded | ServerState::Draining => Exit::Degraded,
    })
}

fn render(status: &Status, now: Timestamp, paint: Painter) -> String {
    let mut lines = vec![headline(status, now, paint)];
    if let Some(failed) = &status.failed {
        lines.push(format!(
            "{} {} failed {} ago: {}",
            paint.paint(Role::Bad, "✗"),
            failed.commit.short(),
            age(failed.at, now),
            indented(&failed.reason)
        ));
    }
    lines.extend(status.canary.iter().map(|it| canary(it, now, paint)));
    for warning in &status.warnings {
        lines.push(format!("{} {}", paint.paint(Role::Warning, "!"), indented(warning)));
    }
    if !status.workers.is_empty() {
        lines.push(table(&status.workers, paint));
    }
    for worker in &status.workers {
        if let Some(commit) = &worker.pinned {
            lines.push(format!(
                "  {} at {} is pinned to {}",
                worker.name,
                worker.route,
                commit.short()
            ));
        }
    }
    for worker in status.workers.iter().filter(|worker| !worker.loosened.is_empty()) {
        let mark = paint.paint(Role::Warning, "!");
        let items = printable(&worker.loosened.join(", ")).to_string();
        lines.push(format!("{mark} {}: sandbox loosened: {items}", worker.name));
    }
    for worker in &status.workers {
        let serves = |it: &&InstanceStatus| it.state == WorkerState::Serving;
        let serving = worker.instances.iter().filter(serves).count();
        if let Some(wanted) = worker.instances_wanted.filter(|wanted| serving < *wanted) {
            let mark = paint.paint(Role::Warning, "!");
            lines.push(format!("{mark} {}: {serving} of {wanted} instances serve", worker.name));
        }
    }
    for worker in &status.workers {
        if let Some(failure) = &worker.last_failure {
            let mark = paint.paint(Role::Bad, "✗");
            lines.push(format!("{mark} {}: {}", worker.name, printable(failure)));
        }
    }
    lines.extend(status.workers.iter().filter_map(|worker| recovery(worker, now, paint)));
    lines.join("\n")
}

/// How far a canary has come: `· 3333333 serves 5 % of requests as a canary, 25 % in 40s`
pub(super) fn canary(canary: &CanaryStatus, now: Timestamp, paint: Painter) -> String {
    let commit = canary.commit.as_ref().map_or("another deployment", CommitId::short);
    let next = match canary.next_percents.first() {
        Some(share) => format!("{share} %"),
        None => "all".to_owned(),
    };
    let next = match canary.next_at {
        Some(at) => format!("{next} in {}", age(now, at)),
        None => format!("{next} by `tqctl rollout promote`"),
    };
    let testers = canary.testers.as_ref().map(|testers| format!(", and to {}", printable(testers)));
    format!(
        "{} {commit} serves {} % of requests as a canary{}; {next}",
        paint.paint(Role::Warning, "·"),
        canary.share_percent,
        testers.unwrap_or_default(),
    )
}

/// What became of a worker that died: `! index: g2 killed by signal 9 40s ago, restarted once`.
fn recovery(worker: &WorkerStatus, now: Timestamp, paint: Painter) -> Option<String> {
    let mut parts = Vec::new();
    if let Some(exit) = &worker.last_exit {
        let ago = exit.at.map_or_else(String::new, |at| format!(" {} ago", age(at, now)));
        parts.push(format!("{} {}{ago}", exit.generation, printable(&exit.reason)));
    }
    match worker.restarts {
        0 => {}
        1 => parts.push("restarted once".to_owned()),
        times => parts.push(format!("restarted {times} times")),
    }
    if worker.breaker != BreakerState::Closed {
        parts.push(format!("breaker {}", worker.breaker.as_str()));
    }
    if let Some(at) = worker.next_attempt {
        parts.push(format!("next attempt in {}", age(now, at)));
    }
    let mark = paint.paint(Role::Warning, "!");
    (!parts.is_empty()).then(|| format!("{mark} {}: {}", worker.name, parts.join(", ")))
}

/// `● serving a1b2c3d (main v1.2.3)   up 3d   desired = actual`
fn headline(status: &Status, now: Timestamp, paint: Painter) -> String {
    let role = match status.state {
        ServerState::Serving => Role::Good,
        ServerState::Starting | ServerState::Draining => Role::Warning,
        ServerState::Degraded => Role::Bad,
    };
    let mut line =
        format!("{} {}", paint.paint(role, "●"), paint.paint(role, status.state.as_str()));
    // Writing to a String cannot fail.
    match (&status.actual, status.mode) {
        (Some(commit), _) => {
            let _ = write!(line, " {}", paint.paint(Role::Strong, commit.short()));
        }
        (None, Mode::Dev) => line.push_str(" the source tree"),
        (None, Mode::Prod) => line.push_str(" nothing"),
    }
    let names: Vec<_> =
        [&status.branch, &status.tag].into_iter().flatten().map(String::as_str).collect();
    if !names.is_empty() {
        let _ = write!(line, " ({})", printable(&names.join(" ")));
    }
    let _ = write!(line, "   up {}", age(status.started_at, now));
    if status.mode == Mode::Prod {
        if status.desired == status.actual {
            line.push_str("   desired = actual");
        } else {
            let desired = status.desired.as_ref().map_or("nothing", CommitId::short);
            let differs = format!("desired {desired} ≠ actual");
            let _ = write!(line, "   {}", paint.paint(Role::Warning, differs));
        }
    }
    line
}

const HEADINGS: [&str; 12] = [
    "WORKER", "ROUTE", "STATE", "GEN", "PORT", "UNIT", "COMMIT", "REQ/S", "P50/P99", "5XX", "MEM",
    "CPU",
];

type Row = [String; HEADINGS.len()];

/// A row for every worker, or for each of its instances where it has several, and one for every
/// unit of it that drains.
fn table(workers: &[WorkerStatus], paint: Painter) -> String {
    let mut rows: Vec<(Role, Row)> = vec![(Role::Strong, HEADINGS.map(str::to_owned))];
    for worker in workers {
        let role = match worker.state {
            WorkerState::Serving => Role::Plain,
            WorkerState::Asleep => Role::Dim,
            WorkerState::Queued | WorkerState::Starting | WorkerState::Probing => Role::Warning,
            WorkerState::Backoff | WorkerState::Failed | WorkerState::Stopped => Role::Bad,
        };
        match &worker.instances[..] {
            [] => rows.push((role, worker_row(worker))),
            several => rows.extend(
                several
                    .iter()
                    .enumerate()
                    .map(|(index, it)| (role, instance_row(worker, index, it))),
            ),
        }
        let beside = |role, word: &'static str| {
            move |it: &GenerationBeside| (role, beside_row(worker, it, word))
        };
        rows.extend(worker.canaries.iter().map(beside(Role::Warning, "canary")));
        rows.extend(worker.draining.iter().map(beside(Role::Dim, "draining")));
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    for (_, row) in &rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    // No cell holds a line break, so that lines and rows are the same; colour is put on whole
    // lines, as the layout would count its escape sequences as text.
    let painted = table
        .lines()
        .zip(&rows)
        .map(|(line, (role, _))| paint.paint(*role, line.trim_end()).to_string());
    painted.collect::<Vec<_>>().join("\n")
}

fn worker_row(worker: &WorkerStatus) -> Row {
    [
        worker.name.to_string(),
        worker.route.to_string(),
        worker.state.as_str().to_owned(),
        or_dash(worker.generation),
        or_dash(worker.port),
        or_dash(worker.unit.as_ref().map(unit_name)),
        or_dash(worker.commit.as_ref().map(CommitId::short)),
        or_dash(worker.load.map(|load| rate(load.requests_per_second))),
        or_dash(worker.load.and_then(|load| percentiles(&load))),
        or_dash(worker.load.and_then(|load| load.server_errors).map(|share| percent(share, 1))),
        or_dash(worker.memory_bytes.map(bytes)),
        or_dash(worker.cpus_busy.map(|busy| percent(busy, 0))),
    ]
}

/// `412`, and `0.3` below ten, where a digit more tells whether there is anything.
fn rate(per_second: f64) -> String {
    if per_second < 9.95 && per_second > 0.0 {
        format!("{per_second:.1}")
    } else {
        format!("{per_second:.0}")
    }
}

/// `2/12ms`
fn percentiles(load: &WorkerLoad) -> Option<String> {
    let millis = |ms: f64| if ms < 1.0 { "<1".to_owned() } else { format!("{ms:.0}") };
    Some(format!("{}/{}ms", millis(load.p50_ms?), millis(load.p99_ms?)))
}

fn percent(share: f64, digits: usize) -> String {
    format!("{:.digits$}%", share * 100.0)
}

/// `31M`, as systemctl writes it.
fn bytes(bytes: u64) -> String {
    let (mut value, mut unit) = (bytes as f64, "B");
    for larger in ["K", "M", "G", "T"] {
        if value < 1024.0 {
            break;
        }
        (value, unit) = (value / 1024.0, larger);
    }
    let digits = usize::from(value < 9.95 && unit != "B");
    format!("{value:.digits$}{unit}")
}

/// What the worker does stands in the first row, for all its instances; what each uses, in its own.
fn instance_row(worker: &WorkerStatus, index: usize, instance: &InstanceStatus) -> Row {
    let mut row = worker_row(worker);
    row[2] = instance.state.as_str().to_owned();
    row[4] = instance.port.to_string();
    row[5] = unit_name(&instance.unit);
    if index > 0 {
        row[7..10].fill("-".to_owned());
    }
    row[10] = or_dash(instance.memory_bytes.map(bytes));
    row[11] = or_dash(instance.cpus_busy.map(|busy| percent(busy, 0)));
    row
}

fn beside_row(worker: &WorkerStatus, it: &GenerationBeside, word: &str) -> Row {
    let mut row: Row = std::array::from_fn(|_| "-".to_owned());
    row[0] = worker.name.to_string();
    row[1] = worker.route.to_string();
    row[2] = format!("{word} {}", it.in_flight);
    row[3] = it.generation.to_string();
    row[4] = it.port.to_string();
    row[5] = unit_name(&it.unit);
    row[6] = or_dash(it.commit.as_ref().map(CommitId::short));
    row
}

/// A text of several lines, such as a configuration error with its source line: those after the
/// first stand under it.
fn indented(text: &str) -> String {
    printable_lines(text).replace('\n', "\n    ")
}

/// As systemctl accepts it, too.
fn unit_name(unit: &UnitName) -> String {
    unit.to_string().trim_end_matches(".service").to_owned()
}

fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// The largest unit that is not nought: `3d`, `5h`, `12m`, `40s`.
fn age(since: Timestamp, now: Timestamp) -> String {
    let seconds = now.as_second().saturating_sub(since.as_second()).max(0);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(999, "999B")]
    #[case(1024, "1.0K")]
    #[case(31 << 20, "31M")]
    #[case(u64::MAX, "16777216T")]
    fn sizes_are_in_the_largest_unit(#[case] size: u64, #[case] expected: &str) {
        assert_eq!(bytes(size), expected);
    }

    #[rstest]
    #[case(0, "0s")]
    #[case(59, "59s")]
    #[case(60, "1m")]
    #[case(86_399, "23h")]
    #[case(3 * 86_400 + 5, "3d")]
    #[case(-30, "0s")]
    fn ages_are_in_the_largest_unit(#[case] seconds: i64, #[case] expected: &str) {
        let since = Timestamp::UNIX_EPOCH;
        assert_eq!(age(since, Timestamp::from_second(seconds).unwrap()), expected);
    }
}
