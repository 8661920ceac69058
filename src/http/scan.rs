//! `GET …/scan`: the records of a prefix in key order, page by page, all of one version.

use std::borrow::Cow;
use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use base64::Engine as _;
use serde::Deserialize;
use tidetable_storage::{DatasetName, Lease, MAX_KEY_BYTES, Served, Version};
use tokio::sync::OwnedSemaphorePermit;
use twox_hash::XxHash64;

use super::arm::Reader;
use super::batch::{answer_too_large, json_answer, write_value};
use super::blocking::blocking;
use super::extract::{Dataset, Query};
use super::fields::Fields;
use super::page;
use super::read::{lease_for, stamp};
use crate::keys::{BASE64URL, KeyEncoding};
use crate::problem::{Answer, Fault, Problem};
use crate::state::AppState;

/// The first byte of a cursor.
const FORMAT: u8 = 3;

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
///
/// A cursor stands in a URL, and a key may be longer than that. Of a long key it holds the
/// beginning, and a hash of the whole: that finds the place again, also if keys before it were
/// erased meanwhile.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Cursor {
    /// Of which dataset, in short.
    dataset: u64,
    version: Version,
    /// So many bytes of the last key are the prefix that is scanned.
    prefix: usize,
    /// The last key, or its beginning.
    key: Vec<u8>,
    /// 0 for a whole key; else the hash of the key that begins with `key`.
    hash: u64,
}

/// Reads one page.
pub(crate) async fn scan(
    State(app): State<AppState>,
    Dataset(dataset): Dataset,
    Query(query): Query<ScanQuery>,
    headers: HeaderMap,
) -> Answer<Response> {
    let reader = Reader::of(&headers)?;
    let limit = page::limit_up_to(query.limit, app.config.max_scan_records.0)?;
    let fields = query.fields.as_deref().map(Fields::parse).transpose()?;
    let given = query.prefix.as_deref().map(|p| query.key_encoding.decode_prefix(p)).transpose()?;
    let longest = app.config.max_uri_bytes.as_usize() / 2;
    let version = query.version.as_deref().map(Version::parse).transpose()?;
    let cursor = query.cursor.as_deref().map(Cursor::decode).transpose()?;
    if let Some(cursor) = &cursor {
        let same_version = version.is_none_or(|version| version == cursor.version);
        // Only a long key's place has to be looked for: a short beginning that many records
        // have was not given here.
        let is_ours = cursor.hash == 0 || cursor.key.len() == longest;
        if !same_version || !is_ours || cursor.dataset != in_short(&dataset) {
            return Err(invalid_cursor());
        }
    }
    let choose = |served: &Served| match (&cursor, version) {
        (Some(cursor), None) => Reader::goes_on(served, cursor.version),
        _ => reader.chooses(served, version, None),
    };
    // Opened before the turn is taken: a large version that nobody has read takes seconds to open,
    // and others scan meanwhile.
    let served = app.store.live().get(&dataset)?;
    let choice = choose(&served);
    let counted = app.metrics.dataset(&dataset);
    let opened = lease_for(&served, choice.version, counted.arm(choice.arm), 1).await;
    drop(opened.map_err(|problem| choice.on(problem))?);
    let turn = Arc::clone(&app.scanning).acquire_owned().await.expect("nobody closes it");
    // Looked at again after the wait: what was erased meanwhile is not given.
    let served = app.store.live().get(&dataset)?;
    let choice = choose(&served);
    // Kept to the end: a dataset that is deleted meanwhile is not to be counted anew.
    let counted = Arc::clone(counted.arm(choice.arm));
    let snapshot = lease_for(&served, choice.version, &counted, 1).await;
    let snapshot = snapshot.map_err(|problem| choice.on(problem))?;
    let version = snapshot.version();
    let page = Page {
        is_json: served.is_json,
        snapshot,
        cursor,
        given: given.map(Cow::into_owned),
        fields,
        key_encoding: query.key_encoding,
        limit,
        most: app.config.max_answer_bytes.as_usize(),
        longest,
        dataset: dataset.clone(),
    };
    let read = aside(turn, move || page.read()).await;
    let (out, count) = read.map_err(|problem| {
        if problem.status().is_server_error() {
            counted.failed(1);
        }
        choice.on(problem)
    })?;
    counted.scanned(count);
    let mut response = json_answer(out);
    stamp(response.headers_mut(), &served, version);
    choice.stamp(response.headers_mut());
    Ok(response)
}

