//! What a push reads on this machine before anything is sent: which files its sources
//! stand for, which format their names tell, and how their first rows would be served.

use std::path::PathBuf;

use serde_json::{Map, Value};

use super::exit::{Exit, Failure};
use crate::ingest::{self, Format, IngestError, Input};

pub(crate) use crate::ingest::{Preview, RowOptions, SourceOptions};
use crate::remote::Object;

/// One thing to send: a part of the push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    /// What messages call it: its path or address, or `standard input`.
    pub(crate) name: String,
    pub(crate) origin: Origin,
}

/// Where the bytes come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    File(PathBuf),
    Stdin,
    Object(Object),
}

/// The files, objects, and standard input, that the arguments stand for, in order.
pub(crate) fn sources(arguments: &[String], how: &SourceOptions) -> Result<Vec<Source>, Failure> {
    let of = |input: Input| Source {
        name: input.name,
        origin: match input.origin {
            ingest::Origin::File(path) => Origin::File(path),
            ingest::Origin::Reader(_) => Origin::Stdin,
            ingest::Origin::Object(object) => Origin::Object(object),
        },
    };
    Ok(ingest::expand_sources(arguments, how)?.into_iter().map(of).collect())
}

/// The row options as the API wants them, with the format that the names tell. Names that
/// tell none leave it to the server, which looks at the first bytes.
pub(crate) fn body(
    options: &RowOptions,
    sources: &[Source],
) -> Result<Map<String, Value>, Failure> {
    let options = with_format(options, sources.iter().map(|source| source.name.as_str()))?;
    match serde_json::to_value(&options) {
        Ok(Value::Object(map)) => Ok(map),
        _ => Err(Failure::new(Exit::Failed, "the row options cannot be written as JSON")),
    }
}

/// The first `rows` rows as they would be served.
pub(crate) fn preview(
    options: &RowOptions,
    (arguments, how): (&[String], &SourceOptions),
    rows: u64,
) -> Result<Preview, Failure> {
    let inputs = ingest::expand_sources(arguments, how)?;
    let options = with_format(options, inputs.iter().map(|input| input.name.as_str()))?;
    // From here on the rows are at fault, as they would be when the server reads them.
    ingest::preview(inputs, &options, rows).map_err(|error| {
        let exit = Exit::of_push(Some(error.code.as_str()));
        let mut failure = Failure::from(error);
        failure.exit = exit;
        failure
    })
}

/// The options with the format that the names of the sources tell, for which they must be right.
fn with_format<'a>(
    options: &RowOptions,
    names: impl Iterator<Item = &'a str>,
) -> Result<RowOptions, Failure> {
    let mut options = options.clone();
    if options.format.is_none() {
        options.format = format_of(names)?;
    }
    options.check()?;
    Ok(options)
}

/// The one format that all names tell, if they tell any.
fn format_of<'a>(names: impl Iterator<Item = &'a str>) -> Result<Option<Format>, Failure> {
    let mut told: Option<(Format, &str)> = None;
    for name in names {
        let Some(format) = Format::of_name(name) else { return Ok(None) };
        match told {
            Some((before, first)) if before != format => {
                return Err(Failure::usage(format!(
                    "one push has one format, but {first} is {} and {name} is {}",
                    before.as_str(),
                    format.as_str()
                ))
                .hint("--format says which; or push them as datasets of their own"));
            }
            _ => told = Some((format, name)),
        }
    }
    Ok(told.map(|(format, _)| format))
}

