//! Imports: pushes whose data the server fetches by itself, from the sources that its settings name.
//!
//! Whoever may push says which source and which path beneath it; an address from a client is
//! never fetched. What is fetched arrives as parts do, and is built as any push. A few imports run
//! at the same time, the others wait. One that was cut off by a stop fails at the next start, and
//! leaves nothing.

use std::collections::VecDeque;
use std::io::Read as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tidetable_storage::{
    Cause, Error, EvenPoisoned as _, Failed, MAX_PARTS, PartSums, State, require_space,
};
use tracing::{info, warn};

use crate::ingest::{IngestError, Input, Origin, SourceOptions, expand_location, part_names};
use crate::pushes::{PushOf, full, room};
use crate::remote::{Location, Object, Settings, Stores};
use crate::state::{App, AppState, count_dataset};

/// Imports that fetch at the same time.
const AT_ONCE: usize = 2;
/// How much is read at once.
const BLOCK_BYTES: usize = 1 << 20;
/// How often free space is looked at, in bytes.
const LOOK_EVERY: u64 = 64 << 20;
/// How often it is asked whether the push still runs.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// A push that was given its number, and where its data lies.
#[derive(Debug)]
pub(crate) struct Import {
    pub(crate) push: PushOf,
    /// Beneath `prefix`.
    pub(crate) location: Location,
    pub(crate) prefix: Location,
    pub(crate) settings: Settings,
    pub(crate) how: SourceOptions,
    pub(crate) activate: bool,
    pub(crate) cause: Cause,
}

/// Imports that wait.
#[derive(Debug, Default)]
pub(crate) struct Imports {
    queue: Mutex<Queue>,
    work: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Import>,
    stopping: bool,
}

/// Why there is no version.
struct Ended {
    code: String,
    detail: String,
    problems: Vec<String>,
}

impl Imports {
    /// Puts an import in the queue.
    pub(crate) fn enqueue(&self, import: Import) {
        self.queue().waiting.push_back(import);
        self.work.notify_one();
    }

    /// That push was deleted: nothing is fetched for it, if that was not begun yet.
    pub(crate) fn forget(&self, push: &PushOf) {
        self.queue().waiting.retain(|import| import.push != *push);
    }

    /// No further import is begun. Those that run end with this process.
    pub(crate) fn stop(&self) {
        self.queue().stopping = true;
        self.work.notify_all();
    }

