//! Lookups in LMDB, which holds the same records as Tidetable: one file, read through a memory
//! map, in one read transaction. Asked in the same way, by the same code, with the same keys.
//!
//! usage: lmdb-peer DIR NDJSON RECORDS

#[path = "../../src/embedded.rs"]
mod embedded;
#[path = "../../src/keys.rs"]
mod keys;
#[path = "../../src/random.rs"]
mod random;

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use anyhow::{Context as _, bail};
use heed::types::Bytes;
use heed::{Database, Env, EnvFlags, EnvOpenOptions, PutFlags, RoTxn, WithoutTls};

use crate::embedded::{Embedded, sum};
use crate::keys::KEY_BYTES;

/// Room for the records; LMDB wants to know before.
const MAP_BYTES: usize = 64 << 30;

/// What stands before the key in a row, and between key and value.
const BEFORE_KEY: usize = b"{\"learner\":\"".len();
const BEFORE_VALUE: usize = BEFORE_KEY + KEY_BYTES + b"\",\"recs\":".len();

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [dir, ndjson, records] = &args[..] else { bail!("usage: lmdb-peer DIR NDJSON RECORDS") };
    let env = open(dir.as_ref())?;
    let mut write = env.write_txn()?;
    let rows: Database<Bytes, Bytes> = env.create_database(&mut write, None)?;
    fill(&rows, &mut write, ndjson.as_ref())?;
    write.commit()?;
    let store = Lmdb { rows, read: env.read_txn()? };
    store.warm()?;
    embedded::answer(&store, records.parse()?)
}

#[expect(unsafe_code, reason = "the map is ours alone: a new file in a directory of this run")]
fn open(dir: &Path) -> anyhow::Result<Env<WithoutTls>> {
    std::fs::create_dir_all(dir)?;
    let mut options = EnvOpenOptions::new().read_txn_without_tls();
    options.map_size(MAP_BYTES);
    // Random access: no read-ahead. It is filled once and read; nothing needs to survive.
    let env = unsafe {
        options.flags(EnvFlags::NO_SYNC | EnvFlags::NO_READ_AHEAD);
        options.open(dir)
    };
    env.with_context(|| format!("cannot make an LMDB environment in {}", dir.display()))
}

/// In key order, which makes the fullest pages and the shallowest tree.
fn fill(
    rows: &Database<Bytes, Bytes>,
    write: &mut heed::RwTxn<'_>,
    ndjson: &Path,
) -> anyhow::Result<()> {
    let file = File::open(ndjson).with_context(|| format!("cannot open {}", ndjson.display()))?;
    let mut lines: Vec<Box<[u8]>> = Vec::new();
    for line in BufReader::with_capacity(1 << 20, file).split(b'\n') {
        lines.push(line?.into_boxed_slice());
    }
    lines.sort_unstable_by(|a, b| key_of(a).cmp(key_of(b)));
    for line in &lines {
        let value = &line[BEFORE_VALUE..line.len() - 1];
        rows.put_with_flags(write, PutFlags::APPEND, key_of(line), value)?;
    }
    Ok(())
}

fn key_of(line: &[u8]) -> &[u8] {
    &line[BEFORE_KEY..BEFORE_KEY + KEY_BYTES]
}

struct Lmdb<'e> {
    rows: Database<Bytes, Bytes>,
    read: RoTxn<'e, WithoutTls>,
}

impl Lmdb<'_> {
    /// Touches every page once.
    fn warm(&self) -> anyhow::Result<()> {
        let mut all = 0u64;
        for record in self.rows.iter(&self.read)? {
            all = all.wrapping_add(sum(record?.1));
        }
        std::hint::black_box(all);
        Ok(())
    }
}

impl Embedded for Lmdb<'_> {
    fn look_up(&self, key: &[u8], read: &mut impl FnMut(&[u8])) -> anyhow::Result<bool> {
        let value = self.rows.get(&self.read, key)?;
        if let Some(value) = value {
            read(value);
        }
        Ok(value.is_some())
    }
}
