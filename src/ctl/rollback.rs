//! `tqctl rollback`: back to a deployment that is there, on the hosts of a target or here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::anyhow;
use clap::Args;
use comfy_table::{ContentArrangement, Table, presets};
use jiff::Timestamp;
use serde::Serialize;

use super::build;
use super::completion;
use super::deploy::{self, Place, Session, Steps, switch};
use super::exit::{Exit, Failure};
use super::host::protocol::{Deployments, Listed, ListedState, Outcome, Reply, Request};
use super::output::{Output, Painter, Role, printable};
use crate::build::Project;
use crate::config::settings::{Mode, Settings};
use crate::config::targets::Order;
use crate::ids::CommitId;
use crate::store::manifest::DeployedBy;

/// Where the package keeps deployments.
const PACKAGE: &str = "/var/lib/tqserver/deploy";
/// The JSON documents' format.
const SCHEMA: u32 = 1;
/// The fewest digits of a commit that name one.
const DIGITS: usize = 4;

/// `tqctl rollback`
#[derive(Debug, Args)]
pub struct RollbackArgs {
    /// A target of config/deployment.yaml; this machine where it is left out
    #[arg(add = completion::targets())]
    pub target: Option<String>,
    /// The deployment to go back to, or its first digits; by default the last that served well before
    #[arg(add = completion::commits())]
    pub commit: Option<String>,
    /// Show what can be gone back to, and do nothing
    #[arg(long)]
    pub list: bool,
    /// Wait for a deployment that is under way, instead of failing
    #[arg(long)]
    pub lock_wait: bool,
}

/// Goes back. What could not be gone back to is [`Exit::RollbackFailed`].
pub fn run(
    args: &RollbackArgs,
    root: &Path,
    socket: Option<PathBuf>,
    out: &Output,
) -> Result<Exit, Failure> {
    let started = Instant::now();
    let whither = Whither::of(args.target.as_deref(), args.commit.as_deref(), root, socket, out)?;
    super::block_on(deploy::interruptible(
        async {
            let mut sessions = deploy::begin(&whither.places, "rollback", out).await?;
            let done = match args.list {
                true => list(&mut sessions, out).await,
                false => back(&mut sessions, &whither, args.lock_wait, started, out).await,
            };
            deploy::end(sessions).await;
            done
        },
        out,
    ))
}

/// Which machines, and which deployment.
pub(super) struct Whither {
    /// The target's name; `None` for this machine.
    pub(super) target: Option<String>,
    pub(super) places: Vec<Place>,
    order: Order,
    commit: Option<String>,
}

impl Whither {
    /// The target of that name, or this machine where there is none.
    pub(super) fn named(
        target: Option<&str>,
        root: &Path,
        socket: Option<PathBuf>,
        out: &Output,
    ) -> Result<Self, Failure> {
        let settings = project(root, out)?;
        match target {
            Some(name) => Self::target(name, None, settings.as_ref().map(|it| &it.1), root),
            None => Ok(Self::here(settings.map(|it| it.0.deploy_dir), None, socket)),
        }
    }

    fn target(
        name: &str,
        commit: Option<&str>,
        settings: Option<&Settings>,
        root: &Path,
    ) -> Result<Self, Failure> {
        let settings = settings.ok_or_else(|| {
            let error = anyhow!("{}: no project, so there are no targets", root.display());
            Failure::new(Exit::Usage, error)
        })?;
        let (name, target) = deploy::target(settings, name)?;
        Ok(Self {
            target: Some(name.to_string()),
            places: Place::all_of(target),
            order: target.order,
            commit: commit.map(str::to_owned),
        })
    }

    fn here(folder: Option<PathBuf>, commit: Option<&str>, socket: Option<PathBuf>) -> Self {
        Self {
            target: None,
            places: vec![Place::here(folder.unwrap_or_else(|| PACKAGE.into()), socket)],
            order: Order::Rolling,
            commit: commit.map(str::to_owned),
        }
    }

    /// A first word that names no target and could be a commit's digits is one.
    pub(super) fn of(
        target: Option<&str>,
        commit: Option<&str>,
        root: &Path,
        socket: Option<PathBuf>,
        out: &Output,
    ) -> Result<Self, Failure> {
        let settings = project(root, out)?;
        let known = settings.as_ref().map(|(_, settings)| settings);
        let named = target.filter(|name| {
            let is_target = known.is_some_and(|it| it.targets.keys().any(|k| k.as_str() == *name));
            is_target || commit.is_some() || !is_digits(name)
        });
        match named {
            Some(name) => Self::target(name, commit, known, root),
            None => Ok(Self::here(settings.map(|it| it.0.deploy_dir), target, socket)),
        }
    }
}

