use serde_json::json;

use super::reading::{derived_key, within};
use super::*;

fn job(text: &str) -> Result<Job, Failure> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("job.yaml");
    std::fs::write(&path, text).unwrap();
    let set = BTreeMap::from([("RUN".to_owned(), "r-7".to_owned())]);
    let set = if text.contains("${RUN}") { set } else { BTreeMap::new() };
    Job::read(&path, &set)
}

/// All that is wrong, without the name of the file before it.
#[track_caller]
fn wrong(text: &str) -> Vec<String> {
    let failure = job(text).unwrap_err();
    assert_eq!(failure.exit, Exit::Usage, "{failure:?}");
    let lines = std::iter::once(&failure.message).chain(&failure.problems);
    lines
        .map(|line| line.split_once("job.yaml:").map_or(line.as_str(), |l| l.1).to_owned())
        .collect()
}

#[test]
fn a_job_says_what_a_push_would() {
    let text = "
defaults: {label: '${RUN}', format: csv, activate: false}
datasets:
  recs:
    source: [out/*.csv, /tmp/b.csv, s3://bucket/x.csv]
    key: learner_id, course_id
    order_by: [score:desc]
    collect: true
    limit: 3
    types: {score: number}
    gates: {min_records: 10}
    owner: us
  facts:
    source: facts.ndjson
    format: ndjson
    key: id
    activate: true
    idempotency-key: own-${RUN}
";
    let job = job(text).unwrap();
    let [recs, facts] = &job.datasets[..] else { panic!("{job:?}") };
    assert_eq!(recs.name.as_str(), "recs");
    assert!(recs.sources[0].ends_with("/out/*.csv") && recs.sources[0].starts_with('/'));
    assert_eq!(recs.sources[1..], ["/tmp/b.csv", "s3://bucket/x.csv"]);
    assert_eq!(recs.rows.key, ["learner_id", "course_id"]);
    assert_eq!((recs.rows.limit, recs.rows.collect), (Some(3), true));
    assert_eq!(recs.rows.order_by[0].to_string(), "score:desc");
    let settings = json!({"gates": {"min_records": 10}, "owner": "us"});
    assert_eq!(Value::Object(recs.settings.clone()), settings);
    assert_eq!((recs.label.as_deref(), recs.activate), (Some("r-7"), false));
    let key = recs.key.as_deref().unwrap();
    assert!(key.starts_with("job-") && key.len() == 36, "{key}");
    assert_eq!(facts.key.as_deref(), Some("own-r-7"));
    assert!(facts.activate && !job.together);
    assert_ne!(derived_key(&recs.name, "a"), derived_key(&facts.name, "a"));
    assert_ne!(derived_key(&recs.name, "a"), derived_key(&recs.name, "b"));
}

#[test]
fn flags_are_called_as_keys_and_nothing_else_is() {
    for (said, expected) in [
        ("--key names \"id\" twice", "key names \"id\" twice"),
        (
            "limit needs --collect (--limit 3), or `--value x`",
            "limit needs collect (limit 3), or `value x`",
        ),
        (
            "s3://recs--use1-az4--x-s3/a.csv is not there",
            "s3://recs--use1-az4--x-s3/a.csv is not there",
        ),
        ("out/run--7/a--.csv -- ---x", "out/run--7/a--.csv -- ---x"),
    ] {
        assert_eq!(as_keys(said), expected);
    }
}

#[test]
fn a_variable_that_is_not_set_is_one_error_and_not_two() {
    let dataset = |lines: &str| format!("datasets:\n  recs:\n    source: a.csv\n    {lines}\n");
    for option in ["label", "limit", "compression"] {
        let told = wrong(&dataset(&format!("key: id\n    {option}: ${{TIDETABLE_TEST_UNSET}}")));
        let [one] = &told[..] else { panic!("{option}: {told:?}") };
        assert!(one.contains("TIDETABLE_TEST_UNSET is not set"), "{one}");
    }
    // What is wrong elsewhere is told as well, and so is an empty text that was given.
    let told = wrong(&dataset("label: ${TIDETABLE_TEST_UNSET}\n    retain: 0"));
    assert_eq!(told.len(), 2, "{told:?}");
    let told = wrong(&dataset("key: id\n    label: ${TIDETABLE_TEST_UNSET:-}"));
    assert!(told[0].contains("label is empty"), "{told:?}");
}

#[test]
fn the_paths_of_what_the_server_fetches_are_its_own() {
    let read =
        job("datasets: {recs: {from: lake, source: recs/, key: id, manifest: true}}").unwrap();
    let [recs] = &read.datasets[..] else { panic!("{read:?}") };
    assert_eq!(
        (recs.from.as_deref(), &recs.sources[..]),
        (Some("lake"), &["recs/".to_owned()][..])
    );
    assert!(recs.how.manifest && !recs.how.accept_unfinished);
    let all = job("datasets: {recs: {from: lake, key: id}}").unwrap();
    assert_eq!(all.datasets[0].sources, [String::new()], "all beneath the source");
}

#[test]
fn without_a_label_every_run_is_a_push_of_its_own() {
    let job = job("datasets: {recs: {source: a, key: id}}").unwrap();
    assert_eq!((&job.datasets[0].key, &job.datasets[0].label), (&None, &None));
    assert!(job.datasets[0].activate);
}

#[test]
fn what_contradicts_itself_is_told_at_its_line_and_column() {
    let dataset = |lines: &str| format!("datasets:\n  recs:\n    source: a.csv\n    {lines}\n");
    for (lines, expected) in [
        ("{}: 1", "4:5: unknown key \"{}\""),
        ("key: id\n    limit: 3", "5:5: limit limits the rows of a key, which needs collect"),
        ("key: id\n    order-by: s:down", "5:15: order_by: \"s:down\" is not an order"),
        ("key: id\n    types: {s: float}", "5:12: types: \"s:float\" is not a column"),
        ("key: [id, id]", "4:5: key names \"id\" twice"),
        ("key: id\n    value: a\n    fields: b", "value and fields exclude each other"),
        ("key: id\n    as-of: today", "5:12: as-of: expected a time with its zone"),
        ("key: id\n    idempotency-key: a b", "5:22: idempotency-key: expected 1 to 200"),
        ("key: id\n    label: \"a\\u0007\"", "5:12: label: has control characters"),
        ("key: id\n    content_type: json", "5:19: content_type must be a media type"),
        ("key: id\n    gates: {ranges: {a: {min: 2, max: 1}}}", "5:21: gates.ranges of \"a\""),
        ("key: id\n    source: b.csv", "5:5: source stands twice: the first is in line 3"),
        ("key: id\n    sources: b.csv", "5:5: source and sources are one key"),
        ("key: id\n    from: ''", "5:11: from is empty"),
        ("key: ${NOWHERE_SET}", "4:10: the variable NOWHERE_SET is not set"),
    ] {
        let text = dataset(&lines.replace("{}", "'{}'"));
        let told = wrong(&text);
        assert!(told[0].contains(expected), "{lines}: {told:?}");
        assert_eq!(told.len(), 1, "{told:?}");
    }
    assert!(wrong("datasets: {Recs: {source: a, key: id}}")[0].starts_with("1:12: "));
    let told = wrong("datasets: {recs: {from: lake, source: [a, b], key: id}}");
    assert!(told[0].starts_with("1:31: with from there is one source"), "{told:?}");
    assert_eq!(wrong("datasets: {recs: {key: id}}"), ["1:12: recs has no source"]);
    let told = wrong("datasets: {recs: {source: '-', key: id}}");
    assert!(told[0].starts_with("1:27: standard input"), "{told:?}");
    let told =
        wrong("activate_together: true\ndatasets: {recs: {source: a, key: id, activate: false}}");
    assert!(told[0].starts_with("2:39: activate: false contradicts"), "{told:?}");
}

#[test]
fn all_that_is_wrong_is_told_at_once_in_the_order_of_the_file() {
    let told =
        wrong("datasets:\n  a: {source: x, lable: y, limit: z}\n  b: {source: x, kye: id}\n");
    let places: Vec<&str> = told.iter().map(|line| line.split(": ").next().unwrap()).collect();
    assert_eq!(places, ["2:18", "2:35", "3:18"], "{told:?}");
    let many: String = (0..30).map(|n| format!("  Wrong{n}: {{source: x}}\n")).collect();
    let told = wrong(&format!("datasets:\n{many}"));
    assert_eq!((told.len(), told[20].as_str()), (21, "and 10 more"));
}

#[test]
fn a_value_that_is_set_for_nothing_is_a_slip() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("job.yaml");
    std::fs::write(&path, "datasets: {a: {source: x, key: id, label: '${RUN:-}x'}}").unwrap();
    let set = |name: &str| BTreeMap::from([(name.to_owned(), "7".to_owned())]);
    assert_eq!(Job::read(&path, &set("RUN")).unwrap().datasets[0].label.as_deref(), Some("7x"));
    let failure = Job::read(&path, &set("RUNS")).unwrap_err();
    assert!(failure.message.contains("has no ${RUNS}"), "{}", failure.message);
}

#[test]
fn what_is_no_job_file_is_told_in_a_line() {
    for (bytes, expected) in [
        (&b"a: 1\nb: \xff\n"[..], "job.yaml:2: this is no UTF-8 text"),
        (b"", "job.yaml:1:1: "),
        (b"datasets: [", "job.yaml:"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("job.yaml");
        std::fs::write(&path, bytes).unwrap();
        let failure = Job::read(&path, &BTreeMap::new()).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        assert!(failure.message.contains(expected), "{}", failure.message);
        assert!(!failure.message.contains('\n'), "{}", failure.message);
    }
    let absent = Job::read(Path::new("nowhere/job.yaml"), &BTreeMap::new()).unwrap_err();
    assert_eq!(absent.exit, Exit::NotFound);
}

#[test]
fn sources_are_named_from_the_directory_of_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("a[1]");
    std::fs::create_dir(&home).unwrap();
    std::fs::write(home.join("x.csv"), "").unwrap();
    std::fs::write(home.join("y*.csv"), "").unwrap();
    let found = |source: &str| {
        let sources =
            crate::cli::rows::sources(&[within(&home, source)], &Default::default()).unwrap();
        sources
            .into_iter()
            .map(|s| s.name.rsplit('/').next().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(found("x.csv"), ["x.csv"]);
    assert_eq!(found("?.csv"), ["x.csv"]);
    assert_eq!(found("y*.csv"), ["y*.csv"], "a file of that name comes first");
    assert_eq!(within(Path::new(""), "x.csv"), "x.csv");
    assert_eq!(within(Path::new("jobs"), "../x.csv"), "jobs/../x.csv");
}
