//! `/openapi.json` and `/docs`: the document of every route, and a page to read it in.
//!
//! [`OPERATIONS`] says what each route is for, what it takes and what it answers; a test
//! holds it against the route table, in both directions. The shapes of JSON stand beside, in
//! `openapi.json`, which `shapes.rs` reads, and so do the headers and the problems.

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use bytes::Bytes;
use serde_json::{Map, Value, json};
use tidetable_storage::Code;
use utoipa_swagger_ui::{Config, SwaggerUi};

use super::extract::Query;
use super::versions::NoParameters;
use crate::ingest::RowOptions;
use crate::problem::Fault;
use crate::shapes::components;

/// One operation, as it is described.
struct Operation {
    method: &'static str,
    path: &'static str,
    tag: &'static str,
    id: &'static str,
    summary: &'static str,
    /// Names of shared parameters; those of the path are found by themselves.
    takes: &'static [&'static str],
    /// The shape of the body: a schema's name, or a media type.
    body: Option<&'static str>,
    /// Statuses of success, each with what it means.
    gives: &'static [(&'static str, &'static str)],
    /// The shape of the answer: a schema's name, or a media type.
    answer: &'static str,
}

macro_rules! operations {
    ($($method:ident $path:literal $tag:literal $id:literal: $summary:literal,
        takes $takes:tt, body $body:expr, gives $gives:tt $answer:literal;)*) => {
        &[$(Operation {
            method: stringify!($method), path: $path, tag: $tag, id: $id, summary: $summary,
            takes: &$takes, body: $body, gives: &$gives, answer: $answer,
        },)*]
    };
}

