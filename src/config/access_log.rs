//! `server.access_log`: what is written of each request, and where to.

use std::path::Path;

use super::section::Section;
use super::server::file_path;
use super::settings::{AccessLogFormat, AccessLogSettings};

/// Reads `server.access_log`; relative paths start from `root`.
pub(super) fn read(section: &mut Section<'_, '_>, root: &Path) -> AccessLogSettings {
    let format = section.parsed("format", |text| match text {
        "off" => Ok(AccessLogFormat::Off),
        "json" => Ok(AccessLogFormat::Json),
        "combined" => Ok(AccessLogFormat::Combined),
        other => Err(format!("{other:?} is not a format; it is off, json or combined")),
    });
    let file = section.parsed("file", |text| file_path(root, text));
    AccessLogSettings {
        format: format.map_or(AccessLogFormat::Off, |found| found.value),
        file: file.map(|found| found.value),
        one_in: section.number("sample_one_in", 1..=1_000_000_u32).unwrap_or(1),
    }
}
