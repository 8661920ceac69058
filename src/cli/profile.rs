//! `tidetable profile`: what a version holds, in outline.

use std::collections::BTreeMap;

use clap::Args;
use serde::Deserialize;
use serde_json::value::RawValue;
use tidetable_storage::{DISTINCT_EXACT_BELOW, DatasetName, Version};

use super::Context;
use super::api::{self, dataset_path, version_path};
use super::client::Client;
use super::exit::{Exit, Failure};
use super::output::{Columns, Left, Right, bytes, counted, cut, grouped, printable};

/// Characters of a sampled value that are shown.
const VALUE_SHOWN: usize = 120;

/// Show what a version holds, in outline: sizes, fields, a few records
///
/// For each top-level field of the values (of the objects in them, if they are arrays): in how
/// many percent of the objects it is there, in how many it is null, the types of its values, how
/// many different ones there are, and the smallest, middle and largest number. Worked out from
/// 65,536 records that are drawn fairly, or from all of a smaller version.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  tidetable profile course-recs                      the version that serves
  tidetable profile course-recs 42 --against 41      what was otherwise before
  tidetable profile course-recs 42 --json | jq '.fields.score.number'")]
pub(crate) struct ProfileArgs {
    /// The dataset
    dataset: DatasetName,
    /// The version; by default the current one
    version: Option<Version>,
    /// Show beside it what this version holds
    #[arg(long, value_name = "VERSION")]
    against: Option<Version>,
}

pub(crate) fn run(args: &ProfileArgs, context: &Context<'_>) -> Result<(), Failure> {
    let (client, name) = (context.client()?, args.dataset.as_str());
    let version = match args.version {
        Some(version) => version.0,
        None => current(&client, name)?,
    };
    let (json, profile) = read(&client, name, version)?;
    let against = args.against.map(|against| read(&client, name, against.0)).transpose()?;
    let json = match &against {
        None => json,
        Some((before, _)) => format!("{{\"profile\":{json},\"against\":{before}}}"),
    };
    context.out.either(json, || profile.text(against.as_ref().map(|(_, before)| before)))
}

fn current(client: &Client, name: &str) -> Result<u64, Failure> {
    let answer = client.get(&dataset_path(name)).map_err(|failure| failure.about(name, None))?;
    answer.json::<api::Dataset>()?.current.ok_or_else(|| {
        Failure::new(Exit::NotFound, format!("{name} has no current version: name one"))
    })
}

fn read(client: &Client, name: &str, version: u64) -> Result<(String, Profile), Failure> {
    let path = format!("{}/profile", version_path(name, version));
    let answer = client.get(&path).map_err(|failure| failure.about(name, Some(version)))?;
    Ok((answer.text().trim_end().to_owned(), answer.json()?))
}

