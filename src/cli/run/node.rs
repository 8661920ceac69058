//! A job file as a tree in which every key and every value knows its place.
//!
//! YAML is read by serde-saphyr, which tells the place of each node; JSON is read as the
//! YAML that it is. Nothing is interpreted here: what a key means, and whether a value fits
//! it, is for [`super::check`].

use std::fmt;

use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Number, Value};
use serde_saphyr::{
    DefaultMessageFormatter, DuplicateKeyPolicy, Location, MessageFormatter as _, Spanned,
};

use crate::cli::output::{cut, printable};

/// How deep values may stand within each other. A job file needs seven levels.
const MOST_DEPTH: usize = 16;
/// How many anchors and aliases a file may have; each may add as many levels.
const MOST_ANCHORS: usize = 100;
/// Room for all of these levels.
const STACK_BYTES: usize = 64 << 20;
/// How many keys and values a file may have.
const MOST_NODES: usize = 100_000;

/// Where something stands in the file, counted from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) line: u64,
    pub(super) column: u64,
    /// The same as an offset into the text of the file.
    pub(super) byte: Option<usize>,
}

impl Position {
    /// Of what has no position of its own.
    const START: Self = Self { line: 1, column: 1, byte: None };
}

/// What is wrong with the file, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Diagnostic {
    pub(super) at: Position,
    pub(super) what: String,
}

impl Diagnostic {
    pub(super) fn new(at: Position, what: impl Into<String>) -> Self {
        Self { at, what: what.into() }
    }
}

/// A value of the file.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) at: Position,
    pub(super) content: Content,
}

/// What a value is.
#[derive(Clone, Debug)]
pub(super) enum Content {
    Null,
    Boolean(bool),
    Number(Number),
    Text {
        text: String,
        /// Some of it comes from a variable: it may stand for a number or boolean too.
        filled: bool,
    },
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key and its value.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) at: Position,
    pub(super) key: String,
    pub(super) value: Node,
}

/// Reads a whole file. A key that stands twice is kept twice.
pub(super) fn parse(text: &str) -> Result<Node, Diagnostic> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
        let parsing = thread.spawn_scoped(scope, || parse_here(text));
        let failed = |what: &str| Err(Diagnostic::new(Position::START, what));
        match parsing.map(std::thread::ScopedJoinHandle::join) {
            Ok(Ok(parsed)) => parsed,
            Ok(Err(_)) => failed("the file cannot be read as YAML"),
            Err(_) => failed("there is no memory to read the file with"),
        }
    })
}

fn parse_here(text: &str) -> Result<Node, Diagnostic> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: MOST_DEPTH,
            flow_nesting_limit: MOST_DEPTH,
            max_nodes: MOST_NODES,
            max_anchors: MOST_ANCHORS,
            max_aliases: MOST_ANCHORS,
        },
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        // `yes` and `off` are texts, as they are in YAML 1.2, and so is 007.
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
        // The row option `null` is a key.
        null_as_string: true,
        with_snippet: false,
    };
    let read: Result<Spanned<Content>, _> = serde_saphyr::from_str_with_options(text, options);
    read.map(Node::from).map_err(|error| {
        let at = error.location().map_or(Position::START, Position::from);
        let what = DefaultMessageFormatter.format_message(error.without_snippet());
        let mut what = printable(&what);
        if what.contains("flow") && line_of(text, at).contains("${") {
            what.push_str(" (between [ and ] or { and }, a text with ${…} needs quotes)");
        }
        Diagnostic::new(at, what)
    })
}

fn line_of(text: &str, at: Position) -> &str {
    let line = usize::try_from(at.line).unwrap_or(usize::MAX);
    text.lines().nth(line.saturating_sub(1)).unwrap_or_default()
}

impl Node {
    /// The value as JSON.
    pub(super) fn json(&self) -> Value {
        match &self.content {
            Content::Null => Value::Null,
            Content::Boolean(is) => Value::Bool(*is),
            Content::Number(number) => Value::Number(number.clone()),
            Content::Text { text, .. } => Value::String(text.clone()),
            Content::List(items) => items.iter().map(Self::json).collect(),
            Content::Map(entries) => {
                let pairs = entries.iter().map(|entry| (entry.key.clone(), entry.value.json()));
                Value::Object(pairs.collect::<Map<_, _>>())
            }
        }
    }

    /// What stands there, for a message about what should.
    pub(super) fn shown(&self) -> String {
        match &self.content {
            Content::Null => "nothing".to_owned(),
            Content::Boolean(is) => is.to_string(),
            Content::Number(number) => format!("the number {number}"),
            Content::Text { text, .. } => format!("the text {:?}", cut(text, 60)),
            Content::List(_) => "a list".to_owned(),
            Content::Map(_) => "a mapping".to_owned(),
        }
    }

    /// The value of a key, if this is a mapping that has it.
    pub(super) fn get(&self, key: &str) -> Option<&Entry> {
        let Content::Map(entries) = &self.content else { return None };
        entries.iter().find(|entry| entry.key == key)
    }

    /// The texts of one, or of a list of them.
    pub(super) fn texts(&self) -> Vec<(&str, Position)> {
        match &self.content {
            Content::Text { text, .. } => vec![(text, self.at)],
            Content::List(items) => items.iter().flat_map(Self::texts).collect(),
            _ => Vec::new(),
        }
    }
}

impl From<Location> for Position {
    fn from(location: Location) -> Self {
        if location == Location::UNKNOWN {
            return Self::START;
        }
        let byte = location.span().byte_offset().and_then(|byte| usize::try_from(byte).ok());
        Self { line: location.line(), column: location.column(), byte }
    }
}

