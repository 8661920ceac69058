//! One dataset of a job file while it is understood: what of it is meant, and what is wrong, each
//! at its place.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value, json};
use tidetable_storage::{DatasetConfig, DatasetName};

use super::super::node::{Diagnostic, Entry, Position};
use super::super::schema::{row_option_names, setting_names};
use super::{Wanted, as_keys};
use crate::cli::push::{parse_key, parse_time};
use crate::cli::rows::{RowOptions, SourceOptions};
use crate::pushes::MAX_LABEL_BYTES;

/// One dataset while it is understood.
pub(super) struct Reading<'a> {
    pub(super) dataset: &'a Entry,
    pub(super) defaults: &'a [Entry],
    pub(super) home: &'a Path,
    pub(super) diagnostics: &'a mut Vec<Diagnostic>,
}

impl<'a> Reading<'a> {
    /// What is wanted; `None` if something is wrong with it.
    pub(super) fn wanted(mut self, together: bool) -> Option<Wanted> {
        let before = self.diagnostics.len();
        let name = DatasetName::parse(&self.dataset.key);
        let name = name.map_err(|error| self.say(self.dataset.at, error.to_string())).ok();
        let from = self.text("from", |name| Ok(name.to_owned()));
        let (sources_at, sources) = self.sources(from.is_some());
        let how = SourceOptions {
            accept_unfinished: self.is_set("accept-unfinished"),
            manifest: self.is_set("manifest"),
        };
        let rows = self.rows();
        let settings = self.settings();
        let label = self.text("label", |text| {
            let fits = text.len() <= MAX_LABEL_BYTES && !text.chars().any(char::is_control);
            let what = format!("has control characters, or more than {MAX_LABEL_BYTES} bytes");
            fits.then(|| text.to_owned()).ok_or(what)
        });
        let as_of = self.text("as-of", parse_time);
        let key = self.text("idempotency-key", parse_key);
        let activate = self.get("activate").is_none_or(|entry| entry.value.json() == true);
        if together && !activate {
            let at = self.get("activate").map(|entry| entry.at).unwrap_or_default();
            self.say(at, "activate: false contradicts activate-together, which activates all");
        }
        if self.diagnostics.len() > before {
            return None;
        }
        let name = name?;
        let key = key.or_else(|| label.as_deref().map(|label| derived_key(&name, label)));
        let at = self.dataset.at;
        Some(Wanted {
            name,
            at,
            sources_at,
            sources,
            how,
            from,
            rows,
            settings,
            label,
            as_of,
            key,
            activate,
        })
    }

