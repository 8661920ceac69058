//! After an activation the new version is watched against the one before. If it does worse
//! under live lookups, that is told or rolled back, as the dataset's settings say; lookups of
//! keys that no version ever had say nothing; a restart goes on; what a person does wins.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::ops::Range;

use serde_json::{Value, json};

use crate::data::{key, rows};
use crate::harness::{Server, eventually, tidetable};
use crate::http::Client;

const D: &str = "recs";
/// Records of each version. Gates that compare shares leave so few alone.
const RECORDS: usize = 50;

/// Watched with so many lookups at least; the window is left at ten minutes.
fn watched(server: &Server, dataset: &str, mode: &str, min_lookups: u64) {
    let limits = json!({ "min_lookups": min_lookups });
    server.configure(dataset, &json!({ "watch": mode, "watch_limits": limits }));
}

/// The rows of a job that has got the prefix of its keys wrong.
fn misnamed(dataset: &str, version: u64) -> String {
    rows(dataset, version, RECORDS).replace("learner:", "user:")
}

/// So many lookups of keys with this prefix.
fn look_up(client: &mut Client, dataset: &str, prefix: &str, lookups: usize) {
    for n in 0..lookups {
        let path = format!("/v1/datasets/{dataset}/keys/{prefix}:{:07}", n % RECORDS);
        assert!(matches!(client.get(&path).unwrap().status, 200 | 404));
    }
}

fn watch(server: &Server, dataset: &str) -> Value {
    server.dataset(dataset)["watch"].clone()
}

/// The value of a sample on the page of metrics.
fn sample(server: &Server, name: &str) -> String {
    let page = server.get_path("/metrics").expect(200).text();
    let line = page.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap_or_else(|| panic!("no {name} in {page}")).trim().to_owned()
}

/// Versions 1 and 2, of which the second has the wrong keys.
fn went_wrong(server: &Server, dataset: &str) {
    server.pushed(dataset, &rows(dataset, 1, RECORDS));
    server.pushed(dataset, &misnamed(dataset, 2));
}

fn assert_rolled_back(server: &Server) {
    let dataset = server.dataset(D);
    assert_eq!((&dataset["current"], &dataset["state"]), (&json!(1), &json!("rolled_back")));
    assert_eq!(
        (&dataset["held"], &dataset["hold"]["actor"]),
        (&json!(true), &json!("tidetable-watch"))
    );
    let watch = &dataset["watch"];
    assert_eq!((&watch["version"], &watch["against"]), (&json!(2), &json!(1)), "{watch}");
    assert_eq!(watch["verdict"], "fell", "{watch}");
    let detail = watch["detail"].as_str().unwrap();
    assert!(detail.contains("the hit rate fell by 100.0 points"), "{watch}");
    assert!(detail.ends_with("rolled back to version 1"), "{watch}");
    let bad = server.dataset(&format!("{D}/versions/2"));
    assert_eq!(bad["state"], "bad", "{bad}");
    assert!(bad["reason"].as_str().unwrap().contains("did worse than version 1"), "{bad}");
    let events = server.dataset(&format!("{D}/history"))["events"].clone();
    let events = events.as_array().unwrap().iter();
    let rollbacks: Vec<_> = events.filter(|event| event["event"] == "rolled_back").collect();
    assert_eq!(rollbacks.len(), 1, "{rollbacks:?}");
    assert_eq!(rollbacks[0]["actor"], "tidetable-watch", "{rollbacks:?}");
    assert_eq!((&rollbacks[0]["from"], &rollbacks[0]["to"]), (&json!(2), &json!(1)));
}