impl From<Spanned<Content>> for Node {
    fn from(spanned: Spanned<Content>) -> Self {
        // Of what an alias repeats, the place where it is written: it is to be mended there.
        Self { at: spanned.defined.into(), content: spanned.value }
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyContent)
    }
}

struct AnyContent;

impl<'de> Visitor<'de> for AnyContent {
    type Value = Content;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Content, E> {
        Ok(Content::Null)
    }

    fn visit_bool<E>(self, is: bool) -> Result<Content, E> {
        Ok(Content::Boolean(is))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Content, E> {
        Ok(Content::Number(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Content, E> {
        Ok(Content::Number(number.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Content, E> {
        let number = Number::from_f64(number).ok_or_else(|| E::custom("no finite number"))?;
        Ok(Content::Number(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Content, E> {
        Ok(Content::Text { text: text.to_owned(), filled: false })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Content, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element::<Spanned<Content>>()? {
            list.push(item.into());
        }
        Ok(Content::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Content, A::Error> {
        let mut map = Vec::new();
        while let Some((key, value)) = entries.next_entry::<Spanned<String>, Spanned<Content>>()? {
            map.push(Entry { at: key.defined.into(), key: key.value, value: value.into() });
        }
        Ok(Content::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(node: &Node) -> (u64, u64) {
        (node.at.line, node.at.column)
    }

    #[test]
    fn every_key_and_value_knows_its_place() {
        let text =
            "# a job\ndatasets:\n  recs:\n    key: [id, \"ä\"]\n    null: [NA]\n    limit: 3\n";
        let node = parse(text).unwrap();
        let recs = node.get("datasets").unwrap().value.get("recs").unwrap();
        assert_eq!((recs.at.line, recs.at.column), (3, 3));
        let key = recs.value.get("key").unwrap();
        assert_eq!((key.at.line, key.at.column), (4, 5));
        assert_eq!(at(&key.value), (4, 10));
        let texts = key.value.texts();
        assert_eq!((texts[1].0, texts[1].1.line, texts[1].1.column), ("ä", 4, 15));
        assert_eq!(&text[texts[1].1.byte.unwrap()..][..4], "\"ä\"");
        assert_eq!(recs.value.get("null").unwrap().value.json(), json!(["NA"]));
        assert_eq!(at(&recs.value.get("limit").unwrap().value), (6, 12));
    }

    #[test]
    fn json_is_read_as_well() {
        let node =
            parse("{\"datasets\": {\n\t\"recs\": {\"limit\": 3, \"collect\": true}}}").unwrap();
        assert_eq!(node.json(), json!({"datasets": {"recs": {"limit": 3, "collect": true}}}));
    }

    #[test]
    fn words_are_what_yaml_1_2_says() {
        let node = parse("[yes, off, 007, 1_000, 1e3, 0.5, -7, null, '~', ~, 2026-11-23]").unwrap();
        let expected =
            json!(["yes", "off", "007", "1_000", 1000.0, 0.5, -7, null, "~", null, "2026-11-23"]);
        assert_eq!(node.json(), expected);
    }

    #[test]
    fn what_an_alias_or_a_merge_repeats_has_the_place_where_it_is_written() {
        let node = parse("x-a: &a {key: id}\nb:\n  <<: *a\n  limit: 3\nc: *a\n").unwrap();
        for name in ["b", "c"] {
            let key = &node.get(name).unwrap().value.get("key").unwrap().value;
            assert_eq!((at(key), key.json()), ((1, 15), json!("id")), "{name}");
        }
    }

    #[test]
    fn what_is_no_yaml_is_told_with_its_place() {
        for (text, line) in [
            ("a: [1, 2\nb: 3\n", 2),
            ("a: 1\n  b: 2\n", 2),
            ("a: \"x\n", 2),
            ("a: *nowhere\n", 1),
            ("a: 1\n---\nb: 2\n", 2),
            ("a: .nan\n", 1),
            ("? [a]\n: 1\n", 1),
        ] {
            let diagnostic = parse(text).unwrap_err();
            assert!(diagnostic.at.line.abs_diff(line) <= 1, "{text:?}: {diagnostic:?}");
            assert!(diagnostic.at.column > 0 && !diagnostic.what.contains('\n'), "{diagnostic:?}");
        }
    }

    #[test]
    fn hostile_files_are_refused_in_time() {
        let deep = "[".repeat(100_000);
        assert!(parse(&deep).is_err());
        let nested = (0..200).map(|n| format!("{}a:\n", " ".repeat(n))).collect::<String>();
        assert!(parse(&nested).is_err());
        let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for n in 1..10 {
            let before = n - 1;
            let ten = vec![format!("*a{before}"); 10].join(", ");
            laughs.push_str(&format!("a{n}: &a{n} [{ten}]\n"));
        }
        assert!(parse(&laughs).is_err());
        let mut chain = "a0: &a0 [x]\n".to_owned();
        for n in 1..MOST_ANCHORS - 1 {
            chain.push_str(&format!("a{n}: &a{n} [[[[*a{}]]]]\n", n - 1));
        }
        // Refused or not: it ends.
        let _ = parse(&chain);
    }

    #[test]
    fn a_variable_that_needs_quotes_is_told() {
        let diagnostic = parse("a: 1\nb: [${RUN}]\n").unwrap_err();
        assert_eq!(diagnostic.at.line, 2);
        assert!(diagnostic.what.contains("needs quotes"), "{}", diagnostic.what);
        parse("b: ['${RUN}']\nc: ${RUN}\n").unwrap();
    }
}
