//! Bodies of batches and scans as they are read: all that the API says stands there, or the answer
//! is broken. Values are parts of the body, not copies.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::reply::Reply;
use crate::request::in_text;
use crate::{Error, Key, Lookup, Problem};

/// What a batch says of one dataset.
pub(crate) struct Results {
    pub(crate) version: u64,
    pub(crate) values: Vec<Option<Bytes>>,
}

#[derive(Deserialize)]
struct Body<'a> {
    version: Option<u64>,
    #[serde(borrow)]
    results: Option<Vec<Row<'a>>>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    #[serde(borrow)]
    dataset: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Row<'a> {
    #[serde(borrow)]
    key: Cow<'a, str>,
    found: bool,
    /// `null` is a value like any other.
    #[serde(borrow, default, deserialize_with = "present")]
    value: Option<&'a RawValue>,
    #[serde(borrow)]
    encoding: Option<Cow<'a, str>>,
}

fn present<'de: 'a, 'a, D>(value: D) -> Result<Option<&'a RawValue>, D::Error>
where
    D: Deserializer<'de>,
{
    Deserialize::deserialize(value).map(Some)
}

/// Reads the body of a batch.
pub(crate) fn of_batch(reply: &Reply, lookup: &Lookup) -> Result<Results, Error> {
    let body: Body<'_> = parsed(&reply.body)?;
    of_body(body, reply, lookup)
}

/// Reads the body of a batch over several datasets.
pub(crate) fn of_many(
    reply: &Reply,
    lookups: &[Lookup],
) -> Result<Vec<Result<Results, Problem>>, Error> {
    #[derive(Deserialize)]
    struct All<'a> {
        #[serde(borrow)]
        answers: Vec<Body<'a>>,
    }
    let all: All<'_> = parsed(&reply.body)?;
    if all.answers.len() != lookups.len() {
        return Err(Error::broken("it has answers too many or too few"));
    }
    let read = |(body, lookup): (Body<'_>, &Lookup)| match body.error {
        Some(error) => Ok(Err(reply.problem_of_part(error.get()))),
        None if body.dataset.as_deref() != Some(&*lookup.dataset) => {
            Err(Error::broken("it is of another dataset"))
        }
        None => of_body(body, reply, lookup).map(Ok),
    };
    all.answers.into_iter().zip(lookups).map(read).collect()
}

fn of_body(body: Body<'_>, reply: &Reply, lookup: &Lookup) -> Result<Results, Error> {
    let (Some(version), Some(rows)) = (body.version, body.results) else {
        return Err(Error::broken("it lacks its version or its results"));
    };
    if rows.len() != lookup.keys.len() {
        return Err(Error::broken("it has results too many or too few"));
    }
    if lookup.selection.version.is_some_and(|wanted| wanted != version) {
        return Err(Error::broken(format_args!(
            "it is of version {version}, not the one asked for"
        )));
    }
    let as_text = in_text(lookup);
    let mut values = Vec::with_capacity(rows.len());
    for (row, key) in rows.iter().zip(&lookup.keys) {
        let is_its_own = match key.text() {
            Some(text) if as_text => row.key == text,
            _ => row.key == key.base64url(),
        };
        if !is_its_own {
            return Err(Error::broken("its results are of other keys than were asked for"));
        }
        values.push(if row.found {
            Some(value(reply, row.value, row.encoding.as_deref())?)
        } else {
            None
        });
    }
    Ok(Results { version, values })
}

/// A page of a scan.
pub(crate) struct Page {
    pub(crate) version: u64,
    pub(crate) records: Vec<(Key, Bytes)>,
    pub(crate) next: Option<String>,
}

