//! Whom this program trusts when it speaks to others over TLS, and who it says it is.

use std::path::Path;
use std::sync::Arc;

use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem};

/// The certificates that the system trusts, or those in the file that `SSL_CERT_FILE` names.
/// Read anew each time: a new certificate takes no restart.
pub(crate) fn system_roots() -> Result<RootCerts, String> {
    let found = rustls_native_certs::load_native_certs();
    if found.certs.is_empty() {
        return Err(
            "the system has no certificates to check it against: install ca-certificates, \
                    or name a file in SSL_CERT_FILE"
                .to_owned(),
        );
    }
    let certs: Vec<Certificate<'static>> =
        found.certs.iter().map(|der| Certificate::from_der(der).to_owned()).collect();
    Ok(RootCerts::new_with_certs(&certs))
}

/// The certificates of a PEM file, and no others.
pub(crate) fn roots_of(path: &Path) -> Result<RootCerts, String> {
    let certs = certificates(path)?;
    Ok(RootCerts::new_with_certs(&certs))
}

/// Who this program is: the certificates of a PEM file, and the key of another or the same.
pub(crate) fn identity(certificate: &Path, key: &Path) -> Result<ClientCert, String> {
    let certs = certificates(certificate)?;
    let key = PrivateKey::from_pem(&read(key)?)
        .map_err(|_| format!("{} has no key in PEM that can be read", key.display()))?;
    Ok(ClientCert::new_with_certs(&certs, key))
}

/// How TLS is spoken with these.
pub(crate) fn tls(roots: RootCerts, identity: Option<ClientCert>) -> TlsConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    TlsConfig::builder()
        .root_certs(roots)
        .client_cert(identity)
        .unversioned_rustls_crypto_provider(provider)
        .build()
}

/// Whether an error of a connection is one of TLS: the handshake hands its errors on as those of
/// the socket.
pub(crate) fn is_of_tls(error: &std::io::Error) -> bool {
    error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()).is_some()
}

/// Whether that error says that the other side answers without TLS, as a server of plain HTTP does.
pub(crate) fn is_of_no_tls(error: &std::io::Error) -> bool {
    use rustls::{Error, InvalidMessage};
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    matches!(inner, Some(Error::InvalidMessage(InvalidMessage::InvalidContentType)))
}

fn certificates(path: &Path) -> Result<Vec<Certificate<'static>>, String> {
    let mut certs = Vec::new();
    for item in parse_pem(&read(path)?) {
        match item {
            Ok(PemItem::Certificate(cert)) => certs.push(cert),
            Ok(_) => (),
            Err(error) => return Err(format!("{} is damaged: {error}", path.display())),
        }
    }
    if certs.is_empty() {
        return Err(format!("{} has no certificate in PEM", path.display()));
    }
    Ok(certs)
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}
