//! `GET …/versions/{v}/snapshot` and its files: a whole version, for whoever takes it away.
//!
//! A file is read from the disk, past the kernel's memory, on a thread that gives way to lookups,
//! and sent as fast as it is taken. It is open until then, so it is sent to its end though its
//! version is deleted meanwhile.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_NONE_MATCH, IF_RANGE,
    RANGE,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use serde::Serialize;
use tidetable_storage::{
    DatasetName, Digest, Error, Outgoing, SnapshotFile, StoredVersion, Version,
};
use tokio::sync::mpsc;

use super::blocking::{aside, blocking};
use super::error::VERSION_HEADER;
use super::etag::is_listed;
use super::extract::{DatasetVersion, DatasetVersionFile, Query};
use super::versions::NoParameters;
use crate::limiter::Permit;
use crate::problem::{Answer, Fault, Problem};
use crate::state::AppState;

/// Stretches of a file that wait to be sent: a megabyte each.
const WAITING: usize = 4;

/// The files of a version.
#[derive(Debug, Serialize)]
pub(crate) struct SnapshotResource {
    dataset: DatasetName,
    version: Version,
    /// BLAKE3 of its manifest: which files these are.
    digest: Digest,
    content_digest: Digest,
    records: u64,
    /// Of all files.
    bytes: u64,
    files: Vec<FileResource>,
}

#[derive(Debug, Serialize)]
struct FileResource {
    name: String,
    bytes: u64,
    blake3: Digest,
}

/// Lists the files of a version: its manifest, and what that lists.
pub(crate) async fn list(
    State(app): State<AppState>,
    DatasetVersion(dataset, version): DatasetVersion,
    Query(_): Query<NoParameters>,
) -> Answer<axum::Json<SnapshotResource>> {
    let shown = blocking(move || {
        let stored = app.store.outgoing(&dataset, version)?;
        let listed = stored.files().map_err(|error| gone(&app, &stored, error))?;
        let (manifest, files) = listed;
        let resource = |file: SnapshotFile| {
            let SnapshotFile { name, bytes, blake3 } = file;
            FileResource { name, bytes, blake3 }
        };
        Ok(SnapshotResource {
            dataset,
            version,
            digest: *stored.digest(),
            content_digest: manifest.content_digest,
            records: manifest.records,
            bytes: files.iter().map(|file| file.bytes).sum(),
            files: files.into_iter().map(resource).collect(),
        })
    });
    shown.await.map(axum::Json)
}

/// Sends a file of a version, or a range of it.
pub(crate) async fn file(
    State(app): State<AppState>,
    DatasetVersionFile(dataset, version, name): DatasetVersionFile,
    Query(_): Query<NoParameters>,
    method: Method,
    headers: HeaderMap,
) -> Answer<Response> {
    let permit = app.limiter.file()?;
    let found = {
        let app = Arc::clone(&app);
        blocking(move || find(&app, &dataset, version, name.as_str()))
    };
    let (stored, file) = found.await?;
    let tag = format!("\"{}\"", file.blake3);
    let mut known = headers.get_all(IF_NONE_MATCH).iter();
    let has_it = known.any(|list| is_listed(tag.as_bytes(), list.as_bytes()));
    if has_it {
        return Ok(stamped(StatusCode::NOT_MODIFIED, version, &tag, Body::empty()));
    }
    let range = match headers.get(RANGE) {
        // Of a HEAD there is no range (RFC 9110, 14.2).
        Some(range) if method == Method::GET && is_same(headers.get(IF_RANGE), &tag) => {
            asked(range, file.bytes)?
        }
        _ => None,
    };
    let (status, from, length) = match range {
        Some((from, length)) => (StatusCode::PARTIAL_CONTENT, from, length),
        None => (StatusCode::OK, 0, file.bytes),
    };
    let body = if method == Method::HEAD {
        Body::empty()
    } else {
        let opened = {
            let (app, file) = (Arc::clone(&app), file.clone());
            blocking(move || {
                let opened = stored.open_file(&file, from, length);
                opened.map_err(|error| gone(&app, &stored, error))
            })
        };
        sent(&app, opened.await?, permit)?
    };
    let mut response = stamped(status, version, &tag, body);
    let all = file.bytes;
    let head = response.headers_mut();
    head.insert(CONTENT_LENGTH, HeaderValue::from(length));
    head.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    if status == StatusCode::PARTIAL_CONTENT {
        let text = format!("bytes {from}-{}/{all}", from + length - 1);
        head.insert(CONTENT_RANGE, HeaderValue::try_from(text).expect("digits are a header"));
    }
    Ok(response)
}

