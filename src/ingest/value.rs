//! Typed values as JSON text: strings, floats, decimals, dates and times.
//!
//! Everything is appended to a `String` that the caller reuses from row to row.

use std::fmt::Write as _;
use std::io;

use chrono::{DateTime, Datelike, NaiveDate, SecondsFormat};

use super::json::plain_length;

/// Appends `text` as a JSON string in its quotes. Only what must be escaped is.
pub(crate) fn push_string(out: &mut String, text: &str) {
    out.push('"');
    let mut rest = text;
    loop {
        let (plain, special) = rest.split_at(plain_length(rest.as_bytes()));
        out.push_str(plain);
        let mut chars = special.chars();
        let Some(char) = chars.next() else { break };
        match char {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            control => push_formatted(out, format_args!("\\u{:04x}", u32::from(control))),
        }
        rest = chars.as_str();
    }
    out.push('"');
}

/// Appends anything that displays as JSON.
fn push_formatted(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("writing to a String does not fail");
}

/// Appends a finite float in the fewest digits that read back as the same float. None,
/// and nothing appended, if it is NaN or infinite.
pub(crate) fn push_float<F>(out: &mut String, float: F) -> Option<()>
where
    F: Copy + Into<f64> + serde::Serialize,
{
    if !Into::<f64>::into(float).is_finite() {
        return None;
    }
    serde_json::to_writer(Appended(out), &float).ok()
}

/// Appends a whole number.
pub(crate) fn push_integer(out: &mut String, integer: i128) {
    // Nearly all are 64-bit numbers, which are divided several times faster.
    match i64::try_from(integer) {
        Ok(integer) => push_formatted(out, format_args!("{integer}")),
        Err(_) => push_formatted(out, format_args!("{integer}")),
    }
}

/// Text that is written to as if to a file.
struct Appended<'a>(&'a mut String);

impl io::Write for Appended<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.push_str(std::str::from_utf8(bytes).map_err(io::Error::other)?);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Appends a decimal exactly, with as many digits after the point as its scale says.
/// `unscaled` is a whole number in decimal text.
pub(crate) fn push_decimal(out: &mut String, unscaled: &str, scale: i8) {
    let (sign, digits) = match unscaled.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", unscaled),
    };
    out.push_str(sign);
    let after_point = usize::from(scale.unsigned_abs());
    if scale <= 0 {
        out.push_str(digits);
        if digits != "0" {
            out.extend(std::iter::repeat_n('0', after_point));
        }
    } else if digits.len() > after_point {
        let (whole, fraction) = digits.split_at(digits.len() - after_point);
        push_formatted(out, format_args!("{whole}.{fraction}"));
    } else {
        out.push_str("0.");
        out.extend(std::iter::repeat_n('0', after_point - digits.len()));
        out.push_str(digits);
    }
}

/// The ISO text of a date given in days since 1970. None outside the years 0 to 9999,
/// which that text cannot write.
pub(crate) fn date_text(days: i32) -> Option<String> {
    const DAYS_BEFORE_1970: i32 = 719_163;
    let date = NaiveDate::from_num_days_from_ce_opt(days.checked_add(DAYS_BEFORE_1970)?)?;
    (0..=9999).contains(&date.year()).then(|| date.format("%Y-%m-%d").to_string())
}

/// The RFC 3339 text, in UTC, of a moment given in nanoseconds since 1970. None outside
/// the years 0 to 9999, which that text cannot write.
pub(crate) fn timestamp_text(nanos: i128) -> Option<String> {
    let seconds = i64::try_from(nanos.div_euclid(1_000_000_000)).ok()?;
    let below = u32::try_from(nanos.rem_euclid(1_000_000_000)).ok()?;
    let moment = DateTime::from_timestamp(seconds, below)?;
    (0..=9999).contains(&moment.year()).then(|| moment.to_rfc3339_opts(SecondsFormat::AutoSi, true))
}

