//! `tidetable run`: what a job file says is what happens, to one dataset or several; what is
//! wrong with it is told with line and column before anything is sent; a run again changes
//! nothing; what is activated together is so all at one instant, or not at all.

use std::fs;
use std::process::Output;

use serde_json::{Value, json};

use crate::access;
use crate::data::rows;
use crate::harness::{Server, tidetable};

/// A server, and a directory with the files of a job beside it.
struct Scene {
    server: Server,
}

impl Scene {
    fn new(files: &[(&str, &str)]) -> Self {
        let scene = Self { server: Server::start() };
        fs::create_dir_all(scene.server.beside("jobs/out")).unwrap();
        files.iter().for_each(|(name, text)| scene.write(name, text));
        scene
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.server.beside("jobs").join(name), text).unwrap();
    }

    /// `tidetable run job.yaml`, from another directory than that of the file.
    fn run(&self, arguments: &[&str]) -> Output {
        let file = self.server.beside("jobs/job.yaml");
        let mut command = tidetable(&["run"]);
        command.arg(file).args(arguments).env("RUN_ID", "r-7").current_dir("/");
        let address = format!("http://{}", self.server.address());
        command.env("TIDETABLE_SERVER", address).output().unwrap()
    }

    /// The same, that must end with `code`: the document it prints.
    #[track_caller]
    fn document(&self, arguments: &[&str], code: i32) -> Value {
        let output = self.run(&[arguments, &["--json"]].concat());
        assert_eq!(output.status.code(), Some(code), "{}", text(&output));
        if code == 0 {
            assert!(output.stderr.is_empty(), "{}", text(&output));
        } else {
            let error: Value = serde_json::from_slice(&output.stderr).unwrap();
            assert_eq!(error["error"]["exit"], code);
        }
        serde_json::from_slice(&output.stdout).unwrap()
    }

    #[track_caller]
    fn ends(&self, arguments: &[&str], code: i32) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(code), "{}", text(&output));
        text(&output)
    }

    fn current(&self, dataset: &str) -> Value {
        self.server.dataset(dataset)["current"].clone()
    }

    /// The numbers of a dataset's versions.
    fn versions(&self, dataset: &str) -> usize {
        let versions = self.server.dataset(&format!("{dataset}/versions"));
        versions["versions"].as_array().unwrap().len()
    }
}

fn text(output: &Output) -> String {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8_lossy(&text).into_owned()
}

const GRADES: &str = "learner,course,grade\n7,sql,82\n7,ml,91\n9,sql,70\n";

