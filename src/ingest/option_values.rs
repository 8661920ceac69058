//! The values of row options, parsed once: each has one text form, the same on the
//! command line, in a query and in JSON.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use tidetable_storage::quoted;

/// What happens when one key has several different rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum OnDuplicate {
    /// The push fails and names up to five such keys
    #[default]
    Fail,
    /// The first row in source order is kept
    First,
    /// The last row in source order is kept
    Last,
}

/// What happens to NaN and infinities, which JSON cannot write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Nan {
    /// The row fails the push
    #[default]
    Fail,
    /// They become null
    Null,
}

/// What a cell of a text table holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CellType {
    /// A JSON string of the cell's text.
    String,
    /// A number in JSON's spelling, kept as written.
    Number,
    /// A whole number, kept as written.
    Integer,
    /// `true`/`false`, `t`/`f` or `1`/`0`, in any case.
    Boolean,
    /// Any JSON value, kept but for its white space.
    Json,
}

impl CellType {
    const NAMES: [(&'static str, Self); 5] = [
        ("string", Self::String),
        ("number", Self::Number),
        ("integer", Self::Integer),
        ("boolean", Self::Boolean),
        ("json", Self::Json),
    ];

    /// The name, as it is written in `--types`.
    pub(crate) fn as_str(self) -> &'static str {
        // The table has an entry for each variant.
        Self::NAMES.iter().find(|(_, cell)| *cell == self).map_or("string", |(name, _)| name)
    }
}

/// One entry of `--types`: `score:number`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ColumnType {
    /// The column.
    pub(crate) name: String,
    /// What its cells hold.
    pub(crate) cell: CellType,
}

impl FromStr for ColumnType {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || {
            format!(
                "{} is not a column and its type: expected name:type, where type is one of \
                 string, number, integer, boolean, json",
                quoted(text)
            )
        };
        let (name, cell) = text.rsplit_once(':').ok_or_else(expected)?;
        let cell = CellType::NAMES.iter().find(|(known, _)| *known == cell);
        let (_, cell) = cell.filter(|_| !name.is_empty()).ok_or_else(expected)?;
        Ok(Self { name: name.to_owned(), cell: *cell })
    }
}

impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name, self.cell.as_str())
    }
}

/// One entry of `--order-by`: `score`, `score:asc` or `score:desc`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OrderBy {
    /// The field.
    pub(crate) field: String,
    /// Whether the greatest comes first.
    pub(crate) descending: bool,
}

impl FromStr for OrderBy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (field, descending) = match text.rsplit_once(':') {
            None => (text, false),
            Some((field, "asc")) => (field, false),
            Some((field, "desc")) => (field, true),
            // A colon may belong to the field's name, but a misspelt direction would then
            // name a field that is nowhere and sort nothing.
            Some(_) => {
                return Err(format!(
                    "{} is not an order: expected field, field:asc or field:desc (a field with \
                     a colon in its name needs its direction written out)",
                    quoted(text)
                ));
            }
        };
        Ok(Self { field: field.to_owned(), descending })
    }
}

impl fmt::Display for OrderBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.field, if self.descending { "desc" } else { "asc" })
    }
}

/// The byte between the cells of a text table: one ASCII character, or `\t`, `\x01` or
/// `\001` for one that is hard to type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Delimiter(u8);

impl Delimiter {
    pub(crate) const COMMA: Self = Self(b',');
    pub(crate) const TAB: Self = Self(b'\t');
    pub(crate) const PIPE: Self = Self(b'|');

    /// The byte.
    pub(crate) fn byte(self) -> u8 {
        self.0
    }
}

impl FromStr for Delimiter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let byte = match text.as_bytes() {
            [byte] => Some(*byte),
            b"\\t" => Some(b'\t'),
            [b'\\', b'x', high, low] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                u8::from_str_radix(&text[2..], 16).ok()
            }
            [b'\\', b'0'..=b'3', _, _] => u8::from_str_radix(&text[1..], 8).ok(),
            _ => None,
        };
        let usable = |byte: &u8| byte.is_ascii() && !matches!(byte, b'"' | b'\r' | b'\n' | b'\\');
        byte.filter(usable).map(Self).ok_or_else(|| {
            format!(
                "{} is not a delimiter: expected one ASCII character other than a quote, a \
                 backslash and line ends, or \\t, \\x01 or \\001",
                quoted(text)
            )
        })
    }
}

impl fmt::Display for Delimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            b'\t' => f.write_str("\\t"),
            byte @ 0x20..=0x7e => write!(f, "{}", char::from(byte)),
            byte => write!(f, "\\x{byte:02x}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delimiters_are_one_byte() {
        for (text, byte) in
            [("|", b'|'), ("\t", b'\t'), ("\\t", b'\t'), ("\\x01", 1), ("\\001", 1), ("\\036", 30)]
        {
            let delimiter: Delimiter = text.parse().unwrap();
            assert_eq!(delimiter.byte(), byte);
            assert_eq!(delimiter.to_string().parse::<Delimiter>().unwrap(), delimiter);
        }
        for bad in ["", "||", "é", "\"", "\n", "\\", "\\xfff", "\\xff", "\\x+1", "\\377", "\\n"] {
            assert!(bad.parse::<Delimiter>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn orders_refuse_a_misspelt_direction() {
        let order: OrderBy = "score:desc".parse().unwrap();
        assert_eq!((order.field.as_str(), order.descending), ("score", true));
        let order: OrderBy = "a:b:asc".parse().unwrap();
        assert_eq!((order.field.as_str(), order.descending), ("a:b", false));
        assert!("score:down".parse::<OrderBy>().unwrap_err().contains("field:desc"));
    }

    #[test]
    fn types_name_what_is_expected() {
        let column: ColumnType = "a:b:number".parse().unwrap();
        assert_eq!((column.name.as_str(), column.cell), ("a:b", CellType::Number));
        for bad in ["score", "score:float", ":number", ""] {
            assert!(bad.parse::<ColumnType>().unwrap_err().contains("boolean"), "{bad:?}");
        }
    }
}
