//! Pushes against a server that plays a part: what is sent, how often, and how it ends.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex};

use tidetable_storage::MAX_PARTS;

use super::*;
use crate::cli::stub::{Received, Reply, Stub};

/// A server that plays its part well, with faults to order.
#[derive(Default)]
struct Played {
    parts: BTreeMap<String, Vec<u8>>,
    /// What the settled version says besides `version`.
    settled: Value,
    /// Somebody has deleted the version.
    deleted: bool,
    /// The state a version has when it is found by its key.
    found: Option<&'static str>,
    /// Requests, by the beginning of their line, that are answered by 503 once.
    busy_once: Vec<&'static str>,
    /// The same, but the connection is dropped after the request was acted on.
    dropped_once: Vec<&'static str>,
}

impl Played {
    fn answer(&mut self, asked: &Received) -> Reply {
        let line = asked.line.trim_end_matches(" HTTP/1.1");
        if let Some(i) = self.busy_once.iter().position(|start| line.starts_with(start)) {
            self.busy_once.remove(i);
            return Reply::json(503, json!({"detail": "starting", "retryable": true}));
        }
        let reply = self.act(line, asked);
        if let Some(i) = self.dropped_once.iter().position(|start| line.starts_with(start)) {
            self.dropped_once.remove(i);
            return Reply::drop();
        }
        reply
    }

    fn act(&mut self, line: &str, asked: &Received) -> Reply {
        const VERSION: &str = "/v1/datasets/recs/versions/43";
        let (method, path) = line.split_once(' ').unwrap();
        match (method, path) {
            ("GET", "/v1/datasets/recs") => Reply::json(200, json!({"current": 42})),
            ("POST", "/v1/datasets/recs/versions") => {
                Reply::json(201, json!({"version": 43, "state": "receiving"}))
            }
            ("GET", VERSION) => {
                Reply::json(200, json!({"version": 43, "state": self.found.unwrap_or("receiving")}))
            }
            ("GET", path) if path.starts_with(&format!("{VERSION}/parts")) => {
                let parts: Vec<Value> = self.parts.iter().map(|(n, b)| part(n, b)).collect();
                Reply::json(200, json!({"parts": parts, "next": null}))
            }
            ("PUT", _) if self.deleted => {
                Reply::json(410, json!({"detail": "it was deleted", "code": "version_deleted"}))
            }
            ("PUT", path) => {
                let name = path.strip_prefix(&format!("{VERSION}/parts/")).unwrap();
                self.parts.insert(name.to_owned(), asked.body.clone());
                Reply::json(200, part(name, &asked.body))
            }
            ("POST", path) if path.ends_with("/commit") => {
                Reply::json(202, json!({"version": 43, "state": "building"}))
            }
            ("GET", path) if path.starts_with(&format!("{VERSION}?wait=")) => {
                let mut version = self.settled.clone();
                version["version"] = json!(43);
                Reply::json(200, version)
            }
            _ => Reply::json(500, json!({"detail": format!("unexpected: {line}")})),
        }
    }
}

fn part(name: &str, bytes: &[u8]) -> Value {
    use base64::Engine as _;
    use sha2::Digest as _;
    let sum = base64::engine::general_purpose::STANDARD.encode(sha2::Sha256::digest(bytes));
    json!({"part": name, "bytes": bytes.len(), "digest": format!("sha-256=:{sum}:")})
}

fn patience(retries: u32) -> Patience {
    Patience { retries, first_pause: Duration::from_millis(1), out_of_reach: None }
}

