//! The life of one generation. `lifecycle.dot` beside this file draws it; a test compares the two.

use std::fmt;
use std::time::{Duration, Instant};

use crate::ids::{Generation, Md5, UnitName};
use crate::launcher::Source;

/// Where a generation stands. Each phase owns what only it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Others start before it.
    Queued,
    /// systemd was asked for it, and it is not READY yet.
    Starting {
        /// When it was asked for.
        since: Instant,
    },
    /// READY, and its health path is being asked.
    Probing,
    /// Fit to serve, and waiting for the rest of its deployment.
    Ready,
    /// In the published table beside the one that serves, for a part of its requests.
    Canary,
    /// In the published table.
    Serving {
        /// When it was published.
        since: Instant,
    },
    /// Replaced: finishes the requests it has.
    Draining {
        /// When the next step is due: ending its streams, or else stopping it.
        due: Instant,
        /// Whether its streams were told to end.
        cut: bool,
        /// When its other requests have had their time: it is not stopped before.
        requests_due: Instant,
    },
    /// Told to stop.
    Stopping {
        /// When it was told.
        since: Instant,
    },
    /// Gone, as it was told to.
    Stopped,
    /// Gone, or given up, before it ever served.
    Failed,
}

impl Phase {
    /// The phase's name, as the picture has it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Queued => "Queued",
            Self::Starting { .. } => "Starting",
            Self::Probing => "Probing",
            Self::Ready => "Ready",
            Self::Canary => "Canary",
            Self::Serving { .. } => "Serving",
            Self::Draining { .. } => "Draining",
            Self::Stopping { .. } => "Stopping",
            Self::Stopped => "Stopped",
            Self::Failed => "Failed",
        }
    }

    /// Whether the generation has yet to serve.
    pub fn is_before_serving(&self) -> bool {
        matches!(self, Self::Queued | Self::Starting { .. } | Self::Probing | Self::Ready)
    }

    /// Whether `next` may follow.
    fn leads_to(&self, next: &Self) -> bool {
        use Phase::*;
        match (self, next) {
            (Queued, Starting { .. } | Failed)
            | (Starting { .. }, Probing)
            | (Probing, Ready)
            | (Ready, Canary | Serving { .. })
            | (Canary, Serving { .. } | Draining { .. })
            | (Serving { .. }, Draining { .. })
            | (Draining { cut: false, .. }, Draining { cut: true, .. }) => true,
            // Whatever lives can be told to stop, and whatever lives can die.
            (Starting { .. } | Probing | Ready, Stopping { .. } | Failed) => true,
            (Canary | Serving { .. } | Draining { .. }, Stopping { .. } | Stopped) => true,
            (Stopping { .. }, Stopped) => true,
            _ => false,
        }
    }
}

/// A generation that the controller knows of.
#[derive(Debug, Clone)]
pub struct Tracked {
    /// Its unit.
    pub unit: UnitName,
    /// Its number.
    pub generation: Generation,
    /// Where its files come from.
    pub source: Source,
    /// What it was made of: equal fingerprints need no restart.
    pub fingerprint: Md5,
    /// When systemd was asked for it; `None` where it was not yet, or not by us.
    asked: Option<Instant>,
    phase: Phase,
}

/// A step that the life of a generation does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{unit} cannot go from {from} to {to}")]
pub struct IllegalTransition {
    unit: UnitName,
    from: &'static str,
    to: &'static str,
}

impl Tracked {
    /// A generation that is wanted.
    pub fn queued(
        unit: UnitName,
        generation: Generation,
        source: Source,
        fingerprint: Md5,
    ) -> Self {
        Self { unit, generation, source, fingerprint, asked: None, phase: Phase::Queued }
    }

    /// A generation found alive, in the phase its state calls for.
    pub fn adopted(
        unit: UnitName,
        generation: Generation,
        source: Source,
        fingerprint: Md5,
        phase: Phase,
    ) -> Self {
        Self { unit, generation, source, fingerprint, asked: None, phase }
    }

    /// How long it took from the asking of systemd to its place in the published table; `None` while it has
    /// none, or where somebody else asked.
    pub fn start_took(&self) -> Option<Duration> {
        match self.phase {
            Phase::Serving { since } => Some(since - self.asked?),
            _ => None,
        }
    }

    /// Where it stands.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Goes on to `next`, or stays and says that there is no such step.
    pub fn advance(&mut self, next: Phase) -> Result<(), IllegalTransition> {
        if !self.phase.leads_to(&next) {
            let (from, to) = (self.phase.name(), next.name());
            return Err(IllegalTransition { unit: self.unit.clone(), from, to });
        }
        if let Phase::Starting { since } = next {
            self.asked = Some(since);
        }
        self.phase = next;
        Ok(())
    }
}

impl fmt::Display for Tracked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} (port {})", self.unit.worker, self.generation, self.unit.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Every arrow of the picture is a step of the code, and the other way round.
    #[test]
    fn the_picture_shows_the_code() {
        let now = Instant::now();
        let later = now + Duration::from_secs(1);
        let phases = [
            Phase::Queued,
            Phase::Starting { since: now },
            Phase::Probing,
            Phase::Ready,
            Phase::Canary,
            Phase::Serving { since: now },
            Phase::Draining { due: now, cut: false, requests_due: later },
            Phase::Draining { due: later, cut: true, requests_due: later },
            Phase::Stopping { since: now },
            Phase::Stopped,
            Phase::Failed,
        ];
        let mut code = BTreeSet::new();
        for from in &phases {
            for to in phases.iter().filter(|to| from.leads_to(to)) {
                code.insert(format!("{} -> {}", from.name(), to.name()));
            }
        }
        let picture: BTreeSet<String> = include_str!("lifecycle.dot")
            .lines()
            .filter(|line| line.contains("->"))
            .map(|line| line.split([';', '[']).next().unwrap_or(line).trim().to_owned())
            .collect();
        assert_eq!(code, picture);
    }
}
