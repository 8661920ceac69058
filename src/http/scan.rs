//! `GET …/scan`: the records of a prefix in key order, page by page, all of one version.

use axum::extract::State;
use axum::response::Response;
use base64::Engine as _;
use serde::Deserialize;
use tidetable_storage::Version;

use super::batch::{answer_too_large, json_answer, write_value};
use super::error::{Answer, Fault, Problem};
use super::extract::{Dataset, Query};
use super::fields::Fields;
use super::keys::{BASE64URL, KeyEncoding};
use super::page;
use super::read::{lease, stamp};
use crate::state::AppState;

/// The parameters of a scan.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ScanQuery {
    prefix: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
    version: Option<String>,
    key_encoding: KeyEncoding,
    fields: Option<String>,
}

/// Where a page ends, and so the next one begins: it stays on its version, also after a
/// swap, as long as that version is kept.
#[derive(Debug, PartialEq, Eq)]
struct Cursor {
    version: Version,
    prefix: Vec<u8>,
    after: Vec<u8>,
}

/// Reads one page.
pub(crate) async fn scan(
    State(app): State<AppState>,
    Dataset(dataset): Dataset,
    Query(query): Query<ScanQuery>,
) -> Answer<Response> {
    let limit = page::limit(query.limit)?;
    let fields = query.fields.as_deref().map(Fields::parse).transpose()?;
    let given = query.prefix.as_deref().map(|p| query.key_encoding.decode_prefix(p)).transpose()?;
    let mut version = query.version.as_deref().map(Version::parse).transpose()?;
    let cursor = query.cursor.as_deref().map(Cursor::decode).transpose()?;
    if let Some(cursor) = &cursor {
        let same_prefix = given.as_deref().is_none_or(|prefix| prefix == cursor.prefix);
        if !same_prefix || version.is_some_and(|version| version != cursor.version) {
            return Err(invalid_cursor());
        }
        version = Some(cursor.version);
    }
    let served = app.store.live().get(&dataset)?;
    let snapshot = lease(&served, version).await?;
    let version = snapshot.version();
    let (prefix, after) = match cursor {
        Some(cursor) => (cursor.prefix, Some(cursor.after)),
        None => (given.unwrap_or_default().into_owned(), None),
    };
    let most = app.config.max_answer_bytes.as_usize();
    let failed = |error| Problem::from(error).in_version(version);
    let mut records = snapshot.scan(&prefix, after.as_deref()).map_err(failed)?;
    let mut out = format!("{{\"version\":{version},\"records\":[").into_bytes();
    let mut count = 0;
    let mut last = Vec::new();
    let mut next = None;
    while let Some((key, value)) = records.next().map_err(failed)? {
        // Each page has at least one record, so that a scan always goes on.
        let full = out.len() + key.len() + value.len() > most;
        if count == limit || (full && count > 0) {
            next = Some(Cursor { version, prefix: prefix.clone(), after: last });
            break;
        }
        if full {
            return Err(answer_too_large(most));
        }
        if count > 0 {
            out.push(b',');
        }
        write_key(&mut out, query.key_encoding, key);
        write_value(&mut out, served.is_json, fields.as_ref(), value)?;
        out.push(b'}');
        count += 1;
        last = key.to_vec();
    }
    out.extend_from_slice(b"],\"next\":");
    match next {
        None => out.extend_from_slice(b"null}"),
        Some(cursor) => out.extend_from_slice(format!("\"{}\"}}", cursor.encode()).as_bytes()),
    }
    app.metrics.dataset(&dataset).looked_up_many(count as u64, 0);
    let mut response = json_answer(out);
    stamp(response.headers_mut(), &served, version);
    Ok(response)
}

/// Writes `{"key":…,`, and says so if the key cannot be written as it was asked for.
fn write_key(out: &mut Vec<u8>, encoding: KeyEncoding, key: &[u8]) {
    out.extend_from_slice(b"{\"key\":");
    let (text, note) = match encoding.encode(key) {
        Some(text) => (text, ""),
        None => (BASE64URL.encode(key), "\"key_encoding\":\"base64url\","),
    };
    serde_json::to_writer(&mut *out, &text).expect("a text can be written to memory");
    out.push(b',');
    out.extend_from_slice(note.as_bytes());
}

impl Cursor {
    fn encode(&self) -> String {
        let mut bytes = vec![1];
        bytes.extend_from_slice(&self.version.0.to_be_bytes());
        let prefix = u32::try_from(self.prefix.len()).expect("a prefix is no longer than a key");
        bytes.extend_from_slice(&prefix.to_be_bytes());
        bytes.extend_from_slice(&self.prefix);
        bytes.extend_from_slice(&self.after);
        BASE64URL.encode(bytes)
    }

    fn decode(text: &str) -> Answer<Self> {
        let bytes = BASE64URL.decode(text).map_err(|_| invalid_cursor())?;
        Self::read(&bytes).ok_or_else(invalid_cursor)
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (head, rest) = bytes.split_first_chunk::<13>()?;
        let number = u64::from_be_bytes(*head[1..].first_chunk()?);
        let prefix = u32::from_be_bytes(*head[9..].first_chunk()?) as usize;
        let (prefix, after) = rest.split_at_checked(prefix)?;
        let sound = head[0] == 1 && number > 0 && after.starts_with(prefix) && !after.is_empty();
        let version = Version(number);
        sound.then(|| Self { version, prefix: prefix.to_vec(), after: after.to_vec() })
    }
}

fn invalid_cursor() -> Problem {
    Problem::new(
        Fault::InvalidCursor,
        "this cursor was not given by this server for this scan: begin without one",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back_and_a_strange_one_is_refused() {
        let cursor =
            Cursor { version: Version(7), prefix: b"a".to_vec(), after: b"a\xff\0".to_vec() };
        let text = cursor.encode();
        assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)), "{text}");
        assert_eq!(Cursor::decode(&text).unwrap(), cursor);
        for bad in ["", "AA", "!!", &text[..text.len() - 4], "AQAAAAAAAAAHAAAAAWI"] {
            if let Ok(read) = Cursor::decode(bad) {
                assert!(read.after.starts_with(&read.prefix), "{bad} became {read:?}");
                assert_ne!(read, cursor);
            }
        }
        let elsewhere = Cursor { after: b"b".to_vec(), ..cursor };
        assert_eq!(Cursor::decode(&elsewhere.encode()).unwrap_err().code(), "invalid_cursor");
    }
}
