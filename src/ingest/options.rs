//! The row options: how the rows of a source become keys and values.
//!
//! One struct serves the command line (clap), the JSON body of `POST …/versions`, the
//! query of `POST …/push` and the `source` of a version's resource. In JSON a list may be
//! an array or one text with commas; numbers and booleans may be texts, as they are in a
//! query. A text with commas cannot name a field that has a comma in its name: an array
//! can.

use std::collections::BTreeSet;
use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use serde::de::{self, DeserializeOwned, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::error::{IngestError, Result, shown};
use super::format::Format;
use super::option_values::{ColumnType, Delimiter, Nan, OnDuplicate, OrderBy};

const HEADING: &str = "Rows";

/// How rows become keys and values. [`RowOptions::check`] says which combinations mean
/// nothing; reading checks again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::Args)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RowOptions {
    /// How the rows are written. Default: guessed from the name of the source
    /// (rows.csv.gz), then from its first bytes
    #[arg(long, value_enum, help_heading = HEADING)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) format: Option<Format>,

    /// The field that is the key, or several, which are joined: learner_id,course_id.
    /// Whole numbers, strings, booleans and dates make keys
    #[arg(long, value_name = "FIELD,…", value_delimiter = ',', help_heading = HEADING)]
    #[serde(deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pub(crate) key: Vec<String>,

    /// What joins the fields of a key. A row in which one of them contains it is refused.
    /// Default: ':'
    #[arg(long, value_name = "TEXT", help_heading = HEADING)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key_separator: Option<String>,

    /// Keep only these fields of each row, in the order of the source
    #[arg(long, value_name = "FIELD,…", value_delimiter = ',', help_heading = HEADING)]
    #[serde(deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pub(crate) fields: Vec<String>,

    /// Store this one field alone instead of an object
    #[arg(long, value_name = "FIELD", help_heading = HEADING)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) value: Option<String>,

    /// Gather all rows of a key into one JSON array, in the order of the source
    #[arg(long, help_heading = HEADING)]
    #[serde(deserialize_with = "boolean", skip_serializing_if = "is_false")]
    pub(crate) collect: bool,

    /// With --collect: the order within the array, for instance score:desc,title. Numbers
    /// come before texts before booleans, nulls always last. Cells of text formats are
    /// texts unless --types says otherwise: '10' comes before '9'
    #[arg(long, value_name = "FIELD[:desc],…", value_delimiter = ',', help_heading = HEADING)]
    #[serde(
        deserialize_with = "list",
        serialize_with = "texts",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub(crate) order_by: Vec<OrderBy>,

    /// With --collect: keep only the first N rows of each key
    #[arg(long, value_name = "N", help_heading = HEADING)]
    #[serde(deserialize_with = "number", skip_serializing_if = "Option::is_none")]
    pub(crate) limit: Option<u64>,

    /// Without --collect: what to do when a key has several different rows. Equal rows are
    /// always stored once and counted
    #[arg(long, value_enum, default_value_t, help_heading = HEADING)]
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) on_duplicate: OnDuplicate,

    /// The types of csv, tsv and redshift columns: score:number,active:boolean. Types:
    /// string (the default), number, integer, boolean, json
    #[arg(long, value_name = "COLUMN:TYPE,…", value_delimiter = ',', help_heading = HEADING)]
    #[serde(
        deserialize_with = "types",
        serialize_with = "types_as_map",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub(crate) types: Vec<ColumnType>,

    /// Texts of csv, tsv and redshift cells that mean null: NA,NULL. An empty text makes
    /// empty cells null
    #[arg(long, value_name = "TEXT,…", value_delimiter = ',', help_heading = HEADING)]
    #[serde(deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pub(crate) null: Vec<String>,

    /// What to do with NaN and infinities, which JSON cannot write
    #[arg(long, value_enum, default_value_t, help_heading = HEADING)]
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) nan: Nan,

    /// What separates the cells of csv and redshift: one character, or \t. Defaults: ','
    /// and '|'
    #[arg(long, value_name = "CHARACTER", help_heading = HEADING)]
    #[serde(
        deserialize_with = "optional_text",
        serialize_with = "optional_as_text",
        skip_serializing_if = "Option::is_none"
    )]
    pub(crate) delimiter: Option<Delimiter>,

    /// The names of csv, tsv or redshift columns, for files without a header line
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', help_heading = HEADING)]
    #[serde(deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pub(crate) columns: Vec<String>,
}

