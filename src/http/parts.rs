//! `GET …/parts`: which parts of a push have arrived. This is how an upload is taken up again.

use axum::extract::State;
use serde_json::{Value, json};
use tidetable_storage::{DatasetName, SealedPart, Version};

use super::blocking::blocking;
use super::content_digest::content_digest;
use super::extract::{DatasetVersion, Query};
use super::page::{PageQuery, page, slice};
use crate::problem::Answer;
use crate::state::{App, AppState};

/// What has arrived, and once it is committed the parts of the commit, however long ago; in the
/// order of the rows.
pub(crate) async fn list(
    State(app): State<AppState>,
    DatasetVersion(dataset, version): DatasetVersion,
    Query(query): Query<PageQuery>,
) -> Answer<axum::Json<Value>> {
    blocking(move || listed(&app, &dataset, version, &query).map(axum::Json)).await
}

/// A part as it is shown.
pub(super) fn show(part: &SealedPart) -> Value {
    let digest = content_digest(&part.sha256);
    // `part` is the older word for its name.
    json!({ "name": part.name, "part": part.name, "bytes": part.bytes, "digest": digest })
}

fn listed(app: &App, dataset: &DatasetName, version: Version, query: &PageQuery) -> Answer<Value> {
    loop {
        if let Some(page) = committed(app, dataset, version, query)? {
            return Ok(page);
        }
        if let Some(page) = arrived(app, dataset, version, query)? {
            return Ok(page);
        }
    }
}

/// The page of the parts that were committed, if some were.
fn committed(
    app: &App,
    dataset: &DatasetName,
    version: Version,
    query: &PageQuery,
) -> Answer<Option<Value>> {
    let catalog = app.store.catalog();
    let parts = &catalog.entry(dataset, version)?.parts;
    if parts.is_empty() {
        return Ok(None);
    }
    let items = parts.iter().map(|part| (part.name.clone(), part));
    page("parts", query, items, show).map(Some)
}

/// The page of those that have arrived, of which no others are read; `None` if they went meanwhile: the
/// push was committed and built, or has ended.
fn arrived(
    app: &App,
    dataset: &DatasetName,
    version: Version,
    query: &PageQuery,
) -> Answer<Option<Value>> {
    let page = read(app, dataset, version, query);
    // Also if none were found, or not the place of the cursor: they may have been cleared away.
    let is_committed = !app.store.catalog().entry(dataset, version)?.parts.is_empty();
    if is_committed { Ok(None) } else { page }
}

fn read(
    app: &App,
    dataset: &DatasetName,
    version: Version,
    query: &PageQuery,
) -> Answer<Option<Value>> {
    let names = app.store.part_names(dataset, version)?;
    let (names, next) = slice(query, names.into_iter().map(|name| (name.clone(), name)))?;
    let mut shown = Vec::with_capacity(names.len());
    for name in &names {
        let Some(part) = app.store.part(dataset, version, name)? else { return Ok(None) };
        shown.push(show(&part.sealed));
    }
    Ok(Some(json!({ "parts": shown, "next": next })))
}

#[cfg(test)]
mod tests {
    use tidetable_storage::{Admission, Cause, PartSums, StoreOptions};

    use super::*;
    use crate::http::plain::tests::app_with;

    fn names(page: &Value) -> Vec<&str> {
        let parts = page["parts"].as_array().unwrap();
        parts.iter().map(|part| part["name"].as_str().unwrap()).collect()
    }

    #[test]
    fn a_page_reads_its_own_parts_and_no_others() {
        let dir = tempfile::tempdir().unwrap();
        let app = app_with(dir.path(), StoreOptions::default());
        let (store, recs) = (&app.store, DatasetName::parse("recs").unwrap());
        store.ensure_dataset(&recs, Cause::default()).unwrap();
        let push = Admission::default();
        let version = store.admit(&recs, &push, Cause::default()).unwrap().number().unwrap();
        for name in ["10", "9", "2"] {
            let part = store.begin_part(&recs, version, name).unwrap();
            store.receive_part(&recs, version, part.close(PartSums::default())).unwrap();
        }
        let ask = |cursor: &Value| {
            let query = serde_json::from_value(json!({ "limit": 2, "cursor": cursor })).unwrap();
            listed(&app, &recs, version, &query)
        };
        let document = store.layout().parts(&recs, version).join("10.part");
        let sound = std::fs::read(&document).unwrap();
        std::fs::write(&document, "damaged").unwrap();
        let first = ask(&Value::Null).unwrap();
        assert_eq!(names(&first), ["2", "9"]);
        assert_eq!(ask(&first["next"]).unwrap_err().code(), "data_corrupt");

        std::fs::write(&document, sound).unwrap();
        let second = ask(&first["next"]).unwrap();
        assert_eq!((names(&second), &second["next"]), (vec!["10"], &Value::Null));
        let chosen = ["9".to_owned(), "2".to_owned()];
        store.seal(&recs, version, false, Some(&chosen), Cause::default()).unwrap();
        assert_eq!(names(&ask(&Value::Null).unwrap()), ["9", "2"]);

        // Whoever found it not committed, and looks now, looks again.
        std::fs::remove_dir_all(store.layout().parts(&recs, version)).unwrap();
        for cursor in [&Value::Null, &first["next"]] {
            let query = serde_json::from_value(json!({ "limit": 2, "cursor": cursor })).unwrap();
            assert!(arrived(&app, &recs, version, &query).unwrap().is_none(), "{cursor}");
        }
    }
}