/// Pushes two files to a server that is asked `requests` times.
fn push(
    played: Played,
    requests: usize,
    key: Option<&str>,
) -> (Result<(), Failure>, Vec<Received>, Played) {
    let dir = tempfile::tempdir().unwrap();
    let files: Vec<PathBuf> = ["a.ndjson", "b.ndjson"].iter().map(|n| dir.path().join(n)).collect();
    std::fs::write(&files[0], "{\"id\":1}\n").unwrap();
    std::fs::write(&files[1], "{\"id\":2}\n").unwrap();
    let sources = files.iter().map(|path| rows::Source {
        name: path.display().to_string(),
        origin: rows::Origin::File(path.clone()),
    });
    let parts = parts::name(sources.collect()).unwrap();

    let played = Arc::new(Mutex::new(played));
    let playing = Arc::clone(&played);
    let stub =
        Stub::scripted(requests, Box::new(move |_, asked| playing.lock().unwrap().answer(asked)));
    let client = Client::new(&stub.address(), None).unwrap();
    let client = client.with_patience(patience(3));
    let push = Push {
        client: &client,
        dataset: "recs",
        key: key.unwrap_or("own-key").to_owned(),
        resume: key.is_some(),
        again: format!("--idempotency-key {}", key.unwrap_or("own-key")),
        activate: true,
        timeout: None,
        watched: false,
        interrupt: Interrupt::default(),
    };
    let mut body = Map::new();
    body.insert("key".to_owned(), json!(["id"]));
    let result = carried_out(&push, body, parts);
    let asked = stub.finish();
    let played = std::mem::take(&mut *played.lock().unwrap());
    (result, asked, played)
}

/// As the command ends.
fn carried_out(push: &Push<'_>, body: Map<String, Value>, parts: Vec<Part>) -> Result<(), Failure> {
    push.carry_out(&Request { body, data: Data::Rows(parts) })?.summary.map(drop)
}

fn lines(asked: &[Received]) -> Vec<&str> {
    asked.iter().map(|asked| asked.line.trim_end_matches(" HTTP/1.1")).collect()
}

fn active() -> Value {
    json!({"state": "active", "current": true, "activate": true})
}

/// The server may be building it, and activate it.
#[test]
fn a_commit_without_an_answer_is_not_told_as_none() {
    const COMMIT: &str = "POST /v1/datasets/recs/versions/43/commit";
    let played = Played { dropped_once: vec![COMMIT; 4], ..Played::default() };
    let (result, asked, _) = push(played, 8, None);
    assert_eq!(lines(&asked)[4..], [COMMIT; 4]);
    let failure = result.unwrap_err();
    let hint = failure.hint.clone().unwrap();
    assert!(hint.contains("whether recs 43 is committed is not known"), "{hint}");
    assert!(!hint.contains("is not served"), "{hint}");
    assert_eq!(failure.exit, Exit::Unreachable);
}

#[test]
fn what_somebody_else_has_deleted_is_not_told_as_left() {
    let played = Played { deleted: true, ..Played::default() };
    let (result, _, _) = push(played, 3, None);
    let hint = result.unwrap_err().hint.clone().unwrap();
    assert!(hint.contains("push again") && !hint.contains("left receiving"), "{hint}");
}

#[test]
fn a_push_creates_sends_commits_and_waits() {
    let (result, asked, played) = push(Played { settled: active(), ..Played::default() }, 6, None);
    result.unwrap();
    assert_eq!(
        lines(&asked),
        [
            "GET /v1/datasets/recs",
            "POST /v1/datasets/recs/versions",
            "PUT /v1/datasets/recs/versions/43/parts/a.ndjson",
            "PUT /v1/datasets/recs/versions/43/parts/b.ndjson",
            "POST /v1/datasets/recs/versions/43/commit",
            "GET /v1/datasets/recs/versions/43?wait=30",
        ]
    );
    assert_eq!(played.parts["b.ndjson"], b"{\"id\":2}\n");
    let commit: Value = serde_json::from_slice(&asked[4].body).unwrap();
    assert_eq!(commit, json!({"activate": true, "parts": ["a.ndjson", "b.ndjson"]}));
    assert_eq!(asked[2].header("content-length"), Some("9"));
}

#[test]
fn a_lost_answer_is_asked_for_again_under_the_same_idempotency_key() {
    let played = Played {
        settled: active(),
        dropped_once: vec!["POST /v1/datasets/recs/versions"],
        busy_once: vec!["PUT /v1/datasets/recs/versions/43/parts/b"],
        ..Played::default()
    };
    let (result, asked, played) = push(played, 8, None);
    result.unwrap();
    let creations: Vec<&Received> =
        asked.iter().filter(|asked| asked.line.contains("/versions HTTP")).collect();
    assert_eq!(creations.len(), 2);
    assert!(creations.iter().all(|asked| asked.header("idempotency-key") == Some("own-key")));
    assert_eq!(played.parts["b.ndjson"], b"{\"id\":2}\n", "the part is read anew for a retry");
}