/// Every operation there is, as the route table has them.
const OPERATIONS: &[Operation] = operations! {
    get "/v1/datasets/{dataset}/keys/{key}" "reads" "getKey": "Look one key up in the current version, or in a kept one",
        takes ["key_encoding", "fields", "read_version", "If-None-Match", "If-Match", "Tidetable-Unit", "Tidetable-Arm"], body None,
        gives [("200", "The stored bytes"), ("304", "The client has this value already")] "*/*";
    get "/v1/datasets/{dataset}/keys/{key}/history" "reads" "getKeyHistory": "Look one key up in every version that is kept, newest first",
        takes ["key_encoding", "fields"], body None, gives [("200", "One value, or its absence, for each version")] "KeyHistory";
    post "/v1/datasets/{dataset}/batch-get" "reads" "batchGet": "Look many keys up, all in one version",
        takes ["Tidetable-Unit", "Tidetable-Arm"], body Some("BatchRequest"), gives [("200", "One result for each key, in the order asked")] "BatchAnswer";
    post "/v1/batch-get" "reads" "batchGetSeveral": "Look keys up in several datasets, as they stood at one instant",
        takes ["Tidetable-Unit", "Tidetable-Arm"], body Some("BatchesRequest"), gives [("200", "One answer for each dataset; one that failed has its error in its place")] "BatchesAnswer";
    get "/v1/datasets/{dataset}/scan" "reads" "scan": "Read the records of a prefix in key order, page by page, all of one version",
        takes ["prefix", "limit", "cursor", "read_version", "key_encoding", "fields", "Tidetable-Unit", "Tidetable-Arm"], body None, gives [("200", "One page")] "ScanAnswer";

    post "/v1/datasets/{dataset}/push" "pushes" "push": "Push a whole version in one request: build, verify, gate, activate",
        takes ["label", "as_of", "activate", "wait_for_end", "Idempotency-Key", "Content-Digest"], body Some("*/*"),
        gives [("201", "The version is there"), ("202", "The version waits: the dataset is held, or wait=false")] "Version";
    post "/v1/datasets/{dataset}/import" "pushes" "import": "Push what lies in a source that the server's settings name: the server fetches it",
        takes ["Idempotency-Key"], body Some("ImportRequest"), gives [("202", "It is being fetched")] "Version";
    get "/v1/datasets/{dataset}/versions" "pushes" "listVersions": "List versions, newest first",
        takes ["limit", "cursor"], body None, gives [("200", "One page")] "Versions";
    post "/v1/datasets/{dataset}/versions" "pushes" "createVersion": "Begin a push whose data comes in parts",
        takes ["Idempotency-Key"], body Some("BeginRequest"), gives [("201", "It takes parts now")] "Version";
    get "/v1/datasets/{dataset}/versions/{version}" "pushes" "getVersion": "Look at one version, or wait until its push has ended",
        takes ["wait_seconds"], body None, gives [("200", "The version")] "Version";
    delete "/v1/datasets/{dataset}/versions/{version}" "pushes" "deleteVersion": "Abort a push, or delete a version that nobody serves",
        takes [], body None, gives [("200", "The version, deleted")] "Version";
    get "/v1/datasets/{dataset}/versions/{version}/profile" "operations" "getProfile": "See what a version holds, in outline: sizes, fields, a few records",
        takes [], body None, gives [("200", "Its profile")] "Profile";
    get "/v1/datasets/{dataset}/versions/{version}/snapshot" "operations" "getSnapshot": "List the files of a version, to take it away whole",
        takes [], body None, gives [("200", "Its files: the manifest, and what that lists")] "Snapshot";
    get "/v1/datasets/{dataset}/versions/{version}/snapshot/{file}" "operations" "getSnapshotFile": "Take away a file of a version, or a range of it",
        takes ["Range", "If-Range", "If-None-Match"], body None,
        gives [("200", "The file"), ("206", "The range of it"), ("304", "The client has this file already")] "application/octet-stream";
    get "/v1/datasets/{dataset}/versions/{version}/parts" "pushes" "listParts": "List the parts that have arrived, in the order of their rows",
        takes ["limit", "cursor"], body None, gives [("200", "One page")] "Parts";
    post "/v1/datasets/{dataset}/versions/{version}/verify" "operations" "verifyVersion": "Read every byte of a version on the disk again, and say whether it is what was published",
        takes ["wait_read"], body None, gives [("200", "It was read; `sound` says what was found"), ("202", "It is being read still: ask again")] "Verified";
    put "/v1/datasets/{dataset}/versions/{version}/parts/{part}" "pushes" "putPart": "Send one part; the same part again takes its place",
        takes ["Content-Digest"], body Some("*/*"), gives [("200", "It is on the disk")] "Part";
    post "/v1/datasets/{dataset}/versions/{version}/commit" "pushes" "commitVersion": "All parts are there: build, verify, gate, activate",
        takes ["Idempotency-Key"], body Some("CommitRequest"), gives [("202", "It is being built"), ("200", "It was committed alike before")] "Version";

    get "/v1/datasets" "operations" "listDatasets": "List datasets by name",
        takes ["limit", "cursor"], body None, gives [("200", "One page")] "Datasets";
    get "/v1/datasets/{dataset}" "operations" "getDataset": "Look at one dataset",
        takes [], body None, gives [("200", "The dataset")] "Dataset";
    put "/v1/datasets/{dataset}" "operations" "putDataset": "Make a dataset, or change the settings that the body names",
        takes [], body Some("DatasetConfig"), gives [("200", "These are its settings"), ("201", "It was made")] "Dataset";
    delete "/v1/datasets/{dataset}" "operations" "deleteDataset": "Delete a dataset with all its versions; its numbers are not used again",
        takes [], body None, gives [("200", "It is deleted")] "Deleted";
    get "/v1/datasets/{dataset}/history" "operations" "getHistory": "List what happened to a dataset, newest first",
        takes ["limit", "cursor"], body None, gives [("200", "One page")] "Events";
    get "/v1/datasets/{dataset}/diff" "operations" "diff": "Compare two kept versions: keys, fields, samples",
        takes ["diff_from", "diff_to", "samples"], body None, gives [("200", "How they differ")] "Diff";
    post "/v1/datasets/{dataset}/activate" "operations" "activate": "Make a version the one being served",
        takes ["Idempotency-Key"], body Some("ActivateRequest"), gives [("200", "The swap was made")] "Moved";
    post "/v1/activate" "operations" "activateTogether": "Make versions of several datasets the ones being served, all at one instant or none",
        takes ["Idempotency-Key"], body Some("ActivateTogetherRequest"), gives [("200", "All swaps were made")] "MovedTogether";
    post "/v1/datasets/{dataset}/rollback" "operations" "rollBack": "Go back to an earlier version, mark the current one as bad, and hold the dataset",
        takes ["Idempotency-Key"], body Some("RollbackRequest"), gives [("200", "The swap was made")] "Moved";
    post "/v1/datasets/{dataset}/hold" "operations" "hold": "Let no push be activated by itself from here on",
        takes ["Idempotency-Key"], body Some("ReasonRequest"), gives [("200", "It is held; `changed` says whether it was not before")] "Held";
    post "/v1/datasets/{dataset}/release" "operations" "release": "End a hold, and activate the newest ready version whose push had asked for it",
        takes ["Idempotency-Key"], body Some("ReasonRequest"), gives [("200", "It is released")] "Released";

    get "/v1/erase" "operations" "listErasures": "List erasures, newest first, which versions may still hold their keys, and what is being rewritten",
        takes ["limit", "cursor"], body None, gives [("200", "One page")] "Erasures";
    post "/v1/erase" "operations" "erase": "Make every version of any age, also those to come, give these keys no more",
        takes [], body Some("EraseRequest"), gives [("200", "No version gives them; `held_by` says which may still hold their bytes")] "Erased";
    post "/v1/erase/lift" "operations" "liftErasure": "Let versions that still have these keys give them again",
        takes [], body Some("EraseRequest"), gives [("200", "They may be given again")] "EraseLifted";
    post "/v1/webhooks/test" "operations" "testWebhooks": "Send a test notice to every receiver of webhooks, and say what came of each",
        takes [], body None, gives [("200", "Each receiver was tried once")] "WebhookTests";
    get "/v1/audit" "operations" "getAudit": "List what was changed, refused and denied, newest first, a JSON object a line",
        takes ["audit_since", "audit_until", "audit_dataset", "audit_actor", "audit_kind", "limit", "audit_cursor"], body None,
        gives [("200", "One page; `Tidetable-Audit-Head` says where both chains stand")] "application/x-ndjson";
    get "/v1/datasets/{dataset}/series" "operations" "getSeries": "Look at how a dataset was read in each minute of the last day, and is read now",
        takes ["minutes"], body None, gives [("200", "One entry for each minute that is over, oldest first, and what happened in them")] "Series";
    get "/v1/series" "operations" "listSeries": "Look at how every dataset is read now, by name",
        takes ["limit", "cursor"], body None, gives [("200", "One page")] "SeriesSummaries";
    get "/v1/pushes" "pushes" "listPushes": "List every push that is under way, whatever its dataset",
        takes ["limit", "cursor"], body None, gives [("200", "One page")] "Pushes";
    get "/v1/datasets/{dataset}/canary" "operations" "getCanary": "Look at the canary, and at how both arms do",
        takes [], body None, gives [("200", "It runs")] "Canary";
    put "/v1/datasets/{dataset}/canary" "operations" "putCanary": "Serve a second version to a share of the units, or change the share",
        takes [], body Some("CanaryRequest"), gives [("200", "It runs; `changed` says whether it did not before")] "Canary";
    delete "/v1/datasets/{dataset}/canary" "operations" "endCanary": "End the canary: everybody is served the current version again",
        takes ["end_reason", "expect_canary"], body None, gives [("200", "It is over")] "CanaryEnded";
    post "/v1/datasets/{dataset}/canary/promote" "operations" "promoteCanary": "Make the canary the current version",
        takes ["Idempotency-Key"], body Some("PromoteRequest"), gives [("200", "The swap was made")] "Moved";

    get "/v1/tokens" "access" "listTokens": "List tokens: those that are good, and the last of those that are no more",
        takes ["limit", "cursor"], body None, gives [("200", "One page; never the text of a token")] "Tokens";
    post "/v1/tokens" "access" "createToken": "Make a token; its text is told this once",
        takes [], body Some("TokenRequest"), gives [("201", "It is good from now on")] "MadeToken";
    delete "/v1/tokens/{id}" "access" "revokeToken": "Revoke a token: from the answer on it is good for nothing",
        takes [], body None, gives [("200", "It is revoked")] "Token";

    get "/livez" "server" "livez": "Whether the process answers",
        takes [], body None, gives [("200", "It does")] "Health";
    get "/readyz" "server" "readyz": "Whether every current version is open; damaged ones are named and not waited for",
        takes [], body None, gives [("200", "Ready"), ("503", "Opening, or stopping")] "Health";
    get "/version" "server" "version": "Which server this is",
        takes [], body None, gives [("200", "Its name and version")] "ServerVersion";
    get "/metrics" "server" "metrics": "What is counted, for Prometheus",
        takes [], body None, gives [("200", "OpenMetrics text")] "application/openmetrics-text";
};

