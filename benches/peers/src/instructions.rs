//! What callgrind counts for `make count-instructions`: lookups in a small snapshot, and
//! nothing else. The snapshot is built by a run of its own beforehand.

use std::hint::black_box;
use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use tidetable_storage::{
    BlockCache, BuildOptions, Builder, ErasedKeys, Key, Snapshot, UnpublishedSnapshot, Version,
    View,
};

use crate::keys::key;
use crate::random::Random;
use crate::records::Catalogue;

const RECORDS: u64 = 100_000;
const CACHE_BYTES: usize = 64 << 20;
/// Lookups that are counted.
const LOOKUPS: usize = 10_000;

/// Builds the snapshot in `dir`, which must not be there.
pub(crate) fn build(dir: &Path) -> anyhow::Result<()> {
    let catalogue = Catalogue::new();
    let value_of = |number| {
        let mut value = Vec::new();
        catalogue.write_value(&catalogue.items(number, 1), &mut value);
        value
    };
    let samples: Vec<_> = (0..RECORDS).step_by(250).map(value_of).collect();
    let mut builder = Builder::create(dir, BuildOptions::default(), &samples)?;
    for number in 0..RECORDS {
        builder.add(&key(number), &value_of(number))?;
    }
    let _verified = builder.finish()?.verify(&mut |_| {})?;
    Ok(())
}

/// Looks keys up, `hit`, `miss`, or `hit_beside_erased` where other keys are erased, once so that everything is in memory, and then again in the
/// function that callgrind is told to watch. Says how many it looked up.
pub(crate) fn look_up(dir: &Path, kind: &str) -> anyhow::Result<()> {
    let digest = *UnpublishedSnapshot::find(dir)
        .with_context(|| format!("there is no snapshot in {}", dir.display()))?
        .digest();
    let snapshot = Snapshot::open(dir, Version(1), &digest, &BlockCache::new(CACHE_BYTES))?;
    let mut random = Random::of(1, 2);
    let mut keys: Vec<Vec<u8>> = Vec::new();
    keys.resize_with(LOOKUPS, || key(random.below(RECORDS)).to_vec());
    let expected = match kind {
        "hit" | "hit_beside_erased" => LOOKUPS,
        "miss" => {
            // Between the keys that are there.
            keys.iter_mut().for_each(|key| key.push(b'x'));
            0
        }
        _ => bail!("lookups are hit, miss or hit_beside_erased, not {kind}"),
    };
    let keys: Vec<Key<'_>> = keys.iter().map(|key| Key::new(key)).collect::<Result<_, _>>()?;
    let others: ErasedKeys = serde_json::from_str(&erased_keys())?;
    let view = View::new(&snapshot, (kind == "hit_beside_erased").then_some(&others));
    for key in &keys {
        black_box(snapshot.get(*key)?.map(|value| value.len()));
    }
    let found = counted_lookups(view, &keys)?;
    ensure!(found == expected, "{found} of {LOOKUPS} keys were found, not {expected}");
    println!("{LOOKUPS}");
    Ok(())
}

/// A thousand keys that nobody looks up, as a builder is told of them.
fn erased_keys() -> String {
    let digests: String = (0..1000)
        .map(|n: u32| {
            format!(
                "{:032x}",
                u128::from(n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
            )
        })
        .collect();
    format!("{{\"secret\":\"{}\",\"as_of\":1,\"digests\":\"{digests}\"}}", "5a".repeat(32))
}

/// Known to callgrind by its name.
#[inline(never)]
fn counted_lookups(snapshot: View<'_>, keys: &[Key<'_>]) -> anyhow::Result<usize> {
    let mut found = 0;
    for key in keys {
        if let Some(value) = snapshot.get(*key)? {
            black_box(value.len());
            found += 1;
        }
    }
    Ok(found)
}