/// The project in `root` and its settings, where there is one.
fn project(root: &Path, out: &Output) -> Result<Option<(Project, Settings)>, Failure> {
    match root.join("config/server.yaml").exists() {
        true => build::project(root, Mode::Prod, out).map(Some),
        false => Ok(None),
    }
}

fn is_digits(text: &str) -> bool {
    (DIGITS..=40).contains(&text.len())
        && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// What a host has.
pub(super) async fn deployments(
    session: &mut Session,
    verify: bool,
    out: &Output,
) -> Result<Deployments, Failure> {
    let Reply::Deployments(found) = session.ask(&Request::List { verify }).await? else {
        return Err(session.out_of_turn());
    };
    for warning in &found.warnings {
        out.warning(format_args!("{}: {}", session.place().name(), printable(warning)));
    }
    Ok(found)
}

async fn back(
    sessions: &mut [Session],
    whither: &Whither,
    wait: bool,
    started: Instant,
    out: &Output,
) -> Result<Exit, Failure> {
    let names: Vec<_> = sessions.iter().map(|it| it.place().name().to_owned()).collect();
    let steps = Steps::new(out, names.iter().map(String::as_str));
    // What there is must not change between choosing and going there.
    deploy::lock(sessions, wait, &steps, out).await?;
    let mut commits = BTreeSet::new();
    for session in sessions.iter_mut() {
        let found = deployments(session, false, out).await?;
        let chosen = choose(&found.deployments, whither.commit.as_deref());
        commits.insert(chosen.map_err(|error| {
            let hint = "tqctl rollback --list shows what there is".to_owned();
            let error = error.context(session.place().name().to_owned());
            Failure::new(Exit::RollbackFailed, error).with_hint(Some(hint))
        })?);
    }
    let (Some(commit), 1) = (commits.first().cloned(), commits.len()) else {
        let several: Vec<_> = commits.iter().map(CommitId::short).collect();
        let error = anyhow!("the hosts would go back to different ones: {}", several.join(", "));
        return Err(Failure::new(Exit::RollbackFailed, error)
            .with_hint(Some("name the commit to go back to".to_owned())));
    };
    let all =
        switch::switch(sessions, &commit, (whither.order, &switch::How::default()), &steps).await;
    out.document(&Document {
        schema: SCHEMA,
        target: whither.target.as_deref(),
        commit: &commit,
        hosts: all.iter().map(|it| (it.host.as_str(), it.outcome())).collect(),
        duration_seconds: started.elapsed().as_secs_f64(),
    })?;
    if switch::explain(&all, out) != Exit::Ok {
        return Ok(Exit::RollbackFailed);
    }
    let mark = out.painter().paint(Role::Good, "Rolled back");
    let took = started.elapsed().as_secs_f64();
    out.line(format_args!("{mark} to {} in {took:.1} s.", commit.short()))?;
    Ok(Exit::Ok)
}

/// What scripts get.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(in crate::ctl) struct Document<'a> {
    schema: u32,
    target: Option<&'a str>,
    commit: &'a CommitId,
    hosts: BTreeMap<&'a str, Option<Outcome>>,
    duration_seconds: f64,
}

/// What scripts get of `--list`.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(in crate::ctl) struct ListDocument {
    schema: u32,
    /// Deployments by host, newest first.
    hosts: BTreeMap<String, Vec<Listed>>,
}

/// The deployment of that name, or the last that served well before the current one.
fn choose(all: &[Listed], name: Option<&str>) -> anyhow::Result<CommitId> {
    let there = all.iter().filter(|entry| entry.state != ListedState::Removed);
    if let Some(name) = name {
        if !is_digits(name) {
            return Err(anyhow!("{name:?} is no commit: {DIGITS} to 40 hexadecimal digits"));
        }
        let found: Vec<_> = there.filter(|it| it.commit.as_str().starts_with(name)).collect();
        return match found[..] {
            [one] => Ok(one.commit.clone()),
            [] => Err(anyhow!("there is no deployment {name}")),
            _ => Err(anyhow!("{name} is the beginning of several commits")),
        };
    }
    let before = there.filter(|it| it.deployed_at.is_some() && it.damage.is_none());
    let good = |entry: &&Listed| entry.state == ListedState::Good;
    // Where tqserver does not say how they served, the newest that was current once.
    let unknown = |entry: &&Listed| entry.state == ListedState::Unknown;
    let found = before.clone().find(good).or_else(|| before.clone().find(unknown));
    found.map(|entry| entry.commit.clone()).ok_or_else(|| anyhow!("nothing to go back to"))
}

