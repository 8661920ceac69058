//! What there is instead of a success, in words that help: a refusal, or no answer at all.

use std::time::Duration;

use ureq::Error as Broken;

use super::super::exit::{Exit, Failure, Problem, Retry};
use super::{Answer, Client};
use crate::trust;

/// What to do about an error that is none of a Tidetable server.
const ANOTHER_SERVER: &str =
    "is it a Tidetable server? A proxy before it may have answered instead";

impl Client {
    pub(super) fn refusal(&self, answer: &Answer) -> Failure {
        let told = answer.header("retry-after").and_then(|text| text.parse().ok());
        let told = told.map(Duration::from_secs);
        if let Ok(problem) = serde_json::from_slice::<Problem>(&answer.body) {
            let mut failure = problem.into_failure(answer.status, told);
            if failure.request_id.is_none() {
                failure.request_id = answer.header("x-request-id").map(str::to_owned);
            }
            if failure.code.is_none() && failure.hint.is_none() {
                failure.hint = Some(ANOTHER_SERVER.to_owned());
            }
            return failure;
        }
        let mut failure = Problem::default().into_failure(answer.status, told);
        failure.message = format!("{} answered {} without a reason", self.base, answer.status);
        failure.hint(ANOTHER_SERVER)
    }

    pub(super) fn unreachable(&self, error: &Broken) -> Failure {
        let (why, exit) = match error {
            Broken::Tls(_) | Broken::Rustls(_) | Broken::Pem(_) => return self.untrusted(error),
            Broken::Io(io) if trust::is_of_no_tls(io) => return self.without_tls(),
            Broken::Io(io) if trust::is_of_tls(io) => return self.untrusted(error),
            Broken::Io(error) => (error.to_string(), Exit::Unreachable),
            Broken::HostNotFound => ("no such host".to_owned(), Exit::Unreachable),
            Broken::Timeout(_) => ("no answer in time".to_owned(), Exit::Unreachable),
            Broken::Protocol(_) => (format!("not an HTTP answer ({error})"), Exit::Failed),
            _ => (error.to_string(), Exit::Unreachable),
        };
        Failure::new(exit, format!("cannot reach the server at {}: {why}", self.base))
            .retry(if exit == Exit::Unreachable { Retry::Soon } else { Retry::Never })
            .hint(
                "`tidetable serve` starts one on this machine; \
                 --server or TIDETABLE_SERVER names another",
            )
    }

    /// No secure connection: to ask again changes nothing.
    fn untrusted(&self, error: &Broken) -> Failure {
        let text = format!("no secure connection to the server at {}: {error}", self.base);
        Failure::new(Exit::Unreachable, text).hint(
            "--ca-certificate names the authority of a certificate that the system does not trust, \
             --client-certificate your own where the server asks for one",
        )
    }

    /// What answers there speaks no TLS: mostly a server that has no certificate.
    fn without_tls(&self) -> Failure {
        let text = format!("the server at {} speaks HTTP, and not HTTPS", self.base);
        Failure::new(Exit::Unreachable, text).hint(format!(
            "its address begins with http://: {}",
            self.base.replacen("https://", "http://", 1)
        ))
    }

    /// A request that cannot even be written down: always our address or path.
    pub(super) fn odd(&self, error: &http::Error) -> Failure {
        Failure::usage(format!("{} is no address a request can be sent to: {error}", self.base))
    }
}
