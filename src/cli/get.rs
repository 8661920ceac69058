//! `tidetable get`: look keys up.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tidetable_storage::{DatasetName, Key, Version};

use super::Context;
use super::api::{dataset_path, new_key};
use super::client::{Answer, Client, encoded, unexpected};
use super::exit::{Exit, Failure};
use super::keys_file;
use super::output::{Output, counted, grouped};
use crate::keys::KeyEncoding;

/// The most keys of one batch.
const BATCH: usize = 1000;

/// Look keys up
///
/// One key: its value as it is stored, byte for byte. Several: one JSON line per key, in the
/// order asked, all from one version. With --json it is one document, also of one key, as the
/// API answers a batch: `{"version":…,"results":[…]}`. A key that is not there ends the command
/// with exit code 4, after the others are printed. Negative numbers are keys; before any other
/// key that begins with - write --.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  tidetable get course-recs 42
  tidetable get course-recs 42 | jq '.[0]'
  tidetable get course-recs 42 43 44 --fields course_id,score
  tidetable get course-recs 42 --version 41              as it was in a kept version
  tidetable get course-recs 00ff --key-encoding hex
  cut -d, -f1 learners.csv | tidetable get course-recs --keys-from -
  tidetable get offsets -7
  tidetable get course-recs -- -x")]
pub(crate) struct GetArgs {
    /// The dataset
    dataset: DatasetName,
    /// The keys
    #[arg(
        value_name = "KEY",
        required_unless_present = "keys_from",
        allow_negative_numbers = true
    )]
    keys: Vec<String>,
    /// Read the keys from this file, one on each line, as if several were given; - is standard
    /// input
    #[arg(long, value_name = "FILE", conflicts_with = "keys")]
    keys_from: Option<PathBuf>,
    /// Keep only these top-level fields of each value
    #[arg(long, value_name = "FIELD,…", value_delimiter = ',')]
    fields: Vec<String>,
    /// Read this kept version instead of the current one
    #[arg(long, value_name = "VERSION")]
    version: Option<Version>,
    /// How the keys are written on the command line
    #[arg(long, value_name = "ENCODING", value_enum, default_value_t)]
    key_encoding: KeyEncoding,
}

/// A key as one segment of a path, and the parameter that says how it is written there.
pub(crate) fn key_segment(key: &str, encoding: KeyEncoding) -> (String, Option<String>) {
    // Proxies and libraries resolve these two as directories, however they are escaped.
    let dots = matches!(key, "." | "..") && encoding == KeyEncoding::Utf8;
    let (key, encoding) = if dots {
        (URL_SAFE_NO_PAD.encode(key), KeyEncoding::Base64url)
    } else {
        (key.to_owned(), encoding)
    };
    let parameter =
        (encoding != KeyEncoding::Utf8).then(|| format!("key_encoding={}", encoding.name()));
    (encoded(&key), parameter)
}

pub(crate) fn run(args: &GetArgs, context: &Context<'_>) -> Result<(), Failure> {
    let keys = match &args.keys_from {
        Some(file) => &keys_file::read(file, args.key_encoding)?,
        None => {
            for key in args.keys.iter().filter(|_| args.key_encoding == KeyEncoding::Utf8) {
                Key::new(key.as_bytes())?;
            }
            &args.keys
        }
    };
    let client = context.client()?;
    match keys.as_slice() {
        [key] if !context.out.json && args.keys_from.is_none() => {
            args.one(&client, key, &context.out)
        }
        keys => args.several(&client, keys, &context.out),
    }
}

impl GetArgs {
    fn one(&self, client: &Client, key: &str, out: &Output) -> Result<(), Failure> {
        let answer = client.get(&self.path_of(key)).map_err(|failure| self.about(failure))?;
        // What is printed is not looked into, and a login page is answered with 200 too.
        if answer.header("tidetable-version").is_none() {
            return Err(unexpected("it has no header Tidetable-Version"));
        }
        out.raw(&answer.body)
    }

    fn path_of(&self, key: &str) -> String {
        let (key, encoding) = key_segment(key, self.key_encoding);
        let mut query: Vec<String> = encoding.into_iter().collect();
        if !self.fields.is_empty() {
            let fields: Vec<String> = self.fields.iter().map(|field| encoded(field)).collect();
            query.push(format!("fields={}", fields.join(",")));
        }
        if let Some(version) = self.version {
            query.push(format!("version={version}"));
        }
        let mark = if query.is_empty() { "" } else { "?" };
        let dataset = dataset_path(self.dataset.as_str());
        format!("{dataset}/keys/{key}{mark}{}", query.join("&"))
    }

