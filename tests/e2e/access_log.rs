//! The access log of a whole session.

use std::fs;

use serde_json::Value;

use crate::project::{Project, worker};
use crate::session::{PATIENCE, Session};
use crate::support::wait::await_until;

const TO_FILE: &str = "  access_log: {format: json, file: access.log}\n";

#[test]
fn lines_go_on_in_a_new_file_after_a_rotation_and_the_last_one_is_written_at_the_end() {
    let project = Project::new("", "");
    let session = Session::user(project.path(), |ports| project.configure(TO_FILE, ports));
    project.deploy('1', &[worker("index", "well")]);
    let file = project.path().join("access.log");
    let lines = |name: &str| -> Vec<Value> {
        let text = fs::read_to_string(project.path().join(name)).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let paths = |name: &str| -> Vec<String> {
        lines(name).iter().map(|line| line["path"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(session.get("/one").status, 200, "{}", session.log());
    await_until("a line", PATIENCE, || paths("access.log") == ["/one"]);
    let line = &lines("access.log")[0];
    assert_eq!((&line["worker"], &line["generation"]), (&"index".into(), &1.into()));

    fs::rename(&file, project.path().join("access.log.1")).unwrap();
    session.signal("HUP");
    await_until("the reload", PATIENCE, || {
        session.get("/two");
        file.exists()
    });
    assert_eq!(paths("access.log.1")[0], "/one");

    // Off and on again by a reload, without a restart.
    project.configure("", &session.range_yaml());
    session.systemctl(&["reload", "tqserver.service"]);
    session.get("/unseen");
    project.configure(TO_FILE, &session.range_yaml());
    session.systemctl(&["reload", "tqserver.service"]);
    session.get("/last");
    session.systemctl(&["stop", "tqserver.service"]);
    let all = paths("access.log");
    assert_eq!(all.last().map(String::as_str), Some("/last"), "{all:?}");
    assert!(!all.contains(&"/unseen".to_owned()), "{all:?}");
}

mod system_bed {
    use crate::project::{Project, worker};
    use crate::session::{PATIENCE, Session};
    use crate::support::bed::Kind;
    use crate::support::wait::await_until;

    #[test]
    fn the_journal_finds_a_request_by_its_name_and_its_worker() {
        let project = Project::new("", "");
        let session = Session::new(Kind::System, project.path(), |ports| {
            let server = "  access_log: {format: combined}\n  trusted_proxies: [127.0.0.0/8]\n";
            project.configure(server, ports);
        });
        project.deploy('1', &[worker("index", "well")]);
        let request = "GET /x HTTP/1.1\r\nHost: t\r\nX-Request-Id: from-outside-7\r\n\
                       Connection: close\r\n\r\n";
        assert_eq!(session.send(request).status, 200, "{}", session.log());
        let of = |field: &str| {
            let command = ["journalctl", "--no-pager", "--output=cat", field, "TQ_STATUS=200"];
            session.bed.run(&command)
        };
        await_until("the line", PATIENCE, || {
            of("TQ_REQUEST=from-outside-7").contains("\"GET /x HTTP/1.1\" 200 ")
        });
        let line = of("TQ_WORKER=index");
        assert!(line.contains(" from-outside-7 index 1 "), "{line}");
    }
}
