//! The process that builds: `tidetable build-worker`, which the server starts.
//!
//! Rows are parsed here and nowhere in the server, under a memory limit and with low
//! priority, so that a hostile file, a crash or an exhausted memory cannot touch serving.
//! `making.rs` is the push path's first half; here is the process around it.

use std::fmt::Display;
use std::fs::File;
use std::io::{BufRead, ErrorKind, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, Signal};
use tidetable_storage::{
    Arrival, Code, Error, ExpectedPart, PartReader, give_way, process_memory, step,
};

use super::making::{self, Job};
use super::spec::{BuildSpec, Built, NotBuilt, PartSpec, Said, Told, Took};
use super::{Phase, Progress, taking};
use crate::ending::end;
use crate::ingest::{IngestError, Input};

/// Memory beyond the sorter's: RocksDB's writer, batches of Parquet, the largest values between
/// parsing and sorting (26 of 16 MiB, where four threads pack).
const MEMORY_BESIDES_SORTING: u64 = 1536 << 20;
/// No file of a build comes near.
const LARGEST_FILE: u64 = 1 << 40;
/// How often progress is said.
const SAY_EVERY: Duration = Duration::from_millis(200);

/// How nice the process is to others, up to 19, if it is always to have a share.
const NICENESS: i32 = 10;

/// Builds what the line on standard input says, and says what came of it. The exit code
/// is 0 if a `done` or `failed` was said.
pub(crate) fn run_worker() -> u8 {
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line);
    let spec = match read.map_err(|e| e.to_string()).and_then(|_| parse(&line)) {
        Ok(spec) => spec,
        Err(text) => {
            log(format_args!("build-worker is started by the server alone: {text}"));
            return 2;
        }
    };
    let arrival = Arc::new(Arrival::default());
    hear_the_server(Arc::clone(&arrival));
    limit_itself(&spec);
    step("worker.started");
    let said = match build_and_verify(&spec, &arrival) {
        Ok(built) => Said::Done(built),
        Err(error) => {
            // For the log of the server, which keeps it from clients.
            error.whole.iter().for_each(log);
            let code = error.code.as_str().to_owned();
            let peak_memory_bytes = peak_memory().unwrap_or_default();
            let (detail, problems) = (error.detail, error.problems);
            Said::Failed(NotBuilt { code, detail, problems, peak_memory_bytes })
        }
    };
    say(&said);
    0
}

fn parse(line: &str) -> Result<BuildSpec, String> {
    serde_json::from_str(line).map_err(|e| e.to_string())
}

/// What comes on standard input says how much of a part has arrived; its end is the server's. The
/// kernel ends this process as well: where all processors are busy it could write for long into what
/// the next start tidies up, before it came to see that end.
fn hear_the_server(arrival: Arc<Arrival>) {
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            match serde_json::from_str(&line) {
                Ok(Told::Grew(bytes)) => arrival.grew(bytes),
                Ok(Told::Arrived(arrived)) => arrival.ended(arrived),
                Err(error) => log(format_args!("the server said what is not understood: {error}")),
            }
        }
        end(3);
    });
}

/// Best effort: where the system refuses, the build still runs.
fn limit_itself(spec: &BuildSpec) {
    if spec.gives_way {
        give_way();
    } else {
        let _ = rustix::process::nice(NICENESS);
    }
    let memory = spec.sort_memory.saturating_mul(2).saturating_add(MEMORY_BESIDES_SORTING);
    let memory = memory.saturating_add(taking::memory(spec));
    let seconds = spec.processor_seconds;
    for (resource, limit, most) in [
        (Resource::Data, memory, memory),
        // The first ends it by a signal that says why, the second by one that does not.
        (Resource::Cpu, seconds, seconds.saturating_add(10)),
        (Resource::Fsize, LARGEST_FILE, LARGEST_FILE),
        // A core would hold what was pushed, and nobody would remove it.
        (Resource::Core, 0, 0),
    ] {
        let limit = Rlimit { current: Some(limit), maximum: Some(most) };
        let _ = rustix::process::setrlimit(resource, limit);
    }
    // Where the machine itself has too little memory, the kernel takes that of somebody: of
    // this one, and not of the server.
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
}

