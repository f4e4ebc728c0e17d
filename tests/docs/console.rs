//! Console blocks: commands behind `$ `, their further lines behind `> `, and what they print.

/// A command as a document shows it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    /// Where, counted from 1.
    pub(crate) line: usize,
    /// The command, possibly of several lines.
    pub(crate) text: String,
    /// What is shown below it: some or all lines of its output, in order.
    pub(crate) output: Vec<String>,
}

/// The commands in the ```console blocks of a document.
pub(crate) fn commands(markdown: &str) -> Vec<Shown> {
    let mut found: Vec<Shown> = Vec::new();
    let mut inside = false;
    for (index, line) in markdown.lines().enumerate() {
        if line.starts_with("```") {
            inside = line == "```console";
        } else if let Some(command) = line.strip_prefix("$ ").filter(|_| inside) {
            found.push(Shown { line: index + 1, text: command.to_owned(), output: Vec::new() });
        } else if let Some(last) = found.last_mut().filter(|_| inside) {
            match line.strip_prefix("> ").or((line == ">").then_some("")) {
                Some(more) => last.text.extend(["\n", more]),
                None => last.output.push(line.to_owned()),
            }
        }
    }
    found
}

/// The first line of `shown` that `actual` does not have, in order. What differs from run to run
/// counts as equal: numbers, times, commits, digests and the width of columns.
pub(crate) fn missing<'a>(shown: &'a [String], actual: &str) -> Option<&'a str> {
    let mut actual = actual.lines().map(mask);
    shown
        .iter()
        .map(|line| (line.as_str(), mask(line)))
        .filter(|(_, masked)| !masked.is_empty() && masked != "…")
        .find(|(_, masked)| match masked.strip_suffix('…') {
            Some(start) => !actual.any(|line| line.starts_with(start)),
            None => !actual.any(|line| line == *masked),
        })
        .map(|(line, _)| line)
}

fn mask(line: &str) -> String {
    let mut masked = String::new();
    let mut rest = line.trim_end();
    while let Some(first) = rest.chars().next() {
        let word = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
        let len = word.max(first.len_utf8());
        let (token, after) = rest.split_at(len);
        if first.is_whitespace() {
            if !masked.ends_with(' ') {
                masked.push(' ');
            }
        } else if varies(token) || (token.len() == 4 && is_hex(token) && after.starts_with('…')) {
            masked.push('#');
        } else {
            masked.push_str(token);
        }
        rest = after;
    }
    masked
}

fn is_hex(token: &str) -> bool {
    token.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// Numbers with or without a unit, generations, commits and digests.
fn varies(token: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    token.as_bytes()[0].is_ascii_digit()
        || token.strip_prefix('g').is_some_and(digits)
        || (matches!(token.len(), 7 | 32 | 40) && is_hex(token))
}

#[test]
fn commands_have_their_further_lines_and_their_output() {
    let text = "x\n```console\n$ cat <<END\n> a\n> END\na\n\n$ true\n```\n$ no\n```sh\n$ no\n```\n";
    let shown = |line, text: &str, output: &[&str]| {
        let output = output.iter().map(|&line| line.to_owned()).collect();
        Shown { line, text: text.to_owned(), output }
    };
    assert_eq!(commands(text), [shown(3, "cat <<END\na\nEND", &["a", ""]), shown(8, "true", &[])]);
}

#[test]
fn output_may_differ_in_numbers_only() {
    let shown =
        ["= index   4.2 MB  md5 e93f…  unchanged".to_owned(), "up 3d at 28fa743".to_owned()];
    let actual = "one\n= index 10.1 MB md5 12ab…  unchanged\ntwo\nup 10s at abcdefa\n";
    assert_eq!(missing(&shown, actual), None);
    assert_eq!(missing(&shown, &actual.replace("un", "")), Some(shown[0].as_str()));
    let mut turned = shown.clone();
    turned.reverse();
    assert_eq!(missing(&turned, actual), Some(shown[0].as_str()));
}
