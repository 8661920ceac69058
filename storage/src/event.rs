//! What can happen to datasets and versions: the only things that change what is served.
//!
//! Each event is one record of the journal, so its structs are **frozen once released**: a
//! new field is a new struct beside the old one, under a new event version (see
//! `journal.rs`). Documents whose shape is expected to grow (a dataset's settings, the row
//! options of a push) are kept as JSON text, which the journal does not look into.

use serde::{Deserialize, Serialize};

use crate::erased::Scope;
use crate::error::Code;
use crate::names::{DatasetName, Version};
use crate::token::TokenId;

/// Milliseconds since 1970-01-01T00:00:00Z, by the wall clock: for people and for
/// retention. What is served never depends on it; order comes from the journal.
pub type Millis = u64;

/// How far ahead of the clock a time may be, as after a small correction of it.
const AHEAD: Millis = 60_000;

/// How long before `now` something was. A time that is well ahead of `now` is of a clock that was
/// wrong and was set right since: when that was nobody knows, so it counts as very long ago, and not
/// as something that has only just been until the clock has come there again.
pub fn age(at: Millis, now: Millis) -> Millis {
    if at > now.saturating_add(AHEAD) { Millis::MAX } else { now.saturating_sub(at) }
}

/// Who did something, when and why.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// When.
    pub at: Millis,
    /// Who: a user or job, as far as it is known.
    pub actor: String,
    /// The request that asked for it; empty for what the server did by itself.
    pub request_id: String,
    /// Why, in the words of who asked.
    pub reason: Option<String>,
    /// The idempotency key it was asked with, if any.
    pub idempotency: Option<Idempotency>,
}

/// Who does what the server does by itself. No token has that name.
pub const THE_SERVER: &str = "tidetable";

impl Cause {
    /// That of what the server does by itself.
    pub fn by_the_server() -> Self {
        Self { actor: THE_SERVER.to_owned(), ..Self::default() }
    }
}

/// A caller's own name for a request, by which a repetition is recognised.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Idempotency {
    /// The key, unique per dataset as long as its version is kept.
    pub key: String,
    /// What the request asked for, in short: the same key with another one is refused.
    pub fingerprint: String,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Event {
    /// A dataset came to be.
    Created(Created),
    /// Its settings were changed.
    Configured(Created),
    /// A dataset and all its versions were deleted.
    DatasetDeleted(DatasetDeleted),
    /// A push was given its version number.
    Admitted(Admitted),
    /// A push has all its parts: what follows depends on the server alone.
    Sealed(Sealed),
    /// A push ended without a version.
    Failed(Failed),
    /// A version is complete, verified and in its place. Its gates have been checked.
    Published(Published),
    /// The gates of a published version were checked again, and refused it.
    Rejected(Rejected),
    /// Another version is current: the swap. A rollback is this too.
    Activated(Activated),
    /// Other versions of several datasets are current, all at one instant.
    ActivatedTogether(ActivatedTogether),
    /// Pushes are not activated by themselves from here on.
    Held(OfDataset),
    /// They are again.
    Released(OfDataset),
    /// A version was given up; its files may go.
    Deleted(Deleted),
    /// A second version is served to a share of the units, or to another share of them.
    CanaryStarted(CanaryStarted),
    /// It is not any more. (One that was promoted is activated.)
    CanaryEnded(OfDataset),
    /// Somebody may ask for something.
    TokenCreated(TokenCreated),
    /// They may not any more.
    TokenRevoked(TokenRevoked),
    /// Keys are given no more, by no version of any age.
    Erased(Erased),
    /// They may be given again, by versions that have them.
    EraseLifted(EraseLifted),
    /// The files of a version were replaced by others, which have no erased keys.
    VersionRewritten(VersionRewritten),
    /// A version that is about to be published has bytes of erased keys: it was built elsewhere.
    HoldsErased(HoldsErased),
}

/// See [`Event::Created`] and [`Event::Configured`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Created {
    /// Which dataset.
    pub dataset: DatasetName,
    /// All its settings, as JSON.
    pub config: String,
}

/// See [`Event::DatasetDeleted`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct DatasetDeleted {
    /// Which dataset.
    pub dataset: DatasetName,
}

/// See [`Event::Admitted`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Admitted {
    /// Which dataset.
    pub dataset: DatasetName,
    /// The number given.
    pub version: Version,
    /// The batch run's own name for it.
    pub label: Option<String>,
    /// The instant the data describes, RFC 3339.
    pub as_of: Option<String>,
    /// How rows become keys and values, as JSON.
    pub options: String,
    /// Whether it is to be activated when it is ready.
    pub activate: bool,
    /// Whether the whole push is one request: nothing of it is acknowledged until it is
    /// sealed, so a restart before that ends it.
    pub whole: bool,
}

