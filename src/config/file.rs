//! The settings in a TOML file, each with the line it stands on.

use toml::de::{DeTable, DeValue};

/// One setting as it stands in the file.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) value: String,
    pub(super) line: usize,
}

/// The settings of a file; an error says on which line what is wrong.
pub(super) fn entries(text: &str) -> Result<Vec<Entry>, (usize, String)> {
    let line_at =
        |offset: usize| 1 + text.as_bytes()[..offset].iter().filter(|b| **b == b'\n').count();
    let table = DeTable::parse(text).map_err(|error| {
        let offset = error.span().map_or(0, |span| span.start.min(text.len()));
        (line_at(offset), error.message().to_owned())
    })?;
    let mut entries = Vec::new();
    for (name, value) in table.get_ref() {
        let line = line_at(name.span().start);
        let name = name.get_ref().to_string();
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
        entries.push(Entry { name, value, line });
    }
    Ok(entries)
}

fn article(kind: &str) -> String {
    let vowel = kind.starts_with(['a', 'e', 'i', 'o', 'u']);
    format!("{} {kind}", if vowel { "an" } else { "a" })
}
