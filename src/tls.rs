//! Who the server is, to clients that speak TLS: its certificate, and which clients it lets in.
//!
//! - The certificate, its key and the authorities of clients are files. They are read at start,
//!   where anything wrong with them stops it, and again when they change ([`watch`]).
//! - What is read anew takes the place of what was there whole or not at all: a pair that does
//!   not fit, or has run out, is told in the log and counted, and the one before serves on.
//!   Connections that are open keep what they were opened with.
//! - TLS 1.2 and 1.3 alone, by rustls, with the cryptography of ring. No early data, which can be
//!   replayed.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail};
use arc_swap::ArcSwap;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

use crate::config::ServeConfig;
use crate::metrics::Metrics;

mod watch;

use watch::Print;

/// What is counted of it.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Handshakes that came to nothing.
    pub(crate) failed_handshakes: AtomicU64,
    /// Times that another certificate was put in place.
    pub(crate) reloads: AtomicU64,
    /// Times that one was not, since something was wrong with it.
    pub(crate) failed_reloads: AtomicU64,
    /// When the certificate ends, in seconds since 1970; 0 without TLS.
    expires_at: AtomicI64,
}

impl Counts {
    /// Seconds until the certificate ends, less than 0 once it has; `None` without TLS.
    pub(crate) fn expires_in(&self) -> Option<i64> {
        let expires_at = self.expires_at.load(Relaxed);
        (expires_at != 0).then(|| expires_at - now())
    }
}

/// The files it is made of.
#[derive(Clone, Debug)]
struct Files {
    certificate: PathBuf,
    key: PathBuf,
    client_ca: Option<PathBuf>,
}

/// Who the server is.
#[derive(Debug)]
pub(crate) struct Tls {
    files: Files,
    /// How they looked before they were read.
    at_start: Vec<Print>,
    current: ArcSwap<ServerConfig>,
    metrics: Arc<Metrics>,
}

impl Tls {
    /// What the settings name; `None` if they name nothing. The error says what to do.
    pub(crate) fn load(
        config: &ServeConfig,
        metrics: &Arc<Metrics>,
    ) -> anyhow::Result<Option<Arc<Self>>> {
        if !config.has_tls() {
            return Ok(None);
        }
        let client_ca = Some(config.tls_client_ca.clone()).filter(|ca| !ca.as_os_str().is_empty());
        let (certificate, key) = (config.tls_certificate.clone(), config.tls_key.clone());
        let files = Files { certificate, key, client_ca };
        let at_start = watch::look(&files);
        let loaded = files.read()?;
        if loaded.expires_at <= now() {
            tracing::error!(
                certificate = %files.certificate.display(),
                "the certificate has run out: clients will refuse it; put another in its place, which takes no restart",
            );
        }
        metrics.tls.expires_at.store(loaded.expires_at, Relaxed);
        let current = ArcSwap::from(loaded.config);
        Ok(Some(Arc::new(Self { files, at_start, current, metrics: Arc::clone(metrics) })))
    }

    /// Makes handshakes with what holds now.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.current.load_full())
    }

    /// A handshake came to nothing.
    pub(crate) fn handshake_failed(&self) {
        self.metrics.tls.failed_handshakes.fetch_add(1, Relaxed);
    }

    /// How many did.
    #[cfg(test)]
    pub(crate) fn failed_handshakes(&self) -> u64 {
        self.metrics.tls.failed_handshakes.load(Relaxed)
    }

    /// Reads the files anew, and puts what they hold in the place of what holds now.
    pub(crate) fn reload(&self) {
        let counts = &self.metrics.tls;
        let loaded = self.files.read().and_then(|loaded| {
            if loaded.expires_at <= now() {
                bail!("the certificate in {} has run out", self.files.certificate.display());
            }
            Ok(loaded)
        });
        match loaded {
            Ok(loaded) => {
                self.current.store(loaded.config);
                counts.expires_at.store(loaded.expires_at, Relaxed);
                counts.reloads.fetch_add(1, Relaxed);
                let days = (loaded.expires_at - now()) / 86_400;
                tracing::info!(days, "new connections get the new certificate");
            }
            Err(error) => {
                counts.failed_reloads.fetch_add(1, Relaxed);
                tracing::error!(
                    error = format!("{error:#}"),
                    "the certificate was not reloaded: connections get the one before",
                );
            }
        }
    }
}

/// What the files hold.
#[derive(Debug)]
struct Loaded {
    config: Arc<ServerConfig>,
    /// The first end of those it shows, in seconds since 1970.
    expires_at: i64,
}

impl Files {
    fn read(&self) -> anyhow::Result<Loaded> {
        let chain = certificates("tls_certificate", &self.certificate)?;
        let expires_at = first_end(&chain).with_context(|| {
            format!("the certificate in {} (tls_certificate)", self.certificate.display())
        })?;
        let key = key(&self.key)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .context("cannot speak TLS")?;
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(authorities) => builder.with_client_cert_verifier(verifier(authorities)?),
        };
        let mut config = builder.with_single_cert(chain, key).map_err(|error| {
            let (certificate, key) = (self.certificate.display(), self.key.display());
            match error {
                rustls::Error::InconsistentKeys(_) => anyhow::anyhow!(
                    "the key in {key} (tls_key) is not that of the certificate in {certificate} \
                     (tls_certificate), which has to be the first in its file"
                ),
                other => anyhow::anyhow!(
                    "the certificate in {certificate} (tls_certificate) and the key in {key} \
                     (tls_key) cannot be used: {other}"
                ),
            }
        })?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Loaded { config: Arc::new(config), expires_at })
    }
}

/// All certificates of a PEM file.
fn certificates(setting: &str, path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let bytes = read(setting, path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let found = found
        .map_err(|error| anyhow::anyhow!("{} ({setting}) is damaged: {error}", path.display()))?;
    if found.is_empty() {
        bail!(
            "{} ({setting}) has no certificate: expected PEM, with lines -----BEGIN CERTIFICATE-----",
            path.display()
        );
    }
    Ok(found)
}

fn key(path: &Path) -> anyhow::Result<PrivateKeyDer<'static>> {
    let bytes = read("tls_key", path)?;
    // What is wrong with it is not told in the words of its bytes.
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|_| {
        anyhow::anyhow!(
            "{} (tls_key) has no key that can be read: expected PEM, with a line -----BEGIN \
             PRIVATE KEY-----, and no password",
            path.display()
        )
    })
}

fn read(setting: &str, path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read {} ({setting})", path.display()))
}

/// Lets in whoever shows a certificate of one of these authorities.
fn verifier(path: &Path) -> anyhow::Result<Arc<dyn ClientCertVerifier>> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates("tls_client_ca", path)? {
        roots.add(certificate).map_err(|error| {
            anyhow::anyhow!("{} (tls_client_ca) is no authority: {error}", path.display())
        })?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().map_err(
        |error| anyhow::anyhow!("{} (tls_client_ca) cannot be used: {error}", path.display()),
    )
}

/// When the first of these certificates ends, in seconds since 1970.
fn first_end(chain: &[CertificateDer<'_>]) -> anyhow::Result<i64> {
    let mut first = i64::MAX;
    for der in chain {
        let (_, certificate) = x509_parser::parse_x509_certificate(der)
            .map_err(|error| anyhow::anyhow!("is damaged: {error}"))?;
        first = first.min(certificate.validity().not_after.timestamp());
    }
    Ok(first)
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
