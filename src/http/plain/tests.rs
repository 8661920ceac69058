//! Two servers over one store: one with the short way, one whose every request goes through
//! hyper and the router. Whatever bytes a client sends, both send the same bytes back.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use proptest::prelude::*;
use tempfile::TempDir;
use tidetable_storage::{
    Admission, BuildOptions, Builder, CanaryStart, Cause, Compression, DatasetConfig, DatasetName,
    ExpectCanary, NewToken, PartSums, Store, StoreOptions,
};

use super::*;
use crate::access::TokenText;
use crate::config::ServeConfig;
use crate::http::router;
use crate::ingest::GrowthLimits;
use crate::pushes::{BuildSettings, Checks, Pushes};
use crate::server::{Ended, Limits, Listening, Service, Stop, serve};
use crate::state::App;
use crate::webhooks::Webhooks;

const PATIENCE: Duration = Duration::from_secs(20);
/// Ends every exchange: after its answer the server closes.
const LAST: &str =
    "GET /v1/datasets/recs/keys/ada HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

/// A store with the dataset `recs` of two versions, `texts` whose values are no JSON, `tried`
/// whose first version is a canary beside its second, and `empty` without any.
pub(in crate::http) struct Stored {
    pub(in crate::http) app: AppState,
    _dir: TempDir,
}

impl Stored {
    pub(in crate::http) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let app = app_on(dir.path());
        let stored = Self { app, _dir: dir };
        stored.push("recs", None, &[("ada", "{\"old\":true}")]);
        stored.push(
            "recs",
            Some("2026-11-20T00:00:00Z"),
            &[
                ("a/b", "1"),
                ("ada", "{\"k\":\"ada\"}"),
                ("large", &"x".repeat(LONG - 1)),
                ("least", &"x".repeat(LONG)),
                ("long", &"x".repeat(300_000)),
                ("ü", "2"),
            ],
        );
        stored.push("texts", None, &[("a", "plain text"), ("nothing", "")]);
        let config =
            DatasetConfig { content_type: "text/csv; header=present".into(), ..Default::default() };
        stored.app.store.configure(&name("texts"), &config, Cause::default()).unwrap();
        stored.push(
            "tried",
            Some("2026-11-20T00:00:00Z"),
            &[("k0", "0"), ("k1", "1"), ("k2", "2")],
        );
        stored.push("tried", None, &[("k1", "one"), ("k2", "2"), ("k3", "3")]);
        let expect = ExpectCanary::Anything;
        let start = CanaryStart { version: Version(1), percent: 50.0, experiment: None, expect };
        stored.app.store.start_canary(&name("tried"), &start, Cause::default()).unwrap();
        stored.app.store.ensure_dataset(&name("empty"), Cause::default()).unwrap();
        stored
    }

    /// The same after a restart: nothing is open yet.
    pub(in crate::http) fn started_anew(self) -> Self {
        let Self { app, _dir: dir } = self;
        drop(app);
        // A process that another test starts has what is locked here until it runs its program.
        std::fs::remove_file(dir.path().join("LOCK")).unwrap();
        Self { app: app_on(dir.path()), _dir: dir }
    }

    /// Pushes sorted records, and activates them.
    fn push(&self, dataset: &str, as_of: Option<&str>, records: &[(&str, &str)]) {
        let (store, dataset) = (&self.app.store, name(dataset));
        store.ensure_dataset(&dataset, Cause::default()).unwrap();
        let push =
            Admission { activate: true, as_of: as_of.map(str::to_owned), ..Admission::default() };
        let version = store.admit(&dataset, &push, Cause::default()).unwrap().number().unwrap();
        let part = store.begin_part(&dataset, version, "1").unwrap();
        store.receive_part(&dataset, version, part.close(PartSums::default())).unwrap();
        store.seal(&dataset, version, true, None, Cause::default()).unwrap();
        let options = BuildOptions { compression: Compression::Lz4, file_bytes: 1 << 20 };
        let place = store.layout().build(&dataset, version, 1);
        let mut builder = Builder::create(&place, options, &[]).unwrap();
        for (key, value) in records {
            builder.add(key.as_bytes(), value.as_bytes()).unwrap();
        }
        let snapshot = builder.finish().unwrap().verify(&mut |_| {}).unwrap();
        store.publish(&dataset, version, &snapshot, 0, &[], Cause::default()).unwrap();
        store.activate_by_itself(&dataset, version, Cause::default()).unwrap();
    }

    /// A server with the short way.
    fn short(&self) -> Server {
        let (answered, app) = (Arc::<AtomicU64>::default(), Arc::clone(&self.app));
        let counted = Arc::clone(&answered);
        let make = move || -> Box<dyn Shortcut> {
            Box::new(Counting { inner: PlainLookups::new(&app), answered: Arc::clone(&counted) })
        };
        let service =
            Service { router: router(&self.app), shortcut: Some(Arc::new(make)), tls: None };
        Server::start(service, &self.app.metrics, answered)
    }

    /// A server without it.
    fn long(&self) -> Server {
        let service = Service { router: router(&self.app), shortcut: None, tls: None };
        Server::start(service, &self.app.metrics, Arc::default())
    }
}