/// The ISO text of a time of day given in nanoseconds since midnight. None if that is not
/// within one day.
pub(crate) fn time_text(nanos: i64) -> Option<String> {
    if !(0..86_400_000_000_000).contains(&nanos) {
        return None;
    }
    // A moment of 1970-01-01 has the time of day we want: 1970-01-01T12:30:00.5Z.
    let text = timestamp_text(i128::from(nanos))?;
    Some(text[11..text.len() - 1].to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(write: impl FnOnce(&mut String)) -> String {
        let mut out = String::new();
        write(&mut out);
        out
    }

    #[test]
    fn decimals_are_exact() {
        for (unscaled, scale, text) in [
            ("0", 0, "0"),
            ("0", 2, "0.00"),
            ("5", 2, "0.05"),
            ("-5", 2, "-0.05"),
            ("1250", 2, "12.50"),
            ("-1250", 2, "-12.50"),
            ("123", 3, "0.123"),
            ("12", -3, "12000"),
            ("0", -3, "0"),
            ("99999999999999999999999999999999999999", 0, "99999999999999999999999999999999999999"),
            (
                "99999999999999999999999999999999999999",
                37,
                "9.9999999999999999999999999999999999999",
            ),
        ] {
            assert_eq!(written(|out| push_decimal(out, unscaled, scale)), text);
        }
    }

    #[test]
    fn moments_are_rfc_3339_in_utc() {
        let second = 1_000_000_000;
        for (nanos, text) in [
            (0, Some("1970-01-01T00:00:00Z")),
            (-1, Some("1969-12-31T23:59:59.999999999Z")),
            (1_700_000_000 * second + 500_000_000, Some("2023-11-14T22:13:20.500Z")),
            (1_700_000_000 * second + 1_000, Some("2023-11-14T22:13:20.000001Z")),
            (253_402_300_799 * second, Some("9999-12-31T23:59:59Z")),
            (253_402_300_800 * second, None),
            (-62_167_219_200 * second, Some("0000-01-01T00:00:00Z")),
            (-62_167_219_201 * second, None),
            (i128::MAX, None),
            (i128::MIN, None),
        ] {
            assert_eq!(timestamp_text(nanos).as_deref(), text, "{nanos}");
        }
    }

    #[test]
    fn dates_and_times_are_iso() {
        for (days, text) in [
            (0, Some("1970-01-01")),
            (-1, Some("1969-12-31")),
            (2_932_896, Some("9999-12-31")),
            (2_932_897, None),
            (-719_528, Some("0000-01-01")),
            (-719_529, None),
            (i32::MAX, None),
            (i32::MIN, None),
        ] {
            assert_eq!(date_text(days).as_deref(), text, "{days}");
        }
        assert_eq!(time_text(0).as_deref(), Some("00:00:00"));
        assert_eq!(time_text(86_399_999_999_999).as_deref(), Some("23:59:59.999999999"));
        assert_eq!(time_text(86_400_000_000_000), None);
        assert_eq!(time_text(-1), None);
    }

    #[test]
    fn floats_are_short_and_finite() {
        let text = |float: f64| {
            let mut out = String::new();
            push_float(&mut out, float).map(|()| out)
        };
        assert_eq!(text(0.1).as_deref(), Some("0.1"));
        assert_eq!(text(1.0).as_deref(), Some("1.0"));
        assert_eq!(text(f64::NAN), None);
        assert_eq!(text(f64::NEG_INFINITY), None);
        assert_eq!(written(|out| push_float(out, 0.1f32).unwrap()), "0.1");
    }

    proptest! {
        #[test]
        fn strings_read_back_as_they_were(text in any::<String>()) {
            let out = written(|out| push_string(out, &text));
            prop_assert_eq!(serde_json::from_str::<String>(&out).unwrap(), text);
        }

        #[test]
        fn every_control_character_is_escaped(text in "[\u{0}-\u{2f}\\\\é]{0,20}") {
            let out = written(|out| push_string(out, &text));
            prop_assert_eq!(serde_json::from_str::<String>(&out).unwrap(), text);
        }
    }
}
