//! The plainest lookup, answered without the router: `GET` of one key of a dataset's
//! current version, or of its canary, by a client that asks for nothing else.
//!
//! It is a shorter way to the same answers, not an API of its own: what is parsed, looked up,
//! counted and sent is decided where it is for all lookups (`keys.rs`, `read.rs`, `etag.rs`,
//! `error.rs`), and the bytes are the same, as a test shows. Whatever is not certain here is left
//! alone, uncounted, and the router sees the request as it came: other routes, other methods,
//! parameters, errors, erased keys, versions that are not open, values of no bytes and long ones.
//!
//! What a lookup needs besides its value is made once for what a dataset serves ([`Ready`]),
//! and kept by each worker for itself.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime};

use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use tidetable_storage::{Datasets, Key, Served, Version, View};

use super::arm::{Choice, Reader};
use super::etag::ETag;
use super::read::{content_type, key_not_found, stamp};
use super::{KEY, edge};
use crate::keys::KeyEncoding;
use crate::limiter::{LONG, Permit};
use crate::metrics::{Arm, ArmMetrics, Metrics, RouteMetrics};
use crate::problem::Problem;
use crate::server::{Fetch, Fetching, Shortcut, Taken};
use crate::state::AppState;
use crate::telemetry::{FRESH_BYTES, REQUEST_ID, RequestId};

#[cfg(any(test, feature = "fuzzing"))]
pub(super) mod fuzzing;
mod request;

use request::{Bounds, Lookup, Parsed};

/// Answers the plainest lookups. One for each worker.
pub(crate) struct PlainLookups {
    app: AppState,
    bounds: Bounds,
    route: Arc<RouteMetrics>,
    /// By the address of the [`Served`] they were made from, which [`Ready::of`] keeps from
    /// being used for another one; those of its canary by the address after, where nothing is.
    ready: HashMap<usize, Ready>,
    forgotten: u64,
    date: Date,
    /// The value that was looked up last.
    value: Vec<u8>,
}

impl PlainLookups {
    pub(crate) fn new(app: &AppState) -> Self {
        Self {
            bounds: Bounds::of(&app.config),
            route: app.metrics.route(KEY),
            ready: HashMap::new(),
            forgotten: app.metrics.forgotten(),
            date: Date::new(),
            value: Vec::new(),
            app: Arc::clone(app),
        }
    }

    /// `None`: not to be answered here.
    fn look_up(
        &mut self,
        lookup: &Lookup<'_>,
        last: bool,
        since: Option<Instant>,
        answers: &mut Vec<u8>,
    ) -> Option<Taken> {
        let key = decoded(lookup)?;
        let live = self.app.store.live().glance();
        let served = live.get(lookup.dataset)?;
        if !self.app.access.may_look_up(lookup.authorization, &served.name) {
            return None;
        }
        let choice = Reader::for_unit(lookup.unit).chooses(served, None, Some(&key));
        let snapshot = open(served, &choice)?;
        let key = Key::new(&key).ok()?;
        // What waits for the disk is not to hold up others.
        if !snapshot.in_memory(key) {
            return Some(Taken::Cold);
        }
        // With the wait for the disk, if there was one.
        let began = since.unwrap_or_else(Instant::now);
        let found = snapshot.get_into(key, &mut self.value).ok()?;
        let ended = Instant::now();
        let took = ended.duration_since(began);
        // A long one is counted until its client has taken it, which the router does.
        if found && !(1..LONG).contains(&self.value.len()) {
            return None;
        }
        // What is said of that depends on who asks.
        if !found && snapshot.is_erased(key.as_bytes()) {
            return None;
        }
        let end = End { date: self.date.at(ended), last };
        let metrics = &self.app.metrics;
        let (all, forgotten, version) = (&mut self.ready, &mut self.forgotten, snapshot.version());
        let ready = ready_for(all, forgotten, &live, served, &choice, version, metrics);
        let status = if found {
            ready.found(&self.value, lookup.known, &end, answers)
        } else {
            ready.absent(served, &choice, &end, answers)
        };
        ready.counted.looked_up(found, took);
        ready.counted.keys.note(ready.version, key.as_bytes());
        self.route.count(status);
        Some(Taken::Answered(lookup.length))
    }
}

impl Shortcut for PlainLookups {
    fn answer(
        &mut self,
        received: &[u8],
        draining: bool,
        since: Option<Instant>,
        answers: &mut Vec<u8>,
    ) -> Taken {
        match request::parse(received, self.bounds) {
            Parsed::Partial => Taken::Partial,
            Parsed::Other => Taken::NotPlain,
            Parsed::Lookup(lookup) => {
                let last = draining && lookup.length == received.len();
                self.look_up(&lookup, last, since, answers).unwrap_or(Taken::NotPlain)
            }
        }
    }

