//! The real server binary on a directory of its own, on a port that the system chose.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::http::{Client, Reply};
use crate::http2::Http2;

/// The binary under test.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_tidetable");

/// A directory for one test, on the disk of the build, which is no tmpfs: fsync must mean
/// something. It is removed with the value.
pub(crate) fn scratch() -> TempDir {
    let within = env!("CARGO_TARGET_TMPDIR");
    fs::create_dir_all(within).unwrap();
    tempfile::Builder::new().prefix("it-").tempdir_in(within).unwrap()
}

/// Asks until `what` is so, and ends the test if it is not within a minute. For conditions
/// that the server reaches by itself; nothing is asserted about how soon.
#[track_caller]
pub(crate) fn eventually(what: &str, mut so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !so() {
        assert!(start.elapsed() < Duration::from_secs(60), "not within a minute: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// One server, and the directory it serves. Killed when dropped.
pub(crate) struct Server {
    process: Option<Child>,
    address: SocketAddr,
    home: TempDir,
    arguments: Vec<String>,
    /// What starts the binary, if something must.
    wrapper: Vec<String>,
    /// How long the log was when the last server on the directory was started.
    log_before: usize,
}

/// A server that did not start, and what that one wrote.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) status: ExitStatus,
    pub(crate) said: String,
}

impl Server {
    /// A server on a new directory, ready to answer.
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same, with more arguments for `tidetable serve`.
    pub(crate) fn start_with(arguments: &[&str]) -> Self {
        let mut server = Self::unstarted(arguments);
        server.start_again();
        server
    }

    /// A server within `namespace` (`unshare` and its options), for which the shell script
    /// `mount` has mounted a file system on the directory that holds the data directory: its
    /// first argument. The rest of its arguments it must execute.
    pub(crate) fn start_on_mount(namespace: &[String], mount: &str) -> Self {
        Self::start_on_mount_with(namespace, mount, &[])
    }

    /// The same, with more arguments for `tidetable serve`.
    pub(crate) fn start_on_mount_with(
        namespace: &[String],
        mount: &str,
        arguments: &[&str],
    ) -> Self {
        let mut server = Self::unstarted(arguments);
        let home = server.home.path().join("mount");
        fs::create_dir(&home).unwrap();
        server.wrapper = namespace.to_vec();
        server.wrapper.extend(["sh", "-c", mount, "sh"].map(str::to_owned));
        server.wrapper.push(home.display().to_string());
        server.start_again();
        server
    }

    fn unstarted(arguments: &[&str]) -> Self {
        Self {
            process: None,
            address: ([127, 0, 0, 1], 0).into(),
            home: scratch(),
            arguments: arguments.iter().map(|&a| a.to_owned()).collect(),
            wrapper: Vec::new(),
            log_before: 0,
        }
    }

    /// Kills the server with SIGKILL, and starts another on its directory.
    pub(crate) fn restart(&mut self) {
        self.kill();
        self.start_again();
    }

    /// Starts a server on the directory of the one that was killed or stopped, and waits
    /// until it is ready.
    pub(crate) fn start_again(&mut self) {
        self.try_start().unwrap_or_else(|r| panic!("no start ({}): {}", r.status, r.said));
        eventually("/readyz answers 200", || self.get_path("/readyz").status == 200);
    }

    /// Starts a server on the directory, as it is. Does not wait until it is ready.
    pub(crate) fn try_start(&mut self) -> Result<(), Refused> {
        assert!(self.process.is_none(), "the server before this one still runs");
        let mut command = serve_command(&self.data(), &self.arguments);
        if let [program, rest @ ..] = &self.wrapper[..] {
            command = wrapped(program, rest, &command);
        }
        self.log_before = self.said().len();
        command.stderr(File::options().create(true).append(true).open(self.log()).unwrap());
        let (child, address) = spawn(command).map_err(|status| self.refused(status))?;
        self.process = Some(child);
        self.address = address;
        Ok(())
    }

    /// SIGKILL: what a power cut or the kernel's memory killer would do to the process.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// Sends SIGTERM, and goes on at once.
    pub(crate) fn terminate(&self) {
        kill_process(self.pid(), Signal::TERM).unwrap();
    }

    /// Waits until the process has ended by itself.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.process.take().expect("the server was started").wait().unwrap()
    }

    /// Whether the process has ended by itself; [`Server::wait`] tells how.
    pub(crate) fn has_ended(&mut self) -> bool {
        let process = self.process.as_mut().expect("the server was started");
        process.try_wait().unwrap().is_some()
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(self.process.as_ref().expect("the server was started"))
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The data directory.
    pub(crate) fn data(&self) -> PathBuf {
        self.home.path().join(if self.wrapper.is_empty() { "data" } else { "mount/data" })
    }

    /// Where a test may put files of its own, beside the data directory.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// What the server, and those on the same directory before it, wrote to stderr.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(self.log()).unwrap_or_default()
    }

    /// The same of the last one alone.
    pub(crate) fn said_since_start(&self) -> String {
        self.said().split_off(self.log_before)
    }

    /// A client with a connection of its own.
    pub(crate) fn client(&self) -> Client {
        Client::new(self.address)
    }

    /// The same, over HTTP/2.
    pub(crate) fn http2(&self) -> Http2 {
        Http2::connect(self.address)
    }

    /// One request on a new connection.
    #[track_caller]
    pub(crate) fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Reply {
        let answer = self.client().send(method, path, headers, body);
        answer.unwrap_or_else(|e| panic!("{method} {path} got no answer: {e}\n{}", self.said()))
    }

    #[track_caller]
    pub(crate) fn get_path(&self, path: &str) -> Reply {
        self.send("GET", path, &[], b"")
    }

    #[track_caller]
    pub(crate) fn post(&self, path: &str, body: &Value) -> Reply {
        self.send(
            "POST",
            path,
            &[("content-type", "application/json")],
            body.to_string().as_bytes(),
        )
    }

    /// The value of a key, as it is served.
    #[track_caller]
    pub(crate) fn get(&self, dataset: &str, key: &str) -> Reply {
        self.get_path(&format!("/v1/datasets/{dataset}/keys/{key}"))
    }

    /// NDJSON rows with their key in `k`, pushed in one request.
    #[track_caller]
    pub(crate) fn push(&self, dataset: &str, rows: &str) -> Reply {
        self.push_with(dataset, "key=k&format=ndjson", rows.as_bytes())
    }

    /// A push with these query parameters.
    #[track_caller]
    pub(crate) fn push_with(&self, dataset: &str, query: &str, body: &[u8]) -> Reply {
        self.send("POST", &format!("/v1/datasets/{dataset}/push?{query}"), &[], body)
    }

    /// A push that must be activated: the number of its version.
    #[track_caller]
    pub(crate) fn pushed(&self, dataset: &str, rows: &str) -> u64 {
        let reply = self.push(dataset, rows).expect(201);
        let version = reply.json();
        assert_eq!(version["current"], true, "{reply}");
        version["version"].as_u64().unwrap()
    }

    /// Sets the dataset's configuration (what is not named stays as it is).
    #[track_caller]
    pub(crate) fn configure(&self, dataset: &str, config: &Value) {
        let path = format!("/v1/datasets/{dataset}");
        let reply = self.send(
            "PUT",
            &path,
            &[("content-type", "application/json")],
            config.to_string().as_bytes(),
        );
        assert!(matches!(reply.status, 200 | 201), "{reply}");
    }

    /// The resource of a dataset, or with `/versions/3` and the like of something in it.
    #[track_caller]
    pub(crate) fn dataset(&self, path: &str) -> Value {
        self.get_path(&format!("/v1/datasets/{path}")).expect(200).json()
    }

    /// A version, once it has settled: waits while it is received, built or verified.
    #[track_caller]
    pub(crate) fn settled(&self, dataset: &str, version: u64) -> Value {
        let mut found = Value::Null;
        eventually("the version settles", || {
            found = self.dataset(&format!("{dataset}/versions/{version}?wait=30"));
            !["building", "verifying"].contains(&found["state"].as_str().unwrap())
        });
        found
    }

    /// An operation on a dataset: `rollback`, `activate`, `hold`, `release`.
    #[track_caller]
    pub(crate) fn operate(&self, dataset: &str, operation: &str, body: &Value) -> Reply {
        self.post(&format!("/v1/datasets/{dataset}/{operation}"), body)
    }

    /// The kinds of the dataset's events, newest first.
    pub(crate) fn events(&self, dataset: &str) -> Vec<String> {
        let history = self.dataset(&format!("{dataset}/history?limit=100"));
        let events = history["events"].as_array().unwrap();
        events.iter().map(|e| e["event"].as_str().unwrap().to_owned()).collect()
    }

    /// One record of each key, in one answer of one version.
    pub(crate) fn batch(&self, dataset: &str, keys: &[String]) -> Reply {
        self.post(&format!("/v1/datasets/{dataset}/batch-get"), &json!({ "keys": keys }))
    }

    fn log(&self) -> PathBuf {
        self.home.path().join("stderr")
    }

    fn refused(&self, status: ExitStatus) -> Refused {
        Refused { status, said: self.said_since_start() }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            eprintln!("--- the server wrote:\n{}---", self.said());
        }
    }
}

