//! `tqctl status`

use clap::Args;
use comfy_table::{ContentArrangement, Table, presets};
use jiff::Timestamp;

use super::client::Client;
use super::exit::{Exit, Failure};
use super::output::{Line, Output, Painter, Role, printable, printable_lines};
use crate::admin::api::{
    BreakerState, CanaryStatus, GenerationBeside, InstanceStatus, ServerState, Status, WorkerLoad,
    WorkerState, WorkerStatus,
};
use crate::config::settings::Mode;
use crate::figures::{age, bytes, or_dash, percent, rate};
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
    let painted = |line: Line| line.painted(paint);
    let mut lines = vec![painted(headline(status, now))];
    lines.extend(about_all(status, now).into_iter().map(painted));
    if !status.workers.is_empty() {
        lines.push(table(&status.workers, paint));
    }
    lines.extend(about_workers(status, now).into_iter().map(painted));
    lines.join("\n")
}

/// What concerns the whole.
pub(super) fn about_all(status: &Status, now: Timestamp) -> Vec<Line> {
    let failed = status.failed.iter().map(|failed| {
        let (commit, ago) = (failed.commit.short(), age(failed.at, now));
        let reason = indented(&failed.reason);
        Line::marked(Role::Bad, "✗", format_args!("{commit} failed {ago} ago: {reason}"))
    });
    let canary = status.canary.iter().map(|it| canary(it, now));
    let warnings = status.warnings.iter();
    let warnings = warnings.map(|text| Line::marked(Role::Warning, "!", indented(text)));
    failed.chain(canary).chain(warnings).collect()
}

/// What there is to say of workers beside their figures.
pub(super) fn about_workers(status: &Status, now: Timestamp) -> Vec<Line> {
    let warning = |text: String| Line::marked(Role::Warning, "!", text);
    let mut lines = Vec::new();
    for worker in &status.workers {
        if let Some(commit) = &worker.pinned {
            let (name, route) = (&worker.name, &worker.route);
            let text = format!("{name} at {route} is pinned to {}", commit.short());
            lines.push(Line::marked(Role::Plain, " ", text));
        }
    }
    for worker in status.workers.iter().filter(|worker| !worker.loosened.is_empty()) {
        let items = worker.loosened.join(", ");
        lines.push(warning(format!("{}: sandbox loosened: {}", worker.name, printable(&items))));
    }
    for worker in &status.workers {
        let serves = |it: &&InstanceStatus| it.state == WorkerState::Serving;
        let serving = worker.instances.iter().filter(serves).count();
        if let Some(wanted) = worker.instances_wanted.filter(|wanted| serving < *wanted) {
            lines.push(warning(format!("{}: {serving} of {wanted} instances serve", worker.name)));
        }
    }
    for worker in &status.workers {
        if let Some(failure) = &worker.last_failure {
            let text = format!("{}: {}", worker.name, printable(failure));
            lines.push(Line::marked(Role::Bad, "✗", text));
        }
    }
    lines.extend(status.workers.iter().filter_map(|worker| recovery(worker, now)).map(warning));
    lines
}

/// How far a canary has come: `· 3333333 serves 5 % of requests as a canary, 25 % in 40s`
pub(super) fn canary(canary: &CanaryStatus, now: Timestamp) -> Line {
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
    let (share, testers) = (canary.share_percent, testers.unwrap_or_default());
    let text = format!("{commit} serves {share} % of requests as a canary{testers}; {next}");
    Line::marked(Role::Warning, "·", text)
}

/// What became of a worker that died: `index: g2 killed by signal 9 40s ago, restarted once`.
fn recovery(worker: &WorkerStatus, now: Timestamp) -> Option<String> {
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
    (!parts.is_empty()).then(|| format!("{}: {}", worker.name, parts.join(", ")))
}

/// `● serving a1b2c3d (main v1.2.3)   up 3d   desired = actual`
pub(super) fn headline(status: &Status, now: Timestamp) -> Line {
    let role = match status.state {
        ServerState::Serving => Role::Good,
        ServerState::Starting | ServerState::Draining => Role::Warning,
        ServerState::Degraded => Role::Bad,
    };
    let mut line = Line::default();
    line.push(role, "●");
    line.push(Role::Plain, " ");
    line.push(role, status.state.as_str());
    match (&status.actual, status.mode) {
        (Some(commit), _) => {
            line.push(Role::Plain, " ");
            line.push(Role::Strong, commit.short());
        }
        (None, Mode::Dev) => line.push(Role::Plain, " the source tree"),
        (None, Mode::Prod) => line.push(Role::Plain, " nothing"),
    }
    let names: Vec<_> =
        [&status.branch, &status.tag].into_iter().flatten().map(String::as_str).collect();
    if !names.is_empty() {
        line.push(Role::Plain, format_args!(" ({})", printable(&names.join(" "))));
    }
    line.push(Role::Plain, format_args!("   up {}", age(status.started_at, now)));
    if status.mode == Mode::Prod {
        if status.desired == status.actual {
            line.push(Role::Plain, "   desired = actual");
        } else {
            let desired = status.desired.as_ref().map_or("nothing", CommitId::short);
            line.push(Role::Plain, "   ");
            line.push(Role::Warning, format_args!("desired {desired} ≠ actual"));
        }
    }
    line
}

const HEADINGS: [&str; 12] = [
    "WORKER", "ROUTE", "STATE", "GEN", "PORT", "UNIT", "COMMIT", "REQ/S", "P50/P99", "5XX", "MEM",
    "CPU",
];

type Row = [String; HEADINGS.len()];

/// How a worker in a state is to look.
pub(super) fn role(state: WorkerState) -> Role {
    match state {
        WorkerState::Serving => Role::Plain,
        WorkerState::Asleep | WorkerState::Drained => Role::Dim,
        WorkerState::Queued | WorkerState::Starting | WorkerState::Probing => Role::Warning,
        WorkerState::Backoff | WorkerState::Failed | WorkerState::Stopped => Role::Bad,
    }
}

/// A row for every worker, or for each of its instances where it has several, and one for every
/// unit of it that drains.
fn table(workers: &[WorkerStatus], paint: Painter) -> String {
    let mut rows: Vec<(Role, Row)> = vec![(Role::Strong, HEADINGS.map(str::to_owned))];
    for worker in workers {
        let role = role(worker.state);
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

/// `2/12ms`
pub(super) fn percentiles(load: &WorkerLoad) -> Option<String> {
    let millis = |ms: f64| if ms < 1.0 { "<1".to_owned() } else { format!("{ms:.0}") };
    Some(format!("{}/{}ms", millis(load.p50_ms?), millis(load.p99_ms?)))
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
