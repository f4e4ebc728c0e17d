//! Variables in a file, as `EnvironmentFile=` of systemd.exec(5) has them.

use std::io;
use std::path::Path;

use super::Environment;

/// The variables in `file`, and the numbers, from 1, of lines that only systemd can read: those with
/// backslashes, or quotes that are not around the whole value. An absent file has none.
///
/// # Errors
/// Those of reading it.
pub fn read(file: &Path) -> io::Result<(Environment, Vec<usize>)> {
    match std::fs::read_to_string(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(parse("")),
        text => Ok(parse(&text?)),
    }
}

fn parse(text: &str) -> (Environment, Vec<usize>) {
    let (mut variables, mut unclear) = (Vec::new(), Vec::new());
    for (line, number) in text.lines().zip(1..) {
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        match assignment(line) {
            Some(variable) => variables.push(variable),
            None => unclear.push(number),
        }
    }
    (variables.into_iter().collect(), unclear)
}

fn assignment(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.split_once('=').map(|(name, value)| (name.trim(), value.trim()))?;
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty()
        || name.starts_with(|c: char| c.is_ascii_digit())
        || !name.chars().all(is_name)
    {
        return None;
    }
    let quoted = |quote| value.strip_prefix(quote)?.strip_suffix(quote);
    let value = quoted('"').or_else(|| quoted('\'')).unwrap_or(value);
    (!value.contains(['\\', '"', '\''])).then_some((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_plain_is_read_and_the_rest_is_named() {
        let text = "# A comment\n; another\n\nPORT=80\n NAME = \"two words\"\nOTHER='x#y'\nEMPTY=\n\
                    ESCAPED=a\\\nhalf=\"open\n2=x\nno assignment\nPORT=81\n";
        let (variables, unclear) = parse(text);
        let expected = [("PORT", "81"), ("NAME", "two words"), ("OTHER", "x#y"), ("EMPTY", "")];
        assert_eq!(variables, expected.into_iter().collect());
        assert_eq!(unclear, [8, 9, 10, 11]);
    }
}
