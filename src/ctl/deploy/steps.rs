//! The steps of a deployment, as people follow them: a line for each that is done, with the host and
//! the time, and on a terminal a bar while files are brought.

use std::borrow::Cow;
use std::io::{self, IsTerminal};
use std::time::Instant;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::ctl::output::{Output, Role, printable};

/// The steps on each host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ctl) enum Step {
    Lock,
    Upload,
    Verify,
    Activate,
    Rollout,
    /// So many percent of the requests go to it.
    Canary(u8),
    Soak,
}

impl Step {
    /// `1/6 lock`
    fn label(self) -> Cow<'static, str> {
        let name = match self {
            Self::Lock => "1/6 lock",
            Self::Upload => "2/6 upload",
            Self::Verify => "3/6 verify",
            Self::Activate => "4/6 activate",
            Self::Rollout => "5/6 rollout",
            Self::Canary(share) => return format!("5/6 canary {share} %").into(),
            Self::Soak => "6/6 soak",
        };
        name.into()
    }
}

/// Prints steps.
pub(in crate::ctl) struct Steps<'o> {
    out: &'o Output,
    /// How wide the longest name of a host is.
    width: usize,
    bars: MultiProgress,
}

impl<'o> Steps<'o> {
    /// Steps on hosts of these names.
    pub(in crate::ctl) fn new<'n>(out: &'o Output, hosts: impl Iterator<Item = &'n str>) -> Self {
        let visible = io::stderr().is_terminal() && !out.is_quiet() && !out.wants_json();
        let target = match visible {
            true => ProgressDrawTarget::stderr(),
            false => ProgressDrawTarget::hidden(),
        };
        let width = hosts.map(str::len).max().unwrap_or_default();
        Self { out, width, bars: MultiProgress::with_draw_target(target) }
    }

    /// A step has begun on a host.
    pub(super) fn begin(&self, step: Step, host: &str) -> Running<'_> {
        self.out.detail(format_args!("{} {host} …", step.label()));
        Running {
            steps: self,
            step,
            host: host.to_owned(),
            since: Instant::now(),
            bar: std::cell::OnceCell::new(),
        }
    }

    fn line(&self, text: String) {
        // Bars are taken away while something is printed, and put back below it.
        self.bars.suspend(|| self.out.message(text));
    }
}

/// A step that is under way. Dropped without a word, it was given up, and whoever gave it up says why.
pub(super) struct Running<'s> {
    steps: &'s Steps<'s>,
    step: Step,
    host: String,
    since: Instant,
    bar: std::cell::OnceCell<ProgressBar>,
}

impl Running<'_> {
    /// So many bytes are to be brought.
    pub(super) fn expect(&self, bytes: u64) {
        let style = ProgressStyle::with_template(
            "  {prefix} [{bar:30}] {bytes} of {total_bytes}  {bytes_per_sec}  {eta}",
        );
        let bar =
            ProgressBar::new(bytes).with_prefix(format!("{} {}", self.step.label(), self.host));
        let bar = style.map(|style| bar.clone().with_style(style)).unwrap_or(bar);
        let _ = self.bar.set(self.steps.bars.add(bar));
    }

    /// So many are there.
    pub(super) fn reached(&self, bytes: u64) {
        if let Some(bar) = self.bar.get() {
            bar.set_position(bytes);
        }
    }

    /// It is done.
    pub(super) fn done(self, note: &str) {
        self.end(Role::Good, "✓", note);
    }

    /// It was not wished.
    pub(super) fn skipped(self) {
        let label = self.step.label();
        self.steps.out.detail(format_args!("{label} {} skipped", self.host));
    }

    /// It failed.
    pub(super) fn failed(self, why: &str) {
        self.end(Role::Bad, "✗", why);
    }

    fn end(&self, role: Role, mark: &str, note: &str) {
        if let Some(bar) = self.bar.get() {
            bar.finish_and_clear();
        }
        let Self { steps, step, host, since, .. } = self;
        let paint = steps.out.message_painter();
        let line = format!(
            "  {} {:12} {host:width$} {:5.1} s   {}",
            paint.paint(role, mark),
            step.label(),
            since.elapsed().as_secs_f64(),
            printable(note),
            width = steps.width,
        );
        steps.line(line.trim_end().to_owned());
    }
}
