//! Webhooks: what the journal has committed is told, signed, again until it is taken, and to
//! whom it concerns. A receiver that is dead holds nothing up.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::a_damaged_version_is_found_and_not_activated::{file, flip, verify};
use crate::data::rows;
use crate::harness::{Server, eventually, scratch};

const SECRET: &str = "5ecret-0123456789-abcdef";

/// One request as it came.
#[derive(Clone, Debug)]
struct Told {
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Told {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn event(&self) -> String {
        self.json()["event"].as_str().unwrap().to_owned()
    }

    /// The signature as any receiver would compute it, with nothing but SHA-256.
    fn signature(&self) -> String {
        let signed = [
            self.headers["webhook-id"].as_bytes(),
            b".",
            self.headers["webhook-timestamp"].as_bytes(),
            b".",
            &self.body,
        ]
        .concat();
        let mut block = [0_u8; 64];
        block[..SECRET.len()].copy_from_slice(SECRET.as_bytes());
        let keyed = |pad: u8, data: &[u8]| {
            let key: Vec<u8> = block.iter().map(|byte| byte ^ pad).collect();
            Sha256::digest([&key, data].concat())
        };
        let mac = keyed(0x5c, &keyed(0x36, &signed));
        format!("v1,{}", STANDARD.encode(mac))
    }

    #[track_caller]
    fn assert_signed(&self) {
        assert_eq!(self.headers["webhook-signature"], self.signature());
        assert_eq!(self.headers["webhook-id"], self.json()["id"].as_str().unwrap());
    }
}

/// Somebody who is told. Lives as long as the test's process.
struct Receiver {
    address: SocketAddr,
    told: Arc<Mutex<Vec<Told>>>,
}

impl Receiver {
    /// Answers the n-th request, counted from 0, with `status(n)`; 0: never.
    fn answering(status: impl Fn(usize) -> u16 + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let told = Arc::new(Mutex::new(Vec::new()));
        let telling = Arc::clone(&told);
        std::thread::spawn(move || {
            let mut silent = Vec::new();
            for (number, stream) in listener.incoming().enumerate() {
                let mut stream = stream.unwrap();
                let status = status(number);
                if status == 0 {
                    silent.push(stream);
                    continue;
                }
                // A server that was killed meanwhile sends nothing.
                let Some(request) = read_request(&stream) else { continue };
                telling.lock().unwrap().push(request);
                let _ = write!(
                    stream,
                    "HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
                );
            }
        });
        Self { address, told }
    }

    fn told(&self) -> Vec<Told> {
        self.told.lock().unwrap().clone()
    }

    /// (event, dataset, version) of each notice that came, in the order of the journal, each id
    /// once.
    fn notices(&self) -> Vec<(String, String, Value)> {
        let by_id: BTreeMap<String, Value> = self
            .told()
            .iter()
            .map(|told| (told.headers["webhook-id"].clone(), told.json()))
            .collect();
        let mut all: Vec<Value> = by_id.into_values().collect();
        all.sort_by_key(|notice| notice["seq"].as_u64());
        let text = |notice: &Value, name: &str| notice[name].as_str().unwrap().to_owned();
        all.iter().map(|n| (text(n, "event"), text(n, "dataset"), n["version"].clone())).collect()
    }

