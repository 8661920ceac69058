//! Named steps of what happens on the disk, at which a check can end the process, to see that a
//! start makes something sound of what it left (`tests/torture/crash`).
//!
//! Without the feature `faults` a step is nothing: no code, no name in the binary. With it:
//!
//! - `TIDETABLE_CRASH_AT=name` or `name:3` ends the process at the first or third time it
//!   passes that step, as SIGKILL does. A process that builds takes the server with it, as a
//!   power cut would; `name:3:alone` ends the builder only.
//! - `TIDETABLE_STEPS_LOG=FILE`: each step that is passed adds its name as a line.
//! - `TIDETABLE_CHECKPOINT_BYTES=N`: from which size on the journal is replaced by a checkpoint.
//! - `TIDETABLE_READ_ALONG_FROM=N`: from which size on a body is read while it arrives; half of so many
//!   bytes are waited for before it is looked at.

/// Passes a step.
#[cfg(not(feature = "faults"))]
#[inline(always)]
pub fn step(_name: &'static str) {}

/// The variables that a process that builds is to have too: none.
#[cfg(not(feature = "faults"))]
#[inline(always)]
pub fn inherited() -> [(&'static str, String); 0] {
    []
}

/// From which size on the journal is replaced by a checkpoint, if a check says so: never.
#[cfg(not(feature = "faults"))]
#[inline(always)]
pub(crate) fn checkpoint_bytes() -> Option<u64> {
    None
}

/// From which size on a body is read while it arrives, if a check says so: never.
#[cfg(not(feature = "faults"))]
#[inline(always)]
pub fn read_along_from() -> Option<u64> {
    None
}

#[cfg(feature = "faults")]
pub(crate) use faults::checkpoint_bytes;
#[cfg(feature = "faults")]
pub use faults::{VARIABLES, inherited, read_along_from, step};

#[cfg(feature = "faults")]
mod faults {
    use std::env;
    use std::fs::{File, OpenOptions};
    use std::io::Write;
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    use rustix::process::{Pid, Signal, getpid, kill_process};

    const CRASH_AT: &str = "TIDETABLE_CRASH_AT";
    const STEPS_LOG: &str = "TIDETABLE_STEPS_LOG";
    const CHECKPOINT_BYTES: &str = "TIDETABLE_CHECKPOINT_BYTES";
    const READ_ALONG_FROM: &str = "TIDETABLE_READ_ALONG_FROM";
    const BUG: &str = "TIDETABLE_BUG";
    /// The server of a process that builds, which goes with it.
    const SERVER: &str = "TIDETABLE_CRASH_SERVER";

    /// Variables that a build with faults knows.
    pub const VARIABLES: [&str; 6] =
        [CRASH_AT, STEPS_LOG, CHECKPOINT_BYTES, READ_ALONG_FROM, BUG, SERVER];

    struct Plan {
        at: Option<At>,
        server: Option<Pid>,
        log: Option<File>,
    }

    struct At {
        name: String,
        left: AtomicU64,
        alone: bool,
    }

    static PLAN: LazyLock<Plan> = LazyLock::new(|| Plan {
        at: env::var(CRASH_AT).ok().map(|text| At::parse(&text)),
        server: env::var(SERVER).ok().and_then(|pid| Pid::from_raw(pid.parse().ok()?)),
        log: env::var_os(STEPS_LOG).map(|path| {
            let opened = OpenOptions::new().create(true).append(true).open(path);
            opened.expect("the check names a file that can be written")
        }),
    });

    impl At {
        fn parse(text: &str) -> Self {
            let mut pieces = text.split(':');
            let name = pieces.next().unwrap_or_default().to_owned();
            let left = pieces.next().map_or(1, |n| n.parse().expect("name:NUMBER of a step"));
            Self { name, left: AtomicU64::new(left), alone: pieces.next() == Some("alone") }
        }
    }

    /// Passes a step.
    pub fn step(name: &'static str) {
        if let Some(mut log) = PLAN.log.as_ref() {
            // One write, so that lines of several processes do not mix.
            let _ = log.write_all(format!("{name}\n").as_bytes());
        }
        if let Some(at) = &PLAN.at
            && at.name == name
            && at.left.fetch_sub(1, Ordering::Relaxed) == 1
        {
            if let Some(server) = PLAN.server.filter(|_| !at.alone) {
                let _ = kill_process(server, Signal::KILL);
            }
            let _ = kill_process(getpid(), Signal::KILL);
            // The signal comes at the latest when that call returns.
            unreachable!("a process outlives SIGKILL");
        }
    }

    /// The variables that a process that builds is to have too.
    pub fn inherited() -> Vec<(&'static str, String)> {
        let mut set: Vec<_> = [CRASH_AT, STEPS_LOG, READ_ALONG_FROM, BUG]
            .into_iter()
            .filter_map(|name| Some((name, env::var(name).ok()?)))
            .collect();
        set.push((SERVER, getpid().as_raw_nonzero().to_string()));
        set
    }

    /// From which size on the journal is replaced by a checkpoint, if a check says so.
    pub(crate) fn checkpoint_bytes() -> Option<u64> {
        env::var(CHECKPOINT_BYTES).ok()?.parse().ok()
    }

    /// From which size on a body is read while it arrives, if a check says so.
    pub fn read_along_from() -> Option<u64> {
        env::var(READ_ALONG_FROM).ok()?.parse().ok()
    }
}
