//! Who may look: whoever has the token, and then has a cookie that says so.
//!
//! The cookie is signed with the token and kept nowhere: it outlasts restarts of tqserver, and another
//! token ends all sessions.

use jiff::Timestamp;
use ring::hmac;

use crate::config::settings::Secret;
use crate::ids::Sha256;

/// How long a session lasts, in seconds.
pub(super) const LASTS: i64 = 12 * 3600;

/// What the cookie is called.
pub(super) const COOKIE: &str = "tq_dashboard";

/// Whether it is the token, in a time that does not depend on how much of it is right.
pub(super) fn is_token(token: &Secret, given: &[u8]) -> bool {
    let tag = hmac::sign(&key(token.as_bytes()), b"token");
    hmac::verify(&key(given), b"token", tag.as_ref()).is_ok()
}

/// The value of a cookie for a session that begins now.
pub(super) fn begin(token: &Secret, now: Timestamp) -> String {
    let expires = now.as_second() + LASTS;
    let tag = hmac::sign(&key(token.as_bytes()), &signed(expires));
    let digits: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{expires}.{digits}")
}

/// Whether a request with this `Cookie` field is of a session.
pub(super) fn is_open(token: &Secret, cookies: &str, now: Timestamp) -> bool {
    let values = cookies.split(';').filter_map(|pair| pair.trim().split_once('='));
    values.filter(|(name, _)| *name == COOKIE).any(|(_, value)| is_valid(token, value, now))
}

fn is_valid(token: &Secret, value: &str, now: Timestamp) -> bool {
    let Some((expires, digits)) = value.split_once('.') else { return false };
    let (Ok(expires), Ok(tag)) = (expires.parse(), digits.parse::<Sha256>()) else { return false };
    let is_ours = hmac::verify(&key(token.as_bytes()), &signed(expires), tag.as_bytes()).is_ok();
    is_ours && now.as_second() < expires
}

fn key(token: &[u8]) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, token)
}

fn signed(expires: i64) -> Vec<u8> {
    format!("session until {expires}").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    #[test]
    fn a_session_is_open_until_it_expires() {
        let token = Secret::new("0123456789abcdef");
        let cookies = format!("theme=dark; {COOKIE}={}", begin(&token, at(0)));
        assert!(is_open(&token, &cookies, at(LASTS - 1)));
        assert!(!is_open(&token, &cookies, at(LASTS)));
        assert!(!is_open(&Secret::new("fedcba9876543210"), &cookies, at(0)), "another token");
    }

    #[test]
    fn what_was_altered_opens_nothing() {
        let token = Secret::new("0123456789abcdef");
        let value = begin(&token, at(0));
        let (expires, tag) = value.split_once('.').unwrap();
        let later = format!("{}.{tag}", expires.parse::<i64>().unwrap() + 1);
        let short = format!("{expires}.{}", &tag[..62]);
        for value in [&later, &short, expires, "", ".", "x.y", "99999999999999999999.00"] {
            assert!(!is_open(&token, &format!("{COOKIE}={value}"), at(0)), "{value}");
        }
    }

    #[test]
    fn only_the_token_is_the_token() {
        let token = Secret::new("0123456789abcdef");
        assert!(is_token(&token, b"0123456789abcdef"));
        for given in ["", "0123456789abcde", "0123456789abcdef0", "0123456789ABCDEF"] {
            assert!(!is_token(&token, given.as_bytes()), "{given}");
        }
    }
}
