//! How much runs at the same time, and what is refused beyond that.
//!
//! What is taken on is answered in time; what would only make everything late is refused at once,
//! with 503 `overloaded` and `Retry-After`. Reads, pushes, waits, operations and questions about
//! health have a number each, so that none of them is ever refused because of the others: a server
//! that is overrun by readers can still be rolled back, and still tells what it counts.
//!
//! A plain lookup of a value in memory that is not [`LONG`] is not counted. It never waits here: to refuse it would
//! take as long as to answer it, and what bounds it is the number of connections. Two things make
//! a lookup late. One is others that wait for the disk, and these have a number of their own
//! ([`cold`]). The other is what takes long on the same thread (batches, scans):
//! a thread that is late refuses those ([`Late`]).

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::{MatchedPath, Request};
use axum::http::Method;
use axum::response::Response;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::KEY;
use super::blocking::blocking;
use crate::config::ServeConfig;
use crate::metrics::Metrics;
use crate::problem::{Answer, Fault, Problem};
use crate::server::Late;
use crate::state::AppState;

/// Files of snapshots that are sent at the same time: each takes a thread and some megabytes, and
/// reads the disk.
const SENDING: usize = 16;
/// Questions about health that are answered at the same time: more than any monitoring asks.
const HEALTH: usize = 64;
/// Requests that wait for the pushes of others at the same time. Their clients may have gone long
/// ago: nothing tells that of one that only ended its sending.
const WAITING: usize = 1024;
/// Comparisons of versions that there are at the same time: the one that works, and four that wait for
/// it. Each may take minutes, and nothing tells of a client of HTTP/1 that it has gone.
const COMPARING: usize = 5;
/// Shorter answers are not worth counting.
pub(super) const LONG: usize = 64 * 1024;

/// What is counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Read,
    /// A read that waits for the disk.
    Cold,
    /// What takes long, on a thread that is late.
    Late,
    /// What may be answered at length, while many such answers are still to be taken.
    Answer,
    Push,
    /// A look at a version once its push has ended.
    Wait,
    /// The body of a push.
    Body,
    /// A file of a snapshot that is sent.
    File,
    /// A comparison of versions, or one that waits for its turn.
    Comparison,
    Operation,
    Health,
}

impl Class {
    const ALL: [Self; 11] = [
        Self::Read,
        Self::Cold,
        Self::Late,
        Self::Answer,
        Self::Push,
        Self::Wait,
        Self::Body,
        Self::File,
        Self::Comparison,
        Self::Operation,
        Self::Health,
    ];

    fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Cold => "cold",
            Self::Late => "late",
            Self::Answer => "answer",
            Self::Push => "push",
            Self::Wait => "wait",
            Self::Body => "body",
            Self::File => "file",
            Self::Comparison => "comparison",
            Self::Operation => "operation",
            Self::Health => "health",
        }
    }

    fn refusal(self) -> Problem {
        let text = match self {
            Self::Read => "as many reads run as this server takes (max_reads)",
            Self::Cold => {
                "as many reads wait for the disk as this server lets wait (max_cold_reads)"
            }
            Self::Late => "this server is behind with what it has to do (overload_after)",
            Self::Answer => {
                "clients are still taking as much of other answers as this server keeps for them \
                 (max_answers_in_memory)"
            }
            Self::Push => "as many requests of pushes run as this server takes (max_push_requests)",
            Self::Wait => "as many requests wait for pushes to end as this server lets wait (1024)",
            Self::Body => "as many bodies are received as this server takes (max_bodies)",
            Self::File => "as many files of snapshots are sent as this server sends (16)",
            Self::Comparison => {
                "as many comparisons wait for their turn as this server lets wait (4)"
            }
            Self::Operation => "as many operations run as this server takes (max_operations)",
            Self::Health => "this server is asked for its health too often at the same time",
        };
        Problem::new(Fault::Overloaded, format!("{text}: ask again in a moment"))
    }
}