fn build_and_verify(spec: &BuildSpec, arrival: &Arc<Arrival>) -> Result<Built, IngestError> {
    if spec.is_snapshot {
        return take_in(spec, arrival);
    }
    let mut teller = Teller::new();
    let mut took = Took::default();
    let mut lap = Lap::begin();
    let mut rows = 0;
    let inputs = || Ok(inputs(spec, arrival));
    // What arrives is received, as everybody is told, however much of it was read.
    let mut arrives = spec.parts.iter().any(|part| part.arrived.is_none());
    let job = Job { arrival: arrives.then_some(arrival), ..job(spec, &inputs) };
    let made = making::make_snapshot(&job, &mut |phase, read| {
        rows = read.rows;
        if arrives {
            if arrival.arrived().is_none() {
                return;
            }
            arrives = false;
            lap.end();
        }
        match phase {
            Phase::Building => {
                took.reading = lap.end();
                teller.phase(phase, rows);
            }
            _ => {
                let arrived = arrival.arrived().map(|arrived| arrived.bytes);
                let (bytes, total_bytes) = (read.bytes, read.total_bytes.or(arrived).unwrap_or(0));
                teller.tell(Progress { phase, rows, bytes, total_bytes });
            }
        }
    });
    let made = made.map_err(|e| check_parts(spec, arrival).err().unwrap_or(e))?;
    step("worker.made");
    let (built, gathered) = (made.snapshot, made.gathered);
    took.building = lap.end();
    teller.phase(Phase::Verifying, rows);
    let total_bytes = built.verify_bytes();
    let verified = built.verify(&mut |bytes| {
        teller.tell(Progress { phase: Phase::Verifying, rows, bytes, total_bytes });
    })?;
    step("worker.verified");
    took.verifying = lap.end();
    Ok(Built {
        digest: *verified.digest(),
        duplicates_dropped: gathered.duplicates_dropped,
        others_dropped: gathered.others_dropped,
        erased_dropped: made.erased_dropped,
        erased_held: 0,
        peak_memory_bytes: peak_memory().unwrap_or_default(),
        took,
    })
}

fn inputs(spec: &BuildSpec, arrival: &Arc<Arrival>) -> Vec<Input> {
    let input = |part: &PartSpec| Input::part(&part.name, &part.path, expected(part, arrival));
    spec.parts.iter().map(input).collect()
}

fn expected(part: &PartSpec, arrival: &Arc<Arrival>) -> ExpectedPart {
    match part.arrived {
        Some(arrived) => ExpectedPart::Xxh3(arrived.xxh3),
        None => ExpectedPart::Arriving(Arc::clone(arrival)),
    }
}

fn job<'a>(
    spec: &'a BuildSpec,
    inputs: &'a dyn Fn() -> Result<Vec<Input>, IngestError>,
) -> Job<'a> {
    Job {
        inputs,
        arrival: None,
        options: &spec.options,
        erased: spec.erased.as_ref(),
        share: None,
        compression: spec.compression,
        dictionary: None,
        out: &spec.out,
        sort_memory: spec.sort_memory,
        sizes: spec.sizes,
        growth: spec.growth,
    }
}

/// A snapshot that was built elsewhere: every byte of it is compared, and nothing parsed.
fn take_in(spec: &BuildSpec, arrival: &Arc<Arrival>) -> Result<Built, IngestError> {
    let mut teller = Teller::new();
    let mut lap = Lap::begin();
    let taken = taking::take_in(spec, &mut |bytes, total_bytes| {
        teller.tell(Progress { phase: Phase::Verifying, rows: 0, bytes, total_bytes });
    });
    let taken = taken.map_err(|e| check_parts(spec, arrival).err().unwrap_or(e))?;
    step("worker.verified");
    Ok(Built {
        digest: *taken.snapshot.digest(),
        duplicates_dropped: 0,
        others_dropped: 0,
        erased_dropped: 0,
        erased_held: taken.erased_held,
        peak_memory_bytes: peak_memory().unwrap_or_default(),
        took: Took { verifying: lap.end(), ..Took::default() },
    })
}

/// The most memory that this process had resident so far, in bytes.
fn peak_memory() -> Option<u64> {
    process_memory("VmHWM")
}

/// A part is built from only if it still is what arrived: readers compare its XXH3 when they
/// come to its end. If reading failed, this finds whether damage was the reason. It waits for one that
/// still arrives: before that, nobody hears what has failed.
fn check_parts(spec: &BuildSpec, arrival: &Arc<Arrival>) -> Result<(), IngestError> {
    for part in &spec.parts {
        let read = |e| Error::io("read a part", &part.path, e);
        let file = File::open(&part.path).map_err(read)?;
        let mut reader = PartReader::new(file, expected(part, arrival));
        match std::io::copy(&mut reader, &mut std::io::sink()) {
            Err(error) if error.kind() == ErrorKind::InvalidData => {
                let text = format!(
                    "part {} is not on the server's disk any more as it had arrived: push again; unless \
                     the power failed meanwhile, have the disk checked",
                    part.name
                );
                return Err(IngestError::new(Code::DataCorrupt, text));
            }
            read_it => drop(read_it.map_err(read)?),
        }
    }
    Ok(())
}

/// When a phase began.
struct Lap(Instant);

impl Lap {
    fn begin() -> Self {
        Self(Instant::now())
    }

    /// How long it took, in milliseconds; the next one begins.
    fn end(&mut self) -> u64 {
        let began = std::mem::replace(&mut self.0, Instant::now());
        u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

fn say(said: &Said) {
    let mut line = serde_json::to_vec(said).expect("what is said is plain data");
    line.push(b'\n');
    let mut out = std::io::stdout().lock();
    // If the server is gone, so is this process in a moment.
    let _ = out.write_all(&line).and_then(|()| out.flush());
}

/// A line on standard error, which goes to the log of the server. If that reads it no more, what is
/// said on standard output is still to come.
fn log(line: impl Display) {
    let _ = writeln!(std::io::stderr(), "{line}");
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
