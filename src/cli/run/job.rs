//! A job file: what is to be pushed to which datasets, read, filled, checked and understood
//! before anything is asked or sent. Everything that can be said of it without its sources
//! and without a server is said here, all of it at once, each with its line and column.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use serde_json::{Map, Value, json};
use tidetable_storage::{DatasetConfig, DatasetName};

use super::check::check;
use super::node::{Entry, Node, Place, Problem, parse};
use super::schema::{row_option_names, schema, setting_names};
use super::variables::{Found, fill};
use crate::cli::exit::{Exit, Failure};
use crate::cli::push::request::Given;
use crate::cli::push::{parse_key, parse_time};
use crate::cli::rows::{RowOptions, SourceOptions};
use crate::http::MAX_LABEL_BYTES;

/// The longest job file: many times what a hundred datasets need.
const MOST_BYTES: u64 = 1 << 20;
/// How many things that are wrong are told at once.
const MOST_PROBLEMS: usize = 20;
/// How many datasets the server swaps at one instant.
const MOST_TOGETHER: usize = 100;

/// What a file asks for.
#[derive(Debug)]
pub(super) struct Job {
    /// The file as it was named, for messages.
    pub(super) file: String,
    pub(super) datasets: Vec<Wanted>,
    /// Activate all at one instant, or none.
    pub(super) together: bool,
}

/// What is asked for one dataset.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) name: DatasetName,
    pub(super) at: Place,
    /// Where the file says where its rows are.
    pub(super) sources_at: Place,
    /// Sources as `push` takes them.
    pub(super) sources: Vec<String>,
    pub(super) how: SourceOptions,
    /// The source of the server that `sources` names a path beneath.
    pub(super) from: Option<String>,
    pub(super) rows: RowOptions,
    /// Settings of the dataset, as `PUT /v1/datasets/{dataset}` takes them.
    pub(super) settings: Map<String, Value>,
    pub(super) label: Option<String>,
    pub(super) as_of: Option<String>,
    /// `None`: each run is a push of its own.
    pub(super) key: Option<String>,
    pub(super) activate: bool,
}

impl Wanted {
    pub(super) fn given(&self) -> Given<'_> {
        let from = self.from.as_deref();
        Given { sources: &self.sources, how: &self.how, from, rows: &self.rows }
    }
}

impl Job {
    /// Reads a file. `set` comes before the environment.
    pub(super) fn read(path: &Path, set: &BTreeMap<String, String>) -> Result<Self, Failure> {
        let file = path.display().to_string();
        let text = read_text(path)?;
        let refused = |problems: Vec<Problem>| refusal(&file, problems);
        let mut root = parse(&text).map_err(|problem| refused(vec![problem]))?;
        let value_of = |name: &str| set.get(name).cloned().or_else(|| std::env::var(name).ok());
        let mut found = Found::default();
        fill(&mut root, &text, &value_of, &mut found);
        if let Some(unused) = set.keys().find(|name| !found.names.contains(*name)) {
            let what = format!("--set {unused}=…: {file} has no ${{{unused}}}");
            return Err(Failure::usage(what));
        }
        let mut problems = found.problems;
        problems.extend(check(&mut root, &schema()));
        if !problems.is_empty() {
            return Err(refused(problems));
        }
        let home = path.parent().unwrap_or_else(|| Path::new(""));
        Self::of(&root, &file, home).map_err(refused)
    }

