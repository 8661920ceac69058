//! The client against a stub. What it promises against a real server stands in `clients/conformance`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tidetable_client::{Client, ClientBuilder, Error, Lookup};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// A server that answers with these bytes in turn, and then again with the last; an empty answer
/// closes the connection.
struct Stub {
    address: String,
    /// The heads of the requests that came.
    heads: Arc<Mutex<Vec<String>>>,
}

impl Stub {
    async fn answering(answers: Vec<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let heads = Arc::new(Mutex::new(Vec::new()));
        let stub = Self { address, heads: Arc::clone(&heads) };
        tokio::spawn(async move {
            loop {
                let (mut connection, _) = listener.accept().await.unwrap();
                let (answers, heads) = (answers.clone(), Arc::clone(&heads));
                tokio::spawn(async move {
                    while let Some(head) = head(&mut connection).await {
                        let number = {
                            let mut heads = heads.lock().unwrap();
                            heads.push(head);
                            heads.len() - 1
                        };
                        let answer = &answers[number.min(answers.len() - 1)];
                        if answer.is_empty()
                            || connection.write_all(answer.as_bytes()).await.is_err()
                        {
                            return;
                        }
                        if answer.contains("Connection: close") {
                            return;
                        }
                    }
                });
            }
        });
        stub
    }

    fn client(&self) -> ClientBuilder {
        Client::builder().server(&self.address).token(None)
    }

    fn requests(&self) -> usize {
        self.heads.lock().unwrap().len()
    }
}

/// Reads a request: its head, in small letters, and its body away.
async fn head(connection: &mut TcpStream) -> Option<String> {
    Some(request(connection).await?.0)
}

