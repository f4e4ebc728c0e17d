//! What stands in the way of a migration.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::old::OldLayout;
use super::plan::Plan;

/// Everything that would be overwritten or cannot be moved, a sentence each.
pub(super) fn find(root: &Path, old: &OldLayout, plan: &Plan) -> Vec<String> {
    let mut found = plan.impossible.clone();
    found.extend(
        old.unfit.iter().map(|path| {
            format!("{}: is not a regular file; workers have no links", path.display())
        }),
    );
    let mut names = BTreeMap::new();
    for worker in &plan.workers {
        if let Some(other) = names.insert(&worker.name, &worker.from) {
            let (one, other) = (worker.from.display(), other.display());
            found.push(format!("{other} and {one} would both be worker {}", worker.name));
        }
    }
    let mut sources = BTreeMap::new();
    for step in &plan.moves {
        let (from, to) = (step.from.display(), step.to.display());
        if let Some(other) = sources.insert(&step.to, &step.from) {
            found.push(format!("{} and {from} would both be {to}", other.display()));
        }
        found.extend(in_the_way(root, &step.to).map(|what| format!("{from}: {what}")));
        if on_another_disk(root, &step.from, &step.to) {
            found.push(format!("{from}: {to} is on another file system; move it by hand"));
        }
    }
    for to in sources.keys() {
        let above =
            to.ancestors().skip(1).find_map(|above| sources.get_key_value(&above.to_owned()));
        if let Some((above, from)) = above {
            let (above, from) = (above.display(), from.display());
            found.push(format!(
                "{from}: {above} would be a file, and a folder for {}",
                to.display()
            ));
        }
    }
    for file in &plan.written {
        let same = || fs::read(root.join(&file.path)).is_ok_and(|it| it == file.text.as_bytes());
        if let Some(what) = in_the_way(root, &file.path).filter(|_| !same()) {
            found.push(format!("{what}, and would have to say `{}`", file.text.trim_end()));
        }
    }
    found
}

/// What is at a path or where its folders should be.
fn in_the_way(root: &Path, to: &Path) -> Option<String> {
    if root.join(to).symlink_metadata().is_ok() {
        return Some(format!("{} is there already", to.display()));
    }
    let folders = to.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty());
    let mut taken = folders
        .filter(|above| root.join(above).symlink_metadata().is_ok_and(|found| !found.is_dir()));
    taken.next().map(|above| format!("{} is no folder", above.display()))
}

/// Whether a file cannot be moved by giving it another name.
fn on_another_disk(root: &Path, from: &Path, to: &Path) -> bool {
    let device = |path: &Path| root.join(path).symlink_metadata().map(|found| found.dev()).ok();
    let there = to.ancestors().skip(1).find_map(device);
    // Of the folder, as a file can be a mount of its own.
    device(from) != there
}
