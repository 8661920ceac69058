//! `push --from NAME`: the server fetches the data by itself.

use std::time::Instant;

use serde_json::{Map, Value, json};

use super::{Push, PushArgs, outcome};
use crate::cli::Asked;
use crate::cli::api::{self, dataset_path};
use crate::cli::client::Patience;
use crate::cli::exit::Failure;
use crate::cli::output::Output;
use crate::cli::rows;

/// Asks the server for what its source `name` has at the one path that is given.
pub(super) fn run(args: &PushArgs, name: &str, asked: &Asked<'_>) -> Result<(), Failure> {
    let [path] = args.sources.as_slice() else {
        return Err(Failure::usage("with --from there is one SOURCE: a path beneath that source"));
    };
    let mut body = rows::body(&args.rows, &[])?;
    body.extend(args.version_fields());
    body.insert("source".to_owned(), json!(name));
    body.insert("path".to_owned(), json!(path));
    for (name, flag) in
        [("accept_unfinished", args.how.accept_unfinished), ("manifest", args.how.manifest)]
    {
        if flag {
            body.insert(name.to_owned(), json!(true));
        }
    }
    let client = asked.client()?.with_patience(Patience::job(args.retries));
    let push = Push::of(args, &client, asked);
    push.import(&body, &asked.out)
}

impl Push<'_> {
    fn import(&self, body: &Map<String, Value>, out: &Output) -> Result<(), Failure> {
        let started = Instant::now();
        self.interrupt.say("nothing was pushed");
        let was = self.current()?;
        let path = format!("{}/import", dataset_path(self.dataset));
        let answer = self.client.post(&path, &Value::Object(body.clone()), &self.key);
        let created: api::Version =
            answer.map_err(|failure| failure.about(self.dataset, None))?.json()?;
        let version = created.version;
        self.interrupt.say(format!(
            "the server goes on with {0} {version}; `tidetable versions {0} {version}` tells how \
             it ends",
            self.dataset
        ));
        let (settled, json) = self.settle(version)?;
        let push = outcome::Pushed {
            dataset: self.dataset,
            was: was.filter(|&was| was != version),
            sent: Some(0),
            took: started.elapsed(),
        };
        let summary = push.summary(&settled)?;
        out.either(json, || summary)
    }
}