impl RowOptions {
    /// The names of all options, as JSON and queries spell them.
    pub(crate) const NAMES: [&'static str; 14] = [
        "format",
        "key",
        "key_separator",
        "fields",
        "value",
        "collect",
        "order_by",
        "limit",
        "on_duplicate",
        "types",
        "null",
        "nan",
        "delimiter",
        "columns",
    ];

    /// The options that are lists, and may be given more than once in a query.
    const LISTS: [&'static str; 6] = ["key", "fields", "order_by", "types", "null", "columns"];

    /// Reads options from the pairs of a query. Lists may be given once with commas, or
    /// several times. Fails with `invalid_setting` on a name that is none of
    /// [`RowOptions::NAMES`], on a second value for what has one, and on a value that
    /// cannot be read.
    pub(crate) fn from_query<K: AsRef<str>, V: Into<String>>(
        pairs: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Self> {
        let mut map = serde_json::Map::new();
        for (name, text) in pairs {
            let (name, text) = (name.as_ref(), text.into());
            match map.get_mut(name) {
                None => {
                    map.insert(name.to_owned(), serde_json::Value::String(text));
                }
                Some(serde_json::Value::String(list)) if Self::LISTS.contains(&name) => {
                    list.push(',');
                    list.push_str(&text);
                }
                Some(_) => return Err(IngestError::setting(format!("{name} is given twice"))),
            }
        }
        Self::from_json(serde_json::Value::Object(map))
    }

    /// Reads options from a JSON object. Fails with `invalid_setting`, naming the option.
    pub(crate) fn from_json(json: serde_json::Value) -> Result<Self> {
        // One option at a time, as serde's messages about a value do not name its field.
        if let serde_json::Value::Object(map) = &json {
            for (name, value) in map.iter().filter(|(name, _)| Self::NAMES.contains(&name.as_str()))
            {
                let one = serde_json::Map::from_iter([(name.clone(), value.clone())]);
                one_option(one.into()).map_err(|e| IngestError::setting(format!("{name}: {e}")))?;
            }
        }
        one_option(json).map_err(|error| IngestError::setting(error.to_string()))
    }

    /// What joins the fields of a key.
    pub(crate) fn separator(&self) -> &str {
        self.key_separator.as_deref().unwrap_or(":")
    }

    /// Refuses combinations that cannot be meant (`invalid_setting`), as far as that can
    /// be said without seeing a source.
    pub(crate) fn check(&self) -> Result<()> {
        if self.key.is_empty() {
            return refuse("no key: --key names the field, or fields, that rows are looked up by");
        }
        if self.key.len() > 1 && self.separator().is_empty() {
            return refuse("--key-separator is empty, but --key names several fields to join");
        }
        if self.value.is_some() && !self.fields.is_empty() {
            return refuse(
                "--value and --fields exclude each other: one field alone, or an object",
            );
        }
        if !self.collect && !self.order_by.is_empty() {
            return refuse("--order-by orders the rows of a key, which needs --collect");
        }
        if !self.collect && self.limit.is_some() {
            return refuse("--limit limits the rows of a key, which needs --collect");
        }
        if self.limit == Some(0) {
            return refuse("--limit 0 would store empty arrays: expected 1 or more");
        }
        if self.collect && self.on_duplicate != OnDuplicate::Fail {
            return refuse("--on-duplicate chooses one row of a key, but --collect keeps them all");
        }
        check_names("--key", self.key.iter())?;
        check_names("--fields", self.fields.iter())?;
        check_names("--columns", self.columns.iter())?;
        check_names("--types", self.types.iter().map(|column| &column.name))?;
        check_names("--order-by", self.order_by.iter().map(|order| &order.field))?;
        check_names("--value", self.value.iter())?;
        self.format.map_or(Ok(()), |format| self.check_for(format))
    }

    /// Refuses options that mean nothing for `format` (`invalid_setting`).
    pub(crate) fn check_for(&self, format: Format) -> Result<()> {
        let name = format.as_str();
        let refuse_for = |flag: &str, why: &str| {
            Err(IngestError::setting(format!("{flag} does not fit {name}: {why}")))
        };
        if !format.is_delimited_text() {
            if !self.columns.is_empty() {
                return refuse_for("--columns", "its fields have names of their own");
            }
            if !self.types.is_empty() {
                return refuse_for("--types", "its fields have types of their own");
            }
            if !self.null.is_empty() {
                return refuse_for("--null", "it has nulls of its own");
            }
        }
        match (format, self.delimiter) {
            (Format::Ndjson | Format::Parquet, Some(_)) => {
                return refuse_for("--delimiter", "its fields are not separated by a character");
            }
            (Format::Tsv, Some(other)) if other != Delimiter::TAB => {
                return refuse_for(
                    "--delimiter",
                    "tabs separate its cells; --format csv takes any",
                );
            }
            _ => {}
        }
        if format == Format::Redshift && self.columns.is_empty() {
            return refuse(
                "redshift text has no header: --columns a,b,c names its columns in order",
            );
        }
        if !self.columns.is_empty() {
            self.check_columns()?;
        }
        Ok(())
    }

    /// With `--columns`, a misspelt name can be told before any source is opened.
    fn check_columns(&self) -> Result<()> {
        let named = (self.key.iter().map(|name| ("--key", name)))
            .chain(self.fields.iter().map(|name| ("--fields", name)))
            .chain(self.value.iter().map(|name| ("--value", name)))
            .chain(self.order_by.iter().map(|order| ("--order-by", &order.field)))
            .chain(self.types.iter().map(|column| ("--types", &column.name)));
        for (flag, name) in named {
            if !self.columns.contains(name) {
                return refuse(&format!("{flag} names {}, which --columns lacks", shown(name)));
            }
        }
        Ok(())
    }
}

fn one_option(json: serde_json::Value) -> std::result::Result<RowOptions, serde_json::Error> {
    RowOptions::deserialize(json)
}

fn refuse<T>(why: &str) -> Result<T> {
    Err(IngestError::setting(why))
}

fn check_names<'a>(flag: &str, names: impl Iterator<Item = &'a String>) -> Result<()> {
    let mut seen = BTreeSet::new();
    for name in names {
        if name.is_empty() {
            return refuse(&format!("{flag} has an empty name"));
        }
        if !seen.insert(name) {
            return refuse(&format!("{flag} names {} twice", shown(name)));
        }
    }
    Ok(())
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Accepts an array of texts, or one text with commas.
fn list<'de, D, T>(deserializer: D) -> std::result::Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr,
    T::Err: fmt::Display,
{
    deserializer.deserialize_any(ListVisitor { map_entries: false, of: PhantomData })
}

/// Accepts what [`list`] does, and a map of column to type.
fn types<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<Vec<ColumnType>, D::Error> {
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

    fn visit_str<E: de::Error>(self, text: &str) -> std::result::Result<Vec<T>, E> {
        text.split(',').map(|item| item.parse().map_err(E::custom)).collect()
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> std::result::Result<Vec<T>, A::Error> {
        let mut items = Vec::new();
        while let Some(text) = seq.next_element::<String>()? {
            items.push(text.parse().map_err(de::Error::custom)?);
        }
        Ok(items)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Vec<T>, A::Error> {
        if !self.map_entries {
            return Err(de::Error::invalid_type(de::Unexpected::Map, &self));
        }
        let mut items = Vec::new();
        while let Some((name, value)) = map.next_entry::<String, String>()? {
            items.push(format!("{name}:{value}").parse().map_err(de::Error::custom)?);
        }
        Ok(items)
    }

    fn visit_unit<E: de::Error>(self) -> std::result::Result<Vec<T>, E> {
        Ok(Vec::new())
    }
}

/// Accepts `true`, `false` and their texts.
fn boolean<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<bool, D::Error> {
    Ok(plain_or_text(deserializer, "true or false")?.unwrap_or_default())
}

/// Accepts a whole number and its text.
fn number<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<Option<u64>, D::Error> {
    plain_or_text(deserializer, "a whole number")
}

fn optional_text<'de, D, T>(deserializer: D) -> std::result::Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr,
    T::Err: fmt::Display,
{
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| text.parse().map_err(de::Error::custom)).transpose()
}

fn plain_or_text<'de, D, T>(
    deserializer: D,
    expected: &str,
) -> std::result::Result<Option<T>, D::Error>
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
        de::Error::custom(format!("expected {expected}, found {}", shown(&value.to_string())))
    })
}