    fn get(&self, key: &str) -> Option<&'a Entry> {
        let of_all = || self.defaults.iter().find(|entry| entry.key == key);
        self.dataset.value.get(key).or_else(of_all)
    }

    fn is_set(&self, key: &str) -> bool {
        self.get(key).is_some_and(|entry| entry.value.json() == true)
    }

    fn say(&mut self, at: Position, what: impl Into<String>) {
        self.diagnostics.push(Diagnostic::new(at, what));
    }

    /// The sources, and where they stand. The paths of what the server fetches are its own.
    fn sources(&mut self, elsewhere: bool) -> (Position, Vec<String>) {
        let dataset = self.dataset;
        let (one, several) = (dataset.value.get("source"), dataset.value.get("sources"));
        let entry = match (one, several) {
            (Some(entry), None) | (None, Some(entry)) => entry,
            // All of it.
            (None, None) if elsewhere => return (dataset.at, vec![String::new()]),
            (None, None) => {
                self.say(dataset.at, format!("{} has no source", dataset.key));
                return (dataset.at, Vec::new());
            }
            (Some(_), Some(second)) => {
                self.say(second.at, "source and sources are one key: name them all in one list");
                return (second.at, Vec::new());
            }
        };
        let mut sources = Vec::new();
        let texts = entry.value.texts();
        if elsewhere && texts.len() != 1 {
            self.say(entry.at, "with from there is one source: a path beneath the server's");
        }
        for (source, at) in texts {
            match source {
                source if elsewhere => sources.push(source.to_owned()),
                "-" => {
                    let what = "standard input can be read once only: name files, or use push";
                    self.say(at, what);
                }
                source => sources.push(within(self.home, source)),
            }
        }
        (entry.value.at, sources)
    }

    fn rows(&mut self) -> RowOptions {
        let mut all = Map::new();
        let mut positions = Vec::new();
        for name in row_option_names() {
            let Some(entry) = self.get(&name) else { continue };
            let spelt = name.replace('-', "_");
            let (at, mut value) = (entry.value.at, entry.value.json());
            // `a, b` is written so in YAML; white space may be a text that means null.
            if RowOptions::LISTS.contains(&spelt.as_str()) && spelt != "null" {
                value = trimmed(value);
            }
            let one = Map::from_iter([(spelt.clone(), value.clone())]);
            if let Err(error) = RowOptions::from_json(Value::Object(one)) {
                self.say(at, error.detail);
                continue;
            }
            all.insert(spelt, value);
            positions.push((name, entry.at));
        }
        let rows = RowOptions::from_json(Value::Object(all)).unwrap_or_default();
        // Without a key it may be a snapshot, which has none: that is asked with the sources.
        if let Err(error) = rows.check()
            && !rows.key.is_empty()
        {
            let named =
                |(name, _): &&(String, Position)| error.detail.contains(&format!("--{name} "));
            let at = positions.iter().find(named).map_or(self.dataset.at, |(_, at)| *at);
            self.say(at, as_keys(&error.detail));
        }
        rows
    }

    fn settings(&mut self) -> Map<String, Value> {
        let mut all = Map::new();
        let mut positions = BTreeMap::new();
        for name in setting_names() {
            let Some(entry) = self.get(&name) else { continue };
            let value = entry.value.json();
            let one = Map::from_iter([(name.clone(), value.clone())]);
            let at = entry.value.at;
            match serde_json::from_value::<DatasetConfig>(Value::Object(one)) {
                Ok(config) => {
                    if let Err(error) = config.check() {
                        let at = self.position_in(&name, &error.to_string()).unwrap_or(at);
                        self.say(at, error.to_string());
                    }
                }
                Err(error) => self.say(at, format!("{name}: {error}")),
            }
            positions.insert(name.clone(), at);
            all.insert(name, value);
        }
        all
    }

    /// Where the setting stands whose whole name, as `gates.ranges`, a message begins with.
    fn position_in(&self, group: &str, message: &str) -> Option<Position> {
        let (_, rest) = message.split_once(&format!("{group}."))?;
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_')?;
        Some(self.get(group)?.value.get(&rest[..end])?.value.at)
    }

    fn text(
        &mut self,
        key: &str,
        parse: impl Fn(&str) -> Result<String, String>,
    ) -> Option<String> {
        let entry = self.get(key)?;
        let at = entry.value.at;
        let parsed = match entry.value.texts().first() {
            Some((text, _)) => parse(text),
            None => return None,
        };
        parsed.map_err(|what| self.say(at, format!("{key}: {what}"))).ok()
    }
}

/// A source as it is to be found from here, where the file names it from its own directory.
pub(super) fn within(home: &Path, source: &str) -> String {
    let elsewhere = source.contains("://") || Path::new(source).is_absolute();
    if elsewhere || home.as_os_str().is_empty() {
        return source.to_owned();
    }
    let plain = home.join(source);
    let is_pattern = source.contains(['*', '?', '[']) && plain.symlink_metadata().is_err();
    if is_pattern {
        // The name of the directory itself is no pattern.
        let home = glob::Pattern::escape(&home.to_string_lossy());
        return Path::new(&home).join(source).to_string_lossy().into_owned();
    }
    plain.to_string_lossy().into_owned()
}

/// The items of a text with commas, without white space around them.
fn trimmed(value: Value) -> Value {
    match value {
        Value::String(text) if text.contains(", ") => {
            text.split(',').map(|item| Value::from(item.trim())).collect()
        }
        other => other,
    }
}

/// One run of a job for one dataset: the same label, the same push.
pub(super) fn derived_key(name: &DatasetName, label: &str) -> String {
    let both = json!([name.as_str(), label]).to_string();
    format!("job-{}", &blake3::hash(both.as_bytes()).to_hex()[..32])
}