#[test]
fn a_version_with_another_key_prefix_is_rolled_back_by_itself() {
    let server = Server::start();
    watched(&server, D, "roll_back", 200);
    server.pushed(D, &rows(D, 1, RECORDS));
    assert_eq!(server.dataset(D)["watch"], json!(null), "there is nothing to compare with");
    server.pushed(D, &misnamed(D, 2));
    let begun = server.dataset(D);
    assert_eq!(
        (&begun["watch"]["verdict"], &begun["state"]),
        (&json!("watching"), &json!("healthy"))
    );
    assert_eq!(begun["watch"]["since"], begun["activated_at"]);
    let mut client = server.client();
    eventually("it is rolled back", || {
        look_up(&mut client, D, "learner", 100);
        server.dataset(D)["current"] == 1
    });
    assert_rolled_back(&server);
    assert_eq!(sample(&server, "tidetable_watch_alarms_total{dataset=\"recs\"}"), "1");
    assert_eq!(sample(&server, "tidetable_watch_fell{dataset=\"recs\"}"), "1");
    assert!(server.said().contains("a new version does worse"), "{}", server.said());
    let address = format!("http://{}", server.address());
    let output = tidetable(&["datasets", "--server", &address]).output().unwrap();
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(table.contains("rolled back") && table.contains("did worse than version 1"), "{table}");

    // It does not come back by a retry; what is right waits for a person.
    server.push(D, &misnamed(D, 2)).problem(422, "gate_refused");
    server.push(D, &rows(D, 4, RECORDS)).expect(202);
    server.operate(D, "release", &json!({})).expect(200);
    let good = server.dataset(D);
    assert_eq!((&good["current"], &good["state"]), (&json!(4), &json!("healthy")));
    assert_eq!((&good["watch"]["version"], &good["watch"]["against"]), (&json!(4), &json!(1)));
    eventually("the alarm is over", || {
        sample(&server, "tidetable_watch_fell{dataset=\"recs\"}") == "0"
    });
}

#[test]
fn batches_are_watched_too() {
    let server = Server::start();
    watched(&server, D, "roll_back", 500);
    went_wrong(&server, D);
    let keys: Vec<String> = (0..RECORDS).map(|n| format!("learner:{n:07}")).collect();
    eventually("it is rolled back", || {
        server.batch(D, &keys).expect(200);
        server.dataset(D)["current"] == 1
    });
    assert_rolled_back(&server);
}

#[test]
fn a_version_whose_data_is_damaged_is_rolled_back() {
    let server = Server::start();
    watched(&server, D, "roll_back", 100);
    server.pushed(D, &rows(D, 1, RECORDS));
    server.pushed(D, &rows(D, 2, RECORDS));
    let table = server.data().join("datasets").join(D).join("2/000001.sst");
    let mut file = File::options().read(true).write(true).open(&table).unwrap();
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).unwrap();
    // In place: the server has this very file open.
    let half = bytes.len() / 2;
    bytes[..half].iter_mut().step_by(16).for_each(|byte| *byte ^= 0x10);
    file.seek(SeekFrom::Start(0)).unwrap();
    file.write_all(&bytes).unwrap();
    let (mut client, mut damaged) = (server.client(), 0);
    eventually("it is rolled back", || {
        for n in 0..RECORDS {
            let reply = client.get(&format!("/v1/datasets/{D}/keys/{}", key(n))).unwrap();
            damaged += usize::from(reply.status == 500);
        }
        server.dataset(D)["current"] == 1
    });
    assert!(damaged > 0);
    let fell = watch(&server, D);
    let detail = fell["detail"].as_str().unwrap();
    assert!(detail.contains("% of the lookups failed ("), "{fell}");
    assert_eq!(server.dataset(&format!("{D}/versions/2"))["state"], "bad");
}

/// The three modes side by side: what is done to one of them tells that the others have been
/// looked at, too.
#[test]
fn who_does_not_ask_for_it_is_not_rolled_back() {
    let mut server = Server::start();
    let modes = ["off", "tell", "roll_back"];
    for mode in modes {
        watched(&server, mode, mode, 200);
        went_wrong(&server, mode);
    }
    let mut client = server.client();
    eventually("two of three have fallen", || {
        modes.iter().for_each(|mode| look_up(&mut client, mode, "learner", 100));
        watch(&server, "tell")["verdict"] == "fell"
            && watch(&server, "roll_back")["verdict"] == "fell"
    });
    eventually("what is to be rolled back is", || server.dataset("roll_back")["current"] == 1);
    drop(client);
    for restart in [false, true] {
        if restart {
            server.restart();
        }
        let told = server.dataset("tell");
        assert_eq!((&told["current"], &told["held"]), (&json!(2), &json!(false)), "{told}");
        eventually("the page says so", || {
            sample(&server, "tidetable_watch_fell{dataset=\"tell\"}") == "1"
        });
        assert_eq!(
            (&told["watch"]["version"], &told["watch"]["verdict"]),
            (&json!(2), &json!("fell"))
        );
        let off = server.dataset("off");
        assert_eq!((&off["current"], &off["watch"]), (&json!(2), &json!(null)), "{off}");
        assert_eq!(sample(&server, "tidetable_watch_alarms_total{dataset=\"off\"}"), "0");
        let gone_back = server.dataset("roll_back");
        assert_eq!(gone_back["current"], 1, "{gone_back}");
        assert_eq!(gone_back["watch"]["verdict"], "fell", "{gone_back}");
    }
    // The next activation ends what is told.
    server.pushed("tell", &rows("tell", 3, RECORDS));
    let next = watch(&server, "tell");
    assert_eq!((&next["version"], &next["verdict"]), (&json!(3), &json!("watching")), "{next}");
}