#[test]
fn parts_that_are_there_are_not_sent_again() {
    let mut parts = BTreeMap::new();
    parts.insert("a.ndjson".to_owned(), b"{\"id\":1}\n".to_vec());
    parts.insert("b.ndjson".to_owned(), b"{\"id\":9}\n".to_vec());
    let played = Played { parts, settled: active(), ..Played::default() };
    let (result, asked, played) = push(played, 7, Some("job-7"));
    result.unwrap();
    let sent: Vec<&str> =
        lines(&asked).into_iter().filter(|line| line.starts_with("PUT")).collect();
    assert_eq!(sent, ["PUT /v1/datasets/recs/versions/43/parts/b.ndjson"]);
    assert_eq!(played.parts["b.ndjson"], b"{\"id\":2}\n", "same length, other bytes: replaced");
}

/// A server at which the same key was committed with these bytes of `b.ndjson`.
fn committed(b: &str) -> Played {
    let mut parts = BTreeMap::new();
    parts.insert("a.ndjson".to_owned(), b"{\"id\":1}\n".to_vec());
    parts.insert("b.ndjson".to_owned(), b.as_bytes().to_vec());
    Played { found: Some("building"), parts, settled: active(), ..Played::default() }
}

#[test]
fn a_push_that_was_committed_before_only_waits_for_its_outcome() {
    let (result, asked, _) = push(committed("{\"id\":2}\n"), 5, Some("job-7"));
    result.unwrap();
    let lines = lines(&asked);
    assert!(lines.iter().all(|line| !line.starts_with("PUT")), "{lines:?}");
    assert!(lines[4].ends_with("?wait=30"));
}

#[test]
fn a_key_that_was_used_for_other_data_is_a_conflict_and_not_a_success() {
    let mut fewer = committed("");
    fewer.parts.remove("b.ndjson");
    for (played, why) in [(committed("{\"id\":9}\n"), "b.ndjson has other"), (fewer, "its parts")] {
        let failure = push(played, 4, Some("job-7")).0.unwrap_err();
        assert_eq!(failure.exit, Exit::Conflict);
        assert_eq!(failure.code.as_deref(), Some("idempotency_key_reused"));
        let text = failure.text();
        assert!(text.contains(why) && text.contains("nothing was sent"), "{text}");
        assert!(text.contains("--idempotency-key of its own"), "{text}");
    }
}

#[test]
fn a_refused_push_ends_with_3_and_shows_its_rows() {
    let settled = json!({"state": "failed", "code": "bad_rows", "reason": "1 row",
                         "problems": ["b.ndjson row 1: no key"]});
    let (result, ..) = push(Played { settled, ..Played::default() }, 6, None);
    let failure = result.unwrap_err();
    assert_eq!(failure.exit, Exit::Refused);
    assert_eq!(failure.problems, ["b.ndjson row 1: no key"]);
}

/// What a push of the file `a` ends with, of which a server is asked `requests` times; `put` is
/// what it does with each part.
fn push_of_one(
    requests: usize,
    text: &str,
    put: impl Fn(&std::path::Path) -> Reply + Send + 'static,
) -> Failure {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    std::fs::write(&path, text).unwrap();
    // The clock of files may stand still for some milliseconds.
    let aged = std::fs::File::options().write(true).open(&path).unwrap();
    aged.set_modified(std::time::UNIX_EPOCH).unwrap();
    let file = path.clone();
    let script = move |number: usize, request: &Received| match number {
        0 => Reply::json(404, json!({"code": "dataset_not_found"})),
        1 => Reply::json(201, json!({"version": 1, "state": "receiving"})),
        _ => {
            assert!(request.line.starts_with("PUT"), "never committed: {}", request.line);
            put(&file)
        }
    };
    failed_push(path, requests, script)
}

