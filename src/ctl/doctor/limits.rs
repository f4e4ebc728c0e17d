//! The kernel's limits: watches of the project's folders, and open files.

use super::ask;
use super::check::{Check, quoted};
use super::processes::Processes;
use super::user::User;
use super::watched::Watched;
use rustix::process::{Resource, getrlimit};

/// Where our settings of the kernel are kept, in the order of sysctl.d(5).
pub(super) const SYSCTL_FILE: &str = "/etc/sysctl.d/60-tqserver.conf";

/// What development needs of inotify instances: tqserver one, who watches sources one.
const INSTANCES: u64 = 2;

/// Watches that big projects are served with; a kernel with little memory allows 8192.
const USUAL_WATCHES: u64 = 524_288;

/// The fewest open files that a session serves with: connections of clients and to workers.
const OPEN_FILES: u64 = 1024;

/// What is known of limits and of what they are for.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) user: User,
    /// The project's folders to be watched; `None` without a project.
    pub(super) watched: Option<Watched>,
    /// fs.inotify.max_user_watches; `None` where the kernel does not tell.
    pub(super) max_watches: Option<u64>,
    /// How many of them this user has.
    pub(super) watches: u64,
    /// fs.inotify.max_user_instances
    pub(super) max_instances: Option<u64>,
    /// How many of them this user has.
    pub(super) instances: u64,
    /// RLIMIT_NOFILE, soft and hard; `None` is no limit.
    pub(super) open_files: (Option<u64>, Option<u64>),
}

impl Facts {
    /// Reads them.
    pub(super) fn gather(user: &User, watched: Option<Watched>, processes: &Processes) -> Self {
        let inotify = |name: &str| ask::file(format!("/proc/sys/fs/inotify/{name}"))?.parse().ok();
        let open_files = getrlimit(Resource::Nofile);
        Self {
            user: user.clone(),
            watched,
            max_watches: inotify("max_user_watches"),
            watches: processes.inotify_watches,
            max_instances: inotify("max_user_instances"),
            instances: processes.inotify_instances,
            open_files: (open_files.current, open_files.maximum),
        }
    }
}

/// How the limits stand.
pub(super) fn judge(facts: &Facts) -> Vec<Check> {
    let mut checks = Vec::new();
    if let (Some(max), Some(watched)) = (facts.max_watches, &facts.watched) {
        checks.push(watches(max, facts.watches, watched));
    }
    checks.extend(facts.max_instances.map(|max| instances(max, facts.instances)));
    checks.push(open_files(facts));
    checks
}

fn watches(max: u64, in_use: u64, watched: &Watched) -> Check {
    let name = "inotify watches";
    let needed = watched.folders;
    let about = if watched.whole { "" } else { "at least " };
    let found = format!("{about}{needed} folders to watch, {in_use} of {max} in use");
    let enough = (2 * (needed + in_use)).next_power_of_two().max(USUAL_WATCHES);
    let mend = |check| permanently(check, "fs.inotify.max_user_watches", enough);
    if in_use + needed > max {
        mend(Check::failed(name, found))
    } else if in_use + 2 * needed > max || !watched.whole {
        mend(Check::warning(name, found))
    } else {
        Check::ok(name, found)
    }
}

fn instances(max: u64, in_use: u64) -> Check {
    let name = "inotify instances";
    let found = format!("{in_use} of {max} in use");
    let mend = |check| permanently(check, "fs.inotify.max_user_instances", (2 * max).max(512));
    if in_use + INSTANCES > max {
        mend(Check::failed(name, found))
    } else if in_use + 4 * INSTANCES > max {
        mend(Check::warning(name, found))
    } else {
        Check::ok(name, found)
    }
}

/// Sets a variable of the kernel, now and at the next boot.
pub(super) fn permanently(check: Check, variable: &str, value: impl std::fmt::Display) -> Check {
    check
        .mend(format!("sudo sysctl {variable}={value}"))
        .mend(format!("echo '{variable}={value}' | sudo tee --append {SYSCTL_FILE}"))
}

