//! The names everything else is made of. Each is parsed once, where bytes enter the program, so
//! that a bad one cannot be expressed further in.

use std::fmt;
use std::num::NonZeroU16;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Why a name was refused: what it was meant to be, what it was, and the rule it breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{value:?} is not a {kind}: {rule}")]
pub struct InvalidId {
    kind: &'static str,
    value: String,
    rule: &'static str,
}

impl InvalidId {
    fn new(kind: &'static str, value: &str, rule: &'static str) -> Self {
        // An error must stay one readable line, whatever was fed to us.
        let value = value.chars().take(80).collect();
        Self { kind, value, rule }
    }
}

/// Serialises through `Display` and deserialises through `FromStr`, so that a document can only
/// hold what the parser accepts.
macro_rules! serde_as_str {
    ($($name:ty),+) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
        #[cfg(test)]
        impl schemars::JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string" })
            }
        }
    )+};
}
serde_as_str!(WorkerName, CommitId, Md5, Sha256, UnitName, RoutePath);

/// A worker's name: `[a-z][a-z0-9_]{0,26}`.
///
/// No dash, so that `journalctl -u 'tq-worker@index-*'` is never ambiguous; short enough that
/// `tqw-<name>` is a legal user name (31 bytes, useradd(8)).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerName(Box<str>);

impl WorkerName {
    /// The longest name, in bytes.
    pub const MAX_LEN: usize = 27;

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for WorkerName {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let rule = "it must match [a-z][a-z0-9_]{0,26}";
        let mut bytes = text.bytes();
        let head = bytes.next().is_some_and(|b| b.is_ascii_lowercase());
        let tail = bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if !(head && tail && text.len() <= Self::MAX_LEN) {
            return Err(InvalidId::new("worker name", text, rule));
        }
        if text == "shared" {
            return Err(InvalidId::new("worker name", text, "workers/shared holds what all share"));
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for WorkerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A full git commit: 40 lower-case hexadecimal digits. Deployment folders carry this name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommitId(Box<str>);

impl CommitId {
    /// All 40 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first seven digits, for people.
    pub fn short(&self) -> &str {
        &self.0[..7]
    }
}

impl FromStr for CommitId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let hex = text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if text.len() != 40 || !hex {
            return Err(InvalidId::new(
                "commit",
                text,
                "it must be 40 lower-case hexadecimal digits",
            ));
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CommitId({})", self.short())
    }
}

macro_rules! digest_type {
    ($(#[$doc:meta])* $name:ident, $bytes:literal, $kind:literal, $rule:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $bytes]);

        impl $name {
            /// Wraps the raw digest.
            pub const fn new(bytes: [u8; $bytes]) -> Self {
                Self(bytes)
            }

            /// The raw digest.
            pub const fn as_bytes(&self) -> &[u8; $bytes] {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let mut bytes = [0; $bytes];
                let digits = text.as_bytes();
                let nibble = |b: u8| match b {
                    b'0'..=b'9' => Some(b - b'0'),
                    b'a'..=b'f' => Some(b - b'a' + 10),
                    _ => None,
                };
                if digits.len() != 2 * $bytes {
                    return Err(InvalidId::new($kind, text, $rule));
                }
                for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
                    match (nibble(pair[0]), nibble(pair[1])) {
                        (Some(high), Some(low)) => *byte = high << 4 | low,
                        _ => return Err(InvalidId::new($kind, text, $rule)),
                    }
                }
                Ok(Self(bytes))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    };
}

digest_type!(
    /// An MD5 sum: tells whether something changed. Never trusted for integrity.
    Md5,
    16,
    "MD5 sum",
    "it must be 32 lower-case hexadecimal digits"
);
digest_type!(
    /// A SHA-256 sum: tells whether a file is the one that was built.
    Sha256,
    32,
    "SHA-256 sum",
    "it must be 64 lower-case hexadecimal digits"
);

/// A TCP port that a worker listens on; never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct Port(NonZeroU16);

impl Port {
    /// `None` for 0, which the kernel takes to mean "any".
    pub fn new(number: u16) -> Option<Self> {
        NonZeroU16::new(number).map(Self)
    }

    /// The number.
    pub fn get(self) -> u16 {
        self.0.get()
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number of a worker's generation: 1 for its first, rising by one with every start, never
/// used twice for one worker. Shown as `g18`.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct Generation(pub u64);

impl Generation {
    /// The one after this.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "g{}", self.0)
    }
}

/// The transient unit of one generation: `tq-worker@<name>-<port>.service`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnitName {
    /// Whose generation it is.
    pub worker: WorkerName,
    /// The port it was told to listen on.
    pub port: Port,
}

impl UnitName {
    /// The glob that finds every generation of every worker.
    pub const GLOB: &'static str = "tq-worker@*.service";
}

impl FromStr for UnitName {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let parse = || {
            let instance = text.strip_prefix("tq-worker@")?.strip_suffix(".service")?;
            let (worker, port) = instance.split_once('-')?;
            let number: u16 = port.parse().ok()?;
            // "007" and "+7" parse as numbers, but are not the name we gave.
            (number.to_string() == port).then_some(())?;
            Some(Self { worker: worker.parse().ok()?, port: Port::new(number)? })
        };
        parse().ok_or_else(|| {
            InvalidId::new("worker unit", text, "it must read tq-worker@<name>-<port>.service")
        })
    }
}

impl fmt::Display for UnitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tq-worker@{}-{}.service", self.worker, self.port)
    }
}

/// Where a worker is mounted: `/`, or `/segment[/segment…]` without a trailing slash.
///
/// Segments are unreserved characters of RFC 3986 section 2.3, so that a route reads the same in
/// a URL, a file and a log.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoutePath(Box<str>);

impl RoutePath {
    /// The route that takes whatever no other does.
    pub fn root() -> Self {
        Self("/".into())
    }

    /// The route a folder's name stands for: `index` is `/`, and `_` becomes `/`.
    pub fn from_worker_name(name: &WorkerName) -> Self {
        if name.as_str() == "index" {
            return Self::root();
        }
        let segments: Vec<_> = name.as_str().split('_').filter(|part| !part.is_empty()).collect();
        Self(format!("/{}", segments.join("/")).into())
    }

    /// The route as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The prefix to put before a path below the route: empty for `/`.
    pub fn prefix(&self) -> &str {
        if self.is_root() { "" } else { &self.0 }
    }

    /// Whether this is `/`.
    pub fn is_root(&self) -> bool {
        &*self.0 == "/"
    }

    /// Whether `path` lies at or below this route, by whole segments: `/api` covers `/api` and
    /// `/api/x`, never `/apix`.
    pub fn covers(&self, path: &str) -> bool {
        path.strip_prefix(self.prefix())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl FromStr for RoutePath {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let rule = "it must be \"/\" or \"/segment\" by segment, of letters, digits and -._~, \
                    without a trailing slash, \".\" or \"..\"";
        let unreserved = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
        let segment = |s: &str| !s.is_empty() && s != "." && s != ".." && s.bytes().all(unreserved);
        let valid =
            text == "/" || text.strip_prefix('/').is_some_and(|rest| rest.split('/').all(segment));
        if !valid || text.len() > 255 {
            return Err(InvalidId::new("route", text, rule));
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for RoutePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests;
