//! Links that open a file in an editor, at a line and a column.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::str::FromStr;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

const VSCODE: &str = "vscode://file{path}:{line}:{column}";
const IDEA: &str = "idea://open?file={path}&line={line}&column={column}";

/// What a path keeps of itself in a link: enough to be read, nothing that means more there.
const IN_LINK: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Schemes that a browser acts upon itself: with one of these a link would be a program.
const PROGRAMS: [&str; 4] = ["javascript", "data", "vbscript", "blob"];

/// The form of such links: a URL with `{path}`, `{line}` and `{column}` in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EditorLink(String);

impl EditorLink {
    /// The link to a place in `file`, an absolute path, which is percent-encoded. Line and column
    /// count from 1.
    pub fn href(&self, file: &Path, line: u32, column: u32) -> String {
        let path = percent_encode(file.as_os_str().as_bytes(), IN_LINK).to_string();
        // The path last: it may hold braces, if only encoded ones.
        self.0
            .replace("{line}", &line.to_string())
            .replace("{column}", &column.to_string())
            .replace("{path}", &path)
    }
}

impl Default for EditorLink {
    /// Visual Studio Code's.
    fn default() -> Self {
        Self(VSCODE.to_owned())
    }
}

impl FromStr for EditorLink {
    type Err = String;

    /// `vscode`, `idea`, or a URL of one's own.
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "vscode" => return Ok(Self::default()),
            "idea" => return Ok(Self(IDEA.to_owned())),
            _ => {}
        }
        let scheme = text.split_once(':').map(|(scheme, _)| scheme.to_ascii_lowercase());
        let Some(scheme) = scheme.filter(|scheme| is_scheme(scheme)) else {
            return Err(format!(
                "{text:?} is no editor; it is vscode, idea, or a URL such as `{VSCODE}`"
            ));
        };
        if PROGRAMS.contains(&scheme.as_str()) {
            return Err(format!(
                "a link must not begin with `{scheme}:`, which is run as a program"
            ));
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("a URL is made of visible ASCII characters; encode others as %XX".into());
        }
        let mut path = false;
        for part in text.split('{').skip(1) {
            match part.split_once('}') {
                Some(("path", _)) => path = true,
                Some(("line" | "column", _)) => {}
                _ => return Err("in braces there are {path}, {line} and {column} only".into()),
            }
        }
        if !path {
            return Err("{path} is missing, without which no file is opened".into());
        }
        Ok(Self(text.to_owned()))
    }
}

/// RFC 3986 section 3.1, of lower-case letters.
fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.".contains(&b))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("vscode", "vscode://file/srv/a%20b/%23%3F%26%7Bline%7D.rs:12:5")]
    #[case("idea", "idea://open?file=/srv/a%20b/%23%3F%26%7Bline%7D.rs&line=12&column=5")]
    #[case("x-edit+1:{path}#{line}", "x-edit+1:/srv/a%20b/%23%3F%26%7Bline%7D.rs#12")]
    fn a_link_names_the_place(#[case] editor: EditorLink, #[case] href: &str) {
        assert_eq!(editor.href(Path::new("/srv/a b/#?&{line}.rs"), 12, 5), href);
    }

    #[rstest]
    #[case("emacs", "no editor")]
    #[case(":{path}", "no editor")]
    #[case("1x:{path}", "no editor")]
    #[case("JavaScript:alert(1)//{path}", "run as a program")]
    #[case("data:text/html,{path}", "run as a program")]
    #[case("edit:{path} {line}", "visible ASCII")]
    #[case("edit:{path}:{row}", "in braces")]
    #[case("edit:{path", "in braces")]
    #[case("edit:{line}", "{path} is missing")]
    fn what_opens_no_file_is_refused(#[case] text: &str, #[case] reason: &str) {
        let error = text.parse::<EditorLink>().unwrap_err();
        assert!(error.contains(reason), "{error}");
    }
}