fn find(
    app: &AppState,
    dataset: &DatasetName,
    version: Version,
    name: &str,
) -> Answer<(StoredVersion, SnapshotFile)> {
    let stored = app.store.outgoing(dataset, version)?;
    let (_, files) = stored.files().map_err(|error| gone(app, &stored, error))?;
    let file = files.into_iter().find(|file| file.name == name).ok_or_else(|| {
        let text = format!("version {version} of {dataset} has no file {name}");
        Problem::new(Fault::FileNotFound, text).in_version(version)
    })?;
    Ok((stored, file))
}

/// What is wrong with a version that could be read a moment ago: mostly that it was deleted or
/// rewritten meanwhile.
fn gone(app: &AppState, stored: &StoredVersion, error: Error) -> Problem {
    match app.store.outgoing(stored.dataset(), stored.version()) {
        Ok(now) if now.digest() == stored.digest() => error.into(),
        Ok(_) => {
            let text = "the version was rewritten in this moment: ask again";
            Problem::new(Fault::Overloaded, text).because(error)
        }
        Err(now) => Problem::from(now),
    }
}

/// The body that such a file is sent as.
fn sent(app: &AppState, mut file: Outgoing, permit: Permit) -> Answer<Body> {
    let (stretches, waiting) = mpsc::channel::<Result<Bytes, Error>>(WAITING);
    // Nobody waits for its end: it ends with the body, or when that is dropped.
    drop(aside(app, "send", move || {
        let _permit = permit;
        loop {
            let stretch = match file.next_bytes() {
                Ok(None) => return,
                Ok(Some(bytes)) => Ok(Bytes::copy_from_slice(bytes)),
                Err(error) => Err(error),
            };
            let is_end = stretch.is_err();
            if stretches.blocking_send(stretch).is_err() || is_end {
                return;
            }
        }
    })?);
    let next = |mut waiting: mpsc::Receiver<_>| async move {
        waiting.recv().await.map(|stretch| (stretch, waiting))
    };
    Ok(Body::from_stream(stream::unfold(waiting, next)))
}

fn stamped(status: StatusCode, version: Version, tag: &str, body: Body) -> Response {
    let mut response = (status, body).into_response();
    let head = response.headers_mut();
    head.remove(CONTENT_TYPE);
    head.insert(VERSION_HEADER, HeaderValue::from(version.0));
    head.insert(ETAG, HeaderValue::try_from(tag).expect("hex digits in quotes are a header"));
    head.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    response
}

/// Whether a range is wanted of this very file: `If-Range` compares strongly, and no date is known.
fn is_same(if_range: Option<&HeaderValue>, tag: &str) -> bool {
    if_range.is_none_or(|asked| asked.as_bytes() == tag.as_bytes())
}

