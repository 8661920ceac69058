//! The scanner: a check of JSON's grammar, byte by byte, eight at a time in strings.

use std::ops::Range;

use super::{Cut, Cuts, Field, JsonFault, MAX_DEPTH, unescape};
use crate::ingest::option_values::Nan;

/// What follows what was scanned; `None` after a fault. Passed from step to step instead of
/// being kept in the scanner, so that it stays in the processor's registers.
type Rest<'a> = Option<&'a [u8]>;

/// Checks one text, from its beginning to its end.
pub(super) struct Scanner<'a, 'c> {
    text: &'a str,
    nan: Nan,
    cuts: &'c mut Cuts,
    fault: Option<JsonFault>,
}

impl<'a, 'c> Scanner<'a, 'c> {
    pub(super) fn new(text: &'a str, nan: Nan, cuts: &'c mut Cuts) -> Self {
        Self { text, nan, cuts, fault: None }
    }

    /// One object and nothing else.
    pub(super) fn row(mut self, fields: &mut Vec<Field>) -> Result<(), JsonFault> {
        let text = self.text;
        let rest = self.space(text.as_bytes());
        let rest = match rest {
            [b'{', rest @ ..] => self.members(rest, 0, |scanner, quoted, escaped, value| {
                fields.push(scanner.field(quoted, escaped, value)?);
                Some(())
            }),
            [b'[', ..] => self.fail(
                rest,
                "expected one JSON object per line, found an array (`jq -c '.[]'` makes lines of one)",
            ),
            _ => self.expected(rest, "a JSON object"),
        };
        self.end(rest)
    }

    /// One value and nothing else.
    pub(super) fn only_value(mut self) -> Result<(), JsonFault> {
        let rest = self.space(self.text.as_bytes());
        let rest = self.value(rest, 0);
        self.end(rest)
    }

    fn end(mut self, rest: Rest<'a>) -> Result<(), JsonFault> {
        if let Some(rest) = rest {
            let rest = self.space(rest);
            if !rest.is_empty() {
                self.expected(rest, "nothing more");
            }
        }
        self.fault.map_or(Ok(()), Err)
    }

    /// How many bytes stand before `rest`.
    #[inline(always)]
    fn at(&self, rest: &[u8]) -> usize {
        self.text.len() - rest.len()
    }

