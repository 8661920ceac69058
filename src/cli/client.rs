//! HTTP to the server: one request, its answer, and what to do when there is none.
//!
//! - Only what is safe to repeat is repeated: every POST carries an `Idempotency-Key`
//!   that is the same for all attempts, so that an answer lost on the way cannot make a
//!   second version or a second rollback.
//! - Attempts are bounded in number; pauses double, carry jitter, and follow
//!   `Retry-After`.
//! - Addresses are checked before anything is sent: a typing error is a usage error, not
//!   "unreachable".

mod answer;
mod failure;
mod patience;

use std::io::Read;
use std::time::{Duration, Instant};

use http::{Method, Request, Uri, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use ureq::{Agent, AsSendBody, Body, Error as Broken, SendBody};

use super::exit::Failure;
use super::tls::TlsArgs;
use crate::access::TokenText;

pub(crate) use answer::{Answer, Opened, unexpected};
pub(crate) use patience::Patience;

/// The longest answer that is read: above the default of `max_answer_bytes` (32 MiB) and its envelope.
const MAX_ANSWER_BYTES: u64 = 256 << 20;
/// How long the first byte of an answer may take; more than the longest `wait` that a command asks
/// for (60 s, `cli/verify/served.rs`).
const ANSWER: Duration = Duration::from_secs(90);
/// How long after its last byte a part may take to be on the server's disk.
const STORED: Duration = Duration::from_secs(600);
/// How long one read or write of a socket may make no progress.
const STALLED: Duration = Duration::from_secs(120);
/// What is left of a time that is over: no time at all would be none to end within.
const NO_TIME: Duration = Duration::from_millis(1);
/// From this size on, the server is asked before a body is sent.
const EXPECT_FROM_BYTES: u64 = 1 << 20;

/// What stands for itself in a path segment; everything else is percent-encoded.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Text as one segment of a path, or one value of a query.
pub(crate) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, SEGMENT).to_string()
}

/// A server, and how to talk to it.
#[derive(Clone)]
pub(crate) struct Client {
    agent: Agent,
    base: String,
    token: Option<TokenText>,
    patience: Patience,
    /// When there has to be an answer, or none.
    until: Option<Instant>,
}

impl Client {
    /// A client of the server at `address` (`http://HOST:PORT` or `https://HOST:PORT`, with a
    /// path if a proxy needs one). Sends nothing yet.
    pub(crate) fn new(address: &str, token: Option<&TokenText>) -> Result<Self, Failure> {
        Self::with_tls(address, token, &TlsArgs::default())
    }