fn texts<S: Serializer, T: fmt::Display>(
    items: &[T],
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    serializer.collect_seq(items.iter().map(ToString::to_string))
}

fn types_as_map<S: Serializer>(
    items: &[ColumnType],
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(items.len()))?;
    for item in items {
        map.serialize_entry(&item.name, item.cell.as_str())?;
    }
    map.end()
}

fn optional_as_text<S: Serializer, T: fmt::Display>(
    item: &Option<T>,
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    match item {
        None => serializer.serialize_none(),
        Some(item) => serializer.collect_str(item),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::ingest::option_values::CellType;

    fn options(json: serde_json::Value) -> RowOptions {
        RowOptions::from_json(json).unwrap()
    }

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        options: RowOptions,
    }

    #[test]
    fn command_line_query_and_json_say_the_same() {
        let line = "x --format csv --key a,b --key-separator / --collect --limit 20 \
                    --order-by score:desc,t --types score:number,ok:boolean --null NA, \
                    --nan null --delimiter ; --fields a,b,score,t,ok";
        let from_line = <Line as clap::Parser>::try_parse_from(line.split_whitespace()).unwrap();
        let from_query = RowOptions::from_query([
            ("format", "csv"),
            ("key", "a"),
            ("key", "b"),
            ("key_separator", "/"),
            ("collect", "true"),
            ("limit", "20"),
            ("order_by", "score:desc,t"),
            ("types", "score:number,ok:boolean"),
            ("null", "NA,"),
            ("nan", "null"),
            ("delimiter", ";"),
            ("fields", "a,b,score,t,ok"),
        ])
        .unwrap();
        let from_json = options(json!({
            "format": "csv", "key": ["a", "b"], "key_separator": "/", "collect": true,
            "limit": 20, "order_by": ["score:desc", "t"], "null": ["NA", ""], "nan": "null",
            "types": {"ok": "boolean", "score": "number"}, "delimiter": ";",
            "fields": "a,b,score,t,ok",
        }));
        assert_eq!(from_line.options, from_query);
        let sorted = |mut options: RowOptions| {
            options.types.sort_by(|a, b| a.name.cmp(&b.name));
            options
        };
        assert_eq!(sorted(from_query.clone()), sorted(from_json.clone()));
        from_json.check().unwrap();
        // What is shown as `source` reads back as the same options.
        assert_eq!(options(serde_json::to_value(&from_json).unwrap()), from_json);
    }

    #[test]
    fn only_what_was_given_is_shown() {
        let given = json!({"key": ["id"]});
        assert_eq!(serde_json::to_value(options(given.clone())).unwrap(), given);
    }

    #[test]
    fn every_option_has_its_name_listed() {
        let mut names = Vec::new();
        let command = <Line as clap::CommandFactory>::command();
        for arg in command.get_arguments().filter(|arg| arg.get_id() != "help") {
            names.push(arg.get_id().to_string());
            assert!(arg.get_help().is_some());
        }
        assert_eq!(names, RowOptions::NAMES);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        for (json, part) in [
            (json!({"keys": "a"}), "unknown field `keys`"),
            (json!({"limit": "many"}), "limit: expected a whole number, found \"\\\"many"),
            (json!({"limit": -1}), "limit: "),
            (json!({"limit": 1.5}), "limit: "),
            (json!({"collect": "yes"}), "collect: expected true or false"),
            (json!({"collect": 1}), "collect: "),
            (json!({"key": [1]}), "key: "),
            (json!({"key": {"a": "b"}}), "key: "),
            (json!({"types": {"a": "float"}}), "types: "),
            (json!({"order_by": "a:up"}), "order_by: "),
            (json!({"delimiter": "||"}), "delimiter: "),
            (json!({"format": "xml"}), "format: unknown variant `xml`, expected one of `ndjson`"),
            (json!([]), ""),
            (json!("key"), ""),
        ] {
            let error = RowOptions::from_json(json.clone()).unwrap_err();
            assert!(error.detail.contains(part), "{json}: {}", error.detail);
        }
        let twice = RowOptions::from_query([("limit", "1"), ("limit", "2")]).unwrap_err();
        assert_eq!(twice.detail, "limit is given twice");
    }

    #[test]
    fn contradictions_are_refused_before_anything_is_read() {
        for (json, part) in [
            (json!({}), "--key"),
            (json!({"key": ""}), "empty name"),
            (json!({"key": "a,a"}), "twice"),
            (json!({"key": "a,b", "key_separator": ""}), "--key-separator"),
            (json!({"key": "a", "value": "b", "fields": "c"}), "exclude each other"),
            (json!({"key": "a", "value": ""}), "--value has an empty name"),
            (json!({"key": "a", "limit": 3}), "--collect"),
            (json!({"key": "a", "order_by": "b"}), "--collect"),
            (json!({"key": "a", "collect": true, "limit": 0}), "1 or more"),
            (json!({"key": "a", "collect": true, "on_duplicate": "last"}), "--on-duplicate"),
            (json!({"key": "a", "format": "ndjson", "columns": "a"}), "names of their own"),
            (json!({"key": "a", "format": "parquet", "types": "a:number"}), "types of their own"),
            (json!({"key": "a", "format": "ndjson", "null": "NA"}), "nulls of its own"),
            (json!({"key": "a", "format": "parquet", "delimiter": ","}), "--delimiter"),
            (json!({"key": "a", "format": "tsv", "delimiter": ","}), "--format csv"),
            (json!({"key": "a", "format": "redshift"}), "--columns"),
            (json!({"key": "x", "format": "csv", "columns": "a,b"}), "--key names \"x\""),
            (json!({"key": "a", "format": "csv", "columns": "a", "types": "b:number"}), "--types"),
        ] {
            let error = options(json.clone()).check().unwrap_err();
            assert!(error.detail.contains(part), "{json}: {}", error.detail);
        }
        options(json!({"key": "a", "format": "tsv", "delimiter": "\\t"})).check().unwrap();
    }

    #[test]
    fn types_are_shown_as_a_map() {
        let types = options(json!({"types": ["b:json", "a:string"]})).types;
        assert_eq!(types[0].cell, CellType::Json);
        let shown = serde_json::to_value(options(json!({"types": "b:json,a:string"}))).unwrap();
        assert_eq!(shown, json!({"types": {"b": "json", "a": "string"}}));
    }
}
