//! The wall clock jumps, as it does when somebody sets it or a machine wakes up.

use std::fs;
use std::process::Command;

use jiff::Timestamp;

use crate::project::worker;
use crate::rollout::configured;
use crate::session::{Answer, PATIENCE};
use crate::support::wait::await_until;

/// By how many hours the clock that answered differs from ours.
fn hours_ahead(answer: &Answer) -> i64 {
    let date = answer.head.lines().find_map(|line| line.strip_prefix("date: ")).unwrap();
    let date = jiff::fmt::rfc2822::parse(date).unwrap().timestamp();
    (date.as_second() - Timestamp::now().as_second() + 1800).div_euclid(3600)
}

#[test]
fn a_clock_that_jumps_by_a_day_either_way_disturbs_nothing() {
    let install = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/bed/install");
    assert!(Command::new(install).arg("faketime").status().unwrap().success());
    // What a program loads that is to read another wall clock than the kernel's.
    let faketime =
        format!("/usr/lib/{}-linux-gnu/faketime/libfaketime.so.1", std::env::consts::ARCH);
    let (project, session) = configured("", "");
    let clock = project.path().join("clock");
    let jump = |to: &str| fs::write(&clock, to).unwrap();
    jump("+0d");
    session.edit_unit(
        "tqserver.service",
        &format!(
            "[Service]\nEnvironment=LD_PRELOAD={faketime} FAKETIME_TIMESTAMP_FILE={} \
             FAKETIME_NO_CACHE=1 FAKETIME_DONT_FAKE_MONOTONIC=1 DONT_FAKE_MONOTONIC=1\n",
            clock.display()
        ),
    );
    project.deploy('1', &[worker("index", "well"), worker("api", "well")]);
    assert_eq!(hours_ahead(&session.get("/")), 0);
    let crash =
        "POST /crash HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    for (digit, mode, to, hours) in
        [('2', "better", "+1d", 24), ('3', "well", "-1d", -24), ('4', "better", "+0d", 0)]
    {
        let before = session.workers();
        jump(to);
        // Dates are made once a second.
        await_until("the other day", PATIENCE, || hours_ahead(&session.get("/")) == hours);
        assert_eq!(session.workers(), before, "nobody was replaced for that");
        // A start, a probe, a drain and a stop all have limits of their own.
        project.deploy(digit, &[worker("index", mode), worker("api", "well")]);
        await_until("the deployment", PATIENCE, || {
            session.get("/").body.starts_with(&format!("index {mode} "))
        });
        session.await_workers(2);
        // And so does the wait for a successor, in which requests are held.
        assert_eq!(session.send(crash).status, 502);
        assert_eq!(session.get("/").status, 200);
    }
    assert_eq!(session.status()["state"], "serving", "{}", session.log());
}
