//! Holds a job file against its schema, and says what is wrong with it, where, and what was
//! probably meant.
//!
//! The schema is the one that editors use ([`super::schema`]), so that both say the same; of
//! JSON Schema this knows what that schema makes use of. Keys of ours may be written with `-`
//! or `_`: a flag is spelt one way, a setting of the API the other.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::node::{Content, Diagnostic, Entry, Node, Position};
use crate::nearest::nearest;

/// What is wrong with a file by its schema. Afterwards its keys are spelt as the schema has
/// them, and texts from variables are the numbers and booleans that they stand for.
pub(super) fn check(root: &mut Node, schema: &Value) -> Vec<Diagnostic> {
    let mut checker = Checker { schema, diagnostics: Vec::new() };
    checker.node(root, schema, "the file");
    checker.diagnostics
}

struct Checker<'a> {
    /// The whole of it, for what it refers to.
    schema: &'a Value,
    diagnostics: Vec<Diagnostic>,
}

impl<'a> Checker<'a> {
    /// Holds the value of `name` against `schema`.
    fn node(&mut self, node: &mut Node, schema: &'a Value, name: &str) {
        self.take_for_what_it_stands_for(node, schema);
        let Some(schema) = self.alternative(node, schema) else {
            return self.say(node.at, wrong_kind(node, &self.expected(schema), name));
        };
        let at = node.at;
        match &mut node.content {
            Content::Map(entries) => self.map(entries, at, schema, name),
            Content::List(items) => {
                if let Some(most) = schema["maxItems"].as_u64()
                    && items.len() as u64 > most
                {
                    self.say(at, format!("{name}: {} items; the most is {most}", items.len()));
                }
                if schema["minItems"].as_u64() > Some(items.len() as u64) {
                    self.say(at, format!("{name} is an empty list"));
                }
                items.iter_mut().for_each(|item| self.node(item, &schema["items"], name));
            }
            _ => self.scalar(node, schema, name),
        }
    }

    /// A text from a variable is a number or a boolean where only that fits.
    fn take_for_what_it_stands_for(&self, node: &mut Node, schema: &'a Value) {
        let Content::Text { text, filled: true } = &node.content else { return };
        if self.alternative(node, schema).is_some() {
            return;
        }
        let content = match serde_json::from_str(text) {
            Ok(Value::Bool(is)) => Content::Boolean(is),
            Ok(Value::Number(number)) => Content::Number(number),
            Ok(Value::Null) => Content::Null,
            _ => return,
        };
        let stands_for = Node { at: node.at, content };
        if self.alternative(&stands_for, schema).is_some() {
            *node = stands_for;
        }
    }

