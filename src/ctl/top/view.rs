//! What is on the screen, and what keys do to it.

use std::collections::VecDeque;
use std::ops::ControlFlow;

use jiff::Timestamp;
use ratatui::Frame;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line as Text, Span};
use ratatui::widgets::{Paragraph, RenderDirection, Row, Sparkline, Table, TableState};

use super::super::output::{Line, Painter, Role};
use super::super::status::{about_all, about_workers, headline, percentiles, role};
use super::order::Key;
use crate::admin::api::{GenerationBeside, InstanceStatus, Status, WorkerStatus};
use crate::figures::{bytes, or_dash, percent, rate};
use crate::ids::WorkerName;

/// How many looks back the line of requests a second goes.
const HISTORY: usize = 40;

/// How many lines of what there is to say are shown above the table, and below it.
const LINES: usize = 4;

const COLUMNS: usize = 10;

/// The last status, and how it is looked at.
pub(super) struct View {
    status: Status,
    /// Why there is none newer.
    missed: Option<String>,
    /// Requests a second at the last looks.
    history: VecDeque<u64>,
    key: Key,
    is_reversed: bool,
    /// Which worker is looked at; it stays so where it moves.
    selected: Option<WorkerName>,
    /// Whose instances are shown.
    opened: Option<WorkerName>,
    table: TableState,
    paint: Painter,
}

impl View {
    pub(super) fn new(status: Status, paint: Painter) -> Self {
        let mut view = Self {
            status,
            missed: None,
            history: VecDeque::new(),
            key: Key::Name,
            is_reversed: false,
            selected: None,
            opened: None,
            table: TableState::default(),
            paint,
        };
        view.remember();
        view
    }

    /// Takes a newer status, or why there is none.
    pub(super) fn take(&mut self, answer: Result<Status, String>) {
        match answer {
            Ok(status) => {
                self.status = status;
                self.missed = None;
                self.remember();
            }
            Err(reason) => self.missed = Some(reason),
        }
    }

    fn remember(&mut self) {
        if self.history.len() == HISTORY {
            self.history.pop_front();
        }
        self.history.push_back(self.requests_per_second().round() as u64);
    }

    fn requests_per_second(&self) -> f64 {
        let loads = self.status.workers.iter().filter_map(|worker| worker.load);
        loads.map(|load| load.requests_per_second).sum()
    }