/// Where the range that is asked for begins, and its length; `None` if all is to be sent: several
/// ranges, or what is no range of bytes, may be passed over (RFC 9110, 14.2).
fn asked(range: &HeaderValue, bytes: u64) -> Answer<Option<(u64, u64)>> {
    let text = range.to_str().ok().and_then(|text| text.trim().strip_prefix("bytes="));
    let Some((first, last)) = text.and_then(|text| text.trim().split_once('-')) else {
        return Ok(None);
    };
    let number = |text: &str| {
        let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        // What does not fit is beyond any file.
        is_number.then(|| text.parse().unwrap_or(u64::MAX))
    };
    let (from, to) = match (number(first), number(last)) {
        (Some(from), Some(to)) if from > to => return Ok(None),
        (Some(from), Some(to)) => (from, to.min(bytes.saturating_sub(1))),
        (Some(from), None) if last.is_empty() => (from, bytes.saturating_sub(1)),
        (None, Some(count)) if first.is_empty() => {
            let from = if count == 0 { bytes } else { bytes.saturating_sub(count) };
            (from, bytes.saturating_sub(1))
        }
        _ => return Ok(None),
    };
    if from >= bytes {
        let text = format!("the file has {bytes} bytes, and the range begins behind them");
        let whole = HeaderValue::try_from(format!("bytes */{bytes}")).expect("digits are a header");
        return Err(Problem::new(Fault::RangeNotSatisfiable, text).header(CONTENT_RANGE, whole));
    }
    Ok(Some((from, to - from + 1)))
}

#[cfg(test)]
mod tests {
    use axum::http::Request;
    use tower::ServiceExt as _;

    use super::*;
    use crate::http::plain::tests::Stored;
    use crate::http::router;

    #[test]
    fn a_range_is_what_the_standard_says_it_is() {
        let of = |text: &str| asked(&HeaderValue::from_str(text).unwrap(), 100);
        for (text, range) in [
            ("bytes=0-0", Some((0, 1))),
            ("bytes=10-19", Some((10, 10))),
            ("bytes=10-", Some((10, 90))),
            ("bytes=99-99999999999999999999999", Some((99, 1))),
            ("bytes=-1", Some((99, 1))),
            ("bytes=-100", Some((0, 100))),
            ("bytes=-1000", Some((0, 100))),
            ("bytes=0-1,5-6", None),
            ("bytes=5-1", None),
            ("bytes=-", None),
            ("bytes=a-b", None),
            ("bytes=+1-2", None),
            ("lines=1-2", None),
            ("", None),
        ] {
            assert_eq!(of(text).unwrap(), range, "{text}");
        }
        for text in ["bytes=100-", "bytes=100-200", "bytes=-0", "bytes=99999999999999999999-"] {
            let refused = of(text).unwrap_err();
            assert_eq!(refused.status().as_u16(), 416, "{text}");
        }
    }

    #[test]
    fn tags_are_compared_as_the_standard_says() {
        let value = |text: &'static str| HeaderValue::from_static(text);
        assert!(is_same(None, "\"a\"") && is_same(Some(&value("\"a\"")), "\"a\""));
        for other in ["W/\"a\"", "\"b\"", "Thu, 26 Nov 2026 10:00:00 GMT", ""] {
            assert!(!is_same(Some(&value(other)), "\"a\""), "{other}");
        }
        for (list, is_known) in [
            ("\"b\", W/\"a\"", true),
            ("*", true),
            ("\"b\", a", false),
            ("\"b,*,c\"", false),
            ("\"b,\"a\"", false),
        ] {
            assert_eq!(is_listed(b"\"a\"", list.as_bytes()), is_known, "{list}");
        }
    }

    #[tokio::test]
    async fn a_head_is_of_the_whole_file_whatever_range_is_asked_for() {
        let stored = Stored::new();
        let router = router(&stored.app);
        let path = "/v1/datasets/recs/versions/2/snapshot/manifest.json";
        let ask = |method: &str, range: Option<&str>| {
            let mut request = Request::builder().method(method).uri(path).header("host", "x");
            if let Some(range) = range {
                request = request.header(RANGE, range);
            }
            router.clone().oneshot(request.body(Body::empty()).unwrap())
        };
        let whole = ask("HEAD", None).await.unwrap();
        for range in ["bytes=0-1", "bytes=99999999-"] {
            let head = ask("HEAD", Some(range)).await.unwrap();
            assert_eq!(head.status(), 200, "{range}");
            assert!(!head.headers().contains_key(CONTENT_RANGE), "{range}");
            assert_eq!(head.headers()[CONTENT_LENGTH], whole.headers()[CONTENT_LENGTH], "{range}");
        }
        assert_eq!(ask("GET", Some("bytes=0-1")).await.unwrap().status(), 206);
    }
}
