//! What can be wrong with a source or with how it is to be read, said for whoever must
//! correct it: a code for programs, a sentence for people, and the first few problems,
//! each naming its source and row.

use std::fmt;

use tidetable_storage::{Code, Error, quoted};

use crate::nearest::nearest;

/// How many problems are gathered before reading stops. A file that is wrong is mostly
/// wrong everywhere; five are enough to see the pattern.
pub(crate) const MOST_PROBLEMS: usize = 5;

/// The result of everything in this module that can fail.
pub(crate) type Result<T> = std::result::Result<T, IngestError>;

/// Why a source cannot become a version. Nothing was changed by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IngestError {
    /// The stable name: `bad_rows`, `no_rows`, `duplicate_keys`, `value_too_large`,
    /// `invalid_setting` (options that contradict each other or the source), `io_failed`,
    /// `disk_full`, or whatever the sink failed with.
    pub(crate) code: Code,
    /// One sentence: what was expected, what was found, what to do now.
    pub(crate) detail: String,
    /// Up to [`MOST_PROBLEMS`] of what was found, each naming source and row (or key).
    pub(crate) problems: Vec<String>,
    /// The sentence with paths and all causes, where `detail` leaves some out: for whoever
    /// runs the machine, and never for whoever pushed over HTTP.
    pub(crate) whole: Option<String>,
    /// Whether what was named as a source is not there at all.
    pub(crate) absent: bool,
}

impl IngestError {
    pub(crate) fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), problems: Vec::new(), whole: None, absent: false }
    }

    /// Options that cannot be meant as they stand.
    pub(crate) fn setting(detail: impl Into<String>) -> Self {
        Self::new(Code::InvalidSetting, detail)
    }
}

impl fmt::Display for IngestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for IngestError {}

/// For sinks: what the sorter or builder failed with is what the reading failed with.
impl From<Error> for IngestError {
    fn from(error: Error) -> Self {
        let (told, whole) = (error.told(), error.to_string());
        Self { whole: Some(whole).filter(|whole| *whole != told), ..Self::new(error.code(), told) }
    }
}

impl From<IngestError> for Error {
    fn from(error: IngestError) -> Self {
        Self::new(error.code, error.detail)
    }
}

/// Why one row cannot be used, without its place: the reader adds that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) code: Code,
    pub(crate) what: String,
}

impl Fault {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self { code: Code::BadRows, what: what.into() }
    }

    pub(crate) fn too_large(what: impl Into<String>) -> Self {
        Self { code: Code::ValueTooLarge, what: what.into() }
    }
}

/// The column that was probably meant by a name that is none of them, as the end of a message.
pub(crate) fn probably_meant(name: &str, columns: &[String]) -> String {
    let near = nearest(name, columns.iter().map(String::as_str));
    near.map(|near| format!("; did you mean {}?", quoted(near))).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_keep_their_code_in_both_directions() {
        let error = Error::from(IngestError::new(Code::DuplicateKeys, "two"));
        assert_eq!(error.code(), Code::DuplicateKeys);
        assert_eq!(IngestError::from(error), IngestError::new(Code::DuplicateKeys, "two"));
    }
}
