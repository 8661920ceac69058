//! The end of `tidetable erase --now`: waits until no version holds the bytes of erased keys.

use std::thread;
use std::time::Duration;

use serde_json::json;
use tidetable_storage::DatasetName;

use super::{Done, EraseArgs, Of, Standing};
use crate::cli::api::new_key;
use crate::cli::client::Client;
use crate::cli::exit::{Exit, Failure};
use crate::cli::notes;
use crate::cli::output::grouped;

/// How often the server is asked how far it is.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What is waited for.
pub(super) struct Rewriting<'a> {
    pub(super) client: &'a Client,
    pub(super) args: &'a EraseArgs,
    pub(super) dataset: Option<&'a DatasetName>,
}

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Ended {
    /// What was rewritten.
    pub(super) rewritten: Vec<Of>,
    /// What could not be rewritten.
    failed: Vec<Of>,
    /// What may still have the bytes, by what the server says at the end.
    held_by: Vec<Of>,
}

impl Rewriting<'_> {
    /// Waits until no version holds erased keys, or no more can be done about it; `first` is being
    /// rewritten already.
    pub(super) fn to_its_end(&self, first: Vec<Of>) -> Result<Ended, Failure> {
        self.wait_and_ask_again(first).map_err(|failure| {
            failure.hint(
                "the keys are erased, and nothing gives them; whether their bytes have left the disk is \
                 not known: say the same again with --now",
            )
        })
    }

    /// It asks again for what was published meanwhile, and for what a restart of the server has made
    /// it forget.
    fn wait_and_ask_again(&self, mut rewriting: Vec<Of>) -> Result<Ended, Failure> {
        let mut ended = Ended::default();
        let mut before: Option<Vec<Of>> = None;
        loop {
            ended.failed = self.wait(&rewriting)?;
            for of in rewriting {
                let is_known = |list: &[Of]| list.iter().any(|known| known.is(&of));
                if !is_known(&ended.failed) && !is_known(&ended.rewritten) {
                    ended.rewritten.push(of);
                }
            }
            ended.held_by = self.still_held()?;
            let held_by = ended.held_by.iter();
            let to_rewrite: Vec<Of> = held_by.filter(|of| !of.is_pushing()).cloned().collect();
            let is_as_before = before.as_ref().is_some_and(|before| {
                let mut pairs = before.iter().zip(&to_rewrite);
                before.len() == to_rewrite.len() && pairs.all(|(a, b)| a.is(b))
            });
            if !ended.failed.is_empty() || to_rewrite.is_empty() || is_as_before {
                return Ok(ended);
            }
            before = Some(to_rewrite);
            let body = json!({
                "keys": [], "reason": self.args.reason,
                "datasets": self.dataset.map(|name| [name]), "now": true,
            });
            let answer = self.client.post("/v1/erase", &body, &new_key())?;
            rewriting = answer.json::<Done>()?.rewriting;
        }
    }

    /// What may hold erased keys where they were erased, by the list of erasures; each once.
    fn still_held(&self) -> Result<Vec<Of>, Failure> {
        let (mut held, mut next) = (Vec::<Of>::new(), None::<String>);
        loop {
            let cursor = next.map_or_else(String::new, |next| format!("&cursor={next}"));
            let page: Standing =
                self.client.get(&format!("/v1/erase?limit=1000{cursor}"))?.json()?;
            for of in page.erasures.into_iter().flat_map(|erasure| erasure.held_by) {
                let is_meant = self.dataset.is_none_or(|name| name.as_str() == of.dataset);
                let is_same = |known: &Of| known.is(&of) && known.in_parts == of.in_parts;
                if is_meant && !held.iter().any(is_same) {
                    held.push(of);
                }
            }
            next = page.next;
            if next.is_none() {
                return Ok(held);
            }
        }
    }

    /// Waits until these are rewritten; what could not be.
    fn wait(&self, rewriting: &[Of]) -> Result<Vec<Of>, Failure> {
        let is_ours = |of: &Of| rewriting.iter().any(|r| r.is(of));
        let mut said = (String::new(), 0, String::new());
        loop {
            let standing: Standing = self.client.get("/v1/erase?limit=1")?.json()?;
            let Some(first) = standing.rewriting.iter().find(|of| is_ours(of)) else {
                return Ok(standing.failed.into_iter().filter(is_ours).collect());
            };
            let now = (first.dataset.clone(), first.version, first.phase.clone());
            if now != said {
                let size = if first.total > 0 {
                    format!(" ({})", grouped(first.total))
                } else {
                    String::new()
                };
                notes::say(format_args!(
                    "{} {}: {}{size}",
                    first.dataset, first.version, first.phase
                ));
                said = now;
            }
            thread::sleep(LOOK_EVERY);
        }
    }
}

impl Ended {
    /// Whether no version holds the bytes any more.
    pub(super) fn is_gone(&self) -> bool {
        self.failed.is_empty() && self.held_by.is_empty()
    }