/// Requests that were refused, by class.
#[derive(Debug, Default)]
pub(crate) struct Shed([AtomicU64; Class::ALL.len()]);

impl Shed {
    pub(crate) fn each(&self) -> [(&'static str, u64); Class::ALL.len()] {
        Class::ALL.map(|class| (class.as_str(), self.0[class as usize].load(Relaxed)))
    }

    /// Counts a refusal, and gives its words.
    pub(crate) fn refuse(&self, class: Class) -> Problem {
        self.0[class as usize].fetch_add(1, Relaxed);
        class.refusal()
    }
}

/// What runs, and how much may.
#[derive(Debug)]
pub(crate) struct Places {
    /// By [`Class`]: how many run, of how many.
    budgets: [(AtomicUsize, usize); Class::ALL.len()],
    metrics: Arc<Metrics>,
}

impl Places {
    pub(crate) fn new(config: &ServeConfig, metrics: &Arc<Metrics>) -> Arc<Self> {
        let most = |class| match class {
            Class::Read => config.max_reads.0,
            Class::Cold => config.max_cold_reads.0,
            Class::Push => config.max_push_requests.0,
            Class::Operation => config.max_operations.0,
            Class::Health => HEALTH,
            Class::File => SENDING,
            Class::Comparison => COMPARING,
            Class::Wait => WAITING,
            // Not counted here.
            Class::Late | Class::Body => usize::MAX,
            // Bytes, and not requests.
            Class::Answer => config.max_answers_in_memory.as_usize(),
        };
        let budgets = Class::ALL.map(|class| (AtomicUsize::new(0), most(class)));
        Arc::new(Self { budgets, metrics: Arc::clone(metrics) })
    }

    /// A place for a request until its handler has answered, or why there is none.
    pub(crate) fn request(self: &Arc<Self>, request: &Request) -> Answer<Place> {
        let route = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
        let (class, takes_long) = class_of(request.method(), route, request.uri().query());
        if takes_long && request.extensions().get::<Late>().is_some() {
            return Err(self.metrics.shed.refuse(Class::Late));
        }
        if takes_long {
            self.room_for_long()?;
        }
        self.take(class)
    }

    /// Refuses an answer of so many bytes if it is long, while too much of others is to be taken.
    pub(crate) fn answer(&self, bytes: usize) -> Answer<()> {
        if bytes < LONG { Ok(()) } else { self.room_for_long() }
    }

    fn room_for_long(&self) -> Answer<()> {
        let (answers, most) = &self.budgets[Class::Answer as usize];
        if answers.load(Relaxed) < *most {
            return Ok(());
        }
        Err(self.metrics.shed.refuse(Class::Answer))
    }

    /// A place for a file that is sent, until it is.
    pub(crate) fn file(self: &Arc<Self>) -> Answer<Place> {
        self.take(Class::File)
    }

    /// A place for a comparison of versions, until it is answered.
    pub(crate) fn comparison(self: &Arc<Self>) -> Answer<Place> {
        self.take(Class::Comparison)
    }

    /// A place for a read that waits for the disk.
    pub(crate) fn cold(self: &Arc<Self>) -> Answer<Place> {
        self.take(Class::Cold)
    }

    fn take(self: &Arc<Self>, class: Class) -> Answer<Place> {
        let (running, most) = &self.budgets[class as usize];
        // Dropped, and so given back, at once if it is one too many.
        let before = running.fetch_add(1, Relaxed);
        let place = Place { of: Arc::clone(self), class };
        if before < *most { Ok(place) } else { Err(self.metrics.shed.refuse(class)) }
    }
}

/// One place, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    of: Arc<Places>,
    class: Class,
}

