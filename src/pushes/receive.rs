//! The body of a request becomes a part on the disk.
//!
//! Bytes come in on the thread that serves the connection and are written by another one:
//! a disk that is slow, or an fsync, never stalls the other connections of that thread.

use std::path::Path;
use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use http_body_util::BodyExt as _;
use tidetable_storage::{
    DatasetName, Part, PartWriter, RESERVE_BYTES, Store, SyncedPart, Version, free_bytes,
    require_space,
};
use tokio::sync::mpsc;

use crate::http::blocking::blocking;
use crate::http::content_digest::Expected;
use crate::http::error::{Answer, Fault, Problem};
use crate::http::extract::broken_body;
use crate::state::AppState;

/// Chunks on their way to the disk: enough to keep both sides busy, and a bound on memory.
const CHUNKS: usize = 16;
/// How often free space is looked at while a body of unknown length comes in, in bytes.
const LOOK_EVERY: u64 = 64 << 20;

/// A part that has arrived.
#[derive(Debug)]
pub(crate) struct Received(pub(crate) Part);

/// Receives a body as the part `name`: written, digested, compared with what the request
/// announced, fsynced, and only then there. `most` bounds its bytes.
pub(crate) async fn receive_part(
    app: &AppState,
    (dataset, version): (DatasetName, Version),
    name: &str,
    body: Body,
    length: Option<u64>,
    expected: Expected,
) -> Answer<Received> {
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
            length.map_or(Ok(()), |length| require_space(&root, length))?;
            Ok(store.begin_part(&dataset, version, &name)?)
        })
        .await?
    };
    let (sender, receiver) = mpsc::channel(CHUNKS);
    let writing =
        tokio::task::spawn_blocking(move || write(writer, receiver, most, &root, expected));
    let fed = feed(body, sender).await;
    let written = match writing.await {
        Ok(written) => written,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    };
    // A writer that failed ends the feeding; its reason is the one to tell.
    let synced = match (written, fed) {
        (Err(problem), _) | (Ok(_), Err(problem)) => return Err(problem),
        (Ok(None), Ok(())) => return Err(Problem::new(Fault::Internal, "a part was mislaid")),
        (Ok(Some(synced)), Ok(())) => synced,
    };
    let store = Arc::clone(&app.store);
    arrive(store, dataset, version, synced).await
}

async fn arrive(
    store: Arc<Store>,
    dataset: DatasetName,
    version: Version,
    synced: SyncedPart,
) -> Answer<Received> {
    let arrive = move || store.receive_part(&dataset, version, synced);
    match tokio::task::spawn_blocking(arrive).await {
        Ok(part) => Ok(Received(part?)),
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}

/// What is sent to the writer; the end of a body is said, so that a connection that breaks
/// is not taken for it.
enum Chunk {
    Bytes(Bytes),
    End,
}

async fn feed(mut body: Body, sender: mpsc::Sender<Chunk>) -> Answer<()> {
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| broken_body(&error))?;
        if let Ok(bytes) = frame.into_data()
            && sender.send(Chunk::Bytes(bytes)).await.is_err()
        {
            return Ok(());
        }
    }
    let _ = sender.send(Chunk::End).await;
    Ok(())
}

/// `None` if the body broke off: the part is dropped, and leaves nothing.
fn write(
    mut writer: PartWriter,
    mut receiver: mpsc::Receiver<Chunk>,
    most: u64,
    root: &Path,
    expected: Expected,
) -> Answer<Option<SyncedPart>> {
    let mut looked_at = 0;
    let mut digesting = expected.begin();
    loop {
        match receiver.blocking_recv() {
            None => return Ok(None),
            Some(Chunk::End) => break,
            Some(Chunk::Bytes(bytes)) => {
                writer.write(&bytes).map_err(|e| full(e, &writer, root))?;
                digesting.update(&bytes);
            }
        }
        if writer.bytes() > most {
            return Err(too_large(most));
        }
        if writer.bytes() - looked_at >= LOOK_EVERY {
            looked_at = writer.bytes();
            require_space(root, 0)?;
        }
    }
    let synced = writer.sync()?;
    digesting.finish(synced.sha256())?;
    Ok(Some(synced))
}

/// A full disk, with what the client can do something with.
fn full(error: tidetable_storage::Error, writer: &PartWriter, root: &Path) -> Problem {
    if error.kind() != tidetable_storage::Kind::Full {
        return error.into();
    }
    let free = free_bytes(root).unwrap_or_default();
    let text = format!(
        "the disk is full: {} bytes of this part had arrived, {free} bytes are free, and \
         {RESERVE_BYTES} are kept in reserve. What had arrived was removed; make room and push again",
        writer.bytes()
    );
    let full = tidetable_storage::Error::new(tidetable_storage::Code::DiskFull, text);
    Problem::from(full).because(error)
}

fn too_large(most: u64) -> Problem {
    let text = format!(
        "the data is longer than the {most} bytes that one push may have here (max_push_bytes)"
    );
    Problem::new(Fault::PayloadTooLarge, text)
}
