//! Reading an object, from its first byte to its last.
//!
//! - Where it breaks off, it is asked for from that byte on, of the version that was found
//!   (`If-Match`); stores that do not look at that are found out by what they answer with. That takes
//!   a strong ETag: under a weak one, or a date, other bytes may stand ([`super::connector`] sees to
//!   it that nothing beneath us goes on by a weak one).
//! - What breaks off again and again is given up: a number of times without a megabyte between
//!   them.
//! - What comes slower than a trickle is as good as broken off.
//! - Neither more nor fewer bytes come out than it was said to have.

use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, GetResult, ObjectMeta, ObjectStore};
use tokio::time::{Instant, timeout};

use super::connector::STALLED;
use super::error::{RemoteError, Why};
use super::location::Location;
use super::runtime;
use crate::chance::chance;

/// How long a store may take to begin an answer, with what is repeated beneath us.
const ANSWER: Duration = Duration::from_secs(120);
/// How often reading is begun again…
const TRIES: u32 = 5;
/// …unless so many bytes came in between.
const PROGRESS: u64 = 1 << 20;
/// The first pause before that; each one after it is twice as long.
const PAUSE: Duration = Duration::from_millis(if cfg!(test) { 1 } else { 200 });
/// Within this time…
const WINDOW: Duration = Duration::from_secs(60);
/// …at least so much has to come.
const TRICKLE: u64 = 64 << 10;

/// An object as it was found.
#[derive(Clone)]
pub(crate) struct Object {
    store: Arc<dyn ObjectStore>,
    key: Path,
    location: Location,
    bytes: u64,
    version: Version,
}

/// By what it is known whether an object is still the same.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Version {
    /// Without quotes: some lists leave them out.
    etag: Option<String>,
    modified: Option<DateTime<Utc>>,
}

impl Version {
    fn of(meta: &ObjectMeta) -> Self {
        let etag = meta.e_tag.as_ref().map(|etag| etag.trim_matches('"').to_owned());
        // What has none is given the beginning of all time.
        let modified = Some(meta.last_modified).filter(|at| *at != DateTime::UNIX_EPOCH);
        Self { etag: etag.filter(|etag| !etag.is_empty()), modified }
    }

    fn is_another(&self, other: &Self) -> bool {
        match (&self.etag, &other.etag) {
            (Some(one), Some(other)) => one != other,
            // Lists have fractions of seconds, answers have none.
            _ => match (self.modified, other.modified) {
                (Some(one), Some(other)) => one.timestamp() != other.timestamp(),
                _ => false,
            },
        }
    }

    /// The tag under which there are the same bytes, always.
    fn strong(&self) -> Option<&str> {
        self.etag.as_deref().filter(|etag| !etag.starts_with("W/"))
    }

    /// What a store is to hold an object against.
    fn condition(&self) -> GetOptions {
        GetOptions {
            if_match: self.strong().map(|etag| format!("\"{etag}\"")),
            if_unmodified_since: self.modified.filter(|_| self.etag.is_none()),
            ..GetOptions::default()
        }
    }
}

impl Object {
    pub(super) fn new(
        store: Arc<dyn ObjectStore>,
        key: Path,
        location: &Location,
        meta: &ObjectMeta,
    ) -> Self {
        let (location, version) = (location.clone(), Version::of(meta));
        Self { store, key, location, bytes: meta.size, version }
    }

    /// How many bytes it has.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn location(&self) -> &Location {
        &self.location
    }

    /// A reader of all its bytes. Asks for them when they are first read.
    pub(crate) fn open(&self) -> ObjectReader {
        ObjectReader {
            object: self.clone(),
            at: 0,
            answer: None,
            asked: false,
            chunk: Bytes::new(),
            broken: 0,
            broken_at: 0,
            window: (Instant::now(), 0),
        }
    }

    /// All its bytes, if there are at most `most`.
    pub(crate) fn read_whole(&self, most: u64) -> Result<Vec<u8>, RemoteError> {
        if self.bytes > most {
            let why = format!("it has {} bytes; the most is {most}", self.bytes);
            return Err(RemoteError::new(Why::Usage, &self.location, why));
        }
        let mut reader = self.open();
        let mut all = Vec::new();
        while reader.fill()? {
            all.extend_from_slice(&std::mem::take(&mut reader.chunk));
        }
        Ok(all)
    }

    fn fails(&self, kind: Why, why: impl Into<String>) -> RemoteError {
        RemoteError::new(kind, &self.location, why)
    }

    fn changed(&self) -> RemoteError {
        self.fails(Why::Changed, "it was changed after it was found: begin again")
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Object({}, {} bytes)", self.location, self.bytes)
    }
}

impl PartialEq for Object {
    fn eq(&self, other: &Self) -> bool {
        (&self.location, self.bytes, &self.version)
            == (&other.location, other.bytes, &other.version)
    }
}

impl Eq for Object {}

/// See [`Object::open`].
pub(crate) struct ObjectReader {
    object: Object,
    /// So many bytes have come.
    at: u64,
    answer: Option<BoxStream<'static, object_store::Result<Bytes>>>,
    /// Whether there was an answer already.
    asked: bool,
    chunk: Bytes,
    /// How often it broke off without much progress, and where it did last.
    broken: u32,
    broken_at: u64,
    /// Since when, and how many bytes since then.
    window: (Instant, u64),
}

