//! Which answers of a worker are compressed on their way to clients, and how.

use std::str::FromStr;

use super::section::Section;
use super::settings::WorkerOverrides;
use super::units::size;

/// How a body may be coded: the content codings that browsers know (RFC 9110 section 8.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// RFC 7932.
    Brotli,
    /// RFC 8878.
    Zstd,
    /// RFC 1952.
    Gzip,
}

impl Coding {
    /// All of them, the one that makes text smallest first.
    pub const ALL: [Self; 3] = [Self::Brotli, Self::Zstd, Self::Gzip];

    /// The name in `Content-Encoding`.
    pub const fn token(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
        }
    }
}

impl FromStr for Coding {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|coding| coding.token() == text);
        found.ok_or_else(|| format!("{text:?} is none of zstd, br and gzip"))
    }
}

/// Media types: one, `application/json`, or all of a kind, `text/*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaRange {
    /// In lower case, up to the `*` if there is one.
    text: String,
    is_open: bool,
}

impl MediaRange {
    /// Whether the value of a `Content-Type` field is in it.
    pub fn covers(&self, content_type: &[u8]) -> bool {
        let media_type = content_type.split(|byte| *byte == b';').next().unwrap_or_default();
        let media_type = media_type.trim_ascii();
        let compared =
            if self.is_open { media_type.get(..self.text.len()) } else { Some(media_type) };
        compared.is_some_and(|compared| compared.eq_ignore_ascii_case(self.text.as_bytes()))
    }
}

impl FromStr for MediaRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // RFC 9110 section 5.6.2, but for `*`, which nobody means in a name.
        let is_token = |name: &str| {
            let is_mark = |byte| b"!#$%&'+-.^_`|~".contains(&byte);
            !name.is_empty()
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || is_mark(byte))
        };
        match text.split_once('/') {
            Some((kind, name)) if is_token(kind) && (name == "*" || is_token(name)) => {
                let is_open = name == "*";
                let text = text.trim_end_matches('*').to_ascii_lowercase();
                Ok(Self { text, is_open })
            }
            _ => Err(format!("{text:?} is not a media type such as application/json, or text/*")),
        }
    }
}

/// Which answers of a worker are compressed, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompressionSettings {
    /// The one that is liked best first. Empty where nothing is compressed.
    pub encodings: Vec<Coding>,
    /// Answers that are known to have fewer bytes pass as they are. At least 1.
    pub min_bytes: u64,
    /// What is compressed.
    pub types: Vec<MediaRange>,
    /// How hard each coding tries.
    pub levels: CompressionLevels,
}

/// How hard each coding tries, 1 to 9: the higher, the smaller the body and the longer it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompressionLevels {
    /// Of Brotli.
    pub br: u8,
    /// Of Zstandard.
    pub zstd: u8,
    /// Of gzip.
    pub gzip: u8,
}

/// What `paths:` and `worker.yaml` may change of [`CompressionSettings`]; `None` leaves it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CompressionOverrides {
    /// See [`CompressionSettings::encodings`].
    pub encodings: Option<Vec<Coding>>,
    /// See [`CompressionSettings::min_bytes`].
    pub min_bytes: Option<u64>,
    /// See [`CompressionSettings::types`].
    pub types: Option<Vec<MediaRange>>,
    /// See [`CompressionLevels::br`].
    pub br_level: Option<u8>,
    /// See [`CompressionLevels::zstd`].
    pub zstd_level: Option<u8>,
    /// See [`CompressionLevels::gzip`].
    pub gzip_level: Option<u8>,
}

/// Text in its many forms, and the little else that becomes smaller.
const TYPES: [&str; 12] = [
    "text/*",
    "application/json",
    "application/ld+json",
    "application/problem+json",
    "application/manifest+json",
    "application/javascript",
    "application/xml",
    "application/xhtml+xml",
    "application/atom+xml",
    "application/rss+xml",
    "application/wasm",
    "image/svg+xml",
];

/// Reads `compression`.
pub(super) fn read(section: &mut Section<'_, '_>) -> CompressionOverrides {
    let encodings = section.list("encodings", Coding::from_str);
    if let Some(encodings) = &encodings
        && let Some(twice) =
            encodings.iter().enumerate().find(|(at, it)| encodings[..*at].contains(it))
    {
        let message = format!("{:?} is there twice", twice.1.token());
        section.error(section.position("encodings"), message);
    }
    CompressionOverrides {
        encodings,
        min_bytes: section.parsed_scalar("min_bytes", min_bytes).map(|found| found.value),
        types: section.list("types", MediaRange::from_str),
        br_level: section.number("br_level", 1..=9),
        zstd_level: section.number("zstd_level", 1..=9),
        gzip_level: section.number("gzip_level", 1..=9),
    }
}

/// Of nothing nothing is left to be compressed.
fn min_bytes(text: &str) -> Result<u64, String> {
    match size(text)? {
        0 => Err("an answer of no bytes cannot become smaller; it is at least 1".to_owned()),
        bytes => Ok(bytes),
    }
}

impl Default for CompressionSettings {
    fn default() -> Self {
        Self {
            encodings: Vec::new(),
            min_bytes: 1024,
            // Each of them is one.
            types: TYPES.iter().filter_map(|text| text.parse().ok()).collect(),
            levels: CompressionLevels { br: 4, zstd: 3, gzip: 6 },
        }
    }
}

impl CompressionSettings {
    /// What `overrides` leaves of these.
    #[must_use]
    pub(super) fn with(self, overrides: &CompressionOverrides) -> Self {
        Self {
            encodings: overrides.encodings.clone().unwrap_or(self.encodings),
            min_bytes: overrides.min_bytes.unwrap_or(self.min_bytes),
            types: overrides.types.clone().unwrap_or(self.types),
            levels: CompressionLevels {
                br: overrides.br_level.unwrap_or(self.levels.br),
                zstd: overrides.zstd_level.unwrap_or(self.levels.zstd),
                gzip: overrides.gzip_level.unwrap_or(self.levels.gzip),
            },
        }
    }

    /// What the first of `layers` that says something says, else these.
    pub(super) fn under(&self, layers: [&WorkerOverrides; 2]) -> Self {
        layers.iter().rev().fold(self.clone(), |below, layer| below.with(&layer.compression))
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("text/*", "text/html; charset=utf-8", true)]
    #[case("text/*", "TEXT/plain", true)]
    #[case("text/*", "text", false)]
    #[case("text/*", "textual/html", false)]
    #[case("Application/JSON", "application/json", true)]
    #[case("application/json", "application/json ;charset=utf-8", true)]
    #[case("application/json", "application/json+x", false)]
    #[case("application/json", "", false)]
    fn media_types_are_covered(#[case] range: &str, #[case] content_type: &str, #[case] is: bool) {
        let range: MediaRange = range.parse().unwrap();
        assert_eq!(range.covers(content_type.as_bytes()), is);
    }

    #[rstest]
    #[case("text")]
    #[case("text/")]
    #[case("*/*")]
    #[case("text/h*")]
    #[case("text/html; charset=utf-8")]
    #[case("text/html/x")]
    fn what_is_no_media_type_is_refused(#[case] text: &str) {
        assert!(text.parse::<MediaRange>().is_err());
    }

    #[test]
    fn every_default_type_is_one() {
        assert_eq!(CompressionSettings::default().types.len(), TYPES.len());
    }
}
