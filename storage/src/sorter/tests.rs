//! Records come out sorted and stable, whatever the order, the budget and the sizes.

use super::*;

use proptest::prelude::*;

type Row = (Vec<u8>, Vec<u8>, Vec<u8>);

/// A sorter that spills after a few records, merges `fan_in` runs at a time, and puts all on
/// the disk if it puts anything there.
fn tiny(dir: &Path, buffer_bytes: usize, fan_in: usize) -> Sorter {
    let buffer = Buffer::new(buffer_bytes).unwrap();
    Sorter { writers: 4, ..Sorter::with(dir, buffer, fan_in, Some(Sampler::new(SAMPLE_BYTES))) }
}

fn drain(mut sorted: Sorted) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut records = Vec::new();
    while let Some(Record { key, value, .. }) = sorted.next()? {
        records.push((key.to_vec(), value.to_vec()));
    }
    Ok(records)
}

fn expected(mut rows: Vec<Row>) -> Vec<(Vec<u8>, Vec<u8>)> {
    rows.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
    rows.into_iter().map(|(key, _, value)| (key, value)).collect()
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    // Few distinct bytes, so that keys are equal, or one the beginning of another, often.
    let byte = prop_oneof![Just(0u8), Just(b'a'), Just(255)];
    let key = prop_oneof![
        prop::collection::vec(byte.clone(), 1..4),
        prop::collection::vec(byte.clone(), 0..10).prop_map(|k| [&b"learner:"[..], &k].concat()),
    ];
    let value = prop_oneof![9 => 0..20usize, 1 => 400..900usize];
    let row = (key, prop::collection::vec(byte, 0..3), value);
    // Each value says when it was pushed.
    prop::collection::vec(row, 0..120).prop_map(|rows| {
        let numbered = rows.into_iter().enumerate();
        numbered
            .map(|(n, (key, rank, length))| {
                (key, rank, [n.to_string().into_bytes(), vec![b'.'; length]].concat())
            })
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn any_rows_come_out_in_order_and_stable(
        rows in rows(), buffer_bytes in 200..3000usize, fan_in in 2..5usize,
        beside in 0..40usize, list in 0..40usize, sort_first: bool,
    ) {
        let mut rows = rows;
        if sort_first {
            rows.sort();
        }
        let dir = tempfile::tempdir().unwrap();
        let mut sorter = Sorter { beside, ..tiny(dir.path(), buffer_bytes, fan_in) };
        for rows in rows.chunks(list.max(1)) {
            if list == 0 {
                let (key, rank, value) = &rows[0];
                sorter.push(key, rank, value).unwrap();
                continue;
            }
            let mut records = RecordList::default();
            rows.iter().for_each(|(key, rank, value)| records.push(key, rank, value));
            sorter.push_list(records).unwrap();
        }
        let sorted = sorter.finish().unwrap();
        prop_assert_eq!(sorted.records(), rows.len() as u64);
        prop_assert_eq!(drain(sorted).unwrap(), expected(rows));
        prop_assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "runs are removed");
    }
}

#[test]
fn what_fits_in_memory_makes_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let runs = dir.path().join("runs");
    let mut sorter = Sorter::new(&runs, MIN_SORT_BYTES).unwrap();
    for n in (0..1000).rev() {
        sorter.push(format!("{n:04}").as_bytes(), b"", b"value").unwrap();
    }
    let records = drain(sorter.finish().unwrap()).unwrap();
    assert!(records.is_sorted() && records.len() == 1000);
    assert!(!runs.exists());
}

#[test]
fn input_that_is_sorted_becomes_one_run() {
    let dir = tempfile::tempdir().unwrap();
    let mut sorter = tiny(dir.path(), 1000, 2);
    for n in 0..1000 {
        sorter.push(format!("{n:04}").as_bytes(), b"", b"value").unwrap();
    }
    assert_eq!(sorter.runs.len(), 1, "it did not fit in memory");
    sorter.spill().unwrap();
    sorter.push(b"0500", b"", b"late").unwrap();
    sorter.spill().unwrap();
    assert_eq!(sorter.runs.len(), 2, "only what came late is in another");
    assert_eq!(drain(sorter.finish().unwrap()).unwrap().len(), 1001);
}

#[test]
fn samples_come_from_memory_and_runs_alike() {
    let dir = tempfile::tempdir().unwrap();
    let pushed = |mut sorter: Sorter| {
        for n in (0..3000).rev() {
            let value = format!("{n:04}").repeat(100);
            sorter.push(&value.as_bytes()[..4], b"", value.as_bytes()).unwrap();
        }
        sorter
    };
    let memory = pushed(Sorter::new(dir.path(), 4 * MIN_SORT_BYTES).unwrap());
    let runs = pushed(tiny(dir.path(), 30_000, 4));
    assert!(memory.spilled_bytes() == 0 && runs.spilled_bytes() > 0);
    let samples = memory.finish().unwrap().samples().to_vec();
    assert_eq!(runs.finish().unwrap().samples(), samples);
    assert!(samples.len() > 200 && samples.iter().all(|value| value.len() == 400));
}

#[test]
fn a_record_larger_than_the_budget_passes() {
    let dir = tempfile::tempdir().unwrap();
    let mut sorter = Sorter::new(dir.path(), MIN_SORT_BYTES).unwrap();
    let large = vec![b'x'; 3 << 20];
    for key in [b"b", b"c", b"a"] {
        sorter.push(key, b"", &large).unwrap();
        sorter.push(key, b"", b"small").unwrap();
    }
    let records = drain(sorter.finish().unwrap()).unwrap();
    let seen: Vec<_> = records.iter().map(|(key, value)| (key[0], value.len())).collect();
    let both = |key| [(key, large.len()), (key, 5)];
    assert_eq!(seen, [both(b'a'), both(b'b'), both(b'c')].concat());
}