    fn section(&self, more: &str) -> String {
        format!(
            "[[webhooks]]\nurl = \"http://{}/hook\"\nsecret = \"{SECRET}\"\n{more}\n",
            self.address
        )
    }
}

fn read_request(stream: &TcpStream) -> Option<Told> {
    let mut from = BufReader::new(stream);
    let mut headers = BTreeMap::new();
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        from.read_line(&mut line).ok().filter(|n| *n > 0)?;
        if let Some((name, value)) = line.split_once(": ") {
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
    }
    let mut body = vec![0; headers["content-length"].parse().unwrap()];
    from.read_exact(&mut body).ok()?;
    Some(Told { headers, body })
}

/// A server that tells these receivers. The directory holds its settings.
fn telling(sections: &[String]) -> (Server, TempDir) {
    let dir = scratch();
    let file = dir.path().join("tidetable.toml");
    std::fs::write(&file, sections.concat()).unwrap();
    (Server::start_with(&["--config", file.to_str().unwrap()]), dir)
}

fn row(n: u64) -> String {
    format!("{{\"k\":1,\"n\":{n}}}\n")
}

fn metric(server: &Server, outcome: &str) -> u64 {
    let page = server.get_path("/metrics").text();
    let name = format!("tidetable_webhooks_total{{outcome=\"{outcome}\"}} ");
    page.lines().find_map(|line| line.strip_prefix(&name)).unwrap().parse().unwrap()
}

#[test]
fn each_thing_is_told_once_it_is_taken_and_signed() {
    // The first is refused, the second redirected elsewhere, the third is lost on the way.
    let receiver = Receiver::answering(|number| *[500, 307, 502].get(number).unwrap_or(&204));
    let (server, _settings) = telling(&["log_level = \"trace\"\n".into(), receiver.section("")]);
    server.pushed("recs", &row(1));
    server.pushed("recs", &row(2));
    server.operate("recs", "rollback", &json!({ "reason": "wrong", "hold": false })).expect(200);
    server.push("recs", "{\"no\":\"key\"}\n").problem(422, "bad_rows");
    server.configure("recs", &json!({ "gates": { "min_records": 2 } }));
    server.push("recs", &row(3)).problem(422, "gate_refused");
    let expected =
        [("activated", 1), ("activated", 2), ("rolled_back", 1), ("failed", 3), ("rejected", 4)];
    let expected: Vec<_> =
        expected.map(|(event, v)| (event.to_owned(), "recs".to_owned(), json!(v))).into();
    eventually("everything was told", || receiver.notices().len() >= expected.len());
    eventually("everything was taken", || metric(&server, "delivered") == 5);
    assert_eq!(receiver.notices(), expected);
    assert_eq!((metric(&server, "failed"), metric(&server, "dropped")), (3, 0));
    let told = receiver.told();
    assert_eq!(told.len(), 8, "three came again, under their ids");
    told.iter().for_each(Told::assert_signed);
    let rolled_back = told.iter().find(|told| told.event() == "rolled_back").unwrap().json();
    assert_eq!((&rolled_back["from"], &rolled_back["reason"]), (&json!(2), &json!("wrong")));
    let log = server.said();
    assert!(log.contains("was not taken") && log.contains("delivered again"), "{log}");
    assert!(!log.contains(SECRET) && !log.contains("/hook"), "neither secret nor path is logged");
}

#[test]
fn a_dead_receiver_holds_up_neither_pushes_nor_other_receivers() {
    let dead = Receiver::answering(|_| 0);
    let well = Receiver::answering(|_| 200);
    let (mut server, _settings) = telling(&[dead.section(""), well.section("")]);
    for n in 1..=5 {
        assert_eq!(server.pushed("recs", &row(n)), n);
    }
    eventually("the other is told", || well.notices().len() == 5);
    // Nor the end of the server, which loses what the dead one was to be told.
    server.terminate();
    assert!(server.wait().success());
    assert!(server.said().contains("webhooks that could not be delivered are lost"));
}

#[test]
fn a_receiver_is_told_of_what_it_asked_for() {
    let events = Receiver::answering(|_| 200);
    let datasets = Receiver::answering(|_| 200);
    let (server, _settings) = telling(&[
        events.section("events = [\"failed\", \"rejected\"]"),
        datasets.section("datasets = [\"facts\"]"),
    ]);
    server.pushed("recs", &row(1));
    server.push("recs", "{}\n").problem(422, "bad_rows");
    server.pushed("facts", &row(1));
    server.push("facts", "{}\n").problem(422, "bad_rows");
    let all = |receiver: &Receiver| {
        let notices = receiver.notices();
        notices.iter().map(|(e, d, v)| format!("{e} {d} {v}")).collect::<Vec<_>>()
    };
    eventually("they are told", || all(&events).len() + all(&datasets).len() >= 4);
    assert_eq!(all(&events), ["failed recs 2", "failed facts 2"]);
    assert_eq!(all(&datasets), ["activated facts 1", "failed facts 2"]);
}

#[test]
fn no_receiver_is_told_a_key_or_a_value() {
    let receiver = Receiver::answering(|_| 200);
    let (server, _settings) = telling(&[receiver.section("")]);
    let lookup = json!({ "key": "learner-77", "fields": { "grade": "A" } });
    let gates = json!({ "required_keys": ["learner-1"], "sample_lookups": [lookup] });
    server.configure("recs", &json!({ "gates": gates }));
    let secret = "{\"k\":\"learner-77\",\"grade\":\"F-SECRET\"}\n".to_owned();
    let other = secret.replace("F-", "G-");
    server.push("recs", &secret).problem(422, "gate_refused");
    server.push("recs", &[secret, other].concat()).problem(422, "duplicate_keys");
    server.push("recs", "{\"k\":2.5,\"grade\":\"F-SECRET\"}\n").problem(422, "bad_rows");
    eventually("all are told", || receiver.notices().len() == 3);
    for told in receiver.told() {
        let notice = told.json();
        let reason = notice["reason"].as_str().unwrap();
        assert!(reason.contains("1 ") && !reason.contains("2.5"), "it says how many: {notice}");
        let said = notice.to_string();
        assert!(!said.contains("learner-") && !said.contains("SECRET"), "{notice}");
    }
}

#[test]
fn several_datasets_that_swap_together_are_a_notice_each() {
    let receiver = Receiver::answering(|_| 200);
    let (server, _settings) = telling(&[receiver.section("")]);
    for name in ["recs", "facts"] {
        server.push_with(name, "key=k&format=ndjson&activate=false", row(1).as_bytes()).expect(201);
    }
    let both = ["recs", "facts"].map(|name| json!({ "dataset": name, "version": 1 }));
    server.post("/v1/activate", &json!({ "activations": both })).expect(200);
    eventually("both are told", || receiver.notices().len() == 2);
    let told = receiver.told();
    assert_eq!(told[0].json()["seq"], told[1].json()["seq"]);
    assert_eq!(told[0].event(), "activated");
}

#[test]
fn damage_is_told_once_whichever_reading_finds_it() {
    let asked_for = "scrub_interval = \"0s\"\n";
    let by_itself = "scrub_interval = \"1s\"\nscrub_rate = \"100MiB/s\"\n";
    for settings in [asked_for, by_itself] {
        let receiver = Receiver::answering(|_| 200);
        let section = receiver.section("events = [\"damaged\"]");
        let (server, _settings) = telling(&[settings.to_owned(), section]);
        for version in [1, 2] {
            server.pushed("recs", &rows("recs", version, 3_000));
        }
        for version in [1, 2] {
            flip(&file(&server, version, "000001.sst"), 5_000);
            // The second reading finds nothing new: nothing is told between the two versions.
            let readings = if settings == asked_for { 2 } else { 0 };
            for _ in 0..readings {
                assert_eq!(verify(&server, version)["sound"], false);
            }
            eventually("it is told", || receiver.told().len() as u64 >= version);
        }
        let told = receiver.told();
        told.iter().for_each(Told::assert_signed);
        let notices: Vec<Value> = told.iter().map(Told::json).collect();
        let about = |n: &Value| (n["event"].clone(), n["dataset"].clone(), n["version"].clone());
        let expected = [1, 2].map(|version| (json!("damaged"), json!("recs"), json!(version)));
        assert_eq!(notices.iter().map(about).collect::<Vec<_>>(), expected, "{settings}");
        for notice in &notices {
            assert!(notice["reason"].as_str().unwrap().contains("000001.sst"), "{notice}");
            assert_eq!(notice["seq"], json!(null), "it stands in no journal: {notice}");
        }
    }
}

#[test]
fn what_waits_is_delivered_before_a_stop_and_a_start_tells_what_it_ended() {
    let receiver = Receiver::answering(|_| 200);
    let (mut server, _settings) = telling(&[receiver.section("")]);
    server.pushed("recs", &row(1));
    server.terminate();
    assert!(server.wait().success());
    assert_eq!(receiver.notices().len(), 1);
    // A push of which half has come when the server is killed.
    server.start_again();
    let mut stream = TcpStream::connect(server.address()).unwrap();
    let head = "POST /v1/datasets/recs/push?key=k&format=ndjson HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n{";
    stream.write_all(head.as_bytes()).unwrap();
    eventually("the push has begun", || {
        server.dataset("recs/versions")["versions"][0]["version"] == 2
    });
    server.restart();
    eventually("its end is told", || receiver.notices().len() == 2);
    assert_eq!(receiver.notices()[1], ("failed".to_owned(), "recs".to_owned(), json!(2)));
}

#[test]
fn a_test_says_of_each_receiver_what_came_of_it() {
    let well = Receiver::answering(|_| 200);
    let ill = Receiver::answering(|_| 403);
    let (server, _settings) = telling(&[well.section("events = [\"stale\"]"), ill.section("")]);
    let answer = server.post("/v1/webhooks/test", &json!({})).expect(200).json();
    let receiver = |r: &Receiver| format!("http://{}", r.address);
    let expected = json!({ "receivers": [
        { "receiver": receiver(&well), "delivered": true, "status": 200, "detail": null },
        { "receiver": receiver(&ill), "delivered": false, "status": 403, "detail": "it was answered 403" },
    ]});
    assert_eq!(answer, expected);
    let told = &well.told()[0];
    told.assert_signed();
    assert_eq!(told.event(), "test");
    server.post("/v1/webhooks/test", &json!({ "x": 1 })).problem(400, "unknown_field");
    let none = Server::start();
    assert_eq!(none.post("/v1/webhooks/test", &json!({})).json(), json!({ "receivers": [] }));
}

/// The verification that the documentation gives, run as it stands there.
#[test]
fn the_verification_of_the_documentation_accepts_ours_and_no_other() {
    let receiver = Receiver::answering(|_| 200);
    let (server, _settings) = telling(&[receiver.section("")]);
    server.pushed("recs", &row(1));
    eventually("it is told", || !receiver.told().is_empty());
    let page = include_str!("../../docs/operations.md");
    let code = page.split("```python\n").nth(1).expect("the page has it");
    let code = code.split("```").next().unwrap();
    let verify = |told: &Told, secret: &str| {
        let program = format!(
            "{code}\nimport json, sys\nasked = json.load(sys.stdin)\n\
             print(verify(asked['secret'].encode(), asked['headers'], asked['body'].encode()))"
        );
        let asked = json!({
            "secret": secret, "headers": told.headers,
            "body": String::from_utf8(told.body.clone()).unwrap(),
        });
        let mut python = Command::new("python3");
        let mut python = python
            .args(["-c", &program])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("these tests need python3");
        python.stdin.take().unwrap().write_all(asked.to_string().as_bytes()).unwrap();
        let output = python.wait_with_output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let told = receiver.told().remove(0);
    assert_eq!(verify(&told, SECRET), "True");
    assert_eq!(verify(&told, "another-secret-0123456789"), "False");
    let mut forged = told.clone();
    forged.body = told.body.iter().map(|b| if *b == b'1' { b'2' } else { *b }).collect();
    assert_eq!(verify(&forged, SECRET), "False");
    // Signed anew with the right secret, so that nothing but its age is wrong with the old one.
    let sent_at = |timestamp: &str| {
        let mut other = told.clone();
        other.headers.insert("webhook-timestamp".to_owned(), timestamp.to_owned());
        other.headers.insert("webhook-signature".to_owned(), other.signature());
        other
    };
    let now = told.headers["webhook-timestamp"].parse::<u64>().unwrap();
    assert_eq!(verify(&sent_at(&(now - 1).to_string()), SECRET), "True");
    assert_eq!(verify(&sent_at("1700000000"), SECRET), "False");
}

#[test]
fn a_mistake_in_the_settings_is_told_at_the_start() {
    let dir = scratch();
    let file = dir.path().join("tidetable.toml");
    std::fs::write(&file, "[[webhooks]]\nurl = \"https://a.example/\"\nsecret = \"short\"\n")
        .unwrap();
    let data = dir.path().join("data");
    let mut command = crate::harness::serve_command(&data, &[]);
    let output = command.args(["--config", file.to_str().unwrap()]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("tidetable.toml:3: the secret has 5 bytes"), "{said}");
    assert!(!output.status.success());
}
