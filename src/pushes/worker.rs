//! The process that builds: `tidetable build-worker`, which the server starts.
//!
//! Rows are parsed here and nowhere in the server, under a memory limit and with low
//! priority, so that a hostile file, a crash or an exhausted memory cannot touch serving.
//! The push path's first half, in order: [`read_rows`] → [`Sorter`] → [`Gather`] →
//! [`Builder`] → verified snapshot.

use std::io::{BufRead, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit};
use tidetable_storage::{BuildOptions, Builder, Code, Error, Sorter, sha256_of};

use super::spec::{BuildSpec, Built, NotBuilt, Said};
use super::{Phase, Progress};
use crate::ingest::{Gather, IngestError, Input, read_rows};

/// Memory beyond the sorter's: RocksDB's writer, a batch of Parquet, the largest value.
const MEMORY_BESIDES_SORTING: u64 = 1536 << 20;
/// How often progress is said.
const SAY_EVERY: Duration = Duration::from_millis(200);
/// How nice the process is to others, up to 19. The kernel derives the priority of its
/// reads and writes from it too.
const NICENESS: i32 = 10;

/// Builds what the line on standard input says, and says what came of it. The exit code
/// is 0 if a `done` or `failed` was said.
pub(crate) fn run() -> std::process::ExitCode {
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line);
    let spec = match read.map_err(|e| e.to_string()).and_then(|_| parse(&line)) {
        Ok(spec) => spec,
        Err(text) => {
            eprintln!("build-worker is started by the server alone: {text}");
            return std::process::ExitCode::from(2);
        }
    };
    end_with_the_server();
    limit_itself(&spec);
    let said = match build(&spec) {
        Ok(built) => Said::Done(built),
        Err(error) => {
            // For the log of the server, which keeps it from clients.
            error.whole.iter().for_each(|whole| eprintln!("{whole}"));
            let code = error.code.as_str().to_owned();
            Said::Failed(NotBuilt { code, detail: error.detail, problems: error.problems })
        }
    };
    say(&said);
    std::process::ExitCode::SUCCESS
}

fn parse(line: &str) -> Result<BuildSpec, String> {
    serde_json::from_str(line).map_err(|e| e.to_string())
}

/// Nothing comes on standard input any more; its end is the server's.
fn end_with_the_server() {
    std::thread::spawn(|| {
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        std::process::exit(3);
    });
}

/// Best effort: where the system refuses, the build still runs.
fn limit_itself(spec: &BuildSpec) {
    let _ = rustix::process::nice(NICENESS);
    let bytes = spec.sort_memory.saturating_mul(2).saturating_add(MEMORY_BESIDES_SORTING);
    let limit = Rlimit { current: Some(bytes), maximum: Some(bytes) };
    let _ = rustix::process::setrlimit(Resource::Data, limit);
}

fn build(spec: &BuildSpec) -> Result<Built, IngestError> {
    check_parts(spec)?;
    let mut teller = Teller::new();
    let runs = spec.out.with_extension("runs");
    std::fs::create_dir_all(&runs)
        .map_err(|e| Error::io("make a directory for sorting", &runs, e))?;
    let budget = usize::try_from(spec.sort_memory).unwrap_or(usize::MAX);
    let mut sorter = Sorter::new(&runs, budget)?;
    let inputs = spec.parts.iter().map(|part| Input::file(&part.name, &part.path)).collect();
    let mut rows = 0;
    read_rows(
        inputs,
        &spec.options,
        &mut |record| Ok(sorter.push(record.key, record.rank, record.value)?),
        &mut |read| {
            rows = read.rows;
            let total_bytes = read.total_bytes.unwrap_or(0);
            teller.tell(Progress { phase: Phase::Reading, rows, bytes: read.bytes, total_bytes });
        },
    )?;
    teller.phase(Phase::Building, rows);
    let options = BuildOptions { compression: spec.compression, ..BuildOptions::default() };
    let mut sorted = sorter.finish()?;
    let mut builder = Builder::create(&spec.out, options, sorted.samples())?;
    let mut gather = Gather::new(&spec.options);
    let mut written = 0;
    let mut emit = |key: &[u8], value: &[u8]| {
        builder.add(key, value)?;
        written += (key.len() + value.len()) as u64;
        Ok(())
    };
    while let Some(record) = sorted.next()? {
        gather.push(record.key, record.value, &mut emit)?;
    }
    let gathered = gather.finish(&mut emit)?;
    let unpublished = builder.finish()?;
    // Its memory is the index's now.
    drop(sorted);
    remove(&runs)?;
    teller.phase(Phase::Verifying, rows);
    let total_bytes = unpublished.manifest().verify_bytes();
    let verified = unpublished.verify(&mut |bytes| {
        teller.tell(Progress { phase: Phase::Verifying, rows, bytes, total_bytes });
    })?;
    Ok(Built {
        digest: *verified.digest(),
        duplicates_dropped: gathered.duplicates_dropped,
        others_dropped: gathered.others_dropped,
        peak_memory_bytes: peak_memory().unwrap_or_default(),
    })
}

/// The most memory that this process had resident so far, in bytes.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * 1024)
}

/// A part is built from only if it still is what arrived.
fn check_parts(spec: &BuildSpec) -> Result<(), IngestError> {
    for part in &spec.parts {
        let found = sha256_of(&part.path)?;
        if found != part.sha256 {
            let text = format!(
                "part {} was damaged on the server's disk after it had arrived (SHA-256 {found} \
                 instead of {}): push again, and have the disk checked",
                part.name, part.sha256
            );
            return Err(IngestError::new(Code::DataCorrupt, text));
        }
    }
    Ok(())
}

fn remove(runs: &Path) -> Result<(), IngestError> {
    match std::fs::remove_dir_all(runs) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::io("remove the directory for sorting", runs, e).into())
        }
        _ => Ok(()),
    }
}

fn say(said: &Said) {
    let mut line = serde_json::to_vec(said).expect("what is said is plain data");
    line.push(b'\n');
    let mut out = std::io::stdout().lock();
    // If the server is gone, so is this process in a moment.
    let _ = out.write_all(&line).and_then(|()| out.flush());
}

/// Says progress now and then.
struct Teller {
    last: Option<Instant>,
}

impl Teller {
    fn new() -> Self {
        Self { last: None }
    }

    fn tell(&mut self, progress: Progress) {
        if self.last.is_none_or(|last| last.elapsed() >= SAY_EVERY) {
            self.last = Some(Instant::now());
            say(&Said::Progress(progress));
        }
    }

    fn phase(&mut self, phase: Phase, rows: u64) {
        self.last = None;
        self.tell(Progress { phase, rows, ..Progress::default() });
    }
}
