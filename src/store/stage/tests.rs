use std::os::unix::fs::symlink;

use super::*;
use crate::store::testing::{at, commit, fill, record};

fn deploy_dir() -> (tempfile::TempDir, DeployDir) {
    let temp = tempfile::tempdir().unwrap();
    let deploy = DeployDir::new(temp.path().join("deploy"));
    fs::create_dir(deploy.path()).unwrap();
    (temp, deploy)
}

fn names(folder: &Path) -> Vec<String> {
    let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
    let mut names: Vec<_> = folder.read_dir().unwrap().map(name).collect();
    names.sort();
    names
}

fn mode(path: PathBuf) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

#[test]
fn a_finished_deployment_is_complete_and_its_public_files_are_for_all() {
    let (_temp, deploy) = deploy_dir();
    let staging = Staging::begin(&deploy, &commit('a')).unwrap();
    fill(staging.path());
    let view = staging.path().join("workers/index/private/views/index.html");
    fs::set_permissions(&view, Permissions::from_mode(0o600)).unwrap();
    let program = staging.path().join("workers/index/bin/index");
    fs::set_permissions(&program, Permissions::from_mode(0o4711)).unwrap();
    let record = record(staging.path(), &commit('a'));
    assert_eq!(deploy.deployments().unwrap(), []);
    staging.finish(&record).unwrap();

    assert_eq!(names(deploy.path()), [commit('a').to_string()]);
    assert_eq!(Deployment::read(&deploy, &commit('a')).unwrap(), record);
    let folder = deploy.commit_dir(&commit('a'));
    assert_eq!(mode(folder.join("workers/index/private/views/index.html")), 0o644);
    assert_eq!(mode(folder.join("workers/index/bin/index")), 0o755);
    assert_eq!(mode(folder.join("workers/index/public/css")), 0o755);
    for guarded in ["bin", "private", "private/views"] {
        assert_eq!(mode(folder.join("workers/index").join(guarded)), 0o750, "{guarded}");
    }
    assert_eq!(mode(folder.join("server/bin")), 0o750);
    assert_eq!(mode(folder.join(RECORD)), 0o644);
    assert_eq!(mode(folder), 0o755);
}

#[test]
fn trees_are_copied_and_the_later_wins() {
    let (temp, deploy) = deploy_dir();
    let (shared, own) = (temp.path().join("shared"), temp.path().join("own"));
    for (root, text) in [(&shared, "shared"), (&own, "own")] {
        fs::create_dir_all(root.join("css")).unwrap();
        fs::write(root.join("css/common.css"), text).unwrap();
        fs::write(root.join(format!("{text}.sh")), text).unwrap();
    }
    fs::set_permissions(own.join("own.sh"), Permissions::from_mode(0o700)).unwrap();

    let staging = Staging::begin(&deploy, &commit('a')).unwrap();
    let public = staging.path().join("workers/index/public");
    for from in [&shared, &own, &temp.path().join("absent")] {
        staging.copy_tree(from, "workers/index/public").unwrap();
    }
    assert_eq!(names(&public), ["css", "own.sh", "shared.sh"]);
    assert_eq!(fs::read_to_string(public.join("css/common.css")).unwrap(), "own");
    assert_eq!(fs::read_to_string(shared.join("css/common.css")).unwrap(), "shared");
    assert_eq!(mode(public.join("shared.sh")) & 0o111, 0);
    assert_ne!(mode(public.join("own.sh")) & 0o100, 0);

    staging.copy_file(&own.join("own.sh"), "workers/index/bin/index").unwrap();
    staging.write("workers/index/bin/note", b"text").unwrap();
    assert_eq!(fs::read(staging.path().join("workers/index/bin/note")).unwrap(), b"text");
    assert_ne!(mode(staging.path().join("workers/index/bin/index")) & 0o100, 0);
}

#[test]
fn links_are_neither_copied_nor_finished() {
    let (temp, deploy) = deploy_dir();
    let source = temp.path().join("source");
    fs::create_dir(&source).unwrap();
    symlink("/etc/passwd", source.join("link")).unwrap();
    let staging = Staging::begin(&deploy, &commit('a')).unwrap();
    let error = staging.copy_tree(&source, "public").unwrap_err();
    assert!(error.to_string().contains("source/link: is a symbolic link"), "{error}");

    fill(staging.path());
    let record = record(staging.path(), &commit('a'));
    symlink("/etc/passwd", staging.path().join("workers/link")).unwrap();
    let error = staging.finish(&record).unwrap_err();
    assert!(error.to_string().contains("workers/link: is a symbolic link"), "{error}");
    assert_eq!(names(deploy.path()), Vec::<String>::new(), "what failed is removed");
}

#[test]
fn nothing_is_staged_outside() {
    let (_temp, deploy) = deploy_dir();
    let staging = Staging::begin(&deploy, &commit('a')).unwrap();
    for path in ["../x", "/tmp/x", "a/../../x", ""] {
        staging.write(path, b"").unwrap_err();
    }
    assert_eq!(names(staging.path()), Vec::<String>::new());
}

#[test]
fn an_existing_deployment_is_left_alone() {
    let (_temp, deploy) = deploy_dir();
    let first = crate::store::testing::deploy(&deploy, &commit('a'));
    let staging = Staging::begin(&deploy, &commit('a')).unwrap();
    let error = staging.finish(&first).unwrap_err();
    assert!(matches!(error, StageError::Exists(_)), "{error}");
    assert!(deploy.worker_dir(&commit('a'), &"index".parse().unwrap()).exists());
    assert_eq!(names(deploy.path()), [commit('a').to_string()]);
}

