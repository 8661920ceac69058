//! Row options in JSON and queries: what is a list, a number or a boolean there may also be
//! a text, as query parameters are nothing else.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use serde::de::{self, DeserializeOwned, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serializer};

use tidetable_storage::quoted;

use super::option_values::ColumnType;

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
pub(crate) fn is_false(value: &bool) -> bool {
    !value
}

pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Accepts an array of texts, or one text with commas.
pub(crate) fn list<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr,
    T::Err: fmt::Display,
{
    deserializer.deserialize_any(ListVisitor { map_entries: false, of: PhantomData })
}

/// Accepts what [`list`] does, and a map of column to type.
pub(crate) fn types<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<ColumnType>, D::Error> {
    deserializer.deserialize_any(ListVisitor { map_entries: true, of: PhantomData })
}

struct ListVisitor<T> {
    /// Whether a map is welcome; its entries are read as `name:value`.
    map_entries: bool,
    of: PhantomData<T>,
}

impl<'de, T> Visitor<'de> for ListVisitor<T>
where
    T: FromStr,
    T::Err: fmt::Display,
{
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of texts, or one text with commas between them")?;
        if self.map_entries { f.write_str(", or a map of column to type") } else { Ok(()) }
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Vec<T>, E> {
        text.split(',').map(|item| item.parse().map_err(E::custom)).collect()
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<T>, A::Error> {
        let mut items = Vec::new();
        while let Some(text) = seq.next_element::<String>()? {
            items.push(text.parse().map_err(de::Error::custom)?);
        }
        Ok(items)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vec<T>, A::Error> {
        if !self.map_entries {
            return Err(de::Error::invalid_type(de::Unexpected::Map, &self));
        }
        let mut items = Vec::new();
        while let Some((name, value)) = map.next_entry::<String, String>()? {
            items.push(format!("{name}:{value}").parse().map_err(de::Error::custom)?);
        }
        Ok(items)
    }

    fn visit_unit<E: de::Error>(self) -> Result<Vec<T>, E> {
        Ok(Vec::new())
    }
}

/// Accepts `true`, `false` and their texts.
pub(crate) fn boolean<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Ok(plain_or_text(deserializer, "true or false")?.unwrap_or_default())
}

/// Accepts a whole number and its text.
pub(crate) fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    plain_or_text(deserializer, "a whole number")
}

pub(crate) fn optional_text<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr,
    T::Err: fmt::Display,
{
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| text.parse().map_err(de::Error::custom)).transpose()
}

fn plain_or_text<'de, D, T>(deserializer: D, expected: &str) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned,
{
    use serde_json::Value;
    let value = Value::deserialize(deserializer)?;
    let plain = match &value {
        Value::Null => return Ok(None),
        Value::String(text) => serde_json::from_str(text).ok(),
        other => T::deserialize(other.into_deserializer()).ok(),
    };
    plain.map(Some).ok_or_else(|| {
        de::Error::custom(format!("expected {expected}, found {}", quoted(&value.to_string())))
    })
}

pub(crate) fn texts<S: Serializer, T: fmt::Display>(
    items: &[T],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(items.iter().map(ToString::to_string))
}

pub(crate) fn types_as_map<S: Serializer>(
    items: &[ColumnType],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(items.len()))?;
    for item in items {
        map.serialize_entry(&item.name, item.cell.as_str())?;
    }
    map.end()
}

pub(crate) fn optional_as_text<S: Serializer, T: fmt::Display>(
    item: &Option<T>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match item {
        None => serializer.serialize_none(),
        Some(item) => serializer.collect_str(item),
    }
}
