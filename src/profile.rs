//! The profile of a version as JSON: for requests (`http/profile.rs`), and for the gate `check`
//! (`pushes/check.rs`).

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use tidetable_storage::{FieldProfile, JsonType, Numbers, Profile, SampleRecord, Sizes, Version};

use crate::keys::KeyText;

/// What a version holds, in outline.
#[derive(Debug, Serialize)]
pub(crate) struct ProfileResource {
    version: Version,
    records: u64,
    /// From how many records all below was worked out.
    sampled: u64,
    key_bytes: Sizes,
    value_bytes: Sizes,
    objects: u64,
    fields: BTreeMap<String, FieldResource>,
    fields_cut: bool,
    samples: Vec<SampleResource>,
    /// There are samples, and whoever asks may not read values.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    samples_withheld: bool,
}

#[derive(Debug, Serialize)]
struct FieldResource {
    present_percent: f64,
    null_percent: f64,
    types: BTreeMap<JsonType, u64>,
    distinct: u64,
    number: Option<Numbers>,
}

#[derive(Debug, Serialize)]
struct SampleResource {
    #[serde(flatten)]
    key: KeyText,
    /// The value, if it is JSON and short enough to be shown whole.
    value: Option<Box<RawValue>>,
    /// Its beginning, if not.
    text: Option<String>,
    value_bytes: u64,
}

/// The same as a document, for whoever else judges a version; `None` if it has no profile.
pub(crate) fn profile_json(
    version: Version,
    records: u64,
    profile: Option<&Profile>,
) -> Option<Value> {
    let shown = ProfileResource::of(version, records, profile?);
    Some(serde_json::to_value(shown).expect("numbers, texts and stored JSON can be written"))
}

impl ProfileResource {
    pub(crate) fn of(version: Version, records: u64, profile: &Profile) -> Self {
        let field = |(name, field): (&String, &FieldProfile)| {
            (name.clone(), FieldResource::of(field, profile.objects))
        };
        Self {
            version,
            records,
            sampled: profile.sampled,
            key_bytes: profile.key_bytes,
            value_bytes: profile.value_bytes,
            objects: profile.objects,
            fields: profile.fields.iter().map(field).collect(),
            fields_cut: profile.fields_cut,
            samples: profile.samples.iter().map(SampleResource::of).collect(),
            samples_withheld: false,
        }
    }

    /// For whoever may not read values.
    pub(crate) fn withhold_samples(&mut self) {
        self.samples_withheld = !self.samples.is_empty();
        self.samples.clear();
    }
}

impl FieldResource {
    fn of(field: &FieldProfile, objects: u64) -> Self {
        let percent = |part: u64| (part as f64 / objects.max(1) as f64 * 1e4).round() / 100.0;
        Self {
            present_percent: percent(field.present),
            null_percent: percent(field.present - field.filled()),
            types: field.types.clone(),
            distinct: field.distinct,
            number: field.number,
        }
    }
}

impl SampleResource {
    fn of(sample: &SampleRecord) -> Self {
        let is_whole = sample.value.len() as u64 == sample.value_bytes;
        let text = sample.value.clone();
        let value = is_whole.then(|| RawValue::from_string(text.clone()).ok()).flatten();
        Self {
            key: KeyText::of(&sample.key),
            text: value.is_none().then_some(text),
            value,
            value_bytes: sample.value_bytes,
        }
    }
}
