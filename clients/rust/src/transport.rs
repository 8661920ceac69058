//! Sends requests, and sends them again where that can help: all of them read, so that a second
//! one does no harm.

use std::error::Error as _;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout_at};

use crate::Error;
use crate::reply::Reply;
use crate::request::Request;
use crate::retry::{Budget, backoff, may_pass};

pub(crate) struct Transport {
    pub(crate) http: reqwest::Client,
    /// As many requests at the same time, and so as many connections.
    pub(crate) slots: Semaphore,
    pub(crate) budget: Budget,
    pub(crate) most_tries: u32,
}

/// When a call ends whatever has come of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    at: tokio::time::Instant,
    total: Duration,
}

impl Deadline {
    pub(crate) fn after(total: Duration) -> Self {
        // What is longer than a year is as long as a year.
        let total = total.min(Duration::from_secs(365 * 86_400));
        Self { at: tokio::time::Instant::now() + total, total }
    }

    fn error(self, before: Option<Error>) -> Error {
        Error::Deadline { total: self.total, before: before.map(Box::new) }
    }
}

impl Transport {
    /// Sends a request until an answer is whole. `read` makes something of it; if that is an
    /// [`Error::Connection`], the answer is none after all.
    pub(crate) async fn send<T>(
        &self,
        request: &Request,
        deadline: Deadline,
        read: impl Fn(&Reply) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut before = None;
        let mut tries = 0;
        loop {
            tries += 1;
            let (error, at_least) = match timeout_at(deadline.at, self.once(request)).await {
                Err(_) => return Err(deadline.error(before)),
                Ok(Ok(reply)) if may_pass(reply.status) => {
                    (reply.problem().into_error(), reply.retry_after())
                }
                Ok(Ok(reply)) => match read(&reply) {
                    Err(error @ Error::Connection { .. }) => (error, Duration::ZERO),
                    done => return done,
                },
                Ok(Err(error)) if is_final(&error) => return Err(error),
                Ok(Err(error)) => (error, Duration::ZERO),
            };
            let wait = at_least + backoff(tries);
            let is_late = tokio::time::Instant::now() + wait >= deadline.at;
            if is_late || tries >= self.most_tries || !self.budget.take() {
                return Err(error);
            }
            before = Some(error);
            sleep(wait).await;
        }
    }

    async fn once(&self, request: &Request) -> Result<Reply, Error> {
        let _slot = self.slots.acquire().await.expect("the semaphore is never closed");
        let sent_at = Instant::now();
        let answer = request.build(&self.http).send().await.map_err(no_answer)?;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let body = answer.bytes().await.map_err(no_answer)?;
        Ok(Reply { status, headers, body, sent_at })
    }
}

fn no_answer(error: reqwest::Error) -> Error {
    let error = error.without_url();
    let mut what = format!("no answer: {error}");
    let mut next = error.source();
    while let Some(cause) = next {
        what = format!("{what}: {cause}");
        next = cause.source();
    }
    Error::Connection { what, source: Some(error) }
}

/// A certificate that is not trusted will not be the next time either, and a request that cannot
/// be made cannot be made again.
fn is_final(error: &Error) -> bool {
    let Error::Connection { source: Some(error), .. } = error else { return false };
    if error.is_builder() {
        return true;
    }
    let mut next = error.source();
    while let Some(cause) = next {
        let inner = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if let Some(tls) = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            return matches!(tls, rustls::Error::InvalidCertificate(_));
        }
        next = cause.source();
    }
    false
}
