//! `tidetable scan`: records in the order of their keys.

use clap::Args;
use serde::Deserialize;
use serde_json::value::RawValue;
use tidetable_storage::{DatasetName, Version};

use super::Context;
use super::api::dataset_path;
use super::client::encoded;
use super::exit::{Exit, Failure};
use super::notes;
use super::output::Output;
use crate::keys::KeyEncoding;

/// The most records of one page, unless the server gives fewer.
const PAGE: u64 = 1000;

/// Print records in the order of their keys
///
/// One JSON line per record, as `get` prints several keys; all are from one version, also if
/// another becomes current meanwhile. The order is that of the keys' bytes: 10 comes before 9. If
/// --limit leaves something out, a note on standard error says so. With --json each page is a line,
/// as the API gives it, and `next` of the last one is null, or says that there is more.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  tidetable scan course-recs
  tidetable scan course-recs --prefix learner:42: --fields course_id,score
  tidetable scan course-recs --limit 5 --version 41      as it was in a kept version
  tidetable scan course-recs --all > course-recs.ndjson
  tidetable scan course-recs --prefix 00ff --key-encoding hex")]
pub(crate) struct ScanArgs {
    /// The dataset
    dataset: DatasetName,
    /// Print only records whose keys begin with this
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    prefix: Option<String>,
    /// Print this many records at most
    #[arg(long, value_name = "N", default_value_t = 100,
          value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Print all records, however many there are
    #[arg(long, conflicts_with = "limit")]
    all: bool,
    /// Keep only these top-level fields of each value
    #[arg(long, value_name = "FIELD,…", value_delimiter = ',')]
    fields: Vec<String>,
    /// Read this kept version instead of the current one
    #[arg(long, value_name = "VERSION")]
    version: Option<Version>,
    /// How keys are written: the prefix on the command line, and what is printed
    #[arg(long, value_name = "ENCODING", value_enum, default_value_t)]
    key_encoding: KeyEncoding,
}

pub(crate) fn run(args: &ScanArgs, context: &Context<'_>) -> Result<(), Failure> {
    let client = context.client()?;
    let (mut left, mut size) = (args.most(), PAGE);
    let mut version = args.version.map(|version| version.0);
    let mut cursor = None::<String>;
    loop {
        size = size.min(left);
        let answer = match client.get(&args.path_of(size, cursor.as_deref())) {
            Err(failure) if size > 1 && is_of_size(&failure) => {
                size /= 2;
                continue;
            }
            answer => answer.map_err(|f| f.about(args.dataset.as_str(), version))?,
        };
        let page: Page = answer.json()?;
        if context.out.json {
            context.out.line(answer.text().trim_end())?;
        } else {
            page.print(&context.out)?;
        }
        if cursor.is_none() && page.records.is_empty() {
            let what = if args.prefix.is_some() { "key with this prefix" } else { "record" };
            notes::say(format_args!("{} {} has no {what}", args.dataset, page.version));
        }
        left = left.saturating_sub(page.records.len() as u64);
        version = Some(page.version);
        if page.next.is_some() && page.next == cursor {
            return Err(Failure::new(Exit::Failed, "the server gave the same page twice"));
        }
        cursor = page.next;
        if cursor.is_none() || left == 0 {
            break;
        }
    }
    if cursor.is_some() {
        notes::say("there is more: --limit takes more records, --all takes all of them");
    }
    Ok(())
}

impl ScanArgs {
    /// How many records are wanted.
    fn most(&self) -> u64 {
        if self.all { u64::MAX } else { self.limit.into() }
    }

    /// Of the next page. Version and prefix are those of its cursor, if it has one.
    fn path_of(&self, size: u64, cursor: Option<&str>) -> String {
        let version = self.version.map(|version| version.to_string());
        let fields = (!self.fields.is_empty()).then(|| self.fields.join(","));
        let encoding = (self.key_encoding != KeyEncoding::Utf8).then(|| self.key_encoding.name());
        let given = [
            ("prefix", self.prefix.as_deref().filter(|_| cursor.is_none())),
            ("version", version.as_deref().filter(|_| cursor.is_none())),
            ("fields", fields.as_deref()),
            ("key_encoding", encoding),
            ("cursor", cursor),
        ];
        let given = given.iter().filter_map(|(name, value)| Some((name, (*value)?)));
        let given = given.map(|(name, value)| format!("&{name}={}", encoded(value)));
        let given = given.collect::<String>();
        format!("{}/scan?limit={size}{given}", dataset_path(self.dataset.as_str()))
    }
}

/// Whether the server gives fewer records on a page than it was asked for (`max_scan_records`).
fn is_of_size(failure: &Failure) -> bool {
    failure.code.as_deref() == Some("invalid_parameter")
        && failure.message.starts_with("the parameter limit is ")
}

#[derive(Deserialize)]
struct Page {
    version: u64,
    records: Vec<Box<RawValue>>,
    next: Option<String>,
}