/// A server without its threads, over a directory.
fn app_on(dir: &Path) -> AppState {
    app_with(dir, StoreOptions { block_cache_bytes: 1 << 20, ..StoreOptions::default() })
}

/// The same, of a store that is opened with these options.
pub(in crate::http) fn app_with(dir: &Path, options: StoreOptions) -> AppState {
    let (store, _) = Store::open(dir, options).unwrap();
    let (store, metrics) = (Arc::new(store), Arc::new(Metrics::new()));
    let (sort_memory, program) = (1 << 20, "none".into());
    let settings = BuildSettings {
        sort_memory,
        sizes: crate::pushes::Sizes::MOST,
        growth: GrowthLimits::default(),
        give_way: true,
        at_once: 1,
        program,
        checks: Checks::none(),
    };
    let pushes = Pushes::new(Arc::clone(&store), Arc::clone(&metrics), settings);
    let config = ServeConfig::defaults();
    let webhooks = Webhooks::new(Vec::new(), Arc::clone(&metrics));
    Arc::new(App::new(store, pushes, metrics, config, Stop::new(), webhooks))
}

fn name(text: &str) -> DatasetName {
    DatasetName::parse(text).unwrap()
}

/// Counts what was answered on the short way.
struct Counting {
    inner: PlainLookups,
    answered: Arc<AtomicU64>,
}

impl Shortcut for Counting {
    fn answer(
        &mut self,
        received: &[u8],
        draining: bool,
        since: Option<Instant>,
        answers: &mut Vec<u8>,
    ) -> Taken {
        let taken = self.inner.answer(received, draining, since, answers);
        if matches!(taken, Taken::Answered(_)) {
            self.answered.fetch_add(1, Ordering::Relaxed);
        }
        taken
    }

    fn fetch(&mut self, received: &[u8], draining: bool, answers: &mut Vec<u8>) -> Fetching {
        self.inner.fetch(received, draining, answers)
    }
}

struct Server {
    address: SocketAddr,
    stop: Stop,
    answered: Arc<AtomicU64>,
    thread: Option<JoinHandle<Ended>>,
}

