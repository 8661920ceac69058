//! The gate `check`: a program or a service of the operator's that is shown what a version
//! holds, and may refuse it.
//!
//! Only what lies in the directory that the server's settings name is run or asked, so no client
//! chooses what that is; a dataset's settings name one of them: a program `NAME`, or a file
//! `NAME.url` with an address. It gets one JSON document, on its standard input or as the body
//! of a POST: `dataset`, `version`, `label`, the `profile` of the version, and `current`, that
//! of the current one. Exit code 0, or a status of success, lets the version pass. With any
//! other one, or if it takes too long, the version is refused, with the first line it wrote or
//! answered as the reason.

use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use serde_json::{Value, json};
use tidetable_storage::{
    CHECK_GATE, DatasetName, Profile, Store, Verdict, VerifiedSnapshot, Version,
};

use super::guard;
use crate::outbound::{Url, post_json};
use crate::profile::profile_json;

/// Characters of what a check said that are kept.
const SAID: usize = 500;
/// Bytes of its output that are read.
const OUTPUT: u64 = 64 * 1024;
/// How long the end of its output is waited for once it has ended. What it has put into the
/// background, out of reach, may hold that open for ever; then it said nothing.
const HEARD_WITHIN: Duration = Duration::from_secs(5);

/// Where checks lie, and how long one may take.
#[derive(Clone, Debug)]
pub(crate) struct Checks {
    /// Their directory; empty if there is none.
    pub(crate) dir: PathBuf,
    /// How long one may take.
    pub(crate) timeout: Duration,
    /// The program that is started as `check-guard`: this one.
    pub(crate) guard: Option<PathBuf>,
}

impl Checks {
    /// There are none.
    #[cfg(test)]
    pub(crate) fn none() -> Self {
        Self { dir: PathBuf::new(), timeout: Duration::ZERO, guard: None }
    }

    /// Whether there is a check with this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        let (program, address) = self.paths(name);
        !self.dir.as_os_str().is_empty() && (program.is_file() || address.is_file())
    }

    fn paths(&self, name: &str) -> (PathBuf, PathBuf) {
        (self.dir.join(name), self.dir.join(format!("{name}.url")))
    }

    /// What the check says that the dataset's gates name, if they name one.
    pub(super) fn ask(
        &self,
        store: &Store,
        (dataset, version): (&DatasetName, Version),
        snapshot: &VerifiedSnapshot,
    ) -> Option<Verdict> {
        let (name, label, current) = {
            let catalog = store.catalog();
            let found = catalog.dataset(dataset).ok()?;
            let label = catalog.entry(dataset, version).ok().and_then(|entry| entry.label.clone());
            (found.config.gates.check.clone()?, label, found.current)
        };
        let served = store.live().get(dataset).ok();
        let current = current.and_then(|current| {
            let lease = served.as_ref()?.version(current).ok()?;
            Some(shown(current, lease.records(), lease.profile().as_ref()))
        });
        // It may have been built before a key was erased.
        let (records, mut profile) =
            (snapshot.manifest().records, snapshot.manifest().profile.clone());
        if let (Some(profile), Some(served)) = (&mut profile, &served) {
            profile.leave_out(served.erased().map(|erased| &**erased));
        }
        let document = json!({
            "dataset": dataset, "version": version, "label": label,
            "profile": shown(version, records, profile.as_ref()), "current": current,
        });
        let began = Instant::now();
        let (program, address) = self.paths(&name);
        let said = match () {
            () if !self.has(&name) => {
                Err(format!("there is no check {name:?} in the directory of the server's checks"))
            }
            () if program.is_file() => {
                run(&program, &document, self.timeout, self.guard.as_deref())
            }
            () => post(&address, &document, self.timeout),
        };
        let (passed, why) = match said {
            Ok(why) => (true, why),
            Err(why) => (false, why),
        };
        let detail = format!("{name}: {}", if why.is_empty() { "passed" } else { &why });
        let observed = began.elapsed().as_secs_f64();
        let limit = self.timeout.as_secs_f64();
        Some(Verdict::new(CHECK_GATE, limit, observed, passed, detail))
    }
}

fn shown(version: Version, records: u64, profile: Option<&Profile>) -> Value {
    profile_json(version, records, profile).unwrap_or(Value::Null)
}

/// Asks the service whose address is in the file; `Err`: why the version is refused.
fn post(address: &Path, document: &Value, timeout: Duration) -> Result<String, String> {
    let url = std::fs::read_to_string(address).map_err(|e| format!("its address: {e}"))?;
    let url = Url::parse(url.trim()).map_err(|why| format!("its address: {why}"))?;
    let reply = post_json(&url, document.to_string().as_bytes(), &[], timeout);
    let reply = reply.map_err(|error| error.to_string())?;
    let said = first_line(&reply.body);
    match reply.status {
        200..300 => Ok(said),
        status if said.is_empty() => Err(format!("it refused the version (status {status})")),
        _ => Err(said),
    }
}

/// Runs the program; `Err`: why the version is refused.
fn run(
    program: &Path,
    document: &Value,
    timeout: Duration,
    guard: Option<&Path>,
) -> Result<String, String> {
    let mut child = Command::new(program)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // Whatever it starts is ended with it.
        .process_group(0)
        .spawn()
        .map_err(|e| format!("it cannot be run: {e}"))?;
    let guard = guard.and_then(|guard| guard::put(guard, Pid::from_child(&child)));
    let mut stdin = child.stdin.take().expect("standard input is piped, as asked above");
    let document = document.to_string();
    // It need not read all of it, or any.
    thread::spawn(move || stdin.write_all(document.as_bytes()));
    let stdout = read(child.stdout.take().expect("standard output is piped, as asked above"));
    let stderr = read(child.stderr.take().expect("standard error is piped, as asked above"));
    let status = wait(&mut child, timeout);
    if let Some(mut guard) = guard {
        // It went with the group, or is alone in it.
        let _ = guard.kill();
        let _ = guard.wait();
    }
    let text =
        |said: Receiver<Vec<u8>>| first_line(&said.recv_timeout(HEARD_WITHIN).unwrap_or_default());
    let Some(status) = status else {
        return Err(format!("it did not end within {timeout:?}"));
    };
    let (stdout, stderr) = (text(stdout), text(stderr));
    let said = if stdout.is_empty() { stderr } else { stdout };
    match status.success() {
        true => Ok(said),
        false if said.is_empty() => Err(format!("it refused the version ({status})")),
        false => Err(said),
    }
}

