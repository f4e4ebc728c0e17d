//! Development: what is saved is built and served, and what serves goes on until then.

mod ahead;
pub mod developer;
mod editors;
mod load;
pub mod project;

mod user_bed {
    use std::fs;
    use std::process::Command;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use rstest::rstest;

    use super::developer::Developer;
    use super::editors::{self, Save};
    use super::project::{Project, WORKER, saying};

    #[test]
    fn what_is_saved_is_served() {
        let project = Project::new(&["index", "api"]);
        let mut developer = Developer::begin(&project);
        let watching = developer.hears("watching", |_| true);
        assert_eq!(watching["workers"][1]["name"], "index", "{watching}");
        // Nothing was ever built: requests wait for that.
        assert_eq!(developer.session.get("/").body, "first g1\n");
        assert_eq!(developer.session.get("/api").body, "first g1\n");
        developer.serves("index");

        project.says("index", "second");
        let changed = developer.hears("changed", |_| true);
        assert_eq!(changed["worker"], "index", "{changed}");
        assert_eq!(changed["paths"][0], "workers/index/src/main.rs", "{changed}");
        let built = developer.hears("built", |event| event["worker"] == "index");
        assert_eq!(built["changed"], true, "{built}");
        assert_eq!(developer.serves("index"), 2);
        assert_eq!(developer.session.get("/").body, "second g2\n");
        assert_eq!(developer.session.get("/api").body, "first g1\n", "nothing of it has changed");
    }

    #[test]
    fn what_does_not_build_leaves_the_old_serving() {
        let project = Project::new(&["index"]);
        let mut developer = Developer::begin(&project);
        developer.serves("index");
        project.write("workers/index/src/main.rs", "fn main() { nonsense }");
        let failed = developer.hears("build_failed", |_| true);
        assert_eq!(failed["workers"][0], "index", "{failed}");
        assert_eq!(failed["serving"], 1, "{failed}");
        assert_eq!(failed["place"], "workers/index/src/main.rs:1:13", "{failed}");
        assert!(failed["log"].as_str().unwrap().contains("cannot find value"), "{failed}");
        assert_eq!(developer.session.get("/").body, "first g1\n");
        project.says("index", "mended");
        assert_eq!(developer.serves("index"), 2);
        assert_eq!(developer.session.get("/").body, "mended g2\n");
    }

    #[test]
    fn what_never_starts_leaves_the_old_serving() {
        let project = Project::new(&["index"]);
        let mut developer = Developer::begin(&project);
        developer.serves("index");
        let broken = WORKER.replace("fn main() {", "fn main() { panic!(\"no database\");");
        project.write("workers/index/src/main.rs", &broken);
        let failed = developer.hears("not_serving", |_| true);
        assert_eq!(failed["worker"], "index", "{failed}");
        assert_eq!(failed["serving"], 1, "{failed}");
        assert!(failed["details"].to_string().contains("no database"), "{failed}");
        assert_eq!(developer.session.get("/").body, "first g1\n");
    }

    #[test]
    fn what_did_not_change_is_not_built_and_a_program_that_did_not_change_is_not_started() {
        let project = Project::new(&["index"]);
        let mut developer = Developer::begin(&project);
        developer.serves("index");
        // Saved without a change.
        project.write("workers/index/src/main.rs", WORKER);
        let unchanged = developer.hears("unchanged", |_| true);
        assert_eq!(unchanged["paths"][0], "workers/index/src/main.rs", "{unchanged}");
        // Other sources, the same program.
        project.write("workers/index/src/main.rs", &format!("{WORKER}// A remark.\n"));
        let built = developer.hears("built", |_| true);
        assert_eq!(built["changed"], false, "{built}");
        assert_eq!(developer.count("building"), 2);
        assert_eq!(developer.session.get("/").body, "first g1\n");
    }

