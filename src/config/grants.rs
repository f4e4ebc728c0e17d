//! What root grants a worker (`workers.grants` of server.yaml), and whether that covers what the
//! worker asks for. `worker.yaml` is the deployer's word: it can ask for much, and gets only what
//! root's file says.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::credential::{self, CredentialName};
use super::limits::INFINITY;
use super::sandbox::{self, Allowed, SandboxOverrides};
use super::section::Section;
use super::settings::WorkerSettings;
use super::units::{cpu_quota, memory_max, tasks_max};
use super::worker::WorkerFile;
use crate::ids::WorkerName;

/// What one worker may have, if it asks.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Grant {
    /// Credentials, and the files they are in.
    pub credentials: BTreeMap<CredentialName, PathBuf>,
    /// How far its sandbox may be loosened.
    pub sandbox: SandboxOverrides,
    /// Whether it may have a state directory.
    pub state_directory: bool,
    /// The most MemoryMax= in bytes, and what holds where nobody says any.
    pub memory_max: Option<u64>,
    /// The most CPUQuota= in percent of one CPU, and what holds where nobody says any.
    pub cpu_quota_percent: Option<u32>,
    /// The most TasksMax=, and what holds where nobody says any.
    pub tasks_max: Option<u64>,
}

/// Reads `workers.grants.<worker>`.
pub(super) fn read(section: &mut Section<'_, '_>) -> Grant {
    Grant {
        credentials: section.named("credentials", credential::path),
        sandbox: section.section("sandbox", sandbox::read),
        state_directory: section.flag("state_directory").is_some_and(|found| found.value),
        memory_max: section.parsed_scalar("memory_max", memory_max).map(|found| found.value),
        cpu_quota_percent: section.parsed_scalar("cpu_quota", cpu_quota).map(|found| found.value),
        tasks_max: section.parsed_scalar("tasks_max", tasks_max).map(|found| found.value),
    }
}

/// One key by which a worker asks for too much, in the notation of the files.
struct Excess {
    key: &'static str,
    asked: String,
    available: String,
    /// What root would have to write; the same as `asked`, but for credentials.
    grant: String,
}

/// Whether `name` may have what its `file` asks for.
///
/// `asked` are its effective settings, and `given` those it would have without asking.
///
/// # Errors
/// Everything it asks for and may not have, and what to write in `server_yaml` to grant it.
pub fn check(
    name: &WorkerName,
    file: &WorkerFile,
    (given, asked): (&WorkerSettings, &WorkerSettings),
    grant: Option<&Grant>,
    server_yaml: &Path,
) -> Result<(), String> {
    let nothing = Grant::default();
    let grant = grant.unwrap_or(&nothing);
    let sandbox = in_sandbox(given, asked, grant);
    let secrets = server_yaml.with_file_name("credentials");
    let beside = beside_sandbox(file, given, asked, grant, &secrets);
    if sandbox.is_empty() && beside.is_empty() {
        return Ok(());
    }
    let asks = |prefix: &'static str| {
        move |excess: &Excess| {
            let Excess { key, asked, available, .. } = excess;
            format!("`{prefix}{key}: {asked}` and may have {available}")
        }
    };
    let asked: Vec<_> =
        sandbox.iter().map(asks("sandbox.")).chain(beside.iter().map(asks(""))).collect();
    let entries = |all: &[Excess]| {
        all.iter().map(|excess| format!("{}: {}", excess.key, excess.grant)).collect::<Vec<_>>()
    };
    let mut grants = entries(&beside);
    if !sandbox.is_empty() {
        grants.push(format!("sandbox: {{{}}}", entries(&sandbox).join(", ")));
    }
    Err(format!(
        "its {} asks for {}; to grant it, write below `workers.grants` in {}: \
         `{name}: {{{}}}`",
        WorkerFile::PATH,
        asked.join("; for "),
        server_yaml.display(),
        grants.join(", "),
    ))
}