/// Every `GET` answers a `HEAD` too. These two are asked for, so they are described: as the `GET` is,
/// which is the one that the route table has.
const HEADS: &[Operation] = operations! {
    head "/v1/datasets/{dataset}/keys/{key}" "reads" "headKey": "Look one key up, and get all but the value",
        takes ["key_encoding", "fields", "read_version", "If-None-Match", "If-Match", "Tidetable-Unit", "Tidetable-Arm"], body None,
        gives [("200", "The version has the key"), ("304", "The client has this value already")] "";
    head "/v1/datasets/{dataset}/versions/{version}/snapshot/{file}" "operations" "headSnapshotFile": "Ask for the length and the tag of a file of a version",
        takes ["If-None-Match"], body None, gives [("200", "The version has the file"), ("304", "The client has this file already")] "";
};

/// The two routes. The document is written once; the page needs no network.
pub(crate) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let json = Bytes::from(document().to_string());
    let answer = move |Query(_): Query<NoParameters>| {
        let json = json.clone();
        async move { ([(CONTENT_TYPE, "application/json")], json) }
    };
    let page = SwaggerUi::new("/docs").config(Config::from("/openapi.json"));
    Router::new().route("/openapi.json", get(answer)).merge(page)
}

fn document() -> Value {
    let mut document = components();
    document["info"]["version"] = json!(env!("CARGO_PKG_VERSION"));
    let codes = Code::ALL.iter().map(|code| code.as_str());
    let codes: Vec<&str> = codes.chain(Fault::ALL.iter().map(|fault| fault.code())).collect();
    document["components"]["schemas"]["Problem"]["properties"]["code"]["examples"] = json!(codes);
    let mut paths = Map::new();
    let problems = &document["components"]["responses"];
    for operation in OPERATIONS.iter().chain(HEADS) {
        let path = paths.entry(operation.path).or_insert_with(|| json!({}));
        path[operation.method] = operation.describe(problems);
    }
    document["paths"] = Value::Object(paths);
    document
}