    #[test]
    fn templates_and_public_files_need_neither_a_build_nor_a_start() {
        let project = Project::new(&["index"]);
        let mut developer = Developer::begin(&project);
        developer.serves("index");
        assert_eq!(developer.session.get("/page").body, "<p>one</p>");
        project.write("workers/index/private/page.html", "<p>two</p>");
        let reloaded = developer.hears("reloaded", |_| true);
        assert_eq!(reloaded["paths"][0], "workers/index/private/page.html", "{reloaded}");
        assert_eq!(developer.session.get("/page").body, "<p>two</p>");
        // There was no public folder before.
        project.write("workers/index/public/css/new.css", "p {}");
        let reloaded = developer.hears("reloaded", |_| true);
        assert_eq!(reloaded["style"], true, "{reloaded}");
        developer.session.await_body("/static/index/css/new.css", "p {}");
        project.write("workers/shared/public/js/all.js", "1");
        let reloaded = developer.hears("reloaded", |_| true);
        assert_eq!(reloaded["worker"], serde_json::Value::Null, "{reloaded}");
        developer.session.await_body("/static/index/js/all.js", "1");
        assert_eq!(developer.count("building"), 1);
        assert_eq!(developer.session.get("/").body, "first g1\n");
    }

    #[test]
    fn a_worker_can_ask_to_be_started_anew_for_its_private_files() {
        let project = Project::new(&["index"]);
        project.write("workers/index/config/worker.yaml", "restart_on_private: true\n");
        let mut developer = Developer::begin(&project);
        developer.serves("index");
        project.write("workers/index/private/page.html", "<p>two</p>");
        assert_eq!(developer.serves("index"), 2);
        assert_eq!(developer.count("building"), 1);
    }

    #[test]
    fn configuration_is_applied_or_refused_with_its_place() {
        let project = Project::new(&["index"]);
        let mut developer = Developer::begin(&project);
        developer.serves("index");
        let file = "workers/index/config/worker.yaml";
        project.write(file, "route: /hello\n");
        let applied = developer.hears("configuration", |_| true);
        assert_eq!(applied["refused"], serde_json::Value::Null, "{applied}");
        developer.session.await_body("/hello", "first g2\n");
        project.write(file, "route: /hello\nmemory_max: lots\n");
        let refused = developer.hears("configuration", |_| true);
        let reason = refused["refused"].as_str().unwrap();
        assert!(reason.contains("worker.yaml:2:13"), "{reason}");
        assert_eq!(developer.session.get("/hello").body, "first g2\n");
    }

    #[test]
    fn workers_come_and_go() {
        let project = Project::new(&["index"]);
        let mut developer = Developer::begin(&project);
        developer.serves("index");
        project.add("news");
        assert_eq!(developer.serves("news"), 1);
        assert_eq!(developer.session.get("/news").body, "first g1\n");
        fs::remove_dir_all(project.file("workers/news")).unwrap();
        developer.session.await_body("/news", "first g1\n");
        developer.session.await_workers(1);
    }

    /// One build for each save, whatever the editor does to get there.
    #[rstest]
    #[case::vim(editors::vim)]
    #[case::emacs(editors::emacs)]
    #[case::vs_code(editors::vs_code)]
    #[case::jetbrains(editors::jetbrains)]
    #[case::sed(editors::sed)]
    fn a_save_is_one_build(#[case] save: Save) {
        let project = Project::new(&["index"]);
        let mut developer = Developer::begin(&project);
        developer.serves("index");
        let file = project.file("workers/index/src/main.rs");
        for generation in 2..=3 {
            save(&file, &saying(&format!("save {generation}")));
            assert_eq!(developer.serves("index"), generation);
            let body = format!("save {generation} g{generation}\n");
            assert_eq!(developer.session.get("/").body, body);
        }
        // What is written now is built after whatever was still to come of these.
        save(&file, &saying("last"));
        developer.serves("index");
        assert_eq!(developer.count("building"), 4, "{:?}", developer.told("changed"));
    }

