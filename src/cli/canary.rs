//! `tidetable canary`: serve a second version to a share of the units, look how it does, end it.

use chrono::Utc;
use clap::Args;
use serde_json::{Value, json};
use tidetable_storage::{DatasetName, Version};

use super::Context;
use super::api::{self, Canary, Dataset, dataset_path};
use super::client::{Client, encoded};
use super::exit::{Exit, Failure};
use super::output::{age_of, canary_table};

/// Serve a second version to a share of the units, and see how it does
///
/// With a version and a share, starts it, and says so if another one made way for it. With a
/// share alone, changes that of the canary that runs: a larger share keeps the units that see it
/// already. With neither, shows the canary beside what is current: hit rate, latency and errors
/// of both. `promote` makes it current; --abort ends it. If somebody else makes another version
/// the canary at the same moment, nothing is done (exit code 5).
///
/// A unit is what clients send as the header Tidetable-Unit, a learner's id say, else the key
/// itself. Which units are served the canary depends on the experiment's name, the share and the
/// unit alone: datasets of one experiment serve one learner the same arm. While a canary runs, no
/// push is activated by itself; a rollback ends it.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  tidetable canary course-recs 43 --percent 10 --experiment recs-nov
  tidetable canary course-recs                           how both arms do
  tidetable canary course-recs --percent 50              serve it to more
  tidetable promote course-recs                          it is better: serve it to all
  tidetable canary course-recs --abort --reason 'clicks fell'")]
