//! The beginning of every push, be it one request, in parts or an import: what it says of itself is
//! checked, and it is given its number.

use std::sync::Arc;

use tidetable_storage::{Admission, Cause, Code, DatasetName, Error, NewPush};

use super::blocking::blocking;
use super::datasets;
use crate::ingest::RowOptions;
use crate::problem::{Answer, Problem};
use crate::pushes::{MAX_LABEL_BYTES, room, room_for_one_more};
use crate::state::{AppState, count_dataset};

/// What a push says at its beginning, checked.
pub(crate) fn admission(
    label: Option<String>,
    as_of: Option<String>,
    options: &RowOptions,
    activate: bool,
    whole: bool,
) -> Answer<Admission> {
    options.check().map_err(Error::from)?;
    let options = serde_json::to_string(options).expect("row options are plain data");
    admission_as(label, as_of, options, activate, whole)
}

/// The same, of a push whose data is read as these options say, which were checked.
pub(crate) fn admission_as(
    label: Option<String>,
    as_of: Option<String>,
    options: String,
    activate: bool,
    whole: bool,
) -> Answer<Admission> {
    let invalid = |text: String| Problem::from(Error::new(Code::InvalidSetting, text));
    if label.as_ref().is_some_and(|l| l.len() > MAX_LABEL_BYTES || l.chars().any(char::is_control))
    {
        let text =
            format!("the label has control characters, or more than {MAX_LABEL_BYTES} bytes");
        return Err(invalid(text));
    }
    let as_of = as_of.map(|text| instant(&text));
    if as_of == Some(None) {
        let text =
            "as_of is no RFC 3339 time; it looks like 2016-05-04T03:00:00Z ('+' is %2B in a query)";
        return Err(invalid(text.to_owned()));
    }
    Ok(Admission { label, as_of: as_of.flatten(), options, activate, whole })
}

/// A time of RFC 3339, written as every client reads it: `T` and `Z` may also be small letters, `T` a
/// space, and the minus of an offset one that is not ASCII. Nothing else of it is changed.
fn instant(text: &str) -> Option<String> {
    chrono::DateTime::parse_from_rfc3339(text).ok()?;
    Some(text.to_ascii_uppercase().replace(' ', "T").replace('\u{2212}', "-"))
}

/// Makes the dataset if need be, and gives the push its number, unless it was given one before.
pub(crate) async fn admit_push(
    app: &AppState,
    dataset: &DatasetName,
    push: Admission,
    cause: Cause,
) -> Answer<NewPush> {
    let (app, dataset) = (Arc::clone(app), dataset.clone());
    blocking(move || {
        // One that was given up has its key until that is recorded.
        let running = app.store.catalog().running(&dataset, cause.idempotency.as_ref());
        if let Some(version) = running {
            app.pushes.record_given_up(&(dataset.clone(), version))?;
        }
        datasets::room_for_one_more(&app, &dataset)?;
        room_for_one_more(&app.store.catalog(), &dataset, &cause, &app.config)?;
        // A repetition is told what came of the first, however full the disk is by now.
        let key = cause.idempotency.as_ref();
        let before = key.map(|key| app.store.catalog().replay(&dataset, key));
        if !matches!(before, Some(Ok(Some(_)) | Err(_))) {
            room::require(&app)?;
        }
        app.store.ensure_dataset(&dataset, no_key(&cause))?;
        let push = app.store.admit(&dataset, &push, cause)?;
        // Of a new dataset, before its push has ended: what first shows at 1 has not risen.
        count_dataset(&app.store, &app.metrics, &dataset);
        Ok(push)
    })
    .await
}

/// What the server does on behalf of a request, beyond what its idempotency key is for.
pub(crate) fn no_key(cause: &Cause) -> Cause {
    Cause { idempotency: None, ..cause.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_instant_of_the_data_is_written_as_every_client_reads_it() {
        for (given, told) in [
            ("2026-11-22T00:00:00Z", "2026-11-22T00:00:00Z"),
            ("2026-11-22 00:00:00z", "2026-11-22T00:00:00Z"),
            ("2026-11-22t00:00:00.50+01:00", "2026-11-22T00:00:00.50+01:00"),
            ("2026-11-22 00:00:00\u{2212}01:00", "2026-11-22T00:00:00-01:00"),
        ] {
            assert_eq!(instant(given).as_deref(), Some(told));
            let parsed = |text| chrono::DateTime::parse_from_rfc3339(text).unwrap();
            assert_eq!(parsed(given), parsed(told));
        }
        for none in ["", "2026-11-22", "2026-11-22T00:00:00", "2026-11-22T00:00:00 Z"] {
            assert_eq!(instant(none), None, "{none:?}");
        }
    }
}
