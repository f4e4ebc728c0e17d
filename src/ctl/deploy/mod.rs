//! `tqctl deploy`: brings a deployment to the hosts of a target and has them switch to it.
//!
//! What is decided is decided on the host (`ctl/host`), whose session holds the lock; here it is
//! planned, brought, asked for and shown. Killed at any moment, this program leaves every host with
//! the old or the new deployment.

mod archive;
mod canary;
mod hooks;
mod local;
mod place;
mod plan;
mod rsync;
mod session;
mod sessions;
mod steps;
pub(super) mod switch;
mod upload;

use std::path::Path;
use std::time::{Duration, Instant};

use clap::Args;
use futures_util::future::join_all;
use serde::Serialize;

use super::build;
use super::completion;
use super::exit::{Exit, Failure};
use super::host::protocol::{Outcome, Reply, Request};
use super::output::{Output, Role};
use crate::build::Project;
use crate::canary::CanaryPlan;
use crate::config::settings::{Mode, Settings, Target, TargetName};
use crate::ids::CommitId;
use canary::CanaryOption;
use local::Local;
pub(super) use place::Place;
use plan::Plan;
pub(super) use plan::Workers;
pub(super) use session::Session;
pub(super) use sessions::{begin, end, interruptible, lock};
pub(super) use steps::Steps;
use switch::{How, Switched};
use upload::Uploaded;

/// The JSON document's format.
const SCHEMA: u32 = 1;

/// `tqctl deploy`
#[derive(Debug, Args)]
pub struct DeployArgs {
    /// A target of config/deployment.yaml
    #[arg(add = completion::targets())]
    pub target: String,
    /// A deployment that was built before, instead of building what is checked out
    #[arg(add = completion::commits())]
    pub commit: Option<String>,
    /// Show what would be done, and write nothing here or there
    #[arg(long)]
    pub dry_run: bool,
    /// How long to watch the new deployment, instead of the target's soak_seconds; 0: not at all
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub soak: Option<Duration>,
    /// Have it serve by degrees: 5% of the requests at first, or those of testers (header:NAME=VALUE,
    /// cookie:NAME=VALUE), or both; testers alone until `tqctl rollout promote`
    #[arg(long, value_name = "SHARE|TESTERS")]
    pub canary: Vec<CanaryOption>,
    /// How long each share lasts, 60s where that is not said; after 5%, 25% and 50% it serves whole
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub canary_step: Option<Duration>,
    /// Wait for a deployment that is under way, instead of failing
    #[arg(long)]
    pub lock_wait: bool,
}

/// A time such as `10s`, `2m` or `500ms`; seconds where there is no unit.
fn time(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().map_err(|_| "a number and a unit, such as 10s".to_owned())?;
    let time = match &text[digits.len()..] {
        "ms" => Duration::from_millis(number),
        "" | "s" => Duration::from_secs(number),
        "m" | "min" => Duration::from_secs(number.saturating_mul(60)),
        unit => return Err(format!("{unit:?} is none of the units ms, s and m")),
    };
    match time <= Duration::from_secs(3600) {
        true => Ok(time),
        false => Err("at most an hour".to_owned()),
    }
}

/// Deploys. What did not come to serve is [`Exit::NotSwitched`], and a lock of somebody else
/// [`Exit::Locked`].
pub fn run(args: &DeployArgs, root: &Path, out: &Output) -> Result<Exit, Failure> {
    let started = Instant::now();
    let canary = canary::plan(&args.canary, args.canary_step)
        .map_err(|error| Failure::new(Exit::Usage, anyhow::anyhow!(error)))?;
    let (project, settings) = build::project(root, Mode::Prod, out)?;
    let (name, target) = target(&settings, &args.target)?;
    let deploying = Deploying {
        args,
        project: &project,
        target,
        name: name.as_str(),
        soak: args.soak.unwrap_or(target.soak),
        canary,
        started,
        out,
    };
    if args.dry_run {
        let (commit, local) = match &args.commit {
            Some(name) => {
                let local = Local::named(&project, name)?;
                (local.deployment.git_commit.clone(), Some(local))
            }
            None => Local::of_head(&project)?,
        };
        return super::block_on(interruptible(deploying.plan_only(&commit, local.as_ref()), out));
    }
    let local = match &args.commit {
        Some(name) => Local::named(&project, name)?,
        None => Local::built(&project, out)?,
    };
    super::block_on(deploying.deploy(&local))
}

