use std::fs;
use std::process::Command;

use futures_util::FutureExt;

use super::super::testing::{Project, everything};
use super::*;

const SHORT: Duration = Duration::from_millis(20);

/// Within which anything happens.
const LONG: Duration = Duration::from_millis(500);

fn watch(project: &Project) -> TreeWatch {
    TreeWatch::new(project.path(), everything(), SHORT)
}

/// The next changes.
async fn changed(watch: &mut TreeWatch) -> Changes {
    loop {
        if let Noticed::Over(changes) = watch.noticed().await {
            return changes;
        }
    }
}

/// Paths below the folder.
fn below(watch: &TreeWatch, paths: &BTreeSet<PathBuf>) -> Vec<String> {
    let below =
        |path: &PathBuf| path.strip_prefix(&watch.root).unwrap().to_str().unwrap().to_owned();
    paths.iter().map(below).collect()
}

/// The paths of the next changes, below the folder.
async fn paths(watch: &mut TreeWatch) -> Vec<String> {
    let changes = changed(watch).await;
    below(watch, &changes.paths)
}

#[tokio::test]
async fn writes_in_a_row_are_one_change() {
    let project = Project::new();
    project.write("src/main.rs", "");
    let mut watch = watch(&project);
    for text in ["a", "ab", "abc"] {
        project.write("src/main.rs", text);
    }
    project.write("src/lib.rs", "");
    assert_eq!(paths(&mut watch).await, ["src/lib.rs", "src/main.rs"]);
    assert!(watch.noticed().now_or_never().is_none());
}

#[tokio::test]
async fn a_pause_tells_what_was_written_since_the_row_began() {
    let project = Project::new();
    project.write("src/main.rs", "");
    let mut watch = TreeWatch::new(project.path(), everything(), LONG);
    project.write("src/main.rs", "a");
    for expected in [&["src/main.rs"][..], &["src/lib.rs", "src/main.rs"]] {
        let Noticed::Pause(paths) = watch.noticed().await else { panic!("it is over already") };
        assert_eq!(below(&watch, &paths), expected);
        project.write("src/lib.rs", "b");
    }
    assert_eq!(paths(&mut watch).await, ["src/lib.rs", "src/main.rs"]);
}

#[tokio::test]
async fn a_row_of_many_files_has_no_pause() {
    let project = Project::new();
    let mut watch = TreeWatch::new(project.path(), everything(), LONG);
    for number in 0..=FEW {
        project.write(&format!("{number}.rs"), "");
    }
    loop {
        match watch.noticed().await {
            Noticed::Pause(paths) => assert!(paths.len() <= FEW, "{}", paths.len()),
            Noticed::Over(changes) => return assert_eq!(changes.paths.len(), FEW + 1),
        }
    }
}

#[tokio::test]
async fn new_folders_are_watched_and_moved_ones_followed() {
    let project = Project::new();
    project.write("src/main.rs", "");
    let mut watch = watch(&project);
    let before = watch.folders();
    project.write("new/deep/er.rs", "");
    assert_eq!(paths(&mut watch).await[0], "new");
    assert_eq!(watch.folders(), before + 2);
    project.write("new/deep/est.rs", "");
    assert_eq!(paths(&mut watch).await, ["new/deep/est.rs"]);
    fs::rename(project.file("new"), project.file("newer")).unwrap();
    assert_eq!(paths(&mut watch).await, ["new", "newer"]);
    assert_eq!(watch.folders(), before + 2);
    project.write("newer/deep/est.rs", "x");
    assert_eq!(paths(&mut watch).await, ["newer/deep/est.rs"]);
    fs::remove_dir_all(project.file("newer")).unwrap();
    assert!(paths(&mut watch).await.contains(&"newer".to_owned()));
    assert_eq!(watch.folders(), before);
}

#[tokio::test]
async fn what_is_not_entered_is_not_heard_of() {
    let project = Project::new();
    project.write("src/main.rs", "");
    let mut watch = watch(&project);
    project.write("bin/program", "");
    project.write("bin/program", "again");
    project.write("src/main.rs", "x");
    assert_eq!(paths(&mut watch).await, ["src/main.rs"]);
}

/// The kernel drops what comes when its queue is full, and says so.
#[tokio::test]
async fn a_full_queue_leads_to_a_look_at_everything() {
    let project = Project::new();
    project.write("src/main.rs", "");
    let mut watch = watch(&project);
    let limit = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
    let limit: usize = limit.trim().parse().unwrap();
    let files = [project.file("src/a"), project.file("src/b")];
    // Three events each: it is created, closed, and deleted. Different ones are not merged.
    for round in 0..limit / 3 + 100 {
        let file = &files[round % 2];
        fs::write(file, "").unwrap();
        fs::remove_file(file).unwrap();
    }
    while !changed(&mut watch).await.rescan {}
    assert!(watch.polling().is_none(), "it is watched again");
    project.write("src/main.rs", "x");
    while !paths(&mut watch).await.contains(&"src/main.rs".to_owned()) {}
}

#[tokio::test]
async fn while_git_writes_files_changes_wait() {
    let project = Project::new();
    project.write(".git/index.lock", "");
    project.write("src/main.rs", "");
    let mut watch = watch(&project);
    project.write("src/main.rs", "x");
    // Longer than the debounce.
    assert!(tokio::time::timeout(5 * SHORT, watch.noticed()).await.is_err());
    project.write("src/lib.rs", "x");
    fs::remove_file(project.file(".git/index.lock")).unwrap();
    assert_eq!(paths(&mut watch).await, ["src/lib.rs", "src/main.rs"]);
}

#[tokio::test]
async fn what_was_not_heard_of_before_another_selection_is_looked_for() {
    let project = Project::new();
    let mut watch = watch(&project);
    project.write("src/main.rs", "x");
    watch.select(everything(), SHORT);
    assert!(changed(&mut watch).await.rescan);
    project.write("src/main.rs", "y");
    assert_eq!(paths(&mut watch).await, ["src/main.rs"]);
}

/// In a namespace of its own, whose limit is its own: the test runs itself there.
#[test]
fn beyond_the_limit_on_watches_it_polls_and_says_what_raises_it() {
    const INSIDE: &str = "TQ_TEST_WITH_FEW_WATCHES";
    if std::env::var_os(INSIDE).is_none() {
        let name = std::thread::current().name().unwrap().to_owned();
        let status = Command::new("unshare")
            .args(["--user", "--map-root-user", "sh", "-c"])
            .arg("echo 2 >/proc/sys/user/max_inotify_watches && exec \"$0\" --exact \"$1\"")
            .arg(std::env::current_exe().unwrap())
            .arg(name)
            .env(INSIDE, "1")
            .status()
            .unwrap();
        assert!(status.success(), "{status}");
        return;
    }
    let project = Project::new();
    for folder in ["a", "b", "c"] {
        project.write(&format!("{folder}/file"), "");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut watch = watch(&project);
        let reason = watch.polling().unwrap().to_owned();
        assert!(reason.contains("sysctl fs.inotify.max_user_watches=524288"), "{reason}");
        assert!(changed(&mut watch).await.rescan);
    });
}