    /// An error, if one may.
    pub(super) fn conclude(self) -> Result<(), Failure> {
        if self.is_gone() {
            return Ok(());
        }
        let mut failure = Failure::new(
            Exit::Failed,
            match self.failed.is_empty() {
                true => "the keys are erased, but their bytes are not gone from the disk yet",
                false => {
                    "the keys are erased, but versions that may hold them could not be rewritten"
                }
            },
        );
        failure.code = self.failed.first().map(|of| of.code.clone());
        let said = |of: &Of| self.failed.iter().any(|failed| failed.is(of));
        let failed =
            self.failed.iter().map(|of| format!("{} {}: {}", of.dataset, of.version, of.detail));
        let held = self.held_by.iter().filter(|of| !said(of));
        let held = held.map(|of| format!("{} {}: {}", of.dataset, of.version, of.why()));
        failure.problems = failed.chain(held).collect();
        Err(failure.hint(match (self.failed.is_empty(), self.held_by.iter().any(Of::is_pushing)) {
            (false, _) => {
                "nothing gives the keys; mend the cause, and say the same again with --now"
            }
            (true, true) => {
                "nothing gives the keys; when these pushes have ended, say the same again with --now"
            }
            (true, false) => "nothing gives the keys; say the same again with --now",
        }))
    }
}

impl Of {
    fn is(&self, other: &Self) -> bool {
        (&self.dataset, self.version) == (&other.dataset, other.version)
    }

    fn is_pushing(&self) -> bool {
        self.in_parts || matches!(self.state.as_deref(), Some("receiving" | "building"))
    }

    /// Why it may still have the bytes.
    fn why(&self) -> &'static str {
        match self.is_pushing() {
            true if self.in_parts => "what was received of this push may hold them, until it ends",
            true => "it was being built when they were erased, and is not published yet",
            false => "it may hold them, and was not rewritten",
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::run;
    use super::super::tests::args;
    use super::*;
    use crate::cli::client::Patience;
    use crate::cli::output::Output;
    use crate::cli::stub::{Reply, Stub};
    use crate::cli::{Context, Global};

    /// What `erase recs 42 --now` comes to with these answers, and how often the server was asked.
    fn ran(replies: Vec<Reply>) -> (Result<(), Failure>, String, usize) {
        let stub = Stub::answering(replies);
        let global =
            Global { server: stub.address(), token: None, tls: Default::default(), json: false };
        let context = Context { global: &global, out: Output::captured(false) };
        let result = run(&args("recs 42 --now --yes --reason x"), &context);
        let asked = stub.finish().len();
        (result, context.out.text(), asked)
    }

    fn held(state: &str) -> Reply {
        let held_by = json!([{"dataset": "recs", "version": 3, "state": state, "in_parts": false}]);
        Reply::json(200, json!({"erasures": [{"seq": 1, "held_by": held_by}], "next": null}))
    }

    fn asked() -> Reply {
        let of = json!([{"dataset": "recs", "version": 3, "state": "ready"}]);
        Reply::json(200, json!({"erased": 1, "held_by": of, "rewriting": of}))
    }

    fn none() -> Reply {
        Reply::json(200, json!({"erasures": [], "rewriting": [], "failed": [], "next": null}))
    }

    #[test]
    fn what_was_published_meanwhile_or_forgotten_is_asked_for_again() {
        let again = json!([{"dataset": "recs", "version": 3}, {"dataset": "recs", "version": 4}]);
        let again = Reply::json(200, json!({"rewriting": again}));
        let (result, text, _) = ran(vec![asked(), none(), held("ready"), again, none(), none()]);
        result.unwrap();
        assert!(
            text.contains("2 versions were rewritten: their bytes are gone from its"),
            "{text}"
        );
    }

    #[test]
    fn a_server_that_is_away_is_asked_again_and_then_it_is_said_that_the_keys_are_erased() {
        let ended = |replies: Vec<Reply>| {
            let stub = Stub::answering(replies);
            let client = Client::new(&stub.address(), None).unwrap();
            let once =
                Patience { retries: 1, first_pause: Duration::from_millis(1), out_of_reach: None };
            let client = client.with_patience(once);
            let args = args("recs 42 --now --yes --reason x");
            let rewriting = Rewriting { client: &client, args: &args, dataset: None };
            let ended = rewriting.to_its_end(Vec::new());
            stub.finish();
            ended
        };
        assert!(ended(vec![Reply::drop(), none(), none()]).unwrap().is_gone());
        let failure = ended(vec![Reply::drop(), Reply::drop()]).unwrap_err();
        assert_eq!(failure.exit, Exit::Unreachable);
        assert!(failure.hint.as_deref().unwrap().starts_with("the keys are erased"), "{failure:?}");
    }

    #[test]
    fn bytes_are_not_gone_while_a_version_holds_them() {
        let (result, text, _) =
            ran(vec![asked(), none(), held("ready"), asked(), none(), held("ready")]);
        let failure = result.unwrap_err();
        assert!(!text.contains("gone"), "{text}");
        assert_eq!(failure.exit, Exit::Failed);
        assert!(failure.problems[0].starts_with("recs 3: "), "{:?}", failure.problems);
        // A push under way is nothing that asking again would help.
        let (result, text, asked) = ran(vec![asked(), none(), held("building")]);
        assert!(!text.contains("gone") && asked == 3, "{text}");
        assert!(result.unwrap_err().problems[0].contains("being built"));
    }
}
