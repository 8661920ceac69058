//! `tidetable diff`: how two versions differ.

use std::collections::BTreeMap;

use clap::Args;
use serde::Deserialize;
use serde_json::value::RawValue;
use tidetable_storage::{DatasetName, Version};

use super::Context;
use super::api::dataset_path;
use super::exit::Failure;
use super::output::{cut, grouped, printable};

/// Fields that are named in the text, those that changed most often.
const FIELDS_SHOWN: usize = 20;
/// Characters of a value that are shown.
const VALUE_SHOWN: usize = 200;

/// Show how two versions of a dataset differ: keys, fields, samples
///
/// Keys that only TO has were added, those that only FROM has were removed; others have another
/// value, or the same byte for byte. Both versions must be kept still.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  tidetable diff course-recs 41 42
  tidetable diff course-recs 41 42 --samples 20
  tidetable diff course-recs 41 42 --json | jq .changed")]
pub(crate) struct DiffArgs {
    /// The dataset
    dataset: DatasetName,
    /// The earlier version
    from: Version,
    /// The later version
    to: Version,
    /// Show so many keys of each kind
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(0..=100))]
    samples: u32,
}

pub(crate) fn run(args: &DiffArgs, context: &Context<'_>) -> Result<(), Failure> {
    let name = args.dataset.as_str();
    let DiffArgs { from, to, samples, .. } = args;
    let path = format!("{}/diff?from={from}&to={to}&samples={samples}", dataset_path(name));
    let answer = context.client()?.get(&path).map_err(|failure| failure.about(name, None))?;
    let diff: Diff = answer.json()?;
    context.out.either(answer.text(), || diff.text())
}

/// The server's answer.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Diff {
    dataset: String,
    from: u64,
    to: u64,
    added: u64,
    removed: u64,
    changed: u64,
    equal: u64,
    fields: BTreeMap<String, u64>,
    fields_exact: bool,
    samples: Samples,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Samples {
    added: Vec<Sample>,
    removed: Vec<Sample>,
    changed: Vec<Sample>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Sample {
    key: String,
    from: Option<Box<RawValue>>,
    from_bytes: Option<u64>,
    to: Option<Box<RawValue>>,
    to_bytes: Option<u64>,
}

impl Diff {
    fn text(&self) -> String {
        let before = self.removed + self.changed + self.equal;
        let mut lines = vec![format!("{} {} → {}", self.dataset, self.from, self.to)];
        let counts = [
            ("added", self.added),
            ("removed", self.removed),
            ("changed", self.changed),
            ("equal", self.equal),
        ];
        for (name, count) in counts {
            lines.push(format!("{name:<8}{:>15}{}", grouped(count), share(count, before)));
        }
        if !self.fields.is_empty() {
            lines.push(String::new());
            let about = if self.fields_exact { "" } else { ", about" };
            lines.push(format!("fields of changed keys{about}:"));
            let mut fields: Vec<_> = self.fields.iter().collect();
            fields.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
            for (name, count) in fields.iter().take(FIELDS_SHOWN) {
                let share = share(**count, self.changed);
                lines.push(format!("{:>15}{share}  {}", grouped(**count), printable(name)));
            }
            if fields.len() > FIELDS_SHOWN {
                lines.push(format!("and {} more", fields.len() - FIELDS_SHOWN));
            }
        }
        let kinds = [
            ("+", &self.samples.added),
            ("-", &self.samples.removed),
            ("~", &self.samples.changed),
        ];
        for (mark, samples) in kinds.iter().filter(|(_, samples)| !samples.is_empty()) {
            lines.push(String::new());
            samples.iter().for_each(|sample| sample.add_lines(mark, &mut lines));
        }
        lines.join("\n")
    }
}

impl Sample {
    fn add_lines(&self, mark: &str, lines: &mut Vec<String>) {
        let key = printable(&self.key);
        let values = [(&self.from, self.from_bytes), (&self.to, self.to_bytes)];
        let mut shown = values.iter().filter_map(|(value, bytes)| match (value, bytes) {
            (Some(value), _) => Some(cut(&printable(value.get()), VALUE_SHOWN)),
            (None, Some(bytes)) => Some(format!("({} bytes)", grouped(*bytes))),
            (None, None) => None,
        });
        lines.push(format!("{mark} {key}  {}", shown.next().unwrap_or_default()));
        let below = " ".repeat(key.chars().count());
        lines.extend(shown.map(|value| format!("→ {below}  {value}")));
    }
}

/// `  12.3 %` of them; nothing where there are none.
fn share(count: u64, of: u64) -> String {
    if of == 0 {
        return String::new();
    }
    #[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
    let percent = count as f64 / of as f64 * 100.0;
    format!("{percent:>8.1} %")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_says_how_much_of_what_there_was_changed() {
        let answer = r#"{"dataset":"recs","from":1,"to":2,"added":1,"removed":2,"changed":1000,"equal":998,
            "fields":{"score":1000,"why":10},"fields_exact":true,"samples":{"added":[{"key":"a","to":1.50}],
            "removed":[{"key":"b","from_bytes":99999}],"changed":[{"key":"c","from":{"x":1},"to":{"x":2}}]}}"#;
        let text = serde_json::from_str::<Diff>(answer).unwrap().text();
        let expected = "\
recs 1 → 2
added                 1     0.1 %
removed               2     0.1 %
changed           1,000    50.0 %
equal               998    49.9 %

fields of changed keys:
          1,000   100.0 %  score
             10     1.0 %  why

+ a  1.50

- b  (99,999 bytes)

~ c  {\"x\":1}
→    {\"x\":2}";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_long_value_is_cut_and_nothing_is_a_share_of_nothing() {
        assert_eq!(cut(&"é".repeat(300), VALUE_SHOWN).chars().count(), VALUE_SHOWN + 1);
        assert_eq!((cut("short", VALUE_SHOWN).as_str(), share(3, 0).as_str()), ("short", ""));
    }
}
