//! What a push is built from: its parts, and what the catalogue says of it.

use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};

use tidetable_storage::{Arrived, Code, Compression, Error, Part, Store, require_space};

use super::room;
use super::spec::{BuildSpec, NotBuilt, PartSpec};
use super::{PushOf, Pushes};
use crate::ingest::RowOptions;

/// What a push that is sealed is built from.
pub(super) fn spec(pushes: &Pushes, push: &PushOf) -> Result<BuildSpec, NotBuilt> {
    let (dataset, version) = push;
    let store = &pushes.store;
    let there = store.parts(dataset, *version)?;
    let there: HashMap<&str, &Part> =
        there.iter().map(|part| (part.sealed.name.as_str(), part)).collect();
    let sealed = store.catalog().entry(dataset, *version)?.parts.clone();
    let mut parts = Vec::with_capacity(sealed.len());
    for sealed in &sealed {
        let part = there.get(sealed.name.as_str()).filter(|part| part.sealed == *sealed);
        let part = part.ok_or_else(|| {
            let text = format!("part {} is not on the disk any more: push again", sealed.name);
            Error::new(Code::DataCorrupt, text)
        })?;
        let arrived = Some(Arrived { bytes: sealed.bytes, xxh3: part.xxh3 });
        parts.push(PartSpec { name: sealed.name.clone(), path: part.path.clone(), arrived });
    }
    let sent = sealed.iter().map(|part| part.bytes).sum();
    spec_of(pushes, push, parts, sent)
}

/// What a push is built from that has these parts, of so many bytes.
pub(super) fn spec_of(
    pushes: &Pushes,
    push: &PushOf,
    parts: Vec<PartSpec>,
    sent: u64,
) -> Result<BuildSpec, NotBuilt> {
    let (dataset, version) = push;
    let store = &pushes.store;
    // The catalogue is let go of before the disk or the log may keep this thread.
    let inputs = Inputs::of(store, push)?;
    let is_snapshot = is_snapshot(&inputs.options);
    let options = if is_snapshot { RowOptions::default() } else { options(&inputs.options)? };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let attempt = u64::try_from(now.as_nanos()).unwrap_or_default();
    let served = store.live().get(dataset)?;
    Ok(BuildSpec {
        parts,
        is_snapshot,
        options,
        erased: served.erased().map(|erased| (**erased).clone()),
        compression: inputs.compression,
        out: store.layout().build(dataset, *version, attempt),
        sort_memory: pushes.settings.sort_memory,
        sizes: pushes.settings.sizes,
        growth: pushes.settings.growth,
        processor_seconds: processor_seconds(sent),
        gives_way: pushes.settings.give_way,
    })
}

/// What the catalogue says of a push.
struct Inputs {
    options: String,
    compression: Compression,
}

impl Inputs {
    fn of(store: &Store, (dataset, version): &PushOf) -> Result<Self, Error> {
        let catalog = store.catalog();
        let (of, entry) = (catalog.dataset(dataset)?, catalog.entry(dataset, *version)?);
        Ok(Self { options: entry.options.clone(), compression: of.config.compression })
    }
}

/// Whether the disk has room for what a push of so many bytes becomes, before any of it is there.
pub(super) fn require_room(
    pushes: &Pushes,
    (dataset, version): &PushOf,
    sent: u64,
) -> Result<(), Error> {
    let store = &pushes.store;
    let needed = {
        let catalog = store.catalog();
        match is_snapshot(&catalog.entry(dataset, *version)?.options) {
            true => room::beside_snapshot(sent),
            false => room::of_version(catalog.dataset(dataset)?, sent),
        }
    };
    require_space(store.layout().root(), needed)
}

/// What the options of a push say whose parts are the files of a snapshot.
pub(crate) const SNAPSHOT: &str = r#"{"format":"snapshot"}"#;

/// Whether a push with these options sends the files of a snapshot.
pub(crate) fn is_snapshot(options: &str) -> bool {
    options == SNAPSHOT
}

/// Far more than any build of so many bytes takes, compressed as well as they may be: this ends
/// those that would never end by themselves.
fn processor_seconds(bytes: u64) -> u64 {
    const LEAST: u64 = 600;
    const A_MEBIBYTE: u64 = 30;
    LEAST.saturating_add((bytes >> 20).saturating_mul(A_MEBIBYTE))
}

fn options(json: &str) -> Result<RowOptions, NotBuilt> {
    let json = serde_json::from_str(json).map_err(|e| {
        Error::new(Code::UnknownFormat, "the row options of this push cannot be read").because(e)
    })?;
    RowOptions::from_json(json).map_err(|e| NotBuilt::from(Error::from(e)))
}
