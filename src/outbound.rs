//! The server's own POSTs: webhooks, and checks that are a `NAME.url`. JSON, to an address that an
//! operator named, over `http://` or `https://`. (Imports fetch by `remote/`.)
//!
//! - Nothing takes longer than the caller allows, from the name lookup to the last byte.
//! - Redirects are not followed: what was named is where it goes, or it fails.
//! - An answer is read up to [`MAX_REPLY_BYTES`], so that nobody fills our memory; of one to a
//!   webhook its status alone.
//! - An address may carry a token in its path, so only its scheme and host are ever shown.
//! - Certificates are checked against those that the system trusts (or `SSL_CERT_FILE`).
//!   The proxies of the environment are used, except for this machine itself.

use std::fmt;
use std::io::Read as _;
use std::time::Duration;

use http::{Response, Uri};
use ureq::tls::RootCerts;
use ureq::{Agent, Body, Error};

use crate::trust;

/// How much of an answer is read; what is longer is cut.
pub(crate) const MAX_REPLY_BYTES: u64 = 64 * 1024;

/// Where requests are sent to.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Url(Uri);

impl Url {
    /// Parses an address, or says what one looks like.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let like = "expected an address like https://hooks.example.org/path";
        let uri: Uri = text.parse().map_err(|_| like.to_owned())?;
        let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
        let authority = uri.authority().filter(|a| is_http && !a.host().is_empty());
        let Some(authority) = authority else { return Err(like.to_owned()) };
        if authority.as_str().contains('@') {
            return Err(
                "a name and password in an address are not sent: use a token in its path, \
                        or check the signature"
                    .to_owned(),
            );
        }
        Ok(Self(uri))
    }

    /// Whether it is on this machine, as far as its name tells.
    fn is_local(&self) -> bool {
        matches!(self.0.host(), Some("localhost" | "127.0.0.1" | "[::1]"))
    }
}

/// Its scheme, host and port alone: what follows may be a secret.
impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.0.scheme_str().unwrap_or_default();
        write!(f, "{scheme}://{}", self.0.authority().map_or("", |a| a.as_str()))
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Url({self}/…)")
    }
}

/// An answer, whatever its status.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// Its first [`MAX_REPLY_BYTES`].
    pub(crate) body: Vec<u8>,
}

/// Why there was no answer. Says nothing of the address beyond its host.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OutboundError {
    #[error("{0} did not answer in time")]
    Timeout(Url),
    #[error("{0} cannot be reached: {1}")]
    Unreachable(Url, String),
    /// A certificate that is not trusted, say, or none that could be checked against.
    #[error("no secure connection to {0}: {1}")]
    Tls(Url, String),
    #[error("{0} gave no HTTP answer: {1}")]
    Protocol(Url, String),
}

/// POSTs JSON and waits for the answer, `timeout` at most for all of it.
pub(crate) fn post_json(
    url: &Url,
    body: &[u8],
    headers: &[(&str, &str)],
    timeout: Duration,
) -> Result<Reply, OutboundError> {
    post_trusting(None, url, body, headers, timeout)
}

/// The same, for whom the status is all: what follows it is not waited for.
pub(crate) fn post_for_status(
    url: &Url,
    body: &[u8],
    headers: &[(&str, &str)],
    timeout: Duration,
) -> Result<u16, OutboundError> {
    Ok(send(None, url, body, headers, timeout)?.status().as_u16())
}

/// [`post_json`], with these certificates instead of the system's.
fn post_trusting(
    roots: Option<RootCerts>,
    url: &Url,
    body: &[u8],
    headers: &[(&str, &str)],
    timeout: Duration,
) -> Result<Reply, OutboundError> {
    let (parts, body) = send(roots, url, body, headers, timeout)?.into_parts();
    let mut reply = Reply { status: parts.status.as_u16(), body: Vec::new() };
    let read = body.into_reader().take(MAX_REPLY_BYTES).read_to_end(&mut reply.body);
    read.map_err(|error| explained(url, Error::from(error)))?;
    Ok(reply)
}

