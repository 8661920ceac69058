//! One pass over JSON text that checks it, compacts it and finds its top-level fields.
//!
//! The text is stored as it was written: numbers keep their digits, strings their escapes,
//! fields their order; only white space between tokens goes. Nothing is parsed into a tree.
//! Fields of nested objects may repeat, as readers of JSON disagree on what that means and
//! this is not the place to decide; at the top level, where keys come from, a repeated
//! field is a fault.

use std::borrow::Cow;
use std::ops::Range;

use super::option_values::Nan;

/// How deep objects and arrays may nest. Below the 128 levels at which common parsers stop,
/// so that an array around the value, which `--collect` adds, can still be read by them.
pub(crate) const MAX_DEPTH: usize = 120;

/// From this many fields on, repeated names are found by sorting instead of by comparing
/// each with each.
const MANY_FIELDS: usize = 24;

/// What is wrong, and at which byte of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JsonFault {
    pub(crate) at: usize,
    pub(crate) what: String,
}

/// Where a top-level field lies in the compacted text.
#[derive(Clone, Debug)]
pub(crate) struct Field {
    /// The name, without quotes; `unescaped` has it in plain if it was escaped.
    name: Range<usize>,
    unescaped: Option<String>,
    /// The value.
    pub(crate) value: Range<usize>,
    /// The name in its quotes, the colon and the value.
    pub(crate) whole: Range<usize>,
}

impl Field {
    /// The name in plain text.
    pub(crate) fn name<'a>(&'a self, compact: &'a str) -> &'a str {
        self.unescaped.as_deref().unwrap_or(&compact[self.name.clone()])
    }
}

/// Appends `text`, which must be one JSON object, compacted to `out`, and its top-level
/// fields to `fields`, which say where they lie in `out`. After a fault both hold rubbish.
pub(crate) fn compact_object(
    text: &str,
    nan: Nan,
    out: &mut String,
    fields: &mut Vec<Field>,
) -> Result<(), JsonFault> {
    let mut scanner = Scanner::new(text, nan, out);
    scanner.space();
    match scanner.peek() {
        Some(b'{') => scanner.object_with(|scanner, quoted, escaped, value| {
            let name = quoted.start + 1..quoted.end - 1;
            let unescaped = match escaped {
                false => None,
                true => Some(unescape(&scanner.out_and_rest(quoted.clone())).ok_or_else(|| {
                    scanner.fault_at(scanner.at, "a field name above is not valid Unicode")
                })?),
            };
            fields.push(Field {
                name,
                unescaped,
                value: value.clone(),
                whole: quoted.start..value.end,
            });
            Ok(())
        })?,
        Some(b'[') => {
            return Err(scanner.fault(
                "expected one JSON object per line, found an array (`jq -c '.[]'` makes lines of one)",
            ));
        }
        _ => return Err(scanner.expected("a JSON object")),
    }
    scanner.end()?;
    repeated(fields, out).map_or(Ok(()), |name| {
        Err(JsonFault {
            at: 0,
            what: format!("the field {} is there twice", super::error::shown(name)),
        })
    })
}

/// Appends `text`, which must be one JSON value of any kind, compacted to `out`.
pub(crate) fn compact_value(text: &str, nan: Nan, out: &mut String) -> Result<(), JsonFault> {
    let mut scanner = Scanner::new(text, nan, out);
    scanner.space();
    scanner.value(0)?;
    scanner.end()
}

/// The plain text of a JSON string in its quotes. None if its escapes are half a surrogate
/// pair, which is no text.
pub(crate) fn unescape(quoted: &str) -> Option<String> {
    serde_json::from_str(quoted).ok()
}

/// Whether `text` is a number as JSON writes it.
pub(crate) fn is_number(text: &str) -> bool {
    number_length(text.as_bytes()) == Ok(text.len()) && !text.is_empty()
}

/// Whether `text` is a whole number as JSON writes it, without fraction or exponent.
pub(crate) fn is_integer(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text).as_bytes();
    match digits {
        [] => false,
        [b'0'] => true,
        [first, ..] => *first != b'0' && digits.iter().all(u8::is_ascii_digit),
    }
}

/// The first name that is there twice.
fn repeated<'a>(fields: &'a [Field], out: &'a str) -> Option<&'a str> {
    if fields.len() < MANY_FIELDS {
        return fields.iter().enumerate().find_map(|(n, field)| {
            let name = field.name(out);
            fields[..n].iter().any(|before| before.name(out) == name).then_some(name)
        });
    }
    let mut names: Vec<&str> = fields.iter().map(|field| field.name(out)).collect();
    names.sort_unstable();
    names.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0])
}