/// Runs `work` on a thread that may wait for the disk: whether blocks of a table are in memory
/// cannot be told before, and the thread that serves has others to answer. As many have a turn at a
/// time as there are threads that serve, so that scans never take the processors from lookups.
async fn aside<T: Send + 'static>(
    turn: OwnedSemaphorePermit,
    work: impl FnOnce() -> Answer<T> + Send + 'static,
) -> Answer<T> {
    blocking(move || {
        // As long as the work, and not only as long as somebody waits for it.
        let _turn = turn;
        work()
    })
    .await
}

/// A page, as it was asked for.
struct Page {
    snapshot: Lease,
    is_json: bool,
    cursor: Option<Cursor>,
    /// The prefix, if it was named.
    given: Option<Vec<u8>>,
    fields: Option<Fields>,
    key_encoding: KeyEncoding,
    limit: usize,
    /// The longest answer, in bytes.
    most: usize,
    /// The longest key that a cursor holds whole.
    longest: usize,
    dataset: DatasetName,
}

impl Page {
    /// The answer, and how many records are in it. Waits for the disk.
    fn read(self) -> Answer<(Vec<u8>, u64)> {
        let version = self.snapshot.version();
        let failed = |error| Problem::from(error).in_version(version);
        let (prefix, after) = self.begins()?;
        let mut records = self.snapshot.scan(&prefix, after.as_deref()).map_err(failed)?;
        let mut out = format!("{{\"version\":{version},\"records\":[").into_bytes();
        let mut count = 0;
        let mut last = Vec::new();
        let mut next = None;
        while let Some((key, value)) = records.next().map_err(failed)? {
            let end = out.len();
            let mut is_full = count == self.limit;
            if !is_full {
                if count > 0 {
                    out.push(b',');
                }
                self.write(&mut out, key, value)?;
                // What is sent counts, not what `fields` has left out of it.
                is_full = out.len() > self.most;
            }
            // Each page has at least one record, so that a scan always goes on.
            if is_full && count == 0 {
                return Err(answer_too_large(self.most).in_version(version));
            }
            if is_full {
                out.truncate(end);
                let (longest, dataset) = (self.longest, &self.dataset);
                next = Some(Cursor::after(last, prefix.len(), longest, dataset, &self.snapshot));
                break;
            }
            count += 1;
            last = key.to_vec();
        }
        out.extend_from_slice(b"],\"next\":");
        match next {
            None => out.extend_from_slice(b"null}"),
            Some(cursor) => out.extend_from_slice(format!("\"{}\"}}", cursor.encode()).as_bytes()),
        }
        Ok((out, count as u64))
    }

    /// Writes one record.
    fn write(&self, out: &mut Vec<u8>, key: &[u8], value: &[u8]) -> Answer<()> {
        write_key(out, self.key_encoding, key);
        let written = write_value(out, self.is_json, self.fields.as_ref(), value);
        written.map_err(|problem| problem.in_version(self.snapshot.version()))?;
        out.push(b'}');
        Ok(())
    }

    /// The prefix, and the key that the page goes on behind.
    fn begins(&self) -> Answer<(Vec<u8>, Option<Vec<u8>>)> {
        let Some(cursor) = &self.cursor else {
            return Ok((self.given.clone().unwrap_or_default(), None));
        };
        let failed = |error| Problem::from(error).in_version(self.snapshot.version());
        let after = cursor.last_key(&self.snapshot).map_err(failed)?.ok_or_else(invalid_cursor)?;
        let prefix = after[..cursor.prefix].to_vec();
        if self.given.as_ref().is_some_and(|given| *given != prefix) {
            return Err(invalid_cursor());
        }
        Ok((prefix, Some(after)))
    }
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
    /// The cursor behind `last`, of which it holds no more than `longest` bytes.
    fn after(
        mut last: Vec<u8>,
        prefix: usize,
        longest: usize,
        dataset: &DatasetName,
        snapshot: &Lease,
    ) -> Self {
        let mut hash = 0;
        if last.len() > longest {
            hash = hash_of(&last);
            last.truncate(longest);
        }
        let (dataset, version) = (in_short(dataset), snapshot.version());
        Self { dataset, version, prefix, key: last, hash }
    }