/// What is wrong with rows or options is told as the server would tell it.
impl From<IngestError> for Failure {
    fn from(error: IngestError) -> Self {
        let mut failure = Self::of_code(error.code, error.whole.unwrap_or(error.detail));
        failure.problems = error.problems;
        if error.absent {
            (failure.exit, failure.code) = (Exit::NotFound, None);
        }
        failure
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOW: SourceOptions = SourceOptions { accept_unfinished: false, manifest: false };

    fn named(names: &[&str]) -> Vec<Source> {
        let source = |name: &&str| Source {
            name: (*name).to_owned(),
            origin: Origin::File(PathBuf::from(name)),
        };
        names.iter().map(source).collect()
    }

    fn options() -> RowOptions {
        RowOptions { key: vec!["id".to_owned()], ..RowOptions::default() }
    }

    #[test]
    fn the_format_is_sent_if_the_names_tell_one() {
        let format = |names: &[&str]| body(&options(), &named(names)).unwrap().remove("format");
        assert_eq!(format(&["a.csv", "b/c.csv.gz"]), Some("csv".into()));
        assert_eq!(format(&["a.csv", "part-0"]), None);
        assert_eq!(format(&["standard input"]), None);
        let mixed = body(&options(), &named(&["a.csv", "b.parquet"])).unwrap_err();
        assert_eq!(mixed.exit, Exit::Usage);
        assert!(mixed.message.contains("b.parquet is parquet"), "{}", mixed.message);
    }

    #[test]
    fn options_that_contradict_each_other_are_refused_before_anything_is_sent() {
        let failure = body(&RowOptions::default(), &named(&["a.csv"])).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage, "no --key: {failure:?}");
        let limit = RowOptions { limit: Some(3), ..options() };
        assert_eq!(body(&limit, &named(&["a.csv"])).unwrap_err().exit, Exit::Usage);
    }

    #[test]
    fn a_dry_run_shows_records_and_refuses_what_a_push_would() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.ndjson");
        std::fs::write(&path, "{\"id\":2,\"x\":1.10}\n{\"id\":1}\n").unwrap();
        let arguments = [path.display().to_string()];
        let collected = RowOptions { collect: true, ..options() };
        let shown = preview(&collected, (&arguments, &HOW), 10).unwrap();
        assert!(shown.complete);
        let last = &shown.records[1];
        let value = "[{\"id\":2,\"x\":1.10}]";
        assert_eq!((&last.0[..], &last.1[..]), (&b"2"[..], value.as_bytes()));
        std::fs::write(&path, "{\"x\":1}\n").unwrap();
        let failure = preview(&options(), (&arguments, &HOW), 10).unwrap_err();
        assert_eq!(failure.exit, Exit::Refused);
        assert!(!failure.problems.is_empty() || failure.message.contains("row"), "{failure:?}");
        for nowhere in ["nowhere", "nowhere/*.csv"] {
            let failure = preview(&options(), (&[nowhere.into()], &HOW), 1).unwrap_err();
            assert_eq!(failure.exit, Exit::NotFound, "{nowhere}");
            let failure = sources(&[nowhere.into()], &HOW).unwrap_err();
            assert_eq!((failure.exit, failure.code.as_deref()), (Exit::NotFound, None));
        }
    }

    #[test]
    fn options_that_do_not_fit_the_format_end_a_dry_run_as_they_end_a_push() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.ndjson");
        std::fs::write(&path, "{\"id\":1}\n").unwrap();
        let arguments = [path.display().to_string()];
        for (name, value) in [("types", "id:number"), ("columns", "id"), ("delimiter", ";")] {
            let options = serde_json::json!({"key": "id", name: value});
            let options = RowOptions::from_json(options).unwrap();
            let pushed = body(&options, &named(&[&arguments[0]])).unwrap_err();
            let shown = preview(&options, (&arguments, &HOW), 10).unwrap_err();
            assert_eq!((pushed.exit, shown.exit), (Exit::Usage, Exit::Usage), "{name}");
            assert_eq!(pushed.message, shown.message);
        }
    }

    #[test]
    fn a_format_that_nothing_tells_ends_a_dry_run_as_it_ends_a_push() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("part-0");
        std::fs::write(&path, "1|2\n").unwrap();
        let failure = preview(&options(), (&[path.display().to_string()], &HOW), 1).unwrap_err();
        assert_eq!(failure.exit, Exit::Refused, "{failure:?}");
        assert_eq!(failure.exit, Exit::of_push(failure.code.as_deref()));
    }
}
