//! The server's JSON as far as the command line reads it. Unknown fields are ignored and
//! missing ones empty, so that an older command line understands a newer server.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::client::{Answer, Client, encoded};
use super::exit::{Exit, Failure};

/// A dataset, as `GET /v1/datasets/{dataset}` describes it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Dataset {
    pub(crate) dataset: String,
    pub(crate) current: Option<u64>,
    pub(crate) state: String,
    pub(crate) held: bool,
    pub(crate) hold: Option<Hold>,
    pub(crate) canary: Option<Canary>,
    pub(crate) stale: bool,
    pub(crate) last_push_at: Option<String>,
    pub(crate) watch: Option<Watch>,
    pub(crate) damaged: Vec<u64>,
    pub(crate) waiting: Option<u64>,
    pub(crate) failed_push: Option<FailedPush>,
    pub(crate) config: serde_json::Map<String, serde_json::Value>,
    pub(crate) versions: u64,
    pub(crate) records: Option<u64>,
    pub(crate) bytes: Option<u64>,
    pub(crate) activated_at: Option<String>,
    pub(crate) as_of: Option<String>,
}

/// Why a dataset is held, and by whom.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Hold {
    pub(crate) reason: Option<String>,
    pub(crate) actor: String,
}

/// The newest push, if it came to nothing and no version became current since.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct FailedPush {
    pub(crate) version: u64,
    pub(crate) state: String,
    pub(crate) reason: Option<String>,
}

/// A second version beside the current one, and how both do.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Canary {
    pub(crate) version: u64,
    pub(crate) percent: f64,
    pub(crate) experiment: String,
    pub(crate) started_at: String,
    pub(crate) arms: Arms,
    pub(crate) changed: bool,
}

/// What was counted of both.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Arms {
    pub(crate) current: ArmCounts,
    pub(crate) canary: ArmCounts,
}

/// What was counted of one.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ArmCounts {
    pub(crate) lookups: u64,
    pub(crate) hits: u64,
    pub(crate) misses: u64,
    pub(crate) errors: u64,
    pub(crate) p50_us: Option<f64>,
    pub(crate) p99_us: Option<f64>,
}

/// How a version does that was activated lately.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Watch {
    pub(crate) verdict: String,
    pub(crate) detail: String,
}

/// A version, as `GET …/versions/{v}` describes it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Version {
    pub(crate) version: u64,
    pub(crate) state: String,
    pub(crate) current: bool,
    pub(crate) label: Option<String>,
    pub(crate) as_of: Option<String>,
    pub(crate) records: Option<u64>,
    pub(crate) bytes: Option<u64>,
    pub(crate) content_digest: Option<String>,
    pub(crate) created_at: Option<String>,
    pub(crate) ready_at: Option<String>,
    pub(crate) activated_at: Option<String>,
    pub(crate) gates: Vec<Gate>,
    pub(crate) reason: Option<String>,
    pub(crate) detail: Option<String>,
    pub(crate) code: Option<String>,
    pub(crate) problems: Vec<String>,
    pub(crate) duplicates_dropped: u64,
    pub(crate) progress: Option<Progress>,
    pub(crate) held: bool,
    pub(crate) activate: bool,
    pub(crate) damaged: Option<Damaged>,
}

/// What reading a version again has found.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Damaged {
    pub(crate) file: String,
    pub(crate) detail: String,
}

/// What a gate saw.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Gate {
    pub(crate) gate: String,
    pub(crate) passed: bool,
    pub(crate) detail: String,
}

/// How far the server is with a version.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub(crate) struct Progress {
    pub(crate) phase: String,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    pub(crate) total_bytes: u64,
}

/// One event of a dataset's history.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Event {
    pub(crate) seq: u64,
    pub(crate) at: String,
    pub(crate) event: String,
    pub(crate) version: Option<u64>,
    pub(crate) from: Option<u64>,
    pub(crate) to: Option<u64>,
    pub(crate) actor: Option<String>,
    pub(crate) reason: Option<String>,
    pub(crate) forced: bool,
}

/// A part that the server holds.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Part {
    pub(crate) part: String,
    pub(crate) bytes: u64,
    pub(crate) digest: String,
}

/// What an activation or a rollback did.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Moved {
    pub(crate) from: Option<u64>,
    pub(crate) to: u64,
    pub(crate) held: bool,
    pub(crate) marked_bad: Option<u64>,
    pub(crate) same_content: bool,
}

/// What an activation of several datasets did, each with its name.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct MovedTogether {
    pub(crate) activated: Vec<Named>,
}

/// What it did of one of them.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Named {
    pub(crate) dataset: String,
    #[serde(flatten)]
    pub(crate) moved: Moved,
}

/// The path of a dataset.
pub(crate) fn dataset_path(dataset: &str) -> String {
    format!("/v1/datasets/{}", encoded(dataset))
}

/// The path of a version.
pub(crate) fn version_path(dataset: &str, version: u64) -> String {
    format!("{}/versions/{version}", dataset_path(dataset))
}

/// An `Idempotency-Key` of its own for one invocation.
pub(crate) fn new_key() -> String {
    uuid::Uuid::now_v7().to_string()
}

