//! The options of a client.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use reqwest::redirect::Policy;
use tokio::sync::Semaphore;

use crate::cache::Cache;
use crate::client::Inner;
use crate::request::{Base, UNIT, unit_value};
use crate::retry::Budget;
use crate::transport::Transport;
use crate::{Client, Error};

const DEFAULT_SERVER: &str = "http://127.0.0.1:7070";

/// The options of a client. The server is that of the environment variable `TIDETABLE_SERVER`, or
/// `http://127.0.0.1:7070`, unless said; the token that of `TIDETABLE_TOKEN`.
#[derive(Clone)]
pub struct ClientBuilder {
    server: String,
    token: Option<String>,
    unit: Option<String>,
    connect_timeout: Duration,
    total_timeout: Duration,
    pool_size: usize,
    max_tries: u32,
    cache_ttl: Option<Duration>,
    cache_by_version: bool,
    cache_bytes: usize,
    tls: Option<rustls::ClientConfig>,
    proxy_of_environment: bool,
}

impl ClientBuilder {
    pub(crate) fn new() -> Self {
        let told = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self {
            server: told("TIDETABLE_SERVER").unwrap_or_else(|| DEFAULT_SERVER.to_owned()),
            token: told("TIDETABLE_TOKEN"),
            unit: None,
            connect_timeout: Duration::from_secs(1),
            total_timeout: Duration::from_secs(5),
            pool_size: 32,
            max_tries: 3,
            cache_ttl: None,
            cache_by_version: false,
            cache_bytes: 64 << 20,
            tls: None,
            proxy_of_environment: false,
        }
    }

    /// Where the server is: `http://host:port` or `https://…`, with a path if a proxy has it at one.
    #[must_use]
    pub fn server(mut self, address: impl Into<String>) -> Self {
        self.server = address.into();
        self
    }

    /// What it shows to be let in; `None` for nothing.
    #[must_use]
    pub fn token(mut self, token: impl Into<Option<String>>) -> Self {
        self.token = token.into();
        self
    }

    /// For whom it reads (`Tidetable-Unit`), while a canary runs: a learner's id, say. Without, a
    /// lookup is for its key. Text of any script, up to 1,024 bytes, without control characters.
    /// [`Client::for_unit`] reads for another one.
    #[must_use]
    pub fn unit(mut self, unit: impl Into<Option<String>>) -> Self {
        self.unit = unit.into();
        self
    }

    /// How long to try to connect: 1 s unless said. It counts as a try.
    #[must_use]
    pub fn connect_timeout(mut self, time: Duration) -> Self {
        self.connect_timeout = time;
        self
    }

    /// How long a call may take in all, with its retries and waits: 5 s unless said.
    #[must_use]
    pub fn total_timeout(mut self, time: Duration) -> Self {
        self.total_timeout = time;
        self
    }

    /// As many requests, and so connections, at the same time: 32 unless said. Others wait.
    #[must_use]
    pub fn pool_size(mut self, connections: usize) -> Self {
        self.pool_size = connections;
        self
    }

    /// How often a request is sent at most, 3 unless said; 1 is once.
    #[must_use]
    pub fn max_tries(mut self, tries: u32) -> Self {
        self.max_tries = tries;
        self
    }

    /// Keeps values of single keys, up to [`cache_bytes`](Self::cache_bytes): within `ttl` they are
    /// given without asking, later if the server says that they did not change (304). A swap is so
    /// seen no later than `ttl` after it. Values of a pinned version are kept without end, also if
    /// their key is erased meanwhile: [`Client::clear_cache`]. Off unless said.
    #[must_use]
    pub fn cache(mut self, ttl: Duration) -> Self {
        self.cache_ttl = Some(ttl);
        self
    }

    /// Also drops all values of a dataset as soon as any answer shows another version of it than
    /// before. While a canary runs that is often.
    #[must_use]
    pub fn cache_by_version(mut self) -> Self {
        self.cache_by_version = true;
        self
    }