impl Place {
    /// Gives it back, since there is an answer, and keeps count of that if it is long, until its
    /// client has taken it.
    pub(crate) fn answered(self, response: Response) -> Response {
        let bytes = HttpBody::size_hint(response.body()).exact().unwrap_or(0);
        match usize::try_from(bytes) {
            Ok(bytes) if bytes >= LONG && self.class == Class::Read => {
                self.of.budgets[Class::Answer as usize].0.fetch_add(bytes, Relaxed);
                let of = Arc::clone(&self.of);
                response.map(|body| Body::new(Long { body, bytes, of }))
            }
            _ => response,
        }
    }
}

/// A long answer on its way.
struct Long {
    body: Body,
    bytes: usize,
    of: Arc<Places>,
}

impl Drop for Long {
    fn drop(&mut self) {
        self.of.budgets[Class::Answer as usize].0.fetch_sub(self.bytes, Relaxed);
    }
}

impl HttpBody for Long {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        // A body at its end is let go of at once; this one is kept until most of it was written.
        false
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.of.budgets[self.class as usize].0.fetch_sub(1, Relaxed);
    }
}

/// Runs `work`, which waits for the disk to answer a read, on another thread, unless too many
/// such reads wait already.
pub(crate) async fn cold<T: Send + 'static>(
    app: &AppState,
    work: impl FnOnce() -> Answer<T> + Send + 'static,
) -> Answer<T> {
    let place = app.places.cold()?;
    blocking(move || {
        // As long as the work, and not only as long as somebody waits for it.
        let _place = place;
        work()
    })
    .await
}

