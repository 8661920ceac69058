//! Running the process that builds.

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};

use serde::Serialize;
use tidetable_storage::{Code, give_way, inherited_by_builders};
use tracing::warn;

use super::Progress;
use super::spec::{BuildSpec, Built, NotBuilt, Said, Told};

/// Ended before it was done, and why is not known, or no fault of the data.
pub(super) const DIED: &str = "build_died";
const SIGABRT: i32 = 6;
const SIGKILL: i32 = 9;
const SIGSEGV: i32 = 11;
const SIGXCPU: i32 = 24;
const SIGXFSZ: i32 = 25;
/// How much of what a dying builder wrote to standard error is kept.
const STDERR_KEPT: u64 = 4096;

/// How a process that builds came to its end.
#[derive(Debug)]
pub(super) enum Ended {
    /// It has built.
    Built(Built),
    /// It has not, or could not be started.
    NotBuilt(NotBuilt),
    /// It was ended, since nobody wanted any more what it built.
    Unwanted,
}

/// The thread that waits for a builder's end: how it came to it, and its last words.
type Reaping = JoinHandle<(Option<ExitStatus>, String)>;

thread_local! {
    /// That of the builder that this thread had before, which gives its memory back yet.
    static BEFORE: RefCell<Option<Reaping>> = const { RefCell::new(None) };
}

/// A process that builds. Whoever starts it ends it, by [`Builder::listen`] or [`Builder::end`]; and
/// stays as long as it: the kernel ends it with the thread that started it.
#[derive(Debug)]
pub(super) struct Builder {
    child: Child,
    gives_way: bool,
    stderr: Option<JoinHandle<String>>,
}

impl Builder {
    /// Starts one, when the one before has given its memory back.
    pub(super) fn start(program: &Path, spec: &BuildSpec) -> std::io::Result<Self> {
        BEFORE.take().and_then(|before| before.join().ok());
        let mut child = start(program, spec)?;
        let stderr = child.stderr.take().map(keep);
        let mut builder = Self { child, gives_way: spec.gives_way, stderr };
        match builder.say(spec) {
            Ok(()) => Ok(builder),
            Err(error) => {
                builder.end();
                Err(error)
            }
        }
    }

    /// Tells it of its part, which still arrives.
    pub(super) fn tell(&mut self, told: &Told) -> std::io::Result<()> {
        self.say(told)
    }

    /// Its standard input stays open in `child`: its end tells the builder that the server is gone.
    fn say(&mut self, what: &impl Serialize) -> std::io::Result<()> {
        let mut line = serde_json::to_vec(what)?;
        line.push(b'\n');
        let stdin = self.child.stdin.as_mut().expect("standard input is piped, as start() asks");
        stdin.write_all(&line).and_then(|()| stdin.flush())
    }

    /// Hears it to its end. `goes_on` hears of progress, and ends the build by answering `false`.
    pub(super) fn listen(mut self, mut goes_on: impl FnMut(Progress) -> bool) -> Ended {
        let stdout = self.child.stdout.take().expect("standard output is piped, as start() asks");
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            match serde_json::from_str(&line) {
                Ok(Said::Progress(progress)) if goes_on(progress) => {}
                Ok(Said::Progress(_)) => {
                    self.end();
                    return Ended::Unwanted;
                }
                Ok(Said::Done(built)) => {
                    // All that it does yet is to give its memory back: a tenth of a second, and more.
                    BEFORE.set(self.reap());
                    return Ended::Built(built);
                }
                Ok(Said::Failed(not_built)) => {
                    // The log has its last words before anybody hears that it has failed.
                    self.reap().and_then(|it| it.join().ok());
                    return Ended::NotBuilt(not_built);
                }
                Err(_) => {}
            }
        }
        // Only of one that said nothing it matters how it ended.
        let (status, stderr) = self.reap().and_then(|it| it.join().ok()).unwrap_or_default();
        Ended::NotBuilt(why_silent(status, &stderr))
    }

    /// It is not wanted any more. What it left in staging goes with its push.
    pub(super) fn end(mut self) {
        let _ = self.child.kill();
        // It is to write nothing any more when this returns.
        self.reap().and_then(|it| it.join().ok());
    }

    /// Waits for its end, on a thread that gives way if the builder does. Where others look into
    /// `/proc`, Linux was seen to spin for seconds while it let go of what was there of a process: a
    /// thread that does not give way took half of a processor from lookups meanwhile. `None`: the
    /// system gave no thread, and the process stays in its tables until this one ends.
    fn reap(mut self) -> Option<Reaping> {
        let reap = move || {
            if self.gives_way {
                give_way();
            }
            let status = self.child.wait().ok();
            let stderr = self.stderr.and_then(|thread| thread.join().ok()).unwrap_or_default();
            if !stderr.is_empty() {
                warn!(stderr, "what the process that builds wrote to standard error");
            }
            (status, stderr)
        };
        thread::Builder::new().name("reap".to_owned()).spawn(reap).ok()
    }
}

