//! Events in, lines out. Pure: what time zone it is and whether to colour is said at the beginning.

mod text;

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::admin::events::{Event, EventKind, ProjectWorker};
use crate::ctl::output::{Painter, Role, printable};
use crate::ids::{Generation, WorkerName};
use text::{count, listed, log_lines, names, seconds};

/// The widths of the columns that list workers.
#[derive(Debug, Default, Clone, Copy)]
struct Columns {
    name: usize,
    route: usize,
    language: usize,
}

impl Columns {
    /// Wide enough for these as well.
    fn widen(&mut self, workers: &[ProjectWorker]) {
        for worker in workers {
            self.name = self.name.max(worker.name.as_str().len());
            self.route = self.route.max(worker.route.as_str().len());
            self.language = self.language.max(worker.language.len());
        }
    }
}

/// What was printed so far, as far as later lines depend on it.
#[derive(Debug)]
pub(super) struct Renderer {
    url: String,
    zone: TimeZone,
    paint: Painter,
    verbose: bool,
    begun: bool,
    workers: BTreeMap<WorkerName, Seen>,
    columns: Columns,
    filter: Option<WorkerName>,
}

/// What is known of a worker.
#[derive(Debug, Default)]
struct Seen {
    /// The newest generation that came to serve.
    serving: Option<Generation>,
    /// How long the build took whose generation is still to come.
    built: Option<f64>,
}

impl Renderer {
    /// Lines about the session at `url`; with `verbose` also of what had no effect.
    pub(super) fn new(url: String, zone: TimeZone, paint: Painter, verbose: bool) -> Self {
        let (workers, columns) = (BTreeMap::new(), Columns::default());
        Self { url, zone, paint, verbose, begun: false, workers, columns, filter: None }
    }

    /// Whether the first line is out.
    pub(super) fn has_begun(&self) -> bool {
        self.begun
    }

    /// The first line, with what is known.
    pub(super) fn begin(&mut self, workers: Option<usize>, directories: Option<usize>) -> String {
        self.begun = true;
        let workers = workers.map(|it| format!(" · {}", count(it, "worker", "workers")));
        let directories =
            directories.map(|it| format!(" · {} watched", count(it, "directory", "directories")));
        let (strong, url) = (self.paint.paint(Role::Strong, "tqserver dev"), &self.url);
        format!(
            "{strong} · {url}{}{}",
            workers.unwrap_or_default(),
            directories.unwrap_or_default()
        )
    }

    /// Shows the next worker's lines only, or those of all again; says which.
    pub(super) fn next_filter(&mut self) -> String {
        let next = match &self.filter {
            None => self.workers.keys().next(),
            Some(current) => self.workers.keys().find(|name| *name > current),
        };
        self.filter = next.cloned();
        let shown = self.filter.as_ref().map_or("all workers".to_owned(), WorkerName::to_string);
        self.paint.paint(Role::Dim, format_args!("showing {shown}")).to_string()
    }

    /// The lines for an event.
    pub(super) fn event(&mut self, event: &Event) -> Vec<String> {
        let mut lines = Vec::new();
        if let EventKind::Watching { workers, directories, polling } = &event.what {
            self.columns.widen(workers);
            if self.begun {
                let directories = count(*directories, "directory", "directories");
                lines.push(self.timed(event.at, format_args!("watching {directories}")));
            } else {
                lines.push(self.begin(Some(workers.len()), Some(*directories)));
            }
            lines.extend(
                polling
                    .iter()
                    .flat_map(|why| why.lines())
                    .map(|why| format!("  {}", self.paint.paint(Role::Warning, printable(why)))),
            );
            return lines;
        }
        if !self.begun {
            lines.push(self.begin(None, None));
        }
        let concerned = concerned(&event.what);
        let shown = match &self.filter {
            Some(filter) => concerned.is_empty() || concerned.contains(&filter),
            None => true,
        };
        for name in concerned {
            self.workers.entry(name.clone()).or_default();
        }
        let of_event = self.lines(event);
        if shown {
            lines.extend(of_event);
        }
        lines
    }

