//! Times as everything that is told has them.

use chrono::{DateTime, SecondsFormat, Utc};
use tidetable_storage::Millis;

/// RFC 3339 in UTC, with milliseconds.
pub(crate) fn rfc3339(at: Millis) -> String {
    let at = i64::try_from(at).ok().and_then(DateTime::<Utc>::from_timestamp_millis);
    at.unwrap_or_default().to_rfc3339_opts(SecondsFormat::Millis, true)
}