impl Operation {
    /// `problems`: the answers that several operations share.
    fn describe(&self, problems: &Value) -> Value {
        let of_path = self.path.split('/').filter_map(|s| s.strip_prefix('{')?.strip_suffix('}'));
        let shared = of_path.chain(self.takes.iter().copied());
        let mut parameters: Vec<Value> = shared
            .map(|name| json!({ "$ref": format!("#/components/parameters/{name}") }))
            .collect();
        if self.id == "push" {
            parameters.extend(RowOptions::NAMES.iter().map(|name| {
                json!({
                    "name": name, "in": "query", "required": *name == "key",
                    "description": "See the row options of the documentation",
                    "schema": { "type": "string" },
                })
            }));
        }
        let mut responses = Map::new();
        for (status, meaning) in self.gives {
            let has_body = *status != "304" && self.method != "head";
            let mut response = json!({ "description": meaning, "headers": self.headers(status) });
            if has_body {
                response["content"] = content(self.answer);
            }
            responses.insert((*status).to_owned(), response);
        }
        for status in self.refusals().into_iter().flatten() {
            let name = self.problem(status);
            let problem = if self.method == "head" {
                let shared = &problems[name];
                json!({ "description": shared["description"], "headers": shared["headers"] })
            } else {
                json!({ "$ref": format!("#/components/responses/{name}") })
            };
            responses.entry(*status).or_insert(problem);
        }
        let mut described = json!({
            "tags": [self.tag], "operationId": self.id, "summary": self.summary,
            "parameters": parameters, "responses": responses,
        });
        if ["/livez", "/readyz"].contains(&self.path) {
            described["security"] = json!([]);
        }
        if let Some(body) = self.body {
            described["requestBody"] = json!({ "content": content(body) });
        }
        described
    }

