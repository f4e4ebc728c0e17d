//! What people read in the journal; only a whole system has one.

mod system_bed {
    use crate::project::{Project, worker};
    use crate::session::{PATIENCE, Session};
    use crate::support::bed::Kind;
    use crate::support::wait::await_until;

    #[test]
    fn the_journal_has_the_workers_lines_and_the_error_its_last_ones() {
        let project = Project::new("", "");
        let session = Session::new(Kind::System, project.path(), |ports| {
            project.configure("", ports);
        });
        project.deploy('1', &[worker("index", "well"), worker("api", "well")]);
        assert_eq!(session.get("/").status, 200, "{}", session.log());

        let journal = |args: &[&str]| {
            let all = [&["journalctl", "--no-pager", "--output=cat"], args].concat();
            session.bed.run(&all)
        };
        let said = "worker index in mode well";
        await_until("the worker's line", PATIENCE, || {
            journal(&["-u", "tq-worker@index-*"]).contains(said)
        });
        assert!(!journal(&["-u", "tq-worker@api-*"]).contains(said));
        assert!(journal(&["TQ_WORKER=index", "TQ_GENERATION=1"]).contains(said), "LogExtraFields");

        let logs = |args: &[&str]| {
            let all = [&["logs", "--no-pager"], args].concat();
            String::from_utf8(session.tqctl(&all).stdout).unwrap()
        };
        let of_index = logs(&["index"]);
        assert!(of_index.contains(said), "{of_index}");
        assert!(!of_index.contains("worker api in mode well"), "{of_index}");
        let all = logs(&[]);
        assert!(all.contains(said) && all.contains("worker api in mode well"), "{all}");
        assert!(logs(&["index", "--commit", "1111"]).contains(said));
        assert!(logs(&["index", "--gen", "g1", "-g", "in mode", "-n", "1"]).contains(said));
        assert!(!logs(&["index", "--gen", "2"]).contains(said));

        project.deploy('2', &[worker("index", "exit"), worker("api", "well")]);
        let output = session.tqctl(&["reload", "--wait"]);
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.contains(" exited 3 before it was ready"), "{said}");
        assert!(said.contains("| DATABASE_URL is not set"), "{said}");
        assert_eq!(session.get("/").body, "index well g1 /\n");
    }
}