fn in_sandbox(given: &WorkerSettings, asked: &WorkerSettings, grant: &Grant) -> Vec<Excess> {
    let mut found = Vec::new();
    if !asked.sandbox.memory_deny_write_execute
        && given.sandbox.memory_deny_write_execute
        && grant.sandbox.memory_deny_write_execute != Some(false)
    {
        found.push(Excess::flag("memory_deny_write_execute", false));
    }
    let mut available = given.sandbox.allowed.clone();
    available.extend(&grant.sandbox.allowed);
    let too_much = asked.sandbox.allowed.beyond(&available);
    for (key, items) in by_key(&too_much) {
        let have = by_key(&available).remove(key);
        let available = have.map_or_else(|| "none".to_owned(), |items| list(&items));
        found.push(Excess { key, asked: list(&items), available, grant: list(&items) });
    }
    found
}

fn beside_sandbox(
    file: &WorkerFile,
    given: &WorkerSettings,
    asked: &WorkerSettings,
    grant: &Grant,
    secrets: &Path,
) -> Vec<Excess> {
    let mut found = Vec::new();
    let refused = |name: &&CredentialName| !grant.credentials.contains_key(*name);
    let names: Vec<_> = file.credentials.iter().filter(refused).collect();
    if !names.is_empty() {
        let text = |name: &&CredentialName| name.to_string();
        let granted: Vec<_> = grant.credentials.keys().collect();
        let path = |name: &&CredentialName| format!("{name}: {}/{name}", secrets.display());
        found.push(Excess {
            key: "credentials",
            asked: list(&names.iter().map(text).collect::<Vec<_>>()),
            available: match granted.is_empty() {
                true => "none".to_owned(),
                false => list(&granted.iter().map(text).collect::<Vec<_>>()),
            },
            grant: format!("{{{}}}", names.iter().map(path).collect::<Vec<_>>().join(", ")),
        });
    }
    if asked.state_directory && !given.state_directory && !grant.state_directory {
        found.push(Excess::flag("state_directory", true));
    }
    let limits = [
        Excess::limit("memory_max", size, asked.memory_max, given.memory_max, grant.memory_max),
        Excess::limit(
            "cpu_quota",
            |percent| format!("{percent}%"),
            asked.cpu_quota_percent.map(u64::from),
            given.cpu_quota_percent.map(u64::from),
            grant.cpu_quota_percent.map(u64::from),
        ),
        Excess::limit("tasks_max", count, asked.tasks_max, given.tasks_max, grant.tasks_max),
    ];
    found.extend(limits.into_iter().flatten());
    found
}

impl Excess {
    fn flag(key: &'static str, asked: bool) -> Self {
        let (asked, available) = (asked.to_string(), format!("only {}", !asked));
        Self { key, grant: asked.clone(), asked, available }
    }

    /// A limit above both what is given and the ceiling. Without a limit in server.yaml there is no
    /// ceiling.
    fn limit(
        key: &'static str,
        text: impl Fn(u64) -> String,
        asked: Option<u64>,
        given: Option<u64>,
        ceiling: Option<u64>,
    ) -> Option<Self> {
        let most = given?.max(ceiling.unwrap_or(0));
        let asked = text(asked.filter(|asked| *asked > most)?);
        Some(Self { key, grant: asked.clone(), asked, available: format!("up to {}", text(most)) })
    }
}

fn by_key(allowed: &Allowed) -> BTreeMap<&'static str, Vec<String>> {
    let mut found: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (key, item) in allowed.items() {
        found.entry(key).or_default().push(item);
    }
    found
}

/// A list in YAML's flow notation; quoted, as `@` begins no plain text.
fn list(items: &[String]) -> String {
    let quote = |item: &String| match item.starts_with('@') || item.contains(':') {
        true => format!("{item:?}"),
        false => item.clone(),
    };
    format!("[{}]", items.iter().map(quote).collect::<Vec<_>>().join(", "))
}

/// As the files write it: in the largest unit that is exact.
fn size(bytes: u64) -> String {
    let units = [(40, "T"), (30, "G"), (20, "M"), (10, "K")];
    match units.into_iter().find(|(shift, _)| bytes.trailing_zeros() >= *shift) {
        _ if bytes == INFINITY => "infinity".to_owned(),
        Some((shift, unit)) => format!("{}{unit}", bytes >> shift),
        None => bytes.to_string(),
    }
}

fn count(number: u64) -> String {
    if number == INFINITY { "infinity".to_owned() } else { number.to_string() }
}

#[cfg(test)]
mod tests;
