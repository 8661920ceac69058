//! One value of a row, as far as keys and orders care.

use std::borrow::Cow;

/// What a field holds. Numbers are their text, so that no digit is lost.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Scalar<'a> {
    Null,
    Boolean(bool),
    /// A number as JSON writes it.
    Number(Cow<'a, str>),
    Text(Cow<'a, str>),
    /// Bytes that need not be text.
    Bytes(Cow<'a, [u8]>),
    /// A date, moment or time of day: its text, and a number in the same order, as the
    /// text of fractions of seconds does not sort.
    Time {
        text: String,
        instant: i128,
    },
    /// NaN or an infinity.
    NotFinite,
    /// An object or array.
    Nested,
}

impl<'a> Scalar<'a> {
    /// What compact, valid JSON holds. None for a string whose escapes are no text (half a
    /// surrogate pair).
    pub(crate) fn of_json(json: &'a str) -> Option<Self> {
        Some(match json.as_bytes() {
            [b'"', inner @ .., b'"'] if inner.contains(&b'\\') => {
                Scalar::Text(super::json::unescape(json)?.into())
            }
            [b'"', .., b'"'] => Scalar::Text(json[1..json.len() - 1].into()),
            b"null" => Scalar::Null,
            b"true" => Scalar::Boolean(true),
            b"false" => Scalar::Boolean(false),
            [b'{' | b'[', ..] => Scalar::Nested,
            _ => Scalar::Number(json.into()),
        })
    }
    /// The same, borrowing nothing.
    pub(crate) fn into_owned(self) -> Scalar<'static> {
        match self {
            Scalar::Null => Scalar::Null,
            Scalar::Boolean(boolean) => Scalar::Boolean(boolean),
            Scalar::Number(number) => Scalar::Number(number.into_owned().into()),
            Scalar::Text(text) => Scalar::Text(text.into_owned().into()),
            Scalar::Bytes(bytes) => Scalar::Bytes(bytes.into_owned().into()),
            Scalar::Time { text, instant } => Scalar::Time { text, instant },
            Scalar::NotFinite => Scalar::NotFinite,
            Scalar::Nested => Scalar::Nested,
        }
    }
}