    /// The same, which speaks TLS as `tls` says.
    pub(crate) fn with_tls(
        address: &str,
        token: Option<&TokenText>,
        tls: &TlsArgs,
    ) -> Result<Self, Failure> {
        let base = base_of(address)?;
        let local = matches!(host_of(&base).as_str(), "localhost" | "127.0.0.1" | "[::1]");
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("tidetable/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(Duration::from_secs(5)))
            .timeout_recv_response(Some(ANSWER))
            .timeout_per_write(Some(STALLED));
        if local {
            // A proxy of the environment would look for the server on its own machine.
            config = config.proxy(None);
        }
        if base.starts_with("https:") {
            config = config.tls_config(tls.config()?);
        }
        let token = token.filter(|token| !token.reveal().is_empty()).cloned();
        let is_odd = |token: &TokenText| token.reveal().bytes().any(|b| !b.is_ascii_graphic());
        if token.as_ref().is_some_and(is_odd) {
            return Err(Failure::usage("the token holds characters that no header can carry"));
        }
        let agent = config.build().new_agent();
        Ok(Self { agent, base, token, patience: Patience::PERSON, until: None })
    }

    /// The same client with other patience.
    #[must_use]
    pub(crate) fn with_patience(mut self, patience: Patience) -> Self {
        self.patience = patience;
        self
    }

    /// Asks with a client that looks for a server no longer than `most`.
    pub(crate) fn asking_at_most<T>(&self, most: Duration, ask: impl FnOnce(&Self) -> T) -> T {
        let patience = Patience { out_of_reach: Some(most), ..self.patience };
        ask(&Self { patience, ..self.clone() })
    }

    /// Asks with a client whose every question has ended by then, with all its attempts.
    pub(crate) fn asking_until<T>(
        &self,
        until: Option<Instant>,
        ask: impl FnOnce(&Self) -> T,
    ) -> T {
        ask(&Self { until, ..self.clone() })
    }

    /// GET `path`, which begins with `/v1/`.
    pub(crate) fn get(&self, path: &str) -> Result<Answer, Failure> {
        self.persist(|| self.once(Method::GET, path, None, None))
    }

    /// POST `body` to `path`. All attempts carry `key`, so the server acts once.
    pub(crate) fn post(
        &self,
        path: &str,
        body: &serde_json::Value,
        key: &str,
    ) -> Result<Answer, Failure> {
        let body = body.to_string().into_bytes();
        self.persist(|| self.once(Method::POST, path, Some(&body), Some(key)))
    }

    /// One attempt to POST `body` to `path`, where a second one would do it a second time.
    pub(crate) fn post_once(
        &self,
        path: &str,
        body: &serde_json::Value,
    ) -> Result<Answer, Failure> {
        self.once(Method::POST, path, Some(&body.to_string().into_bytes()), None)
    }

    /// PUT `body` to `path`; to repeat a PUT is harmless by itself.
    pub(crate) fn put(&self, path: &str, body: &serde_json::Value) -> Result<Answer, Failure> {
        let body = body.to_string().into_bytes();
        self.persist(|| self.once(Method::PUT, path, Some(&body), None))
    }

    /// DELETE `path`.
    pub(crate) fn delete(&self, path: &str) -> Result<Answer, Failure> {
        self.persist(|| self.once(Method::DELETE, path, None, None))
    }

    /// One attempt to GET what may be long, with these headers; it is read as it comes. The caller
    /// repeats it, who knows what has come.
    pub(crate) fn open(&self, path: &str, headers: &[(&str, String)]) -> Result<Opened, Failure> {
        let mut request = self.request(Method::GET, path);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let request = request.body(()).map_err(|e| self.odd(&e))?;
        let configured = self.agent.configure_request(request);
        let answer = self.agent.run(configured.timeout_per_read(Some(STALLED)).build());
        let answer = answer.map_err(|error| self.unreachable(&error))?;
        if !answer.status().is_success() {
            return Err(self.answer(Ok(answer)).expect_err("what is no success is a failure"));
        }
        let (parts, body) = answer.into_parts();
        let body = Box::new(body.into_reader());
        Ok(Opened { status: parts.status.as_u16(), headers: parts.headers, body })
    }

    /// One attempt to PUT what `body` reads, of `bytes` if that is known, and with this digest
    /// (`Content-Digest`) if it is announced. The caller
    /// repeats it, since only the caller can begin to read anew.
    pub(crate) fn put_stream(
        &self,
        path: &str,
        body: &mut dyn Read,
        bytes: Option<u64>,
        digest: Option<&str>,
    ) -> Result<Answer, Failure> {
        let mut request = self.request(Method::PUT, path);
        if let Some(digest) = digest {
            request = request.header("content-digest", digest);
        }
        request = request.header(header::CONTENT_TYPE, "application/octet-stream");
        if let Some(bytes) = bytes {
            request = request.header(header::CONTENT_LENGTH, bytes);
        }
        if bytes.is_none_or(|bytes| bytes >= EXPECT_FROM_BYTES) {
            request = request.header(header::EXPECT, "100-continue");
        }
        let request = request.body(SendBody::from_reader(body)).map_err(|e| self.odd(&e))?;
        let configured = self.agent.configure_request(request);
        let request = configured.timeout_recv_response(Some(STORED)).build();
        self.answer(self.agent.run(request))
    }

    /// Repeats `attempt` as its patience says.
    pub(crate) fn persist<T>(
        &self,
        attempt: impl FnMut() -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        self.patience.persist(self.until, attempt)
    }

    fn once(
        &self,
        method: Method,
        path: &str,
        body: Option<&Vec<u8>>,
        key: Option<&str>,
    ) -> Result<Answer, Failure> {
        let mut request = self.request(method, path);
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let answer = match body {
            Some(body) => {
                let request = request.header(header::CONTENT_TYPE, "application/json");
                self.run(request.body(body).map_err(|e| self.odd(&e))?)
            }
            None => self.run(request.body(()).map_err(|e| self.odd(&e))?),
        };
        self.answer(answer)
    }

    fn run(&self, request: Request<impl AsSendBody>) -> Result<http::Response<Body>, Broken> {
        let Some(until) = self.until else { return self.agent.run(request) };
        let left = until.saturating_duration_since(Instant::now()).max(NO_TIME);
        let configured = self.agent.configure_request(request);
        self.agent.run(configured.timeout_global(Some(left)).build())
    }

    fn request(&self, method: Method, path: &str) -> http::request::Builder {
        let request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        match &self.token {
            Some(token) => {
                request.header(header::AUTHORIZATION, format!("Bearer {}", token.reveal()))
            }
            None => request,
        }
    }

    fn answer(&self, answer: Result<http::Response<Body>, Broken>) -> Result<Answer, Failure> {
        let (parts, mut body) = answer.map_err(|error| self.unreachable(&error))?.into_parts();
        let body = body
            .with_config()
            .limit(MAX_ANSWER_BYTES)
            .read_to_vec()
            .map_err(|error| self.unreachable(&error))?;
        let answer = Answer { status: parts.status.as_u16(), headers: parts.headers, body };
        if parts.status.is_success() { Ok(answer) } else { Err(self.refusal(&answer)) }
    }
}

/// Checks an address, and takes trailing slashes off.
fn base_of(address: &str) -> Result<String, Failure> {
    let base = address.trim().trim_end_matches('/');
    let like = "a server looks like http://127.0.0.1:7070";
    let authority = base.split_once("://").map_or(base, |(_, rest)| rest);
    let authority = authority.split(['/', '?', '#']).next().unwrap_or_default();
    // First of all, so that no message shows a password.
    if authority.contains('@') {
        let text = "the address of the server holds a user name or a password, which are not sent";
        return Err(Failure::usage(text).hint("a token goes into --token, or TIDETABLE_TOKEN"));
    }
    let uri: Uri = base
        .parse()
        .map_err(|error| Failure::usage(format!("{base:?} is no address: {error}")).hint(like))?;
    match uri.scheme_str() {
        Some("http" | "https") => {}
        _ => {
            let text = format!("{base:?} does not begin with http:// or https://");
            return Err(Failure::usage(text).hint(like));
        }
    }
    if uri.host().is_none_or(str::is_empty) || uri.query().is_some() {
        return Err(Failure::usage(format!("{base:?} is no address of a server")).hint(like));
    }
    // Of an IPv6 address, colons within its brackets part nothing.
    let after_brackets = authority.rsplit_once(']').map_or(authority, |(_, rest)| rest);
    if let Some((_, port)) = after_brackets.rsplit_once(':')
        && !is_port(port)
    {
        let text = format!("{base:?} has the port {port:?}: a port is a number from 1 to 65535");
        return Err(Failure::usage(text).hint(like));
    }
    Ok(base.to_owned())
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit()) && text.parse::<u16>().is_ok_and(|port| port > 0)
}

