//! What is in a version, in outline: how large its keys and values are, and what its fields hold.
//! For people who compare versions, and for the gates (`gates/fields.rs`).
//!
//! It is worked out from a sample that is drawn fairly from all records while the version is built
//! (`profile/sample.rs`) and taken apart at the end (`profile/fields.rs`): all records of a small
//! version, 65,536 of a large one. So it costs a hundredth of a build and a bounded memory. It is
//! an estimate: a share is right to within ±0.4 points (19 times of 20), and what only a handful of
//! records have may not be seen.
//!
//! It stands in the manifest. Of what was built here the builder works it out. Of a pushed snapshot
//! it is worked out anew (`verify.rs`), since the gates judge by it.

mod fields;
mod sample;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::erased::ErasedKeys;

pub(crate) use sample::Sampler;

/// What is in a version, in outline.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// From how many records all below was worked out.
    pub sampled: u64,
    /// The lengths of keys, in bytes. The ends are those of all records.
    pub key_bytes: Sizes,
    /// The lengths of values, in bytes. The ends are those of all records.
    pub value_bytes: Sizes,
    /// JSON objects in the sample: values, or members of values that are arrays.
    pub objects: u64,
    /// What the objects hold, by the name of the field.
    pub fields: BTreeMap<String, FieldProfile>,
    /// Whether there are more fields than are told: only 256 are, and none with a name of
    /// more than 200 bytes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fields_cut: bool,
    /// A few records, in key order.
    pub samples: Vec<SampleRecord>,
}

/// Lengths in bytes: the ends and some quantiles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sizes {
    /// The smallest.
    pub min: u64,
    /// Half are at most this.
    pub p50: u64,
    /// Nine of ten are at most this.
    pub p90: u64,
    /// 99 of 100 are at most this.
    pub p99: u64,
    /// The largest.
    pub max: u64,
}

/// From so many different values on their number is an estimate.
pub const DISTINCT_EXACT_BELOW: u64 = 4_096;

/// What one field of the sampled objects holds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FieldProfile {
    /// Objects that have it, be it null.
    pub present: u64,
    /// How many of its values are of each type.
    pub types: BTreeMap<JsonType, u64>,
    /// How many different values it has in the sample, nulls left out. Exact below
    /// [`DISTINCT_EXACT_BELOW`]; from there on within 5 %, as good as always.
    pub distinct: u64,
    /// What its numbers are, if it has any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<Numbers>,
}

/// The types of JSON values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JsonType {
    /// `null`.
    Null,
    /// `true` or `false`.
    Boolean,
    /// A number.
    Number,
    /// A text.
    String,
    /// An array.
    Array,
    /// An object.
    Object,
}

impl JsonType {
    /// All, in their order.
    pub(crate) const ALL: [Self; 6] =
        [Self::Null, Self::Boolean, Self::Number, Self::String, Self::Array, Self::Object];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean => "boolean",
            Self::Number => "number",
            Self::String => "string",
            Self::Array => "array",
            Self::Object => "object",
        }
    }
}

/// What the numbers of a field are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "p25: a quarter are at most this; the others likewise")]
pub struct Numbers {
    /// The smallest in the sample.
    pub min: f64,
    pub p1: f64,
    pub p25: f64,
    pub p50: f64,
    pub p75: f64,
    pub p99: f64,
    /// The largest in the sample.
    pub max: f64,
    /// Their mean.
    pub mean: f64,
}

/// One record, to look at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SampleRecord {
    /// Its key; hexadecimal in JSON, since keys are any bytes.
    #[serde(with = "crate::digest::hex")]
    pub key: Vec<u8>,
    /// The first 1,000 characters of its value.
    pub value: String,
    /// The bytes of the whole value.
    pub value_bytes: u64,
}

impl Profile {
    /// Leaves out the samples whose keys are erased.
    pub fn leave_out(&mut self, erased: Option<&ErasedKeys>) {
        if let Some(erased) = erased {
            self.samples.retain(|sample| !erased.has(&sample.key));
        }
    }

    /// How many of the objects have the field with a value that is not null.
    pub(crate) fn filled(&self, field: &str) -> u64 {
        self.fields.get(field).map_or(0, FieldProfile::filled)
    }
}

impl FieldProfile {
    /// How many of its values are not null.
    pub fn filled(&self) -> u64 {
        self.present - self.of_type(JsonType::Null).min(self.present)
    }

    /// How many of its values are of that type.
    pub fn of_type(&self, of: JsonType) -> u64 {
        self.types.get(&of).copied().unwrap_or_default()
    }
}
