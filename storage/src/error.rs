//! What can go wrong, said once for whoever must act on it.
//!
//! An [`Error`] carries a stable [`Code`] (programs switch on it; it is the `code` of an
//! HTTP problem), a [`Kind`] that follows from the code (what the caller can do), one
//! sentence that says what was being done, on what, what was expected and what to do
//! now, and the path where it happened.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::layout;
use crate::names::{DatasetName, Version};

/// The result of everything in this crate that can fail.
pub type Result<T> = std::result::Result<T, Error>;

/// What the caller can do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// It is not there. Asking again changes nothing.
    NotFound,
    /// It was there and was deleted.
    Gone,
    /// What was asked is malformed. Correct it and ask again.
    Invalid,
    /// The data cannot be made into a version: rows, keys or values are at fault, or a
    /// gate refused it. Correct the data and push again.
    Refused,
    /// The state does not allow it now; nothing was changed.
    Conflict,
    /// Stored data is damaged. It is never served; an operator must act.
    Corrupt,
    /// The disk takes no more. Nothing was changed.
    Full,
    /// Not now: retry later.
    Unavailable,
    /// The operating system failed in a way that asking again may not mend.
    Io,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal => $kind:ident,)*) => {
        /// The stable, machine-readable names of errors.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Code { $($(#[$doc])* $name,)* }

        impl Code {
            /// Every code, in the order they are documented.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The snake-case name.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// What the caller can do about it.
            pub fn kind(self) -> Kind {
                match self { $(Self::$name => Kind::$kind,)* }
            }
        }
    };
}

codes! {
    /// No dataset of that name.
    DatasetNotFound = "dataset_not_found" => NotFound,
    /// The dataset exists, but no version of it was ever activated.
    NoCurrentVersion = "no_current_version" => NotFound,
    /// No canary of the dataset runs.
    NoCanary = "no_canary" => NotFound,
    /// The dataset never had, or does not have yet, a readable version of that number.
    VersionNotFound = "version_not_found" => NotFound,
    /// No token of that id.
    TokenNotFound = "token_not_found" => NotFound,
    /// That version was deleted; its number is never used again.
    VersionDeleted = "version_deleted" => Gone,
    /// What was named as a source of a push is not there.
    SourceNotFound = "source_not_found" => NotFound,
    /// A dataset name, version number, key or part name outside its pattern or size.
    InvalidName = "invalid_name" => Invalid,
    /// A key that is empty or too long.
    InvalidKey = "invalid_key" => Invalid,
    /// A setting outside its range, or unknown.
    InvalidSetting = "invalid_setting" => Invalid,
    /// A value of more than 16 MiB.
    ValueTooLarge = "value_too_large" => Refused,
    /// Data that grows beyond what a push may have when it is decompressed.
    DecompressionLimit = "decompression_limit" => Refused,
    /// Data that takes more memory or processor time to build than a build may have.
    BuildLimit = "build_limit" => Refused,
    /// There is no row in the source.
    NoRows = "no_rows" => Refused,
    /// A source that is not whole: a job that has not finished, a file of its list that is missing.
    SourceIncomplete = "source_incomplete" => Refused,
    /// Rows that cannot be parsed, or lack their key.
    BadRows = "bad_rows" => Refused,
    /// One key with several different values.
    DuplicateKeys = "duplicate_keys" => Refused,
    /// A gate refused the version.
    GateRefused = "gate_refused" => Refused,
    /// The version that a pushed file or snapshot claims to be is damaged or incomplete.
    SnapshotRefused = "snapshot_refused" => Refused,
    /// The version is not in a state that allows this.
    WrongState = "wrong_state" => Conflict,
    /// The version is already the current one; nothing was changed.
    AlreadyCurrent = "already_current" => Conflict,
    /// Activating a rejected or bad version needs force and a reason.
    NeedsForce = "needs_force" => Conflict,
    /// Another version is current than the caller expected.
    CurrentChanged = "current_changed" => Conflict,
    /// Another version is the canary than the caller expected.
    CanaryChanged = "canary_changed" => Conflict,
    /// No earlier version that served and is not bad.
    NothingToRollBackTo = "nothing_to_roll_back_to" => Conflict,
    /// The version is being served, also as a canary, or is the one a rollback would go to.
    VersionInUse = "version_in_use" => Conflict,
    /// None of the keys is erased there.
    NotErased = "not_erased" => Conflict,
    /// The version has bytes of erased keys, so its files are not given.
    HoldsErasedKeys = "holds_erased_keys" => Conflict,
    /// The dataset is not held.
    NotHeld = "not_held" => Conflict,
    /// The token was revoked before; nothing was changed.
    AlreadyRevoked = "already_revoked" => Conflict,
    /// There are as many tokens as there may be.
    TooManyTokens = "too_many_tokens" => Conflict,
    /// Parts that a commit named have not arrived.
    PartsMissing = "parts_missing" => Conflict,
    /// The request that first used this idempotency key still runs.
    InProgress = "in_progress" => Conflict,
    /// The idempotency key was used for another request.
    IdempotencyKeyReused = "idempotency_key_reused" => Invalid,
    /// Stored data does not fit its checksum.
    DataCorrupt = "data_corrupt" => Corrupt,
    /// The files of a version do not fit its manifest; none of it is served.
    VersionUnusable = "version_unusable" => Corrupt,
    /// The journal does not fit its checksums; the server does not start on it.
    JournalCorrupt = "journal_corrupt" => Corrupt,
    /// The disk is full.
    DiskFull = "disk_full" => Full,
    /// The file system of the data directory is mounted read-only.
    DiskReadOnly = "disk_read_only" => Full,
    /// Opening the version would leave too few files for connections.
    TooManyFiles = "too_many_files" => Unavailable,
    /// Opening the version would take more memory than there is.
    TooLittleMemory = "too_little_memory" => Unavailable,
    /// Whether a record of the journal is on the disk is unknown until a restart.
    OutcomeUnknown = "outcome_unknown" => Unavailable,
    /// Another process holds the data directory.
    DirectoryInUse = "directory_in_use" => Conflict,
    /// Everybody on the machine may write into the data directory.
    DirectoryUnsafe = "directory_unsafe" => Conflict,
    /// Written by a newer Tidetable than this one.
    UnknownFormat = "unknown_format" => Corrupt,
    /// The file by which erased keys are known is lost; nothing is served without it.
    ErasureKeyLost = "erasure_key_lost" => Corrupt,
    /// A source that cannot be read: access is denied, its store fails, it changed meanwhile.
    SourceFailed = "source_failed" => Io,
    /// The operating system refused an operation on a file.
    IoFailed = "io_failed" => Io,
    /// Records were added out of order: a fault in this program.
    NotAscending = "not_ascending" => Io,
}