#[test]
fn a_flood_of_keys_that_no_version_ever_had_does_not_set_it_off() {
    let server = Server::start();
    // Long enough for two rounds of the flood on a machine that is busy with other tests.
    let limits = json!({ "min_lookups": 20, "window_seconds": 15, "max_hit_rate_drop": 1 });
    server.configure(D, &json!({ "watch": "roll_back", "watch_limits": limits }));
    server.pushed(D, &rows(D, 1, RECORDS));
    server.pushed(D, &rows(D, 2, RECORDS));
    let (mut client, mut asked) = (server.client(), 0);
    let flood: Vec<String> = (0..500).map(|n| format!("nobody:{n}")).collect();
    eventually("the window ends", || {
        look_up(&mut client, D, "learner", 200);
        look_up(&mut client, D, "nobody", 300);
        server.batch(D, &flood).expect(200);
        asked += 1;
        watch(&server, D)["verdict"] != "watching"
    });
    let end = server.dataset(D);
    assert_eq!((&end["current"], &end["watch"]["verdict"]), (&json!(2), &json!("well")), "{end}");
    assert!(end["watch"]["lookups"].as_u64().unwrap() >= 1000, "{end}");
    assert!(asked > 1, "the flood was on while it was watched");
    let detail = end["watch"]["detail"].as_str().unwrap();
    let sampled = detail.split_once("; by ").and_then(|(_, rest)| rest.split(' ').next());
    assert!(sampled.unwrap().parse::<u64>().unwrap() >= 20, "enough for a verdict: {detail}");
    assert_eq!(sample(&server, "tidetable_watch_alarms_total{dataset=\"recs\"}"), "0");
}

/// Each thread leaves at most 512 keys a second: those of the job are as many as all others.
#[test]
fn one_small_job_that_asks_for_removed_keys_does_not_set_it_off() {
    let server = Server::start_with(&["--threads", "2"]);
    server.configure(D, &json!({ "watch": "roll_back" }));
    server.pushed(D, &rows(D, 1, 2000));
    server.pushed(D, &rows(D, 2, 1100));
    // Two connections that are open at once, so that each is another thread's.
    let (mut readers, mut job) = (server.client(), server.client());
    for client in [&mut readers, &mut job] {
        client.get("/livez").unwrap().expect(200);
    }
    let path = format!("/v1/datasets/{D}/batch-get");
    let batch = |keys: Range<usize>| json!({ "keys": keys.map(key).collect::<Vec<_>>() });
    for _ in 0..30 {
        readers.post(&path, &batch(0..1000)).unwrap().expect(200);
    }
    job.post(&path, &batch(1100..1612)).unwrap().expect(200);
    eventually("all are counted", || watch(&server, D)["lookups"] == 30_512);
    // What is counted may be compared at the next look only: at one that knows of this lookup.
    look_up(&mut readers, D, "learner", 1);
    eventually("all are compared", || watch(&server, D)["lookups"] == 30_513);
    let end = server.dataset(D);
    assert_eq!((&end["current"], &end["held"]), (&json!(2), &json!(false)), "{end}");
    assert_eq!(end["watch"]["verdict"], "watching", "{end}");
    let detail = end["watch"]["detail"].as_str().unwrap();
    assert!(detail.contains("and 1 had 100.0 %"), "{detail}");
}

