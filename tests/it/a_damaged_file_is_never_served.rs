//! A byte flipped on the disk is an error for what it belongs to: never a wrong value, never
//! "not found", never the end of everything else. A rollback still works, `verify` names the
//! file, and a damaged journal stops the start with a message that says what to do.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::data::{Random, key, rows, value};
use crate::harness::{Server, eventually, tidetable};

const D: &str = "recs";
const RECORDS: usize = 5_000;

/// A server that was killed when it served version 2 of `D`, with version 1 before it.
fn killed() -> Server {
    let mut server = Server::start();
    server.pushed(D, &rows(D, 1, RECORDS));
    server.pushed(D, &rows(D, 2, RECORDS));
    server.kill();
    server
}

fn version_file(server: &Server, name: &str) -> PathBuf {
    file_of(server, 2, name)
}

fn file_of(server: &Server, version: u64, name: &str) -> PathBuf {
    server.data().join("datasets").join(D).join(version.to_string()).join(name)
}

/// Flips one bit of the byte at `at`, in place: hard links see it too.
fn flip(path: &Path, at: u64) {
    let mut file = File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.seek(SeekFrom::Start(at)).unwrap();
    file.read_exact(&mut byte).unwrap();
    file.seek(SeekFrom::Start(at)).unwrap();
    file.write_all(&[byte[0] ^ 0x10]).unwrap();
}

fn size(path: &Path) -> u64 {
    fs::metadata(path).unwrap_or_else(|e| panic!("{}: {e}", path.display())).len()
}

/// Reads every key of version 2: how many came back right, and how many as an error. Ends
/// the test at a wrong value, or at a key that is "not found".
fn read_all(server: &Server) -> (usize, usize) {
    let mut client = server.client();
    let (mut right, mut damaged) = (0, 0);
    for i in 0..RECORDS {
        let reply = client.get(&format!("/v1/datasets/{D}/keys/{}", key(i))).unwrap();
        if reply.status == 200 {
            assert_eq!((reply.version(), reply.text()), (2, value(D, 2, i)));
            right += 1;
        } else {
            assert!(reply.status >= 500, "{reply}");
            let code = reply.json()["code"].clone();
            assert!(code == "data_corrupt" || code == "version_unusable", "{reply}");
            damaged += 1;
        }
    }
    (right, damaged)
}

#[track_caller]
fn roll_back(server: &Server) {
    let answer = server.operate(D, "rollback", &json!({})).expect(200).json();
    assert_eq!(answer["to"], 1, "{answer}");
    let reply = server.get(D, &key(17)).expect(200);
    assert_eq!((reply.version(), reply.text()), (1, value(D, 1, 17)));
}

fn start_damaged(server: &mut Server) {
    server
        .try_start()
        .unwrap_or_else(|r| panic!("one damaged version stopped the start: {}", r.said));
    eventually("/livez answers 200", || server.get_path("/livez").status == 200);
}

#[test]
fn a_damaged_block_is_an_error_for_its_keys_alone() {
    let mut server = killed();
    let sst = version_file(&server, "000001.sst");
    flip(&sst, size(&sst) / 2);

    let verify = tidetable(&["verify"]).arg(server.data()).output().unwrap();
    assert!(!verify.status.success(), "verify found nothing");
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&verify.stdout),
        String::from_utf8_lossy(&verify.stderr)
    );
    assert!(said.contains("000001.sst"), "verify names the file: {said}");

    start_damaged(&mut server);
    eventually("the version is open", || server.get(D, &key(0)).status != 503);
    let (right, damaged) = read_all(&server);
    assert!(damaged > 0, "the flipped byte was read as if nothing were wrong");
    assert!(right > RECORDS / 2, "only {right} of {RECORDS} are served: more than a block is lost");
    // Of a batch that fails no key is answered.
    let failed = (0..RECORDS / 100).filter(|n| !batch(&server, n * 100..(n + 1) * 100)).count();
    assert!((1..=damaged).contains(&failed), "{failed} batches");
    assert_eq!(errors(&server), damaged + failed * 100);
    roll_back(&server);
}

/// Whether the server answers a batch of these keys.
fn batch(server: &Server, keys: std::ops::Range<usize>) -> bool {
    let body = json!({ "keys": keys.map(key).collect::<Vec<_>>() }).to_string();
    let json = ("content-type", "application/json");
    let path = format!("/v1/datasets/{D}/batch-get");
    server.send("POST", &path, &[json], body.as_bytes()).status == 200
}

