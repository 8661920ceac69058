//! The disk fills up during a push: the push fails with 507 and says so, what it had written
//! is freed, and reads, the rollback and a smaller push go on.
//!
//! The disk is a small tmpfs in a mount namespace of the server's own, which goes away with
//! it. Where that is not allowed the test says so and is skipped; in CI it fails.

use std::fmt::Write;
use std::fs;
use std::process::Command;

use serde_json::json;

use crate::data::{Random, key, rows, value};
use crate::harness::{Server, eventually};
use crate::skip::skip;

const D: &str = "recs";

/// Runs a command with a tmpfs of this size on the directory that is named first.
pub(crate) const ON_A_SMALL_DISK: &str =
    r#"mount -t tmpfs -o size=128m,mode=700 small "$1" && shift && exec "$@""#;

#[test]
fn a_full_disk_fails_the_push_alone() {
    let Some(namespace) = namespace() else {
        return skip("a_full_disk_fails_the_push_alone", NO_NAMESPACE);
    };
    let server = Server::start_on_mount(&namespace, ON_A_SMALL_DISK);
    server.pushed(D, &rows(D, 1, 1_000));
    server.pushed(D, &rows(D, 2, 1_000));

    // More than the disk holds: said beforehand, and found out on the way.
    let large = noise(3, 250_000);
    let problem = server.push(D, &large).problem(507, "disk_full");
    assert!(problem["detail"].as_str().unwrap().contains("free"), "how much is free: {problem}");
    let path = format!("/v1/datasets/{D}/push?key=k&format=ndjson");
    let answer = server.client().post_chunked(&path, large.as_bytes());
    answer.unwrap_or_else(|e| panic!("no answer: {e}")).problem(507, "disk_full");

    // Small enough to arrive, and far too large once it is decompressed.
    let compressed = zstd::encode_all(repetitive(4_000).as_bytes(), 3).unwrap();
    assert!(compressed.len() < 1 << 20, "{} bytes", compressed.len());
    let problem = server.push_with(D, "key=k&format=ndjson", &compressed).problem(507, "disk_full");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("bytes were free") && detail.contains("needs more than"), "{problem}");
    let mount = server.data().display().to_string();
    assert!(!problem.to_string().contains(&mount), "no path is told: {problem}");

    // The mount is seen through the process that has it.
    let staging = format!(
        "/proc/{}/root{}",
        server.pid().as_raw_nonzero(),
        server.data().join("staging").display()
    );
    eventually("staging is freed", || {
        fs::read_dir(&staging).is_ok_and(|mut entries| entries.next().is_none())
    });

    for i in 0..1_000 {
        assert_eq!(server.get(D, &key(i)).expect(200).text(), value(D, 2, i));
    }
    let answer = server.operate(D, "rollback", &json!({ "hold": false })).expect(200).json();
    assert_eq!(answer["to"], 1);
    assert_eq!(server.get(D, &key(5)).expect(200).text(), value(D, 1, 5));
    let small = server.push(D, &rows(D, 9, 1_000)).expect(201).json();
    assert_eq!(small["current"], true, "{small}");
}

/// The same disk, a sixteenth of it taken by another.
const ON_A_DISK_WITH_SOME_TAKEN: &str = r#"mount -t tmpfs -o size=128m,mode=700 small "$1" &&
head -c 8388608 /dev/zero > "$1/taken" && shift && exec "$@""#;

#[test]
fn a_disk_that_is_too_full_takes_no_new_push() {
    let Some(namespace) = namespace() else {
        return skip("a_disk_that_is_too_full_takes_no_new_push", NO_NAMESPACE);
    };
    let percent = ["--max-disk-percent", "1"];
    let server = Server::start_on_mount_with(&namespace, ON_A_DISK_WITH_SOME_TAKEN, &percent);
    let problem = server.push(D, &rows(D, 1, 10)).problem(507, "disk_full");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("above 1 %") && detail.contains("max_disk_percent"), "{problem}");
    server
        .post(&format!("/v1/datasets/{D}/versions"), &json!({ "key": ["k"] }))
        .problem(507, "disk_full");
    server.get_path(&format!("/v1/datasets/{D}")).problem(404, "dataset_not_found");
    let ready = server.get_path("/readyz").expect(200).json();
    assert_eq!((&ready["accepts_pushes"], &ready["status"]), (&json!(false), &json!("degraded")));
    assert_eq!(ready["pushes_refused"]["code"], "disk_full", "{ready}");
    assert!(server.get_path("/metrics").text().contains("tidetable_accepts_pushes 0"));
}

/// Rows that no compressor makes small: about 540 bytes each.
pub(crate) fn noise(seed: u64, rows: usize) -> String {
    let mut random = Random::new(seed);
    let mut text = String::new();
    for i in 0..rows {
        write!(text, "{{\"k\":\"{}\",\"noise\":\"", key(i)).unwrap();
        for _ in 0..32 {
            write!(text, "{:016x}", random.next()).unwrap();
        }
        text += "\"}\n";
    }
    text
}

/// Rows of 60 KB each, the same noise in all of them: a compressor with a window of megabytes
/// makes them tiny, and one that works block by block does not.
fn repetitive(rows: usize) -> String {
    let mut random = Random::new(5);
    let noise: String = (0..3_750).map(|_| format!("{:016x}", random.next())).collect();
    (0..rows).map(|i| format!("{{\"k\":\"{}\",\"noise\":\"{noise}\"}}\n", key(i))).collect()
}

/// Why a test is skipped that needs one.
pub(crate) const NO_NAMESPACE: &str = "no right to mount a tmpfs in a namespace of our own";

/// How to get a mount namespace here, as root or as anybody.
pub(crate) fn namespace() -> Option<Vec<String>> {
    let ways: [&[&str]; 2] =
        [&["unshare", "--mount"], &["unshare", "--user", "--map-root-user", "--mount"]];
    let way = ways.iter().find(|way| {
        let mut command = Command::new(way[0]);
        command.args(&way[1..]).args(["sh", "-c", "mount -t tmpfs -o size=1m try /mnt"]);
        command.output().is_ok_and(|output| output.status.success())
    })?;
    Some(way.iter().map(|&word| word.to_owned()).collect())
}