#[test]
fn a_restart_within_the_window_goes_on_with_what_was_seen() {
    let mut server = Server::start();
    watched(&server, D, "roll_back", 400);
    went_wrong(&server, D);
    eventually("the watch has begun", || server.data().join("watches").exists());
    look_up(&mut server.client(), D, "learner", 300);
    eventually("they are counted", || watch(&server, D)["lookups"] == 300);
    let before = watch(&server, D);
    server.terminate();
    assert!(server.wait().success());
    server.start_again();
    let after = watch(&server, D);
    for field in ["version", "against", "since", "until", "lookups", "verdict"] {
        assert_eq!(after[field], before[field], "{field}: {after}");
    }
    // With what is missing yet it falls.
    look_up(&mut server.client(), D, "learner", 100);
    eventually("it is rolled back", || server.dataset(D)["current"] == 1);
    assert_eq!(watch(&server, D)["lookups"], 400);
    assert_rolled_back(&server);
    // And a crash does not undo it, nor do it again.
    server.restart();
    assert_rolled_back(&server);
}

#[test]
fn a_crash_within_the_window_does_not_end_the_watch() {
    let mut server = Server::start();
    watched(&server, D, "roll_back", 200);
    went_wrong(&server, D);
    let since = watch(&server, D)["since"].clone();
    server.restart();
    std::fs::write(server.data().join("watches"), b"damaged").unwrap();
    server.restart();
    assert_eq!(watch(&server, D)["since"], since, "the journal knows when it began");
    let mut client = server.client();
    eventually("it is rolled back", || {
        look_up(&mut client, D, "learner", 100);
        server.dataset(D)["current"] == 1
    });
    assert_rolled_back(&server);
}

#[test]
fn what_a_person_activates_meanwhile_stays() {
    let server = Server::start();
    let limits = json!({ "min_lookups": 200, "window_seconds": 4 });
    server.configure(D, &json!({ "watch": "roll_back", "watch_limits": limits }));
    server.pushed(D, &rows(D, 1, RECORDS));
    let query = "key=k&format=ndjson&activate=false";
    server.push_with(D, query, rows(D, 2, RECORDS).as_bytes()).expect(201);
    server.pushed(D, &misnamed(D, 3));
    let mut client = server.client();
    look_up(&mut client, D, "learner", 150);
    // Older than what is current: a person's decision, whatever the watch will think of it.
    server.operate(D, "activate", &json!({ "version": 2, "expect_current": 3 })).expect(200);
    eventually("the window ends", || {
        look_up(&mut client, D, "learner", 100);
        watch(&server, D)["verdict"] != "watching"
    });
    let end = server.dataset(D);
    assert_eq!((&end["current"], &end["held"]), (&json!(2), &json!(false)), "{end}");
    assert_eq!((&end["watch"]["version"], &end["watch"]["verdict"]), (&json!(2), &json!("well")));
    assert!(server.events(D).iter().all(|event| event != "rolled_back"), "{end}");
}

#[test]
fn settings_that_mean_nothing_are_refused_and_nothing_is_changed() {
    let server = Server::start();
    server.pushed(D, &rows(D, 1, RECORDS));
    let before = server.dataset(D);
    let put = |body: &Value| {
        let json = [("content-type", "application/json")];
        server.send("PUT", &format!("/v1/datasets/{D}"), &json, body.to_string().as_bytes())
    };
    for bad in [
        json!({ "watch_limits": { "max_hit_rate_drop": 140 } }),
        json!({ "watch_limits": { "max_error_percent": -1 } }),
        json!({ "watch_limits": { "max_p99_factor": 0.5 } }),
        json!({ "watch_limits": { "min_lookups": 0 } }),
        json!({ "watch_limits": { "window_seconds": 0 } }),
        json!({ "expected_push_interval_seconds": 59 }),
    ] {
        put(&bad).problem(400, "invalid_setting");
    }
    assert_eq!(put(&json!({ "watch": "on" })).status, 400);
    put(&json!({ "watch_limits": { "window": 5 } })).problem(400, "unknown_field");
    assert_eq!(server.dataset(D), before);
    server.configure(D, &json!({ "expected_push_interval_seconds": 60 }));
    let set = server.dataset(D);
    let pushed = server.dataset(&format!("{D}/versions/1"));
    assert_eq!(
        (&set["stale"], &set["last_push_at"]),
        (&json!(false), &pushed["ready_at"]),
        "{set}"
    );
    for (name, value) in [("stale", "0"), ("expected_push_interval_seconds", "60")] {
        assert_eq!(sample(&server, &format!("tidetable_{name}{{dataset=\"recs\"}}")), value);
    }
    let at = sample(&server, "tidetable_last_push_timestamp_seconds{dataset=\"recs\"}");
    assert!(at.parse::<u64>().unwrap() > 1_700_000_000, "{at}");
}
