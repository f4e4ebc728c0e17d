use std::fs;
use std::path::Path;

use super::old::OldLayout;
use super::plan::Plan;
use super::{conflict, perform};

fn tree(files: &[&str]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for path in files {
        let full = root.path().join(path);
        fs::create_dir_all(full.parent().unwrap()).unwrap();
        fs::write(full, path).unwrap();
    }
    root
}

fn planned(root: &Path) -> (Plan, Vec<String>) {
    let old = OldLayout::read(root).unwrap();
    let plan = Plan::new(&old);
    let conflicts = conflict::find(root, &old, &plan);
    (plan, conflicts)
}

/// Each worker as `name route <- folder`.
fn workers(plan: &Plan) -> Vec<String> {
    let line =
        |it: &super::plan::Migrated| format!("{} {} <- {}", it.name, it.route, it.from.display());
    plan.workers.iter().map(line).collect()
}

#[test]
fn pages_become_workers_at_the_routes_they_had() {
    let root = tree(&[
        "pages/index/main.go",
        "pages/api/main.go",
        "pages/api/users/main.go",
        "pages/api/users/list.html",
        "pages/My-Page/src/main.rs",
        "pages/my_shop/main.go",
    ]);
    let (plan, conflicts) = planned(root.path());
    assert_eq!(conflicts, Vec::<String>::new());
    let expected = [
        "my_page /My-Page <- pages/My-Page",
        "api /api <- pages/api",
        "api_users /api/users <- pages/api/users",
        "index / <- pages/index",
        "my_shop /my_shop <- pages/my_shop",
    ];
    assert_eq!(workers(&plan), expected);
    let written: Vec<_> =
        plan.written.iter().map(|it| (it.path.to_str().unwrap(), it.text.as_str())).collect();
    let expected = [
        ("workers/my_page/config/worker.yaml", "route: /My-Page\n"),
        ("workers/my_shop/config/worker.yaml", "route: /my_shop\n"),
    ];
    assert_eq!(written, expected);
    let of_users: Vec<_> =
        plan.moves.iter().filter(|it| it.from.starts_with("pages/api/users")).collect();
    assert_eq!(of_users.last().unwrap().from, Path::new("pages/api/users/main.go"));
}

#[test]
fn every_conflict_is_told_at_once() {
    let root = tree(&[
        "pages/index/main.go",
        "pages/index/a.html",
        "pages/index/views/a.html",
        "pages/a-b/main.go",
        "pages/a_b/main.go",
        "pages/shared/main.go",
        "pages/1st/main.go",
        "pages/files/main.go",
        "workers/index/src/main.go",
        "workers/files/src",
    ]);
    std::os::unix::fs::symlink("main.go", root.path().join("pages/index/link.go")).unwrap();
    let (_, conflicts) = planned(root.path());
    let all = conflicts.join("\n");
    for said in [
        "pages/index/main.go: workers/index/src/main.go is there already",
        "pages/index/a.html and pages/index/views/a.html would both be workers/index/private/views/a.html",
        "pages/a-b and pages/a_b would both be worker a_b",
        "pages/shared: workers/shared is for what all workers share",
        "pages/1st: ",
        "pages/files/main.go: workers/files/src is no folder",
        "pages/index/link.go: is not a regular file",
    ] {
        assert!(all.contains(said), "{said}\n--\n{all}");
    }
}

#[test]
fn a_file_that_came_meanwhile_is_not_overwritten_and_the_rest_is_moved_later() {
    let root = tree(&["pages/index/main.go", "pages/index/a.html", "templates/base.html"]);
    let (plan, _) = planned(root.path());
    let theirs = root.path().join("workers/index/private/views/a.html");
    fs::create_dir_all(theirs.parent().unwrap()).unwrap();
    fs::write(&theirs, "theirs").unwrap();
    let error = perform::perform(root.path(), &plan).unwrap_err();
    assert!(format!("{error:#}").contains("a.html: File exists"), "{error:#}");
    assert_eq!(fs::read_to_string(&theirs).unwrap(), "theirs");

    fs::remove_file(&theirs).unwrap();
    let (plan, conflicts) = planned(root.path());
    assert_eq!(conflicts, Vec::<String>::new());
    perform::perform(root.path(), &plan).unwrap();
    assert_eq!(fs::read_to_string(&theirs).unwrap(), "pages/index/a.html");
    assert!(!root.path().join("pages").exists() && !root.path().join("templates").exists());
}