/// `tidetable serve` on `data`, on a port that the system chooses.
pub(crate) fn serve_command(data: &Path, arguments: &[String]) -> Command {
    let mut command = tidetable(&["serve", "--listen", "127.0.0.1:0", "--data"]);
    command.arg(data).args(arguments);
    // Other tests' load runs on the same processors, and a push that gives way would wait for it.
    command.env("TIDETABLE_PUSHES_GIVE_WAY", "false");
    command
}

/// The command that `program` starts, its own arguments first.
fn wrapped(program: &str, arguments: &[String], inner: &Command) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).arg(inner.get_program()).args(inner.get_args()).stdin(Stdio::null());
    for (name, value) in inner.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
}

/// The binary with these arguments, and with no setting from the environment of the tests.
pub(crate) fn tidetable(arguments: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TIDETABLE_") {
            command.env_remove(name);
        }
    }
    command.args(arguments).stdin(Stdio::null());
    command
}

/// Starts a server and reads its address from the first line it prints, which is
/// `tidetable VERSION listening on http://ADDRESS`, or `https://`. A server that ends instead: its status.
pub(crate) fn spawn(mut command: Command) -> Result<(Child, SocketAddr), ExitStatus> {
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut output = BufReader::new(child.stdout.take().expect("stdout is piped"));
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    let line = line.trim_end().replace(" https://", " http://");
    let Some((head, address)) = line.split_once(" listening on http://") else {
        assert!(line.is_empty(), "the first line of stdout is {line:?}");
        return Err(child.wait().unwrap());
    };
    assert_eq!(head, concat!("tidetable ", env!("CARGO_PKG_VERSION")));
    // Read on, so that the server never waits for us.
    thread::spawn(move || output.read_to_end(&mut Vec::new()));
    Ok((child, address.parse().unwrap()))
}