    fn lines(&mut self, event: &Event) -> Vec<String> {
        let at = event.at;
        match &event.what {
            EventKind::Watching { .. }
            | EventKind::Rollout { .. }
            | EventKind::Canary { .. }
            | EventKind::Refused { .. }
            | EventKind::Generation { .. }
            | EventKind::Died { .. } => Vec::new(),
            EventKind::Changed { worker, paths, more } => {
                let paths = listed(paths, *more, worker.as_ref());
                vec![self.of(at, worker.as_ref(), format_args!("changed {paths}"))]
            }
            EventKind::Unchanged { paths } if self.verbose => {
                let paths = listed(paths, 0, None);
                vec![self.timed(at, format_args!("written, the same as before: {paths}"))]
            }
            EventKind::Building { workers } if self.verbose || self.is_first_build(workers) => {
                vec![self.timed(at, format_args!("building {}", names(workers)))]
            }
            EventKind::Unchanged { .. } | EventKind::Building { .. } => Vec::new(),
            EventKind::Built { worker, seconds: took, changed: true } => {
                self.seen(worker).built = Some(*took);
                Vec::new()
            }
            EventKind::Built { worker, seconds: took, changed: false } => {
                let took = seconds(*took);
                let text = format_args!("built {took} · the same program, nothing is restarted");
                vec![self.of(at, Some(worker), text)]
            }
            EventKind::BuildFailed { workers, serving, place, log, .. } => {
                self.build_failed(at, workers, *serving, place.as_deref(), log)
            }
            EventKind::Serving { .. } => self.serving(event).into_iter().collect(),
            EventKind::NotServing { worker, reason, details, serving } => {
                self.seen(worker).built = None;
                let what = format!("{}, {}", printable(reason), still(*serving));
                let mut lines = vec![self.failed(at, worker.as_str(), &what)];
                lines.extend(details.iter().map(|line| format!("     | {}", printable(line))));
                lines
            }
            EventKind::Reloaded { worker, paths, style, tabs, ms } => {
                let done = match (*tabs, *style) {
                    (0, _) => "no tab to reload".to_owned(),
                    (tabs, true) => format!("restyled {}", count(tabs, "tab", "tabs")),
                    (tabs, false) => format!("reloaded {}", count(tabs, "tab", "tabs")),
                };
                let paths = listed(paths, 0, worker.as_ref());
                let text = format_args!("{paths} → {done} ({ms}ms, no rebuild)");
                vec![self.of(at, worker.as_ref(), text)]
            }
            EventKind::Configuration { refused: None } => {
                vec![self.timed(at, "configuration applied")]
            }
            EventKind::Configuration { refused: Some(why) } => {
                let mark = self.paint.paint(Role::Bad, "✗ configuration refused");
                let first = self.timed(at, format_args!("{mark}, the one before holds"));
                [first].into_iter().chain(log_lines(why)).collect()
            }
            EventKind::Skipped { folder, reason } => {
                let (folder, reason) = (printable(folder), printable(reason));
                vec![self.timed(at, format_args!("{folder} is no worker: {reason}"))]
            }
            EventKind::Notice { text } => vec![self.timed(at, printable(text))],
        }
    }

