//! Whom a command trusts that asks a server over TLS, and who it says it is.

use std::path::{Path, PathBuf};

use clap::Args;
use ureq::tls::TlsConfig;

use super::exit::Failure;
use crate::trust;

/// Options of every command that asks a server.
#[derive(Args, Debug, Default)]
pub(super) struct TlsArgs {
    /// Trust the certificates in this PEM file, and no others
    ///
    /// For https://. Without it those are trusted that the system trusts, or those in the file
    /// that SSL_CERT_FILE names.
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "TIDETABLE_CA_CERTIFICATE",
        hide_env_values = true
    )]
    ca_certificate: Option<PathBuf>,
    /// Show the certificate in this PEM file to a server that asks for one (tls_client_ca)
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "TIDETABLE_CLIENT_CERTIFICATE",
        hide_env_values = true
    )]
    client_certificate: Option<PathBuf>,
    /// The PEM file of its key, if that is another file
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "TIDETABLE_CLIENT_KEY",
        hide_env_values = true
    )]
    client_key: Option<PathBuf>,
}

impl TlsArgs {
    /// How TLS is spoken.
    pub(super) fn config(&self) -> Result<TlsConfig, Failure> {
        let roots = match given(self.ca_certificate.as_ref()) {
            Some(path) => trust::roots_of(path).map_err(of("--ca-certificate")),
            None => trust::system_roots().map_err(Failure::usage),
        }?;
        let certificate = given(self.client_certificate.as_ref());
        let key = given(self.client_key.as_ref()).or(certificate);
        let identity = match (certificate, key) {
            (Some(certificate), Some(key)) => {
                Some(trust::identity(certificate, key).map_err(of("--client-certificate"))?)
            }
            (None, Some(_)) => {
                return Err(Failure::usage("--client-key is the key of --client-certificate"));
            }
            _ => None,
        };
        Ok(trust::tls(roots, identity))
    }
}

/// A variable that is empty counts as not set.
fn given(path: Option<&PathBuf>) -> Option<&Path> {
    path.map(PathBuf::as_path).filter(|path| !path.as_os_str().is_empty())
}

fn of(flag: &str) -> impl Fn(String) -> Failure {
    move |why| Failure::usage(format!("{flag}: {why}"))
}