fn open_files(facts: &Facts) -> Check {
    let name = "open files";
    let in_words = |limit: Option<u64>| limit.map_or("unlimited".to_owned(), |it| it.to_string());
    let (soft, hard) = facts.open_files;
    let found = format!("{} (at most {})", in_words(soft), in_words(hard));
    if soft.is_none_or(|soft| soft >= OPEN_FILES) {
        return Check::ok(name, found);
    }
    let check = Check::failed(name, format!("{found}; {OPEN_FILES} are the least to serve with"));
    if hard.is_none_or(|hard| hard >= OPEN_FILES) {
        return check.mend(format!("ulimit -S -n {OPEN_FILES}"));
    }
    let user = quoted(&facts.user.name);
    check.mend(format!(
        "echo '{user} - nofile {USUAL_WATCHES}' | sudo tee --append \
         /etc/security/limits.d/60-tqserver.conf   # then log in again"
    ))
}

#[cfg(test)]
mod tests {
    use super::super::check::Verdict;
    use super::*;
    use rstest::rstest;

    fn project(folders: u64) -> Watched {
        Watched { folders, whole: true }
    }

    #[rstest]
    #[case::plenty(8192, 100, project(50), Verdict::Ok)]
    #[case::just_twice(8192, 192, project(4000), Verdict::Ok)]
    #[case::half(8192, 193, project(4000), Verdict::Warning)]
    #[case::just(8192, 192, project(8000), Verdict::Warning)]
    #[case::too_many(8192, 193, project(8000), Verdict::Failed)]
    #[case::unknown(8192, 0, Watched { folders: 1, whole: false }, Verdict::Warning)]
    fn a_project_has_to_fit_beside_what_is_watched(
        #[case] max: u64,
        #[case] in_use: u64,
        #[case] watched: Watched,
        #[case] expected: Verdict,
    ) {
        assert_eq!(watches(max, in_use, &watched).verdict, expected);
    }

    #[test]
    fn the_limit_that_is_told_is_enough_for_the_project() {
        let folders = 3_000_000;
        let check = watches(8192, 5000, &project(folders));
        let line = check.mend[0].strip_prefix("sudo sysctl fs.inotify.max_user_watches=").unwrap();
        assert_eq!(watches(line.parse().unwrap(), 5000, &project(folders)).verdict, Verdict::Ok);
        assert!(check.mend[1].contains(line) && check.mend[1].ends_with(SYSCTL_FILE), "{check:?}");
    }

    #[test]
    fn this_kernels_own_limit_decides() {
        let user = User::of_process();
        let processes = Processes::look(user.uid);
        let judged = |folders| {
            let facts = Facts::gather(&user, Some(project(folders)), &processes);
            (judge(&facts)[0].clone(), facts.max_watches.unwrap())
        };
        let (check, max) = judged(1);
        assert_eq!((check.name.as_str(), check.verdict), ("inotify watches", Verdict::Ok));
        let (check, _) = judged(max + 1);
        assert_eq!(check.verdict, Verdict::Failed);
        assert!(check.found.starts_with(&format!("{} folders to watch", max + 1)), "{check:?}");
    }

    #[rstest]
    #[case(128, 20, Verdict::Ok)]
    #[case(128, 121, Verdict::Warning)]
    #[case(128, 126, Verdict::Warning)]
    #[case(128, 127, Verdict::Failed)]
    fn instances_have_to_be_left(#[case] max: u64, #[case] used: u64, #[case] expected: Verdict) {
        assert_eq!(instances(max, used).verdict, expected);
    }

    #[rstest]
    #[case::usual(Some(1024), Some(524_288), Verdict::Ok, None)]
    #[case::unlimited(None, None, Verdict::Ok, None)]
    #[case::soft(Some(256), Some(4096), Verdict::Failed, Some("ulimit -S -n 1024"))]
    #[case::hard(Some(256), Some(256), Verdict::Failed, Some("echo 'ada - nofile"))]
    fn open_files_are_raised_where_that_is_allowed(
        #[case] soft: Option<u64>,
        #[case] hard: Option<u64>,
        #[case] verdict: Verdict,
        #[case] mend: Option<&str>,
    ) {
        let check = open_files(&Facts {
            user: User { uid: 1000, name: "ada".into() },
            watched: None,
            max_watches: None,
            watches: 0,
            max_instances: None,
            instances: 0,
            open_files: (soft, hard),
        });
        assert_eq!(check.verdict, verdict);
        assert_eq!(check.mend.is_empty(), mend.is_none());
        assert!(check.mend.iter().all(|line| line.starts_with(mend.unwrap_or(""))), "{check:?}");
    }
}