/// One failure: its code, a sentence for a person, and where it happened.
#[derive(Debug)]
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    code: Code,
    detail: String,
    path: Option<PathBuf>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error of `code`; `detail` is one sentence: what was expected, what was found,
    /// what to do now.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self(Box::new(Inner { code, detail: detail.into(), path: None, source: None }))
    }

    /// There is no dataset of that name.
    pub fn dataset_not_found(name: &DatasetName) -> Self {
        Self::new(Code::DatasetNotFound, format!("there is no dataset {name}"))
    }

    /// The idempotency key was used for another request.
    pub fn idempotency_key_reused() -> Self {
        let text = "this idempotency key was used for another request: use a new one";
        Self::new(Code::IdempotencyKeyReused, text)
    }

    /// The operating system failed while `doing` (a verb, "open") the file at `path`. A
    /// full disk gets [`Code::DiskFull`], everything else [`Code::IoFailed`].
    pub fn io(doing: &str, path: impl AsRef<Path>, error: io::Error) -> Self {
        let code = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Code::DiskFull,
            io::ErrorKind::ReadOnlyFilesystem => Code::DiskReadOnly,
            _ => Code::IoFailed,
        };
        Self::new(code, format!("cannot {doing}")).at(path).because(error)
    }

    /// The same error, saying at which path it happened.
    #[must_use]
    pub fn at(mut self, path: impl AsRef<Path>) -> Self {
        self.0.path = Some(path.as_ref().to_owned());
        self
    }

    /// The same error, with what caused it.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// The same error under another code: for a caller that knows what it means there.
    #[must_use]
    pub fn recoded(mut self, code: Code) -> Self {
        self.0.code = code;
        self
    }

    /// The same error under another code if it says that a file is damaged: the same damage
    /// is a refused push, an unusable version or a finding, depending on who looks.
    #[must_use]
    pub(crate) fn damage_as(self, code: Code) -> Self {
        match self.code() {
            Code::DataCorrupt | Code::VersionUnusable | Code::SnapshotRefused => self.recoded(code),
            _ => self,
        }
    }

    /// The same damage of a version, with what to do about it. Where nothing was published there is nothing
    /// to roll back from.
    #[must_use]
    pub(crate) fn with_way_out(mut self) -> Self {
        let says_it = self.0.detail.contains("push the data again");
        if self.code() == Code::VersionUnusable && !says_it {
            self.0.detail.push_str("; roll back, or push the data again");
        }
        self
    }

    /// The same failure to open a version, saying which version and which file it is also to whoever
    /// reads the sentence alone. Not of one that is gone: nothing was opened.
    #[must_use]
    pub(crate) fn of_opening(mut self, dataset: &DatasetName, version: Version) -> Self {
        if self.kind() == Kind::Gone {
            return self;
        }
        self.0.detail = format!("version {version} of {dataset} cannot be opened: {}", self.told());
        // What the system said stands in the sentence now.
        if self.os_error().is_some() {
            self.0.source = None;
        }
        self
    }

    /// The stable name of this error.
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// What the caller can do about it.
    pub fn kind(&self) -> Kind {
        self.0.code.kind()
    }

    /// Whether what was to be ended has its end already, or is not there any more.
    pub fn is_over(&self) -> bool {
        matches!(self.kind(), Kind::Conflict | Kind::Gone | Kind::NotFound)
    }

    /// The sentence alone, without path and cause: safe to show to a client.
    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    /// The sentence, with the name of the file but not where it is, and with what the
    /// operating system said but not what other libraries did: what whoever pushed may read,
    /// and can do something with. The rest is for whoever runs the machine, and stands in
    /// what is displayed.
    pub fn told(&self) -> String {
        let mut text = self.0.detail.clone();
        let name = self.path().and_then(shown).map(|name| format!(" ({name})"));
        // The sentence of a version that cannot be opened has it already.
        if let Some(name) = name.filter(|name| !text.contains(name)) {
            text.push_str(&name);
        }
        let source = self.0.source.as_ref().and_then(|source| source.downcast_ref::<io::Error>());
        if let Some(source) = source.filter(|source| source.raw_os_error().is_some()) {
            text.push_str(&format!(": {source}"));
        }
        text
    }

    /// The number of the system's error that caused it, if one did.
    pub(crate) fn os_error(&self) -> Option<i32> {
        self.0.source.as_ref()?.downcast_ref::<io::Error>()?.raw_os_error()
    }

    /// Where it happened, if at a file.
    pub fn path(&self) -> Option<&Path> {
        self.0.path.as_deref()
    }
}