/// Builds in a process of its own. `goes_on` hears of progress, and ends the build by
/// answering `false`.
pub(super) fn run_builder(
    program: &Path,
    spec: &BuildSpec,
    goes_on: impl FnMut(Progress) -> bool,
) -> Ended {
    match Builder::start(program, spec) {
        Ok(builder) => builder.listen(goes_on),
        Err(error) => {
            let detail = format!("the process that builds could not be started: {error}");
            Ended::NotBuilt(NotBuilt::new(DIED, detail))
        }
    }
}

fn start(program: &Path, spec: &BuildSpec) -> std::io::Result<Child> {
    Command::new(program)
        .arg("build-worker")
        .env_clear()
        .envs(inherited_by_builders())
        // What must be spooled (Parquet from a compressed part) goes with the push too.
        .env("TMPDIR", spec.out.parent().unwrap_or(&spec.out))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
}

/// Reads all of standard error, so that the builder never waits for it, and keeps its end.
fn keep(stderr: ChildStderr) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut reader = BufReader::new(stderr);
        let mut kept = Vec::new();
        let mut chunk = [0; 1024];
        while let Ok(n @ 1..) = reader.read(&mut chunk) {
            kept.extend_from_slice(&chunk[..n]);
            let extra = kept.len().saturating_sub(STDERR_KEPT as usize);
            kept.drain(..extra);
        }
        String::from_utf8_lossy(&kept).trim().to_owned()
    })
}

/// What is wrong with a build that said nothing before it ended.
fn why_silent(status: Option<ExitStatus>, stderr: &str) -> NotBuilt {
    let Some(limit) = reached(status, stderr) else {
        return NotBuilt::new(DIED, how_it_ended(status));
    };
    let detail = format!(
        "to build this takes more {limit} than one push may have: a row or value far larger than the \
         others, or data that was made to do so. The served version is untouched"
    );
    NotBuilt::new(Code::BuildLimit.as_str(), detail)
}

/// The limit of its own that a build came to, if it did: then its data is at fault, and not the
/// machine or this program.
fn reached(status: Option<ExitStatus>, stderr: &str) -> Option<&'static str> {
    let signal = status?.signal()?;
    let said = |texts: &[&str]| texts.iter().any(|text| stderr.contains(text));
    match signal {
        // What Rust and C++ say when the system gives no more.
        SIGABRT if said(&["memory allocation of ", "bad_alloc"]) => Some("memory"),
        SIGABRT if said(&["overflowed its stack"]) => Some("stack, so deep is it nested,"),
        SIGXCPU => Some("processor time"),
        SIGXFSZ => Some("disk space in one file"),
        _ => None,
    }
}

fn how_it_ended(status: Option<ExitStatus>) -> String {
    let how = match status.map(|s| (s.signal(), s.code())) {
        Some((Some(signal), _)) => format!("was ended by signal {signal}"),
        Some((None, Some(code))) => format!("ended with exit code {code}"),
        _ => "ended".to_owned(),
    };
    let hint = match status.and_then(|s| s.signal()) {
        Some(SIGABRT | SIGKILL | SIGSEGV) => {
            "; its memory may not have sufficed: a value or row far larger than the others, or too \
             little memory on the machine"
        }
        _ => "",
    };
    format!(
        "the process that builds {how} before it was done{hint}. The served version is untouched; \
         the server's log has the last words of that process"
    )
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use tidetable_storage::Compression;

    use super::super::Sizes;
    use super::*;
    use crate::ingest::{GrowthLimits, RowOptions};

    /// Why a shell script has built nothing.
    fn not_built_by(script: &str) -> NotBuilt {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("builder");
        fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let spec = BuildSpec {
            parts: Vec::new(),
            is_snapshot: false,
            options: RowOptions::default(),
            compression: Compression::None,
            out: dir.path().join("out"),
            sort_memory: 1 << 20,
            erased: None,
            sizes: Sizes::MOST,
            growth: GrowthLimits::default(),
            processor_seconds: 1,
            gives_way: false,
        };
        match run_builder(&program, &spec, |_| true) {
            Ended::NotBuilt(not_built) => not_built,
            other => panic!("{script}: {other:?}"),
        }
    }

    #[test]
    fn a_limit_of_its_own_is_the_fault_of_the_data_any_other_end_is_not() {
        for (script, code, says) in [
            ("read line; kill -9 $$", "build_died", "signal 9"),
            ("read line; kill -6 $$", "build_died", "signal 6"),
            ("read line; exit 101", "build_died", "exit code 101"),
            ("read line; echo nonsense; echo '{\"progress\"'", "build_died", "exit code 0"),
            (
                "read line; echo 'memory allocation of 77 bytes failed' >&2; kill -6 $$",
                "build_limit",
                "more memory",
            ),
            (
                "read line; echo \"thread 'main' (7) has overflowed its stack\" >&2; kill -6 $$",
                "build_limit",
                "so deep",
            ),
            (
                "read line; echo \"what():  std::bad_alloc\" >&2; kill -6 $$",
                "build_limit",
                "more memory",
            ),
            ("read line; ulimit -S -t 1; while :; do :; done", "build_limit", "processor time"),
            ("read line; kill -25 $$", "build_limit", "disk space"),
        ] {
            let not_built = not_built_by(script);
            assert_eq!(not_built.code, code, "{script}: {}", not_built.detail);
            assert!(not_built.detail.contains(says), "{script}: {}", not_built.detail);
        }
    }
}
