//! Numbers, times and text from outside, as people read them in a terminal.

use chrono::{DateTime, Utc};
use tidetable_storage::is_unsafe;

/// A count with thousands separated: `200,000`.
pub(crate) fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// So many of something whose plural ends in s: `1 record`, `200,000 records`.
pub(crate) fn counted(n: u64, what: &str) -> String {
    format!("{} {what}{}", grouped(n), if n == 1 { "" } else { "s" })
}

/// A size in decimal units: `86 MB`, `1.2 GB`.
pub(crate) fn bytes(n: u64) -> String {
    const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
    if n < 1000 {
        return format!("{n} B");
    }
    #[expect(clippy::cast_precision_loss, reason = "shown with two or three digits")]
    let mut size = n as f64;
    let mut unit = 0;
    // 999.5 would be written 1000.
    while size >= 999.5 && unit + 1 < UNITS.len() {
        size /= 1000.0;
        unit += 1;
    }
    let digits = usize::from(size < 9.95);
    format!("{size:.digits$} {}", UNITS[unit])
}

/// A duration: `0.4 s`, `3.2 s`, `2 min 5 s`, `1 h 4 min`.
pub(crate) fn duration(d: std::time::Duration) -> String {
    let seconds = d.as_secs();
    match seconds {
        0..60 => format!("{:.1} s", d.as_secs_f64()),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// How long ago `at` (RFC 3339) was: `3 min ago`. Text that is no time is shown as it is.
pub(crate) fn age_of(at: Option<&str>, now: DateTime<Utc>) -> String {
    let Some(at) = at else { return dash() };
    let Ok(time) = DateTime::parse_from_rfc3339(at) else { return at.to_owned() };
    let seconds = (now - time.with_timezone(&Utc)).num_seconds();
    let (n, unit) = match seconds {
        ..0 => return second_of(at),
        0..2 => return "now".to_owned(),
        2..120 => (seconds, "s"),
        120..7200 => (seconds / 60, "min"),
        7200..172_800 => (seconds / 3600, "h"),
        _ => (seconds / 86_400, "days"),
    };
    format!("{n} {unit} ago")
}

/// A time of the server as a person reads it: `2026-11-23 08:43:45Z`.
pub(crate) fn second_of(at: &str) -> String {
    match DateTime::parse_from_rfc3339(at) {
        Ok(time) => time.with_timezone(&Utc).format("%Y-%m-%d %H:%M:%SZ").to_string(),
        Err(_) => at.to_owned(),
    }
}

/// Text from outside as it may go to a terminal: no control characters and no marks of
/// direction, so that a label cannot move the cursor, break a row of a table or turn it around.
pub(crate) fn printable(text: &str) -> String {
    if !text.chars().any(is_unsafe) {
        return text.to_owned();
    }
    let escaped = |c: char| if is_unsafe(c) { c.escape_default().to_string() } else { c.into() };
    text.chars().map(escaped).collect()
}

/// What stands where there is nothing to say.
pub(crate) fn dash() -> String {
    "-".to_owned()
}

/// The first `most` characters, and a mark if there are more.
pub(crate) fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

/// A short time: `3.5 µs`, `140 µs`, `1.2 ms`.
pub(crate) fn microseconds(us: f64) -> String {
    let (n, unit) = if us < 999.5 { (us, "µs") } else { (us / 1000.0, "ms") };
    let digits = usize::from(n < 9.95);
    format!("{n:.digits$} {unit}")
}

/// `41 → 42`, or `none → 42`.
pub(crate) fn step(from: Option<u64>, to: u64) -> String {
    from.map_or_else(|| format!("none → {to}"), |from| format!("{from} → {to}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn numbers_are_written_for_people() {
        let cases = [(0, "0"), (999, "999"), (1000, "1,000"), (200_000, "200,000")];
        for (n, text) in cases {
            assert_eq!(grouped(n), text);
        }
        assert_eq!(grouped(u64::MAX), "18,446,744,073,709,551,615");
        for (n, text) in [(0, "0 records"), (1, "1 record"), (1000, "1,000 records")] {
            assert_eq!(counted(n, "record"), text);
        }
        let sizes: &[(u64, &str)] = &[
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (9_949, "9.9 kB"),
            (9_960, "10 kB"),
            (86_000_000, "86 MB"),
            (999_499, "999 kB"),
            (999_500, "1.0 MB"),
            (1_234_000_000, "1.2 GB"),
            (u64::MAX, "18447 PB"),
        ];
        for (n, text) in sizes {
            assert_eq!(bytes(*n), *text, "{n}");
        }
        let durations = [(400, "0.4 s"), (3_200, "3.2 s"), (125_000, "2 min 5 s")];
        for (ms, text) in durations {
            assert_eq!(duration(Duration::from_millis(ms)), text);
        }
    }

    #[test]
    fn ages_count_in_the_unit_a_person_would_use() {
        let now = at("2026-11-23T12:00:00Z");
        let cases = [
            ("2026-11-23T12:00:00Z", "now"),
            ("2026-11-23T11:59:30.5Z", "29 s ago"),
            ("2026-11-23T12:57:00+01:00", "3 min ago"),
            ("2026-11-23T03:00:00Z", "9 h ago"),
            ("2026-11-10T12:00:00Z", "13 days ago"),
            ("2026-11-23T12:10:00Z", "2026-11-23 12:10:00Z"),
            ("yesterday", "yesterday"),
        ];
        for (text, age) in cases {
            assert_eq!(age_of(Some(text), now), age, "{text}");
        }
        assert_eq!(age_of(None, now), "-");
    }
}
