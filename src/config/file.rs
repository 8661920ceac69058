//! The settings in a TOML file, each with the line it stands on.

use toml::de::{DeTable, DeValue};

use super::sources::{self, Sources};
use super::webhooks::{self, Target};

/// One setting as it stands in the file.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) value: String,
    pub(super) line: usize,
}

/// What stands in a file.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) settings: Vec<Entry>,
    pub(super) webhooks: Vec<Target>,
    pub(super) sources: Sources,
}

/// The contents of a file; an error says on which line what is wrong.
pub(super) fn contents(text: &str) -> Result<Contents, (usize, String)> {
    let line_at =
        |offset: usize| 1 + text.as_bytes()[..offset].iter().filter(|b| **b == b'\n').count();
    let table = DeTable::parse(text).map_err(|error| {
        let offset = error.span().map_or(0, |span| span.start.min(text.len()));
        (line_at(offset), error.message().to_owned())
    })?;
    let mut contents = Contents::default();
    for (name, value) in table.get_ref() {
        let line = line_at(name.span().start);
        let name = name.get_ref().to_string();
        if name == "webhooks" {
            let targets = webhooks::targets(value);
            contents.webhooks = targets.map_err(|(offset, text)| (line_at(offset), text))?;
            continue;
        }
        if name == "sources" {
            let sources = sources::sources(value);
            contents.sources = sources.map_err(|(offset, text)| (line_at(offset), text))?;
            continue;
        }
        let value = match value.get_ref() {
            DeValue::String(text) => text.to_string(),
            DeValue::Integer(number) if number.radix() == 10 => number.as_str().to_owned(),
            DeValue::Boolean(value) => value.to_string(),
            other => {
                let kind = other.type_str();
                return Err((
                    line,
                    format!(
                        "{name} is {}: expected a text, a whole number or a boolean",
                        article(kind)
                    ),
                ));
            }
        };
        contents.settings.push(Entry { name, value, line });
    }
    Ok(contents)
}

fn article(kind: &str) -> String {
    let vowel = kind.starts_with(['a', 'e', 'i', 'o', 'u']);
    format!("{} {kind}", if vowel { "an" } else { "a" })
}