    fn fetch(&mut self, received: &[u8], draining: bool, answers: &mut Vec<u8>) -> Fetching {
        let Parsed::Lookup(lookup) = request::parse(received, self.bounds) else {
            return Fetching::NotPlain;
        };
        let permit = match self.app.limiter.cold() {
            Ok(permit) => permit,
            Err(refused) => {
                let last = draining && lookup.length == received.len();
                self.refuse(&refused, last, answers);
                return Fetching::Refused(lookup.length);
            }
        };
        match self.cold_lookup(&lookup, permit) {
            Some(cold) => Fetching::Begun(Box::new(cold)),
            None => Fetching::NotPlain,
        }
    }
}

/// A lookup whose record is not in memory.
struct ColdLookup {
    key: Vec<u8>,
    served: Arc<Served>,
    choice: Choice,
    _permit: Permit,
}

impl Fetch for ColdLookup {
    fn ask(&self) {
        if let (Some(snapshot), Ok(key)) = (open(&self.served, &self.choice), Key::new(&self.key)) {
            snapshot.ask_for(key);
        }
    }

    fn wait(self: Box<Self>) {
        if let (Some(snapshot), Ok(key)) = (open(&self.served, &self.choice), Key::new(&self.key)) {
            // What is wrong with it is found again by the answer; the reader is noted there, too.
            let _ = snapshot.get_unnoticed(key, &mut Vec::new());
        }
    }
}

impl PlainLookups {
    fn cold_lookup(&self, lookup: &Lookup<'_>, permit: Permit) -> Option<ColdLookup> {
        let key = decoded(lookup)?.into_owned();
        let served = Arc::clone(self.app.store.live().glance().get(lookup.dataset)?);
        let choice = Reader::for_unit(lookup.unit).chooses(&served, None, Some(&key));
        Some(ColdLookup { key, served, choice, _permit: permit })
    }

    /// Adds the answer of a lookup that is one too many of those that wait for the disk.
    fn refuse(&mut self, refused: &Problem, last: bool, answers: &mut Vec<u8>) {
        let id = RequestId::fresh();
        let (head, body) = head_and_body(refused, &id);
        answers.extend_from_slice(&head);
        End { date: self.date.at(Instant::now()), last }.write(answers);
        answers.extend_from_slice(&body);
        self.route.count(refused.status());
    }
}

/// The key that a lookup names; `None` if it is none.
fn decoded<'a>(lookup: &Lookup<'a>) -> Option<Cow<'a, [u8]>> {
    if lookup.key.contains('%') {
        return KeyEncoding::Utf8.decode_segment(lookup.key).ok();
    }
    Some(Cow::Borrowed(lookup.key.as_bytes()))
}

/// The snapshot of an arm, if it is open and its files fit.
fn open<'a>(served: &'a Served, choice: &Choice) -> Option<View<'a>> {
    match choice.arm {
        Arm::Canary => served.canary_if_open(),
        _ => served.current_if_open(),
    }
}

/// Whether lookups may be answered here at all: not if the log is to have a line of each.
pub(crate) fn is_allowed() -> bool {
    !edge::logs_reads()
}

fn ready_for<'a>(
    all: &'a mut HashMap<usize, Ready>,
    forgotten: &mut u64,
    live: &Datasets,
    served: &Arc<Served>,
    choice: &Choice,
    version: Version,
    metrics: &Metrics,
) -> &'a mut Ready {
    if *forgotten != metrics.forgotten() {
        *forgotten = metrics.forgotten();
        all.clear();
    }
    // Those of swaps before; the next sweep of a dataset that was given up comes with a swap.
    if all.len() > 2 * live.len() {
        all.retain(|_, ready| ready.of.strong_count() > 0);
    }
    let address = Arc::as_ptr(served).addr() + usize::from(choice.arm == Arm::Canary);
    all.entry(address).or_insert_with(|| Ready::new(served, choice, version, metrics))
}

/// What all answers of a served version have in common.
struct Ready {
    /// Weak, so that it does not keep the files of a version that is no longer served.
    of: Weak<Served>,
    version: Version,
    counted: Arc<ArmMetrics>,
    /// The lines of a 200 between its length and its tag, and those after the tag.
    kind: Vec<u8>,
    stamp: Vec<u8>,
    /// The 404 of a key that is not there; made when there is the first.
    absent: Option<Absent>,
}

impl Ready {
    fn new(served: &Arc<Served>, choice: &Choice, version: Version, metrics: &Metrics) -> Self {
        let (mut kind, mut stamps) = (HeaderMap::new(), HeaderMap::new());
        kind.insert(CONTENT_TYPE, content_type(served));
        stamp(&mut stamps, served, version);
        choice.stamp(&mut stamps);
        Self {
            of: Arc::downgrade(served),
            version,
            counted: Arc::clone(metrics.dataset(&served.name).arm(choice.arm)),
            kind: lines(&kind),
            stamp: lines(&stamps),
            absent: None,
        }
    }