/// What a push of `path`, named `a`, ends with.
fn failed_push(
    path: PathBuf,
    requests: usize,
    script: impl FnMut(usize, &Received) -> Reply + Send + 'static,
) -> Failure {
    let stub = Stub::scripted(requests, Box::new(script));
    let client = Client::new(&stub.address(), None).unwrap();
    let client = client.with_patience(patience(1));
    let push = Push {
        client: &client,
        dataset: "recs",
        key: "k-1".to_owned(),
        resume: false,
        again: "--idempotency-key k-1".to_owned(),
        activate: true,
        timeout: None,
        watched: false,
        interrupt: Interrupt::default(),
    };
    let source = rows::Source { name: "a".to_owned(), origin: rows::Origin::File(path) };
    let parts = parts::name(vec![source]).unwrap();
    let failure = carried_out(&push, Map::new(), parts).unwrap_err();
    assert_eq!(failure.exit, Exit::Failed);
    assert_eq!(stub.finish().len(), requests);
    failure
}

#[test]
fn a_part_that_arrives_differently_fails_the_push_and_says_how_to_resume() {
    let failure = push_of_one(4, "x", |_| Reply::json(200, part("a", b"y")));
    let text = failure.text();
    assert!(text.contains("differently") && text.contains("--idempotency-key k-1"), "{text}");
}

/// What waiting for an import ends with, of which the server is asked so many `questions` and gives to
/// each, by its number, `answer`, which knows when nobody asks any more.
fn failed_import(
    timeout: Option<Duration>,
    questions: usize,
    mut answer: impl FnMut(usize, &Receiver<()>) -> Reply + Send + 'static,
) -> Failure {
    let (asks, asked_no_more) = std::sync::mpsc::channel();
    let script = move |number: usize, request: &Received| match number {
        0 => Reply::json(404, json!({"code": "dataset_not_found"})),
        1 => Reply::json(202, json!({"version": 1, "state": "receiving"})),
        _ => {
            assert!(request.line.contains("/versions/1?wait="), "{}", request.line);
            answer(number - 2, &asked_no_more)
        }
    };
    let stub = Stub::scripted(2 + questions, Box::new(script));
    let client = Client::new(&stub.address(), None).unwrap().with_patience(patience(0));
    let push = Push {
        client: &client,
        dataset: "recs",
        key: "k-1".to_owned(),
        resume: false,
        again: "--idempotency-key k-1".to_owned(),
        activate: true,
        timeout,
        watched: false,
        interrupt: Interrupt::default(),
    };
    let ended = push.carry_out(&Request { body: Map::new(), data: Data::Elsewhere });
    drop(asks);
    let Err(failure) = ended else { panic!("it was settled") };
    stub.finish();
    failure
}

#[test]
fn an_import_that_is_waited_for_no_more_is_not_told_as_sent() {
    let failure = failed_import(None, 1, |_, _| Reply::drop());
    let hint = failure.hint.clone().unwrap();
    assert!(hint.contains("the server fetches the data by itself"), "{hint}");
    assert!(!hint.contains("is sent"), "{hint}");
    assert_eq!(failure.exit, Exit::Unreachable);
}

/// It has failed, or waits for what is to be put right first.
#[test]
fn an_import_at_which_nothing_works_is_not_told_to_go_on() {
    let failure = failed_import(None, 1, |_, _| {
        Reply::json(507, json!({"detail": "it failed", "code": "disk_full", "version": 1}))
    });
    let hint = failure.hint.clone().unwrap();
    assert!(hint.contains("make it again") && hint.contains("--idempotency-key k-1"), "{hint}");
    assert!(!hint.contains("fetches the data"), "{hint}");
    assert_eq!(failure.exit, Exit::Failed);
    // That is about the server, and not about the import.
    let failure = failed_import(None, 1, |_, _| {
        Reply::json(503, json!({"detail": "busy", "code": "overloaded", "retryable": true}))
    });
    let hint = failure.hint.clone().unwrap();
    assert!(hint.contains("the server fetches the data by itself"), "{hint}");
}

/// A server that says nothing is asked no longer than it was to take. Nobody knows then whether it is
/// still there.
#[test]
fn a_question_ends_with_the_time_that_the_server_was_given() {
    let falls_silent = |after: usize| {
        let time = Some(Duration::from_secs(2));
        let failure = failed_import(time, after + 1, move |number, asked_no_more| {
            if number < after {
                return Reply::json(200, json!({"version": 1, "state": "receiving"}));
            }
            let _ = asked_no_more.recv();
            Reply::drop()
        });
        let hint = failure.hint.clone().unwrap();
        assert!(hint.contains("the import has failed, and is to be made again"), "{hint}");
        assert!(!failure.text().contains("goes on without us"), "{}", failure.text());
        failure
    };
    assert_eq!(falls_silent(0).exit, Exit::Unreachable);
    let failure = falls_silent(1);
    assert_eq!(failure.exit, Exit::Failed);
    assert!(failure.message.contains("was not through with recs 1 in "), "{}", failure.message);
}

