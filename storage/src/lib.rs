//! Immutable versions of datasets: built, published, activated, looked up.
//!
//! The **push path**, in order: a [`PackedSorter`] compresses values and puts records in key order
//! within a memory budget; a [`Builder`] makes them SST files, in staging; what it finishes, a
//! [`BuiltSnapshot`], reads back every byte, writes its [`Manifest`] and becomes a
//! [`VerifiedSnapshot`]; [`Store::publish`] renames that into place and
//! [`Store::activate`] makes it current, by one record of the journal.
//!
//! A snapshot that was built elsewhere ([`Beside`]; [`Pieces`] if several processes built it) arrives
//! as files: [`lay_out`], [`UnpublishedSnapshot::take_in`], and from there on as any other.
//! [`StoredVersion::files`] is the way back.
//!
//! The **read path**: [`Live::get`] finds what a dataset serves now; of that a [`Lease`] looks a key up
//! ([`Lease::get`]), through a [`View`] without the erased keys of its [`Snapshot`]. It takes no lock and
//! waits for no push.
//!
//! Plain blocking code: it knows nothing of HTTP, async runtimes, command lines or the
//! environment. `docs/data-format.md` describes what it writes.

// The push path.
mod parts;

mod record_list;

mod sorter;

mod builder;
mod profile;

mod digest;
mod lz4;
mod manifest;
mod packed;
mod values;

mod assembly;
mod scrub;
mod verify;
mod walk;

mod versions;

// Snapshots that come from elsewhere, and go there.
mod beside;
mod incoming;
mod merge;
mod outgoing;
mod piece;

// The pointer.
mod event;

mod token;

mod config;
mod gates;

mod catalog;

mod journal;

mod audit;

mod store;

// The read path.
mod assignment;
mod live;
mod located;

mod snapshot;

mod erased;
mod view;

mod diff;
mod overlap;

mod records;

mod hot;
mod points;
mod recent;

mod table_end;
mod tables;

mod block_entry;
mod mapping;

mod reaper;

// Beneath both.
mod names;

mod background;
mod direct;
mod durable;
mod kept_file;
mod lanes;
mod layout;
mod lock;
mod memory;
pub mod planted;
mod poison;
mod private;
mod regular;
mod rocks;
mod space;
mod step;

mod error;

#[cfg(test)]
#[path = "../tests/store/skip.rs"]
mod skip;
#[cfg(test)]
mod testing;

#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;

pub use assignment::Assignment;
pub use audit::{
    AuditHead, AuditLog, AuditReport, Change, ChangeFilter, LogLimits, Moves, is_unsafe, line_of,
    newest_changes, newest_log_lines, verify_audit,
};
pub use background::{be_nice, build_threads, give_way};
pub use beside::Beside;
pub use builder::{BuildOptions, Builder};
pub use catalog::{
    Activation, Admission, Canary, CanaryStart, Catalog, Dataset, Entry, Erasure, Erasures, Expect,
    ExpectCanary, Happened, Held, Hold, Holder, Keep, Moved, Outcome, Parked, Promotion, Rollback,
    State, Swap, Tokens,
};
pub use config::{DatasetConfig, WatchLimits, WatchMode};
pub use diff::{Compared, Differences, differences};
pub use digest::{Digest, hex::text as hex};
pub use erased::{ErasedKeys, Scope};
pub use error::{Code, Error, Kind, Result, quoted, quoted_bytes};
pub use event::{Cause, Failed, Idempotency, Millis, SealedPart, Stats, THE_SERVER, Verdict, age};
pub use gates::{CHECK_GATE, Gates, Range, SampleLookup};
pub use incoming::lay_out;
pub use journal::{JournalFault, JournalReport};
pub use layout::{Layout, MANIFEST, is_snapshot_file, version_of};
pub use live::{Datasets, Lease, Live, Served, ServedCanary};
pub use located::Located;
pub use manifest::{Compression, DictionaryFile, Manifest, SstFile};
pub use memory::process_memory;
pub use merge::{Merged, Pieces};
pub use names::{DatasetName, Key, MAX_KEY_BYTES, MAX_VALUE_BYTES, Version};
pub use outgoing::{Outgoing, SnapshotFile};
pub use packed::Packing;
pub use parts::{
    Arrival, Arrived, ExpectedPart, Part, PartReader, PartSums, PartWriter, WrittenPart,
};
pub use piece::{CutKey, PIECE, Share, dictionary_in, make_empty_piece, make_piece, piece_in};
pub use poison::EvenPoisoned;
pub use private::{is_readable_by_others, make_files_private};
pub use profile::{
    DISTINCT_EXACT_BELOW, FieldProfile, JsonType, Numbers, Profile, SampleRecord, Sizes,
};
pub use record_list::{Record, RecordList};
pub use rocks::BlockCache;
pub use scrub::{Damage, ReadBack, StoredVersion};
pub use snapshot::{Scan, Snapshot};
pub use sorter::{MIN_SORT_BYTES, PackedSorter, Sorted, Sorter};
pub use space::{RESERVE_BYTES, free_bytes, require_room_for_pushes, require_space};
#[cfg(feature = "faults")]
pub use step::VARIABLES as FAULT_VARIABLES;
pub use step::{inherited as inherited_by_builders, read_along_from, step};
pub use store::{
    CanaryChange, Erasing, Finding, Lifting, Listener, MAX_PARTS, NewPush, NotTogether, Recovered,
    Recovery, Release, Repair, RewriteStep, Rewritten, SelfActivation, Standing, Store,
    StoreOptions, Swept, ahead_of_journal, now, read_catalog, repair, repair_plan,
};
pub use token::{NewToken, Token, TokenId};
pub use verify::{BuiltSnapshot, UnpublishedSnapshot, VerifiedSnapshot, verify_snapshot};
pub use view::View;
