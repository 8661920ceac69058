//! docs/operations.md has one table of metrics. What it says is what a server tells, both ways:
//! names, types, labels, and the words that a label can have.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use crate::access::{self, Token};
use crate::data::{key, rows};
use crate::harness::Server;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operations.md");

/// A metric: its type, and of each label the values that it has.
#[derive(Debug, Default, PartialEq, Eq)]
struct Metric {
    kind: String,
    labels: BTreeMap<String, BTreeSet<String>>,
}

#[test]
fn every_metric_is_in_the_table() {
    let server = Server::start();
    let admin = let_everything_happen(&server);
    let told = told(&admin.get(&server, "/metrics").expect(200).text());
    let documented = documented(&std::fs::read_to_string(PAGE).unwrap());
    let names = |of: &BTreeMap<String, Metric>| of.keys().cloned().collect::<BTreeSet<_>>();
    let (told_names, in_table) = (names(&told), names(&documented));
    let missing: Vec<_> = told_names.difference(&in_table).collect();
    assert!(missing.is_empty(), "the table of metrics lacks {missing:?}");
    let gone: Vec<_> = in_table.difference(&told_names).collect();
    assert!(gone.is_empty(), "no server tells {gone:?}, which the table has");
    for (name, metric) in &documented {
        let told = &told[name];
        assert_eq!(told.kind, metric.kind, "the type of {name}");
        let labels = |of: &Metric| of.labels.keys().cloned().collect::<Vec<_>>();
        assert_eq!(labels(told), labels(metric), "the labels of {name}");
        for (label, words) in metric.labels.iter().filter(|(_, words)| !words.is_empty()) {
            let unknown: Vec<_> = told.labels[label].difference(words).collect();
            assert!(unknown.is_empty(), "{name}: the table lacks {label} = {unknown:?}");
        }
    }
}

/// Something for every metric to tell of.
fn let_everything_happen(server: &Server) -> Token {
    server.pushed("recs", &rows("recs", 1, 1_000));
    server.pushed("recs", &rows("recs", 2, 1_000));
    server.get("recs", &key(1)).expect(200);
    server.get("recs", "nobody").expect(404);
    server.get_path(&format!("/v1/datasets/recs/keys/{}?version=1", key(1))).expect(200);
    server.batch("recs", &[key(1), key(2)]).expect(200);
    server.operate("recs", "rollback", &json!({ "reason": "a test" })).expect(200);
    server.push("recs", &rows("recs", 3, 10)).problem(422, "gate_refused");
    // From now on the server asks for it.
    access::first(server)
}

/// What a page of OpenMetrics text tells.
fn told(page: &str) -> BTreeMap<String, Metric> {
    let mut all: BTreeMap<String, Metric> = BTreeMap::new();
    let (mut name, mut family) = (String::new(), String::new());
    for line in page.lines() {
        if let Some((of, kind)) = line.strip_prefix("# TYPE ").and_then(|l| l.split_once(' ')) {
            // As samples are named, and so as they are asked for.
            let suffix = match kind {
                "counter" => "_total",
                "info" => "_info",
                _ => "",
            };
            (name, family) = (format!("{of}{suffix}"), of.to_owned());
            let metric = Metric { kind: kind.to_owned(), ..Metric::default() };
            assert!(all.insert(name.clone(), metric).is_none(), "{name} stands twice");
        } else if !line.starts_with('#') {
            assert!(line.starts_with(&family), "{line} is not of {family}");
            let labels = &mut all.get_mut(&name).unwrap().labels;
            for (label, value) in labels_of(line) {
                labels.entry(label).or_default().insert(value);
            }
        }
    }
    all
}

/// The labels of a sample, without the bound of a bucket. No value here has a quote in it.
fn labels_of(line: &str) -> Vec<(String, String)> {
    let Some((_, rest)) = line.split_once('{') else { return Vec::new() };
    let inner = rest.split_once('}').unwrap().0;
    let pairs = inner.split(',').filter_map(|pair| pair.split_once('='));
    let pairs = pairs.map(|(label, value)| (label.to_owned(), value.trim_matches('"').to_owned()));
    pairs.filter(|(label, _)| label != "le").collect()
}

/// What the table says. A cell of labels is like: `dataset`, `arm` = current, canary; `result` = hit, miss
fn documented(page: &str) -> BTreeMap<String, Metric> {
    let section = page.split("\n## Metrics\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let mut all = BTreeMap::new();
    for row in section.lines().filter(|line| line.starts_with("| `tidetable_")) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let [_, name, kind, labels, ..] = cells[..] else { panic!("too few cells: {row}") };
        let mut metric = Metric { kind: kind.to_owned(), ..Metric::default() };
        let mut last = String::new();
        for word in labels.split([',', ';', '=']).map(str::trim).filter(|word| !word.is_empty()) {
            match word.strip_prefix('`').and_then(|word| word.strip_suffix('`')) {
                Some(label) => {
                    label.clone_into(&mut last);
                    metric.labels.entry(last.clone()).or_default();
                }
                None => {
                    metric.labels.get_mut(&last).unwrap().insert(word.to_owned());
                }
            }
        }
        let name = name.trim_matches('`').to_owned();
        assert!(all.insert(name.clone(), metric).is_none(), "{name} stands twice in the table");
    }
    assert!(all.len() > 20, "the table is not where it was");
    all
}