    fn next(&self) -> Option<Import> {
        let mut queue = self.queue();
        loop {
            if queue.stopping {
                return None;
            }
            if let Some(next) = queue.waiting.pop_front() {
                return Some(next);
            }
            queue = self.work.wait(queue).even_poisoned();
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().even_poisoned()
    }
}

/// Starts the threads that fetch, if there is anything to fetch from. They end by
/// [`Imports::stop`], or with the process: one may wait for a store for minutes.
pub(crate) fn start(app: &AppState) -> std::io::Result<()> {
    if app.config.sources.is_empty() {
        return Ok(());
    }
    for number in 0..AT_ONCE {
        let app = Arc::clone(app);
        let fetch = move || {
            while let Some(import) = app.imports.next() {
                run(&app, &import);
            }
        };
        std::thread::Builder::new().name(format!("import-{number}")).spawn(fetch)?;
    }
    Ok(())
}

/// One import, to its end: its push is sealed, or has failed.
fn run(app: &App, import: &Import) {
    let (dataset, version) = &import.push;
    info!(%dataset, version = version.0, from = %import.location, "importing");
    let fetched = catch_unwind(AssertUnwindSafe(|| fetch(app, import)));
    app.pushes.fetched(&import.push);
    let ended = match fetched {
        Ok(Ok(())) => None,
        Ok(Err(ended)) => Some(ended),
        Err(_) => {
            app.metrics.panicked();
            Some(Ended::of("internal_error", "the import failed because of a fault in the server"))
        }
    };
    if let Some(ended) = ended {
        warn!(%dataset, version = version.0, code = ended.code, "an import failed");
        give_up(app, import, ended);
    }
    count_dataset(&app.store, &app.metrics, dataset);
}

fn fetch(app: &App, import: &Import) -> Result<(), Ended> {
    let (dataset, version) = &import.push;
    still_wanted(app, &import.push)?;
    app.pushes.fetches(&import.push, 0, 0);
    let objects = find(import)?;
    check_number(objects.len())?;
    let total = objects.iter().map(Object::bytes).sum();
    let most = app.config.max_push_bytes.0;
    if total > most {
        let text =
            format!("the source has {total} bytes; one push may have {most} (max_push_bytes)");
        return Err(Ended::of("payload_too_large", text));
    }
    let root = app.store.layout().root();
    require_space(root, room::of_push(&app.store, dataset, total))?;
    let names: Vec<String> =
        objects.iter().map(|object| object.location().file_name().to_owned()).collect();
    let names = part_names(&names);
    let mut done = 0;
    for (object, name) in objects.iter().zip(&names) {
        fetch_part(app, import, (object, name), (&mut done, total))?;
    }
    let cause = import.cause.clone();
    app.store.seal(dataset, *version, import.activate, Some(&names), cause.clone())?;
    app.pushes.fetched(&import.push);
    app.pushes.go_on(import.push.clone(), cause);
    Ok(())
}

/// Each object is a part. That there are too many would otherwise be known once as many as may be were
/// fetched.
fn check_number(objects: usize) -> Result<(), Ended> {
    if objects <= MAX_PARTS {
        return Ok(());
    }
    let text = format!(
        "the source has {objects} objects; one push may have {MAX_PARTS}: combine them, so that fewer \
         hold the same rows, and import again"
    );
    Err(Ended::of("payload_too_large", text))
}

/// The objects that the import means, none of them elsewhere than it may be.
fn find(import: &Import) -> Result<Vec<Object>, Ended> {
    let mut stores = Stores::new(import.settings.clone());
    let may = |location: &Location| import.prefix.holds(location);
    let inputs = expand_location(&import.location, &mut stores, &import.how, &may)?;
    let object = |input: Input| match input.origin {
        Origin::Object(object) => Some(object),
        Origin::File(_) | Origin::Reader(_) => None,
    };
    Ok(inputs.into_iter().filter_map(object).collect())
}

fn fetch_part(
    app: &App,
    import: &Import,
    (object, name): (&Object, &str),
    (done, total): (&mut u64, u64),
) -> Result<(), Ended> {
    let (dataset, version) = &import.push;
    let root = app.store.layout().root();
    let mut writer = app.store.begin_part(dataset, *version, name)?;
    let mut sums = PartSums::default();
    let mut reader = object.open();
    let mut block = vec![0; BLOCK_BYTES];
    let (mut looked_at, mut asked) = (*done, Instant::now());
    loop {
        let count = reader.read(&mut block).map_err(|error| Ended::of_read(&error))?;
        if count == 0 {
            break;
        }
        sums.update(&block[..count]);
        writer.write(&block[..count]).map_err(|error| full::fetching(error, root))?;
        *done += count as u64;
        app.pushes.fetches(&import.push, *done, total);
        if *done - looked_at >= LOOK_EVERY {
            looked_at = *done;
            require_space(root, 0)?;
        }
        if asked.elapsed() >= ASK_EVERY {
            asked = Instant::now();
            still_wanted(app, &import.push)?;
        }
    }
    writer.sync().map_err(|error| full::fetching(error, root))?;
    app.store.receive_part(dataset, *version, writer.close(sums))?;
    Ok(())
}

fn still_wanted(app: &App, (dataset, version): &PushOf) -> Result<(), Error> {
    let catalog = app.store.catalog();
    match catalog.entry(dataset, *version)?.state {
        State::Receiving => Ok(()),
        _ => {
            let text = format!("version {version} of {dataset} ended while it was fetched");
            Err(Error::new(tidetable_storage::Code::WrongState, text))
        }
    }
}

/// The push ends here.
fn give_up(app: &App, import: &Import, ended: Ended) {
    let (dataset, version) = import.push.clone();
    let Ended { code, detail, problems } = ended;
    let failed = Failed { dataset, version, code, detail, problems };
    // What is not recorded is told there.
    let _ = app.pushes.give_up(failed, import.cause.clone());
}

impl Ended {
    fn of(code: &str, detail: impl Into<String>) -> Self {
        Self { code: code.to_owned(), detail: detail.into(), problems: Vec::new() }
    }

    fn of_read(error: &std::io::Error) -> Self {
        Self::of(tidetable_storage::Code::SourceFailed.as_str(), error.to_string())
    }
}

impl From<IngestError> for Ended {
    fn from(error: IngestError) -> Self {
        Self { problems: error.problems.clone(), ..Self::of(error.code.as_str(), error.detail) }
    }
}

impl From<Error> for Ended {
    fn from(error: Error) -> Self {
        Self::of(error.code().as_str(), error.told())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_objects_than_a_push_may_have_are_refused_by_their_number() {
        assert!(check_number(MAX_PARTS).is_ok());
        let Err(ended) = check_number(MAX_PARTS + 1) else { panic!("it was taken") };
        assert_eq!(ended.code, "payload_too_large");
        assert!(
            ended.detail.contains("20001 objects; one push may have 20000"),
            "{}",
            ended.detail
        );
    }
}
