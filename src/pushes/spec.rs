//! What the server and the process that builds say to each other, one JSON line each.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tidetable_storage::{Arrived, Compression, Digest, ErasedKeys};

use super::Progress;
use crate::ingest::{GrowthLimits, RowOptions};

/// What is to be built: the first line that the builder reads, and the only one unless its part still
/// arrives. Its standard input stays open as long as the server lives.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BuildSpec {
    /// The parts, in the order of their rows.
    pub(super) parts: Vec<PartSpec>,
    /// Whether they are the files of a snapshot: then nothing is parsed.
    pub(super) is_snapshot: bool,
    /// How rows become records.
    pub(super) options: RowOptions,
    /// How records are compressed.
    pub(super) compression: Compression,
    /// The keys whose rows are left out, if any are. It goes no other way than the pipe that this
    /// is written to.
    pub(super) erased: Option<ErasedKeys>,
    /// Where to build: a directory that is not there yet.
    pub(super) out: PathBuf,
    /// Bytes of memory for sorting.
    pub(super) sort_memory: u64,
    /// How long keys and values may be.
    pub(super) sizes: Sizes,
    /// How far compressed parts may grow.
    pub(super) growth: GrowthLimits,
    /// Seconds of processor time that the process may take.
    pub(super) processor_seconds: u64,
    /// Whether it gets only what others leave of the processors.
    pub(super) gives_way: bool,
}

/// How long keys and values may be, in bytes.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sizes {
    pub(crate) key: usize,
    pub(crate) value: usize,
}

impl Sizes {
    /// What can be stored at all.
    pub(crate) const MOST: Self =
        Self { key: tidetable_storage::MAX_KEY_BYTES, value: tidetable_storage::MAX_VALUE_BYTES };
}

/// One part to read.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PartSpec {
    /// Its name, for messages.
    pub(super) name: String,
    /// Its bytes.
    pub(super) path: PathBuf,
    /// What they were when they arrived. Without it they still arrive: then it is the only part, and
    /// [`Told`] says what there is of it.
    pub(super) arrived: Option<Arrived>,
}

/// What the builder is told of a part that still arrives.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Told {
    /// So many bytes are there.
    Grew(u64),
    /// It has arrived.
    Arrived(Arrived),
}

impl BuildSpec {
    /// The bytes of all parts that have arrived.
    pub(super) fn bytes(&self) -> u64 {
        self.parts.iter().filter_map(|part| part.arrived).map(|arrived| arrived.bytes).sum()
    }

    /// Whether the same rows become the same snapshot.
    pub(super) fn is_alike(&self, other: &Self) -> bool {
        let what = |spec: &Self| (spec.is_snapshot, spec.compression);
        what(self) == what(other) && self.options == other.options && self.erased == other.erased
    }
}

/// What the builder says: any number of `progress`, then one of the others.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Said {
    /// It has come so far.
    Progress(Progress),
    /// A verified snapshot is there.
    Done(Built),
    /// There is none, and why.
    Failed(NotBuilt),
}

/// A verified snapshot.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Built {
    /// BLAKE3 of its manifest.
    pub(super) digest: Digest,
    /// Rows left out because an equal one is stored.
    pub(super) duplicates_dropped: u64,
    /// Rows left out because `on_duplicate` chose another, or beyond `limit`.
    pub(super) others_dropped: u64,
    /// Rows left out because their keys are erased.
    pub(super) erased_dropped: u64,
    /// Records of erased keys in it, which is a snapshot that was built elsewhere.
    pub(super) erased_held: u64,
    /// The most memory that the process had resident, in bytes; 0 if the system does not
    /// say.
    pub(super) peak_memory_bytes: u64,
    /// How long each phase took, in milliseconds.
    pub(super) took: Took,
}

/// How long the phases of a build took, in milliseconds.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Took {
    pub(super) reading: u64,
    pub(super) building: u64,
    pub(super) verifying: u64,
}

/// Why there is no snapshot.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct NotBuilt {
    /// The stable name.
    pub(super) code: String,
    /// For a person.
    pub(super) detail: String,
    /// The first few places in the source.
    pub(super) problems: Vec<String>,
    /// The most memory that the process had resident, in bytes; 0 if that is not known.
    #[serde(default)]
    pub(super) peak_memory_bytes: u64,
}

impl NotBuilt {
    pub(super) fn new(code: impl Into<String>, detail: impl Into<String>) -> Self {
        let (code, detail) = (code.into(), detail.into());
        Self { code, detail, problems: Vec::new(), peak_memory_bytes: 0 }
    }
}
