//! The last words of a unit, for the error that names it.

use std::collections::HashMap;

use jiff::Timestamp;

use super::event::Failure;
use crate::ids::UnitName;
use crate::launcher::Output;
use crate::sd::journal::{self, Manager};

/// How many lines are shown.
const LINES: usize = 10;

/// Where units' output is found again.
#[derive(Debug, Clone)]
pub struct LastLines {
    output: Output,
    manager: Manager,
    /// A unit's name comes again with its port: lines from before its start are another's.
    started: HashMap<UnitName, Timestamp>,
}

impl LastLines {
    /// Looks where `output` goes; `manager` is the one that runs the units.
    pub fn new(output: Output, manager: Manager) -> Self {
        Self { output, manager, started: HashMap::new() }
    }

    /// A unit of this name starts now.
    pub fn started(&mut self, unit: &UnitName) {
        self.started.insert(unit.clone(), Timestamp::now());
    }

    /// A unit of this name is gone, and nobody will ask for its lines.
    pub fn forget(&mut self, unit: &UnitName) {
        self.started.remove(unit);
    }

    /// What the failed units said last; where there are several, each line with its worker's name
    /// before it. What cannot be read is left out: the cause of a failure is known without it.
    pub async fn of_failures(&self, failures: &[Failure]) -> Vec<String> {
        let mut details = Vec::new();
        for failure in failures {
            let Some((unit, _)) = &failure.unit else { continue };
            for line in self.of(unit).await {
                details.push(match failures {
                    [_] => line,
                    _ => format!("{}: {line}", failure.worker),
                });
            }
        }
        details
    }

    async fn of(&self, unit: &UnitName) -> Vec<String> {
        let lines = match &self.output {
            Output::Files(dir) => {
                let (dir, unit) = (dir.clone(), unit.clone());
                let read = tokio::task::spawn_blocking(move || dir.tail(&unit, LINES)).await;
                read.map_err(|error| error.to_string())
                    .and_then(|lines| lines.map_err(|error| error.to_string()))
            }
            Output::Journal => {
                let since = self.started.get(unit).copied();
                journal::last_lines(self.manager, unit, since, LINES)
                    .await
                    .map_err(|error| error.to_string())
            }
        };
        lines.unwrap_or_else(|error| {
            tracing::debug!(%unit, error, "last lines not read");
            Vec::new()
        })
    }
}
