//! Random lookups in one thread, in a store that lives in this process. The process stays and
//! does one round for each line it reads, so that two stores can take turns while both stay
//! in the page cache. The source of `lmdb/` beside this crate is this file too.
//!
//! A line is `KEYS READING LOOKUPS SEED`:
//! - `KEYS`: `present`, or `absent` (keys between those that are there)
//! - `READING`: `length` (the value is found, and its length looked at) or `bytes` (it is read
//!   from end to end)

use std::hint::black_box;
use std::io::{BufRead as _, Write as _};
use std::time::Instant;

use anyhow::{Context as _, bail, ensure};
use serde_json::json;

use crate::keys::{KEY_BYTES, key};
use crate::random::Random;

/// A store with values by key.
pub(crate) trait Embedded {
    /// Hands the value to `read`, if there is one, and says whether there was.
    fn look_up(&self, key: &[u8], read: &mut impl FnMut(&[u8])) -> anyhow::Result<bool>;
}

/// Answers the lines of standard input until there are no more.
pub(crate) fn answer(store: &impl Embedded, records: u64) -> anyhow::Result<()> {
    say(&json!({ "ready": true }))?;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split_whitespace().collect();
        let [keys, reading, lookups, seed] = words[..] else { bail!("not understood: {line}") };
        let absent = match keys {
            "present" => false,
            "absent" => true,
            _ => bail!("no such keys: {keys}"),
        };
        let keys = draw(records, lookups.parse()?, seed.parse()?, absent);
        let (found, seconds) = match reading {
            "length" => time(store, &keys, |value| {
                black_box(value.len());
            })?,
            "bytes" => time(store, &keys, |value| {
                black_box(sum(value));
            })?,
            _ => bail!("no such reading: {reading}"),
        };
        let expected = if absent { 0 } else { keys.len() };
        ensure!(found == expected, "{found} of {} keys were found, not {expected}", keys.len());
        say(&json!({ "lookups": keys.len(), "seconds": seconds }))?;
    }
    Ok(())
}

/// Keys of 20 bytes, or 21 where they are to be absent.
fn draw(records: u64, lookups: usize, seed: u64, absent: bool) -> Vec<Vec<u8>> {
    let mut random = Random::of(seed, 77);
    let mut keys = Vec::with_capacity(lookups);
    keys.resize_with(lookups, || {
        let mut drawn = Vec::with_capacity(KEY_BYTES + 1);
        drawn.extend_from_slice(&key(random.below(records)));
        if absent {
            drawn.push(b'x');
        }
        drawn
    });
    keys
}

fn time(
    store: &impl Embedded,
    keys: &[Vec<u8>],
    mut read: impl FnMut(&[u8]),
) -> anyhow::Result<(usize, f64)> {
    let mut found = 0;
    let start = Instant::now();
    for key in keys {
        found += usize::from(store.look_up(key, &mut read)?);
    }
    Ok((found, start.elapsed().as_secs_f64()))
}

/// Depends on every byte.
pub(crate) fn sum(value: &[u8]) -> u64 {
    let (words, rest) = value.as_chunks::<8>();
    let words = words.iter().fold(0u64, |sum, word| sum.wrapping_add(u64::from_le_bytes(*word)));
    rest.iter().fold(words, |sum, byte| sum.wrapping_add(u64::from(*byte)))
}

pub(crate) fn say(line: &serde_json::Value) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).context("nobody reads the results")
}