pub(crate) struct CanaryArgs {
    /// The dataset
    dataset: DatasetName,
    /// The version to serve beside the current one
    #[arg(requires = "percent")]
    version: Option<Version>,
    /// The share of the units to serve it to: more than 0, at most 100, two decimals
    #[arg(long, value_name = "PERCENT", value_parser = parse_percent, allow_negative_numbers = true)]
    percent: Option<f64>,
    /// What units are drawn by [default: that of the canary that runs, or the dataset's name]
    #[arg(long, value_name = "NAME", requires = "percent")]
    experiment: Option<String>,
    /// End it: everybody is served the current version again
    #[arg(long, conflicts_with_all = ["version", "percent"])]
    abort: bool,
    /// Why; kept in the history
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// `10` and `10%`. Which shares there are the server says.
fn parse_percent(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').unwrap_or(text).trim_end();
    let number = number.parse().ok().filter(|number: &f64| number.is_finite());
    number.ok_or_else(|| "expected a number above 0, up to 100, like 10 or 2.5".to_owned())
}

pub(crate) fn run(args: &CanaryArgs, context: &Context<'_>) -> Result<(), Failure> {
    let client = context.client()?;
    match args.percent {
        _ if args.abort => abort(args, context, &client),
        Some(percent) => start(args, context, &client, percent),
        None if args.reason.is_some() => Err(Failure::usage(
            "--reason is why a canary is started or ended: add --percent or --abort",
        )),
        None => show(args, context, &client),
    }
}

fn start(
    args: &CanaryArgs,
    context: &Context<'_>,
    client: &Client,
    percent: f64,
) -> Result<(), Failure> {
    let name = args.dataset.as_str();
    // What its operator could have looked at, and nothing that has come in between.
    let seen = match args.version {
        Some(_) => api::dataset(client, name)?.canary.map(|canary| canary.version),
        None => Some(running(client, name)?.1.version),
    };
    let version = args.version.map(|version| version.0).or(seen);
    let mut body = json!({ "version": version, "percent": percent, "expect_canary": seen });
    if let Some(experiment) = &args.experiment {
        body["experiment"] = json!(experiment);
    }
    body["reason"] = json!(args.reason);
    let answer = client.put(&path(name), &body).map_err(|failure| failure.about(name, version))?;
    let canary: Canary = answer.json()?;
    context.out.either(answer.text(), || {
        let not = if canary.changed { "" } else { " already" };
        let replaced = seen.filter(|seen| *seen != canary.version);
        let replaced = replaced.map(|seen| format!(", and the canary {seen} is over"));
        format!(
            "{name}: {} is served{not} to {} % of the units of {}{}. `tidetable canary {name}` \
             shows how it does",
            canary.version,
            canary.percent,
            canary.experiment,
            replaced.unwrap_or_default()
        )
    })
}

fn abort(args: &CanaryArgs, context: &Context<'_>, client: &Client) -> Result<(), Failure> {
    let name = args.dataset.as_str();
    let version = running(client, name)?.1.version;
    let mut path = format!("{}?expect_canary={version}", path(name));
    if let Some(reason) = &args.reason {
        path.push_str(&format!("&reason={}", encoded(reason)));
    }
    let answer = client.delete(&path).map_err(|failure| failure.about(name, None))?;
    let ended: Value = answer.json()?;
    context.out.either(answer.text(), || {
        let version = &ended["ended"]["version"];
        format!("{name}: the canary {version} is over; everybody is served {}", ended["current"])
    })
}

fn show(args: &CanaryArgs, context: &Context<'_>, client: &Client) -> Result<(), Failure> {
    let name = args.dataset.as_str();
    if context.out.json {
        let answer = client.get(&path(name)).map_err(|failure| failure.about(name, None))?;
        return context.out.line(answer.text().trim_end());
    }
    let (dataset, canary) = running(client, name)?;
    context.out.line(text(&dataset, &canary, Utc::now()))
}

/// The dataset with the canary that runs.
fn running(client: &Client, name: &str) -> Result<(Dataset, Canary), Failure> {
    let mut dataset = api::dataset(client, name)?;
    dataset.dataset = name.to_owned();
    let canary = dataset.canary.take();
    canary.map(|canary| (dataset, canary)).ok_or_else(|| {
        let mut failure = Failure::new(Exit::NotFound, format!("no canary of {name} runs"));
        failure.code = Some("no_canary".to_owned());
        failure.about(name, None)
    })
}

fn text(dataset: &Dataset, canary: &Canary, now: chrono::DateTime<Utc>) -> String {
    let name = &dataset.dataset;
    let mut text = format!(
        "{name}: {} is served to {} % of the units of {}, begun {}\n\n{}\n\n",
        canary.version,
        canary.percent,
        canary.experiment,
        age_of(Some(&canary.started_at), now),
        canary_table(dataset.current, canary)
    );
    text.push_str(&format!(
        "Counted since it began, or since the server was started.\n\
         `tidetable promote {name}` serves it to all; `tidetable canary {name} --abort` ends it."
    ));
    text
}

fn path(name: &str) -> String {
    format!("{}/canary", dataset_path(name))
}

#[cfg(test)]
mod tests {
    use super::super::api::{ArmCounts, Arms};
    use super::super::stub::{Reply, Stub};
    use super::super::{Global, Output};
    use super::*;

    fn args(line: &str) -> CanaryArgs {
        use clap::Parser;
        #[derive(Parser)]
        struct Line {
            #[command(flatten)]
            args: CanaryArgs,
        }
        Line::try_parse_from(["canary"].into_iter().chain(line.split_whitespace())).unwrap().args
    }

    fn ran(line: &str, replies: Vec<Reply>) -> (Result<(), Failure>, String, Vec<Value>) {
        let stub = Stub::answering(replies);
        let global =
            Global { server: stub.address(), token: None, tls: Default::default(), json: false };
        let context = Context { global: &global, out: Output::captured(false) };
        let result = run(&args(line), &context);
        let bodies = stub.finish().into_iter().map(|request| {
            let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
            json!({ "line": request.line, "body": body })
        });
        (result, context.out.text(), bodies.collect())
    }

    #[test]
    fn a_share_alone_is_of_the_canary_that_runs() {
        let canary = json!({"version": 43, "percent": 10.0, "experiment": "x"});
        let dataset = json!({"dataset": "a", "current": 42, "canary": canary});
        let changed = json!({"version": 43, "percent": 50.0, "experiment": "x", "changed": true});
        let replies = vec![Reply::json(200, dataset), Reply::json(200, changed)];
        let (result, text, bodies) = ran("a --percent 50", replies);
        result.unwrap();
        assert!(text.starts_with("a: 43 is served to 50 % of the units of x"), "{text}");
        assert_eq!(bodies[1]["line"], "PUT /v1/datasets/a/canary HTTP/1.1");
        assert_eq!(bodies[1]["body"]["version"], 43);
        assert_eq!(bodies[1]["body"]["expect_canary"], 43);
        assert!(bodies[1]["body"].get("experiment").is_none(), "that stays as it is");
    }

