//! A server with a certificate speaks TLS and nothing else; the command line speaks it too, with whom
//! it was told to trust. A new certificate is served without a restart, and a bad one changes nothing.

use std::fs;
use std::io::{BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Output};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    date_time_ymd,
};
use rustix::process::{Pid, Signal, kill_process};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tempfile::TempDir;

use crate::harness::{eventually, scratch, serve_command, spawn, tidetable};
use crate::http::read_reply;

/// An authority, whose certificate is `NAME.crt` in `dir`.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    file: PathBuf,
}

impl Authority {
    fn new(dir: &Path, name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let file = dir.join(format!("{name}.crt"));
        fs::write(&file, issuer.pem()).unwrap();
        Self { issuer, file }
    }

    /// A certificate and its key, each in PEM.
    fn signs(&self) -> (String, String) {
        self.signs_until(4096)
    }

    /// The same, until the first day of `year`.
    fn signs_until(&self, year: i32) -> (String, String) {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_after = date_time_ymd(year, 1, 1);
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    /// The command line, which trusts this authority alone.
    fn trusted(&self, server: &Running, more: &[&str]) -> Output {
        let address = format!("https://localhost:{}", server.address.port());
        let mut command = tidetable(&["--server", &address, "--ca-certificate"]);
        command.arg(&self.file).args(more).arg("datasets").output().unwrap()
    }

    /// How often the server has read its certificate anew, with that outcome, as its metrics tell
    /// a client that trusts this authority alone.
    fn reloads(&self, server: &Running, outcome: &str) -> u64 {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.issuer.pem().as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let config = Arc::new(config);
        let connection = ClientConnection::new(config, "localhost".try_into().unwrap()).unwrap();
        let mut stream = StreamOwned::new(connection, TcpStream::connect(server.address).unwrap());
        stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
        let reply = read_reply(&mut BufReader::new(stream), "GET", "/metrics").unwrap();
        let page = reply.expect(200).text();
        let metric = format!("tidetable_tls_reloads_total{{outcome=\"{outcome}\"}} ");
        let line = page.lines().find_map(|line| line.strip_prefix(&metric));
        line.unwrap_or_else(|| panic!("no {metric}: {page}")).parse().unwrap()
    }
}

struct Running {
    process: Child,
    address: SocketAddr,
    home: TempDir,
}

impl Running {
    fn start(home: TempDir, more: &[&str]) -> Self {
        let mut arguments: Vec<String> = Vec::new();
        for (flag, file) in [("--tls-certificate", "server.crt"), ("--tls-key", "server.key")] {
            arguments.extend([flag.to_owned(), home.path().join(file).display().to_string()]);
        }
        arguments.extend(more.iter().map(|&text| text.to_owned()));
        let mut command = serve_command(&home.path().join("data"), &arguments);
        command.stderr(fs::File::create(home.path().join("log")).unwrap());
        let started = spawn(command);
        let log = fs::read_to_string(home.path().join("log")).unwrap();
        let (process, address) = started.unwrap_or_else(|status| panic!("{status}: {log}"));
        Self { process, address, home }
    }

    fn said(&self) -> String {
        fs::read_to_string(self.home.path().join("log")).unwrap()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn write(dir: &Path, (certificate, key): &(String, String)) {
    fs::write(dir.join("server.crt"), certificate).unwrap();
    fs::write(dir.join("server.key"), key).unwrap();
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_new_certificate_is_served_without_a_restart() {
    let home = scratch();
    let (first, second) =
        (Authority::new(home.path(), "first"), Authority::new(home.path(), "second"));
    write(home.path(), &first.signs());
    let server = Running::start(home, &[]);
    let dir = server.home.path();
    let trusted = first.trusted(&server, &[]);
    assert!(trusted.status.success(), "{}", text(&trusted));
    let strange = second.trusted(&server, &[]);
    assert_eq!(strange.status.code(), Some(6), "{}", text(&strange));
    assert!(text(&strange).contains("no secure connection"), "{}", text(&strange));

    assert_eq!(first.reloads(&server, "failed"), 0);

    // The key of another certificate: the old pair is kept, and that is counted.
    fs::write(dir.join("server.key"), second.signs().1).unwrap();
    eventually("the log says what is wrong", || server.said().contains("(tls_key) is not that of"));
    assert!(first.trusted(&server, &[]).status.success());
    let counted = ["done", "failed"].map(|outcome| first.reloads(&server, outcome));
    assert_eq!(counted, [0, 1]);

    write(dir, &second.signs());
    eventually("the new one is served", || second.trusted(&server, &[]).status.success());
    assert!(!first.trusted(&server, &[]).status.success());
    assert_eq!(second.reloads(&server, "done"), 1);

    // At once, and whatever the files look like.
    server.signal(Signal::HUP);
    let reloads = || server.said().matches("new connections get the new certificate").count();
    eventually("it was read on SIGHUP", || reloads() == 2);
    assert!(second.trusted(&server, &[]).status.success());
}

#[test]
fn clients_show_a_certificate_where_the_server_asks_for_one() {
    let home = scratch();
    let (servers, clients) =
        (Authority::new(home.path(), "servers"), Authority::new(home.path(), "clients"));
    write(home.path(), &servers.signs());
    let own = home.path().join("own.pem");
    let (certificate, key) = clients.signs();
    fs::write(&own, certificate + &key).unwrap();
    let strange = home.path().join("strange.pem");
    let (certificate, key) = servers.signs();
    fs::write(&strange, certificate + &key).unwrap();
    let server = Running::start(home, &["--tls-client-ca", &clients.file.display().to_string()]);
    let with = |file: &Path| {
        let file = file.display().to_string();
        servers.trusted(&server, &["--client-certificate", &file])
    };
    assert!(with(&own).status.success(), "{}", text(&with(&own)));
    assert!(!with(&strange).status.success());
    assert!(!servers.trusted(&server, &[]).status.success());
}

#[test]
fn a_pair_that_does_not_fit_stops_the_start_and_says_why() {
    let home = scratch();
    let authority = Authority::new(home.path(), "a");
    let (certificate, _) = authority.signs();
    write(home.path(), &(certificate, authority.signs().1));
    let dir = home.path().display();
    let arguments =
        [format!("--tls-certificate={dir}/server.crt"), format!("--tls-key={dir}/server.key")];
    let output = serve_command(&home.path().join("data"), &arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("server.key (tls_key) is not that"), "{}", text(&output));
    assert!(output.stdout.is_empty(), "it never listened");
    let output = serve_command(&home.path().join("data"), &arguments[..1]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output).contains("there is no tls_key"), "{}", text(&output));
}

#[test]
fn a_certificate_that_has_run_out_is_told_as_an_error_at_the_start() {
    let home = scratch();
    let authority = Authority::new(home.path(), "a");
    write(home.path(), &authority.signs_until(2001));
    let server = Running::start(home, &[]);
    let said = server.said();
    let line = said.lines().find(|line| line.contains("the certificate has run out"));
    let line = line.unwrap_or_else(|| panic!("{said}"));
    assert!(line.contains("ERROR") && line.contains("server.crt"), "{line}");
}
