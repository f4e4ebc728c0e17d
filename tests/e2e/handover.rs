//! A new program is put in the place of the running one, and a reload hands over to it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rstest::rstest;

use crate::project::{Project, worker};
use crate::restart::Callers;
use crate::rollout::empty;
use crate::session::{Answer, PATIENCE, Session, get, send};
use crate::support::wait::await_until;

const SERVICE: &str = "tqserver.service";

/// A copy of tqserver that the service runs, and that can be replaced as dpkg does it.
pub struct Program {
    path: PathBuf,
}

impl Program {
    /// Has the service run a copy in `folder`, from its next start on.
    pub fn install(session: &Session, folder: &Path) -> Self {
        let program = Self { path: folder.join("tqserver") };
        program.replace();
        let path = program.path.display();
        let start = format!("ExecStart={path} --root {}", folder.display());
        session.edit_unit(SERVICE, &format!("[Service]\nExecStart=\n{start}\n"));
        program
    }

    /// Puts another tqserver in its place.
    pub fn replace(&self) {
        self.put(|new| {
            fs::copy(env!("CARGO_BIN_EXE_tqserver"), new).unwrap();
        });
    }

    /// Puts a shell script in its place.
    fn replace_by(&self, script: &str) {
        self.put(|new| fs::write(new, format!("#!/bin/sh\n{script}\n")).unwrap());
    }

    fn put(&self, write: impl FnOnce(&Path)) {
        let new = self.path.with_extension("new");
        write(&new);
        fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(new, &self.path).unwrap();
    }
}

/// A deployment that serves, of a tqserver that can be replaced.
fn serving() -> (Project, Session, Program) {
    let (project, session) = empty();
    let program = Program::install(&session, project.path());
    project.deploy('1', &[worker("index", "well"), worker("api", "well")]);
    assert_eq!(session.get("/").status, 200, "{}", session.log());
    (project, session, program)
}

/// A request that takes so many seconds, once a worker has it.
struct Slow(JoinHandle<Result<Answer, String>>);

impl Slow {
    fn begin(session: &Session, seconds: u32) -> Self {
        let (addr, before) = (session.addr(), in_flight(session));
        let request = thread::spawn(move || send(addr, &get(&format!("/slow/{seconds}"))));
        await_until("the request is in flight", PATIENCE, || in_flight(session) > before);
        Self(request)
    }

    #[track_caller]
    fn answered_by(self, generation: &str) {
        let answer = self.0.join().unwrap().unwrap();
        let expected = format!("index well {generation} /slow/");
        assert!(answer.status == 200 && answer.body.starts_with(&expected), "{answer:?}");
    }
}

fn in_flight(session: &Session) -> u64 {
    session.status()["counters"]["in_flight"].as_u64().unwrap()
}

/// `systemctl reload`, beside us.
fn reload_in_background(session: &Session) -> Child {
    let mut command: Command = session.bed.command("systemctl");
    command.args(["--user", "reload", SERVICE]).spawn().unwrap()
}

/// The processes that are not the service, though they belong to it.
fn others(session: &Session) -> Vec<u32> {
    let main = session.main_pid(SERVICE);
    session.processes().into_iter().filter(|pid| *pid != main).collect()
}

fn kill(session: &Session, pid: u32) {
    let killed = session.bed.command("kill").arg("-KILL").arg(pid.to_string()).output();
    assert!(killed.is_ok());
}

#[test]
fn a_reload_hands_over_to_the_new_program() {
    let (_project, session, program) = serving();
    let (before, workers) = (session.main_pid(SERVICE), session.workers());
    session.systemctl(&["reload", SERVICE]);
    assert_eq!(session.main_pid(SERVICE), before, "the program is the same");

    let slow = Slow::begin(&session, 3);
    let callers = Callers::start(&session);
    program.replace();
    session.systemctl(&["reload", SERVICE]);
    let after = session.main_pid(SERVICE);
    assert_ne!(after, before);
    assert_eq!(others(&session), [before], "it finishes the request that it has");
    assert_eq!(in_flight(&session), 0, "the new one answers on the control socket");
    assert_eq!(session.get("/api").body, "api well g1 /\n");
    slow.answered_by("g1");
    await_until("the end of the old one", PATIENCE, || others(&session).is_empty());
    callers.finish();
    assert_eq!(session.workers(), workers, "same units, same processes");
    assert_eq!(session.main_pid(SERVICE), after);
    assert_eq!(session.systemctl(&["show", "--value", "-p", "NRestarts", SERVICE]).trim(), "0");
    session.systemctl(&["reload", SERVICE]);
    assert_eq!(session.main_pid(SERVICE), after, "once is enough");
}

#[test]
fn tqctl_waits_for_the_verdict_of_the_new_process() {
    let (project, session, program) = serving();
    let before = session.main_pid(SERVICE);
    program.replace();
    project.activate(&project.build('2', &[worker("index", "better"), worker("api", "well")]));
    let output = session.tqctl(&["--json", "reload", "--wait"]);
    let verdict: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(verdict["ok"], true, "{verdict:#}");
    assert_eq!(session.get("/").body, "index better g2 /\n");
    assert_ne!(session.main_pid(SERVICE), before);
}

#[test]
fn a_generation_is_not_stopped_under_the_requests_of_the_old_process() {
    let (project, session, program) = serving();
    let slow = Slow::begin(&session, 4);
    program.replace();
    project.deploy('2', &[worker("index", "better"), worker("api", "well")]);
    session.systemctl(&["reload", SERVICE]);
    assert_eq!(session.get("/").body, "index better g2 /\n");
    slow.answered_by("g1");
    session.await_workers(2);
}