    /// The last key of the page before, if that is known: of a long one, if the snapshot has it.
    fn last_key(&self, snapshot: &Lease) -> tidetable_storage::Result<Option<Vec<u8>>> {
        let mut last = Some(self.key.clone());
        if self.hash > 0 {
            let mut alike = snapshot.scan(&self.key, None)?;
            last = loop {
                match alike.next()? {
                    Some((key, _)) if hash_of(key) == self.hash => break Some(key.to_vec()),
                    Some(_) => {}
                    None => break None,
                }
            };
        }
        Ok(last.filter(|last| last.len() >= self.prefix))
    }

    fn encode(&self) -> String {
        let mut bytes = vec![FORMAT];
        let prefix = self.prefix as u64;
        for number in [self.dataset, self.version.0, prefix, self.hash] {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        bytes.extend_from_slice(&self.key);
        BASE64URL.encode(bytes)
    }

    fn decode(text: &str) -> Answer<Self> {
        let bytes = BASE64URL.decode(text).map_err(|_| invalid_cursor())?;
        Self::read(&bytes).ok_or_else(invalid_cursor)
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (&format, rest) = bytes.split_first()?;
        let (numbers, key) = rest.split_at_checked(4 * size_of::<u64>())?;
        let (numbers, []) = numbers.as_chunks::<8>() else { return None };
        let [dataset, version, prefix, hash] = *numbers.first_chunk()?;
        let [dataset, version, prefix, hash] =
            [dataset, version, prefix, hash].map(u64::from_be_bytes);
        let prefix = usize::try_from(prefix).ok()?;
        let sound = format == FORMAT && version > 0 && (1..=MAX_KEY_BYTES).contains(&key.len());
        // A whole key is as long as its prefix at least; of a part the snapshot decides.
        let fits = sound && (hash > 0 || prefix <= key.len());
        let (key, version) = (key.to_vec(), Version(version));
        fits.then_some(Self { dataset, version, prefix, key, hash })
    }
}

/// Never 0.
fn hash_of(key: &[u8]) -> u64 {
    XxHash64::oneshot(1, key).max(1)
}

/// Decodes a cursor, and makes nothing of it.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn decode_cursor(text: &str) -> Answer<()> {
    Cursor::decode(text).map(drop)
}

/// A cursor of one dataset says nothing to another.
fn in_short(dataset: &DatasetName) -> u64 {
    XxHash64::oneshot(0, dataset.as_str().as_bytes())
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
    use std::sync::mpsc::channel;
    use std::time::Duration;
    use tokio::sync::Semaphore;

    #[tokio::test]
    async fn a_scan_that_waits_for_the_disk_holds_up_nobody_and_keeps_its_turn() {
        let scanning = Arc::new(Semaphore::new(1));
        let turn = Arc::clone(&scanning).acquire_owned().await.unwrap();
        let (disk, read) = channel();
        let slow = aside(turn, move || Ok(read.recv_timeout(Duration::from_secs(20)).unwrap()));
        // On the thread that serves, while the scan waits.
        let other = async {
            assert_eq!(scanning.available_permits(), 0);
            disk.send(1).unwrap();
        };
        let (slow, ()) = tokio::join!(slow, other);
        assert_eq!((slow.unwrap(), scanning.available_permits()), (1, 1));
    }

    #[test]
    fn a_cursor_reads_back_and_a_strange_one_is_refused() {
        let key = b"a\xff\0".to_vec();
        for (prefix, hash) in [(0, 0), (1, 0), (3, 0), (9, 4)] {
            let cursor = Cursor { dataset: 3, version: Version(7), prefix, key: key.clone(), hash };
            let text = cursor.encode();
            assert!(
                text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)),
                "{text}"
            );
            assert_eq!(Cursor::decode(&text).unwrap(), cursor);
        }
        let sound = Cursor { dataset: 3, version: Version(7), prefix: 1, key, hash: 0 };
        let text = sound.encode();
        for bad in ["", "AA", "!!", "AQAAAAAAAAAHAAAAAWI", &text[..8], &text[..text.len() - 4]] {
            assert_eq!(Cursor::decode(bad).unwrap_err().code(), "invalid_cursor", "{bad}");
        }
        for bad in [
            Cursor { prefix: 4, ..sound.clone() },
            Cursor { version: Version(0), ..sound.clone() },
            Cursor { key: vec![0; MAX_KEY_BYTES + 1], ..sound },
        ] {
            assert_eq!(Cursor::decode(&bad.encode()).unwrap_err().code(), "invalid_cursor");
        }
    }
}
