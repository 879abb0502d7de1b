//! Times as people read them.

use messenger_core::clock::Timestamp;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// UTC, to the second: `2026-01-31T12:00:00Z`.
pub(crate) fn for_people(time: Timestamp) -> String {
    let seconds = i64::try_from(time.as_secs()).ok();
    let time = seconds.and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    let text = time.and_then(|time| time.format(&Rfc3339).ok());
    text.unwrap_or_else(|| "a time beyond all calendars".to_owned())
}