    fn only_reads(&self) -> bool {
        ["get", "head"].contains(&self.method)
    }

    /// The headers of a success.
    fn headers(&self, status: &str) -> Value {
        let own: &[&str] = match (self.id, status) {
            ("getKey" | "headKey", "304") => {
                &["ETag", "Tidetable-Version", "Tidetable-As-Of", "Tidetable-Arm", "Vary"]
            }
            ("getKey" | "headKey", _) => &[
                "Content-Length",
                "ETag",
                "Tidetable-Version",
                "Tidetable-As-Of",
                "Tidetable-Arm",
                "Vary",
            ],
            ("batchGet" | "scan", _) => {
                &["Tidetable-Version", "Tidetable-As-Of", "Tidetable-Arm", "Vary"]
            }
            ("getSnapshotFile" | "headSnapshotFile", "304") => {
                &["ETag", "Tidetable-Version", "Accept-Ranges"]
            }
            ("getSnapshotFile", "206") => {
                &["Content-Length", "Content-Range", "ETag", "Tidetable-Version", "Accept-Ranges"]
            }
            ("getSnapshotFile" | "headSnapshotFile", _) => {
                &["Content-Length", "ETag", "Tidetable-Version", "Accept-Ranges"]
            }
            ("getAudit", _) => &["Tidetable-Audit-Head", "Tidetable-Next-Cursor", "Cache-Control"],
            ("createToken", _) => &["Cache-Control"],
            _ => &[],
        };
        let described = |name: &str| json!({ "$ref": format!("#/components/headers/{name}") });
        let id = if self.only_reads() { "X-Request-Id-of-read" } else { "X-Request-Id" };
        let mut headers = json!({ "X-Request-Id": described(id) });
        for name in own.iter().copied() {
            headers[name] = described(name);
        }
        headers
    }

    /// What an error is answered as: one of the answers that several operations share.
    fn problem(&self, status: &str) -> &'static str {
        match (status, self.id) {
            ("401", _) => "Unauthenticated",
            ("415", _) => "UnsupportedMedia",
            ("416", _) => "RangeNotSatisfiable",
            ("503", "getKey" | "headKey" | "batchGet" | "scan") => "NotNowOfArm",
            ("429" | "503", _) => "NotNow",
            ("400" | "404" | "410" | "412" | "500", "getKey" | "headKey") => "ProblemOfKey",
            ("400" | "404" | "410" | "413" | "500", "batchGet" | "scan") => "ProblemOfArm",
            ("404", "getProfile" | "getSnapshotFile" | "headSnapshotFile")
            | ("413", "batchGetSeveral") => "ProblemOfVersion",
            _ => "Problem",
        }
    }

    /// The statuses of its errors. All that can be answered are named, and no `default`: an answer
    /// with another status is a fault, of this document or of the server.
    fn refusals(&self) -> [&'static [&'static str]; 7] {
        let of = |does: bool, statuses: &'static [&'static str]| if does { statuses } else { &[] };
        let names = self.path.contains('{') || self.method == "post";
        let long = self.tag == "reads";
        [
            OF_ALL,
            of(names, OF_NAMES),
            of(long, OF_LONG_ANSWERS),
            of(!self.only_reads(), OF_CHANGES),
            of(self.path.contains("/snapshot"), OF_SNAPSHOTS),
            of(self.takes.contains(&"Range"), OF_RANGES),
            of(self.takes.contains(&"If-Match"), OF_CONDITIONS),
        ]
    }
}