fn host_of(base: &str) -> String {
    base.parse::<Uri>().ok().and_then(|uri| uri.host().map(str::to_owned)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::exit::{Exit, Retry};
    use super::super::stub::{Reply, Stub};
    use super::*;
    use serde_json::json;

    fn quick(stub: &Stub, retries: u32) -> Client {
        let patience =
            Patience { retries, first_pause: Duration::from_millis(1), out_of_reach: None };
        Client::new(&stub.address(), Some(&TokenText::from("s3cret".to_owned())))
            .unwrap()
            .with_patience(patience)
    }

    #[test]
    fn addresses_are_checked_before_anything_is_sent() {
        for good in [
            "http://127.0.0.1:7070",
            "http://host",
            "https://host:7070",
            "http://h:1/base/",
            " http://h ",
            "http://[::1]",
            "http://[::1]:65535/a:b@c",
        ] {
            assert!(base_of(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "127.0.0.1:7070",
            "host",
            "ftp://h",
            "http://",
            "http://h?x=1",
            "http://a b",
            // Without these, port 80 would be asked.
            "http://127.0.0.1:99999",
            "http://h:",
            "http://h:0",
            "http://h:+80/x",
            "http://[::1]:x",
        ] {
            let failure = base_of(bad).unwrap_err();
            assert_eq!(failure.exit, Exit::Usage, "{bad}");
        }
        for named in ["http://u:secret@h:7070", "ftp://u:secret@h", "u:secret@h"] {
            let failure = base_of(named).unwrap_err();
            assert_eq!(failure.exit, Exit::Usage, "{named}");
            let text = failure.text();
            assert!(text.contains("--token") && !text.contains("secret"), "{text}");
        }
    }

    #[test]
    fn a_success_is_handed_back_with_its_headers() {
        let stub = Stub::answering(vec![
            Reply::json(200, json!({"ok": 1})).with("tidetable-version", "42"),
        ]);
        let answer = quick(&stub, 0).get("/v1/datasets/a/keys/k%2Fx").unwrap();
        assert_eq!((answer.status, answer.header("tidetable-version")), (200, Some("42")));
        assert_eq!(answer.text(), r#"{"ok":1}"#);
        let asked = &stub.finish()[0];
        assert_eq!(asked.line, "GET /v1/datasets/a/keys/k%2Fx HTTP/1.1");
        assert_eq!(asked.header("authorization"), Some("Bearer s3cret"));
    }

    #[test]
    fn a_problem_becomes_a_failure_with_its_words() {
        let stub = Stub::answering(vec![Reply::json(
            409,
            json!({"title": "Conflict", "status": 409, "detail": "42 is current, not 41",
                   "code": "current_changed", "retryable": false, "request_id": "r-9"}),
        )]);
        let failure = quick(&stub, 3).post("/v1/datasets/a/rollback", &json!({}), "k").unwrap_err();
        assert_eq!(failure.exit, Exit::Conflict);
        assert_eq!(failure.message, "42 is current, not 41");
        assert_eq!(failure.request_id.as_deref(), Some("r-9"));
        assert_eq!(stub.finish().len(), 1, "a conflict is not asked again");
    }

    #[test]
    fn an_answer_without_a_problem_is_told_as_it_is() {
        let stub = Stub::answering(vec![Reply::text(502, "<html>bad gateway</html>")]);
        let failure = quick(&stub, 0).get("/v1/datasets").unwrap_err();
        assert_eq!(failure.exit, Exit::Unreachable);
        assert!(failure.message.contains("502"), "{}", failure.message);
        stub.finish();
    }

    #[test]
    fn a_busy_server_is_asked_again_with_the_same_idempotency_key() {
        let busy = || Reply::json(503, json!({"detail": "starting", "retryable": true}));
        let stub = Stub::answering(vec![busy(), busy(), Reply::json(200, json!({}))]);
        quick(&stub, 3).post("/v1/datasets/a/hold", &json!({"reason": "x"}), "key-1").unwrap();
        let asked = stub.finish();
        assert_eq!(asked.len(), 3);
        for request in &asked {
            assert_eq!(request.header("idempotency-key"), Some("key-1"));
            assert_eq!(request.body, br#"{"reason":"x"}"#);
        }
    }

    #[test]
    fn a_dropped_connection_is_tried_again_and_patience_ends() {
        let stub = Stub::answering(vec![Reply::drop(), Reply::json(200, json!({}))]);
        quick(&stub, 1).get("/v1/datasets").unwrap();
        assert_eq!(stub.finish().len(), 2);

        let stub = Stub::answering(vec![Reply::drop(), Reply::drop()]);
        let failure = quick(&stub, 1).get("/v1/datasets").unwrap_err();
        assert_eq!(failure.exit, Exit::Unreachable);
        assert_eq!(stub.finish().len(), 2);
    }

    #[test]
    fn a_server_that_is_not_there_is_looked_for_no_longer_than_said() {
        let ask = |replies: Vec<Reply>, most| {
            let stub = Stub::answering(replies);
            let first_pause = Duration::from_secs(1);
            let patience = Patience { retries: 2, first_pause, out_of_reach: None };
            let client = Client::new(&stub.address(), None).unwrap().with_patience(patience);
            let answer = client.asking_at_most(most, |client| client.get("/v1/datasets"));
            (answer, stub.finish().len())
        };
        // A pause takes half a second at least: there is no time for one.
        let (answer, asked) = ask(vec![Reply::drop()], Duration::from_millis(400));
        assert_eq!((answer.unwrap_err().exit, asked), (Exit::Unreachable, 1));
        // One that answers that it is busy is there.
        let busy = json!({"detail": "starting", "code": "opening", "retryable": true});
        let busy = Reply::json(503, busy);
        let answers = vec![busy.with("retry-after", "0"), Reply::json(200, json!({}))];
        let (answer, asked) = ask(answers, Duration::from_millis(400));
        assert!(answer.is_ok() && asked == 2);
    }

    #[test]
    fn nobody_listening_names_the_address_and_how_to_start_one() {
        // A port that was free a moment ago, and that nobody listens on.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let client = Client::new(&address, None).unwrap();
        let client = client.with_patience(Patience { retries: 0, ..Patience::PERSON });
        let failure = client.get("/v1/datasets").unwrap_err();
        assert_eq!(failure.exit, Exit::Unreachable);
        let text = failure.text();
        assert!(text.contains(&address) && text.contains("tidetable serve"), "{text}");
    }

    #[test]
    fn a_server_without_tls_is_told_from_one_that_is_not_trusted() {
        use rustls::{Error as Tls, InvalidMessage};
        let client = Client::new("http://h:7070", None).unwrap();
        let client = Client { base: "https://h:7070".to_owned(), ..client };
        let failure = |tls: Tls| {
            let failure = client.unreachable(&Broken::Io(std::io::Error::other(tls)));
            assert_eq!((failure.exit, failure.retry), (Exit::Unreachable, Retry::Never));
            failure.text()
        };
        let text = failure(Tls::InvalidMessage(InvalidMessage::InvalidContentType));
        assert!(text.contains("speaks HTTP, and not HTTPS"), "{text}");
        assert!(text.contains("http://h:7070") && !text.contains("certificate"), "{text}");
        let text = failure(Tls::NoCertificatesPresented);
        assert!(text.contains("--ca-certificate"), "{text}");
    }
}