    /// The schema, or that of its alternatives, whose kind of value this is.
    fn alternative(&self, node: &Node, schema: &'a Value) -> Option<&'a Value> {
        let schema = self.resolved(schema);
        match schema["anyOf"].as_array() {
            Some(alternatives) => alternatives.iter().find_map(|one| self.alternative(node, one)),
            None => is_of_kind(node, schema).then_some(schema),
        }
    }

    fn resolved(&self, schema: &'a Value) -> &'a Value {
        match schema["$ref"].as_str().and_then(|to| to.strip_prefix('#')) {
            Some(pointer) => self.schema.pointer(pointer).unwrap_or(&Value::Null),
            None => schema,
        }
    }

    fn scalar(&mut self, node: &Node, schema: &Value, name: &str) {
        let value = node.json();
        if let Some(choices) = schema["enum"].as_array()
            && !choices.contains(&value)
        {
            let words: Vec<&str> = choices.iter().filter_map(Value::as_str).collect();
            let near = value.as_str().and_then(|text| nearest(text, words.iter().copied()));
            let near = near.map(|near| format!("; did you mean {near:?}?")).unwrap_or_default();
            let words = words.join(", ");
            self.say(
                node.at,
                format!("{name}: expected one of {words}, found {}{near}", node.shown()),
            );
        }
        let (least, most) = (schema["minimum"].as_f64(), schema["maximum"].as_f64());
        if let Some(number) = value.as_f64()
            && (least.is_some_and(|least| number < least) || most.is_some_and(|most| number > most))
        {
            self.say(node.at, wrong_kind(node, &self.expected(schema), name));
        }
        if value == "" && schema["minLength"].as_u64() > Some(0) {
            self.say(node.at, format!("{name} is empty"));
        }
    }

    fn map(&mut self, entries: &mut [Entry], at: Position, schema: &'a Value, name: &str) {
        let known = schema["properties"].as_object();
        let others = &schema["additionalProperties"];
        let mut seen: HashMap<&str, u64> = HashMap::new();
        for entry in &mut *entries {
            let mut properties = known.into_iter().flatten();
            if let Some((spelt, of)) = properties.find(|(known, _)| alike(known, &entry.key)) {
                entry.key.clone_from(spelt);
                self.node(&mut entry.value, of, spelt);
            } else if others.is_object() {
                self.node(&mut entry.value, others, &entry.key);
            } else if *others == Value::Bool(false) && !is_own(&entry.key, schema) {
                let what = self.unknown(&entry.key, known, name);
                self.say(entry.at, what);
            }
        }
        for entry in &*entries {
            match seen.get(entry.key.as_str()) {
                None => drop(seen.insert(&entry.key, entry.at.line)),
                Some(line) => {
                    let what = format!("{} stands twice: the first is in line {line}", entry.key);
                    self.diagnostics.push(Diagnostic::new(entry.at, what));
                }
            }
        }
        for required in schema["required"].as_array().into_iter().flatten() {
            let required = required.as_str().unwrap_or_default();
            if !seen.contains_key(required) {
                self.diagnostics.push(Diagnostic::new(at, format!("{name} has no {required}")));
            }
        }
        if entries.is_empty() && schema["minProperties"].as_u64() > Some(0) {
            self.say(at, format!("{name} is empty"));
        }
    }

    fn unknown(&self, key: &str, known: Option<&Map<String, Value>>, name: &str) -> String {
        let begin = format!("unknown key {key:?}");
        let elsewhere = self.homes().into_iter().find(|(_, home)| {
            home.as_object().is_some_and(|home| home.keys().any(|known| alike(known, key)))
        });
        if let Some((place, _)) = elsewhere {
            return format!("{begin} of {name}: it belongs to {place}");
        }
        let known: Vec<&str> = known.into_iter().flatten().map(|(name, _)| name.as_str()).collect();
        if let Some(near) = nearest(key, known.iter().copied()) {
            return format!("{begin} of {name}: did you mean {near:?}?");
        }
        format!("{begin} of {name}, which has {}", known.join(", "))
    }

    /// Where keys may belong that stand elsewhere.
    fn homes(&self) -> [(&'static str, &'a Value); 4] {
        let dataset = &self.schema["$defs"]["dataset"]["properties"];
        [
            ("the file as a whole", &self.schema["properties"]),
            ("a dataset (datasets: NAME: …)", dataset),
            ("gates", &dataset["gates"]["properties"]),
            ("watch_limits", &dataset["watch_limits"]["properties"]),
        ]
    }

    /// What a schema wants, in words.
    fn expected(&self, schema: &'a Value) -> String {
        let schema = self.resolved(schema);
        if let Some(alternatives) = schema["anyOf"].as_array() {
            let words: Vec<String> = alternatives.iter().map(|one| self.expected(one)).collect();
            return words.join(", or ");
        }
        if let Some(choices) = schema["enum"].as_array() {
            let words: Vec<&str> = choices.iter().filter_map(Value::as_str).collect();
            return format!("one of {}", words.join(", "));
        }
        let kinds: Vec<&str> = kinds(schema).collect();
        let words = kinds.iter().map(|kind| match *kind {
            "string" => "a text".to_owned(),
            "integer" => format!("a whole number{}", range(schema)),
            "number" => format!("a number{}", range(schema)),
            "boolean" => "true or false".to_owned(),
            "array" if schema["items"]["type"] == "string" => "a list of texts".to_owned(),
            "array" => "a list".to_owned(),
            "object" => "a mapping of names to values".to_owned(),
            other => other.to_owned(),
        });
        words.collect::<Vec<_>>().join(", or ")
    }

    fn say(&mut self, at: Position, what: String) {
        self.diagnostics.push(Diagnostic::new(at, what));
    }
}

fn wrong_kind(node: &Node, expected: &str, name: &str) -> String {
    let scalar = matches!(node.content, Content::Number(_) | Content::Boolean(_));
    let hint = if scalar && expected.contains("text") { " (in quotes it is a text)" } else { "" };
    format!("{name}: expected {expected}, found {}{hint}", node.shown())
}

fn kinds(schema: &Value) -> impl Iterator<Item = &str> {
    let one = schema["type"].as_str();
    one.into_iter().chain(schema["type"].as_array().into_iter().flatten().filter_map(Value::as_str))
}

fn is_of_kind(node: &Node, schema: &Value) -> bool {
    let is = |kind: &str| match &node.content {
        Content::Null => kind == "null",
        Content::Boolean(_) => kind == "boolean",
        Content::Number(number) => {
            kind == "number" || (kind == "integer" && (number.is_u64() || number.is_i64()))
        }
        Content::Text { .. } => kind == "string",
        Content::List(_) => kind == "array",
        Content::Map(_) => kind == "object",
    };
    // A schema that does not say takes everything.
    kinds(schema).any(is) || kinds(schema).next().is_none()
}

fn range(schema: &Value) -> String {
    match (schema["minimum"].as_f64(), schema["maximum"].as_f64()) {
        (Some(least), Some(most)) => format!(" from {least} to {most}"),
        (Some(least), None) => format!(" from {least} on"),
        (None, Some(most)) => format!(" up to {most}"),
        (None, None) => String::new(),
    }
}

/// Keys that are the file's own: for anchors, say.
fn is_own(key: &str, schema: &Value) -> bool {
    key.starts_with("x-") && schema["patternProperties"].get("^x-").is_some()
}

/// Whether two spellings are one key.
fn alike(known: &str, key: &str) -> bool {
    known.len() == key.len() && known.replace('_', "-") == key.replace('_', "-")
}

#[cfg(test)]
mod tests {
    use super::super::node::parse;
    use super::super::schema::schema;
    use super::*;

    /// `line:column what` of all that is wrong.
    fn diagnostics(text: &str) -> Vec<String> {
        let mut node = parse(text).unwrap();
        let diagnostics = check(&mut node, &schema());
        let told = |p: &Diagnostic| format!("{}:{} {}", p.at.line, p.at.column, p.what);
        diagnostics.iter().map(told).collect()
    }

    /// The one thing that is wrong with a dataset which has this besides a source.
    #[track_caller]
    fn of_dataset(lines: &str) -> String {
        let told = diagnostics(&format!("datasets:\n  recs:\n    source: a.csv\n    {lines}\n"));
        let [one] = &told[..] else { panic!("{lines}: {told:?}") };
        one.clone()
    }

    #[test]
    fn a_file_with_everything_is_right() {
        let text = "
x-all: &all {key: learner_id, nan: \"null\"}
activate_together: true
defaults: {format: csv, as-of: 2026-11-23T00:00:00Z}
datasets:
  recs:
    <<: *all
    source: [a.csv, b.csv]
    types: {score: number}
    null: [NA, '']
    order-by: score:desc
    collect: true
    limit: 20
    label: r-7
    retain: 5
    expected_push_interval_seconds: null
    gates:
      min_records: 10
      max_shrink_percent: 12.5
      max-growth-percent: null
      sample_lookups: [{key: a, fields: {x: 1}}]
      ranges: {score: {min: 0}}
      max_null_percent: {score: null}
";
        assert_eq!(diagnostics(text), Vec::<String>::new());
        let text = "datasets: {recs: {source: a.txt, key: id, format: jsonl}}";
        assert_eq!(diagnostics(text), Vec::<String>::new());
    }

    #[test]
    fn unknown_keys_are_told_with_what_was_probably_meant() {
        for (lines, expected) in [
            ("oder-by: x", "4:5 unknown key \"oder-by\" of recs: did you mean \"order-by\"?"),
            ("lable: x", "4:5 unknown key \"lable\" of recs: did you mean \"label\"?"),
            ("min_records: 3", "4:5 unknown key \"min_records\" of recs: it belongs to gates"),
            (
                "activate-together: true",
                "4:5 unknown key \"activate-together\" of recs: it belongs to the file as a whole",
            ),
            (
                "gates: {max_shrink: 3}",
                "4:13 unknown key \"max_shrink\" of gates: did you mean \"max_shrink_percent\"?",
            ),
            (
                "gates: {ranges: {score: {least: 3}}}",
                "4:30 unknown key \"least\" of score, which has max, min",
            ),
        ] {
            assert_eq!(of_dataset(lines), expected);
        }
        assert_eq!(
            diagnostics("dataset: {}\ndatasets: {recs: {source: a}}\n"),
            ["1:1 unknown key \"dataset\" of the file: did you mean \"datasets\"?"]
        );
        let told = diagnostics("datasets: {recs: {source: a}}\nkey: id\n");
        assert!(told[0].starts_with("2:1 ") && told[0].contains("a dataset"), "{told:?}");
        assert!(of_dataset("zzz: 1").contains("which has accept-unfinished, activate, as-of, "));
    }

    #[test]
    fn wrong_kinds_of_values_are_told_with_what_was_expected() {
        for (lines, expected) in [
            (
                "limit: many",
                "4:12 limit: expected a whole number from 0 on, found the text \"many\"",
            ),
            ("limit: 1.5", "4:12 limit: expected a whole number from 0 on, found the number 1.5"),
            ("collect: yes", "4:14 collect: expected true or false, found the text \"yes\""),
            (
                "label: 7",
                "4:12 label: expected a text, found the number 7 (in quotes it is a text)",
            ),
            ("label:", "4:10 label: expected a text, found nothing"),
            ("label: ''", "4:12 label is empty"),
            ("key: {a: b}", "4:10 key: expected a text, or a list of texts, found a mapping"),
            (
                "key: [id, 7]",
                "4:15 key: expected a text, found the number 7 (in quotes it is a text)",
            ),
            (
                "retain: 0",
                "4:13 retain: expected a whole number from 1 to 1000, found the number 0",
            ),
            ("gates: []", "4:12 gates: expected a mapping of names to values, found a list"),
            (
                "compression: lz5",
                "4:18 compression: expected one of none, lz4, zstd, found the text \"lz5\"; did you mean \"lz4\"?",
            ),
            (
                "gates: {max_keys_added_percent: 101}",
                "4:37 max_keys_added_percent: expected a number from 0 to 100, or null, found the number 101",
            ),
            ("gates: {required_keys: ['']}", "4:29 required_keys is empty"),
        ] {
            assert_eq!(of_dataset(lines), expected);
        }
        assert_eq!(
            diagnostics("[]"),
            ["1:1 the file: expected a mapping of names to values, found a list"]
        );
        assert_eq!(diagnostics("datasets: {}"), ["1:11 datasets is empty"]);
        assert_eq!(diagnostics("activate_together: true"), ["1:1 the file has no datasets"]);
    }

    #[test]
    fn a_key_that_stands_twice_is_told_with_the_line_of_the_first() {
        let twice = "4:5 source stands twice: the first is in line 3";
        assert_eq!(of_dataset("source: b.csv"), twice);
        let told = diagnostics(
            "datasets:\n  a: {source: x, order-by: a, order_by: b}\n  a: {source: y}\n",
        );
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].starts_with("2:31 order-by stands twice"), "{told:?}");
        assert!(told[1].starts_with("3:3 a stands twice: the first is in line 2"), "{told:?}");
    }

    #[test]
    fn a_text_from_a_variable_may_stand_for_a_number() {
        let text = "datasets: {a: {source: x, limit: '${N}', retain: '${N}', label: '${N}'}}";
        let mut node = parse(text).unwrap();
        let mut found = super::super::variables::Found::default();
        super::super::variables::fill(&mut node, text, &|_| Some("20".to_owned()), &mut found);
        assert_eq!(check(&mut node, &schema()), []);
        let json = node.json();
        let a = &json["datasets"]["a"];
        assert_eq!(
            (&a["limit"], &a["retain"], &a["label"]),
            (&20.into(), &20.into(), &"20".into())
        );
        assert!(
            of_dataset("limit: '20'").contains("found the text \"20\""),
            "written, it is a text"
        );
    }
}