/// The target of that name; an unknown one is an error of usage.
pub(super) fn target<'s>(
    settings: &'s Settings,
    name: &str,
) -> Result<(&'s TargetName, &'s Target), Failure> {
    if let Some(found) = settings.targets.iter().find(|(known, _)| known.as_str() == name) {
        return Ok(found);
    }
    let known: Vec<_> = settings.targets.keys().map(TargetName::as_str).collect();
    let hint = match known.is_empty() {
        true => {
            "write one into config/deployment.yaml: targets: {production: {hosts: [web1]}}".into()
        }
        false => format!("there are: {}", known.join(", ")),
    };
    let error = anyhow::anyhow!("there is no target {name:?} in config/deployment.yaml");
    Err(Failure::new(Exit::Usage, error).with_hint(Some(hint)))
}

struct Deploying<'a> {
    args: &'a DeployArgs,
    project: &'a Project,
    target: &'a Target,
    name: &'a str,
    soak: Duration,
    canary: Option<CanaryPlan>,
    started: Instant,
    out: &'a Output,
}

/// What scripts get.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(in crate::ctl) struct Document<'a> {
    schema: u32,
    target: &'a str,
    commit: &'a CommitId,
    dry_run: bool,
    plan: &'a [Plan],
    hosts: Vec<HostDocument<'a>>,
    duration_seconds: f64,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct HostDocument<'a> {
    host: &'a str,
    outcome: Option<Outcome>,
    went_back: bool,
    reason: Option<String>,
    /// What else is worth knowing.
    notes: &'a [String],
    #[serde(flatten)]
    uploaded: Uploaded,
}

