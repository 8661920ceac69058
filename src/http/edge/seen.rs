//! What is kept of a request from the [`Edge`]'s first look at it until its answer, and what is then
//! counted, logged and told the audit.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use axum::extract::{ConnectInfo, MatchedPath, Request};
use axum::http::header::USER_AGENT;
use axum::http::{HeaderValue, Method, StatusCode, Uri};
use axum::response::Response;
use tidetable_storage::DatasetName;

use super::super::is_read;
use super::{Edge, Forbidden, logs_reads};
use crate::access::Caller;
use crate::audit::{ANONYMOUS, Audit, Kind, Line, NotGranted};
use crate::problem::{Fault, Problem};
use crate::telemetry::{REQUEST_ID, RequestId};

/// What is kept of a request until its answer.
pub(super) struct Seen {
    method: Method,
    route: Option<MatchedPath>,
    /// Always there for requests that change something; for reads only if sent.
    id: Option<RequestId>,
    began: Option<Instant>,
    uri: Uri,
    user_agent: Option<HeaderValue>,
    peer: Option<IpAddr>,
    /// Whoever asks, once that is known.
    pub(super) caller: Option<Caller>,
}

impl Seen {
    pub(super) fn before(request: &mut Request) -> Self {
        let method = request.method().clone();
        let reads = matches!(method, Method::GET | Method::HEAD | Method::OPTIONS);
        let mut id = RequestId::sent(request.headers());
        if !reads {
            id.get_or_insert_with(RequestId::fresh);
        }
        if let Some(id) = &id {
            request.extensions_mut().insert(id.clone());
        }
        let timed = !reads || logs_reads();
        let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
        Self {
            route: request.extensions().get::<MatchedPath>().cloned(),
            began: timed.then(Instant::now),
            uri: request.uri().clone(),
            user_agent: request.headers().get(USER_AGENT).cloned(),
            peer: peer.map(|peer| peer.0.ip()),
            caller: None,
            method,
            id,
        }
    }

    pub(super) fn after(mut self, response: Response, edge: &Edge) -> Response {
        edge.metrics.request(self.route.as_ref().map(MatchedPath::as_str), response.status());
        if let (Some(audit), Some(kind)) = (&edge.audit, self.was_not_granted(response.status())) {
            self.tell(audit, kind, &response);
        }
        if let Some(Forbidden(datasets)) = response.extensions().get() {
            edge.metrics.access.forbidden.fetch_add(datasets.len() as u64, Relaxed);
            if let Some(audit) = &edge.audit {
                datasets.iter().for_each(|dataset| self.tell_forbidden(audit, dataset));
            }
        }
        let mut response = match response.extensions().get::<Problem>() {
            Some(problem) => self.refuse(&problem.clone()),
            None => response,
        };
        // Of guessed tokens the log has a line now and then, not one for each.
        let is_guess = response.status() == StatusCode::UNAUTHORIZED;
        if let Some(began) = self.began.filter(|_| !is_guess) {
            self.log(&response, began);
        }
        if let Some(id) = self.id.and_then(|id| HeaderValue::from_str(id.as_str()).ok()) {
            response.headers_mut().insert(REQUEST_ID, id);
        }
        response
    }

    /// Whether this is for the audit: a denial of anything, or the refusal of a change.
    fn was_not_granted(&self, status: StatusCode) -> Option<Kind> {
        let route = self.route.as_ref().map(MatchedPath::as_str);
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Some(Kind::Denial),
            _ if status.as_u16() < 400 || route.is_none() => None,
            _ => (!is_read(&self.method, route)).then_some(Kind::Refusal),
        }
    }

    fn tell(&mut self, audit: &Audit, kind: Kind, response: &Response) {
        let problem = response.extensions().get::<Problem>();
        let code = problem.map_or("none", Problem::code);
        // Of several that stand in the body, the problem names the one.
        let dataset = problem.and_then(Problem::dataset);
        self.tell_of(audit, kind, dataset.as_ref(), code, response.status());
    }

    /// One of several datasets, as if it had been asked for alone.
    fn tell_forbidden(&mut self, audit: &Audit, dataset: &DatasetName) {
        let code = Fault::Forbidden.code();
        self.tell_of(audit, Kind::Denial, Some(dataset), code, StatusCode::FORBIDDEN);
    }

    fn tell_of(
        &mut self,
        audit: &Audit,
        kind: Kind,
        dataset: Option<&DatasetName>,
        code: &'static str,
        status: StatusCode,
    ) {
        let id = self.id.get_or_insert_with(RequestId::fresh);
        audit.log(Line::of(&NotGranted {
            kind,
            actor: self.caller.as_ref().map_or(ANONYMOUS, Caller::name),
            token: self.caller.as_ref().and_then(Caller::id),
            request_id: id.as_str(),
            method: self.method.as_str(),
            route: self.route.as_ref().map(MatchedPath::as_str),
            path: self.uri.path(),
            dataset,
            code,
            status: status.as_u16(),
            address: self.peer,
            user_agent: self.user_agent.as_ref().map(HeaderValue::as_bytes),
        }));
    }

    fn refuse(&mut self, problem: &Problem) -> Response {
        let id = self.id.get_or_insert_with(RequestId::fresh);
        if problem.status().is_server_error() {
            tracing::error!(
                request_id = id.as_str(),
                method = self.method.as_str(),
                route = self.route.as_ref().map(MatchedPath::as_str),
                status = problem.status().as_u16(),
                code = problem.code(),
                cause = problem.cause(),
                "a request failed: {}",
                problem.detail(),
            );
        }
        problem.render(id.as_str())
    }

    fn log(&self, response: &Response, began: Instant) {
        let ms = began.elapsed().as_secs_f64() * 1000.0;
        let status = response.status().as_u16();
        let id = self.id.as_ref().map(RequestId::as_str);
        let route = self.route.as_ref().map(MatchedPath::as_str);
        let method = self.method.as_str();
        if matches!(self.method, Method::GET | Method::HEAD | Method::OPTIONS) {
            tracing::debug!(request_id = id, method, route, status, ms, "read");
        } else {
            tracing::info!(request_id = id, method, route, status, ms, "request");
        }
    }
}