/// Errors of any request: one that is strange, that the caller may not send, or whose path or head is
/// too long; too many requests; the server's own failing, and its stopping.
const OF_ALL: &[&str] = &["400", "401", "403", "414", "429", "431", "500", "503"];
/// Of what names a dataset, a version, a key or a token: it is not there, or not any more.
const OF_NAMES: &[&str] = &["404", "410"];
/// Of what gives an answer as long as is asked for.
const OF_LONG_ANSWERS: &[&str] = &["413"];
/// Of what has a body, or changes something.
const OF_CHANGES: &[&str] = &["408", "409", "413", "415", "422", "507"];

/// Of what gives the files of a version: they are not given while they hold erased keys.
const OF_SNAPSHOTS: &[&str] = &["409"];
/// Of what gives a range.
const OF_RANGES: &[&str] = &["416"];
/// Of what is given only if it is what the client believes it is.
const OF_CONDITIONS: &[&str] = &["412"];

/// A schema's name as JSON of that shape, a media type as bytes.
fn content(shape: &str) -> Value {
    if shape.contains('/') {
        return json!({ shape: {} });
    }
    json!({ "application/json": { "schema": { "$ref": format!("#/components/schemas/{shape}") } } })
}

#[cfg(test)]
mod tests {
    use super::super::batch::{BatchRequest, BatchesRequest};
    use super::super::canary::{CanaryRequest, PromoteRequest};
    use super::super::erase::EraseRequest;
    use super::super::extract::parse_json;
    use super::super::operations::{ActivateRequest, ReasonRequest, RollbackRequest};
    use super::super::together::TogetherRequest;
    use super::super::tokens::TokenRequest;
    use super::*;
    use crate::access::listed_routes;
    use crate::problem::{Answer, Problem};
    use crate::shapes::schema_of;
    use axum::body::Body;
    use axum::extract::Request;
    use http_body_util::BodyExt as _;
    use serde::de::DeserializeOwned;
    use std::collections::BTreeSet;
    use tidetable_storage::DatasetConfig;
    use tower::ServiceExt as _;

    /// (method, path) of every `.route(…)` of the route table.
    fn route_table() -> BTreeSet<(String, String)> {
        let source = include_str!("mod.rs");
        let mut found = BTreeSet::new();
        for route in source.split(".route(").skip(1) {
            let path = route.split('"').nth(1).unwrap();
            let rest = route.split_once(',').unwrap().1;
            let rest = rest.split("// ").next().unwrap();
            for method in ["get", "post", "put", "delete"] {
                let called = [format!(" {method}("), format!(".{method}("), format!("\t{method}(")];
                if called.iter().any(|call| rest.contains(call.as_str())) {
                    found.insert((method.to_owned(), path.to_owned()));
                }
            }
        }
        // Another spelling of a lookup: its key is empty, so it is refused.
        found.remove(&("get".to_owned(), "/v1/datasets/{dataset}/keys/".to_owned()));
        found
    }

    #[test]
    fn the_document_describes_the_route_table_and_nothing_else() {
        let described: BTreeSet<_> =
            OPERATIONS.iter().map(|o| (o.method.to_owned(), o.path.to_owned())).collect();
        assert_eq!(described, route_table());
        let all: Vec<&Operation> = OPERATIONS.iter().chain(HEADS).collect();
        let ids: BTreeSet<_> = all.iter().map(|o| o.id).collect();
        assert_eq!(ids.len(), all.len(), "operation ids are unique");
    }