/// Reads a page. `in_bytes`: keys were asked for in base64url, and so none says that it is.
pub(crate) fn of_page(reply: &Reply, in_bytes: bool) -> Result<Page, Error> {
    #[derive(Deserialize)]
    struct Body<'a> {
        version: u64,
        #[serde(borrow)]
        records: Vec<Record<'a>>,
        next: Option<String>,
    }
    #[derive(Deserialize)]
    struct Record<'a> {
        #[serde(borrow)]
        key: Cow<'a, str>,
        #[serde(borrow)]
        key_encoding: Option<Cow<'a, str>>,
        #[serde(borrow, default, deserialize_with = "present")]
        value: Option<&'a RawValue>,
        #[serde(borrow)]
        encoding: Option<Cow<'a, str>>,
    }
    let body: Body<'_> = parsed(&reply.body)?;
    let mut records = Vec::with_capacity(body.records.len());
    for record in body.records {
        let in_bytes = record.key_encoding.map_or(in_bytes, |encoding| encoding == "base64url");
        let key = if in_bytes {
            Key::from_base64url(&record.key)
        } else {
            Some(record.key.into_owned().into())
        };
        let key = key.ok_or_else(|| Error::broken("a key is no base64url"))?;
        records.push((key, value(reply, record.value, record.encoding.as_deref())?));
    }
    Ok(Page { version: body.version, records, next: body.next })
}

/// The bytes of a value that stands inline, or in base64.
fn value(reply: &Reply, raw: Option<&RawValue>, encoding: Option<&str>) -> Result<Bytes, Error> {
    let raw = raw.ok_or_else(|| Error::broken("a key was found and has no value"))?;
    if encoding != Some("base64") {
        return Ok(reply.body.slice_ref(raw.get().as_bytes()));
    }
    let text: Cow<'_, str> = parsed(raw.get().as_bytes())?;
    let bytes = STANDARD.decode(&*text).map_err(|_| Error::broken("a value is no base64"))?;
    Ok(bytes.into())
}

fn parsed<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Error> {
    // Not what serde says of it: that may quote the body.
    serde_json::from_slice(body).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        Error::broken(format_args!("not what was expected, at line {line} column {column}"))
    })
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn reply(body: &'static str) -> Reply {
        let headers = reqwest::header::HeaderMap::new();
        let body = Bytes::from_static(body.as_bytes());
        Reply { status: 200, headers, body, sent_at: Instant::now() }
    }

    fn batch(body: &'static str, lookup: &Lookup) -> Result<Vec<Option<Bytes>>, Error> {
        of_batch(&reply(body), lookup).map(|results| results.values)
    }

    #[test]
    fn a_null_that_is_stored_is_there_and_base64_is_undone() {
        let lookup = Lookup::new("d", ["a", "b", "c"]);
        let body = r#"{"version":3,"results":[{"key":"a","found":true,"value":null},
            {"key":"b","found":false},{"key":"c","found":true,"value":"/wA=","encoding":"base64"}]}"#;
        let null = Some(Bytes::from_static(b"null"));
        let bytes = Some(Bytes::from_static(&[0xff, 0]));
        assert_eq!(batch(body, &lookup).unwrap(), [null, None, bytes]);
    }

    #[test]
    fn what_has_another_shape_is_broken() {
        let lookup = Lookup::new("d", ["a"]).version(3);
        for body in [
            "",
            "[]",
            r#"{"hello":"world"}"#,
            r#"{"version":3,"results":[]}"#,
            r#"{"version":3,"results":[{"key":"b","found":true,"value":1}]}"#,
            r#"{"version":3,"results":[{"key":"a","found":true}]}"#,
            r#"{"version":4,"results":[{"key":"a","found":false}]}"#,
            r#"{"version":3,"results":[{"key":"a","found":true,"value":1}]"#,
            r#"{"version":3,"results":[{"key":"a","found":true,"value":1}]} x"#,
        ] {
            let error = batch(body, &lookup).unwrap_err();
            assert!(matches!(error, Error::Connection { .. }), "{body}: {error}");
        }
    }

    #[test]
    fn keys_of_a_page_are_told_apart() {
        let body = r#"{"version":3,"records":[{"key":"_wA","value":1},{"key":"_wA","key_encoding":"base64url","value":2}],"next":null}"#;
        let page = of_page(&reply(body), false).unwrap();
        assert_eq!(page.records[0].0, "_wA");
        assert_eq!(page.records[1].0.as_bytes(), [0xff, 0]);
    }
}