/// Reads a request: its head, in small letters, and its body.
async fn request(connection: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(connection.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    connection.read_exact(&mut body).await.ok()?;
    Some((head, body))
}

fn answer(status: u16, kind: &str, headers: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nTidetable-Version: 3\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn json_answer(body: &str) -> String {
    answer(200, "application/json", "", body)
}

/// All keys of a batch, found.
fn batch_answer(body: &[u8]) -> String {
    let asked: Value = serde_json::from_slice(body).unwrap();
    let found = |key: &Value| json!({"key": key, "found": true, "value": 1});
    let results: Vec<Value> = asked["keys"].as_array().unwrap().iter().map(found).collect();
    json_answer(&json!({"version": 3, "results": results}).to_string())
}

#[tokio::test]
async fn an_entry_has_all_that_the_answer_says() {
    let headers = "ETag: \"e-1\"\r\nTidetable-As-Of: 2026-11-22T00:00:00Z\r\n";
    let stub = Stub::answering(vec![answer(200, "application/json", headers, "{\"a\":1}")]).await;
    let client = stub.client().token("tt_secret".to_owned()).build().unwrap();
    let entry = client.get_entry::<Value>("d", "k").await.unwrap().unwrap();
    assert_eq!(entry.value, json!({"a": 1}));
    assert_eq!((entry.version, entry.etag.as_deref()), (3, Some("\"e-1\"")));
    assert_eq!(entry.as_of.as_deref(), Some("2026-11-22T00:00:00Z"));
    assert!(stub.heads.lock().unwrap()[0].contains("authorization: bearer tt_secret"));
    assert!(!format!("{client:?} {:?}", client.dataset("d")).contains("secret"));
}

#[tokio::test]
async fn a_stored_null_is_told_from_an_absent_key() {
    let absent = answer(404, "application/problem+json", "", "{\"code\":\"key_not_found\"}");
    let stub = Stub::answering(vec![json_answer("null"), absent]).await;
    let client = stub.client().build().unwrap();
    assert_eq!(client.get::<Option<u64>>("d", "k").await.unwrap(), Some(None));
    assert_eq!(client.get::<Option<u64>>("d", "k").await.unwrap(), None);
}

#[tokio::test]
async fn a_value_of_another_type_is_told_and_not_asked_for_again() {
    let stub = Stub::answering(vec![json_answer("\"text\"")]).await;
    let client = stub.client().build().unwrap();
    let error = client.get::<u64>("d", "k").await.unwrap_err();
    assert!(matches!(error, Error::Decode { .. }), "{error}");
    assert_eq!(stub.requests(), 1);
}

#[tokio::test]
async fn a_body_without_an_end_is_no_value() {
    let endless = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTidetable-Version: 3\r\nConnection: close\r\n\r\nhal";
    let stub = Stub::answering(vec![endless.to_owned()]).await;
    let client = stub.client().max_tries(2).build().unwrap();
    let error = client.dataset("d").get_bytes("k").await.unwrap_err();
    assert!(matches!(error, Error::Connection { .. }), "{error}");
    assert_eq!(stub.requests(), 2);
}

#[tokio::test]
async fn a_connection_that_breaks_is_tried_three_times() {
    let stub = Stub::answering(vec![String::new()]).await;
    let error = stub.client().build().unwrap().get::<Value>("d", "k").await.unwrap_err();
    assert!(matches!(error, Error::Connection { .. }), "{error}");
    assert_eq!(stub.requests(), 3);
}

#[tokio::test]
async fn a_call_ends_within_its_time() {
    let half = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{";
    let stub = Stub::answering(vec![half.to_owned()]).await;
    let client = stub.client().total_timeout(Duration::from_millis(50)).build().unwrap();
    let error = client.get::<Value>("d", "k").await.unwrap_err();
    assert!(matches!(error, Error::Deadline { .. }), "{error}");
}

#[tokio::test]
async fn a_key_that_is_too_long_for_a_path_goes_in_a_body() {
    let key = "ü".repeat(30_000);
    let body = json!({"version": 3, "results": [{"key": key, "found": true, "value": 1}]});
    let stub = Stub::answering(vec![json_answer(&body.to_string())]).await;
    let entry = stub.client().build().unwrap().get_entry::<u64>("d", key).await.unwrap().unwrap();
    assert_eq!((entry.value, entry.version), (1, 3));
    assert!(stub.heads.lock().unwrap()[0].starts_with("post /v1/datasets/d/batch-get "));
}

#[tokio::test]
async fn a_large_batch_leaves_the_pool_to_lookups() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (chunks, mut came) = watch::channel(0_usize);
    let (looked, answered) = watch::channel(false);
    let chunks = Arc::new(chunks);
    tokio::spawn(async move {
        loop {
            let (mut connection, _) = listener.accept().await.unwrap();
            let (chunks, mut answered) = (Arc::clone(&chunks), answered.clone());
            tokio::spawn(async move {
                while let Some((head, body)) = request(&mut connection).await {
                    let mut number = 0;
                    let answer = if head.starts_with("get ") {
                        json_answer("1")
                    } else {
                        chunks.send_modify(|came| {
                            *came += 1;
                            number = *came;
                        });
                        batch_answer(&body)
                    };
                    // All chunks but the first wait until the lookup is answered.
                    if number > 1 {
                        answered.wait_for(|answered| *answered).await.unwrap();
                    }
                    if connection.write_all(answer.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    let client = Client::builder().server(address).token(None).pool_size(5).build().unwrap();
    let keys: Vec<String> = (0..20_000).map(|n| format!("k{n}")).collect();
    let batch = tokio::spawn({
        let (client, keys) = (client.clone(), keys.clone());
        async move { client.get_many::<u64>("d", keys).await }
    });
    came.wait_for(|came| *came >= 5).await.unwrap();
    assert_eq!(client.get::<u64>("d", "k").await.unwrap(), Some(1));
    assert_eq!(*came.borrow(), 5);
    looked.send_replace(true);
    assert_eq!(batch.await.unwrap().unwrap().len(), keys.len());
    assert_eq!(*came.borrow(), 20);
}

#[tokio::test]
async fn a_unit_of_its_own_goes_with_every_read_and_has_values_of_its_own() {
    let results = "\"version\":3,\"results\":[{\"key\":\"k\",\"found\":false}]";
    let stub = Stub::answering(vec![
        json_answer("1"),
        json_answer("2"),
        json_answer(&format!("{{{results}}}")),
        json_answer(&format!("{{\"answers\":[{{\"dataset\":\"d\",{results}}}]}}")),
        json_answer("{\"version\":3,\"records\":[],\"next\":null}"),
    ])
    .await;
    let builder = stub.client().unit("all of them".to_owned());
    let client = builder.cache(Duration::from_secs(60)).build().unwrap();
    let learner = client.for_unit("müller");
    for _ in 0..2 {
        assert_eq!(client.get::<u64>("d", "k").await.unwrap(), Some(1));
        assert_eq!(learner.get::<u64>("d", "k").await.unwrap(), Some(2));
    }
    assert!(learner.get_many::<u64>("d", ["k"]).await.unwrap().is_empty());
    let answers = learner.multi::<u64>([Lookup::new("d", ["k"])]).await.unwrap();
    assert!(answers[0].result.is_ok());
    assert!(learner.scan::<u64>("d", "").collect().await.unwrap().is_empty());
    let units: Vec<String> = stub
        .heads
        .lock()
        .unwrap()
        .iter()
        .flat_map(|head| head.lines().filter_map(|line| line.strip_prefix("tidetable-unit: ")))
        .map(str::to_owned)
        .collect();
    assert_eq!(units, ["all of them", "müller", "müller", "müller", "müller"]);
}

#[tokio::test]
async fn what_can_mean_nothing_is_refused_before_anything_is_sent() {
    let stub = Stub::answering(vec![json_answer("1")]).await;
    let client = stub.client().build().unwrap();
    for refused in [
        stub.client().unit("a\nb".to_owned()).build().map(|_| ()),
        stub.client().unit(String::new()).build().map(|_| ()),
        client.for_unit(" a").get::<Value>("d", "k").await.map(|_| ()),
        client.for_unit("ü".repeat(513)).get_many::<Value>("d", ["k"]).await.map(|_| ()),
        stub.client().token("a\r\nX: y".to_owned()).build().map(|_| ()),
        stub.client().max_tries(0).build().map(|_| ()),
        stub.client().total_timeout(Duration::ZERO).build().map(|_| ()),
        client.get::<Value>("d", "").await.map(|_| ()),
        client.get::<Value>("..", "k").await.map(|_| ()),
        client.get_many::<Value>("d", ["a".to_owned(), "x".repeat(65_537)]).await.map(|_| ()),
        client.dataset("d").fields(["a,b"]).get::<Value>("k").await.map(|_| ()),
    ] {
        assert!(matches!(refused, Err(Error::Usage(_))), "{refused:?}");
    }
    assert_eq!(stub.requests(), 0);
}