    #[test]
    fn a_head_is_described_as_its_get_and_has_no_body() {
        let document = document();
        for head in HEADS {
            let described = &document["paths"][head.path];
            let (head, get) = (&described["head"]["responses"], &described["get"]["responses"]);
            for (status, answer) in head.as_object().unwrap() {
                assert!(answer["content"].is_null() && answer["$ref"].is_null(), "{answer}");
                let of_get = &get[status];
                let of_get = match of_get["$ref"].as_str() {
                    Some(reference) => document.pointer(&reference[1..]).unwrap(),
                    None => of_get,
                };
                assert_eq!(answer["headers"], of_get["headers"], "{status}");
            }
            let asked = |method: &str| described[method]["parameters"].as_array().unwrap();
            assert!(asked("head").iter().all(|one| asked("get").contains(one)), "{described}");
        }
    }

    #[test]
    fn every_answer_says_its_headers_and_each_is_described_with_an_example() {
        let document = document();
        let components = &document["components"];
        for (name, header) in components["headers"].as_object().unwrap() {
            let is_said = header["description"].is_string() && header["schema"]["type"].is_string();
            assert!(is_said && !header["example"].is_null(), "{name}: {header}");
        }
        for operation in OPERATIONS.iter().chain(HEADS) {
            let described = &document["paths"][operation.path][operation.method];
            for (status, answer) in described["responses"].as_object().unwrap() {
                let answer = match answer["$ref"].as_str() {
                    Some(reference) => document.pointer(&reference[1..]).unwrap(),
                    None => answer,
                };
                let what = format!("{} {status}: {answer}", operation.id);
                let headers = answer["headers"].as_object().expect(&what);
                assert!(headers.contains_key("X-Request-Id"), "{what}");
                for (name, described) in headers {
                    // One that is not always there has a description of its own, under a longer name.
                    let told = described["$ref"].as_str().unwrap();
                    let told = told.strip_prefix("#/components/headers/").unwrap();
                    assert!(told == name || told.starts_with(&format!("{name}-of-")), "{what}");
                    assert!(components["headers"][told].is_object(), "{what}");
                }
            }
        }
    }

    /// Routes that the document does not describe: other spellings, and files.
    const BESIDE: [&str; 7] = [
        "/v1/datasets/{dataset}/keys/",
        "/openapi.json",
        "/docs",
        "/docs/",
        "/docs/{*rest}",
        "/",
        "/console/{file}",
    ];

    #[test]
    fn every_route_is_in_the_table_of_access_and_nothing_else() {
        let rows: Vec<_> = listed_routes().collect();
        let listed: BTreeSet<(String, &str)> =
            rows.iter().map(|(method, path)| (method.to_ascii_lowercase(), *path)).collect();
        assert_eq!(listed.len(), rows.len(), "a route stands twice");
        let mut routes: BTreeSet<(String, &str)> =
            OPERATIONS.iter().map(|o| (o.method.to_owned(), o.path)).collect();
        routes.extend(BESIDE.map(|path| ("get".to_owned(), path)));
        assert_eq!(listed, routes);
    }