/// See [`Event::Sealed`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sealed {
    /// Which dataset.
    pub dataset: DatasetName,
    /// Which version.
    pub version: Version,
    /// Whether it is to be activated when it is ready.
    pub activate: bool,
    /// The parts, in the order of their rows.
    pub parts: Vec<SealedPart>,
}

/// One received part of a push.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedPart {
    /// Its name.
    pub name: String,
    /// Its size as received.
    pub bytes: u64,
    /// SHA-256 of its bytes as received, in hex; empty if nobody asked for it.
    pub sha256: String,
}

/// See [`Event::Failed`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Failed {
    /// Which dataset.
    pub dataset: DatasetName,
    /// Which version.
    pub version: Version,
    /// A stable name of what went wrong.
    pub code: String,
    /// What went wrong, for a person. If it quotes rows, keys or values, it does so at its end:
    /// see [`Failed::reason`].
    pub detail: String,
    /// The first few places in the source.
    pub problems: Vec<String>,
}

/// What stands in the detail of a failure before the first row, key or value that it quotes.
const FIRST: &str = "; the first is ";

impl Failed {
    /// The detail without the rows, keys and values that it may quote: what may stand in
    /// histories, and be told to receivers of webhooks.
    pub fn reason(&self) -> String {
        let is = |code: Code| self.code == code.as_str();
        if is(Code::SnapshotRefused) {
            return self.detail.split(FIRST).next().unwrap_or_default().to_owned();
        }
        let otherwise = match () {
            () if is(Code::BadRows) => "there are rows that cannot be used",
            () if is(Code::DuplicateKeys) => "there are keys with several different rows",
            () if is(Code::ValueTooLarge) => "there are values that are too large",
            () => return self.detail.clone(),
        };
        // Only if all that is left out is the problem that is told elsewhere is it known that
        // nothing else is quoted.
        let first = self.problems.first();
        let without = first.and_then(|first| self.detail.strip_suffix(first.as_str()));
        without.and_then(|text| text.strip_suffix(FIRST)).unwrap_or(otherwise).to_owned()
    }
}

/// See [`Event::Published`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Published {
    /// Which dataset.
    pub dataset: DatasetName,
    /// Which version.
    pub version: Version,
    /// BLAKE3 of its manifest: what is opened must have it.
    pub manifest: [u8; 32],
    /// What is in it.
    pub stats: Stats,
    /// What the gates said. One that did not pass makes the version `rejected`.
    pub gates: Vec<Verdict>,
    /// The current version that the gates compared it with.
    pub against: Option<Version>,
}

/// What is in a version, in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Records.
    pub records: u64,
    /// Bytes of its files on disk.
    pub bytes: u64,
    /// Bytes of its keys and values.
    pub raw_bytes: u64,
    /// Rows that said again what an earlier row had said, and were left out.
    pub duplicates_dropped: u64,
    /// BLAKE3 over its keys and values, in hex.
    pub content_digest: String,
}

/// What one gate said of one version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The gate's name.
    pub gate: String,
    /// Its limit.
    pub limit: f64,
    /// What was seen.
    pub observed: f64,
    /// Whether it let the version pass.
    pub passed: bool,
    /// The same for a person.
    pub detail: String,
}

impl Verdict {
    /// What the gate of that name said.
    pub fn new(gate: &str, limit: f64, observed: f64, passed: bool, detail: String) -> Self {
        Self { gate: gate.to_owned(), limit, observed, passed, detail }
    }
}

/// See [`Event::Rejected`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Rejected {
    /// Which dataset.
    pub dataset: DatasetName,
    /// Which version.
    pub version: Version,
    /// What the gates said this time.
    pub gates: Vec<Verdict>,
    /// The current version that they compared it with.
    pub against: Option<Version>,
}

/// See [`Event::Activated`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Activated {
    /// Which dataset.
    pub dataset: DatasetName,
    /// The version that was current, if any was.
    pub from: Option<Version>,
    /// The version that is current now.
    pub to: Version,
    /// Whether a person overrode the gates or a `bad` mark.
    pub forced: bool,
    /// Whether this is a rollback, which marks `from` as bad.
    pub rollback: bool,
    /// Whether the dataset is held from here on; `None` leaves it as it is.
    pub hold: Option<bool>,
}