struct Scanner<'a> {
    text: &'a str,
    bytes: &'a [u8],
    /// The next byte to look at.
    at: usize,
    /// From here to `at` is checked, but not yet copied to `out`: text without white space
    /// is copied in one piece.
    from: usize,
    out: &'a mut String,
    nan: Nan,
}

impl<'a> Scanner<'a> {
    fn new(text: &'a str, nan: Nan, out: &'a mut String) -> Self {
        Self { text, bytes: text.as_bytes(), at: 0, from: 0, out, nan }
    }

    /// Where `at` is, or will be, in `out`.
    fn position(&self) -> usize {
        self.out.len() + (self.at - self.from)
    }

    /// The text at a range of positions, part of which may not be copied yet.
    fn out_and_rest(&self, range: Range<usize>) -> Cow<'a, str> {
        let copied = self.out.len();
        if range.start >= copied {
            let shift = |position: usize| position - copied + self.from;
            return Cow::Borrowed(&self.text[shift(range.start)..shift(range.end)]);
        }
        let mut text = self.out[range.start..range.end.min(copied)].to_owned();
        if range.end > copied {
            text.push_str(&self.text[self.from..self.from + (range.end - copied)]);
        }
        Cow::Owned(text)
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn flush(&mut self) {
        self.out.push_str(&self.text[self.from..self.at]);
        self.from = self.at;
    }

    fn space(&mut self) {
        let is_space = |byte: Option<u8>| matches!(byte, Some(b' ' | b'\t' | b'\n' | b'\r'));
        if is_space(self.peek()) {
            self.flush();
            while is_space(self.peek()) {
                self.at += 1;
            }
            self.from = self.at;
        }
    }

    fn end(&mut self) -> Result<(), JsonFault> {
        self.flush();
        self.space();
        if self.at < self.bytes.len() {
            return Err(self.expected("nothing more"));
        }
        Ok(())
    }

    fn value(&mut self, depth: usize) -> Result<(), JsonFault> {
        match self.peek() {
            Some(b'"') => self.string().map(drop),
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'0'..=b'9') => self.number(),
            Some(b'-') if self.rest().starts_with(b"-Infinity") => self.not_finite("-Infinity"),
            Some(b'-') => self.number(),
            Some(b't') => self.literal("true"),
            Some(b'f') => self.literal("false"),
            Some(b'n') if self.rest().starts_with(b"nan") => self.not_finite("nan"),
            Some(b'n') => self.literal("null"),
            Some(b'N') if self.rest().starts_with(b"NaN") => self.not_finite("NaN"),
            Some(b'I') if self.rest().starts_with(b"Infinity") => self.not_finite("Infinity"),
            _ => Err(self.expected("a JSON value")),
        }
    }

    fn object(&mut self, depth: usize) -> Result<(), JsonFault> {
        if depth >= MAX_DEPTH {
            return Err(self.too_deep());
        }
        self.members(depth, |_, _, _, _| Ok(()))
    }

    fn object_with(
        &mut self,
        field: impl FnMut(&Self, Range<usize>, bool, Range<usize>) -> Result<(), JsonFault>,
    ) -> Result<(), JsonFault> {
        self.members(0, field)
    }

    /// The members of the object that begins here. `field` gets the positions of the name
    /// in its quotes, whether that has escapes, and the positions of the value.
    fn members(
        &mut self,
        depth: usize,
        mut field: impl FnMut(&Self, Range<usize>, bool, Range<usize>) -> Result<(), JsonFault>,
    ) -> Result<(), JsonFault> {
        self.at += 1;
        self.space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(());
        }
        loop {
            if self.peek() != Some(b'"') {
                return Err(self.expected("a field name in quotes"));
            }
            let start = self.position();
            let escaped = self.string()?;
            let name = start..self.position();
            self.space();
            self.byte(b':', "':' after the field name")?;
            self.space();
            let start = self.position();
            self.value(depth + 1)?;
            field(self, name, escaped, start..self.position())?;
            self.space();
            if self.peek() == Some(b'}') {
                self.at += 1;
                return Ok(());
            }
            self.byte(b',', "',' or '}' after the field")?;
            self.space();
        }
    }

    fn array(&mut self, depth: usize) -> Result<(), JsonFault> {
        if depth >= MAX_DEPTH {
            return Err(self.too_deep());
        }
        self.at += 1;
        self.space();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.value(depth + 1)?;
            self.space();
            if self.peek() == Some(b']') {
                self.at += 1;
                return Ok(());
            }
            self.byte(b',', "',' or ']' after the element")?;
            self.space();
        }
    }

    /// A string in its quotes; whether it has escapes.
    fn string(&mut self) -> Result<bool, JsonFault> {
        let open = self.at;
        let mut escaped = false;
        self.at += 1;
        loop {
            self.at += plain_length(&self.bytes[self.at..]);
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(escaped);
                }
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                Some(byte) => {
                    let what =
                        format!("the control character 0x{byte:02x} must be escaped in a string");
                    return Err(self.fault(&what));
                }
                None => return Err(self.fault_at(open, "this string has no closing quote")),
            }
        }
    }

    fn escape(&mut self) -> Result<(), JsonFault> {
        let length = match self.bytes.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => 2,
            Some(b'u') => {
                let digits = self.bytes.get(self.at + 2..self.at + 6).unwrap_or_default();
                if digits.len() < 4 || !digits.iter().all(u8::is_ascii_hexdigit) {
                    return Err(self.fault("expected four hexadecimal digits after \\u"));
                }
                6
            }
            _ => return Err(self.fault("this is no escape of JSON")),
        };
        self.at += length;
        Ok(())
    }

    fn number(&mut self) -> Result<(), JsonFault> {
        match number_length(self.rest()) {
            Ok(length) => {
                self.at += length;
                Ok(())
            }
            Err(length) => {
                self.at += length;
                Err(self.expected("a digit"))
            }
        }
    }

    fn literal(&mut self, literal: &str) -> Result<(), JsonFault> {
        if !self.rest().starts_with(literal.as_bytes()) {
            return Err(self.expected("a JSON value"));
        }
        self.at += literal.len();
        Ok(())
    }

    /// Python and others write these, though JSON has no such thing.
    fn not_finite(&mut self, name: &str) -> Result<(), JsonFault> {
        if self.nan == Nan::Fail {
            return Err(self.fault(&format!("{name} is no JSON (--nan null makes it null)")));
        }
        self.flush();
        self.out.push_str("null");
        self.at += name.len();
        self.from = self.at;
        Ok(())
    }

    fn byte(&mut self, byte: u8, expected: &str) -> Result<(), JsonFault> {
        if self.peek() != Some(byte) {
            return Err(self.expected(expected));
        }
        self.at += 1;
        Ok(())
    }

    fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    fn expected(&self, expected: &str) -> JsonFault {
        let found = match self.text.get(self.at..).and_then(|rest| rest.chars().next()) {
            Some(found) => format!("{found:?}"),
            None => "the end".to_owned(),
        };
        self.fault(&format!("expected {expected}, found {found}"))
    }

    fn too_deep(&self) -> JsonFault {
        self.fault(&format!("nested deeper than {MAX_DEPTH} levels"))
    }

    fn fault(&self, what: &str) -> JsonFault {
        self.fault_at(self.at, what)
    }

    fn fault_at(&self, at: usize, what: &str) -> JsonFault {
        JsonFault { at, what: format!("{what}, at byte {}", at + 1) }
    }
}