/// Sends it, and waits for the head of the answer.
fn send(
    roots: Option<RootCerts>,
    url: &Url,
    body: &[u8],
    headers: &[(&str, &str)],
    timeout: Duration,
) -> Result<Response<Body>, OutboundError> {
    let mut config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .user_agent(concat!("tidetable/", env!("CARGO_PKG_VERSION")))
        // A connection that was kept may be closed by then, and requests are rare.
        .max_idle_connections(0)
        .timeout_global(Some(timeout));
    if url.is_local() {
        config = config.proxy(None);
    }
    if url.0.scheme_str() == Some("https") {
        let roots = roots.map_or_else(trust::system_roots, Ok);
        let roots = roots.map_err(|why| OutboundError::Tls(url.clone(), why))?;
        config = config.tls_config(trust::tls(roots, None));
    }
    let agent = config.build().new_agent();
    let mut request = agent.post(url.0.clone()).content_type("application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send(body).map_err(|error| explained(url, error))
}

fn explained(url: &Url, error: Error) -> OutboundError {
    let url = url.clone();
    match error {
        Error::Timeout(_) => OutboundError::Timeout(url),
        Error::HostNotFound => OutboundError::Unreachable(url, "no such host".to_owned()),
        Error::Tls(_) | Error::Rustls(_) | Error::Pem(_) => {
            OutboundError::Tls(url, error.to_string())
        }
        Error::Io(error) if trust::is_of_tls(&error) => OutboundError::Tls(url, error.to_string()),
        Error::Io(error) if error.kind() == std::io::ErrorKind::TimedOut => {
            OutboundError::Timeout(url)
        }
        Error::Protocol(_) => OutboundError::Protocol(url, error.to_string()),
        other => OutboundError::Unreachable(url, other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};
    use std::sync::Arc;
    use std::thread::JoinHandle;
    use ureq::tls::Certificate;

    const PATIENCE: Duration = Duration::from_secs(60);
    /// Self-signed for `localhost`, for a hundred years, and known to everybody: made with
    /// `openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -days 36500
    /// -subj /CN=localhost -addext subjectAltName=DNS:localhost
    /// -addext basicConstraints=critical,CA:FALSE`, the key as PKCS #8.
    const CERT: &[u8] = include_bytes!("outbound/localhost.cert.der");
    const KEY: &[u8] = include_bytes!("outbound/localhost.key.der");
    /// The same with another key.
    const ANOTHER: &[u8] = include_bytes!("outbound/localhost-of-another.cert.der");

    /// Answers one connection by `serve`, and gives what that gives.
    fn server<T: Send + 'static>(
        serve: impl FnOnce(TcpStream) -> T + Send + 'static,
    ) -> (std::net::SocketAddr, JoinHandle<T>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        (address, std::thread::spawn(move || serve(listener.accept().unwrap().0)))
    }

    /// Reads a head and the two bytes of the body, and writes `answer`.
    fn exchange(stream: &mut (impl std::io::Read + std::io::Write), answer: &[u8]) -> String {
        let mut read = Vec::new();
        while !read.ends_with(b"\r\n\r\n{}") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            read.push(byte[0]);
        }
        // A client that has enough may have gone.
        let _ = stream.write_all(answer);
        String::from_utf8(read).unwrap().to_ascii_lowercase()
    }

    fn post(url: &str, timeout: Duration) -> Result<Reply, OutboundError> {
        post_json(&Url::parse(url).unwrap(), b"{}", &[("webhook-id", "7")], timeout)
    }

    #[test]
    fn it_posts_and_gives_any_answer_but_follows_none() {
        for (status, extra) in [(204, ""), (500, ""), (307, "location: http://127.0.0.1:9/x\r\n")] {
            let answer = format!("HTTP/1.1 {status} X\r\n{extra}content-length: 0\r\n\r\n");
            let (address, asked) = server(move |mut s| exchange(&mut s, answer.as_bytes()));
            let reply = post(&format!("http://{address}/hook?t=1"), PATIENCE).unwrap();
            assert_eq!((reply.status, reply.body.len()), (status, 0));
            let asked = asked.join().unwrap();
            assert!(asked.starts_with("post /hook?t=1 http/1.1\r\n"), "{asked}");
            assert!(asked.contains("content-type: application/json\r\n"), "{asked}");
            assert!(asked.contains("webhook-id: 7\r\n"), "{asked}");
        }
    }

    #[test]
    fn a_long_answer_is_cut() {
        let body = vec![b'x'; usize::try_from(MAX_REPLY_BYTES).unwrap() * 4];
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
        let (address, _asked) =
            server(move |mut s| exchange(&mut s, &[head.as_bytes(), &body].concat()));
        let reply = post(&format!("http://{address}/"), PATIENCE).unwrap();
        assert_eq!(reply.body.len() as u64, MAX_REPLY_BYTES);
    }

    #[test]
    fn whoever_wants_the_status_alone_waits_for_nothing_behind_it() {
        let head = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n";
        let (address, _kept) = server(move |mut s| {
            exchange(&mut s, head);
            s
        });
        let url = Url::parse(&format!("http://{address}/")).unwrap();
        assert_eq!(post_for_status(&url, b"{}", &[], PATIENCE).unwrap(), 200);
    }

    #[test]
    fn silence_a_closed_port_and_nonsense_are_told_apart_without_the_path() {
        let (silent, _connection) = server(|stream| stream);
        let timeout = post(&format!("http://{silent}/secret"), Duration::from_millis(50));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let closed = listener.local_addr().unwrap();
        drop(listener);
        let refused = post(&format!("http://{closed}/secret"), PATIENCE);
        let (odd, _asked) = server(|mut s| exchange(&mut s, b"SMTP ready\r\n\r\n"));
        let odd = post(&format!("http://{odd}/secret"), PATIENCE);
        let errors = [timeout, refused, odd].map(Result::unwrap_err);
        assert!(
            matches!(
                errors,
                [
                    OutboundError::Timeout(_),
                    OutboundError::Unreachable(..),
                    OutboundError::Protocol(..)
                ]
            ),
            "{errors:?}"
        );
        for error in errors {
            let text = format!("{error} {error:?}");
            assert!(text.contains("127.0.0.1") && !text.contains("secret"), "{text}");
        }
    }

    #[test]
    fn https_is_spoken_to_whom_is_trusted_and_to_nobody_else() {
        let key = KEY.to_vec();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![CERT.into()], key.try_into().unwrap())
            .unwrap();
        let config = Arc::new(config);
        let serve = || {
            let config = Arc::clone(&config);
            server(move |mut tcp| {
                let mut tls = rustls::ServerConnection::new(config).unwrap();
                // Whoever does not trust us ends the handshake.
                tls.complete_io(&mut tcp).ok()?;
                let mut stream = rustls::Stream::new(&mut tls, &mut tcp);
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
                Some(exchange(&mut stream, answer))
            })
        };
        let trusting = |der| RootCerts::new_with_certs(&[Certificate::from_der(der).to_owned()]);
        let roots = trusting(CERT);
        let (address, asked) = serve();
        let url = Url::parse(&format!("https://localhost:{}/hook", address.port())).unwrap();
        let reply = post_trusting(Some(roots.clone()), &url, b"{}", &[], PATIENCE).unwrap();
        assert_eq!((reply.status, &reply.body[..]), (200, &b"ok"[..]));
        assert!(asked.join().unwrap().unwrap().starts_with("post /hook"));
        // Another name than that of the certificate, and a certificate that nobody trusts.
        let (address, asked) = serve();
        let other = Url::parse(&format!("https://127.0.0.1:{}/", address.port())).unwrap();
        let error = post_trusting(Some(roots), &other, b"{}", &[], PATIENCE).unwrap_err();
        assert!(matches!(error, OutboundError::Tls(..)), "{error:?}");
        assert!(asked.join().unwrap().is_none());
        let (address, asked) = serve();
        let url = Url::parse(&format!("https://localhost:{}/", address.port())).unwrap();
        let error = post_trusting(Some(trusting(ANOTHER)), &url, b"{}", &[], PATIENCE).unwrap_err();
        assert!(matches!(error, OutboundError::Tls(..)), "{error:?}");
        assert!(asked.join().unwrap().is_none());
    }

    #[test]
    fn addresses_are_checked_and_only_their_host_is_shown() {
        let url = Url::parse("https://hooks.example.org:8443/T0/secret?token=x").unwrap();
        assert_eq!(url.to_string(), "https://hooks.example.org:8443");
        assert!(!format!("{url:?}").contains("secret"));
        for bad in ["", "hooks.example.org", "ftp://a/b", "http://", "http:///x", "https://u:p@a/"]
        {
            assert!(Url::parse(bad).is_err(), "{bad}");
        }
    }
}
