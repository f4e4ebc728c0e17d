//! How a report looks: a heading a subject, a line a check, and commands below it.

use std::fmt::Write;

use super::check::{Check, Finding, Report, Verdict};
use crate::ctl::output::{Painter, Role, printable, printable_lines};

/// How much is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Detail {
    /// What is wrong (`-q`).
    Wrong,
    /// Every check.
    All,
    /// Every check and what it is based on (`-v`).
    Verbose,
}

/// The report as text; empty where nothing is to be shown.
pub(super) fn render(report: &Report, detail: Detail, paint: Painter) -> String {
    let is_shown = |finding: &&Finding| match detail {
        Detail::Wrong => finding.check.verdict >= Verdict::Warning,
        Detail::All | Detail::Verbose => true,
    };
    let shown: Vec<_> = report.checks.iter().filter(is_shown).collect();
    let width = shown.iter().map(|it| it.check.name.chars().count()).max().unwrap_or_default();
    let mut text = String::new();
    let mut subject = None;
    // Writing to a String cannot fail.
    for finding in shown {
        if subject.replace(finding.subject) != Some(finding.subject) {
            let _ = writeln!(text, "{}", paint.paint(Role::Strong, finding.subject.as_str()));
        }
        line(&mut text, &finding.check, width, paint);
        if detail == Detail::Verbose {
            for it in &finding.check.details {
                let _ = writeln!(text, "      {}", paint.paint(Role::Dim, printable(it)));
            }
        }
        for command in &finding.check.mend {
            let _ = writeln!(text, "      {}", paint.paint(Role::Strong, printable(command)));
        }
    }
    if detail != Detail::Wrong {
        text.push_str(&summary(report, paint));
    }
    text.trim_end().to_owned()
}

fn line(text: &mut String, check: &Check, width: usize, paint: Painter) {
    let (role, mark) = match check.verdict {
        Verdict::Ok => (Role::Good, "✓"),
        Verdict::Info => (Role::Dim, "·"),
        Verdict::Warning => (Role::Warning, "!"),
        Verdict::Failed => (Role::Bad, "✗"),
    };
    let found = printable_lines(&check.found).replace('\n', "\n      ");
    let name = printable(&check.name).to_string();
    let _ = writeln!(text, "  {} {name:width$}  {found}", paint.paint(role, mark));
}

/// `✗ 1 failed, 2 warnings`
fn summary(report: &Report, paint: Painter) -> String {
    let (failed, warnings) = (report.count(Verdict::Failed), report.count(Verdict::Warning));
    let plural = if warnings == 1 { "" } else { "s" };
    let (role, mark, words) = match (failed, warnings) {
        (0, 0) => (Role::Good, "✓", "nothing is wrong".to_owned()),
        (0, _) => (Role::Warning, "!", format!("nothing failed, {warnings} warning{plural}")),
        (_, 0) => (Role::Bad, "✗", format!("{failed} failed")),
        _ => (Role::Bad, "✗", format!("{failed} failed, {warnings} warning{plural}")),
    };
    format!("{} {words}", paint.paint(role, mark))
}