    /// Does what a key means; [`ControlFlow::Break`] is the end.
    pub(super) fn press(&mut self, key: KeyEvent) -> ControlFlow<()> {
        if key.kind == KeyEventKind::Release {
            return ControlFlow::Continue(());
        }
        match key.code {
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => {
                return ControlFlow::Break(());
            }
            KeyCode::Char('q') | KeyCode::Esc => return ControlFlow::Break(()),
            KeyCode::Down | KeyCode::Char('j') => self.select(true),
            KeyCode::Up | KeyCode::Char('k') => self.select(false),
            KeyCode::Char('>' | '.') | KeyCode::Right => self.key = self.key.moved(true),
            KeyCode::Char('<' | ',') | KeyCode::Left => self.key = self.key.moved(false),
            KeyCode::Char('r') => self.is_reversed = !self.is_reversed,
            KeyCode::Enter => {
                let is_open = self.opened == self.selected;
                self.opened = self.selected.clone().filter(|_| !is_open);
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn select(&mut self, further: bool) {
        let names: Vec<_> = self.sorted().iter().map(|worker| worker.name.clone()).collect();
        let at = names.iter().position(|name| Some(name) == self.selected.as_ref());
        let next = match at {
            Some(at) if further => (at + 1).min(names.len() - 1),
            Some(at) => at.saturating_sub(1),
            None => 0,
        };
        self.selected = names.into_iter().nth(next);
    }

    fn sorted(&self) -> Vec<&WorkerStatus> {
        let mut workers: Vec<_> = self.status.workers.iter().collect();
        workers.sort_by(|a, b| self.key.compare(a, b));
        if self.is_reversed {
            workers.reverse();
        }
        workers
    }

    /// Draws all of it.
    pub(super) fn draw(&mut self, frame: &mut Frame<'_>, now: Timestamp) {
        let mut above = vec![headline(&self.status, now)];
        if let Some(reason) = &self.missed {
            let text = format_args!("as it was, asking again: {reason}");
            above.push(Line::marked(Role::Bad, "✗", text));
        }
        above.extend(about_all(&self.status, now));
        above.truncate(1 + LINES);
        let mut below = about_workers(&self.status, now);
        below.truncate(LINES);
        let height = |lines: &[Line]| Constraint::Length(lines.len() as u16);
        let layout = Layout::vertical([
            height(&above),
            Constraint::Length(1),
            Constraint::Min(3),
            height(&below),
            Constraint::Length(1),
        ]);
        let [top, totals, table, bottom, keys] = layout.areas(frame.area());
        frame.render_widget(self.paragraph(above), top);
        self.draw_totals(frame, totals);
        self.draw_table(frame, table);
        frame.render_widget(self.paragraph(below), bottom);
        let order = if self.is_reversed { ", reversed" } else { "" };
        let text = format!(
            "q quit   ↑↓ select   Enter instances   <> sorted by {}{order}   r reverse",
            self.key.heading()
        );
        frame.render_widget(self.paragraph(vec![Line(vec![(Role::Dim, text)])]), keys);
    }

    fn paragraph(&self, lines: Vec<Line>) -> Paragraph<'static> {
        let spans = |line: Line| {
            let parts = line.0.into_iter();
            Text::from_iter(parts.map(|(role, text)| Span::styled(text, self.style(role))))
        };
        Paragraph::new(lines.into_iter().map(spans).collect::<Vec<_>>())
    }

    fn draw_totals(&self, frame: &mut Frame<'_>, area: Rect) {
        let counters = &self.status.counters;
        let text = format!(
            "{} requests/s   {} in flight   {} held   {} connections",
            rate(self.requests_per_second()),
            counters.in_flight,
            counters.held,
            counters.connections,
        );
        let [left, right] =
            Layout::horizontal([Constraint::Min(50), Constraint::Length(HISTORY as u16)])
                .areas(area);
        frame.render_widget(self.paragraph(vec![Line(vec![(Role::Plain, text)])]), left);
        let newest_first = self.history.iter().rev().copied();
        let history = Sparkline::default()
            .data(newest_first)
            .direction(RenderDirection::RightToLeft)
            .style(self.style(Role::Dim));
        frame.render_widget(history, right);
    }

    fn draw_table(&mut self, frame: &mut Frame<'_>, area: Rect) {
        let (mut rows, mut selected) = (vec![], None);
        for worker in self.sorted() {
            let style = match self.missed {
                Some(_) => Role::Dim,
                None => role(worker.state),
            };
            if Some(&worker.name) == self.selected.as_ref() {
                selected = Some(rows.len());
            }
            rows.push((style, worker_cells(worker)));
            if Some(&worker.name) == self.opened.as_ref() {
                rows.extend(worker.instances.iter().map(|it| (role(it.state), instance_cells(it))));
                let canaries = worker.canaries.iter().map(|it| beside_cells(it, "canary"));
                rows.extend(canaries.map(|cells| (Role::Warning, cells)));
                let draining = worker.draining.iter().map(|it| beside_cells(it, "draining"));
                rows.extend(draining.map(|cells| (Role::Dim, cells)));
            }
        }
        let headings = [
            Key::Name.heading(),
            "STATE",
            "GEN",
            Key::Rate.heading(),
            Key::P99.heading(),
            Key::Errors.heading(),
            Key::InFlight.heading(),
            Key::Memory.heading(),
            Key::Cpu.heading(),
            Key::Restarts.heading(),
        ];
        let width = |column: usize| {
            let cells = rows.iter().map(|(_, cells)| cells[column].chars().count());
            Constraint::Length(cells.max().unwrap_or(0).max(headings[column].len()) as u16)
        };
        let widths: [Constraint; COLUMNS] = std::array::from_fn(width);
        let head = Row::new(headings.iter().enumerate().map(|(column, heading)| {
            let is_key = *heading == self.key.heading();
            let style = self.style(Role::Strong);
            let style = if is_key { style.add_modifier(Modifier::UNDERLINED) } else { style };
            aligned((*heading).to_owned(), column).style(style)
        }));
        let rows = rows.into_iter().map(|(role, cells)| {
            let cells = cells.into_iter().enumerate();
            Row::new(cells.map(|(column, text)| aligned(text, column))).style(self.style(role))
        });
        let table = Table::new(rows, widths)
            .header(head)
            .column_spacing(2)
            .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
        self.table.select(selected);
        frame.render_stateful_widget(table, area, &mut self.table);
    }

    fn style(&self, role: Role) -> Style {
        let coloured = |colour| match self.paint.is_coloured() {
            true => Style::new().fg(colour),
            false => Style::new(),
        };
        match role {
            Role::Good => coloured(Color::Green),
            Role::Warning => coloured(Color::Yellow),
            Role::Bad => coloured(Color::Red).add_modifier(Modifier::BOLD),
            Role::Strong => Style::new().add_modifier(Modifier::BOLD),
            Role::Dim => Style::new().add_modifier(Modifier::DIM),
            Role::Plain => Style::new(),
        }
    }
}

/// Figures stand under one another.
fn aligned(text: String, column: usize) -> Text<'static> {
    Text::from(text).alignment(if column < 3 { Alignment::Left } else { Alignment::Right })
}

fn worker_cells(worker: &WorkerStatus) -> [String; COLUMNS] {
    let load = worker.load;
    [
        worker.name.to_string(),
        worker.state.as_str().to_owned(),
        or_dash(worker.generation),
        or_dash(load.map(|load| rate(load.requests_per_second))),
        or_dash(load.and_then(|load| percentiles(&load))),
        or_dash(load.and_then(|load| load.server_errors).map(|share| percent(share, 1))),
        worker.in_flight.to_string(),
        or_dash(worker.memory_bytes.map(bytes)),
        or_dash(worker.cpus_busy.map(|busy| percent(busy, 0))),
        worker.restarts.to_string(),
    ]
}

fn instance_cells(instance: &InstanceStatus) -> [String; COLUMNS] {
    let mut cells = [const { String::new() }; COLUMNS];
    cells[0] = format!("  :{}", instance.port);
    cells[1] = instance.state.as_str().to_owned();
    cells[6] = instance.in_flight.to_string();
    cells[7] = or_dash(instance.memory_bytes.map(bytes));
    cells[8] = or_dash(instance.cpus_busy.map(|busy| percent(busy, 0)));
    cells
}

fn beside_cells(it: &GenerationBeside, state: &str) -> [String; COLUMNS] {
    let mut cells = [const { String::new() }; COLUMNS];
    cells[0] = format!("  :{}", it.port);
    cells[1] = state.to_owned();
    cells[2] = it.generation.to_string();
    cells[6] = it.in_flight.to_string();
    cells
}

#[cfg(test)]
mod tests;