/// The length was promised before: what was sent of it may end within a row.
#[test]
fn a_file_that_becomes_longer_fails_the_push() {
    let failure = push_of_one(3, "{\"id\":1}", |file| {
        std::fs::write(file, "{\"id\":1}0\n").unwrap();
        Reply::json(200, part("a", b"{\"id\":1}"))
    });
    let text = failure.text();
    assert!(text.contains("became longer") && text.contains("--idempotency-key k-1"), "{text}");
}

/// Half of what arrived may be of before, half of after.
#[test]
fn a_file_that_is_written_in_place_fails_the_push_also_if_it_stays_as_long() {
    let failure = push_of_one(3, "{\"id\":1}", |file| {
        std::fs::write(file, "{\"id\":2}").unwrap();
        Reply::json(200, part("a", b"{\"id\":1}"))
    });
    let text = failure.text();
    assert!(text.contains("was changed") && text.contains("--idempotency-key k-1"), "{text}");
}

/// The rest of a pipe is not what was in it, and whoever opened it again would wait for ever.
#[test]
fn a_pipe_of_which_some_was_read_is_not_sent_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
    assert!(made.success());
    let pipe = path.clone();
    let write = std::thread::spawn(move || std::fs::write(pipe, "{\"id\":1}\n").unwrap());
    let script = |number: usize, request: &Received| match number {
        0 => Reply::json(404, json!({"code": "dataset_not_found"})),
        1 => Reply::json(201, json!({"version": 1, "state": "receiving"})),
        2 => {
            assert_eq!(request.body, b"{\"id\":1}\n");
            Reply::json(503, json!({"detail": "starting", "retryable": true}))
        }
        _ => {
            assert!(request.line.starts_with("GET"), "{}", request.line);
            Reply::json(200, json!({"parts": [], "next": null}))
        }
    };
    let failure = failed_push(path, 4, script);
    let text = failure.text();
    assert!(text.contains("did not keep what was sent of a"), "{text}");
    write.join().unwrap();
}

#[test]
fn a_label_is_not_empty() {
    use clap::Parser as _;
    let line = |label: &str| {
        let words = ["tidetable", "push", "recs", "a.csv", "--key", "k", "--label", label];
        crate::cli::Cli::try_parse_from(words)
    };
    assert!(line("run 7").is_ok());
    let error = line("").unwrap_err();
    assert_eq!(error.exit_code(), 2);
    assert!(error.to_string().contains("--label"), "{error}");
}

#[test]
fn times_are_read_with_their_unit() {
    let seconds = |text: &str| parse_duration(text).map(|d| d.as_secs()).ok();
    assert_eq!(seconds("90"), Some(90));
    assert_eq!(seconds("90s"), Some(90));
    assert_eq!(seconds("30m"), Some(1800));
    assert_eq!(seconds("2h"), Some(7200));
    assert_eq!(seconds("1w"), Some(604_800));
    assert_eq!(seconds("365d"), Some(31_536_000));
    for bad in ["", "0", "500ms", "m", "-1", "366d", "1.5h", "99999999999999999999", "9999999999h"]
    {
        assert_eq!(seconds(bad), None, "{bad}");
    }
}

/// Before, that was known when so many had been sent.
#[test]
fn more_files_than_a_push_may_have_are_refused_before_any_is_sent() {
    let sources = |count: usize| {
        let source = |n: usize| rows::Source {
            name: n.to_string(),
            origin: rows::Origin::File(PathBuf::from(n.to_string())),
        };
        parts::name((0..count).map(source).collect())
    };
    assert_eq!(sources(MAX_PARTS).unwrap().len(), MAX_PARTS);
    let failure = sources(MAX_PARTS + 1).unwrap_err();
    assert_eq!(failure.exit, Exit::Usage);
    assert!(failure.message.contains("20001 files, and one push may have 20000"));
    assert!(failure.hint.as_deref().is_some_and(|hint| hint.contains("tidetable build")));
}