#[test]
fn a_damaged_run_is_an_error_and_never_another_record() {
    // The first runs are stored as they are, later ones compressed.
    for (which, compressed) in [(0, false), (MAX_BESIDE + 1, true)] {
        let dir = tempfile::tempdir().unwrap();
        let spilled = || {
            let mut sorter = tiny(dir.path(), 1500, 8);
            for run in 0..=which {
                for n in 0..20 {
                    let key = format!("{:03}", (n * 37 + run) % 60);
                    sorter.push(key.as_bytes(), b"", b"some value").unwrap();
                }
                sorter.spill().unwrap();
            }
            sorter
        };
        let right = drain(spilled().finish().unwrap()).unwrap();
        let sorter = spilled();
        assert_eq!(sorter.runs[which].is_compressed(), compressed);
        let path = sorter.runs[which].path().to_owned();
        let whole = std::fs::read(&path).unwrap();
        drop(sorter);
        let read_with = |bytes: &[u8]| {
            let sorter = spilled();
            std::fs::write(&path, bytes).unwrap();
            sorter.finish().and_then(drain)
        };
        let mut errors = 0;
        for at in 0..whole.len() {
            for bit in [1, 128] {
                let mut bytes = whole.clone();
                bytes[at] ^= bit;
                match read_with(&bytes) {
                    Ok(records) => assert_eq!(records, right, "byte {at} turned"),
                    Err(e) => {
                        assert_eq!((e.code(), e.path()), (Code::DataCorrupt, Some(&*path)));
                        errors += 1;
                    }
                }
            }
            assert!(read_with(&whole[..at]).is_err(), "cut to {at} bytes");
        }
        assert!(errors > whole.len() * 19 / 10, "{errors} of {}", whole.len() * 2);
        assert!(read_with(&[&whole[..], &whole[..]].concat()).is_err(), "written twice");
    }
}

#[test]
fn compressed_runs_of_many_blocks_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut sorter = tiny(dir.path(), 300_000, 16);
    let mut random = fastrand::Rng::with_seed(1);
    let mut rows = Vec::new();
    for n in 0..9_000u32 {
        // Most can be compressed, and some, longer than a block, cannot.
        let value = match n % 3_000 {
            7 => (0..150_000).map(|_| random.u8(..)).collect(),
            _ => format!("[{{\"course_id\":\"adv-{}\",\"score\":{n}}}]", n % 7)
                .into_bytes()
                .repeat(5),
        };
        let key = format!("{:06}", random.u32(..1_000_000)).into_bytes();
        sorter.push(&key, b"", &value).unwrap();
        rows.push((key, Vec::new(), value));
    }
    assert!(sorter.runs.len() > MAX_BESIDE && sorter.runs.last().unwrap().is_compressed());
    let uncompressed =
        rows.iter().map(|(key, _, value)| key.len() + value.len()).sum::<usize>() as u64;
    assert!(
        sorter.spilled_bytes() < uncompressed * 3 / 4,
        "{} of {uncompressed}",
        sorter.spilled_bytes()
    );
    assert_eq!(drain(sorter.finish().unwrap()).unwrap(), expected(rows));
}

#[test]
fn runs_are_removed_when_a_sorter_is_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let mut sorter = tiny(dir.path(), 500, 2);
    for n in (0..200).rev() {
        sorter.push(format!("{n:04}").as_bytes(), b"", b"value").unwrap();
    }
    assert!(std::fs::read_dir(dir.path()).unwrap().count() > 3);
    assert!(sorter.spilled_bytes() > 0);
    drop(sorter);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn what_cannot_be_sorted_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let code = |result: Result<()>| result.unwrap_err().code();
    let too_little = Sorter::new(dir.path(), MIN_SORT_BYTES - 1);
    assert_eq!(code(too_little.map(drop)), Code::InvalidSetting);
    assert_eq!(code(Sorter::new(dir.path(), usize::MAX / 4).map(drop)), Code::InvalidSetting);
    let mut sorter = Sorter::new(dir.path(), MIN_SORT_BYTES).unwrap();
    let large = vec![0; MAX_PACKED_BYTES + 1];
    assert_eq!(code(sorter.push(b"", b"", b"")), Code::InvalidKey);
    assert_eq!(code(sorter.push(b"a", b"", &large)), Code::ValueTooLarge);
    assert_eq!(code(sorter.push(b"a", &large, b"")), Code::BadRows);
    assert_eq!(sorter.records(), 0);
}

#[test]
fn runs_are_merged_no_more_than_needed() {
    for (runs, fan_in) in [(3, 2), (7, 2), (130, 128), (1000, 16)] {
        let (mut left, mut at, mut merges) = (runs, 0, 0);
        while let Some(group) = next_group(left, fan_in, &mut at) {
            assert!(group.end <= left && group.len() >= 2 && group.len() <= fan_in);
            left -= group.len() - 1;
            merges += 1;
        }
        assert_eq!(left, fan_in, "{runs} runs are merged until they can be read at once");
        assert!(merges <= 1 + 2 * (runs - fan_in) / (fan_in - 1), "{runs}: {merges} merges");
    }
}