async fn list(sessions: &mut [Session], out: &Output) -> Result<Exit, Failure> {
    let mut documents = BTreeMap::new();
    let several = sessions.len() > 1;
    for session in sessions {
        let found = deployments(session, true, out).await?;
        let name = session.place().name().to_owned();
        if several {
            out.line(out.painter().paint(Role::Strong, &name))?;
        }
        out.line(table(&found.deployments, out.painter()))?;
        documents.insert(name, found.deployments);
    }
    out.document(&ListDocument { schema: SCHEMA, hosts: documents })?;
    Ok(Exit::Ok)
}

const HEADINGS: [&str; 6] = ["COMMIT", "TAG", "STATE", "DEPLOYED", "BY", "FILES"];

fn table(all: &[Listed], paint: Painter) -> String {
    let mut rows = vec![(Role::Strong, HEADINGS.map(str::to_owned))];
    for entry in all {
        let (role, state) = match entry.state {
            ListedState::Current => (Role::Good, "current"),
            ListedState::Wanted => (Role::Warning, "wanted, does not serve"),
            ListedState::Good => (Role::Plain, "served well"),
            ListedState::Failed => (Role::Bad, "failed"),
            ListedState::Unknown => (Role::Plain, "not known to have served"),
            ListedState::Removed => (Role::Dim, "removed"),
        };
        let files = match (entry.state, &entry.damage) {
            (ListedState::Removed, _) => "-".to_owned(),
            (_, None) => "intact".to_owned(),
            (_, Some(damage)) => printable(damage.lines().next().unwrap_or_default()).to_string(),
        };
        let role = if entry.damage.is_some() { Role::Bad } else { role };
        rows.push((
            role,
            [
                entry.commit.short().to_owned(),
                dash(entry.tag.as_deref()),
                state.to_owned(),
                date(entry.deployed_at),
                by(entry.deployed_by.as_ref()),
                files,
            ],
        ));
    }
    layout(&rows, paint)
}

/// Columns of equal width, a role a line.
pub(super) fn layout<const N: usize>(rows: &[(Role, [String; N])], paint: Painter) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    for (_, row) in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let lines = table.lines().zip(rows);
    let painted = lines.map(|(line, (role, _))| paint.paint(*role, line.trim_end()).to_string());
    painted.collect::<Vec<_>>().join("\n")
}

/// A time to the second, in UTC.
pub(super) fn date(time: Option<Timestamp>) -> String {
    time.map_or("-".to_owned(), |time| time.strftime("%Y-%m-%d %H:%M:%SZ").to_string())
}

pub(super) fn dash(text: Option<&str>) -> String {
    text.map_or("-".to_owned(), |text| printable(text).to_string())
}

/// `ada@laptop as deploy from 192.0.2.7`
pub(super) fn by(by: Option<&DeployedBy>) -> String {
    let Some(by) = by else { return "-".to_owned() };
    let mut text = match &by.client {
        Some(client) => format!("{client} as {}", by.user),
        None => by.user.clone(),
    };
    if let Some(from) = &by.from {
        text = format!("{text} from {from}");
    }
    printable(&text).to_string()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::store::testing::{at, commit};

    fn listed(digit: char, state: ListedState, second: Option<i64>) -> Listed {
        Listed {
            commit: commit(digit),
            tag: None,
            deployed_at: second.map(at),
            deployed_by: None,
            state,
            damage: None,
        }
    }

    fn all() -> Vec<Listed> {
        vec![
            listed('a', ListedState::Current, Some(9)),
            listed('b', ListedState::Failed, Some(8)),
            listed('c', ListedState::Removed, Some(7)),
            listed('d', ListedState::Unknown, Some(6)),
            listed('e', ListedState::Good, Some(5)),
            listed('f', ListedState::Unknown, None),
        ]
    }

    #[rstest]
    #[case(None, Some('e'))]
    #[case(Some("bbbb"), Some('b'))]
    #[case(Some("cccc"), None)]
    #[case(Some("9999"), None)]
    #[case(Some("ffffff"), Some('f'))]
    #[case(Some("v1"), None)]
    fn back_is_to_the_last_that_served_well_or_to_what_is_named(
        #[case] name: Option<&str>,
        #[case] expected: Option<char>,
    ) {
        assert_eq!(choose(&all(), name).ok(), expected.map(commit));
    }

    #[test]
    fn what_is_damaged_is_not_gone_back_to_unasked() {
        let mut all = all();
        all[4].damage = Some("a byte".to_owned());
        assert_eq!(choose(&all, None).unwrap(), commit('d'));
        all.retain(|entry| matches!(entry.state, ListedState::Current | ListedState::Failed));
        assert!(choose(&all, None).unwrap_err().to_string().contains("nothing to go back to"));
    }
}