    #[test]
    fn a_canary_takes_the_place_of_what_was_seen_alone() {
        let started = json!({"version": 43, "percent": 10.0, "experiment": "x", "changed": true});
        for (seen, told) in [(None, "of x. `"), (Some(44), "of x, and the canary 44 is over. `")] {
            let canary = seen.map(|version| json!({ "version": version }));
            let dataset = json!({"dataset": "a", "current": 42, "canary": canary});
            let replies = vec![Reply::json(200, dataset), Reply::json(200, started.clone())];
            let (result, text, sent) = ran("a 43 --percent 10 --experiment x", replies);
            result.unwrap();
            assert!(text.contains(told), "{text}");
            let body = json!({
                "version": 43, "percent": 10.0, "expect_canary": seen, "experiment": "x",
                "reason": null,
            });
            assert_eq!(sent[1]["body"], body);
        }
    }

    #[test]
    fn the_canary_that_is_ended_is_the_one_that_was_seen() {
        let dataset = json!({"dataset": "a", "current": 42, "canary": {"version": 43}});
        let ended = json!({"dataset": "a", "current": 42, "ended": {"version": 43}});
        let replies = vec![Reply::json(200, dataset), Reply::json(200, ended)];
        let (result, text, sent) = ran("a --abort --reason x", replies);
        result.unwrap();
        let line = "DELETE /v1/datasets/a/canary?expect_canary=43&reason=x HTTP/1.1";
        assert_eq!(sent[1]["line"], line);
        assert!(text.starts_with("a: the canary 43 is over"), "{text}");
    }

    #[test]
    fn a_share_may_be_written_with_its_sign() {
        assert_eq!(parse_percent("10%"), Ok(10.0));
        assert_eq!(parse_percent("2.5 %"), Ok(2.5));
        assert_eq!(parse_percent("-1"), Ok(-1.0), "the server refuses it");
        for bad in ["", "%", "many", "10%%", "1,5", "inf", "nan%"] {
            assert!(parse_percent(bad).unwrap_err().contains("above 0, up to 100"), "{bad}");
        }
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        let dataset = json!({"dataset": "a", "current": 42, "canary": null});
        for line in ["a", "a --percent 5"] {
            let (result, ..) = ran(line, vec![Reply::json(200, dataset.clone())]);
            let failure = result.unwrap_err();
            assert_eq!(failure.exit, Exit::NotFound);
            assert!(failure.text().contains("tidetable canary a VERSION --percent"));
        }
        assert_eq!(ran("a --reason x", vec![]).0.unwrap_err().exit, Exit::Usage);
    }

    #[test]
    fn both_arms_stand_below_each_other() {
        let arm = |hits, misses, p99| ArmCounts {
            lookups: hits + misses,
            hits,
            misses,
            errors: 0,
            p50_us: Some(3.5),
            p99_us: p99,
        };
        let arms = Arms { current: arm(1960, 40, Some(1234.0)), canary: ArmCounts::default() };
        let canary = Canary {
            version: 43,
            percent: 2.5,
            experiment: "recs-nov".to_owned(),
            started_at: "2026-11-23T11:57:00Z".to_owned(),
            arms,
            ..Canary::default()
        };
        let dataset = Dataset { dataset: "a".to_owned(), current: Some(42), ..Dataset::default() };
        let text = text(&dataset, &canary, "2026-11-23T12:00:00Z".parse().unwrap());
        let expected = "\
a: 43 is served to 2.5 % of the units of recs-nov, begun 3 min ago

ARM      VERSION  LOOKUPS  HIT RATE     P50     P99  ERRORS
current       42    2,000   98.00 %  3.5 µs  1.2 ms       0
canary        43        0         -       -       -       0
";
        assert!(text.starts_with(expected), "\n{text}\n{expected}");
    }
}