    #[inline(always)]
    fn space(&mut self, rest: &'a [u8]) -> &'a [u8] {
        match rest {
            [0..=b' ', ..] => self.skip_space(rest),
            _ => rest,
        }
    }

    #[inline(never)]
    fn skip_space(&mut self, from: &'a [u8]) -> &'a [u8] {
        let mut rest = from;
        while let [b' ' | b'\t' | b'\n' | b'\r', after @ ..] = rest {
            rest = after;
        }
        if rest.len() < from.len() {
            self.cuts.0.push(Cut { range: self.at(from)..self.at(rest), null: false });
        }
        rest
    }

    #[inline(always)]
    fn value(&mut self, rest: &'a [u8], depth: usize) -> Rest<'a> {
        match rest {
            [b'"', inner @ ..] => self.string(inner).map(|(rest, _)| rest),
            [b'0'..=b'9' | b'-', ..] => self.number(rest),
            [b'{' | b'[', ..] if depth >= MAX_DEPTH => self.too_deep(rest),
            [b'{', inner @ ..] => self.object(inner, depth),
            [b'[', inner @ ..] => self.array(inner, depth),
            _ => self.word(rest),
        }
    }

    fn object(&mut self, rest: &'a [u8], depth: usize) -> Rest<'a> {
        self.members(rest, depth, |_, _, _, _| Some(()))
    }

    /// What stands in an object behind its '{'. `field` gets where the name in its quotes
    /// is, whether that has escapes, and where the value is.
    #[inline(always)]
    fn members(
        &mut self,
        rest: &'a [u8],
        depth: usize,
        mut field: impl FnMut(&mut Self, Range<usize>, bool, Range<usize>) -> Option<()>,
    ) -> Rest<'a> {
        let mut rest = self.space(rest);
        if let [b'}', after @ ..] = rest {
            return Some(after);
        }
        loop {
            let start = self.at(rest);
            let [b'"', inner @ ..] = rest else {
                return self.expected(rest, "a field name in quotes");
            };
            let (after, escaped) = self.string(inner)?;
            let name = start..self.at(after);
            rest = self.space(after);
            let [b':', after @ ..] = rest else {
                return self.expected(rest, "':' after the field name");
            };
            rest = self.space(after);
            let start = self.at(rest);
            rest = self.value(rest, depth + 1)?;
            field(self, name, escaped, start..self.at(rest))?;
            rest = self.space(rest);
            match rest {
                [b',', after @ ..] => rest = self.space(after),
                [b'}', after @ ..] => return Some(after),
                _ => return self.expected(rest, "',' or '}' after the field"),
            }
        }
    }

    /// What stands in an array behind its '['.
    fn array(&mut self, rest: &'a [u8], depth: usize) -> Rest<'a> {
        let mut rest = self.space(rest);
        if let [b']', after @ ..] = rest {
            return Some(after);
        }
        loop {
            rest = self.value(rest, depth + 1)?;
            rest = self.space(rest);
            match rest {
                [b',', after @ ..] => rest = self.space(after),
                [b']', after @ ..] => return Some(after),
                _ => return self.expected(rest, "',' or ']' after the element"),
            }
        }
    }

    /// What stands in a string behind its first quote; and whether that has escapes.
    #[inline(always)]
    fn string(&mut self, inner: &'a [u8]) -> Option<(&'a [u8], bool)> {
        match &inner[plain_length(inner)..] {
            [b'"', rest @ ..] => Some((rest, false)),
            special => self.string_with_escapes(inner, special),
        }
    }

    #[inline(never)]
    fn string_with_escapes(
        &mut self,
        inner: &'a [u8],
        mut rest: &'a [u8],
    ) -> Option<(&'a [u8], bool)> {
        loop {
            rest = match rest {
                [b'"', rest @ ..] => return Some((rest, true)),
                [b'\\', ..] => self.escape(rest)?,
                [byte, ..] => {
                    let what =
                        format!("the control character 0x{byte:02x} must be escaped in a string");
                    self.fail(rest, &what)?
                }
                [] => {
                    self.fault_at(self.at(inner) - 1, "this string has no closing quote");
                    return None;
                }
            };
            rest = &rest[plain_length(rest)..];
        }
    }

    fn escape(&mut self, rest: &'a [u8]) -> Rest<'a> {
        match rest {
            [_, b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', rest @ ..] => Some(rest),
            [_, b'u', a, b, c, d, rest @ ..]
                if [a, b, c, d].into_iter().all(u8::is_ascii_hexdigit) =>
            {
                Some(rest)
            }
            [_, b'u', ..] => self.fail(rest, "expected four hexadecimal digits after \\u"),
            _ => self.fail(rest, "this is no escape of JSON"),
        }
    }

    #[inline(always)]
    fn number(&mut self, rest: &'a [u8]) -> Rest<'a> {
        match after_number(rest) {
            Ok(rest) => Some(rest),
            Err(_) if rest.starts_with(b"-Infinity") => self.not_finite(rest, "-Infinity"),
            Err(rest) => self.expected(rest, "a digit"),
        }
    }

    /// A value that is none of the frequent kinds.
    #[inline(never)]
    fn word(&mut self, rest: &'a [u8]) -> Rest<'a> {
        for word in ["true", "false", "null"] {
            if let Some(rest) = rest.strip_prefix(word.as_bytes()) {
                return Some(rest);
            }
        }
        for name in ["NaN", "nan", "Infinity"] {
            if rest.starts_with(name.as_bytes()) {
                return self.not_finite(rest, name);
            }
        }
        self.expected(rest, "a JSON value")
    }

    /// Python and others write these, though JSON has no such thing.
    #[cold]
    fn not_finite(&mut self, rest: &'a [u8], name: &str) -> Rest<'a> {
        if self.nan == Nan::Fail {
            return self.fail(rest, &format!("{name} is no JSON (--nan null makes it null)"));
        }
        let from = self.at(rest);
        self.cuts.0.push(Cut { range: from..from + name.len(), null: true });
        Some(&rest[name.len()..])
    }

    /// A top-level field, of which the name stands in its quotes at `quoted`.
    #[inline(always)]
    fn field(&mut self, quoted: Range<usize>, escaped: bool, value: Range<usize>) -> Option<Field> {
        let whole = quoted.start..value.end;
        let name = quoted.start + 1..quoted.end - 1;
        let unescaped = match escaped {
            false => None,
            true => {
                let plain = unescape(&self.text[quoted]);
                if plain.is_none() {
                    self.fault_at(value.end, "a field name above is not valid Unicode");
                }
                Some(plain?)
            }
        };
        Some(Field { name, unescaped, value, whole })
    }

    #[cold]
    fn expected(&mut self, rest: &[u8], expected: &str) -> Rest<'a> {
        let found = match self.text.get(self.at(rest)..).and_then(|rest| rest.chars().next()) {
            Some(found) => format!("{found:?}"),
            None => "the end".to_owned(),
        };
        self.fail(rest, &format!("expected {expected}, found {found}"))
    }

    #[cold]
    fn too_deep(&mut self, rest: &[u8]) -> Rest<'a> {
        self.fail(rest, &format!("nested deeper than {MAX_DEPTH} levels"))
    }

    #[cold]
    fn fail(&mut self, rest: &[u8], what: &str) -> Rest<'a> {
        self.fault_at(self.at(rest), what);
        None
    }

    #[cold]
    fn fault_at(&mut self, at: usize, what: &str) {
        self.fault = Some(JsonFault { at, what: format!("{what}, at byte {}", at + 1) });
    }
}

/// How many bytes from the start can stand in a string as they are: neither quote, nor
/// backslash, nor control character. Eight at a time, as strings are most of a row.
#[inline(always)]
pub(crate) fn plain_length(bytes: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    // Sets the high bit of each byte that is below `limit`; bytes after the first such one
    // may be wrong, which does not matter as the first is what counts.
    let below = |word: u64, limit: u64| word.wrapping_sub(ONES * limit) & !word & HIGHS;
    let mut rest = bytes;
    while let Some((chunk, after)) = rest.split_first_chunk::<8>() {
        let word = u64::from_le_bytes(*chunk);
        let special = below(word, 0x20)
            | below(word ^ (ONES * u64::from(b'"')), 1)
            | below(word ^ (ONES * u64::from(b'\\')), 1);
        if special != 0 {
            return bytes.len() - rest.len() + special.trailing_zeros() as usize / 8;
        }
        rest = after;
    }
    let is_special = |byte: &u8| *byte < 0x20 || matches!(byte, b'"' | b'\\');
    bytes.len() - rest.len() + rest.iter().position(is_special).unwrap_or(rest.len())
}

/// What follows the JSON number that the bytes begin with; the error is what stands where a
/// digit is missing.
#[inline(always)]
pub(super) fn after_number(bytes: &[u8]) -> Result<&[u8], &[u8]> {
    let mut rest = bytes.strip_prefix(b"-").unwrap_or(bytes);
    rest = match rest {
        [b'0', rest @ ..] => rest,
        _ => after_digits(rest)?,
    };
    if let [b'.', fraction @ ..] = rest {
        rest = after_digits(fraction)?;
    }
    if let [b'e' | b'E', exponent @ ..] = rest {
        rest = after_digits(match exponent {
            [b'+' | b'-', digits @ ..] => digits,
            digits => digits,
        })?;
    }
    Ok(rest)
}

/// What follows the digits, of which there must be one.
#[inline(always)]
fn after_digits(bytes: &[u8]) -> Result<&[u8], &[u8]> {
    let [b'0'..=b'9', rest @ ..] = bytes else { return Err(bytes) };
    let mut rest = rest;
    while let [b'0'..=b'9', after @ ..] = rest {
        rest = after;
    }
    Ok(rest)
}
