//! What becomes of a request that is refused: its answer, a count, and a line in the log now
//! and then. Whoever tries tokens must not fill the disk with lines.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::http::HeaderValue;
use axum::http::header::WWW_AUTHENTICATE;
use tidetable_storage::{DatasetName, EvenPoisoned as _, TokenId};

use super::caller::Caller;
use super::grants::Right;
use crate::metrics::Metrics;
use crate::problem::{Fault, Problem};

/// At most one line in this time; the next says how many there would have been.
const PAUSE: Duration = Duration::from_secs(1);

/// Why a request is refused.
#[derive(Debug)]
pub(super) enum Refused {
    /// It shows no token.
    Absent,
    /// It shows one that is not good, of this id if it has one: which of unknown, wrong,
    /// expired and revoked it is, nobody is told.
    Invalid(Option<TokenId>),
    /// The token is good, and not for this.
    Forbidden { caller: Caller, right: Right, scope: RightScope },
}

/// Where somebody lacks a right.
#[derive(Debug)]
pub(super) enum RightScope {
    On(DatasetName),
    /// On datasets that stand in the body.
    OnEach,
    Everywhere,
}

impl fmt::Display for RightScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::On(dataset) => write!(f, "on {dataset}"),
            Self::OnEach => f.write_str("on the datasets it is about"),
            Self::Everywhere => f.write_str("on all datasets"),
        }
    }
}

impl Refused {
    /// Whose request it is, if the token is good.
    pub(super) fn caller(self) -> Option<Caller> {
        match self {
            Self::Forbidden { caller, .. } => Some(caller),
            Self::Absent | Self::Invalid(_) => None,
        }
    }

    pub(super) fn problem(&self) -> Problem {
        let text = match self {
            Self::Absent => {
                "this server asks for a token: send Authorization: Bearer TOKEN".to_owned()
            }
            Self::Invalid(_) => {
                "the token is not good: it is unknown, or has expired, or was revoked".to_owned()
            }
            Self::Forbidden { caller, right, scope } => {
                let role = right.role().as_str();
                let text = format!(
                    "the token of {} may not do this: it needs the role {role} {scope}, and has {}",
                    caller.name(),
                    caller.grants()
                );
                let problem = Problem::new(Fault::Forbidden, text).with("role", role);
                return match scope {
                    RightScope::On(dataset) => problem.with("dataset", dataset.as_str()),
                    RightScope::OnEach | RightScope::Everywhere => problem,
                };
            }
        };
        let challenge = HeaderValue::from_static("Bearer realm=\"tidetable\"");
        Problem::new(Fault::Unauthenticated, text).header(WWW_AUTHENTICATE, challenge)
    }
}

/// Counts and tells them.
#[derive(Debug)]
pub(super) struct Refusals {
    metrics: Arc<Metrics>,
    throttle: Mutex<Throttle>,
}

/// How often the log has a line.
#[derive(Debug, Default)]
struct Throttle {
    last: Option<Instant>,
    unsaid: u64,
}

impl Refusals {
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        Self { metrics, throttle: Mutex::default() }
    }

    pub(super) fn note(&self, refused: &Refused, route: Option<&str>, peer: Option<SocketAddr>) {
        let counts = &self.metrics.access;
        let (count, token) = match refused {
            Refused::Absent => (&counts.absent, None),
            Refused::Invalid(id) => (&counts.invalid, *id),
            Refused::Forbidden { caller, .. } => (&counts.forbidden, caller.id()),
        };
        count.fetch_add(1, Relaxed);
        let Some(unsaid) = self.is_due(Instant::now()) else { return };
        let why = match refused {
            Refused::Absent => "no token",
            Refused::Invalid(_) => "a token that is not good",
            Refused::Forbidden { .. } => "a token that is not for this",
        };
        let peer = peer.map(|peer| peer.ip().to_string());
        let token = token.map(|id| id.to_string());
        tracing::warn!(why, route, peer, token, unsaid, "a request was refused");
    }

    /// Whether to write a line now, and how many were not written since the last.
    fn is_due(&self, now: Instant) -> Option<u64> {
        let mut throttle = self.throttle.lock().even_poisoned();
        if throttle.last.is_some_and(|last| now.duration_since(last) < PAUSE) {
            throttle.unsaid += 1;
            return None;
        }
        throttle.last = Some(now);
        Some(std::mem::take(&mut throttle.unsaid))
    }
}

/// Requests that were refused, mostly before their handler saw them.
#[derive(Debug, Default)]
pub(crate) struct RefusalCounts {
    pub(crate) absent: AtomicU64,
    pub(crate) invalid: AtomicU64,
    pub(crate) forbidden: AtomicU64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_has_one_line_a_second_and_says_how_many_it_has_not() {
        let refusals = Refusals::new(Arc::new(Metrics::new()));
        let start = Instant::now();
        let after = |ms| refusals.is_due(start + Duration::from_millis(ms));
        assert_eq!(after(0), Some(0));
        assert!((1..=500).all(|ms| after(ms).is_none()));
        assert_eq!(after(1_000), Some(500));
        assert_eq!(after(1_999), None);
        assert_eq!(after(2_000), Some(1));
    }

    #[test]
    fn whoever_guesses_is_told_the_same_whatever_is_wrong() {
        let refused = [None, Some(TokenId::new([7; 8]))].map(|id| Refused::Invalid(id).problem());
        let [a, b] = refused.map(|problem| problem.document("r"));
        assert_eq!(a, b);
        let absent = Refused::Absent.problem();
        assert_eq!((absent.status().as_u16(), absent.code()), (401, "unauthenticated"));
        let header = absent.render("r").headers()[WWW_AUTHENTICATE].clone();
        assert_eq!(header, "Bearer realm=\"tidetable\"");
    }
}
