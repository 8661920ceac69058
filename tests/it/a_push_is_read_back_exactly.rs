//! Every record of a push comes back over HTTP byte for byte, whatever the order of the rows
//! was, before and after the server was killed; and there is no record that was not pushed.
//!
//! `TIDETABLE_TEST_RECORDS` sets how many records; `make test-million` runs it with 1,000,000.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::data::{Random, key, rows_in_order, value};
use crate::harness::Server;
use crate::http::Client;

#[test]
fn in_ascending_order() {
    a_push_is_read_back("ascending", |_| ());
}

#[test]
fn in_random_order() {
    a_push_is_read_back("random", |order| Random::new(1).shuffle(order));
}

#[test]
fn in_reverse_order() {
    a_push_is_read_back("reverse", <[usize]>::reverse);
}

fn a_push_is_read_back(dataset: &str, arrange: impl Fn(&mut [usize])) {
    let records = std::env::var("TIDETABLE_TEST_RECORDS").map_or(100_000, |n| n.parse().unwrap());
    let mut order: Vec<usize> = (0..records).collect();
    arrange(&mut order);
    let rows = rows_in_order(dataset, 1, order.iter().copied());

    let mut server = Server::start();
    let version = server.push(dataset, &rows).expect(201).json();
    drop(rows);
    assert_eq!(version["version"], 1);
    assert_eq!(version["records"], records);
    assert_eq!(version["duplicates_dropped"], 0);

    // Another order than any that was pushed.
    Random::new(2).shuffle(&mut order);
    read_everything(&server, dataset, &order);
    server.restart();
    read_everything(&server, dataset, &order);
    println!("{records} records of {dataset}, all read back, before and after a restart");
}

fn read_everything(server: &Server, dataset: &str, order: &[usize]) {
    let mut client = server.client();
    for some in order.chunks(1000) {
        in_one_batch(&mut client, dataset, some);
        // And some of them alone.
        for &i in some.iter().step_by(25) {
            let path = format!("/v1/datasets/{dataset}/keys/{}", key(i));
            let reply = client.get(&path).unwrap().expect(200);
            assert_eq!(reply.text(), value(dataset, 1, i));
        }
    }
    in_one_scan(&mut client, dataset, order.len());
}

#[derive(Deserialize)]
struct Batch<'a> {
    version: u64,
    #[serde(borrow)]
    results: Vec<Record<'a>>,
}

#[derive(Deserialize)]
struct Record<'a> {
    key: &'a str,
    /// As sent: its text is compared, not its meaning.
    #[serde(borrow)]
    value: Option<&'a RawValue>,
}

fn in_one_batch(client: &mut Client, dataset: &str, some: &[usize]) {
    let keys: Vec<String> = some.iter().map(|&i| key(i)).collect();
    let path = format!("/v1/datasets/{dataset}/batch-get");
    let reply = client.post(&path, &serde_json::json!({ "keys": keys })).unwrap().expect(200);
    let batch: Batch<'_> = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(batch.version, 1);
    assert_eq!(batch.results.len(), some.len());
    for (record, &i) in batch.results.iter().zip(some) {
        assert_record(record, dataset, i);
    }
}

#[derive(Deserialize)]
struct Page<'a> {
    version: u64,
    #[serde(borrow)]
    records: Vec<Record<'a>>,
    next: Option<String>,
}

fn in_one_scan(client: &mut Client, dataset: &str, records: usize) {
    let mut cursor = String::new();
    let mut seen = 0;
    loop {
        let path = format!("/v1/datasets/{dataset}/scan?limit=1000{cursor}");
        let reply = client.get(&path).unwrap().expect(200);
        let page: Page<'_> = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(page.version, 1);
        assert!(page.records.len() <= 1000);
        for record in &page.records {
            assert_record(record, dataset, seen);
            seen += 1;
        }
        let Some(next) = page.next else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seen, records, "a scan passes every key once");
}

#[track_caller]
fn assert_record(record: &Record<'_>, dataset: &str, i: usize) {
    assert_eq!(record.key, key(i));
    let found = record.value.unwrap_or_else(|| panic!("{} is not found", record.key));
    assert_eq!(found.get(), value(dataset, 1, i));
}
