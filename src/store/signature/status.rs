//! What gpgv writes to its status descriptor (GnuPG, doc/DETAILS, "General status codes").
//!
//! It is read strictly: only one good signature, of bytes, and nothing else, is accepted.

use std::path::Path;

use super::Flaw;

/// What a line begins with.
const PREFIX: &str = "[GNUPG:] ";

/// The class of a signature over bytes as they are (RFC 4880, 5.2.1).
const OF_BYTES: &str = "00";

/// `ERRSIG`'s reason for a key that is not in the keyring.
const NO_KEY: &str = "9";

/// How much of gpgv's own words is repeated, in characters.
const MAX_WORDS: usize = 200;

/// Returns the fingerprint of the key whose signature gpgv found good. `succeeded` is its exit
/// status, `keyring` what it was given, and `complaint` what it wrote for people.
pub(super) fn judge(
    status: &str,
    succeeded: bool,
    keyring: &Path,
    complaint: &str,
) -> Result<String, Flaw> {
    let said = Said::read(status);
    if said.all("NEWSIG").count() > 1 {
        return Err(Flaw::Several);
    }
    if let Some(flaw) = said.flaw(keyring) {
        return Err(flaw);
    }
    let mut valid = said.all("VALIDSIG");
    match (said.all("GOODSIG").count(), valid.next(), valid.next()) {
        (1, Some(line), None) if succeeded => match line {
            [fingerprint, _, _, _, _, _, _, _, OF_BYTES, ..] => Ok((*fingerprint).to_owned()),
            [_, _, _, _, _, _, _, _, _, ..] => Err(Flaw::OfText),
            _ => Err(unclear(complaint)),
        },
        (0, None, None) => Err(Flaw::NotASignature),
        _ => Err(unclear(complaint)),
    }
}

/// The lines, as keyword and arguments.
struct Said<'s>(Vec<(&'s str, Vec<&'s str>)>);

impl<'s> Said<'s> {
    fn read(status: &'s str) -> Self {
        let lines = status.lines().filter_map(|line| line.strip_prefix(PREFIX));
        let parsed = lines.filter_map(|line| {
            let mut words = line.split(' ');
            Some((words.next()?, words.collect()))
        });
        Self(parsed.collect())
    }

    /// The arguments of every line with this keyword.
    fn all(&self, keyword: &str) -> impl Iterator<Item = &[&'s str]> {
        self.0.iter().filter(move |(found, _)| *found == keyword).map(|(_, rest)| rest.as_slice())
    }

    /// The worst that is said, wherever it stands.
    fn flaw(&self, keyring: &Path) -> Option<Flaw> {
        let key = |keyword| {
            let line = self.all(keyword).next()?;
            Some(line.first().copied().unwrap_or("unknown").to_owned())
        };
        let of_keyring = || keyring.to_path_buf();
        if let Some(key) = key("BADSIG") {
            return Some(Flaw::Altered(key));
        }
        if let Some(key) = key("REVKEYSIG") {
            return Some(Flaw::RevokedKey(key));
        }
        if let Some(line) = self.all("ERRSIG").next() {
            let key = line.first().copied().unwrap_or("unknown").to_owned();
            return Some(match line.get(5) {
                Some(&NO_KEY) => Flaw::UnknownKey { key, keyring: of_keyring() },
                _ => Flaw::Unsupported(key),
            });
        }
        if let Some(key) = key("EXPKEYSIG") {
            return Some(Flaw::ExpiredKey { key, keyring: of_keyring() });
        }
        key("EXPSIG").map(Flaw::ExpiredSignature)
    }
}

fn unclear(complaint: &str) -> Flaw {
    let line = complaint.lines().rfind(|line| !line.is_empty()).unwrap_or("it says nothing");
    let visible = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
    Flaw::Unclear(line.chars().take(MAX_WORDS).map(visible).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    const FINGERPRINT: &str = "D0A2CA2DF5BC0E3A0F6E4B7C7F3B6E2A1C9D8E7F";

    fn valid(class: &str) -> String {
        format!("VALIDSIG {FINGERPRINT} 2026-11-01 1793500000 0 4 0 22 10 {class} {FINGERPRINT}")
    }

    fn judged(lines: &[&str], succeeded: bool) -> Result<String, String> {
        let status: String = lines.iter().map(|line| format!("{PREFIX}{line}\n")).collect();
        judge(&status, succeeded, Path::new("/etc/tqserver/trusted.gpg"), "gpgv: a\ngpgv: b\n")
            .map_err(|flaw| flaw.to_string())
    }

    #[test]
    fn one_good_signature_of_bytes_is_accepted() {
        let lines = ["NEWSIG", "GOODSIG 7F3B A <a@example.org>", &valid("00")];
        assert_eq!(judged(&lines, true), Ok(FINGERPRINT.to_owned()));
    }

    #[rstest]
    #[case::nothing(&[], false, "is not a detached OpenPGP signature")]
    #[case::no_data(&["NODATA 4"], false, "is not a detached OpenPGP signature")]
    #[case::bad(&["NEWSIG", "BADSIG 7F3B A"], false, "altered after key 7F3B had signed")]
    #[case::bad_beside_good(&["NEWSIG", "GOODSIG 7F3B A", "BADSIG 7F3B A"], true, "altered")]
    #[case::revoked(&["NEWSIG", "REVKEYSIG 7F3B A"], true, "key 7F3B was revoked")]
    #[case::expired_key(&["NEWSIG", "EXPKEYSIG 7F3B A"], true, "key 7F3B has expired")]
    #[case::expired(&["NEWSIG", "EXPSIG 7F3B A"], true, "signature of key 7F3B has expired")]
    #[case::unknown(
        &["NEWSIG", "ERRSIG 7F3B 22 10 00 1793500000 9 -", "NO_PUBKEY 7F3B"],
        false,
        "key 7F3B, which is not in /etc/tqserver/trusted.gpg"
    )]
    #[case::unsupported(&["NEWSIG", "ERRSIG 7F3B 99 1 00 1 4 -"], false, "unknown here or too weak")]
    #[case::two(&["NEWSIG", "GOODSIG 7F3B A", "NEWSIG", "ERRSIG 1 1 1 00 1 9"], true, "several")]
    #[case::only_good(&["NEWSIG", "GOODSIG 7F3B A"], true, "gpgv does not accept it: gpgv: b")]
    #[case::good_twice(&["GOODSIG 7F3B A", "GOODSIG 7F3B A"], true, "does not accept it")]
    fn all_else_is_refused(#[case] lines: &[&str], #[case] succeeded: bool, #[case] reason: &str) {
        let refused = judged(lines, succeeded).unwrap_err();
        assert!(refused.contains(reason), "{refused}");
    }

    #[test]
    fn a_good_word_is_not_enough() {
        let good = "GOODSIG 7F3B A";
        let failed = judged(&["NEWSIG", good, &valid("00")], false).unwrap_err();
        assert!(failed.contains("does not accept it"), "{failed}");
        let of_text = judged(&["NEWSIG", good, &valid("01")], true).unwrap_err();
        assert!(of_text.contains("as a text"), "{of_text}");
        let twice = judged(&["NEWSIG", good, &valid("00"), &valid("00")], true).unwrap_err();
        assert!(twice.contains("does not accept it"), "{twice}");
    }
}