    /// In batches, of which the first says which version all others are read from.
    fn several(&self, client: &Client, keys: &[String], out: &Output) -> Result<(), Failure> {
        let mut version = self.version.map(|version| version.0);
        let mut missing = 0;
        // A program reads one document, however many batches it takes.
        let mut all = Vec::new();
        for some in keys.chunks(BATCH) {
            let batch: Batch = self.batch(client, some, version)?.json()?;
            version = Some(batch.version);
            for result in &batch.results {
                let found: Found = serde_json::from_str(result.get()).unwrap_or_default();
                missing += usize::from(!found.found);
                if !out.json {
                    out.line(result.get())?;
                }
            }
            if out.json {
                all.extend(batch.results);
            }
        }
        let (of, version) = (keys.len(), version.unwrap_or_default());
        if out.json {
            let whole = Batch { version, results: all };
            out.line(serde_json::to_string(&whole).expect("raw JSON is written as it was read"))?;
        }
        if missing == 0 {
            return Ok(());
        }
        let mut failure = Failure::new(
            Exit::NotFound,
            format!(
                "{} of {} not found in {} {version}",
                grouped(missing as u64),
                counted(of as u64, "key"),
                self.dataset
            ),
        );
        failure.code = Some("key_not_found".to_owned());
        Err(failure.about(self.dataset.as_str(), Some(version)))
    }

    fn batch(
        &self,
        client: &Client,
        keys: &[String],
        version: Option<u64>,
    ) -> Result<Answer, Failure> {
        let mut body = json!({"keys": keys});
        let mut put = |name: &str, value: Value| body[name] = value;
        if self.key_encoding != KeyEncoding::Utf8 {
            put("key_encoding", json!(self.key_encoding.name()));
        }
        if !self.fields.is_empty() {
            put("fields", json!(self.fields));
        }
        if let Some(version) = version {
            put("version", json!(version));
        }
        let path = format!("{}/batch-get", dataset_path(self.dataset.as_str()));
        let answer = client.post(&path, &body, &new_key());
        answer.map_err(|failure| failure.about(self.dataset.as_str(), version))
    }

    fn about(&self, failure: Failure) -> Failure {
        failure.about(self.dataset.as_str(), self.version.map(|version| version.0))
    }
}

#[derive(Deserialize, Serialize)]
struct Batch {
    version: u64,
    results: Vec<Box<RawValue>>,
}

#[derive(Default, Deserialize)]
struct Found {
    found: bool,
}

#[cfg(test)]
mod tests {
    use super::super::stub::{Reply, Stub};
    use super::super::{Cli, Command, Global};
    use super::*;
    use clap::Parser as _;