impl Page {
    fn print(&self, out: &Output) -> Result<(), Failure> {
        if self.records.is_empty() {
            return Ok(());
        }
        let lines: Vec<&str> = self.records.iter().map(|record| record.get()).collect();
        out.line(lines.join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::stub::{Reply, Stub};
    use super::super::{Cli, Command, Global};
    use super::*;
    use clap::Parser as _;
    use serde_json::{Value, json};

    fn args(line: &str) -> ScanArgs {
        let line = ["tidetable", "scan"].into_iter().chain(line.split_whitespace());
        match Cli::try_parse_from(line).unwrap().command {
            Command::Scan(args) => args,
            other => panic!("{other:?}"),
        }
    }

    fn run_with(stub: &Stub, line: &str, json: bool) -> (Result<(), Failure>, String) {
        let global = Global { server: stub.address(), token: None, tls: Default::default(), json };
        let context = Context { global: &global, out: Output::captured(json) };
        (run(&args(line), &context), context.out.text())
    }

    /// A page of so many records.
    fn page(records: usize, next: Option<&str>) -> Value {
        let records: Vec<Value> =
            (0..records).map(|n| json!({"key": n.to_string(), "value": n})).collect();
        json!({"version": 4, "records": records, "next": next})
    }

    fn too_many(limit: u64, most: u64) -> Reply {
        let detail = format!("the parameter limit is {limit}; it can be from 1 to {most}");
        Reply::json(400, json!({"detail": detail, "code": "invalid_parameter"}))
    }

    #[test]
    fn what_is_asked_stands_in_the_query() {
        let path = |line: &str| args(line).path_of(7, None);
        assert_eq!(path("a"), "/v1/datasets/a/scan?limit=7");
        assert_eq!(path("a --prefix -x&y"), "/v1/datasets/a/scan?limit=7&prefix=-x%26y");
        let line = "a --prefix 00ff --key-encoding hex --fields x,y&z --version 3";
        assert_eq!(
            path(line),
            "/v1/datasets/a/scan?limit=7&prefix=00ff&version=3&fields=x%2Cy%26z&key_encoding=hex"
        );
        assert_eq!(
            args(line).path_of(7, Some("c/2")),
            "/v1/datasets/a/scan?limit=7&fields=x%2Cy%26z&key_encoding=hex&cursor=c%2F2"
        );
    }

    #[test]
    fn pages_follow_on_and_records_stay_as_they_are_stored() {
        let pages = [
            r#"{"version":4,"records":[{"key":"a","value":{"x":1.10}}],"next":"c"}"#,
            r#"{"version":4,"records":[{"key":"b","value":12345678901234567890123}],"next":null}"#,
        ];
        let stub = Stub::answering(pages.iter().map(|page| Reply::text(200, page)).collect());
        let (result, text) = run_with(&stub, "recs --all", false);
        result.unwrap();
        let expected = "{\"key\":\"a\",\"value\":{\"x\":1.10}}\n\
                        {\"key\":\"b\",\"value\":12345678901234567890123}\n";
        assert_eq!(text, expected);
        let asked = stub.finish();
        assert_eq!(asked[0].line, "GET /v1/datasets/recs/scan?limit=1000 HTTP/1.1");
        assert_eq!(asked[1].line, "GET /v1/datasets/recs/scan?limit=1000&cursor=c HTTP/1.1");
    }

    #[test]
    fn a_limit_asks_for_no_more_than_it_needs() {
        let pages = [page(1000, Some("c")), page(200, Some("d"))];
        let stub = Stub::answering(pages.map(|page| Reply::json(200, page)).into());
        let (result, text) = run_with(&stub, "recs --limit 1200", true);
        result.unwrap();
        let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        assert_eq!((text.lines().count(), &last["next"]), (2, &json!("d")), "there is more");
        let asked = stub.finish();
        assert_eq!(asked[1].line, "GET /v1/datasets/recs/scan?limit=200&cursor=c HTTP/1.1");
    }

    #[test]
    fn a_server_of_smaller_pages_is_asked_for_smaller_ones() {
        let replies = vec![
            too_many(1000, 300),
            too_many(500, 300),
            Reply::json(200, page(250, Some("c"))),
            Reply::json(200, page(0, None)),
        ];
        let stub = Stub::answering(replies);
        let (result, text) = run_with(&stub, "recs --all", false);
        result.unwrap();
        assert_eq!(text.lines().count(), 250);
        assert!(stub.finish()[3].line.contains("?limit=250&cursor=c "));
    }

    #[test]
    fn what_is_not_there_ends_with_4_and_a_page_that_comes_again_is_no_end() {
        let problem = json!({"detail": "no dataset recs", "code": "dataset_not_found"});
        let stub = Stub::answering(vec![Reply::json(404, problem)]);
        let failure = run_with(&stub, "recs", false).0.unwrap_err();
        assert_eq!(failure.exit, Exit::NotFound);
        assert!(failure.text().contains("`tidetable datasets`"), "{}", failure.text());
        stub.finish();

        let pages = [page(1, Some("c")), page(1, Some("c"))];
        let stub = Stub::answering(pages.map(|page| Reply::json(200, page)).into());
        let failure = run_with(&stub, "recs", false).0.unwrap_err();
        assert_eq!(failure.exit, Exit::Failed);
        stub.finish();
    }
}
