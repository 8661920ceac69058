//! One pass over JSON text that checks it and finds its top-level fields.
//!
//! The text is stored as it was written: numbers keep their digits, strings their escapes,
//! fields their order; only white space between tokens goes. Nothing is parsed into a tree,
//! and nothing is copied: a scan says where fields lie in the text, and what to leave out
//! ([`Cuts`]) when one of them is copied. Most rows have nothing to leave out.
//! Fields of nested objects may repeat, as readers of JSON disagree on what that means and
//! this is not the place to decide; at the top level, where keys come from, a repeated
//! field is a fault.

mod scanner;

use std::ops::Range;

use super::option_values::Nan;
use scanner::{Scanner, after_number};

pub(crate) use scanner::plain_length;

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

/// Where a top-level field lies in the text.
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
    pub(crate) fn name<'a>(&'a self, text: &'a str) -> &'a str {
        self.unescaped.as_deref().unwrap_or_else(|| &text[self.name.clone()])
    }
}

/// What of a text is not copied as it stands, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cuts(Vec<Cut>);

#[derive(Clone, Debug)]
struct Cut {
    range: Range<usize>,
    /// It is no white space but a NaN, for which there stands a null.
    null: bool,
}

impl Cuts {
    /// Nothing is left out.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Whether all of `range` is copied as it stands.
    pub(crate) fn spare(&self, range: &Range<usize>) -> bool {
        self.within(range).is_empty()
    }

    /// Appends `text[range]`, compacted, to `out`. No cut lies across an end of `range`.
    pub(crate) fn copy(&self, text: &str, range: Range<usize>, out: &mut String) {
        let mut from = range.start;
        for cut in self.within(&range) {
            out.push_str(&text[from..cut.range.start]);
            out.push_str(if cut.null { "null" } else { "" });
            from = cut.range.end;
        }
        out.push_str(&text[from..range.end]);
    }

    fn within(&self, range: &Range<usize>) -> &[Cut] {
        if self.0.is_empty() {
            return &[];
        }
        let begin = self.0.partition_point(|cut| cut.range.start < range.start);
        let end = self.0.partition_point(|cut| cut.range.end <= range.end);
        &self.0[begin..end.max(begin)]
    }
}

/// Checks that `text` is one JSON object; appends its top-level fields to `fields` and what
/// to leave out of it to `cuts`. After a fault both hold rubbish.
pub(crate) fn scan_object(
    text: &str,
    nan: Nan,
    cuts: &mut Cuts,
    fields: &mut Vec<Field>,
) -> Result<(), JsonFault> {
    Scanner::new(text, nan, cuts).row(fields)?;
    repeated(fields, text).map_or(Ok(()), |name| {
        let what = format!("the field {} is there twice", tidetable_storage::quoted(name));
        Err(JsonFault { at: 0, what })
    })
}

/// Whether these bytes are one JSON value of any kind, as a build would store it or not.
pub(crate) fn is_json(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    Scanner::new(text, Nan::Fail, &mut Cuts::default()).only_value().is_ok()
}

/// Appends `text`, which must be one JSON value of any kind, compacted to `out`.
pub(crate) fn compact_value(text: &str, nan: Nan, out: &mut String) -> Result<(), JsonFault> {
    let mut cuts = Cuts::default();
    Scanner::new(text, nan, &mut cuts).only_value()?;
    cuts.copy(text, 0..text.len(), out);
    Ok(())
}

/// The plain text of a JSON string in its quotes. None if its escapes are half a surrogate
/// pair, which is no text.
pub(crate) fn unescape(quoted: &str) -> Option<String> {
    serde_json::from_str(quoted).ok()
}

/// Whether `text` is a number as JSON writes it.
pub(crate) fn is_number(text: &str) -> bool {
    after_number(text.as_bytes()).is_ok_and(<[u8]>::is_empty)
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
fn repeated<'a>(fields: &'a [Field], text: &'a str) -> Option<&'a str> {
    if fields.len() < MANY_FIELDS {
        return fields.iter().enumerate().find_map(|(n, field)| {
            let name = field.name(text);
            fields[..n].iter().any(|before| before.name(text) == name).then_some(name)
        });
    }
    let mut names: Vec<&str> = fields.iter().map(|field| field.name(text)).collect();
    names.sort_unstable();
    names.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0])
}

#[cfg(test)]
#[path = "json_tests.rs"]
mod tests;