    /// As many bytes of keys and values as the cache holds: 64 MiB unless said.
    #[must_use]
    pub fn cache_bytes(mut self, most: usize) -> Self {
        self.cache_bytes = most;
        self
    }

    /// TLS as you want it, for certificates of your own say. Without: ring, and the certificates
    /// that the system trusts (or `SSL_CERT_FILE`), read when the client is made.
    #[must_use]
    pub fn tls(mut self, config: rustls::ClientConfig) -> Self {
        self.tls = Some(config);
        self
    }

    /// Goes by the proxy that `http_proxy`, `https_proxy` and `no_proxy` name. Without this, by none.
    #[must_use]
    pub fn proxy_of_environment(mut self) -> Self {
        self.proxy_of_environment = true;
        self
    }

    /// The client. Nothing is sent yet.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`] if an option can mean nothing.
    pub fn build(self) -> Result<Client, Error> {
        let (base, url) = Base::parse(&self.server)?;
        if self.pool_size == 0 || self.max_tries == 0 {
            return Err(Error::usage("a client has at least one connection and one try"));
        }
        if self.total_timeout.is_zero() || self.connect_timeout.is_zero() {
            return Err(Error::usage("timeouts are more than nothing"));
        }
        let described = format!("{self:?}");
        let headers = self.headers()?;
        let mut http = reqwest::Client::builder()
            .user_agent(concat!("tidetable-client-rust/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers)
            .redirect(Policy::none())
            .referer(false)
            .http1_only()
            .connect_timeout(self.connect_timeout)
            .pool_max_idle_per_host(self.pool_size);
        if !self.proxy_of_environment {
            http = http.no_proxy();
        }
        let tls = match self.tls {
            Some(config) => config,
            None => tls(url.scheme() == "https")?,
        };
        let http = http.tls_backend_preconfigured(tls).build().map_err(|error| {
            Error::Usage(format!("a client cannot be made: {}", error.without_url()))
        })?;
        let cache =
            self.cache_ttl.map(|ttl| Cache::new(ttl, self.cache_by_version, self.cache_bytes));
        let transport = Transport {
            http,
            slots: Semaphore::new(self.pool_size),
            budget: Budget::new(),
            most_tries: self.max_tries,
        };
        Ok(Client::of(Inner { base, transport, cache, timeout: self.total_timeout, described }))
    }

    fn headers(&self) -> Result<HeaderMap, Error> {
        let mut headers = HeaderMap::new();
        if let Some(token) = &self.token {
            let mut value = token_value(token)?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        if let Some(unit) = &self.unit {
            headers.insert(HeaderName::from_static(UNIT), unit_value(unit)?);
        }
        Ok(headers)
    }
}

/// A token as a header that it cannot break out of.
fn token_value(token: &str) -> Result<HeaderValue, Error> {
    let is_good = (1..=1_024).contains(&token.len()) && token.bytes().all(|b| b.is_ascii_graphic());
    let value = HeaderValue::from_str(&format!("Bearer {token}")).ok().filter(|_| is_good);
    value.ok_or_else(|| Error::usage("the token is 1 to 1,024 visible ASCII characters"))
}

/// With ring, and the certificates that the system trusts, if they are needed.
fn tls(with_roots: bool) -> Result<rustls::ClientConfig, Error> {
    let mut roots = rustls::RootCertStore::empty();
    if with_roots {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::Usage(format!("TLS cannot be set up: {error}")))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// Where it reads, and how; of the token only whether there is one.
impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ok((base, _)) = Base::parse(&self.server) else {
            return f.write_str("Client(of an address that is none)");
        };
        write!(f, "Client({base}")?;
        if self.token.is_some() {
            f.write_str(", with a token")?;
        }
        if let Some(unit) = &self.unit {
            write!(f, ", unit {unit:?}")?;
        }
        write!(
            f,
            ", connect {:?}, total {:?}, {} connections, {} tries",
            self.connect_timeout, self.total_timeout, self.pool_size, self.max_tries
        )?;
        match self.cache_ttl {
            Some(ttl) => write!(f, ", cache {ttl:?})"),
            None => f.write_str(")"),
        }
    }
}