/// How many lookups have failed, by the metrics.
fn errors(server: &Server) -> usize {
    let page = server.get_path("/metrics").expect(200).text();
    let of =
        format!("tidetable_lookups_total{{dataset=\"{D}\",arm=\"current\",result=\"error\"}} ");
    page.lines().find_map(|line| line.strip_prefix(&of)).map_or(0, |count| count.parse().unwrap())
}

/// The first block is looked at when a version is opened: that must not cost the others.
#[test]
fn a_damaged_first_block_is_an_error_for_its_keys_alone() {
    let mut server = killed();
    flip(&version_file(&server, "000001.sst"), 20);
    start_damaged(&mut server);
    eventually("the version is open", || server.get(D, &key(RECORDS - 1)).status != 503);
    let (right, damaged) = read_all(&server);
    assert!(damaged > 0, "the flipped byte was read as if nothing were wrong");
    assert!(right > RECORDS / 2, "only {right} of {RECORDS} are served: more than a block is lost");
    roll_back(&server);
}

#[test]
fn a_manifest_that_does_not_fit_makes_its_version_unusable() {
    let mut server = killed();
    let manifest = version_file(&server, "manifest.json");
    flip(&manifest, size(&manifest) / 2);
    start_damaged(&mut server);
    eventually("/readyz names the dataset", || server.get_path("/readyz").text().contains(D));
    let reply = server.get(D, &key(0));
    assert!(reply.status >= 500, "{reply}");
    assert_eq!(reply.json()["code"], "version_unusable", "{reply}");
    assert_eq!(server.dataset(D)["state"], "damaged");
    // Each of them has failed, however many were asked for.
    assert!(!batch(&server, 0..3));
    assert!(server.get_path(&format!("/v1/datasets/{D}/scan")).status >= 500);
    assert_eq!(errors(&server), 1 + 3 + 1);
    roll_back(&server);
}

#[test]
fn a_file_of_rocksdb_that_does_not_fit_is_remade_or_an_error() {
    type Damage = fn(&Path);
    let damages: [(&str, Damage); 3] = [
        ("flipped", |path| flip(path, size(path) / 2)),
        ("shortened", |path| {
            File::options().write(true).open(path).unwrap().set_len(size(path) / 2).unwrap();
        }),
        ("removed", |path| fs::remove_file(path).unwrap()),
    ];
    for (name, damage) in damages {
        let mut server = killed();
        let db = version_file(&server, "db");
        let files = fs::read_dir(&db).unwrap().map(|entry| entry.unwrap().path());
        let manifest = files
            .filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("MANIFEST"))
            .max()
            .expect("RocksDB has a MANIFEST");
        damage(&manifest);
        start_damaged(&mut server);
        eventually("the version is open, or is known not to be", || {
            let reply = server.get(D, &key(0));
            reply.status == 200 || reply.json()["code"] != "not_ready"
        });
        let (right, damaged) = read_all(&server);
        assert!(right == 0 || damaged == 0, "{name}: {right} right, {damaged} damaged");
        roll_back(&server);
    }
}

#[test]
fn rocksdbs_own_files_can_be_deleted() {
    let mut server = killed();
    fs::remove_dir_all(version_file(&server, "db")).unwrap();
    server.start_again();
    assert_eq!(read_all(&server), (RECORDS, 0));
}

#[test]
fn a_flipped_bit_in_the_journal_stops_the_start() {
    let mut server = killed();
    let journal = server.data().join("journal");
    let good = fs::read(&journal).unwrap();
    let mut random = Random::new(5);
    let length = good.len() as u64;
    let mut places: Vec<u64> = (0..30).map(|_| random.below(length)).collect();
    places.extend([0, length - 1, length - 5, length - 20]);
    for at in places {
        flip(&journal, at);
        let refused = server.try_start().expect_err(&format!("byte {at} of {length} is flipped"));
        assert!(!refused.status.success());
        // Where the number of the format stands there may be nothing to mend.
        let remedy = if (8..12).contains(&at) { "backup" } else { "tidetable repair" };
        assert!(
            refused.said.contains("journal") && refused.said.contains(remedy),
            "byte {at} of {length}: {}",
            refused.said
        );
        assert_eq!(
            fs::read(&journal).unwrap().len(),
            good.len(),
            "a start that fails changes nothing"
        );
        flip(&journal, at);
    }
    server.start_again();
    assert_eq!(read_all(&server), (RECORDS, 0));
}