/// Why there are no next bytes.
enum Stop {
    /// It may go on if it is asked for again.
    Broken(RemoteError),
    /// It is no use.
    Final(RemoteError),
}

impl ObjectReader {
    /// Puts the next bytes into `chunk`; whether there were any.
    fn fill(&mut self) -> Result<bool, RemoteError> {
        loop {
            match runtime().block_on(self.next()) {
                Ok(Some(bytes)) if bytes.is_empty() => {}
                Ok(Some(bytes)) => {
                    self.at += bytes.len() as u64;
                    self.chunk = bytes;
                    return Ok(true);
                }
                Ok(None) => return Ok(false),
                Err(Stop::Final(error)) => return Err(error),
                Err(Stop::Broken(error)) => self.begin_again(error)?,
            }
        }
    }

    fn begin_again(&mut self, error: RemoteError) -> Result<(), RemoteError> {
        self.answer = None;
        if self.at >= self.broken_at + PROGRESS {
            self.broken = 0;
        }
        self.broken_at = self.at;
        self.broken += 1;
        if self.broken > TRIES {
            let why = format!("{} (given up after {TRIES} tries)", error.why);
            return Err(RemoteError { why, ..error });
        }
        let pause = PAUSE * (1 << self.broken.min(5));
        std::thread::sleep(pause / 2 + (pause / 2).mul_f64(chance()));
        Ok(())
    }

    async fn next(&mut self) -> Result<Option<Bytes>, Stop> {
        let all = self.object.bytes;
        if self.answer.is_none() {
            if self.asked && self.at == all {
                return Ok(None);
            }
            let answer = self.ask().await?;
            self.answer = Some(answer.into_stream());
            self.asked = true;
            self.window = (Instant::now(), 0);
        }
        let answer = self.answer.as_mut().expect("it was put there");
        let object = &self.object;
        let broken = |why: String| Err(Stop::Broken(object.fails(Why::Failed, why)));
        match timeout(STALLED, answer.next()).await {
            Err(_) => broken(format!("nothing came for {} s", STALLED.as_secs())),
            Ok(None) if self.at == all => Ok(None),
            Ok(None) => broken(format!("it broke off after {} of {all} bytes", self.at)),
            Ok(Some(Err(error))) => Err(sorted(RemoteError::of(&error, &object.location))),
            Ok(Some(Ok(bytes))) if bytes.len() as u64 > all - self.at => {
                let why = format!("it has more than the {all} bytes that it was said to have");
                Err(Stop::Final(object.fails(Why::Changed, why)))
            }
            Ok(Some(Ok(bytes))) => {
                let (since, count) = &mut self.window;
                *count += bytes.len() as u64;
                if since.elapsed() > WINDOW {
                    let is_trickle = *count < TRICKLE;
                    self.window = (Instant::now(), 0);
                    if is_trickle {
                        return broken("it comes slower than a kilobyte a second".to_owned());
                    }
                }
                Ok(Some(bytes))
            }
        }
    }

    /// Asks for what did not come yet.
    async fn ask(&mut self) -> Result<GetResult, Stop> {
        let object = &self.object;
        if self.at > 0 && object.version.strong().is_none() {
            return Err(self.cannot_be_resumed());
        }
        let range = (self.at > 0).then_some(GetRange::Bounded(self.at..object.bytes));
        let options = GetOptions { range, ..object.version.condition() };
        let asked = object.store.get_opts(&object.key, options);
        let answer = match timeout(ANSWER, asked).await {
            Err(_) => {
                return Err(Stop::Broken(object.fails(Why::Failed, "the store does not answer")));
            }
            Ok(Err(error)) => return Err(sorted(RemoteError::of(&error, &object.location))),
            Ok(Ok(answer)) => answer,
        };
        let version = Version::of(&answer.meta);
        if answer.meta.size != object.bytes || object.version.is_another(&version) {
            return Err(Stop::Final(object.changed()));
        }
        if self.at > 0 && version.etag.is_none() {
            return Err(self.cannot_be_resumed());
        }
        if self.object.version.etag.is_none() {
            // A list may have none. What comes is of this one from here on.
            self.object.version.etag = version.etag;
        }
        Ok(answer)
    }

    /// Nothing says that what would follow belongs to what was handed on.
    fn cannot_be_resumed(&self) -> Stop {
        let known_by = match &self.object.version {
            Version { etag: Some(etag), .. } if etag.starts_with("W/") => {
                "its server gives it a weak ETag, under which other bytes may stand"
            }
            Version { etag: None, modified: Some(_) } => {
                "its server tells when it was modified, to the second, and gives it no ETag"
            }
            _ => "its server does not say by what to know that it is the same",
        };
        let why = format!("it broke off, and {known_by}: it cannot be resumed");
        Stop::Final(self.object.fails(Why::Failed, why))
    }
}

fn sorted(error: RemoteError) -> Stop {
    match error.kind {
        Why::Failed => Stop::Broken(error),
        Why::NotFound => {
            let why = "it was deleted after it was found: begin again".to_owned();
            Stop::Final(RemoteError { kind: Why::Changed, why, ..error })
        }
        _ => Stop::Final(error),
    }
}

impl Read for ObjectReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        if self.chunk.is_empty() && !self.fill().map_err(io::Error::other)? {
            return Ok(0);
        }
        let count = self.chunk.len().min(out.len());
        out[..count].copy_from_slice(&self.chunk.split_to(count));
        Ok(count)
    }
}