impl Deploying<'_> {
    async fn plan_only(&self, commit: &CommitId, local: Option<&Local>) -> Result<Exit, Failure> {
        let mut sessions = begin(&Place::all_of(self.target), "deploy", self.out).await?;
        let plans = self.plans(&mut sessions, commit, local).await;
        end(sessions).await;
        self.document(commit, &plans?, &[], &[])?;
        self.out.line("Nothing was written (--dry-run).")?;
        Ok(Exit::Ok)
    }

    async fn deploy(&self, local: &Local) -> Result<Exit, Failure> {
        let commit = &local.deployment.git_commit;
        if let Some(words) = &self.target.before {
            let hook = async {
                hooks::run(words, self.project, (self.name, commit, None)).await?;
                Ok(Exit::Ok)
            };
            match interruptible(hook, self.out).await? {
                Exit::Ok => {}
                interrupted => return Ok(interrupted),
            }
        }
        let done = interruptible(self.to_hosts(local), self.out).await;
        let Some(words) = &self.target.after else { return done };
        let outcome = match &done {
            Ok(Exit::Ok) => "deployed",
            Ok(Exit::Interrupted) => "interrupted",
            Ok(_) | Err(_) => "failed",
        };
        let hook = async {
            let about = (self.name, commit, Some(outcome));
            if let Err(error) = hooks::run(words, self.project, about).await {
                self.out.warning(error);
            }
            done
        };
        interruptible(hook, self.out).await
    }

    async fn to_hosts(&self, local: &Local) -> Result<Exit, Failure> {
        let mut sessions = begin(&Place::all_of(self.target), "deploy", self.out).await?;
        let done = self.in_sessions(local, &mut sessions).await;
        end(sessions).await;
        done
    }

    async fn in_sessions(&self, local: &Local, all: &mut [Session]) -> Result<Exit, Failure> {
        let (out, commit, sessions) = (self.out, &local.deployment.git_commit, all);
        let plans = self.plans(sessions, commit, Some(local)).await?;
        let names: Vec<_> = sessions.iter().map(|it| it.place().name().to_owned()).collect();
        let steps = Steps::new(out, names.iter().map(String::as_str));
        lock(sessions, self.args.lock_wait, &steps, out).await?;
        let uploads = sessions.iter_mut().map(|session| upload::upload(session, local, &steps));
        // All of them, so that one host's failure does not leave another's half done.
        let uploaded: Vec<_> = join_all(uploads).await.into_iter().collect::<Result<_, _>>()?;
        let how = How { soak: self.soak, canary: self.canary.clone() };
        let how = (self.target.order, &how);
        let switched = switch::switch(sessions, commit, how, &steps).await;
        self.document(commit, &plans, &switched, &uploaded)?;
        let exit = switch::explain(&switched, out);
        if exit == Exit::Ok {
            let took = self.started.elapsed().as_secs_f64();
            let is_canary = switched.iter().any(|it| it.outcome() == Some(Outcome::Canary));
            let (done, next) = match is_canary {
                true => ("Brought", "Serves testers: tqctl rollout promote, or abort; undo"),
                false => ("Deployed", "Undo"),
            };
            let mark = out.painter().paint(Role::Good, done);
            out.line(format_args!(
                "{mark} {} in {took:.1} s.   {next}: tqctl rollback {}",
                commit.short(),
                self.name
            ))?;
            let watch =
                format!("{}journalctl --follow --unit tqserver", sessions[0].place().prefix());
            out.message(format_args!("Watch: {watch}"));
        }
        Ok(exit)
    }

    async fn plans(
        &self,
        sessions: &mut [Session],
        commit: &CommitId,
        local: Option<&Local>,
    ) -> Result<Vec<Plan>, Failure> {
        let mut plans = Vec::new();
        for session in sessions {
            let upload_bytes = match local {
                None => None,
                Some(local) => {
                    let request = Request::Missing { record: local.record.clone() };
                    let Reply::Missing { files } = session.ask(&request).await? else {
                        return Err(session.out_of_turn());
                    };
                    Some(local.size_of(&files)?)
                }
            };
            let current = session.current();
            let from = current.map(|it| it.git_commit.clone());
            let plan = Plan {
                host: session.place().name().to_owned(),
                commits: plan::commits(self.project, from.as_ref(), commit)?,
                from,
                to: commit.clone(),
                workers: local.map(|local| Workers::between(current, &local.deployment)),
                upload_bytes,
            };
            self.out.line(plan.text(self.name, self.out.painter()))?;
            plans.push(plan);
        }
        Ok(plans)
    }

    fn document(
        &self,
        commit: &CommitId,
        plan: &[Plan],
        switched: &[Switched],
        uploaded: &[Uploaded],
    ) -> Result<(), Failure> {
        let hosts = switched.iter().zip(uploaded).map(|(switched, uploaded)| HostDocument {
            host: &switched.host,
            outcome: switched.outcome(),
            went_back: matches!(&switched.put_back, Some(Ok(back)) if switch::is_well(back.outcome)),
            reason: match &switched.result {
                Some(Ok(rolled_out)) => rolled_out.reason.clone(),
                Some(Err(failure)) => Some(failure.to_string()),
                None => Some("left alone, as another host did not switch".to_owned()),
            },
            notes: match &switched.result {
                Some(Ok(rolled_out)) => &rolled_out.notes,
                _ => &[],
            },
            uploaded: *uploaded,
        });
        self.out.document(&Document {
            schema: SCHEMA,
            target: self.name,
            commit,
            dry_run: self.args.dry_run,
            plan,
            hosts: hosts.collect(),
            duration_seconds: self.started.elapsed().as_secs_f64(),
        })?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("10s", Some(10_000))]
    #[case("10", Some(10_000))]
    #[case("500ms", Some(500))]
    #[case("2m", Some(120_000))]
    #[case("0", Some(0))]
    #[case("2h", None)]
    #[case("s", None)]
    #[case("61m", None)]
    #[case("-1s", None)]
    fn times_have_a_unit(#[case] text: &str, #[case] expected: Option<u64>) {
        assert_eq!(time(text).ok(), expected.map(Duration::from_millis));
    }
}
