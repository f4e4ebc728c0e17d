//! What the `Connection` fields of a message say (RFC 9110 section 7.6.1).

use super::{Field, FieldName, Version};

/// The options in all `Connection` fields together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ConnectionOptions {
    /// The connection ends with this message and its answer.
    pub close: bool,
    /// It goes on, which only HTTP/1.0 needs to say.
    pub keep_alive: bool,
    /// The `Upgrade` field is meant.
    pub upgrade: bool,
    /// Other fields are named that are for this connection only.
    pub names_fields: bool,
}

impl ConnectionOptions {
    /// Whether the connection goes on after a message of this version.
    pub(super) fn keeps_alive(self, version: Version) -> bool {
        !self.close && (self.keep_alive || version == Version::Http11)
    }

    /// Adds a field's value.
    pub(super) fn add(&mut self, value: &[u8]) {
        for token in tokens(value) {
            match token.len() {
                0 => {}
                5 if token.eq_ignore_ascii_case(b"close") => self.close = true,
                7 if token.eq_ignore_ascii_case(b"upgrade") => self.upgrade = true,
                10 if token.eq_ignore_ascii_case(b"keep-alive") => self.keep_alive = true,
                _ => self.names_fields = true,
            }
        }
    }
}

/// Whether any `Connection` field names `name`: then that field stays behind.
pub(super) fn names(fields: &[Field<'_>], name: &str) -> bool {
    let connection = |field: &&Field<'_>| FieldName::of(field.name) == FieldName::Connection;
    let mut named = fields.iter().filter(connection).flat_map(|field| tokens(field.value));
    named.any(|token| token.eq_ignore_ascii_case(name.as_bytes()))
}

/// The members of a comma-separated list, some of which may be empty.
pub fn tokens(value: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    value.split(|b| *b == b',').map(<[u8]>::trim_ascii)
}
