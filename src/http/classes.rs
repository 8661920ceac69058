//! Which class of what runs at the same time each request is of (`limiter.rs`), and how long its
//! answer counts.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::{MatchedPath, Request};
use axum::http::Method;
use axum::response::Response;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::KEY;
use crate::limiter::{Limiter, LongAnswer, Permit};
use crate::problem::Answer;
use crate::server::Late;
use crate::shed::Class;

/// Leave for a request until its handler has answered, or why there is none.
pub(super) fn permit(limiter: &Arc<Limiter>, request: &Request) -> Answer<Permit> {
    let route = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let (class, takes_long) = class_of(request.method(), route, request.uri().query());
    if takes_long && request.extensions().get::<Late>().is_some() {
        return Err(limiter.refuse(Class::Late));
    }
    if takes_long {
        limiter.room_for_long()?;
    }
    limiter.take(class)
}

/// Gives a permit back, since there is an answer, and keeps count of that if it is long, until its
/// client has taken it.
pub(super) fn answered(permit: Permit, response: Response) -> Response {
    let bytes = HttpBody::size_hint(response.body()).exact().unwrap_or(0);
    let long = usize::try_from(bytes).ok().and_then(|bytes| permit.answered(bytes));
    match long {
        Some(counted) => response.map(|body| Body::new(Long { _counted: counted, body })),
        None => response,
    }
}

/// A long answer on its way.
struct Long {
    _counted: LongAnswer,
    body: Body,
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
    use crate::config::ServeConfig;
    use crate::limiter::LONG;
    use crate::metrics::Metrics;

    #[test]
    fn whoever_waits_for_a_push_is_of_a_class_of_its_own() {
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
    fn a_long_answer_counts_until_its_body_is_dropped() {
        let config = ServeConfig {
            max_answers_in_memory: "64KiB".parse().unwrap(),
            ..ServeConfig::defaults()
        };
        let limiter = Limiter::new(&config, &Arc::new(Metrics::new()));
        let answer = |bytes: usize| {
            let permit = limiter.take(Class::Read).unwrap();
            answered(permit, Response::new(Body::from(vec![b'x'; bytes])))
        };
        let _short = answer(LONG - 1);
        limiter.answer(LONG).unwrap();
        let long = answer(LONG);
        assert_eq!(HttpBody::size_hint(long.body()).exact(), Some(LONG as u64));
        assert_eq!(limiter.answer(LONG).unwrap_err().code(), "overloaded");
        drop(long);
        limiter.answer(LONG).unwrap();
    }

    #[test]
    fn a_late_thread_refuses_what_takes_long_and_nothing_else() {
        let limiter = Limiter::new(&ServeConfig::defaults(), &Arc::new(Metrics::new()));
        let asked = |late: bool| {
            let mut request = Request::get("/v1/x").body(Body::empty()).unwrap();
            if late {
                request.extensions_mut().insert(Late);
            }
            request
        };
        permit(&limiter, &asked(true)).unwrap();
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