    fn of(root: &Node, file: &str, home: &Path) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let defaults = root.get("defaults").map(|entry| entries(&entry.value)).unwrap_or_default();
        let together = root.get("activate-together").is_some_and(|e| e.value.json() == true);
        let datasets = root.get("datasets").map(|entry| entries(&entry.value)).unwrap_or_default();
        let mut wanted = Vec::new();
        for dataset in datasets {
            let reading = Reading { dataset, defaults, home, problems: &mut problems };
            wanted.extend(reading.wanted(together));
        }
        if together && wanted.len() > MOST_TOGETHER {
            let at = root.get("activate-together").map(|entry| entry.at).unwrap_or_default();
            let what = format!(
                "{} datasets; the server activates {MOST_TOGETHER} together at most",
                wanted.len()
            );
            problems.push(Problem::new(at, what));
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Self { file: file.to_owned(), datasets: wanted, together })
    }

    /// A failure at a place of the file, which it names.
    pub(super) fn at(&self, place: Place, mut failure: Failure) -> Failure {
        failure.message =
            format!("{}:{}:{}: {}", self.file, place.line, place.column, failure.message);
        failure
    }

    /// What is wrong with the options of a dataset is told at the dataset, and called as the file
    /// calls it; everything else at its sources.
    pub(super) fn at_key(&self, wanted: &Wanted, mut failure: Failure) -> Failure {
        // What is wrong with a source may name an option that helps, and is no misuse of it.
        let is_of_option =
            failure.exit == Exit::Usage && as_keys(&failure.message) != failure.message;
        failure.message = as_keys(&failure.message);
        failure.hint = failure.hint.as_deref().map(as_keys);
        self.at(if is_of_option { wanted.at } else { wanted.sources_at }, failure)
    }
}

/// One dataset while it is understood.
struct Reading<'a> {
    dataset: &'a Entry,
    defaults: &'a [Entry],
    home: &'a Path,
    problems: &'a mut Vec<Problem>,
}

