//! Entity tags (RFC 9110 section 8.8.3).

use std::fmt;

use crate::config::settings::Coding;
use crate::ids::Md5;

/// The strong entity tag of one representation: equal only for equal bytes in equal coding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ETag {
    /// The sum of the bytes that are sent.
    pub(super) content: Md5,
    /// The coding they are sent in.
    pub(super) coding: Option<Coding>,
}

impl fmt::Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.coding {
            Some(coding) => write!(f, "\"{}-{}\"", self.content, coding.token()),
            None => write!(f, "\"{}\"", self.content),
        }
    }
}

/// How two tags are compared (section 8.8.3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    /// Weak tags equal nothing: for ranges and for `If-Match`.
    Strong,
    /// Weakness is overlooked: for `If-None-Match`.
    Weak,
}

/// Whether `field`, the value of `If-Match` or `If-None-Match`, lists the tag `own`.
///
/// Reading stops where the list is malformed: what follows cannot be told apart.
pub(super) fn lists(field: &str, own: &str, comparison: Comparison) -> bool {
    let mut rest = field;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let (weak, tag) = match rest.strip_prefix("W/") {
            Some(tag) => (true, tag),
            None => (false, rest),
        };
        let Some(end) = tag.strip_prefix('"').and_then(|opaque| opaque.find('"')) else {
            return false;
        };
        let (tag, after) = tag.split_at(end + 2);
        if tag == own && !(weak && comparison == Comparison::Strong) {
            return true;
        }
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(r#""a""#, true, true)]
    #[case(r#"W/"a""#, false, true)]
    #[case(r#""b", "a""#, true, true)]
    #[case(r#""b,c" ,, W/"x",	"a""#, true, true)]
    #[case(r#"W/"b","a""#, true, true)]
    #[case(r#""A""#, false, false)]
    #[case(r#"w/"a""#, false, false)]
    #[case(r#"a"#, false, false)]
    #[case(r#""a"#, false, false)]
    #[case(r#"b, "a""#, false, false)]
    #[case(r#""""#, false, false)]
    #[case("", false, false)]
    #[case("*", false, false)]
    #[case("W/", false, false)]
    fn lists_are_compared(#[case] field: &str, #[case] strong: bool, #[case] weak: bool) {
        assert_eq!(lists(field, r#""a""#, Comparison::Strong), strong);
        assert_eq!(lists(field, r#""a""#, Comparison::Weak), weak);
    }

    #[test]
    fn codings_have_tags_of_their_own() {
        let content = Md5::new([0xab; 16]);
        let plain = ETag { content, coding: None }.to_string();
        let gzip = ETag { content, coding: Some(Coding::Gzip) }.to_string();
        assert_eq!(plain, format!("\"{}\"", "ab".repeat(16)));
        assert_eq!(gzip, format!("\"{}-gzip\"", "ab".repeat(16)));
    }
}