/// The first line that is not empty.
fn first_line(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    line.chars().filter(|c| !c.is_control()).take(SAID).collect()
}

/// Reads all, so that the program never waits for it, and gives the beginning.
fn read(mut from: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (said, heard) = channel();
    thread::spawn(move || {
        let mut kept = Vec::new();
        let _ = from.by_ref().take(OUTPUT).read_to_end(&mut kept);
        // Nobody waits for it any more if the program was given up.
        let _ = said.send(kept);
        let _ = std::io::copy(&mut from, &mut std::io::sink());
    });
    heard
}

/// Waits for its end, and ends it, with all that it has started, if that takes too long: `None`.
fn wait(child: &mut Child, timeout: Duration) -> Option<ExitStatus> {
    let pid = Pid::from_child(child);
    let ended = pidfd_open(pid, PidfdFlags::empty()).is_ok_and(|fd| {
        let tv_nsec = i64::from(timeout.subsec_nanos());
        let timeout = Timespec { tv_sec: timeout.as_secs() as i64, tv_nsec };
        let mut fds = [PollFd::new(&fd, PollFlags::IN)];
        poll(&mut fds, Some(&timeout)).is_ok_and(|ready| ready > 0)
    });
    // Its children may hold its output open.
    let _ = kill_process_group(pid, Signal::KILL);
    let status = child.wait().ok();
    status.filter(|_| ended)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    /// What a check made of this shell script says.
    fn said(script: &str, timeout: Duration) -> Result<String, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("check");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        run(&path, &json!({ "version": 7, "pad": "x".repeat(200_000) }), timeout, None)
    }

    #[test]
    fn the_exit_code_decides_and_the_first_line_is_the_reason() {
        let minute = Duration::from_secs(60);
        assert_eq!(said("cat > /dev/null", minute), Ok(String::new()));
        assert_eq!(said("exit 0", minute), Ok(String::new()), "it need not read");
        assert_eq!(said("echo; echo fine; echo more", minute), Ok("fine".to_owned()));
        assert_eq!(said("echo scores fell >&2; exit 3", minute), Err("scores fell".to_owned()));
        assert!(said("exit 3", minute).unwrap_err().contains("exit status: 3"));
        let reads = "head -c 12 | grep -q '\"pad\":\"xxxx' && echo read; exit 1";
        assert_eq!(said(reads, minute), Err("read".to_owned()));
        let floods = "yes | head -c 1000000; exit 1";
        assert_eq!(said(floods, minute), Err("y".to_owned()));
        assert!(run(Path::new("/no/such"), &json!({}), minute, None).unwrap_err().contains("run"));
    }

    /// What a service says that answers one request with this.
    fn answered(answer: &'static str) -> Result<String, String> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let dir = tempfile::tempdir().unwrap();
        let address = dir.path().join("check.url");
        std::fs::write(&address, format!("http://{}/check\n", listener.local_addr().unwrap()))
            .unwrap();
        let serving = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut read = Vec::new();
            while !read.ends_with(b"}") {
                let mut some = [0; 1024];
                let n = stream.read(&mut some).unwrap();
                read.extend_from_slice(&some[..n]);
            }
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8(read).unwrap()
        });
        let said = post(&address, &json!({ "version": 7 }), Duration::from_secs(60));
        let request = serving.join().unwrap();
        assert!(request.starts_with("POST /check ") && request.ends_with("{\"version\":7}"));
        said
    }

    #[test]
    fn a_service_refuses_by_its_status() {
        assert_eq!(answered("HTTP/1.1 204 No Content\r\n\r\n"), Ok(String::new()));
        let refused = "HTTP/1.1 422 No\r\ncontent-length: 12\r\n\r\nscores fell\n";
        assert_eq!(answered(refused), Err("scores fell".to_owned()));
        let broken = answered("HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n").unwrap_err();
        assert_eq!(broken, "it refused the version (status 500)");
        let dir = tempfile::tempdir().unwrap();
        let address = dir.path().join("check.url");
        let ask = || post(&address, &json!({}), Duration::from_secs(60));
        assert!(ask().unwrap_err().contains("its address"));
        std::fs::write(&address, "ftp://host/").unwrap();
        assert!(ask().unwrap_err().contains("expected an address"));
    }

    #[test]
    fn what_takes_too_long_is_ended_with_all_that_it_started() {
        let why = said("sleep 1000 & sleep 1000", Duration::from_millis(1_500)).unwrap_err();
        assert_eq!(why, "it did not end within 1.5s");
    }

    #[test]
    fn what_it_left_beyond_reach_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let (began, ended) = (dir.path().join("began"), dir.path().join("ended"));
        // In a session of its own, and holding the output open.
        let left = format!("touch {}; sleep 20; touch {}", began.display(), ended.display());
        let script = format!(
            "setsid sh -c '{left}' & until [ -e {} ]; do sleep 0.01; done; exit 1",
            began.display()
        );
        assert!(said(&script, Duration::from_secs(60)).is_err());
        assert!(!ended.exists(), "its end was waited for");
    }
}