/// How many bytes from the start can stand in a string as they are: neither quote, nor
/// backslash, nor control character. Eight at a time, as strings are most of a row.
pub(crate) fn plain_length(bytes: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    // Sets the high bit of each byte that is below `limit`; bytes after the first such one
    // may be wrong, which does not matter as the first is what counts.
    let below = |word: u64, limit: u64| word.wrapping_sub(ONES * limit) & !word & HIGHS;
    let mut length = 0;
    while let Some((chunk, _)) = bytes[length..].split_first_chunk::<8>() {
        let word = u64::from_le_bytes(*chunk);
        let special = below(word, 0x20)
            | below(word ^ (ONES * u64::from(b'"')), 1)
            | below(word ^ (ONES * u64::from(b'\\')), 1);
        if special != 0 {
            return length + special.trailing_zeros() as usize / 8;
        }
        length += 8;
    }
    let is_special = |byte: &u8| *byte < 0x20 || matches!(byte, b'"' | b'\\');
    length + bytes[length..].iter().position(is_special).unwrap_or(bytes.len() - length)
}

/// How many bytes from the start are a JSON number; the error is where a digit is missing.
fn number_length(bytes: &[u8]) -> Result<usize, usize> {
    let digits = |from: usize| bytes[from..].iter().take_while(|b| b.is_ascii_digit()).count();
    let some_digits = |from: usize| match digits(from) {
        0 => Err(from),
        count => Ok(from + count),
    };
    let mut at = usize::from(bytes.first() == Some(&b'-'));
    at = if bytes.get(at) == Some(&b'0') { at + 1 } else { some_digits(at)? };
    if bytes.get(at) == Some(&b'.') {
        at = some_digits(at + 1)?;
    }
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        let signed = matches!(bytes.get(at + 1), Some(b'+' | b'-'));
        at = some_digits(at + 1 + usize::from(signed))?;
    }
    Ok(at)
}

#[cfg(test)]
#[path = "json_tests.rs"]
mod tests;