    #[test]
    fn a_checkout_of_many_files_is_one_build() {
        let project = Project::new(&["index"]);
        let modules = |text: &str| {
            for number in 0..500 {
                let constant = format!("pub const TEXT: &str = \"{text}\";\n");
                project.write(&format!("workers/index/src/parts/p{number}.rs"), &constant);
            }
            let list = (0..500).map(|number| format!("pub mod p{number};\n")).collect::<String>();
            project.write("workers/index/src/parts/mod.rs", &list);
            let main = WORKER.replace("\"first\"", "parts::p499::TEXT");
            project.write("workers/index/src/main.rs", &format!("{main}\nmod parts;\n"));
        };
        modules("one");
        project.git(&["add", "--all"]);
        project.git(&["commit", "--quiet", "--message", "one"]);
        project.git(&["checkout", "--quiet", "-b", "other"]);
        modules("two");
        project.git(&["commit", "--quiet", "--all", "--message", "two"]);
        let mut developer = Developer::begin(&project);
        developer.serves("index");
        assert_eq!(developer.session.get("/").body, "two g1\n");
        project.git(&["checkout", "--quiet", "-"]);
        developer.serves("index");
        assert_eq!(developer.session.get("/").body, "one g2\n");
        assert_eq!(developer.count("building"), 2, "{:?}", developer.told("changed"));
    }

    #[test]
    fn a_manifest_that_cannot_be_read_is_told_and_can_be_mended() {
        let project = Project::new(&["index"]);
        let mut developer = Developer::begin(&project);
        developer.serves("index");
        let manifest = fs::read_to_string(project.file("workers/index/Cargo.toml")).unwrap();
        project.write("workers/index/Cargo.toml", "[package\n");
        let failed = developer.hears("build_failed", |_| true);
        assert_eq!(failed["workers"][0], "index", "{failed}");
        assert!(failed["log"].as_str().unwrap().contains("Cargo.toml"), "{failed}");
        assert_eq!(developer.session.get("/").body, "first g1\n");
        project.write("workers/index/Cargo.toml", &manifest);
        project.says("index", "mended");
        assert_eq!(developer.serves("index"), 2);
        assert_eq!(developer.session.get("/").body, "mended g2\n");
    }

    /// What was built before the session began is started as it is, and what was changed since is
    /// built first.
    #[test]
    fn the_first_answer_is_never_an_old_one() {
        let project = Project::new(&["index", "api"]);
        project.configure("  port_range_start: 9000\n");
        let build = Command::new(env!("CARGO_BIN_EXE_tqctl"))
            .args(["build", "--dev"])
            .env_remove("CARGO_TARGET_DIR")
            .env_remove("RUSTFLAGS")
            .current_dir(project.path())
            .output()
            .unwrap();
        assert!(build.status.success(), "{build:?}");
        project.says("index", "since then");
        let mut developer = Developer::begin(&project);
        assert_eq!(developer.session.get("/").body, "since then g1\n");
        assert_eq!(developer.session.get("/api").body, "first g1\n");
        developer.serves("index");
        let building: Vec<_> =
            developer.told("building").iter().map(|event| event["workers"].clone()).collect();
        assert_eq!(building, [serde_json::json!(["index"])]);
    }

    /// Files are written without the pause that a change waits for, and faster than they are built.
    #[test]
    fn saves_that_never_stop_do_not_keep_anything_from_being_served() {
        let project = Project::new(&["index"]);
        let mut developer = Developer::begin(&project);
        developer.serves("index");
        let (file, stop) = (project.file("workers/index/src/main.rs"), AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for save in 0.. {
                    editors::jetbrains(&file, &saying(&format!("save {save}")));
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    // A pace, shorter than the debounce.
                    std::thread::sleep(Duration::from_millis(40));
                }
            });
            for _ in 0..4 {
                let before = developer.count("building");
                developer.serves("index");
                let builds = developer.count("building") - before;
                assert!(builds <= 3, "{builds} builds until something newer was served");
            }
            stop.store(true, Ordering::Relaxed);
        });
    }
}