impl Activated {
    /// One that is neither forced nor a rollback, and leaves a hold as it is.
    pub(crate) fn plain(dataset: &DatasetName, from: Option<Version>, to: Version) -> Self {
        let dataset = dataset.clone();
        Self { dataset, from, to, forced: false, rollback: false, hold: None }
    }
}

/// See [`Event::ActivatedTogether`]. Each dataset is in it once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ActivatedTogether {
    /// What each dataset would have been told of alone.
    pub activations: Vec<Activated>,
}

/// An event that names a dataset alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct OfDataset {
    /// Which dataset.
    pub dataset: DatasetName,
}

/// See [`Event::CanaryStarted`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct CanaryStarted {
    /// Which dataset.
    pub dataset: DatasetName,
    /// The second version.
    pub version: Version,
    /// The share of the units it serves, in percent.
    pub percent: f64,
    /// What its units are drawn by.
    pub experiment: String,
}

/// See [`Event::Deleted`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Deleted {
    /// Which dataset.
    pub dataset: DatasetName,
    /// Which version.
    pub version: Version,
}

/// See [`Event::TokenCreated`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct TokenCreated {
    /// Which token.
    pub id: TokenId,
    /// Who acts with it.
    pub name: String,
    /// BLAKE3 of its secret.
    pub hash: [u8; 32],
    /// What it may be used for, as JSON.
    pub grants: String,
    /// Until when it is good; `None`: until it is revoked.
    pub expires_at: Option<Millis>,
}

/// See [`Event::TokenRevoked`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct TokenRevoked {
    /// Which token.
    pub id: TokenId,
}

/// See [`Event::Erased`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Erased {
    /// Where, each once.
    pub scopes: Vec<Scope>,
    /// The name of the secret that the digests were made with.
    pub secret: [u8; 8],
    /// The keyed digests of the keys.
    pub keys: Vec<[u8; 32]>,
    /// Versions that were looked into and have none of the keys.
    pub not_in: Vec<(DatasetName, Version)>,
}

/// See [`Event::EraseLifted`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct EraseLifted {
    /// Where, each once.
    pub scopes: Vec<Scope>,
    /// The keyed digests of the keys.
    pub keys: Vec<[u8; 32]>,
}

/// See [`Event::VersionRewritten`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct VersionRewritten {
    /// Which dataset.
    pub dataset: DatasetName,
    /// Which version.
    pub version: Version,
    /// How often it was rewritten by now: which of its directories it is.
    pub generation: u32,
    /// BLAKE3 of its manifest from here on.
    pub manifest: [u8; 32],
    /// What is in it from here on.
    pub stats: Stats,
    /// Records that were left out; if none, the files are those before.
    pub removed: u64,
    /// The event up to which erased keys were left out.
    pub erased_to: u64,
}

/// See [`Event::HoldsErased`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct HoldsErased {
    /// Which dataset.
    pub dataset: DatasetName,
    /// Which version.
    pub version: Version,
    /// Records of erased keys that it has.
    pub records: u64,
    /// The event up to which erased keys were looked for.
    pub erased_to: u64,
}

/// What a history calls a change of settings.
pub(crate) const CONFIGURED: &str = "configured";
/// What a history calls a publication of a version that is ready then.
pub(crate) const PUBLISHED: &str = "published";

impl Event {
    /// The datasets it happened to. What is erased everywhere names none: see
    /// `Catalog::told_of`.
    pub(crate) fn datasets(&self) -> impl Iterator<Item = &DatasetName> {
        let one = match self {
            Self::Created(e) | Self::Configured(e) => Some(&e.dataset),
            Self::DatasetDeleted(e) => Some(&e.dataset),
            Self::Admitted(e) => Some(&e.dataset),
            Self::Sealed(e) => Some(&e.dataset),
            Self::Failed(e) => Some(&e.dataset),
            Self::Published(e) => Some(&e.dataset),
            Self::Rejected(e) => Some(&e.dataset),
            Self::Held(e) | Self::Released(e) | Self::CanaryEnded(e) => Some(&e.dataset),
            Self::Deleted(e) => Some(&e.dataset),
            Self::CanaryStarted(e) => Some(&e.dataset),
            Self::VersionRewritten(e) => Some(&e.dataset),
            Self::HoldsErased(e) => Some(&e.dataset),
            Self::Activated(_)
            | Self::ActivatedTogether(_)
            | Self::TokenCreated(_)
            | Self::TokenRevoked(_)
            | Self::Erased(_)
            | Self::EraseLifted(_) => None,
        };
        let swapped = self.activations().iter().map(|activated| &activated.dataset);
        let erased = self.scopes().into_iter().flatten().filter_map(|scope| scope.dataset());
        one.into_iter().chain(swapped).chain(erased)
    }

