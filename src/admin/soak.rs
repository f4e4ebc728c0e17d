//! A deployment that is watched: what is asked, and what is said of it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ids::CommitId;

/// The longest time that a deployment is watched.
pub const LONGEST: Duration = Duration::from_secs(3600);

/// The answer to `POST /v1/deployments/{commit}/soak?ms=…`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SoakVerdict {
    /// [`SCHEMA`](super::api::SCHEMA)
    pub schema: u32,
    /// What came of it.
    pub outcome: SoakOutcome,
    /// What was seen, or what is wrong.
    pub reason: String,
    /// Why the deployment before could not be brought back; absent where that was not tried, or succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub obstacle: Option<String>,
}

/// What came of the watching.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum SoakOutcome {
    /// It serves as well as the one before.
    Well,
    /// It does not, and the one before serves again. The manifest still asks for it.
    WentBack,
    /// It does not, and serves on: there is no way back.
    Stayed,
    /// A new tqserver has taken over meanwhile: ask it.
    HandedOver,
}

/// What a path and its query ask to be watched, and for how long; `None` for other paths.
pub(super) fn asked(
    path: &str,
    query: Option<&str>,
) -> Option<Result<(CommitId, Duration), String>> {
    let name = path.strip_prefix("/v1/deployments/")?.strip_suffix("/soak")?;
    if name.contains('/') {
        return None;
    }
    let time = query.and_then(|query| query.strip_prefix("ms=")?.parse().ok());
    let time = time.map(Duration::from_millis).filter(|time| *time <= LONGEST);
    let parsed = name.parse::<CommitId>().map_err(|error| error.to_string()).and_then(|commit| {
        let missing = || format!("for how long? ms=0 to ms={}", LONGEST.as_millis());
        Ok((commit, time.ok_or_else(missing)?))
    });
    Some(parsed)
}
