//! A pushed snapshot, from its files to a verified one: every byte is compared with what its manifest
//! says, and what a build of rows sees to by itself is checked of every record.

use tidetable_storage::{Code, Error, VerifiedSnapshot, lay_out, quoted_bytes};

use super::spec::BuildSpec;
use crate::ingest::{IngestError, is_json};

/// What was taken in.
pub(super) struct Taken {
    pub(super) snapshot: VerifiedSnapshot,
    /// Records of erased keys that it has.
    pub(super) erased_held: u64,
}

/// The memory that a snapshot may take besides what a build of rows may: the index of its keys, of
/// which each has some bytes in its files.
pub(super) fn memory(spec: &BuildSpec) -> u64 {
    let bytes = |path: &std::path::Path| path.metadata().map_or(0, |metadata| metadata.len());
    let sent: u64 = spec.parts.iter().map(|part| bytes(&part.path)).sum();
    if spec.is_snapshot { sent / 4 } else { 0 }
}

/// Lays the parts out as the files that they are, and reads all of them back. `tell` hears of bytes
/// read, of so many.
pub(super) fn take_in(
    spec: &BuildSpec,
    tell: &mut dyn FnMut(u64, u64),
) -> Result<Taken, IngestError> {
    let files = spec.parts.iter().map(|part| (part.name.as_str(), part.path.as_path()));
    // What a later release wrote is nothing that is wrong with this server.
    let unpublished = lay_out(&spec.out, files).map_err(|error| match error.code() {
        Code::UnknownFormat => error.recoded(Code::SnapshotRefused),
        _ => error,
    })?;
    let all = unpublished.manifest().verify_bytes();
    let mut erased_held = 0;
    let mut check = |key: &[u8], value: &[u8]| {
        spec.sizes.check(key, value.len()).map_err(|error| Error::new(error.code, error.detail))?;
        if !is_json(value) {
            return Err(no_json(key));
        }
        erased_held += u64::from(spec.erased.as_ref().is_some_and(|erased| erased.has(key)));
        Ok(())
    };
    let snapshot = unpublished.take_in(&mut check, &mut |bytes| tell(bytes, all))?;
    Ok(Taken { snapshot, erased_held })
}

/// A value that is inlined into answers as it is would make no JSON of them, or others.
fn no_json(key: &[u8]) -> Error {
    let key = quoted_bytes(key);
    let text = format!("a value is no JSON, as all values are; the first is that of the key {key}");
    Error::new(Code::SnapshotRefused, text)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tidetable_storage::{Arrived, BuildOptions, Builder, Compression};

    use super::*;
    use crate::ingest::{GrowthLimits, RowOptions};
    use crate::pushes::Sizes;
    use crate::pushes::spec::PartSpec;

    /// What comes of a snapshot of these records that is pushed.
    fn taken(records: &[(&str, &[u8])], sizes: Sizes) -> Result<Taken, IngestError> {
        let dir = tempfile::tempdir().unwrap();
        let built = dir.path().join("built");
        let mut builder = Builder::create(&built, BuildOptions::default(), &[]).unwrap();
        for (key, value) in records {
            builder.add(key.as_bytes(), value).unwrap();
        }
        let _ = builder.finish().unwrap().verify(&mut |_| {}).unwrap();
        let part = |name: &str| PartSpec {
            name: name.to_owned(),
            path: built.join(name),
            arrived: Some(Arrived { bytes: 0, xxh3: 0 }),
        };
        take_in(
            &spec(vec![part("manifest.json"), part("000001.sst")], dir.path(), sizes),
            &mut |_, _| {},
        )
    }

    fn spec(parts: Vec<PartSpec>, dir: &Path, sizes: Sizes) -> BuildSpec {
        BuildSpec {
            parts,
            is_snapshot: true,
            options: RowOptions::default(),
            compression: Compression::None,
            out: dir.join("out"),
            sort_memory: 1 << 20,
            erased: None,
            sizes,
            growth: GrowthLimits::default(),
            processor_seconds: 1,
            gives_way: false,
        }
    }

    #[test]
    fn what_would_break_an_answer_is_no_value_of_a_snapshot() {
        let of = |value: &[u8]| taken(&[("a", b"1"), ("b", value)], Sizes::MOST);
        for good in [&b"{}"[..], b"\"x\"", b"null", b"-1.5e3", b" [1, {\"a\": 2}] "] {
            assert_eq!(of(good).unwrap().erased_held, 0);
        }
        for bad in [
            &b""[..],
            b"{",
            b"1,\"found\":true},{\"key\":\"b\"",
            b"1 2",
            b"NaN",
            b"\xff",
            b"\"\xff\"",
            &b"[".repeat(100_000),
        ] {
            let error = of(bad).err().expect("it is no JSON");
            assert_eq!(error.code, Code::SnapshotRefused, "{error}");
            assert!(error.to_string().contains("that of the key \"b\""), "{error}");
        }
    }

    #[test]
    fn keys_and_values_are_as_long_as_the_server_lets_them_be() {
        let sizes = Sizes { key: 3, value: 4 };
        assert!(taken(&[("abc", b"1234")], sizes).is_ok());
        let error = taken(&[("abcd", b"1")], sizes).err().unwrap();
        assert!(error.to_string().contains("max_key_bytes"), "{error}");
        let error = taken(&[("abc", b"12345")], sizes).err().unwrap();
        assert_eq!(error.code, Code::ValueTooLarge);
    }
}
