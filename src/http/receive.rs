//! The body of a request becomes a part on the disk.
//!
//! Bytes come in on the thread that serves the connection, are written by another one and
//! digested by a third: a disk that is slow, or an fsync, never stalls the other connections
//! of the first, and digesting takes no longer than writing. Both give way to
//! lookups.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::body::Body;
use bytes::Bytes;
use http_body_util::BodyExt as _;
use tidetable_storage::{DatasetName, Part, PartSums, PartWriter, Version, require_space};
use tokio::sync::mpsc;

use super::blocking::{aside, blocking, ended};
use super::content_digest::{Digesting, Expected};
use super::extract::broken_body;
use crate::problem::{Answer, Fault, Problem};
use crate::pushes::{Arriving, Receipt, full, room};
use crate::state::AppState;

/// Chunks on their way to the disk: enough to keep both sides busy, and a bound on memory.
const CHUNKS: usize = 16;
/// How often free space is looked at while a body of unknown length comes in, in bytes.
const LOOK_EVERY: u64 = 64 << 20;

/// Whether a part is on the disk when it has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Synced {
    /// It is: the answer says that it is there.
    Yes,
    /// Not before its version is: only then there is an answer. Most parts are removed then,
    /// and never were on the disk.
    No,
}

/// Whether a push has other parts than one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Others {
    MayCome,
    /// It has none, so that its rows may be read while they arrive.
    None,
}

/// Receives a body as the part `name`: written, digested, compared with what the request
/// announced, fsynced if `synced` says so, and only then there. `_receipt` is its place until then.
///
/// If its rows are read meanwhile, that goes on until the [`Arriving`] is dropped: when the push is sealed,
/// or has failed.
pub(crate) async fn receive_part(
    app: &AppState,
    (dataset, version): (DatasetName, Version),
    (name, others): (&str, Others),
    body: Body,
    length: Option<u64>,
    (expected, synced): (Expected, Synced),
    _receipt: Receipt,
) -> Answer<(Part, Option<Arriving>)> {
    let most = app.config.max_push_bytes.0;
    let root = app.store.layout().root().to_owned();
    if length.is_some_and(|length| length > most) {
        return Err(too_large(most));
    }
    let writer = {
        let (store, root, dataset) = (Arc::clone(&app.store), root.clone(), dataset.clone());
        let name = name.to_owned();
        // Both ask the file system, which may take its time.
        blocking(move || {
            let needed = |length| room::of_part(&store, &dataset, version, length);
            length.map_or(Ok(()), |length| require_space(&root, needed(length)))?;
            Ok(store.begin_part(&dataset, version, &name)?)
        })
        .await?
    };
    let (to_digests, arriving) = mpsc::channel(CHUNKS);
    // Who is told that a part is there is told its SHA-256, and who repeats a push is known by it.
    let sums = match synced == Synced::Yes || expected.has_sha256() {
        true => PartSums::default(),
        false => PartSums::without_sha256(),
    };
    let digesting = aside(app, "digest", move || digest(arriving, sums, expected.begin()))?;
    let along = length.filter(|_| others == Others::None).and_then(|length| {
        app.pushes.arrives(&(dataset.clone(), version), name, writer.path(), length)
    });
    let (to_writer, arriving) = mpsc::channel(CHUNKS);
    let written = along.as_ref().map(Arriving::written);
    let disk = Disk { writer, written, most, root, synced };
    let writing = aside(app, "write", move || disk.write(arriving))?;
    let fed = feed(body, to_writer, to_digests).await;
    let (written, digested) = (ended(writing).await, ended(digesting).await);
    // A writer that failed ends the feeding; its reason is the one to tell.
    let (writer, (sums, digesting)) = match (written, fed, digested) {
        (Err(problem), _, _) | (Ok(_), Err(problem), _) => return Err(problem),
        (Ok(Some(writer)), Ok(()), Some(digested)) => (writer, digested),
        _ => return Err(Problem::new(Fault::Internal, "a part was mislaid")),
    };
    let part = writer.close(sums);
    digesting.finish(part.sha256())?;
    let store = Arc::clone(&app.store);
    let arrive = move || store.receive_part(&dataset, version, part);
    Ok((blocking(move || Ok(arrive()?)).await?, along))
}

/// What is sent to both threads; the end of a body is said, so that a connection that
/// breaks is not taken for it.
enum Chunk {
    Bytes(Bytes),
    End,
}

async fn feed(
    mut body: Body,
    to_writer: mpsc::Sender<Chunk>,
    to_digests: mpsc::Sender<Chunk>,
) -> Answer<()> {
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| broken_body(&error))?;
        let Ok(bytes) = frame.into_data() else { continue };
        let _ = to_digests.send(Chunk::Bytes(bytes.clone())).await;
        if to_writer.send(Chunk::Bytes(bytes)).await.is_err() {
            return Ok(());
        }
    }
    let _ = to_digests.send(Chunk::End).await;
    let _ = to_writer.send(Chunk::End).await;
    Ok(())
}

/// Where a body is written to.
struct Disk {
    writer: PartWriter,
    /// How many bytes of it are written, for whoever reads them meanwhile.
    written: Option<Arc<AtomicU64>>,
    most: u64,
    root: PathBuf,
    synced: Synced,
}

impl Disk {
    /// `None` if the body broke off: the part is dropped, and leaves nothing.
    fn write(mut self, mut arriving: mpsc::Receiver<Chunk>) -> Answer<Option<PartWriter>> {
        let Self { writer, written, most, root, synced } = &mut self;
        let mut looked_at = 0;
        loop {
            match arriving.blocking_recv() {
                None => return Ok(None),
                Some(Chunk::End) => break,
                Some(Chunk::Bytes(bytes)) => {
                    writer.write(&bytes).map_err(|e| full::receiving(e, writer.bytes(), root))?;
                }
            }
            if writer.bytes() > *most {
                return Err(too_large(*most));
            }
            if let Some(written) = written {
                written.store(writer.bytes(), Ordering::Release);
            }
            if writer.bytes() - looked_at >= LOOK_EVERY {
                looked_at = writer.bytes();
                require_space(root, 0)?;
            }
        }
        if *synced == Synced::Yes {
            writer.sync().map_err(|e| full::receiving(e, writer.bytes(), root))?;
        }
        Ok(Some(self.writer))
    }
}

/// The checksums of the body, and how it compares with what was announced; `None` if it
/// broke off.
fn digest(
    mut arriving: mpsc::Receiver<Chunk>,
    mut sums: PartSums,
    mut digesting: Digesting,
) -> Option<(PartSums, Digesting)> {
    while let Chunk::Bytes(bytes) = arriving.blocking_recv()? {
        sums.update(&bytes);
        digesting.update(&bytes);
    }
    Some((sums, digesting))
}

/// The problem of a body that is longer than one may be.
pub(crate) fn too_large(most: u64) -> Problem {
    let text = format!(
        "the data is longer than the {most} bytes that one push request, or one part, may have here \
         (max_push_bytes)"
    );
    Problem::new(Fault::PayloadTooLarge, text)
}