/// The class of a request, and whether it takes long on the thread that serves it.
fn class_of(method: &Method, route: Option<&str>, query: Option<&str>) -> (Class, bool) {
    let of_dataset = route.and_then(|route| route.strip_prefix("/v1/datasets/{dataset}/"));
    match (route.unwrap_or_default(), of_dataset) {
        (KEY, _) | (_, Some("keys/")) => (Class::Read, false),
        ("/v1/batch-get", _) | (_, Some("batch-get" | "scan" | "keys/{key}/history" | "diff")) => {
            (Class::Read, true)
        }
        (_, Some("push" | "versions/{version}/commit" | "versions/{version}/parts/{part}")) => {
            (Class::Push, false)
        }
        // `?wait` is all it has, however that is spelt; anything else is refused at once. As a push,
        // whoever may only read could keep everybody from pushing.
        (_, Some("versions/{version}")) if method.is_safe() && query.is_some() => {
            (Class::Wait, false)
        }
        (_, Some("versions")) if method == Method::POST => (Class::Push, false),
        ("/livez" | "/readyz" | "/metrics" | "/version", _) => (Class::Health, false),
        _ => (Class::Operation, false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_has_places_of_its_own() {
        let config = ServeConfig {
            max_cold_reads: "2".parse().unwrap(),
            max_operations: "1".parse().unwrap(),
            ..ServeConfig::defaults()
        };
        let metrics = Arc::new(Metrics::new());
        let places = Places::new(&config, &metrics);
        let two = [places.cold().unwrap(), places.cold().unwrap()];
        let refused = places.cold().unwrap_err();
        assert_eq!((refused.status().as_u16(), refused.code()), (503, "overloaded"));
        assert!(refused.detail().contains("max_cold_reads"), "{}", refused.detail());
        let operation = places.take(Class::Operation).unwrap();
        assert!(places.take(Class::Operation).is_err());
        places.take(Class::Health).unwrap();
        drop(two);
        drop(operation);
        let _cold = places.cold().unwrap();
        let _operation = places.take(Class::Operation).unwrap();
        assert_eq!(metrics.shed.each().map(|(_, count)| count), [0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0]);
        assert!(refused.render("id").headers().contains_key("retry-after"));
    }

    #[test]
    fn whoever_waits_for_a_push_takes_no_place_of_one() {
        let config = ServeConfig {
            max_push_requests: "1".parse().unwrap(),
            max_operations: "1".parse().unwrap(),
            ..ServeConfig::defaults()
        };
        let places = Places::new(&config, &Arc::new(Metrics::new()));
        let _waiting: Vec<_> = (0..WAITING).map(|_| places.take(Class::Wait).unwrap()).collect();
        let refused = places.take(Class::Wait).unwrap_err();
        assert_eq!(refused.code(), "overloaded");
        assert!(refused.detail().contains(&format!("({WAITING})")), "{}", refused.detail());
        let _push = places.take(Class::Push).unwrap();
        let _operation = places.take(Class::Operation).unwrap();

        let version = Some("/v1/datasets/{dataset}/versions/{version}");
        for query in ["wait=300", "%77ait=300"] {
            for method in [Method::GET, Method::HEAD] {
                assert_eq!(class_of(&method, version, Some(query)), (Class::Wait, false));
            }
            assert_eq!(class_of(&Method::DELETE, version, Some(query)), (Class::Operation, false));
        }
        for method in [Method::GET, Method::DELETE] {
            assert_eq!(class_of(&method, version, None), (Class::Operation, false));
        }
        for push in ["push", "versions/{version}/commit", "versions/{version}/parts/{part}"] {
            let route = format!("/v1/datasets/{{dataset}}/{push}");
            assert_eq!(
                class_of(&Method::POST, Some(&route), Some("wait=false")),
                (Class::Push, false)
            );
        }
    }

    #[test]
    fn long_answers_are_counted_until_they_are_taken() {
        let config = ServeConfig {
            max_answers_in_memory: "100KiB".parse().unwrap(),
            ..ServeConfig::defaults()
        };
        let places = Places::new(&config, &Arc::new(Metrics::new()));
        let answer = |bytes: usize| {
            let place = places.take(Class::Read).unwrap();
            place.answered(Response::new(Body::from(vec![b'x'; bytes])))
        };
        let held = || places.budgets[Class::Answer as usize].0.load(Relaxed);
        let short = answer(LONG - 1);
        assert_eq!(held(), 0);
        let long = answer(LONG);
        assert_eq!(HttpBody::size_hint(long.body()).exact(), Some(LONG as u64));
        let another = answer(LONG);
        assert_eq!(held(), 2 * LONG);
        assert_eq!(places.answer(LONG).unwrap_err().code(), "overloaded");
        places.answer(LONG - 1).unwrap();
        drop((short, long));
        assert_eq!(held(), LONG);
        places.answer(LONG).unwrap();
        drop(another);
        assert_eq!(held(), 0);
    }

    #[test]
    fn a_late_thread_refuses_what_takes_long_and_nothing_else() {
        let places = Places::new(&ServeConfig::defaults(), &Arc::new(Metrics::new()));
        let asked = |late: bool| {
            let mut request = Request::get("/v1/x").body(Body::empty()).unwrap();
            if late {
                request.extensions_mut().insert(Late);
            }
            request
        };
        places.request(&asked(true)).unwrap();
        let class = |method: Method, route| class_of(&method, Some(route), None);
        assert_eq!(class(Method::GET, KEY), (Class::Read, false));
        let of = |rest: &str| format!("/v1/datasets/{{dataset}}/{rest}");
        for long in ["batch-get", "scan", "keys/{key}/history", "diff"] {
            assert_eq!(
                class_of(&Method::GET, Some(&of(long)), None),
                (Class::Read, true),
                "{long}"
            );
        }
        assert_eq!(class_of(&Method::POST, Some(&of("versions")), None), (Class::Push, false));
        for operation in ["versions", "history", "rollback", "activate", "hold"] {
            assert_eq!(
                class_of(&Method::GET, Some(&of(operation)), None),
                (Class::Operation, false)
            );
        }
        assert_eq!(class(Method::GET, "/metrics"), (Class::Health, false));
        assert_eq!(class_of(&Method::GET, None, None), (Class::Operation, false));
    }
}