    fn found(
        &self,
        value: &[u8],
        known: Option<&[u8]>,
        end: &End<'_>,
        answers: &mut Vec<u8>,
    ) -> StatusCode {
        let tag = ETag::of(value);
        if known.is_some_and(|list| tag.is_in(list)) {
            answers.extend_from_slice(b"HTTP/1.1 304 Not Modified\r\netag: ");
            answers.extend_from_slice(tag.as_bytes());
            answers.extend_from_slice(b"\r\n");
            answers.extend_from_slice(&self.stamp);
            end.write(answers);
            return StatusCode::NOT_MODIFIED;
        }
        answers.extend_from_slice(b"HTTP/1.1 200 OK\r\ncontent-length: ");
        answers.extend_from_slice(itoa::Buffer::new().format(value.len()).as_bytes());
        answers.extend_from_slice(b"\r\n");
        answers.extend_from_slice(&self.kind);
        answers.extend_from_slice(b"etag: ");
        answers.extend_from_slice(tag.as_bytes());
        answers.extend_from_slice(b"\r\n");
        answers.extend_from_slice(&self.stamp);
        end.write(answers);
        answers.extend_from_slice(value);
        StatusCode::OK
    }

    fn absent(
        &mut self,
        served: &Served,
        choice: &Choice,
        end: &End<'_>,
        answers: &mut Vec<u8>,
    ) -> StatusCode {
        let absent = self.absent.get_or_insert_with(|| Absent::new(served, self.version, choice));
        absent.write(end, answers);
        StatusCode::NOT_FOUND
    }
}

/// An answer that differs from one time to the next only in the request's id.
struct Absent {
    head: Vec<u8>,
    body: Vec<u8>,
    /// Where the id stands in each.
    id_in_head: usize,
    id_in_body: usize,
}

impl Absent {
    /// Made by what makes all problems, with an id that is then looked for in it.
    fn new(served: &Served, version: Version, choice: &Choice) -> Self {
        let id = RequestId::fresh();
        let (head, body) = head_and_body(&key_not_found(served, version, choice), &id);
        let place = |text: &[u8]| {
            let at = text.windows(FRESH_BYTES).position(|part| part == id.as_str().as_bytes());
            at.expect("a problem says the request's id")
        };
        Self { id_in_head: place(&head), id_in_body: place(&body), head, body }
    }

    fn write(&mut self, end: &End<'_>, answers: &mut Vec<u8>) {
        let id = RequestId::fresh_text();
        self.head[self.id_in_head..][..FRESH_BYTES].copy_from_slice(&id);
        self.body[self.id_in_body..][..FRESH_BYTES].copy_from_slice(&id);
        answers.extend_from_slice(&self.head);
        end.write(answers);
        answers.extend_from_slice(&self.body);
    }
}

/// A problem as it is sent: all of its head but what every head ends with, and its body.
fn head_and_body(problem: &Problem, id: &RequestId) -> (Vec<u8>, Vec<u8>) {
    let body = problem.text(id.as_str()).into_bytes();
    let mut response = problem.render(id.as_str());
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, HeaderValue::from_str(id.as_str()).expect("a UUID is ASCII"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    let mut head = format!("HTTP/1.1 {}\r\n", problem.status()).into_bytes();
    head.extend_from_slice(&lines(headers));
    (head, body)
}

/// What every head ends with.
struct End<'a> {
    date: &'a [u8],
    /// The connection is closed after this answer.
    last: bool,
}

impl End<'_> {
    fn write(&self, answers: &mut Vec<u8>) {
        if self.last {
            answers.extend_from_slice(b"connection: close\r\n");
        }
        answers.extend_from_slice(b"date: ");
        answers.extend_from_slice(self.date);
        answers.extend_from_slice(b"\r\n\r\n");
    }
}

fn lines(headers: &HeaderMap) -> Vec<u8> {
    let mut lines = Vec::new();
    for (name, value) in headers {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            lines.extend_from_slice(part);
        }
    }
    lines
}

/// The time of day as answers say it, written once a second.
struct Date {
    text: String,
    until: Instant,
}

impl Date {
    fn new() -> Self {
        Self { text: String::new(), until: Instant::now() }
    }

    fn at(&mut self, now: Instant) -> &[u8] {
        if now >= self.until {
            let time = SystemTime::now();
            let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            let rest = Duration::from_secs(1) - Duration::from_nanos(since.subsec_nanos().into());
            self.text = httpdate::fmt_http_date(time);
            self.until = now + rest;
        }
        self.text.as_bytes()
    }
}

#[cfg(test)]
pub(super) mod tests;