/// The server's answer.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Profile {
    version: u64,
    records: u64,
    sampled: u64,
    key_bytes: Sizes,
    value_bytes: Sizes,
    objects: u64,
    fields: BTreeMap<String, Field>,
    fields_cut: bool,
    samples: Vec<Sample>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Sizes {
    min: u64,
    p50: u64,
    p99: u64,
    max: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Field {
    present_percent: f64,
    null_percent: f64,
    types: BTreeMap<String, u64>,
    distinct: u64,
    number: Option<Numbers>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Numbers {
    min: f64,
    p50: f64,
    max: f64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Sample {
    key: String,
    value: Option<Box<RawValue>>,
    text: Option<String>,
}

impl Profile {
    fn text(&self, before: Option<&Self>) -> String {
        let mut lines = vec![self.heading()];
        lines.extend(before.map(|before| format!("against {}", before.heading())));
        lines.push(sizes("keys", &self.key_bytes));
        lines.push(sizes("values", &self.value_bytes));
        if !self.fields.is_empty() {
            lines.push(String::new());
            lines.push(self.table(before));
        }
        if self.fields_cut {
            lines.push("there are more fields, or longer names, than are told here".to_owned());
        }
        lines.push(String::new());
        for sample in &self.samples {
            let whole = sample.value.as_ref().map(|value| value.get());
            let value = whole.or(sample.text.as_deref()).unwrap_or_default();
            lines.push(format!(
                "{}  {}",
                printable(&sample.key),
                cut(&printable(value), VALUE_SHOWN)
            ));
        }
        lines.join("\n")
    }

    fn heading(&self) -> String {
        let of = if self.sampled < self.records { ", estimated from " } else { ", all of " };
        format!(
            "version {}: {}{of}{}; {}",
            self.version,
            counted(self.records, "record"),
            grouped(self.sampled),
            counted(self.objects, "object")
        )
    }

    fn table(&self, before: Option<&Self>) -> String {
        let mut table = Columns::new(&[
            ("FIELD", Left),
            ("PRESENT", Right),
            ("NULL", Right),
            ("TYPES", Left),
            ("DISTINCT", Right),
            ("MIN", Right),
            ("MEDIAN", Right),
            ("MAX", Right),
        ]);
        let gone = Field::default();
        let names = self.fields.keys().chain(before.iter().flat_map(|before| before.fields.keys()));
        let names: std::collections::BTreeSet<&String> = names.collect();
        for name in names {
            let now = self.fields.get(name).unwrap_or(&gone).cells();
            let cells = match before {
                None => now,
                Some(before) => {
                    let then = before.fields.get(name).unwrap_or(&gone).cells();
                    let both = then.into_iter().zip(now);
                    both.map(
                        |(then, now)| if then == now { now } else { format!("{then} → {now}") },
                    )
                    .collect()
                }
            };
            table.row(&[vec![printable(name)], cells].concat());
        }
        table.text()
    }
}

impl Field {
    fn cells(&self) -> Vec<String> {
        let none = || "-".to_owned();
        let types: Vec<&str> =
            self.types.keys().map(String::as_str).filter(|of| *of != "null").collect();
        let number = |of: fn(&Numbers) -> f64| {
            self.number.as_ref().map_or_else(none, |number| short(of(number)))
        };
        vec![
            format!("{} %", short(self.present_percent)),
            format!("{} %", short(self.null_percent)),
            if types.is_empty() { none() } else { types.join(", ") },
            format!(
                "{}{}",
                if self.distinct < DISTINCT_EXACT_BELOW { "" } else { "~" },
                grouped(self.distinct)
            ),
            number(|number| number.min),
            number(|number| number.p50),
            number(|number| number.max),
        ]
    }
}

fn sizes(what: &str, sizes: &Sizes) -> String {
    let Sizes { min, p50, p99, max } = sizes;
    let [min, p50, p99, max] = [min, p50, p99, max].map(|size| bytes(*size));
    format!("{what:<7} from {min} to {max}; half up to {p50}, 99 of 100 up to {p99}")
}

/// Up to five digits that say something.
fn short(number: f64) -> String {
    if number != 0.0 && !(1e-3..1e9).contains(&number.abs()) {
        return format!("{number:.3e}");
    }
    let digits = 5_usize.saturating_sub(number.abs().log10().max(0.0) as usize + 1);
    let text = format!("{number:.digits$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(version: u64, field: &str) -> Profile {
        let json = format!(
            r#"{{"version":{version},"records":2000000,"sampled":65536,"objects":655360,
            "key_bytes":{{"min":4,"p50":9,"p99":9,"max":9}},"value_bytes":{{"min":2,"p50":430,"p99":480,"max":2048}},
            "fields":{field},"samples":[{{"key":"1234","value":[{{"score":0.5}}]}}]}}"#
        );
        serde_json::from_str(&json).unwrap()
    }

    #[test]
    fn a_version_beside_the_one_before_shows_what_is_otherwise() {
        let before = profile(
            1,
            r#"{"score":{"present_percent":100,"types":{"number":3},"distinct":998,
            "number":{"min":0.00125,"p50":0.5,"max":1}}}"#,
        );
        let now = profile(
            2,
            r#"{"points":{"present_percent":100,"null_percent":2.5,"types":{"number":3,"null":1},"distinct":1,
            "number":{"min":0,"p50":0,"max":0}}}"#,
        );
        let text = now.text(Some(&before));
        let line = |name: &str| {
            let line = text.lines().find(|line| line.trim_start().starts_with(name)).unwrap();
            line.split_whitespace().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(
            line("points"),
            "points 0 % → 100 % 0 % → 2.5 % - → number 0 → 1 - → 0 - → 0 - → 0"
        );
        assert_eq!(
            line("score"),
            "score 100 % → 0 % 0 % number → - 998 → 0 0.0013 → - 0.5 → - 1 → -"
        );
        assert!(text.contains("2,000,000 records, estimated from 65,536"), "{text}");
        assert!(text.contains("1234  [{\"score\":0.5}]"), "{text}");
        let one = Profile { records: 1, sampled: 1, objects: 1, ..now };
        assert_eq!(one.heading(), "version 2: 1 record, all of 1; 1 object");
    }

    #[test]
    fn numbers_are_short() {
        let cases = [
            (0.0, "0"),
            (1.0, "1"),
            (0.5, "0.5"),
            (12345.678, "12346"),
            (-2.25, "-2.25"),
            (1e12, "1.000e12"),
        ];
        for (number, text) in cases {
            assert_eq!(short(number), text);
        }
    }
}