    /// A worker's first generation is listed; later ones are news. One that was told of already, by a
    /// tqserver that was started anew, is neither.
    fn serving(&mut self, event: &Event) -> Option<String> {
        let EventKind::Serving { worker, route, language, generation, ready_ms, tabs, overhead_ms } =
            &event.what
        else {
            return None;
        };
        let seen = self.seen(worker);
        let (before, built) = (seen.serving.replace(*generation), seen.built.take());
        if before == Some(*generation) {
            return None;
        }
        if before.is_none() {
            let Columns { name, route: of_route, language: of_language } = self.columns;
            let name = self.paint.paint(Role::Strong, format!("{:name$}", worker.as_str()));
            let (ready, language) = (format!("{ready_ms}ms"), printable(language).to_string());
            let route = route.to_string();
            return Some(format!(
                "  {name}  {route:of_route$}  {language:of_language$}  {generation} ready  {ready:>6}"
            ));
        }
        let mut text = built.map_or(String::new(), |took| format!("built {} · ", seconds(took)));
        text += &format!("{generation} ready {ready_ms}ms · switched");
        if *tabs > 0 {
            text += &format!(" · reloaded {}", count(*tabs, "tab", "tabs"));
        }
        if let Some(overhead) = overhead_ms {
            let overhead = format!("   (+{overhead}ms over the compiler)");
            text += &self.paint.paint(Role::Dim, overhead).to_string();
        }
        Some(self.of(event.at, Some(worker), text))
    }

    fn build_failed(
        &mut self,
        at: Timestamp,
        workers: &[WorkerName],
        serving: Option<Generation>,
        place: Option<&str>,
        log: &str,
    ) -> Vec<String> {
        for worker in workers {
            self.seen(worker).built = None;
        }
        let what = format!("build failed, {}", still(serving));
        let place = place.map_or(String::new(), |place| format!("   {}", printable(place)));
        let whose = if workers.is_empty() { "the project".to_owned() } else { names(workers) };
        let first = self.failed(at, &whose, &what) + &place;
        [first].into_iter().chain(log_lines(log)).collect()
    }

    fn failed(&self, at: Timestamp, name: &str, what: &str) -> String {
        let name = self.paint.paint(Role::Strong, name);
        let what = self.paint.paint(Role::Bad, format!("✗ {what}"));
        self.timed(at, format_args!("{name}  {what}"))
    }

    /// A line about a worker, or about none.
    fn of(
        &self,
        at: Timestamp,
        worker: Option<&WorkerName>,
        text: impl std::fmt::Display,
    ) -> String {
        match worker {
            Some(name) => {
                let name = self.paint.paint(Role::Strong, name);
                self.timed(at, format_args!("{name}  {text}"))
            }
            None => self.timed(at, text),
        }
    }

    fn timed(&self, at: Timestamp, text: impl std::fmt::Display) -> String {
        let time = self.zone.to_datetime(at).strftime("%H:%M:%S").to_string();
        format!("{} {text}", self.paint.paint(Role::Dim, time))
    }

    fn seen(&mut self, worker: &WorkerName) -> &mut Seen {
        self.workers.entry(worker.clone()).or_default()
    }

    /// Whether people wait for one of them and see nothing yet.
    fn is_first_build(&self, workers: &[WorkerName]) -> bool {
        let serves = |name| self.workers.get(name).is_some_and(|seen| seen.serving.is_some());
        !workers.iter().all(serves)
    }
}

/// The workers an event is about; none where it concerns everybody.
fn concerned(what: &EventKind) -> Vec<&WorkerName> {
    match what {
        EventKind::Built { worker, .. }
        | EventKind::Serving { worker, .. }
        | EventKind::NotServing { worker, .. } => vec![worker],
        EventKind::Changed { worker, .. } | EventKind::Reloaded { worker, .. } => {
            worker.iter().collect()
        }
        EventKind::Building { workers } | EventKind::BuildFailed { workers, .. } => {
            workers.iter().collect()
        }
        EventKind::Watching { .. }
        | EventKind::Unchanged { .. }
        | EventKind::Configuration { .. }
        | EventKind::Skipped { .. }
        | EventKind::Rollout { .. }
        | EventKind::Canary { .. }
        | EventKind::Refused { .. }
        | EventKind::Notice { .. } => Vec::new(),
        EventKind::Generation { worker, .. } | EventKind::Died { worker, .. } => vec![worker],
    }
}

fn still(serving: Option<Generation>) -> String {
    serving.map_or("nothing serves".to_owned(), |generation| format!("still serving {generation}"))
}

#[cfg(test)]
mod tests;