#[test]
fn a_record_that_contradicts_itself_is_not_finished() {
    let (_temp, deploy) = deploy_dir();
    let staging = Staging::begin(&deploy, &commit('a')).unwrap();
    fill(staging.path());
    let mut record = record(staging.path(), &commit('a'));
    record.workers.get_mut(&"api".parse().unwrap()).unwrap().route = "/".parse().unwrap();
    assert!(matches!(staging.finish(&record), Err(StageError::Record(_))));
    assert_eq!(deploy.deployments().unwrap(), []);
}

#[test]
fn only_what_nobody_uses_is_cleaned() {
    let (_temp, deploy) = deploy_dir();
    let complete = crate::store::testing::deploy(&deploy, &commit('c'));
    let in_use = Staging::begin(&deploy, &commit('a')).unwrap();
    // Left by processes that were killed, in whatever state.
    let left = deploy.staging(&commit('b'), 1);
    fs::create_dir_all(left.join("workers/x")).unwrap();
    let odd = deploy.path().join(".tmp-odd");
    symlink("/etc", &odd).unwrap();

    let lock = DeployLock::try_acquire(&deploy, "test", at(0)).unwrap();
    let mut removed = clean(&lock).unwrap();
    removed.sort();
    assert_eq!(removed, [left, odd]);
    assert!(Path::new("/etc").exists());
    let busy = Staging::begin(&deploy, &commit('a')).unwrap_err();
    assert!(matches!(busy, StageError::Busy(_)), "{busy}");
    drop(in_use);
    let expected = [".lock".to_owned(), complete.git_commit.to_string()];
    assert_eq!(names(deploy.path()), expected);
}

#[test]
fn a_folder_of_an_earlier_process_with_our_number_is_taken_over() {
    let (_temp, deploy) = deploy_dir();
    let path = deploy.staging(&commit('a'), process::id());
    fs::create_dir_all(path.join("old")).unwrap();
    let staging = Staging::begin(&deploy, &commit('a')).unwrap();
    assert_eq!(names(staging.path()), Vec::<String>::new());
}

#[test]
fn a_record_that_nobody_would_read_is_not_written() {
    let (_temp, deploy) = deploy_dir();
    let staging = Staging::begin(&deploy, &commit('a')).unwrap();
    fill(staging.path());
    let mut record = record(staging.path(), &commit('a'));
    let part = record.workers.values_mut().next().unwrap();
    part.files.src =
        (0..100_000).map(|number| format!("source/of/the/worker/{number}.rs")).collect();
    let error = staging.finish(&record).unwrap_err();
    assert!(matches!(error, StageError::TooManyFiles(_)), "{error}");
    assert_eq!(names(deploy.path()), [""; 0]);
}

/// The manifest repeats a record, at greater length.
#[test]
fn the_largest_record_that_is_written_can_be_activated() {
    let (_temp, deploy) = deploy_dir();
    let staging = Staging::begin(&deploy, &commit('a')).unwrap();
    fill(staging.path());
    let mut record = record(staging.path(), &commit('a'));
    // Names of one character: no line of the document is shorter.
    let rest = MAX_RECORD_BYTES as usize - record.to_json().len();
    let line = "          \"x\",\n".len();
    let part = record.workers.values_mut().next().unwrap();
    part.files.src.extend(vec!["x".to_owned(); rest / line]);
    staging.finish(&record).unwrap();
    let lock = DeployLock::try_acquire(&deploy, "test", at(0)).unwrap();
    crate::store::activate::activate(&lock, &record, at(1), 20).unwrap();
    crate::store::manifest::Manifest::read(&deploy).unwrap();
}

#[test]
fn nobody_else_can_look_into_what_is_not_finished() {
    let (_temp, deploy) = deploy_dir();
    let staging = Staging::begin(&deploy, &commit('a')).unwrap();
    assert_eq!(mode(staging.path().to_owned()) & 0o777, 0o700);
}

#[test]
fn what_is_taken_over_is_the_same_file_and_the_earlier_deployment_stays_as_it_is() {
    let (_temp, deploy) = deploy_dir();
    crate::store::testing::deploy(&deploy, &commit('a'));
    let path = "workers/index/bin/index";
    let old = deploy.commit_dir(&commit('a')).join(path);
    let before = (fs::read(&old).unwrap(), mode(old.clone()));
    let staging = Staging::begin(&deploy, &commit('b')).unwrap();
    assert!(staging.take_over(&old, path).unwrap());
    let inode = |path: &Path| fs::metadata(path).unwrap().ino();
    assert_eq!(inode(&staging.path().join(path)), inode(&old));

    // Whatever is put there instead does not reach the file that it was.
    staging.receive(&mut &b"another program"[..], true, path).unwrap();
    assert_eq!((fs::read(&old).unwrap(), mode(old)), before);
}

#[test]
fn what_is_not_as_deployments_have_it_is_copied() {
    let (temp, deploy) = deploy_dir();
    let source = temp.path().join("source");
    fs::write(&source, "x").unwrap();
    fs::set_permissions(&source, Permissions::from_mode(0o600)).unwrap();
    let staging = Staging::begin(&deploy, &commit('b')).unwrap();
    assert!(!staging.take_over(&source, "workers/index/public/x").unwrap());
    assert_eq!(fs::read(staging.path().join("workers/index/public/x")).unwrap(), b"x");
    assert_eq!(mode(source), 0o600);
}