    #[test]
    fn every_reference_leads_somewhere() {
        fn references(value: &Value, found: &mut Vec<String>) {
            match value {
                Value::Object(map) => {
                    found.extend(map.get("$ref").and_then(|r| r.as_str()).map(str::to_owned));
                    map.values().for_each(|value| references(value, found));
                }
                Value::Array(list) => list.iter().for_each(|value| references(value, found)),
                _ => {}
            }
        }
        let document = document();
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > 100, "only {} references", found.len());
        for reference in found {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
        }
    }

    #[test]
    fn row_options_are_fields_of_a_push_in_parts_too() {
        let document = document();
        let fields = &document["components"]["schemas"]["CreateRequest"]["properties"];
        for name in RowOptions::NAMES {
            assert!(fields[name].is_object(), "{name} is not described");
        }
    }

    /// The body with `null` in the place of one field that may be `null`, for each of these.
    fn with_nulls(schema: &Value, body: &Value) -> Vec<(String, Value)> {
        let mut found = Vec::new();
        for (name, of) in schema["properties"].as_object().into_iter().flatten() {
            let mut kinds = of["type"].as_array().into_iter().flatten();
            let mut within = with_nulls(of, &body[name]);
            if kinds.any(|kind| kind == "null") {
                within.push((String::new(), Value::Null));
            }
            for (place, value) in within {
                let mut body = body.clone();
                body[name] = value;
                found.push((format!("{name} {place}"), body));
            }
        }
        if let Some(item) = body.get(0) {
            let items = with_nulls(&schema["items"], item);
            found.extend(items.into_iter().map(|(place, item)| (place, json!([item]))));
        }
        found
    }

    type Parse = fn(&[u8]) -> Answer<()>;

    fn parse<T: DeserializeOwned>(body: &[u8]) -> Answer<()> {
        parse_json::<T>(body).map(drop)
    }

    #[test]
    fn a_field_that_may_be_null_is_taken_as_null() {
        let one = json!({ "dataset": "a", "version": 1 });
        let bodies: [(&str, Value, Parse); 11] = [
            ("BatchRequest", json!({ "keys": [] }), parse::<BatchRequest>),
            (
                "BatchesRequest",
                json!({ "requests": [{ "dataset": "a", "keys": [] }] }),
                parse::<BatchesRequest>,
            ),
            ("ActivateRequest", json!({ "version": 1 }), parse::<ActivateRequest>),
            ("ActivateTogetherRequest", json!({ "activations": [one] }), parse::<TogetherRequest>),
            ("RollbackRequest", json!({}), parse::<RollbackRequest>),
            ("CanaryRequest", json!({ "version": 1, "percent": 5 }), parse::<CanaryRequest>),
            ("PromoteRequest", json!({}), parse::<PromoteRequest>),
            ("ReasonRequest", json!({}), parse::<ReasonRequest>),
            ("DatasetConfig", json!({}), parse::<DatasetConfig>),
            ("TokenRequest", json!({ "name": "a", "roles": [] }), parse::<TokenRequest>),
            (
                "EraseRequest",
                json!({ "keys": [], "datasets": null, "reason": "r" }),
                parse::<EraseRequest>,
            ),
        ];
        let mut count = 0;
        for (schema, body, parse) in bodies {
            for (field, body) in with_nulls(&schema_of(schema), &body) {
                let taken = parse(body.to_string().as_bytes());
                assert!(taken.is_ok(), "{field} of {schema}: {taken:?}");
                count += 1;
            }
        }
        assert!(count > 40, "only {count} fields may be null");
    }

    async fn fetch(path: &str) -> (u16, Vec<u8>) {
        let router: Router = routes();
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = router.oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        (status, response.into_body().collect().await.unwrap().to_bytes().to_vec())
    }

    #[tokio::test]
    async fn problems_are_described_as_they_are_written() {
        let (status, body) = fetch("/openapi.json").await;
        assert_eq!(status, 200);
        let document: Value = serde_json::from_slice(&body).unwrap();
        let described = &document["components"]["schemas"]["Problem"]["properties"];
        let written = Problem::new(Fault::KeyNotFound, "x").document("r");
        let names = |value: &Value| {
            let mut names: Vec<_> = value.as_object().unwrap().keys().cloned().collect();
            names.sort();
            names
        };
        assert_eq!(names(described), names(&written));
    }

    #[tokio::test]
    async fn the_page_is_served_from_the_binary() {
        let (status, body) = fetch("/docs/").await;
        assert_eq!(status, 200);
        assert!(String::from_utf8(body).unwrap().contains("swagger-ui"));
    }
}
