//! The row options: how the rows of a source become keys and values.
//!
//! One struct serves the command line (clap), the JSON body of `POST …/versions`, the
//! query of `POST …/push` and the `source` of a version's resource. In JSON a list may be
//! an array or one text with commas; numbers and booleans may be texts, as they are in a
//! query. A text with commas cannot name a field that has a comma in its name: an array
//! can.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use tidetable_storage::quoted;

use super::error::{IngestError, Result};
use super::format::Format;
use super::option_texts::{
    boolean, is_default, is_false, list, number, optional_as_text, optional_text, texts, types,
    types_as_map,
};
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
    /// empty cells null. In csv and tsv a quoted cell is a text, whatever it holds
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
    pub(crate) const LISTS: [&'static str; 6] =
        ["key", "fields", "order_by", "types", "null", "columns"];

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
        if !json.is_object() {
            return refuse("row options are a JSON object");
        }
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
            (_, Some(_)) if !format.is_delimited_text() => {
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
                return refuse(&format!("{flag} names {}, which --columns lacks", quoted(name)));
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
            return refuse(&format!("{flag} names {} twice", quoted(name)));
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "options_tests.rs"]
mod tests;
