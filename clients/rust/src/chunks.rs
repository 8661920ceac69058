//! A batch of any number of keys: asked for in chunks, and all of it of one version. The first
//! chunk's answer says which; the others ask for that one, a few at a time. If it is gone
//! meanwhile everything begins anew, once. An answer that is too large is asked for in halves.

use std::pin::Pin;

use futures_util::stream::{FuturesOrdered, StreamExt as _};

use crate::batch::Found;
use crate::client::Inner;
use crate::request::MOST_KEYS;
use crate::transport::Deadline;
use crate::{Error, Lookup};

/// Of keys as JSON: well below what the server takes as the body of a batch, which is 4 MiB.
const MOST_BYTES: usize = 2 << 20;
/// Chunks at the same time: lookups wait behind no more of a batch, however large it is.
const AT_ONCE: usize = 4;

type Asking<'a> = Pin<Box<dyn Future<Output = Result<Found, Failure>> + Send + 'a>>;

enum Failure {
    /// The version that the first chunk was of is there no more.
    Gone(Error),
    Other(Error),
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        let (Failure::Gone(error) | Failure::Other(error)) = failure;
        error
    }
}

/// Asks for all keys of `lookup`, which has some.
pub(crate) async fn all(
    inner: &Inner,
    lookup: &Lookup,
    deadline: Deadline,
) -> Result<Found, Error> {
    match once(inner, lookup, deadline).await {
        Err(Failure::Gone(_)) => Ok(once(inner, lookup, deadline).await?),
        done => Ok(done?),
    }
}

async fn once(inner: &Inner, lookup: &Lookup, deadline: Deadline) -> Result<Found, Failure> {
    let mut chunks = chunks(lookup).into_iter();
    let first = chunks.next().expect("a lookup without keys is not asked for");
    let caller_pinned = lookup.selection.version.is_some();
    let mut found = ask(inner, first, deadline, false).await?;
    let version = found.version;
    let mut under_way = FuturesOrdered::new();
    loop {
        while under_way.len() < AT_ONCE
            && let Some(chunk) = chunks.next()
        {
            under_way.push_back(ask(inner, chunk.version(version), deadline, !caller_pinned));
        }
        match under_way.next().await {
            Some(part) => found.values.extend(part?.values),
            None => return Ok(found),
        }
    }
}

/// `ours`: the version it asks for is what an answer before said, not the caller.
fn ask(inner: &Inner, chunk: Lookup, deadline: Deadline, ours: bool) -> Asking<'_> {
    Box::pin(async move {
        match inner.ask(&chunk, deadline).await {
            Err(error) if error.code() == Some("answer_too_large") && chunk.keys.len() > 1 => {
                halves(inner, &chunk, deadline, ours).await
            }
            Err(error) if ours && is_gone(&error) => Err(Failure::Gone(error)),
            done => done.map_err(Failure::Other),
        }
    })
}

async fn halves(
    inner: &Inner,
    chunk: &Lookup,
    deadline: Deadline,
    ours: bool,
) -> Result<Found, Failure> {
    let middle = chunk.keys.len() / 2;
    let mut found = ask(inner, chunk.part(0, middle), deadline, ours).await?;
    let second = chunk.part(middle, chunk.keys.len()).version(found.version);
    // Of a version that nobody named before, the first half has just said it.
    let ours = ours || chunk.selection.version.is_none();
    found.values.extend(ask(inner, second, deadline, ours).await?.values);
    Ok(found)
}

fn is_gone(error: &Error) -> bool {
    matches!(error.code(), Some("version_deleted" | "version_not_found"))
}

fn chunks(lookup: &Lookup) -> Vec<Lookup> {
    let mut chunks = Vec::new();
    let (mut from, mut bytes) = (0, 0);
    for (at, key) in lookup.keys.iter().enumerate() {
        let size = key.bytes_in_batch();
        if at - from == MOST_KEYS || (bytes + size > MOST_BYTES && at > from) {
            chunks.push(lookup.part(from, at));
            (from, bytes) = (at, 0);
        }
        bytes += size;
    }
    chunks.push(lookup.part(from, lookup.keys.len()));
    chunks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_have_a_thousand_keys_or_two_mebibytes() {
        let sizes = |keys: Vec<String>| {
            chunks(&Lookup::new("d", keys)).iter().map(|c| c.keys.len()).collect::<Vec<_>>()
        };
        assert_eq!(sizes((0..2_500).map(|n| n.to_string()).collect()), [1_000, 1_000, 500]);
        assert_eq!(sizes((0..1_000).map(|n| n.to_string()).collect()), [1_000]);
        let large = (0..100).map(|n| format!("{n:02}{}", "x".repeat(59_998))).collect();
        assert_eq!(sizes(large), [34, 34, 32]);
        let escaped = (0..12).map(|n| format!("{n:02}{}", "\u{1}".repeat(59_998))).collect();
        assert_eq!(sizes(escaped), [5, 5, 2]);
    }
}