/// The dataset as the server knows it now.
pub(crate) fn dataset(client: &Client, dataset: &str) -> Result<Dataset, Failure> {
    let answer = client.get(&dataset_path(dataset)).map_err(|f| f.about(dataset, None))?;
    answer.json()
}

/// A list of the API with all its pages, its items untouched.
#[derive(Debug)]
pub(crate) struct List {
    /// The name of the array: `datasets`, `versions`, `events`, `parts`.
    name: &'static str,
    items: Vec<Box<RawValue>>,
    /// Where it goes on, if `limit` ended it.
    next: Option<String>,
}

impl List {
    /// Reads the list `name` at `path`, page after page, at most `limit` items if given.
    pub(crate) fn read(
        client: &Client,
        path: &str,
        name: &'static str,
        limit: Option<usize>,
    ) -> Result<Self, Failure> {
        let mut list = Self { name, items: Vec::new(), next: None };
        let mut cursor: Option<String> = None;
        loop {
            let page = limit.map_or(PAGE, |limit| (limit - list.items.len()).min(PAGE));
            let mut url = format!("{path}?limit={page}");
            if let Some(cursor) = &cursor {
                url.push_str("&cursor=");
                url.push_str(&encoded(cursor));
            }
            let next = list.take_page(&client.get(&url)?)?;
            let enough = limit.is_some_and(|limit| list.items.len() >= limit);
            if next.is_none() || enough {
                list.next = next;
                return Ok(list);
            }
            if next == cursor {
                let text = format!("the server gave the same page of {name} twice");
                return Err(Failure::new(Exit::Failed, text));
            }
            cursor = next;
        }
    }

    /// The items as `T`.
    pub(crate) fn items<T: for<'a> Deserialize<'a>>(&self) -> Result<Vec<T>, Failure> {
        let items = self.items.iter().map(|item| serde_json::from_str(item.get()));
        items.collect::<Result<_, _>>().map_err(|error| {
            Failure::new(Exit::Failed, format!("cannot read the list of {}: {error}", self.name))
        })
    }

    /// The API's JSON, all pages in one. `next` is null, or where the page after would begin.
    pub(crate) fn json(&self) -> String {
        #[derive(Serialize)]
        struct Page<'a>(&'a [Box<RawValue>]);
        let items =
            serde_json::to_string(&Page(&self.items)).expect("raw JSON is written as it was read");
        let next = serde_json::json!(self.next);
        format!("{{\"{}\":{items},\"next\":{next}}}", self.name)
    }

    fn take_page(&mut self, answer: &Answer) -> Result<Option<String>, Failure> {
        let mut page: std::collections::HashMap<String, Box<RawValue>> = answer.json()?;
        let odd = || {
            Failure::new(
                Exit::Failed,
                format!("the server's answer holds no list of {}", self.name),
            )
        };
        let items = page.remove(self.name).ok_or_else(odd)?;
        let items: Vec<Box<RawValue>> = serde_json::from_str(items.get()).map_err(|_| odd())?;
        self.items.extend(items);
        Ok(page.get("next").and_then(|next| serde_json::from_str(next.get()).ok()).flatten())
    }
}

/// How many items a page is asked for.
const PAGE: usize = 500;

#[cfg(test)]
mod tests {
    use super::super::stub::{Reply, Stub};
    use super::*;

    #[test]
    fn all_pages_are_followed_and_items_left_untouched() {
        let pages = [
            r#"{"versions":[{"version":3,"odd":1.10}],"next":"c/2"}"#,
            r#"{"versions":[ {"version":2} ],"next":null}"#,
        ];
        let stub = Stub::answering(pages.iter().map(|page| Reply::text(200, page)).collect());
        let client = Client::new(&stub.address(), None).unwrap();
        let list = List::read(&client, "/v1/datasets/a/versions", "versions", None).unwrap();
        assert_eq!(
            list.json(),
            r#"{"versions":[{"version":3,"odd":1.10},{"version":2}],"next":null}"#
        );
        let versions: Vec<Version> = list.items().unwrap();
        assert_eq!(versions.iter().map(|v| v.version).collect::<Vec<_>>(), [3, 2]);
        let asked = stub.finish();
        assert_eq!(asked[0].line, "GET /v1/datasets/a/versions?limit=500 HTTP/1.1");
        assert_eq!(asked[1].line, "GET /v1/datasets/a/versions?limit=500&cursor=c%2F2 HTTP/1.1");
    }

    #[test]
    fn a_limit_asks_for_no_more_than_it_needs() {
        let page = r#"{"events":[{"seq":9},{"seq":8}],"next":"x"}"#;
        let stub = Stub::answering(vec![Reply::text(200, page)]);
        let client = Client::new(&stub.address(), None).unwrap();
        let list = List::read(&client, "/h", "events", Some(2)).unwrap();
        assert_eq!(list.items::<Event>().unwrap().len(), 2);
        assert_eq!(list.json(), r#"{"events":[{"seq":9},{"seq":8}],"next":"x"}"#, "there is more");
        assert_eq!(stub.finish()[0].line, "GET /h?limit=2 HTTP/1.1");
    }
}
