//! Links between documents, and the folder listing of ARCHITECTURE.md.

use std::fs;
use std::path::Path;

/// The relative links of a document that lead nowhere: to no file, or to no heading of one.
pub(crate) fn broken(repository: &Path, document: &str, markdown: &str) -> Vec<String> {
    let folder = Path::new(document).parent().unwrap_or(Path::new(""));
    let leads_somewhere = |link: &&str| {
        let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
        let path = match file {
            "" => repository.join(document),
            file => repository.join(folder).join(file),
        };
        let has_anchor = || fs::read_to_string(&path).is_ok_and(|text| has_heading(&text, anchor));
        path.exists() && (anchor.is_empty() || has_anchor())
    };
    let links = targets(markdown);
    let relative = links.iter().copied().filter(|link| !link.contains("://"));
    relative.filter(|it| !leads_somewhere(it)).map(|it| format!("{document}: {it}")).collect()
}

/// `[text](target)`, `![text](target)`, `src="target"` and `srcset="target"`, outside of code.
fn targets(markdown: &str) -> Vec<&str> {
    let mut in_code = false;
    let mut found = Vec::new();
    for line in markdown.lines() {
        if line.starts_with("```") {
            in_code = !in_code;
        } else if !in_code {
            for (opening, closing) in [("](", ')'), ("src=\"", '"'), ("srcset=\"", '"')] {
                let after = line.split(opening).skip(1);
                found.extend(after.filter_map(|it| it.split_once(closing)).map(|(it, _)| it));
            }
        }
    }
    found
}

/// Whether a heading has this anchor, by the rule of the forges.
fn has_heading(markdown: &str, anchor: &str) -> bool {
    let slug = |heading: &str| {
        let kept = heading.trim().chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.collect::<String>().to_lowercase().replace(' ', "-")
    };
    markdown.lines().filter(|it| it.starts_with('#')).any(|it| slug(it.trim_matches('#')) == anchor)
}

/// The paths of the first listing in code: a name a line, children two spaces below their folder.
/// What is indented further goes on with the line before.
pub(crate) fn listing(markdown: &str) -> Vec<String> {
    let block = markdown.split("```").nth(1).unwrap_or_default();
    let mut parents: Vec<&str> = Vec::new();
    let mut found = Vec::new();
    for line in block.lines() {
        let depth = (line.len() - line.trim_start().len()) / 2;
        let Some(name) = line.split_whitespace().next().filter(|_| depth <= parents.len()) else {
            continue;
        };
        parents.truncate(depth);
        parents.push(name);
        found.push(parents.concat());
    }
    found
}

#[test]
fn a_link_needs_its_file_and_its_heading() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("docs")).unwrap();
    fs::write(dir.path().join("docs/a.md"), "# The `first` one\n").unwrap();
    let text =
        "[a](a.md) [b](a.md#the-first-one) [c](https://example.org/x)\n[d](b.md) [e](a.md#x)";
    assert_eq!(broken(dir.path(), "docs/c.md", text), ["docs/c.md: b.md", "docs/c.md: a.md#x"]);
}