#[test]
fn one_dataset_is_pushed_with_its_options_and_settings() {
    let job = "
datasets:
  grades:
    source: out/*.csv
    key: learner
    types: {grade: number}
    collect: true
    order-by: grade:desc
    limit: ${MOST:-20}
    label: ${RUN_ID}
    as_of: 2026-11-23T00:00:00Z
    retain: 5
    gates: {min_records: 2}
";
    let scene = Scene::new(&[("job.yaml", job), ("out/grades.csv", GRADES)]);
    let said = scene.ends(&[], 0);
    assert!(
        said.contains("grades: settings changed: gates.min_records 1 → 2, retain 3 → 5"),
        "{said}"
    );
    assert!(said.contains("none → 1"), "{said}");
    let read = scene.server.get("grades", "7").expect(200);
    let best =
        r#"[{"learner":"7","course":"ml","grade":91},{"learner":"7","course":"sql","grade":82}]"#;
    assert_eq!(String::from_utf8_lossy(&read.body), best);
    let version = scene.server.dataset("grades/versions/1");
    assert_eq!(
        (&version["label"], &version["as_of"]),
        (&json!("r-7"), &json!("2026-11-23T00:00:00Z"))
    );
    let config = &scene.server.dataset("grades")["config"];
    assert_eq!((&config["retain"], &config["gates"]["min_records"]), (&json!(5), &json!(2)));

    // Again: nothing is done, and it says so.
    let said = scene.ends(&[], 0);
    assert!(said.contains("nothing to do") && !said.contains("settings changed"), "{said}");
    let again = scene.document(&[], 0);
    let grades = &again["datasets"][0];
    assert_eq!((&grades["outcome"], &grades["version"]), (&json!("unchanged"), &json!(1)));
    assert_eq!(grades["resource"]["records"], 2);
    assert_eq!(scene.versions("grades"), 1);

    // Another run of the job is another version; other data under the label of one is refused.
    assert_eq!(scene.document(&["--set", "RUN_ID=r-8"], 0)["datasets"][0]["version"], 2);
    scene.write("out/grades.csv", &GRADES.replace("70", "71"));
    let conflict = scene.ends(&[], 5);
    assert!(conflict.contains("other bytes") && conflict.contains("a label"), "{conflict}");
    assert_eq!(scene.versions("grades"), 2);
    // What somebody has changed since is put back, and said.
    scene.server.configure("grades", &json!({"retain": 9, "owner": "us"}));
    let said = scene.ends(&["--set", "RUN_ID=r-9"], 0);
    assert!(said.contains("retain 9 → 5"), "{said}");
    assert_eq!(scene.server.dataset("grades")["config"]["owner"], "us", "not named: left");
}

#[test]
fn several_are_pushed_and_one_that_is_refused_keeps_no_other_back() {
    let job = "
defaults: {format: ndjson, key: k, label: '${RUN_ID}'}
datasets:
  recs: {source: recs.ndjson, gates: {min_records: 1000}}
  facts: {source: facts.ndjson}
  odd: {source: odd.ndjson}
";
    let files = [("job.yaml", job), ("recs.ndjson", &rows("recs", 1, 10)), ("odd.ndjson", "{}\n")];
    let scene = Scene::new(&files);
    // A source that is not there is found before anything is sent.
    let said = scene.ends(&[], 4);
    assert!(said.contains("job.yaml:5:19: ") && said.contains("facts.ndjson"), "{said}");
    // All that are not there are told at once.
    scene.write("job.yaml", &job.replace("odd.ndjson", "none.ndjson"));
    let said = scene.ends(&[], 4);
    assert!(said.contains("facts.ndjson") && said.contains("none.ndjson"), "{said}");
    scene.write("job.yaml", job);
    scene.server.get_path("/v1/datasets/recs").problem(404, "dataset_not_found");

    scene.write("facts.ndjson", &rows("facts", 1, 10));
    let document = scene.document(&[], 3);
    let outcome = |document: &Value, n: usize| document["datasets"][n]["outcome"].clone();
    assert_eq!(outcome(&document, 0), "refused");
    assert_eq!(document["datasets"][0]["error"]["code"], "gate_refused");
    assert_eq!(outcome(&document, 1), "activated");
    assert_eq!(outcome(&document, 2), "refused");
    assert_eq!(document["exit"], 3);
    assert_eq!((scene.current("recs"), scene.current("facts")), (json!(null), json!(1)));

    // The run goes on where it failed, and repeats nothing.
    scene.write("recs.ndjson", &rows("recs", 2, 1000));
    scene.write("odd.ndjson", "{\"k\":1}\n");
    let document = scene.document(&[], 0);
    let outcomes = [0, 1, 2].map(|n| outcome(&document, n));
    assert_eq!(outcomes, [json!("activated"), json!("unchanged"), json!("activated")]);
    assert_eq!((scene.current("recs"), scene.current("facts")), (json!(2), json!(1)));
}

const TOGETHER: &str = "
activate_together: true
defaults: {format: ndjson, key: k, label: '${RUN_ID}'}
datasets:
  recs: {source: recs.ndjson}
  facts: {source: facts.ndjson}
";

/// Both are at their first version, by a run of the job.
fn together() -> Scene {
    let scene = Scene::new(&[("job.yaml", TOGETHER)]);
    both(&scene, 1);
    let document = scene.document(&["--set", "RUN_ID=first"], 0);
    assert_eq!(document["activate_together"]["done"], true, "{document}");
    assert_eq!([scene.current("recs"), scene.current("facts")], [1, 1]);
    scene
}

fn both(scene: &Scene, version: u64) {
    for name in ["recs", "facts"] {
        scene.write(&format!("{name}.ndjson"), &rows(name, version, 1_200));
    }
}

#[test]
fn together_means_all_or_none() {
    let scene = together();
    // One is refused by a gate, the first or the last: none is activated, whatever else is ready.
    for bad in ["recs", "facts"] {
        both(&scene, 2);
        scene.write(&format!("{bad}.ndjson"), &rows(bad, 2, 100));
        let said = scene.ends(&[], 3);
        assert!(said.contains("none was activated"), "{said}");
        assert_eq!([scene.current("recs"), scene.current("facts")], [1, 1]);
    }
    // Corrected, the same run goes on: what was ready is not pushed again.
    both(&scene, 2);
    let document = scene.document(&[], 0);
    assert_eq!(document["activate_together"]["done"], true, "{document}");
    for dataset in document["datasets"].as_array().unwrap() {
        assert_eq!(dataset["outcome"], "activated", "{dataset}");
        assert_eq!(dataset["from"], 1, "{dataset}");
        assert_eq!(dataset["resource"]["state"], "active", "{dataset}");
    }
    let swaps = |name: &str| {
        let events = scene.server.dataset(&format!("{name}/history?limit=1"))["events"][0].clone();
        (events["event"].clone(), events["at"].clone(), events["seq"].clone())
    };
    assert_eq!(swaps("recs"), swaps("facts"), "one record for both");

    let versions = scene.versions("recs");
    let said = scene.ends(&[], 0);
    assert!(said.contains("current already") && said.contains("nothing to do"), "{said}");
    assert_eq!(scene.versions("recs"), versions);
}

#[test]
fn what_is_held_is_not_activated_by_a_job() {
    let scene = together();
    scene.server.operate("facts", "hold", &json!({"reason": "wait"})).expect(200);
    both(&scene, 2);
    let said = scene.ends(&[], 0);
    assert!(said.contains("none was activated: facts is held"), "{said}");
    assert!(said.contains("tidetable activate recs=2 facts=2"), "{said}");
    let document = scene.document(&[], 0);
    assert_eq!(document["activate_together"]["done"], false);
    assert_eq!(document["datasets"][1]["outcome"], "ready");
    assert_eq!([scene.current("recs"), scene.current("facts")], [1, 1]);
    // The hold has ended: the same run activates what it had made ready.
    scene.server.operate("facts", "release", &json!({})).expect(200);
    scene.ends(&[], 0);
    assert_eq!([scene.current("recs"), scene.current("facts")], [2, 2]);

    // Alone, it is a push to a held dataset.
    scene.write("job.yaml", &TOGETHER.replace("activate_together: true", ""));
    scene.server.operate("facts", "hold", &json!({"reason": "wait"})).expect(200);
    both(&scene, 3);
    let said = scene.ends(&["--set", "RUN_ID=third"], 0);
    assert!(said.contains("facts is held: `tidetable release facts`"), "{said}");
    assert_eq!([scene.current("recs"), scene.current("facts")], [3, 2]);
}

#[test]
fn an_old_run_does_not_take_the_place_of_a_newer_one() {
    let scene = together();
    // A run that was cut off between its pushes and the end.
    both(&scene, 2);
    scene.server.operate("facts", "hold", &json!({"reason": "wait"})).expect(200);
    scene.ends(&["--set", "RUN_ID=second"], 0);
    scene.server.operate("facts", "release", &json!({})).expect(200);
    both(&scene, 3);
    scene.ends(&["--set", "RUN_ID=third"], 0);
    assert_eq!([scene.current("recs"), scene.current("facts")], [3, 3]);
    both(&scene, 2);
    let said = scene.ends(&["--set", "RUN_ID=second"], 0);
    assert!(said.contains("3 of recs, which is newer, is current"), "{said}");
    // One that had been current, and was replaced.
    both(&scene, 1);
    let said = scene.ends(&["--set", "RUN_ID=first"], 0);
    assert!(said.contains("none was activated again"), "{said}");
    assert_eq!([scene.current("recs"), scene.current("facts")], [3, 3]);
}

#[test]
fn a_dry_run_shows_all_and_changes_nothing() {
    let job = "
datasets:
  grades: {source: out, key: learner, collect: true, label: '${RUN_ID}', retain: 5}
  other: {source: other.ndjson, key: k, activate: false}
";
    let files =
        [("job.yaml", job), ("out/g.csv", GRADES), ("other.ndjson", "{\"k\":1,\"x\":1.10}\n")];
    let mut scene = Scene::new(&files);
    scene.server.pushed("other", "{\"k\":1}\n");
    let said = scene.ends(&["--dry-run"], 0);
    assert!(said.contains("grades: 1 file as a new version, label r-7, activated if"), "{said}");
    assert!(said.contains("it would be made") && said.contains("retain 3 → 5"), "{said}");
    assert!(
        said.contains("  9\t[{\"learner\":\"9\",\"course\":\"sql\",\"grade\":\"70\"}]"),
        "{said}"
    );
    assert!(said.contains("1 is current (1 record)") && said.contains("not activated"), "{said}");
    let document = scene.document(&["--dry-run", "--show", "1"], 0);
    let [grades, other] = [&document["datasets"][0], &document["datasets"][1]];
    assert_eq!((&grades["server"], &other["current"]), (&json!("absent"), &json!(1)));
    assert_eq!((&grades["complete"], &other["complete"]), (&json!(false), &json!(true)));
    assert_eq!(grades["records"].as_array().unwrap().len(), 1);
    assert_eq!(other["records"][0]["key"], "1");
    scene.server.get_path("/v1/datasets/grades").problem(404, "dataset_not_found");
    assert_eq!(scene.versions("other"), 1);

    // Rows that cannot be used are told as a push would; the others are shown.
    scene.write("other.ndjson", "{\"x\":1}\n");
    let said = scene.ends(&["--dry-run"], 3);
    assert!(said.contains("line 1") && said.contains("grades: 1 file"), "{said}");
    // Without a server all but what is current is known.
    scene.write("other.ndjson", "{\"k\":1}\n");
    scene.server.kill();
    let said = scene.ends(&["--dry-run"], 0);
    assert!(said.contains("what is current is not known: cannot reach"), "{said}");
    let said = scene.ends(&["--retries", "0"], 6);
    assert!(said.contains("not pushed") && said.contains("cannot reach the server"), "{said}");
}

#[test]
fn a_job_takes_what_push_takes_as_sources() {
    let job = "
defaults: {label: '${RUN_ID}'}
datasets:
  spark: {source: spark, key: k, accept-unfinished: true}
  built: {source: built}
";
    let scene = Scene::new(&[("job.yaml", job)]);
    fs::create_dir(scene.server.beside("jobs/spark")).unwrap();
    scene.write("spark/part-00000.ndjson", "{\"k\":1}\n");
    scene.write("rows.ndjson", "{\"k\":1}\n{\"k\":2}\n{\"k\":3}\n");
    let built = tidetable(&["build", "built", "rows.ndjson", "--key", "k", "--out", "built"])
        .current_dir(scene.server.beside("jobs"))
        .output()
        .unwrap();
    assert_eq!(built.status.code(), Some(0), "{}", text(&built));

    let said = scene.ends(&["--dry-run"], 0);
    assert!(said.contains("built: a snapshot of 3 files as a new version"), "{said}");
    let document = scene.document(&["--dry-run"], 0);
    assert_eq!(document["datasets"][1]["records"], json!([]), "a snapshot has no rows to show");
    let document = scene.document(&[], 0);
    let records = [0, 1].map(|n| document["datasets"][n]["resource"]["records"].clone());
    assert_eq!(records, [json!(1), json!(3)], "{document}");
    let again = scene.document(&[], 0);
    assert!((0..2).all(|n| again["datasets"][n]["outcome"] == "unchanged"), "{again}");

    // What is wrong with a source is told where the file names it, in the words of the file.
    scene.write("job.yaml", &job.replace(", accept-unfinished: true", ""));
    let said = scene.ends(&[], 3);
    assert!(said.contains("job.yaml:4:19: ") && said.contains("_SUCCESS"), "{said}");
    assert!(!said.contains("--accept"), "{said}");
    scene.write("job.yaml", &job.replace("source: built", "source: built, key: k"));
    let said = scene.ends(&[], 2);
    assert!(said.contains("job.yaml:5:3: key says how rows become records"), "{said}");
    fs::remove_file(scene.server.beside("jobs/built/000001.sst")).unwrap();
    scene.write("job.yaml", job);
    let said = scene.ends(&[], 3);
    assert!(said.contains("job.yaml:5:19: ") && said.contains("000001.sst is missing"), "{said}");
}

#[test]
fn what_is_wrong_with_a_file_is_told_before_anything_is_sent() {
    let job = "
datasets:
  recs:
    source: recs.ndjson
    key: k
    lable: ${RUN_ID}
    limit: some
";
    let scene = Scene::new(&[("job.yaml", job), ("recs.ndjson", &rows("recs", 1, 10))]);
    for dry in [&[][..], &["--dry-run"]] {
        let said = scene.ends(dry, 2);
        assert!(said.contains("job.yaml:6:5: unknown key \"lable\""), "{said}");
        assert!(said.contains("did you mean \"label\"?"), "{said}");
        assert!(said.contains("job.yaml:7:12: limit: expected a whole number"), "{said}");
    }
    scene.write("job.yaml", "datasets: {recs: {source: recs.ndjson}}\n");
    let said = scene.ends(&[], 2);
    assert!(said.contains("job.yaml:1:12: ") && said.contains("no key: key names"), "{said}");
    scene.server.get_path("/v1/datasets/recs").problem(404, "dataset_not_found");
}

#[test]
fn a_pusher_may_run_a_job_whose_settings_are_in_place() {
    let scene = Scene::new(&[
        ("job.yaml", "datasets: {recs: {source: recs.ndjson, key: k, retain: 5}}\n"),
        ("recs.ndjson", &rows("recs", 1, 10)),
    ]);
    let ops = access::first(&scene.server);
    let pusher = ops.make(&scene.server, "job", "pusher", &["recs"]);
    let said = scene.ends(&["--token", &pusher.text], 1);
    assert!(said.contains("takes the role admin"), "{said}");
    ops.send(&scene.server, "PUT", "/v1/datasets/recs", &json!({"retain": 5})).expect(201);
    scene.ends(&["--token", &pusher.text], 0);

    // What it may not even see is told in a dry run, of that dataset alone.
    let dataset = |name: &str| format!("  {name}: {{source: recs.ndjson, key: k}}\n");
    scene.write("job.yaml", &["datasets:\n", &dataset("facts"), &dataset("recs")].concat());
    let dry = ["--token", &pusher.text, "--dry-run"];
    let said = scene.ends(&dry, 0);
    assert_eq!(said.matches("this token may not push to it, nor see it").count(), 1, "{said}");
    assert!(said.contains("1 is current (10 records)"), "{said}");
    let document = scene.document(&dry, 0);
    let server = [0, 1].map(|n| document["datasets"][n]["server"].clone());
    assert_eq!(server, [json!("forbidden"), json!("known")]);
}