#[test]
fn a_torn_tail_of_the_journal_is_cut_with_a_warning() {
    let mut server = killed();
    let journal = server.data().join("journal");
    let good = fs::read(&journal).unwrap();
    // Space that the file system gave, and nothing was written to.
    fs::write(&journal, [&good[..], &[0; 100]].concat()).unwrap();
    server.start_again();
    assert_eq!(read_all(&server), (RECORDS, 0));
    let warns = |server: &Server| {
        let said = server.said_since_start();
        assert!(said.contains("had cut short"), "a warning: {said}");
    };
    warns(&server);
    server.kill();
    // The last record is short: it was never acknowledged.
    fs::write(&journal, &good[..good.len() - 3]).unwrap();
    server.start_again();
    warns(&server);
    let version = server.dataset(D)["current"].as_u64().unwrap();
    // Whichever is current: a version that is ready is activated soon after the start.
    let path = format!("/v1/datasets/{D}/keys/{}?version={version}", key(3));
    assert_eq!(server.get_path(&path).expect(200).text(), value(D, version, 3));
    server.pushed(D, &rows(D, 3, RECORDS));
}

/// Damage does not mend itself: a release that failed for it would hold the dataset for good.
#[test]
fn a_release_passes_over_a_version_that_is_damaged() {
    let mut server = Server::start();
    server.pushed(D, &rows(D, 1, 100));
    server.operate(D, "hold", &json!({})).expect(200);
    for version in 2..=3 {
        let held = server.push(D, &rows(D, version, 100)).expect(202).json();
        assert_eq!(held["state"], "ready", "{held}");
    }
    server.kill();
    let manifest = file_of(&server, 3, "manifest.json");
    flip(&manifest, size(&manifest) / 2);
    start_damaged(&mut server);
    // The next one that waited, and after it none.
    for activated in [json!({ "from": 1, "to": 2 }), json!(null)] {
        let released = server.operate(D, "release", &json!({})).expect(200).json();
        assert_eq!(released["activated"], activated, "{released}");
        assert_eq!(released["passed_over"][0]["version"], 3, "{released}");
        assert!(released["detail"].as_str().unwrap().contains("version 3"), "{released}");
        let dataset = server.dataset(D);
        assert_eq!((&dataset["held"], &dataset["current"]), (&json!(false), &json!(2)));
        server.operate(D, "hold", &json!({})).expect(200);
    }
    assert_eq!(server.get(D, &key(17)).expect(200).text(), value(D, 2, 17));
}

/// A push that is ready and could not be activated is no success, whoever asks for it.
#[test]
fn a_push_that_could_not_be_activated_says_why() {
    let mut server = Server::start();
    server.pushed(D, &rows(D, 1, 100));
    server.operate(D, "hold", &json!({})).expect(200);
    let path = format!("/v1/datasets/{D}/push?key=k&format=ndjson");
    let body = rows(D, 2, 100);
    let push = |server: &Server| {
        server.send("POST", &path, &[("idempotency-key", "run-2")], body.as_bytes())
    };
    assert_eq!(push(&server).expect(202).json()["state"], "ready");
    server.kill();
    let manifest = file_of(&server, 2, "manifest.json");
    flip(&manifest, size(&manifest) / 2);
    start_damaged(&mut server);
    server.operate(D, "release", &json!({})).expect(200);

    // Its activation is due at the next start, and fails.
    server.restart();
    eventually("its push is at its end", || {
        let version = server.dataset(&format!("{D}/versions/2?wait=30"));
        assert_eq!(version["state"], "ready", "{version}");
        version["progress"].is_null() && version["code"] == "version_unusable"
    });
    let version = server.dataset(&format!("{D}/versions/2"));
    assert!(version["detail"].as_str().is_some_and(|text| !text.is_empty()), "{version}");
    let problem = push(&server).problem(503, "version_unusable");
    assert_eq!(problem["version"], 2, "{problem}");
    assert_eq!(server.get(D, &key(17)).expect(200).version(), 1);
    // Once it does not matter any more, nothing is said of it but why it is not served.
    server.pushed(D, &rows(D, 3, 100));
    let version = server.dataset(&format!("{D}/versions/2"));
    assert_eq!(version["code"], json!(null), "{version}");
    assert!(version["detail"].as_str().unwrap().contains("began after"), "{version}");
}