#[test]
fn what_drained_before_the_handover_drains_on() {
    let (project, session, program) = serving();
    let slow = Slow::begin(&session, 4);
    project.deploy('2', &[worker("index", "better"), worker("api", "well")]);
    session.await_body("/", "index better g2 /\n");
    program.replace();
    session.systemctl(&["reload", SERVICE]);
    slow.answered_by("g1");
    session.await_workers(2);
}

#[rstest]
#[case::ends("echo no >&2; exit 3", "exit status: 3")]
#[case::cannot_take_over("exit 2", "is it a tqserver that can?")]
#[case::says_nothing("exit 0", "instead of taking over")]
fn a_program_that_does_not_take_over_changes_nothing(#[case] script: &str, #[case] reason: &str) {
    let (_project, session, program) = serving();
    let before = session.main_pid(SERVICE);
    let callers = Callers::start(&session);
    program.replace_by(script);
    session.failing_reload();
    let output = session.tqctl(&["reload", "--wait"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(7), "{text}");
    assert!(text.contains(reason), "{text}");
    assert_eq!((session.main_pid(SERVICE), others(&session)), (before, vec![]));
    program.replace();
    session.systemctl(&["reload", SERVICE]);
    assert_ne!(session.main_pid(SERVICE), before);
    callers.finish();
}

#[test]
fn what_the_new_program_says_is_the_verdict() {
    let (project, session, program) = serving();
    let before = session.main_pid(SERVICE);
    program.replace();
    fs::write(project.path().join("config/server.yaml"), "server:\n  port: 99999\n").unwrap();
    session.failing_reload();
    let output = session.tqctl(&["reload", "--wait"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.code() == Some(7) && text.contains("server.yaml:2:9"), "{text}");
    assert_eq!((session.main_pid(SERVICE), others(&session)), (before, vec![]));
    assert_eq!(session.get("/").body, "index well g1 /\n");
}

#[test]
fn killed_at_any_moment_of_a_handover_it_costs_no_connection() {
    let (project, session, program) = serving();
    let workers = session.workers();
    for moment in 0..12 {
        let before = session.main_pid(SERVICE);
        program.replace();
        let callers = Callers::start(&session);
        let mut reload = reload_in_background(&session);
        let new = || session.processes().into_iter().filter(|pid| *pid != before);
        await_until("another process", PATIENCE, || new().next().is_some());
        // No event says how far a handover is, and any point of it is meant.
        thread::sleep(Duration::from_millis(15 * moment));
        // One that is the service by now is systemd's to replace.
        new().for_each(|pid| kill(&session, pid));
        reload.wait().unwrap();
        // Where the new one was the service already, systemd cuts what the old one was finishing.
        let answered = || {
            send(session.addr(), &get("/")).is_ok_and(|answer| answer.body == "index well g1 /\n")
        };
        await_until("an answer", PATIENCE, answered);
        callers.finish();
        // The next one must not meet a predecessor that was cut by systemd.
        await_until("one process", PATIENCE, || session.processes().len() == 1);
    }
    assert_eq!(session.workers(), workers, "same units, same processes");
    project.deploy('2', &[worker("index", "better"), worker("api", "well")]);
    session.systemctl(&["reload", SERVICE]);
    assert_eq!(session.get("/").body, "index better g2 /\n");
}

#[test]
fn the_death_of_the_new_process_is_noticed_while_the_old_one_finishes() {
    let (_project, session, program) = serving();
    let workers = session.workers();
    let _cut = Slow::begin(&session, 20);
    let callers = Callers::start(&session);
    program.replace();
    session.systemctl(&["reload", SERVICE]);
    for _ in 0..2 {
        let killed = session.signal("KILL");
        session.await_other_than(killed);
        assert_eq!(session.get("/").body, "index well g1 /\n");
    }
    callers.finish();
    assert_eq!(session.workers(), workers);
}

#[rstest]
#[case::stop("stop")]
#[case::restart("restart")]
fn the_end_of_the_service_waits_for_the_requests_of_the_old_process(#[case] verb: &str) {
    let (_project, session, program) = serving();
    let slow = Slow::begin(&session, 4);
    program.replace();
    session.systemctl(&["reload", SERVICE]);
    session.systemctl(&[verb, SERVICE]);
    slow.answered_by("g1");
}

#[test]
fn a_second_handover_need_not_wait_for_the_first() {
    let (_project, session, program) = serving();
    let mut slow = Vec::new();
    for _ in 0..3 {
        slow.push(Slow::begin(&session, 6));
        program.replace();
        session.systemctl(&["reload", SERVICE]);
    }
    assert_eq!(others(&session).len(), 3, "all of them finish something");
    slow.into_iter().for_each(|slow| slow.answered_by("g1"));
    await_until("the end of the old ones", PATIENCE, || others(&session).is_empty());
}

#[test]
fn a_storm_of_reloads_is_one_handover() {
    let (_project, session, program) = serving();
    let before = session.main_pid(SERVICE);
    program.replace();
    let reloads: Vec<_> = (0..20)
        .map(|_| {
            let mut tqctl = session.control_command();
            tqctl.args(["reload", "--wait"]).spawn().unwrap()
        })
        .collect();
    session.systemctl(&["reload", SERVICE]);
    for mut reload in reloads {
        assert!(reload.wait().unwrap().success(), "{}", session.log());
    }
    await_until("the end of the old one", PATIENCE, || others(&session).is_empty());
    assert_ne!(session.main_pid(SERVICE), before);
}