/// The name of a file. That of a table of RocksDB's may be the name of another file of the same version.
fn shown(path: &Path) -> Option<String> {
    let name = path.file_name()?.display();
    let is_table = path.extension().is_some_and(|extension| extension == "sst");
    if is_table && path.parent().is_some_and(|parent| parent.ends_with(layout::DB)) {
        return Some(format!("{}/{name}", layout::DB));
    }
    Some(name.to_string())
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.detail)?;
        if let Some(path) = &self.0.path {
            write!(f, " ({})", path.display())?;
        }
        if let Some(source) = &self.0.source {
            write!(f, ": {source}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

/// Text from outside as it may stand in a message: quoted, escaped, and short.
pub fn quoted(text: &str) -> String {
    quoted_bytes(text.as_bytes())
}

/// The same of bytes that need not be text: what is none in them is shown as U+FFFD, and their
/// length is told as it is.
pub fn quoted_bytes(bytes: &[u8]) -> String {
    const MOST: usize = 80;
    // No more than is shown is looked at: a value may have megabytes.
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min((MOST + 1) * 4)]);
    match text.char_indices().nth(MOST) {
        None => format!("{text:?}"),
        Some((end, _)) => format!("{:?}… ({} bytes)", &text[..end], bytes.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_names_the_file_and_not_where_it_is() {
        let full = Error::io("write a run", "/secret/dir/000007", io::Error::from_raw_os_error(28));
        assert_eq!(full.code(), Code::DiskFull);
        let told = full.told();
        assert!(told.starts_with("cannot write a run (000007): No space left"), "{told}");
        assert!(full.to_string().contains("/secret/dir/000007"));
        let because = io::Error::other("/secret/dir/000007: corruption");
        let damaged =
            Error::new(Code::DataCorrupt, "it is damaged").at("/secret/x").because(because);
        assert_eq!(damaged.told(), "it is damaged (x)");
        let of_rocksdb = damaged.at("/secret/db/000009.sst");
        assert_eq!(of_rocksdb.told(), "it is damaged (db/000009.sst)");
        assert_eq!(Error::new(Code::NoRows, "no rows").told(), "no rows");
    }

    #[test]
    fn what_cannot_be_opened_is_named_once() {
        let a = DatasetName::parse("a").unwrap();
        let denied = Error::io("open the file", "/dir/x.sst", io::Error::from_raw_os_error(13));
        let denied = denied.of_opening(&a, Version(7));
        let text = denied.detail().to_owned();
        let named = "version 7 of a cannot be opened: cannot open the file (x.sst): Permission";
        assert!(text.starts_with(named), "{text}");
        assert_eq!(denied.told(), text);
        assert_eq!(denied.to_string(), format!("{text} (/dir/x.sst)"));
        let gone = Error::new(Code::VersionDeleted, "it was deleted").of_opening(&a, Version(7));
        assert_eq!(gone.detail(), "it was deleted");
    }

    #[test]
    fn text_from_outside_is_quoted_and_cut_at_a_character() {
        assert_eq!(quoted("a\n\"b\u{1b}"), r#""a\n\"b\u{1b}""#);
        let longest = "é".repeat(80);
        assert_eq!(quoted(&longest), format!("\"{longest}\""));
        assert_eq!(quoted(&"é".repeat(81)), format!("\"{longest}\"… (162 bytes)"));
        let replaced = "\u{fffd}".repeat(80);
        assert_eq!(quoted_bytes(&[0xff; 1_000]), format!("\"{replaced}\"… (1000 bytes)"));
    }
}
