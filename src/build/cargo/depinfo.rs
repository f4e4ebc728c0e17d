//! The files that the compiler has read for a program, from the `.d` file that cargo leaves beside
//! it ("Dep-info files" in the Cargo Book, "Build Cache").

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The files of this workspace that went into `executable`, embedded ones included. None, where
/// cargo left no such list.
pub(in super::super) fn files_read(executable: &Path) -> io::Result<Vec<PathBuf>> {
    let mut list = executable.as_os_str().to_owned();
    list.push(".d");
    match fs::read_to_string(&list) {
        Ok(text) => Ok(parse(&text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// One Makefile rule, `target: file file…`, blanks in names escaped by a backslash.
fn parse(text: &str) -> Vec<PathBuf> {
    let Some((_, files)) = text.split_once(": ") else { return Vec::new() };
    let mut found = vec![String::new()];
    let mut chars = files.chars();
    while let Some(char) = chars.next() {
        let last = found.len() - 1;
        match char {
            '\\' => found[last].extend(chars.next()),
            ' ' => found.push(String::new()),
            '\n' => break,
            other => found[last].push(other),
        }
    }
    found.retain(|file| !file.is_empty());
    found.into_iter().map(PathBuf::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_may_have_blanks() {
        let rule = "/t/release/index: /p/src/main.rs /p/private/a\\ b.html\n";
        assert_eq!(parse(rule), [Path::new("/p/src/main.rs"), Path::new("/p/private/a b.html")]);
        assert_eq!(parse("/t/x:\n"), Vec::<PathBuf>::new());
    }
}