impl<'a> Reading<'a> {
    /// What is wanted; `None` if something is wrong with it.
    fn wanted(mut self, together: bool) -> Option<Wanted> {
        let before = self.problems.len();
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
        if self.problems.len() > before {
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

    fn say(&mut self, at: Place, what: impl Into<String>) {
        self.problems.push(Problem::new(at, what));
    }

    /// The sources, and where they stand. The paths of what the server fetches are its own.
    fn sources(&mut self, elsewhere: bool) -> (Place, Vec<String>) {
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
        let mut places = Vec::new();
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
            places.push((name, entry.at));
        }
        let rows = RowOptions::from_json(Value::Object(all)).unwrap_or_default();
        // Without a key it may be a snapshot, which has none: that is asked with the sources.
        if let Err(error) = rows.check()
            && !rows.key.is_empty()
        {
            let named = |(name, _): &&(String, Place)| error.detail.contains(&format!("--{name} "));
            let at = places.iter().find(named).map_or(self.dataset.at, |(_, at)| *at);
            self.say(at, as_keys(&error.detail));
        }
        rows
    }

    fn settings(&mut self) -> Map<String, Value> {
        let mut all = Map::new();
        let mut places = BTreeMap::new();
        for name in setting_names() {
            let Some(entry) = self.get(&name) else { continue };
            let value = entry.value.json();
            let one = Map::from_iter([(name.clone(), value.clone())]);
            let at = entry.value.at;
            match serde_json::from_value::<DatasetConfig>(Value::Object(one)) {
                Ok(config) => {
                    if let Err(error) = config.check() {
                        let at = self.place_in(&name, &error.to_string()).unwrap_or(at);
                        self.say(at, error.to_string());
                    }
                }
                Err(error) => self.say(at, format!("{name}: {error}")),
            }
            places.insert(name.clone(), at);
            all.insert(name, value);
        }
        all
    }

    /// Where the setting stands whose whole name, as `gates.ranges`, a message begins with.
    fn place_in(&self, group: &str, message: &str) -> Option<Place> {
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

/// The entries of a mapping; nothing of anything else.
fn entries(node: &Node) -> &[Entry] {
    match &node.content {
        super::node::Content::Map(entries) => entries,
        _ => &[],
    }
}

fn read_text(path: &Path) -> Result<String, Failure> {
    let failed = |error: std::io::Error| Failure::io("read", path.display(), &error);
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(MOST_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MOST_BYTES {
        let text = format!("{} is no job file: it has more than 1 MiB", path.display());
        return Err(Failure::usage(text));
    }
    String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = before.iter().filter(|&&byte| byte == b'\n').count() + 1;
        Failure::usage(format!("{}:{line}: this is no UTF-8 text", path.display()))
    })
}

/// What is wrong with a file, in its order, the first as the message.
fn refusal(file: &str, mut problems: Vec<Problem>) -> Failure {
    problems.sort_by_key(|problem| (problem.at.line, problem.at.column));
    problems.dedup();
    let count = problems.len();
    let mut lines: Vec<String> = problems
        .into_iter()
        .take(MOST_PROBLEMS)
        .map(|Problem { at, what }| format!("{file}:{}:{}: {what}", at.line, at.column))
        .collect();
    if count > MOST_PROBLEMS {
        lines.push(format!("and {} more", count - MOST_PROBLEMS));
    }
    let mut failure = Failure::new(Exit::Usage, lines.remove(0));
    failure.problems = lines;
    failure
}

/// A source as it is to be found from here, where the file names it from its own directory.
fn within(home: &Path, source: &str) -> String {
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

/// What is said of flags, said of keys. What else has two hyphens, as a path may, keeps them.
fn as_keys(detail: &str) -> String {
    let mut said = String::with_capacity(detail.len());
    let mut rest = detail;
    while let Some(at) = rest.find("--") {
        let (before, after) = (&rest[..at], &rest[at + 2..]);
        let begins = before.chars().next_back().or_else(|| said.chars().next_back());
        let is_flag = begins.is_none_or(|c| c.is_whitespace() || c == '(' || c == '`')
            && after.starts_with(|c: char| c.is_ascii_lowercase());
        said.push_str(if is_flag { before } else { &rest[..at + 2] });
        rest = after;
    }
    said + rest
}

/// One run of a job for one dataset: the same label, the same push.
fn derived_key(name: &DatasetName, label: &str) -> String {
    let both = json!([name.as_str(), label]).to_string();
    format!("job-{}", &blake3::hash(both.as_bytes()).to_hex()[..32])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(text: &str) -> Result<Job, Failure> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("job.yaml");
        std::fs::write(&path, text).unwrap();
        let set = BTreeMap::from([("RUN".to_owned(), "r-7".to_owned())]);
        let set = if text.contains("${RUN}") { set } else { BTreeMap::new() };
        Job::read(&path, &set)
    }

    /// All that is wrong, without the name of the file before it.
    #[track_caller]
    fn wrong(text: &str) -> Vec<String> {
        let failure = job(text).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage, "{failure:?}");
        let lines = std::iter::once(&failure.message).chain(&failure.problems);
        lines
            .map(|line| line.split_once("job.yaml:").map_or(line.as_str(), |l| l.1).to_owned())
            .collect()
    }

    #[test]
    fn a_job_says_what_a_push_would() {
        let text = "
defaults: {label: '${RUN}', format: csv, activate: false}
datasets:
  recs:
    source: [out/*.csv, /tmp/b.csv, s3://bucket/x.csv]
    key: learner_id, course_id
    order_by: [score:desc]
    collect: true
    limit: 3
    types: {score: number}
    gates: {min_records: 10}
    owner: us
  facts:
    source: facts.ndjson
    format: ndjson
    key: id
    activate: true
    idempotency-key: own-${RUN}
";
        let job = job(text).unwrap();
        let [recs, facts] = &job.datasets[..] else { panic!("{job:?}") };
        assert_eq!(recs.name.as_str(), "recs");
        assert!(recs.sources[0].ends_with("/out/*.csv") && recs.sources[0].starts_with('/'));
        assert_eq!(recs.sources[1..], ["/tmp/b.csv", "s3://bucket/x.csv"]);
        assert_eq!(recs.rows.key, ["learner_id", "course_id"]);
        assert_eq!((recs.rows.limit, recs.rows.collect), (Some(3), true));
        assert_eq!(recs.rows.order_by[0].to_string(), "score:desc");
        let settings = json!({"gates": {"min_records": 10}, "owner": "us"});
        assert_eq!(Value::Object(recs.settings.clone()), settings);
        assert_eq!((recs.label.as_deref(), recs.activate), (Some("r-7"), false));
        let key = recs.key.as_deref().unwrap();
        assert!(key.starts_with("job-") && key.len() == 36, "{key}");
        assert_eq!(facts.key.as_deref(), Some("own-r-7"));
        assert!(facts.activate && !job.together);
        assert_ne!(derived_key(&recs.name, "a"), derived_key(&facts.name, "a"));
        assert_ne!(derived_key(&recs.name, "a"), derived_key(&recs.name, "b"));
    }

    #[test]
    fn flags_are_called_as_keys_and_nothing_else_is() {
        for (said, expected) in [
            ("--key names \"id\" twice", "key names \"id\" twice"),
            (
                "limit needs --collect (--limit 3), or `--value x`",
                "limit needs collect (limit 3), or `value x`",
            ),
            (
                "s3://recs--use1-az4--x-s3/a.csv is not there",
                "s3://recs--use1-az4--x-s3/a.csv is not there",
            ),
            ("out/run--7/a--.csv -- ---x", "out/run--7/a--.csv -- ---x"),
        ] {
            assert_eq!(as_keys(said), expected);
        }
    }

    #[test]
    fn the_paths_of_what_the_server_fetches_are_its_own() {
        let read =
            job("datasets: {recs: {from: lake, source: recs/, key: id, manifest: true}}").unwrap();
        let [recs] = &read.datasets[..] else { panic!("{read:?}") };
        assert_eq!(
            (recs.from.as_deref(), &recs.sources[..]),
            (Some("lake"), &["recs/".to_owned()][..])
        );
        assert!(recs.how.manifest && !recs.how.accept_unfinished);
        let all = job("datasets: {recs: {from: lake, key: id}}").unwrap();
        assert_eq!(all.datasets[0].sources, [String::new()], "all beneath the source");
    }

    #[test]
    fn without_a_label_every_run_is_a_push_of_its_own() {
        let job = job("datasets: {recs: {source: a, key: id}}").unwrap();
        assert_eq!((&job.datasets[0].key, &job.datasets[0].label), (&None, &None));
        assert!(job.datasets[0].activate);
    }

    #[test]
    fn what_contradicts_itself_is_told_at_its_line_and_column() {
        let dataset = |lines: &str| format!("datasets:\n  recs:\n    source: a.csv\n    {lines}\n");
        for (lines, expected) in [
            ("{}: 1", "4:5: unknown key \"{}\""),
            ("key: id\n    limit: 3", "5:5: limit limits the rows of a key, which needs collect"),
            ("key: id\n    order-by: s:down", "5:15: order_by: \"s:down\" is not an order"),
            ("key: id\n    types: {s: float}", "5:12: types: \"s:float\" is not a column"),
            ("key: [id, id]", "4:5: key names \"id\" twice"),
            ("key: id\n    value: a\n    fields: b", "value and fields exclude each other"),
            ("key: id\n    as-of: today", "5:12: as-of: expected a time with its zone"),
            ("key: id\n    idempotency-key: a b", "5:22: idempotency-key: expected 1 to 200"),
            ("key: id\n    label: \"a\\u0007\"", "5:12: label: has control characters"),
            ("key: id\n    content_type: json", "5:19: content_type must be a media type"),
            ("key: id\n    gates: {ranges: {a: {min: 2, max: 1}}}", "5:21: gates.ranges of \"a\""),
            ("key: id\n    source: b.csv", "5:5: source stands twice: the first is in line 3"),
            ("key: id\n    sources: b.csv", "5:5: source and sources are one key"),
            ("key: id\n    from: ''", "5:11: from is empty"),
            ("key: ${NOWHERE_SET}", "4:10: the variable NOWHERE_SET is not set"),
        ] {
            let text = dataset(&lines.replace("{}", "'{}'"));
            let told = wrong(&text);
            assert!(told[0].contains(expected), "{lines}: {told:?}");
            assert_eq!(told.len(), 1, "{told:?}");
        }
        assert!(wrong("datasets: {Recs: {source: a, key: id}}")[0].starts_with("1:12: "));
        let told = wrong("datasets: {recs: {from: lake, source: [a, b], key: id}}");
        assert!(told[0].starts_with("1:31: with from there is one source"), "{told:?}");
        assert_eq!(wrong("datasets: {recs: {key: id}}"), ["1:12: recs has no source"]);
        let told = wrong("datasets: {recs: {source: '-', key: id}}");
        assert!(told[0].starts_with("1:27: standard input"), "{told:?}");
        let told = wrong(
            "activate_together: true\ndatasets: {recs: {source: a, key: id, activate: false}}",
        );
        assert!(told[0].starts_with("2:39: activate: false contradicts"), "{told:?}");
    }

    #[test]
    fn all_that_is_wrong_is_told_at_once_in_the_order_of_the_file() {
        let told =
            wrong("datasets:\n  a: {source: x, lable: y, limit: z}\n  b: {source: x, kye: id}\n");
        let places: Vec<&str> = told.iter().map(|line| line.split(": ").next().unwrap()).collect();
        assert_eq!(places, ["2:18", "2:35", "3:18"], "{told:?}");
        let many: String = (0..30).map(|n| format!("  Wrong{n}: {{source: x}}\n")).collect();
        let told = wrong(&format!("datasets:\n{many}"));
        assert_eq!((told.len(), told[20].as_str()), (21, "and 10 more"));
    }

    #[test]
    fn a_value_that_is_set_for_nothing_is_a_slip() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("job.yaml");
        std::fs::write(&path, "datasets: {a: {source: x, key: id, label: '${RUN:-}x'}}").unwrap();
        let set = |name: &str| BTreeMap::from([(name.to_owned(), "7".to_owned())]);
        assert_eq!(Job::read(&path, &set("RUN")).unwrap().datasets[0].label.as_deref(), Some("7x"));
        let failure = Job::read(&path, &set("RUNS")).unwrap_err();
        assert!(failure.message.contains("has no ${RUNS}"), "{}", failure.message);
    }

    #[test]
    fn what_is_no_job_file_is_told_in_a_line() {
        for (bytes, expected) in [
            (&b"a: 1\nb: \xff\n"[..], "job.yaml:2: this is no UTF-8 text"),
            (b"", "job.yaml:1:1: "),
            (b"datasets: [", "job.yaml:"),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("job.yaml");
            std::fs::write(&path, bytes).unwrap();
            let failure = Job::read(&path, &BTreeMap::new()).unwrap_err();
            assert_eq!(failure.exit, Exit::Usage);
            assert!(failure.message.contains(expected), "{}", failure.message);
            assert!(!failure.message.contains('\n'), "{}", failure.message);
        }
        let absent = Job::read(Path::new("nowhere/job.yaml"), &BTreeMap::new()).unwrap_err();
        assert_eq!(absent.exit, Exit::NotFound);
    }

    #[test]
    fn sources_are_named_from_the_directory_of_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("a[1]");
        std::fs::create_dir(&home).unwrap();
        std::fs::write(home.join("x.csv"), "").unwrap();
        std::fs::write(home.join("y*.csv"), "").unwrap();
        let found = |source: &str| {
            let sources =
                crate::cli::rows::sources(&[within(&home, source)], &Default::default()).unwrap();
            sources
                .into_iter()
                .map(|s| s.name.rsplit('/').next().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(found("x.csv"), ["x.csv"]);
        assert_eq!(found("?.csv"), ["x.csv"]);
        assert_eq!(found("y*.csv"), ["y*.csv"], "a file of that name comes first");
        assert_eq!(within(Path::new(""), "x.csv"), "x.csv");
        assert_eq!(within(Path::new("jobs"), "../x.csv"), "jobs/../x.csv");
    }
}
