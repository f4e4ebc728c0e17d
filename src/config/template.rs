//! `${VAR}` and `${VAR:-default}` in values, as in a shell; `$$` is a literal dollar.

use std::str::FromStr;

/// Text with variables in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Variable { name: String, default: String },
}

/// Why a text is no template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvalidTemplate {
    /// The brace that should end the variable is missing.
    #[error("`${{` without its `}}`; a literal dollar is written `$$`")]
    Open,
    /// Something other than a name stands between the braces.
    #[error("`${{{0}}}` is not `${{NAME}}` or `${{NAME:-default}}`")]
    Name(String),
}

/// Whether `text` may be the name of an environment variable.
pub(super) fn is_variable_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

impl FromStr for Template {
    type Err = InvalidTemplate;

    fn from_str(text: &str) -> Result<Self, InvalidTemplate> {
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(dollar) = rest.find('$') {
            literal.push_str(&rest[..dollar]);
            let after = &rest[dollar + 1..];
            if let Some(inner) = after.strip_prefix('{') {
                let (inside, tail) = inner.split_once('}').ok_or(InvalidTemplate::Open)?;
                let (name, default) = inside.split_once(":-").unwrap_or((inside, ""));
                if !is_variable_name(name) {
                    return Err(InvalidTemplate::Name(inside.to_owned()));
                }
                pieces.push(Piece::Literal(std::mem::take(&mut literal)));
                pieces.push(Piece::Variable { name: name.into(), default: default.into() });
                rest = tail;
            } else {
                literal.push('$');
                rest = after.strip_prefix('$').unwrap_or(after);
            }
        }
        literal.push_str(rest);
        pieces.push(Piece::Literal(literal));
        Ok(Self(pieces))
    }
}

impl Template {
    /// The text with every variable replaced. As in a shell, the default stands in for a
    /// variable that is unset or empty. Values are not expanded again.
    pub(super) fn expand(&self, mut lookup: impl FnMut(&str) -> Option<String>) -> String {
        let expand = |piece: &Piece| match piece {
            Piece::Literal(text) => text.clone(),
            Piece::Variable { name, default } => {
                lookup(name).filter(|value| !value.is_empty()).unwrap_or_else(|| default.clone())
            }
        };
        self.0.iter().map(expand).collect()
    }

    /// A template's text with every variable replaced but those that are known only `later`.
    /// What was replaced is escaped, so that it is never taken for a variable itself.
    pub(super) fn bind(
        &self,
        later: impl Fn(&str) -> bool,
        mut lookup: impl FnMut(&str) -> Option<String>,
    ) -> String {
        let bind = |piece: &Piece| match piece {
            Piece::Variable { name, default } if later(name) && default.is_empty() => {
                format!("${{{name}}}")
            }
            Piece::Variable { name, default } if later(name) => format!("${{{name}:-{default}}}"),
            known => Self(vec![known.clone()]).expand(&mut lookup).replace('$', "$$"),
        };
        self.0.iter().map(bind).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    fn lookup(name: &str) -> Option<String> {
        match name {
            "HOST" => Some("example.org".into()),
            "EMPTY" => Some(String::new()),
            "MONEY" => Some("${HOST}$".into()),
            _ => None,
        }
    }

    #[rstest]
    #[case("plain", "plain")]
    #[case("${HOST}", "example.org")]
    #[case("a${HOST}b${HOST}", "aexample.orgbexample.org")]
    #[case("${NONE}", "")]
    #[case("${NONE:-x:-y}", "x:-y")]
    #[case("${EMPTY:-x}", "x")]
    #[case("$${HOST}", "${HOST}")]
    #[case("5$ $HOST $", "5$ $HOST $")]
    #[case("${MONEY}", "${HOST}$")]
    fn expands(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(text.parse::<Template>().unwrap().expand(lookup), expected);
    }

    #[rstest]
    #[case("${HOST")]
    #[case("${}")]
    #[case("${1X}")]
    #[case("${A B}")]
    #[case("${A-b}")]
    fn refuses(#[case] text: &str) {
        assert!(text.parse::<Template>().is_err());
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in "\\PC*") {
            let _ = text.parse::<Template>();
        }

        #[test]
        fn binding_then_expanding_is_expanding(
            parts in prop::collection::vec(
                prop::sample::select(vec!["$", "$$", "x", "{", "${HOST}", "${MONEY}", "${LATER:-d}", "${LATER}"]),
                0..8,
            )
        ) {
            // The pieces may meet to something that is no template.
            if let Ok(template) = parts.concat().parse::<Template>() {
                let bound = template.bind(|name| name == "LATER", lookup);
                let all = |name: &str| if name == "LATER" { Some("L$".to_owned()) } else { lookup(name) };
                let late = |name: &str| (name == "LATER").then(|| "L$".to_owned());
                prop_assert_eq!(bound.parse::<Template>().unwrap().expand(late), template.expand(all));
            }
        }
    }
}