    fn args(line: &str) -> GetArgs {
        let line = ["tidetable", "get"].into_iter().chain(line.split_whitespace());
        match Cli::try_parse_from(line).unwrap().command {
            Command::Get(args) => args,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn keys_stand_percent_encoded_in_one_segment() {
        let path = |line: &str| args(line).path_of(&args(line).keys[0]);
        assert_eq!(path("a 42"), "/v1/datasets/a/keys/42");
        assert_eq!(path("a x/../%2e?é"), "/v1/datasets/a/keys/x%2F..%2F%252e%3F%C3%A9");
        assert_eq!(path("a -7"), "/v1/datasets/a/keys/-7");
        assert_eq!(path("a -7 --version 3"), "/v1/datasets/a/keys/-7?version=3");
        assert_eq!(path("a -- --version"), "/v1/datasets/a/keys/--version");
        assert_eq!(path("a ."), "/v1/datasets/a/keys/Lg?key_encoding=base64url");
        assert_eq!(path("a .."), "/v1/datasets/a/keys/Li4?key_encoding=base64url");
        assert_eq!(
            path("a 00ff --key-encoding hex --fields x,y&z --version 3"),
            "/v1/datasets/a/keys/00ff?key_encoding=hex&fields=x,y%26z&version=3"
        );
    }

    fn run_with(stub: &Stub, line: &str) -> (Result<(), Failure>, String) {
        let args = args(line);
        let json = line.ends_with(" --json");
        let global = Global { server: stub.address(), token: None, tls: Default::default(), json };
        let context = Context { global: &global, out: Output::captured(json) };
        (run(&args, &context), context.out.text())
    }

    #[test]
    fn one_key_gives_the_stored_bytes_and_nothing_else() {
        let stored = Reply::text(200, "{\"score\":1.10}").with("tidetable-version", "4");
        let stub = Stub::answering(vec![stored]);
        let (result, text) = run_with(&stub, "a k");
        result.unwrap();
        assert_eq!(text, "{\"score\":1.10}");
        stub.finish();
    }

    #[test]
    fn what_another_server_answers_is_no_value_and_no_missing_key() {
        let stub = Stub::answering(vec![Reply::text(200, "<html>log in</html>")]);
        let (result, text) = run_with(&stub, "a k");
        let failure = result.unwrap_err();
        assert_eq!((failure.exit, text.as_str()), (Exit::Failed, ""));
        assert!(failure.message.contains("is not what this tidetable expects"), "{failure:?}");
        stub.finish();
        let absent = ["<html></html>", "{\"detail\":\"x\"}", "{\"code\":\"route_not_found\"}"];
        for body in absent {
            let stub = Stub::answering(vec![Reply::text(404, body)]);
            let failure = run_with(&stub, "a k").0.unwrap_err();
            assert_eq!(failure.exit, Exit::Failed, "{body}");
            assert!(failure.hint.is_some(), "{body}");
            stub.finish();
        }
    }

    #[test]
    fn several_keys_give_a_line_each_with_numbers_as_they_are_stored() {
        let answer = r#"{"version":4,"results":[{"key":"a","found":true,"value":{"x":1.10}},{"key":"b","found":true,"value":12345678901234567890123}]}"#;
        let stub = Stub::answering(vec![Reply::text(200, answer)]);
        let (result, text) = run_with(&stub, "recs a b");
        result.unwrap();
        let expected = "{\"key\":\"a\",\"found\":true,\"value\":{\"x\":1.10}}\n\
                        {\"key\":\"b\",\"found\":true,\"value\":12345678901234567890123}\n";
        assert_eq!(text, expected);
        stub.finish();
    }

    #[test]
    fn several_keys_come_from_one_version_and_a_missing_one_ends_with_4() {
        let stub = Stub::scripted(
            2,
            Box::new(|n, _| {
                let results: Vec<Value> = match n {
                    0 => (0..1000)
                        .map(|i| json!({"key": i.to_string(), "found": true, "value": 1}))
                        .collect(),
                    _ => vec![json!({"key": "x", "found": false})],
                };
                Reply::json(200, json!({"version": 42, "results": results}))
            }),
        );
        let keys: Vec<String> = (0..1001).map(|i| i.to_string()).collect();
        let (result, text) = run_with(&stub, &format!("a {}", keys.join(" ")));
        let failure = result.unwrap_err();
        assert_eq!(text.lines().count(), 1001, "the others are printed all the same");
        assert_eq!(failure.exit, Exit::NotFound);
        assert_eq!(failure.message, "1 of 1,001 keys not found in a 42");
        let asked = stub.finish();
        let second: Value = serde_json::from_slice(&asked[1].body).unwrap();
        assert_eq!(second, json!({"keys": ["1000"], "version": 42}), "pinned to the first's");
    }

    #[test]
    fn json_is_one_document_however_many_batches_it_takes() {
        let result = |i: usize| format!(r#"{{"key":"{i}","found":true,"value":1.10}}"#);
        let batch = |keys: std::ops::Range<usize>| {
            let results: Vec<String> = keys.map(result).collect();
            format!(r#"{{"version":42,"results":[{}]}}"#, results.join(","))
        };
        let replies = [batch(0..1000), batch(1000..1001)].map(|text| Reply::text(200, &text));
        let stub = Stub::answering(replies.into());
        let keys: Vec<String> = (0..1001).map(|i| i.to_string()).collect();
        let (result, text) = run_with(&stub, &format!("a {} --json", keys.join(" ")));
        result.unwrap();
        assert_eq!(text, batch(0..1001) + "\n");
        stub.finish();
    }

    #[test]
    fn keys_may_stand_in_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("keys");
        std::fs::write(&file, "b c\r\n-x\n").unwrap();
        let line = format!("a --keys-from {}", file.display());
        let results: Vec<_> =
            ["b c", "-x"].map(|key| json!({"key": key, "found": true, "value": 1})).into();
        let stub =
            Stub::answering(vec![Reply::json(200, json!({"version": 1, "results": results}))]);
        let (result, text) = run_with(&stub, &line);
        result.unwrap();
        assert_eq!(text.lines().count(), 2);
        let sent: Value = serde_json::from_slice(&stub.finish()[0].body).unwrap();
        assert_eq!(sent, json!({"keys": ["b c", "-x"]}));
        assert!(Cli::try_parse_from(["tidetable", "get", "a"]).is_err());
    }

    #[test]
    fn a_key_that_is_not_there_ends_with_4_and_the_servers_words() {
        let problem = json!({"detail": "no key \"k\" in a 42", "code": "key_not_found"});
        let stub = Stub::answering(vec![Reply::json(404, problem)]);
        let failure = run_with(&stub, "a k").0.unwrap_err();
        assert_eq!(
            (failure.exit, failure.message.as_str()),
            (Exit::NotFound, "no key \"k\" in a 42")
        );
        stub.finish();
    }

    #[test]
    fn a_key_no_dataset_can_hold_is_a_usage_error_before_anything_is_sent() {
        let global = Global {
            server: "http://127.0.0.1:9".to_owned(),
            token: None,
            tls: Default::default(),
            json: false,
        };
        let context = Context { global: &global, out: Output::captured(false) };
        let mut args = args("a k");
        args.keys = vec![String::new()];
        assert_eq!(run(&args, &context).unwrap_err().exit, Exit::Usage);
    }
}