impl Server {
    fn start(service: Service, metrics: &Arc<Metrics>, answered: Arc<AtomicU64>) -> Self {
        let limits = Limits {
            threads: 1,
            // Some random requests are never whole.
            header: Duration::from_secs(2),
            body: Duration::from_secs(2),
            ..Limits::from(&ServeConfig::defaults())
        };
        let listening = Listening::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let (address, stop) = (listening.address(), Stop::new());
        let (asked, metrics) = (stop.clone(), Arc::clone(metrics));
        let thread = std::thread::spawn(move || {
            serve(listening, &service, &limits, &metrics, &asked).unwrap()
        });
        Self { address, stop, answered, thread: Some(thread) }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Sends `pieces` on one connection, one after the other; all that comes back until the
    /// server closes, without what is different each time.
    fn talk<P: AsRef<[u8]>>(&self, pieces: impl IntoIterator<Item = P>) -> String {
        let mut stream = self.connect();
        for piece in pieces {
            // A server that has refused the bytes before may be gone.
            if stream.write_all(piece.as_ref()).is_err() {
                break;
            }
        }
        masked(&rest(&mut stream))
    }

    /// Requests answered on the short way so far.
    fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    fn ended(mut self) -> Ended {
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.now();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// All that comes until the server closes.
fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    if let Err(error) = stream.read_to_end(&mut all) {
        assert_ne!(error.kind(), std::io::ErrorKind::WouldBlock, "the server does not close");
    }
    all
}

/// Answers without their dates and request ids.
fn masked(answers: &[u8]) -> String {
    let text = String::from_utf8_lossy(answers);
    let mut masked = String::new();
    for line in text.split_inclusive("\r\n") {
        let name = line.split(": ").next().unwrap();
        if name == "date" || name == "x-request-id" {
            write!(masked, "{name}: …\r\n").unwrap();
            continue;
        }
        let mut parts = line.split("\"request_id\":\"");
        masked.push_str(parts.next().unwrap());
        for part in parts {
            let (_, rest) = part.split_once('"').unwrap();
            write!(masked, "\"request_id\":\"…\"{rest}").unwrap();
        }
    }
    masked
}

fn get(path: &str) -> String {
    format!("GET /v1/datasets/{path} HTTP/1.1\r\nHost: x\r\n\r\n")
}

fn tried(key: usize, header: &str) -> String {
    format!("GET /v1/datasets/tried/keys/k{key} HTTP/1.1\r\nHost: x\r\n{header}\r\n")
}

fn with(header: &str) -> String {
    format!("GET /v1/datasets/recs/keys/ada HTTP/1.1\r\nHost: x\r\n{header}\r\n\r\n")
}

/// Each request as it stands, and how many of them are plain.
fn table() -> (Vec<String>, u64) {
    let tag = ETag::of(b"{\"k\":\"ada\"}");
    let tag = std::str::from_utf8(tag.as_bytes()).unwrap();
    let of_both_arms = (0..5).flat_map(|key| {
        let units = (0..4).map(move |unit| tried(key, &format!("Tidetable-Unit: {unit}\r\n")));
        units.chain([tried(key, ""), tried(key, "If-None-Match: *\r\n")])
    });
    let mut plain = vec![
        get("recs/keys/ada"),
        get("recs/keys/a%2Fb"),
        get("recs/keys/%61%64%61"),
        get("recs/keys/%C3%BC"),
        get("recs/keys/%c3%bc"),
        get("recs/keys/large"),
        get("recs/keys/nobody"),
        get("recs/keys/."),
        get("recs/keys/a+b"),
        get("texts/keys/a"),
        get("texts/keys/nobody"),
        with(&format!("If-None-Match: {tag}")),
        with(&format!("if-none-match: \"x\", W/{tag}")),
        with("If-None-Match: *"),
        with("If-None-Match: \"other\""),
        with("User-Agent: test\r\nAccept: */*\r\nAccept-Encoding: gzip\r\nX-Forwarded-For: ::1"),
        with("connection: Keep-Alive"),
        with("Cookie: a=b; c=d\r\ntraceparent: 00-1-2-01\r\nX-Empty:"),
        with("X-Spaces:\t  a value  with spaces\t "),
        with("Tidetable-Unit: 7"),
        with("tidetable-unit:  seven and a half\t "),
        "GET /v1/datasets/recs/keys/ada HTTP/1.1\r\nHost:\r\n\r\n".to_owned(),
        "GET /v1/datasets/recs/keys/ada HTTP/1.1\r\nhost: [::1]:7070\r\n\r\n".to_owned(),
    ];
    plain.extend(of_both_arms);
    let other = [
        with("X-Request-Id: job-7"),
        with("Content-Length: 0"),
        with("Content-Length: 5") + "hello",
        with("Transfer-Encoding: chunked") + "0\r\n\r\n",
        with(&format!("If-None-Match: \"x\"\r\nIf-None-Match: {tag}")),
        with("Expect: 100-continue"),
        with("TE: trailers"),
        with("Range: bytes=0-1"),
        with("If-Match: \"x\""),
        with("If-Match: *"),
        with(&format!("If-Match: {tag}\r\nIf-None-Match: {tag}")),
        with(&format!("If-None-Match: {tag}\r\nIf-Match: \"x\"")),
        tried(1, "Tidetable-Unit: 1\r\nIf-Match: \"x\"\r\n"),
        with("Tidetable-Unit:"),
        with("Tidetable-Unit: 7\r\nTidetable-Unit: 7"),
        with(&format!("Tidetable-Unit: {}", "u".repeat(1025))),
        with("Tidetable-Arm: canary"),
        with("Tidetable-Arm: both"),
        tried(1, "Tidetable-Arm: canary\r\n"),
        tried(1, "Tidetable-Arm: current\r\nTidetable-Unit: 1\r\n"),
        get("tried/keys/k0?version=1"),
        with("Host: y"),
        "GET /v1/datasets/recs/keys/ada HTTP/1.1\r\nHost: x y\r\n\r\n".to_owned(),
        "GET /v1/datasets/recs/keys/ada HTTP/1.1\r\nHost: [::1\r\n\r\n".to_owned(),
        with("X: caf\u{e9}"),
        with("Connection: keep-alive, te"),
        "GET /v1/datasets/recs/keys/ada HTTP/1.1\r\n\r\n".to_owned(),
        "GET /v1/datasets/recs/keys/ada HTTP/1.1\nHost: x\n\n".to_owned(),
        "GET /v1/datasets/recs/keys/ada HTTP/1.1\r\nHost: x\nX: y\r\n\r\n".to_owned(),
        "\r\nGET /v1/datasets/recs/keys/ada HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
        "GET http://x/v1/datasets/recs/keys/ada HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
        "HEAD /v1/datasets/recs/keys/ada HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
        get("recs/keys/least"),
        get("recs/keys/long"),
        get("recs/keys/ada?version=1"),
        get("recs/keys/ada?"),
        get("recs/keys/ada?nonsense=1"),
        get("recs/keys/"),
        get("recs/keys/ada/"),
        get("recs/keys/a/b"),
        get("recs/keys/%"),
        get("recs/keys/%ff"),
        get("recs/keys/a\"b"),
        get("recs/keys/ada#"),
        get("recs/keys/ada#x?version=1"),
        get("recs#x/keys/ada"),
        get("r%65cs/keys/ada"),
        get("RECS/keys/ada"),
        get("nobody/keys/ada"),
        get("empty/keys/ada"),
        get("texts/keys/nothing"),
        get("/keys/ada"),
        get("recs/scan"),
        get("recs"),
        "POST /v1/datasets/recs/batch-get HTTP/1.1\r\nHost: x\r\ncontent-type: application/json\r\ncontent-length: 14\r\n\r\n{\"keys\":[\"a\"]}".to_owned(),
    ];
    let count = plain.len() as u64;
    (plain.into_iter().chain(other).collect(), count)
}

#[test]
fn both_ways_send_the_same_bytes() {
    let stored = Stored::new();
    let (short, long) = (stored.short(), stored.long());
    let (requests, plain) = table();
    for request in &requests {
        let (by_short, by_long) = (short.talk([request, LAST]), long.talk([request, LAST]));
        assert!(by_long.starts_with("HTTP/1.1 "), "{request:?} is answered: {by_long:?}");
        assert_eq!(by_short, by_long, "{request:?}");
    }
    assert_eq!(short.answered(), plain, "so many were answered on the short way");
    // The same with all that leave the connection open on one.
    let on_one: Vec<&str> = requests
        .iter()
        .map(String::as_str)
        .filter(|r| !long.talk([r, LAST]).contains("close"))
        .collect();
    let all = on_one.iter().copied().chain([LAST]);
    assert_eq!(short.talk(all.clone()), long.talk(all));
}

/// A token of the server's store, as it is sent.
fn token(stored: &Stored, grants: &str) -> String {
    let (id, text, hash) = TokenText::generate().unwrap();
    let (name, grants) = ("ada".to_owned(), grants.to_owned());
    let new = NewToken { id, name, hash, grants, expires_at: None };
    stored.app.store.create_token(&new, Cause::default()).unwrap();
    stored.app.access.learn(&stored.app.store);
    format!("Authorization: Bearer {}", text.reveal())
}

#[test]
fn both_ways_let_in_the_same() {
    let stored = Stored::new();
    let (short, long) = (stored.short(), stored.long());
    // Before there is a token, whatever is sent for one means nothing.
    let nonsense = "Authorization: Basic x";
    assert_eq!(short.talk([&with(nonsense), LAST]), long.talk([&with(nonsense), LAST]));
    assert_eq!(short.answered(), 1, "the last of each closes, and goes the long way");
    let reader = token(&stored, r#"{"roles":["reader"],"datasets":["recs","tr*"]}"#);
    let elsewhere = token(&stored, r#"{"roles":["reader"],"datasets":["texts"]}"#);
    let pusher = token(&stored, r#"{"roles":["pusher"],"datasets":["*"]}"#);
    let lookups =
        ["recs/keys/ada", "recs/keys/nobody", "tried/keys/k1", "texts/keys/a", "none/keys/a"];
    let mut let_in = 0;
    for shown in [&reader, &elsewhere, &pusher, nonsense, "X: y", "Authorization:"] {
        for lookup in lookups {
            let head = format!("GET /v1/datasets/{lookup} HTTP/1.1\r\nHost: x\r\n{shown}\r\n");
            let last = format!("{head}Connection: close\r\n\r\n");
            let whole = format!("{head}\r\n{head}\r\n{last}");
            let (by_short, by_long) = (short.talk([&whole]), long.talk([&whole]));
            assert_eq!(by_short, by_long, "{lookup} with {shown}");
            let statuses = by_long.matches("HTTP/1.1 ").count();
            assert_eq!(statuses, 3, "{by_long}");
            let refused = by_long.matches("HTTP/1.1 40").count();
            let is_in = refused == 0 || by_long.contains("key_not_found");
            let_in += u64::from(is_in && !by_long.contains("dataset_not_found"));
        }
    }
    assert_eq!(let_in, 4, "three lookups of the reader, and one elsewhere");
    assert_eq!(short.answered(), 1 + 2 * let_in);
    let twice = with(&format!("{reader}\r\n{reader}"));
    let last = format!("{}Connection: close\r\n\r\n", &twice[..twice.len() - 2]);
    assert_eq!(short.talk([&last]), long.talk([&last]));
    assert!(long.talk([&last]).contains("unauthenticated"));
}

#[test]
fn both_ways_refuse_the_same_heads() {
    let stored = Stored::new();
    let (short, long) = (stored.short(), stored.long());
    for request in [
        "get /v1/datasets/recs/keys/ada HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
        "GET  /v1/datasets/recs/keys/ada HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
        "GET /v1/datasets/recs/keys/ada HTTP/1.0\r\nHost: x\r\n\r\n".to_owned(),
        "GET /v1/datasets/recs/keys/ada HTTP/1.2\r\nHost: x\r\n\r\n".to_owned(),
        "GET /v1/datasets/recs/keys/ada\r\n\r\n".to_owned(),
        "GET /v1/datasets/recs/keys/\u{fc} HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
        with("X : y"),
        with("X: y\r\n folded"),
        with("Content-Length: 1\r\nContent-Length: 2"),
        with("Transfer-Encoding: gzip"),
        with(&format!("X: {}", "y".repeat(7_000))),
        with(&format!("X: {}", "y".repeat(9_000))),
        with(&format!("X: {}", "y".repeat(100_000))),
        with(&"X: y\r\n".repeat(40)),
        with(&"X: y\r\n".repeat(120)),
        get(&format!("recs/keys/{}", "k".repeat(70_000))),
        get(&format!("recs/keys/{}", "k".repeat(9_000))),
    ] {
        let shown = &request[..request.len().min(80)];
        assert_eq!(short.talk([&request, LAST]), long.talk([&request, LAST]), "{shown:?}");
    }
}

#[test]
fn heads_come_in_any_pieces() {
    let stored = Stored::new();
    let (short, long) = (stored.short(), stored.long());
    let whole = get("recs/keys/ada") + &get("recs/keys/nobody") + &with("Accept: */*");
    let text = whole.clone() + LAST;
    let bytes: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
    let wanted = long.talk([&text]);
    assert_eq!(short.talk(bytes), wanted);
    assert_eq!(short.answered(), 3);
    for at in 1..whole.len() {
        assert_eq!(short.talk([&text[..at], &text[at..]]), wanted, "cut at {at}");
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let stored = Stored::new();
    let (short, long) = (stored.short(), stored.long());
    let keys = ["ada", "nobody", "a%2Fb", "large", "%C3%BC"];
    let requests: String =
        keys.iter().cycle().take(150).map(|k| get(&format!("recs/keys/{k}"))).collect();
    let text = requests + LAST;
    assert_eq!(short.talk([&text]), long.talk([&text]));
    assert_eq!(short.answered(), 150);
}

#[test]
fn a_connection_may_turn_to_other_requests() {
    let stored = Stored::new();
    let (short, long) = (stored.short(), stored.long());
    let post = "POST /v1/datasets/recs/batch-get HTTP/1.1\r\nHost: x\r\ncontent-length: 16\r\n\r\n{\"keys\":[\"ada\"]}";
    let turns = get("recs/keys/ada") + post + &get("recs/keys/ada");
    // Within the head of the second request, too.
    let odd = with("Accept: */*") + &with("X-Request-Id: 7") + &with("Accept: */*");
    for text in [turns + LAST, odd + LAST] {
        let wanted = long.talk([&text]);
        for at in [text.len(), 1, 80, 100, 120, 150, 200, text.len() - 1] {
            let before = short.answered();
            assert_eq!(short.talk([&text[..at], &text[at..]]), wanted, "cut at {at}");
            assert_eq!(short.answered() - before, 1, "the rest of the connection is the router's");
        }
    }
}

#[test]
fn what_came_before_the_client_stopped_sending_is_answered() {
    let stored = Stored::new();
    let short = stored.short();
    let mut stream = short.connect();
    let requests = get("recs/keys/ada").repeat(40) + "GET /v1/datasets/recs/ke";
    stream.write_all(requests.as_bytes()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let answers = String::from_utf8(rest(&mut stream)).unwrap();
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 40, "{answers}");
    assert!(answers.ends_with("{\"k\":\"ada\"}"), "half a request has no answer: {answers}");
}

#[test]
fn the_next_read_on_a_connection_sees_the_swap() {
    let stored = Stored::new();
    let short = stored.short();
    let mut stream = short.connect();
    let mut ask = |request: &str| {
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = vec![0; 4096];
        let mut length = 0;
        while !answer[..length].ends_with(b"}") {
            length += stream.read(&mut answer[length..]).unwrap();
        }
        String::from_utf8_lossy(&answer[..length]).into_owned()
    };
    let before = ask(&get("recs/keys/ada"));
    assert!(
        before.contains("tidetable-version: 2\r\ntidetable-as-of: 2026-11-20T00:00:00"),
        "{before}"
    );
    assert!(ask(&get("recs/keys/new")).contains("tidetable-version: 2\r\n"));
    stored.push("recs", None, &[("ada", "{\"new\":true}")]);
    let after = ask(&get("recs/keys/ada"));
    assert!(after.contains("tidetable-version: 3\r\ndate: "), "{after}");
    assert!(after.ends_with("{\"new\":true}"), "{after}");
    assert!(ask(&get("recs/keys/new")).contains("tidetable-version: 3\r\n"));
    assert_eq!(short.answered(), 4);
}

#[test]
fn both_ways_count_the_same() {
    let requests = table().0;
    let counted = |long: bool| {
        let stored = Stored::new();
        let server = if long { stored.long() } else { stored.short() };
        for request in &requests {
            server.talk([request, LAST]);
        }
        let page = stored.app.metrics.render();
        let lines = page.lines().filter(|line| {
            let wanted = [
                "tidetable_requests_total",
                "tidetable_lookups_total",
                "tidetable_lookup_seconds_count",
            ];
            wanted.iter().any(|name| line.starts_with(name))
        });
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let by_long = counted(true);
    assert!(by_long.len() > 8, "{by_long:?}");
    assert_eq!(counted(false), by_long);
}

#[test]
fn counters_of_a_dataset_that_was_made_anew_are_its_own() {
    let stored = Stored::new();
    let short = stored.short();
    short.talk([&get("recs/keys/ada"), LAST]);
    stored.app.metrics.forget(&name("recs"));
    short.talk([&get("recs/keys/ada"), LAST]);
    let page = stored.app.metrics.render();
    let line = "tidetable_lookups_total{dataset=\"recs\",arm=\"current\",result=\"hit\"} 2";
    assert!(page.lines().any(|found| found == line), "{page}");
}

#[test]
fn what_was_sent_before_the_drain_is_answered_whole() {
    let stored = Stored::new();
    // Whether a request is under way at the moment of a drain is chance.
    assert!((0..100).any(|_| drained(&stored) > 0), "nobody was told that the connection ends");
}

/// Drains a server while clients ask; to how many of them an answer said so.
fn drained(stored: &Stored) -> usize {
    let server = stored.short();
    let (stop, began) = (server.stop.clone(), AtomicU64::new(0));
    let over = AtomicBool::new(false);
    let client = || {
        let (mut stream, request) = (server.connect(), get("recs/keys/ada"));
        let mut answers = 0;
        loop {
            if stream.write_all(request.as_bytes()).is_err() {
                return (answers, false);
            }
            let mut answer = Vec::new();
            let mut piece = [0; 1024];
            while !answer.ends_with(b"}") {
                match stream.read(&mut piece) {
                    Ok(0) | Err(_) => {
                        assert!(answer.is_empty(), "half an answer");
                        return (answers, false);
                    }
                    Ok(count) => answer.extend_from_slice(&piece[..count]),
                }
            }
            answers += 1;
            began.fetch_add(1, Ordering::Relaxed);
            if answer.windows(17).any(|part| part == b"connection: close") {
                assert!(rest(&mut stream).is_empty());
                return (answers, true);
            }
            assert!(!over.load(Ordering::Relaxed) || answers < 1_000_000, "it does not end");
        }
    };
    let told = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..8).map(|_| scope.spawn(client)).collect();
        while began.load(Ordering::Relaxed) < 2_000 {
            std::thread::yield_now();
        }
        stop.drain();
        over.store(true, Ordering::Relaxed);
        let ends: Vec<(u64, bool)> = clients.into_iter().map(|c| c.join().unwrap()).collect();
        ends.iter().filter(|(_, told)| *told).count()
    });
    assert_eq!(server.answered(), began.load(Ordering::Relaxed), "no answer was lost");
    assert_eq!(server.ended(), Ended::Drained);
    told
}

const LINES: [&str; 5] = [
    "GET /v1/datasets/recs/keys/ada HTTP/1.1",
    "GET /v1/datasets/recs/keys/nobody HTTP/1.1",
    "GET /v1/datasets/recs/keys/a%2Fb HTTP/1.1",
    "GET /v1/datasets/texts/keys/a HTTP/1.1",
    "GET /v1/datasets/tried/keys/k1 HTTP/1.1",
];
const ODD_LINES: [&str; 14] = [
    "GET /v1/datasets/recs/keys/%zz HTTP/1.1",
    "GET /v1/datasets/recs/keys/a/b HTTP/1.1",
    "GET /v1/datasets/recs/keys/ada?fields=k HTTP/1.1",
    "GET /v1/datasets/keys/keys/ada HTTP/1.1",
    "GET /v1/datasets/recs/keys/ada HTTP/1.0",
    "GET /v1/datasets/recs/keys/ada HTTP/2.0",
    "GET /v1/datasets/recs/keys/ada",
    "GET  /v1/datasets/recs/keys/ada HTTP/1.1",
    "get /v1/datasets/recs/keys/ada HTTP/1.1",
    "HEAD /v1/datasets/recs/keys/ada HTTP/1.1",
    "POST /v1/datasets/recs/keys/ada HTTP/1.1",
    "GET http://x/v1/datasets/recs/keys/ada HTTP/1.1",
    "GET /v1/datasets/recs/keys/ada#x HTTP/1.1",
    "",
];
const HEADERS: [&str; 10] = [
    "Accept: */*",
    "User-Agent: a (b; c)",
    "X: y",
    "X:",
    "If-None-Match: *",
    "If-None-Match: \"x\"",
    "Connection: keep-alive",
    "Sec-Fetch-Site: cross-site",
    "Accept-Language: \tde ",
    "Tidetable-Unit: 7",
];
const ODD_HEADERS: [&str; 20] = [
    "Host: x",
    "HOST:y ",
    "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT",
    "Connection: close",
    "Connection: keep-alive, close",
    "Content-Length: 0",
    "Content-Length: 3",
    "Content-Length: x",
    "Content-Length : 3",
    " Content-Length: 3",
    "Transfer-Encoding: chunked",
    "Transfer-Encoding:\tchunked",
    "Transfer-Encoding: identity",
    "Expect: 100-continue",
    "Upgrade: h2c",
    "TE: trailers",
    "X-Request-Id: r-1",
    "X-Request-Id: two words",
    "no header",
    ": no name",
];

/// Mostly one of `right`.
fn mostly(right: &'static [&str], odd: &'static [&str]) -> impl Strategy<Value = &'static str> {
    prop_oneof![12 => prop::sample::select(right), 1 => prop::sample::select(odd)]
}

fn head() -> impl Strategy<Value = Vec<u8>> {
    let end = || mostly(&["\r\n"], &["\n", "\r", "\r\n\t", "\r\r\n"]);
    let headers = prop::collection::vec((mostly(&HEADERS, &ODD_HEADERS), end()), 0..3);
    (mostly(&LINES, &ODD_LINES), end(), mostly(&["Host: x\r\n"], &[""]), headers).prop_map(
        |(line, end, host, headers)| {
            let headers: String =
                headers.iter().map(|(line, end)| format!("{line}{end}")).collect();
            format!("{line}{end}{host}{headers}\r\n").into_bytes()
        },
    )
}

/// Heads, sometimes with a byte changed, taken out or put in; and where to cut them.
fn conversation() -> impl Strategy<Value = (Vec<u8>, usize)> {
    let place = any::<prop::sample::Index>;
    let changes = prop_oneof![
        3 => Just(Vec::new()),
        1 => prop::collection::vec((place(), 0..3_u8, any::<u8>()), 1..3)
    ];
    let all = (prop::collection::vec(head(), 1..5), changes, place());
    all.prop_map(|(heads, changes, cut)| {
        let mut bytes = heads.concat();
        for (place, kind, byte) in changes {
            let at = place.index(bytes.len());
            match kind {
                0 => bytes[at] = byte,
                1 => drop(bytes.remove(at)),
                _ => bytes.insert(at, byte),
            }
        }
        // Whatever head is still open ends here.
        bytes.extend_from_slice(b"\r\n\r\n");
        bytes.extend_from_slice(LAST.as_bytes());
        let cut = cut.index(bytes.len());
        (bytes, cut)
    })
}

#[test]
fn nothing_is_answered_behind_a_request_with_two_lengths() {
    let stored = Stored::new();
    let first = get("recs/keys/ada");
    let two = "GET /v1/datasets/recs/keys/ada HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\
               Transfer-Encoding: chunked\r\n\r\n\r\n\r\n";
    for server in [stored.short(), stored.long()] {
        for sent in [format!("{two}{LAST}"), format!("{first}{two}{LAST}")] {
            let answers = server.talk([sent.as_bytes()]);
            let before = usize::from(sent.starts_with(&first));
            assert_eq!(answers.matches("HTTP/1.1 ").count(), before + 1, "{answers}");
            assert_eq!(answers.matches("HTTP/1.1 400 ").count(), 1, "{answers}");
            assert!(answers.contains("connection: close\r\n"), "{answers}");
        }
    }
}

#[test]
fn a_key_that_a_number_sign_would_cut_off_gives_no_other_key_s_value() {
    let stored = Stored::new();
    let first = get("recs/keys/ada");
    for server in [stored.short(), stored.long()] {
        for path in ["recs/keys/ada#", "recs/keys/ada#x", "recs/keys/ada?#x"] {
            for before in [0, 1, 3] {
                let answers = server.talk([first.repeat(before) + &get(path) + LAST]);
                assert_eq!(answers.matches("{\"k\":\"ada\"}").count(), before, "{answers}");
                assert_eq!(answers.matches("HTTP/1.1 400 ").count(), 1, "{answers}");
                assert!(answers.contains("malformed_request"), "{answers}");
            }
        }
        let answers = server.talk([get("recs/keys/ada%23") + LAST]);
        assert!(answers.starts_with("HTTP/1.1 404 "), "{answers}");
    }
}

#[test]
fn both_ways_understand_any_bytes_alike() {
    let stored = Stored::new();
    let (short, long) = (stored.short(), stored.long());
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 1500,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let outcome = runner.run(&conversation(), |(bytes, cut)| {
        // Whether hyper goes on after a body that nobody reads depends on when it comes.
        let text = String::from_utf8_lossy(&bytes).to_ascii_lowercase();
        let whole = text.contains("length") || text.contains("transfer");
        let cut = if whole { bytes.len() } else { cut };
        let pieces = [&bytes[..cut], &bytes[cut..]];
        let sent = pieces.map(String::from_utf8_lossy);
        let (by_short, by_long) = (short.talk(pieces), long.talk(pieces));
        prop_assert_eq!(by_short, by_long, "sent were {:?}", sent);
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
    assert!(short.answered() > 1000, "only {} were plain", short.answered());
}

#[test]
fn a_lookup_too_many_that_waits_for_the_disk_is_refused_as_the_router_would() {
    let stored = Stored::new();
    let mut lookups = PlainLookups::new(&stored.app);
    let most = stored.app.config.max_cold_reads.0;
    let all: Vec<_> = (0..most).map(|_| stored.app.limiter.cold().unwrap()).collect();
    let request = b"GET /v1/datasets/recs/keys/ada HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut answers = Vec::new();
    let fetching = lookups.fetch(&[request, &request[..]].concat(), true, &mut answers);
    assert!(matches!(fetching, Fetching::Refused(length) if length == request.len()));
    let answer = String::from_utf8(answers).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{head}");
    for line in ["retry-after: 1", "content-type: application/problem+json", "x-request-id: "] {
        assert!(head.contains(&format!("\r\n{line}")), "{line}: {head}");
    }
    assert!(head.contains(&format!("\r\ncontent-length: {}\r\n", body.len())), "{head}");
    assert!(!head.contains("connection: close"), "something follows: {head}");
    assert!(body.contains("\"code\":\"overloaded\""), "{body}");
    drop(all);
    assert!(matches!(lookups.fetch(request, false, &mut Vec::new()), Fetching::Begun(_)));
}

#[test]
fn a_lookup_that_waited_for_the_disk_is_counted_with_its_wait() {
    let stored = Stored::new();
    let mut lookups = PlainLookups::new(&stored.app);
    let request = b"GET /v1/datasets/recs/keys/ada HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut answers = Vec::new();
    let Fetching::Begun(fetch) = lookups.fetch(request, false, &mut answers) else {
        panic!("it is a lookup, and not one too many")
    };
    fetch.wait();
    let since = Instant::now().checked_sub(Duration::from_secs(3));
    assert!(since.is_some(), "this machine has just been started");
    let taken = lookups.answer(request, false, since, &mut answers);
    assert_eq!(taken, Taken::Answered(request.len()));
    assert!(answers.starts_with(b"HTTP/1.1 200 OK\r\n"));
    let page = stored.app.metrics.render();
    for (bound, count) in [("1.0", 0), ("+Inf", 1)] {
        let line = format!(
            "tidetable_lookup_seconds_bucket{{le=\"{bound}\",dataset=\"recs\",arm=\"current\"}} {count}"
        );
        assert!(page.lines().any(|found| found == line), "{line}\nis not in\n{page}");
    }
}
