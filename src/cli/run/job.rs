//! A job file: what is to be pushed to which datasets, read, filled, checked and understood
//! before anything is asked or sent. Everything that can be said of it without its sources
//! and without a server is said here, each with its line and column: first all that is wrong
//! with its keys, variables and kinds of values, and once these are right with what it means.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use serde_json::{Map, Value};
use tidetable_storage::DatasetName;

use super::check::check;
use super::node::{Content, Diagnostic, Entry, Node, Position, parse};
use super::schema::schema;
use super::variables::{Found, fill};
use crate::cli::exit::{Exit, Failure};
use crate::cli::push::request::Given;
use crate::cli::rows::{RowOptions, SourceOptions};

mod reading;

use reading::Reading;

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
    pub(super) at: Position,
    /// Where the file says where its rows are.
    pub(super) sources_at: Position,
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
        let refused = |diagnostics: Vec<Diagnostic>| refusal(&file, diagnostics);
        let mut root = parse(&text).map_err(|diagnostic| refused(vec![diagnostic]))?;
        let value_of = |name: &str| set.get(name).cloned().or_else(|| std::env::var(name).ok());
        let mut found = Found::default();
        fill(&mut root, &text, &value_of, &mut found);
        if let Some(unused) = set.keys().find(|name| !found.names.contains(*name)) {
            let what = format!("--set {unused}=…: {file} has no ${{{unused}}}");
            return Err(Failure::usage(what));
        }
        let mut diagnostics = found.diagnostics;
        let is_known = |diagnostic: &Diagnostic| !found.unfilled.contains(&diagnostic.at);
        diagnostics.extend(check(&mut root, &schema()).into_iter().filter(is_known));
        if !diagnostics.is_empty() {
            return Err(refused(diagnostics));
        }
        let home = path.parent().unwrap_or_else(|| Path::new(""));
        Self::of(&root, &file, home).map_err(refused)
    }

    fn of(root: &Node, file: &str, home: &Path) -> Result<Self, Vec<Diagnostic>> {
        let mut diagnostics = Vec::new();
        let defaults = root.get("defaults").map(|entry| entries(&entry.value)).unwrap_or_default();
        let together = root.get("activate-together").is_some_and(|e| e.value.json() == true);
        let datasets = root.get("datasets").map(|entry| entries(&entry.value)).unwrap_or_default();
        let mut wanted = Vec::new();
        for dataset in datasets {
            let reading = Reading { dataset, defaults, home, diagnostics: &mut diagnostics };
            wanted.extend(reading.wanted(together));
        }
        if together && wanted.len() > MOST_TOGETHER {
            let at = root.get("activate-together").map(|entry| entry.at).unwrap_or_default();
            let what = format!(
                "{} datasets; the server activates {MOST_TOGETHER} together at most",
                wanted.len()
            );
            diagnostics.push(Diagnostic::new(at, what));
        }
        if !diagnostics.is_empty() {
            return Err(diagnostics);
        }
        Ok(Self { file: file.to_owned(), datasets: wanted, together })
    }

    /// A failure at a position of the file, which it names.
    pub(super) fn at(&self, position: Position, mut failure: Failure) -> Failure {
        failure.message =
            format!("{}:{}:{}: {}", self.file, position.line, position.column, failure.message);
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

/// The entries of a mapping; nothing of anything else.
fn entries(node: &Node) -> &[Entry] {
    match &node.content {
        Content::Map(entries) => entries,
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
fn refusal(file: &str, mut diagnostics: Vec<Diagnostic>) -> Failure {
    diagnostics.sort_by_key(|diagnostic| (diagnostic.at.line, diagnostic.at.column));
    diagnostics.dedup();
    let count = diagnostics.len();
    let mut lines: Vec<String> = diagnostics
        .into_iter()
        .take(MOST_PROBLEMS)
        .map(|Diagnostic { at, what }| format!("{file}:{}:{}: {what}", at.line, at.column))
        .collect();
    if count > MOST_PROBLEMS {
        lines.push(format!("and {} more", count - MOST_PROBLEMS));
    }
    let mut failure = Failure::new(Exit::Usage, lines.remove(0));
    failure.problems = lines;
    failure
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

#[cfg(test)]
mod tests;
