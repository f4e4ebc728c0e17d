use std::fs;
use std::os::unix::fs::PermissionsExt;

use rstest::rstest;

use super::super::testing::{Project, everything};
use super::*;

/// How changes are looked for.
#[derive(Debug, Clone, Copy)]
enum Look {
    /// By the paths of events.
    At(&'static [&'static str]),
    /// At everything.
    All,
}

struct World {
    project: Project,
    contents: Contents,
}

impl World {
    fn new() -> Self {
        let project = Project::new();
        project.write("src/main.rs", "main");
        project.write("src/deep/er.rs", "deeper");
        project.write("bin/program", "program");
        project.write(".gitignore", "*.log\n/private/secret\n");
        let contents = Contents::read(project.path(), everything());
        Self { project, contents }
    }

    /// The changed files, below the folder.
    fn changed(&mut self, look: Look) -> Vec<String> {
        let changed = match look {
            Look::All => self.contents.compare_all(),
            Look::At(paths) => {
                let paths = paths.iter().map(|path| self.project.file(path)).collect();
                // A look ahead finds the same, and leaves it to be found.
                let ahead = self.contents.peek(&paths);
                let changed = self.contents.compare(&paths);
                assert_eq!(ahead, changed);
                changed
            }
        };
        let below = |path: PathBuf| path.strip_prefix(self.project.path()).unwrap().to_owned();
        changed.into_keys().map(|path| below(path).to_str().unwrap().to_owned()).collect()
    }
}

#[rstest]
#[case::by_path(Look::At(&["src/main.rs"]))]
#[case::all(Look::All)]
fn a_write_without_a_change_is_none(#[case] look: Look) {
    let mut world = World::new();
    world.project.write("src/main.rs", "main");
    assert!(world.changed(look).is_empty());
    world.project.write("src/main.rs", "niam");
    assert_eq!(world.changed(look), ["src/main.rs"]);
    assert!(world.changed(look).is_empty(), "a change is told once");
}

#[rstest]
#[case::by_path(Look::At(&["src/main.rs"]))]
#[case::all(Look::All)]
fn a_mode_and_an_end_are_changes(#[case] look: Look) {
    let mut world = World::new();
    let file = world.project.file("src/main.rs");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(world.changed(look), ["src/main.rs"]);
    fs::remove_file(&file).unwrap();
    assert_eq!(world.changed(look), ["src/main.rs"]);
    assert!(world.changed(look).is_empty());
}

#[rstest]
#[case::by_path(Look::At(&["new"]))]
#[case::all(Look::All)]
fn folders_come_and_go_with_all_that_is_in_them(#[case] look: Look) {
    let mut world = World::new();
    world.project.write("new/a", "a");
    world.project.write("new/b/c", "c");
    assert_eq!(world.changed(look), ["new/a", "new/b/c"]);
    fs::rename(world.project.file("new"), world.project.path().with_extension("moved")).unwrap();
    assert_eq!(world.changed(look), ["new/a", "new/b/c"]);
    fs::remove_dir_all(world.project.path().with_extension("moved")).unwrap();
}

#[rstest]
#[case::by_path(Look::At(&["src/x.log", "src/main.rs~", "src/.hidden", "bin/program", "private/secret", "src/4913"]))]
#[case::all(Look::All)]
fn what_is_left_out_never_changes(#[case] look: Look) {
    let mut world = World::new();
    for path in
        ["src/x.log", "src/main.rs~", "src/.hidden", "bin/program", "private/secret", "src/4913"]
    {
        world.project.write(path, "new");
    }
    assert!(world.changed(look).is_empty(), "{:?}", world.changed(look));
}

/// A folder's names are read again only when its times have changed; those are only believed once
/// they are old.
#[test]
fn a_settled_folder_still_tells_of_new_names() {
    let mut world = World::new();
    let src = world.project.file("src");
    let old = SystemTime::now() - Duration::from_secs(3600);
    File::open(&src).unwrap().set_modified(old).unwrap();
    // Its ctime is new, so it is not believed to have settled.
    assert!(settled(&src).is_none());
    let folder = world.contents.folders.get_mut(&src).unwrap();
    folder.settled = Some(Stamp::of(&rustix::fs::lstat(&src).unwrap()));
    world.project.write("src/main.rs", "changed");
    assert_eq!(world.changed(Look::All), ["src/main.rs"], "seen without listing the folder");
    world.project.write("src/new.rs", "new");
    assert_eq!(world.changed(Look::All), ["src/new.rs"]);
}

#[test]
fn a_change_is_told_whatever_is_selected_meanwhile() {
    let mut world = World::new();
    world.project.write("src/main.rs", "niam");
    world.contents.select(everything());
    assert_eq!(world.changed(Look::At(&["src/main.rs"])), ["src/main.rs"]);
    world.project.write("src/main.rs", "main");
    world.contents.select(everything());
    assert_eq!(world.changed(Look::All), ["src/main.rs"]);
}