    /// Where it has changed which keys are erased, if it has.
    pub(crate) fn scopes(&self) -> Option<&[Scope]> {
        match self {
            Self::Erased(e) => Some(&e.scopes),
            Self::EraseLifted(e) => Some(&e.scopes),
            _ => None,
        }
    }

    /// The swaps it made: none, one, or several at one instant.
    pub(crate) fn activations(&self) -> &[Activated] {
        match self {
            Self::Activated(e) => std::slice::from_ref(e),
            Self::ActivatedTogether(e) => &e.activations,
            _ => &[],
        }
    }

    /// The version it is about, if about one of one dataset.
    pub(crate) fn version(&self) -> Option<Version> {
        match self {
            Self::Admitted(e) => Some(e.version),
            Self::Sealed(e) => Some(e.version),
            Self::Failed(e) => Some(e.version),
            Self::Published(e) => Some(e.version),
            Self::Rejected(e) => Some(e.version),
            Self::Activated(e) => Some(e.to),
            Self::Deleted(e) => Some(e.version),
            Self::CanaryStarted(e) => Some(e.version),
            Self::VersionRewritten(e) => Some(e.version),
            Self::HoldsErased(e) => Some(e.version),
            Self::Erased(_)
            | Self::EraseLifted(_)
            | Self::Created(_)
            | Self::Configured(_)
            | Self::DatasetDeleted(_)
            | Self::ActivatedTogether(_)
            | Self::Held(_)
            | Self::Released(_)
            | Self::CanaryEnded(_)
            | Self::TokenCreated(_)
            | Self::TokenRevoked(_) => None,
        }
    }

    /// What a history calls it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Created(_) => "created",
            Self::Configured(_) => CONFIGURED,
            Self::DatasetDeleted(_) => "dataset_deleted",
            Self::Admitted(_) => "admitted",
            Self::Sealed(_) => "sealed",
            Self::Failed(_) => "failed",
            Self::Published(e) if e.gates.iter().all(|v| v.passed) => PUBLISHED,
            Self::Published(_) | Self::Rejected(_) => "rejected",
            Self::Activated(e) if e.rollback => "rolled_back",
            Self::Activated(_) | Self::ActivatedTogether(_) => "activated",
            Self::Held(_) => "held",
            Self::Released(_) => "released",
            Self::Deleted(_) => "deleted",
            Self::CanaryStarted(_) => "canary_started",
            Self::CanaryEnded(_) => "canary_ended",
            Self::TokenCreated(_) => "token_created",
            Self::TokenRevoked(_) => "token_revoked",
            Self::Erased(_) => "erased",
            Self::EraseLifted(_) => "erase_lifted",
            Self::VersionRewritten(_) => "version_rewritten",
            Self::HoldsErased(_) => "holds_erased",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_of_a_failure_quotes_nothing() {
        let reason = |code: &str, detail: &str, problems: &[&str]| {
            let problems = problems.iter().map(|problem| (*problem).to_owned()).collect();
            let (code, detail) = (code.to_owned(), detail.to_owned());
            let dataset = DatasetName::parse("recs").unwrap();
            Failed { dataset, version: Version(1), code, detail, problems }.reason()
        };
        let row = "body line 2: its key is \"learner-99\"";
        let rows = format!("1 of 4 rows cannot be used (all were read); the first is {row}");
        assert_eq!(reason("bad_rows", &rows, &[row]), "1 of 4 rows cannot be used (all were read)");
        for (code, detail, problems) in [
            // What is not known to be without quotes is not told.
            ("bad_rows", row, &[row][..]),
            ("bad_rows", rows.as_str(), &[]),
            ("bad_rows", "\"learner-99\"; the first is x", &["y"]),
            ("duplicate_keys", "the key learner-99 twice", &["key learner-99"]),
            ("value_too_large", "the value of learner-99 is", &[]),
        ] {
            let told = reason(code, detail, problems);
            assert!(told.starts_with("there are ") && !told.contains("learner"), "{told}");
        }
        let no_json = "a value is no JSON; the first is that of the key \"learner-99\"";
        assert_eq!(reason("snapshot_refused", no_json, &[]), "a value is no JSON");
        assert_eq!(reason("snapshot_refused", "no manifest", &[]), "no manifest");
        assert_eq!(reason("disk_full", "5 bytes free", &["x"]), "5 bytes free");
    }
}
