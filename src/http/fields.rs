//! `fields=a,b`: keeps those top-level fields of a stored JSON object, or of each object
//! in a stored array, in the order of the value. Kept values are copied byte for byte, so
//! that numbers keep their digits.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::problem::{Answer, Fault, Problem};

/// More names than any page needs; bounds the work of one lookup.
const MOST_NAMES: usize = 200;

/// The names that a client asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fields(Vec<String>);

impl Fields {
    /// Parses `a,b`. A name cannot hold a comma; an empty list is an error, since an
    /// empty object would be a surprise.
    pub(crate) fn parse(text: &str) -> Answer<Self> {
        Self::new(text.split(',').map(str::to_owned).collect())
    }

    /// Accepts a list of names, as a batch has it.
    pub(crate) fn new(names: Vec<String>) -> Answer<Self> {
        if names.is_empty() || names.iter().any(String::is_empty) {
            return Err(Problem::new(
                Fault::InvalidParameter,
                "fields names at least one field, and no empty one: fields=a,b",
            ));
        }
        if names.len() > MOST_NAMES {
            let detail = format!("fields names {} fields; the most is {MOST_NAMES}", names.len());
            return Err(Problem::new(Fault::InvalidParameter, detail));
        }
        Ok(Self(names))
    }

    /// The value with only these fields; a field it does not have is left out. An error
    /// if the value is not a JSON object or an array of objects. Reads the value once.
    pub(crate) fn keep(&self, value: &[u8]) -> Answer<Vec<u8>> {
        let mut out = Vec::with_capacity(value.len());
        match value.trim_ascii_start().first() {
            Some(b'{') => self.keep_object(value, &mut out)?,
            Some(b'[') => {
                let items: Vec<&RawValue> =
                    serde_json::from_slice(value).map_err(|error| not_json(&error))?;
                out.push(b'[');
                for (at, item) in items.iter().enumerate() {
                    if at > 0 {
                        out.push(b',');
                    }
                    if !item.get().starts_with('{') {
                        return Err(unavailable(&format!("item {at} of the array is no object")));
                    }
                    self.keep_object(item.get().as_bytes(), &mut out)?;
                }
                out.push(b']');
            }
            _ => return Err(unavailable("the value is neither an object nor an array")),
        }
        Ok(out)
    }

    fn keep_object(&self, object: &[u8], out: &mut Vec<u8>) -> Answer<()> {
        let mut parser = serde_json::Deserializer::from_slice(object);
        let keep = Keep { names: &self.0, out };
        parser.deserialize_map(keep).and_then(|()| parser.end()).map_err(|error| not_json(&error))
    }
}

fn unavailable(found: &str) -> Problem {
    let detail =
        format!("fields needs a JSON object or an array of objects, and {found}; ask without it");
    Problem::new(Fault::FieldsUnavailable, detail)
}

fn not_json(error: &serde_json::Error) -> Problem {
    unavailable(&format!("the value is not JSON ({error})"))
}

/// Copies the members with one of the names.
struct Keep<'a> {
    names: &'a [String],
    out: &'a mut Vec<u8>,
}

impl<'de> Visitor<'de> for Keep<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        self.out.push(b'{');
        let mut first = true;
        while let Some(Name(name)) = members.next_key::<Name<'de>>()? {
            let value: &RawValue = members.next_value()?;
            if !self.names.iter().any(|kept| *kept == name) {
                continue;
            }
            if !std::mem::take(&mut first) {
                self.out.push(b',');
            }
            serde_json::to_writer(&mut *self.out, &name).map_err(serde::de::Error::custom)?;
            self.out.push(b':');
            self.out.extend_from_slice(value.get().as_bytes());
        }
        self.out.push(b'}');
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        Err(serde::de::Error::custom("an array where an object was expected"))
    }
}

/// A member's name, borrowed where it has no escapes.
#[derive(serde::Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    fn keep(fields: &str, value: &str) -> Result<String, &'static str> {
        let kept = Fields::parse(fields).unwrap().keep(value.as_bytes());
        kept.map(|bytes| String::from_utf8(bytes).unwrap()).map_err(|problem| problem.code())
    }

    #[test]
    fn kept_fields_are_byte_exact_and_in_source_order() {
        let value = r#"{"b":1.50e0,"a":{"x": [1, 2]},"c":12345678901234567890123,"d":null}"#;
        assert_eq!(keep("c,b", value).unwrap(), r#"{"b":1.50e0,"c":12345678901234567890123}"#);
        assert_eq!(keep("a", value).unwrap(), r#"{"a":{"x": [1, 2]}}"#);
        assert_eq!(keep("zzz", value).unwrap(), "{}");
        assert_eq!(keep("a,a", r#"{"a":1}"#).unwrap(), r#"{"a":1}"#);
    }

    #[test]
    fn names_are_compared_unescaped() {
        assert_eq!(keep("é", "{\"\\u00e9\":1}").unwrap(), "{\"é\":1}");
        assert_eq!(keep("a\"b", r#"{"a\"b":1,"c":2}"#).unwrap(), r#"{"a\"b":1}"#);
    }

    #[test]
    fn arrays_are_projected_object_by_object() {
        assert_eq!(keep("a", r#"[{"a":1,"b":2}, {"b":3}]"#).unwrap(), r#"[{"a":1},{}]"#);
        assert_eq!(keep("a", "[]").unwrap(), "[]");
    }

    #[test]
    fn anything_else_is_refused_by_code() {
        for value in
            ["1", "null", "\"a\"", "[1]", r#"[{"a":1},[]]"#, "", "{", r#"{"a":1}x"#, "\u{1}"]
        {
            assert_eq!(keep("a", value), Err("fields_unavailable"), "{value}");
        }
        assert_eq!(Fields::parse("").unwrap_err().code(), "invalid_parameter");
        assert_eq!(Fields::parse("a,,b").unwrap_err().code(), "invalid_parameter");
        let many = vec!["x"; MOST_NAMES + 1].join(",");
        assert_eq!(Fields::parse(&many).unwrap_err().code(), "invalid_parameter");
    }
}
