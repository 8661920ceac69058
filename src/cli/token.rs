//! `tidetable token`: who may ask a server for what.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use chrono::Utc;
use clap::builder::TypedValueParser;
use clap::error::ErrorKind;
use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::{Value, json};
use tidetable_storage::{Cause, TokenId};

use super::Context;
use super::client::Client;
use super::confirm::{confirmed, may_ask};
use super::exit::{Exit, Failure};
use super::notes;
use super::offline;
use super::output::{Columns, Left, age_of};
use crate::access::{Grants, Pattern, Role, TokenSpec};
use crate::config::Span;

/// Make, list and revoke tokens: who may ask the server for what
///
/// A server whose data directory never had a token asks for none, and lets everybody do
/// everything; so it listens on this machine only. From the first token on every request
/// needs one, and there is no way back. The first token must have the role admin on all
/// datasets. Make it with the server stopped, by --data; or from this machine while it still
/// asks for none.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  tidetable token create ops --role admin --data /var/lib/tidetable
  tidetable token create airflow --role pusher --dataset 'course-*' --expires 30d
  tidetable token list
  tidetable token revoke 1f2e3d4c5b6a7988")]
pub(crate) struct TokenArgs {
    #[command(subcommand)]
    command: TokenCommand,
}

#[derive(Debug, Subcommand)]
enum TokenCommand {
    Create(CreateArgs),
    List(ListArgs),
    Revoke(RevokeArgs),
}

/// Make a token, and print its text: the only time that it is shown
///
/// The text alone goes to standard output, so that TOKEN=$(tidetable token create …) holds
/// it. Several tokens may have one name: make the new one, give it to whoever uses it, then
/// revoke the old one.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  tidetable token create recs-backend --role reader --dataset course-recs
  tidetable token create airflow --role pusher --dataset 'course-*' --expires 30d
  tidetable token create prometheus --role monitor --expires never > prometheus.token
  tidetable token create ops --role admin --data /var/lib/tidetable     with the server stopped")]
pub(crate) struct CreateArgs {
    /// Who acts with it, as histories say it: a person, a job, a service
    name: String,
    /// What it may do; may be given several times
    #[arg(long = "role", value_name = "ROLE", required = true)]
    roles: Vec<Role>,
    /// On which datasets: a name, a prefix such as course-*, or * for all; may be given
    /// several times
    #[arg(long = "dataset", value_name = "DATASET", default_value = "*")]
    datasets: Vec<Pattern>,
    /// After which time it is good no more, such as 12h, 30d or 1w; or never
    #[arg(long, value_name = "TIME", default_value = "90d")]
    expires: Expires,
    /// Make it in this data directory instead, whose server is stopped
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

impl TokenArgs {
    /// Whether it works on a data directory, and asks no server.
    pub(crate) fn is_offline(&self) -> bool {
        matches!(&self.command, TokenCommand::Create(args) if args.data.is_some())
    }
}

/// List tokens: those that are good, and the last of those that are no more
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  tidetable token list
  tidetable token list --json")]
pub(crate) struct ListArgs {}

/// Revoke a token: from then on it is good for nothing
///
/// On a terminal it asks first before the last token that may make others, unless --yes is given.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  tidetable token revoke 1f2e3d4c5b6a7988")]
pub(crate) struct RevokeArgs {
    /// Its id, as `tidetable token list` shows it: the 16 digits after tt_
    #[arg(value_parser = IdParser)]
    id: TokenId,
    /// Do not ask, not even before the last token that may make others
    #[arg(long)]
    yes: bool,
}

/// Reads an id. What is none may be the token itself, so it is not repeated.
#[derive(Clone)]
struct IdParser;

impl TypedValueParser for IdParser {
    type Value = TokenId;

    fn parse_ref(
        &self,
        command: &clap::Command,
        _: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<TokenId, clap::Error> {
        let id = value.to_str().and_then(|text| TokenId::parse(text).ok());
        id.ok_or_else(|| {
            let text = "this is not the id of a token: 16 of 0-9 and a-f, which stand in the token \
                        after tt_ and in `tidetable token list`\n";
            clap::Error::raw(ErrorKind::ValueValidation, text).with_cmd(command)
        })
    }
}

/// `30d`, or `never`.
#[derive(Clone, Copy, Debug)]
struct Expires(Option<u64>);

impl std::str::FromStr for Expires {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "never" {
            return Ok(Self(None));
        }
        // A bare number is seconds elsewhere: a token good for 30 of them is what nobody meant.
        if text.trim().bytes().all(|b| b.is_ascii_digit()) {
            return Err("expected a time with its unit, such as 30d or 12h; or never".to_owned());
        }
        let span: Span = text.parse().map_err(|error| format!("{error}; or never"))?;
        Ok(Self(Some(span.0.as_secs())))
    }
}

/// A token, as the server tells it.
#[derive(Debug, Deserialize)]
struct Shown {
    id: String,
    name: String,
    roles: Vec<String>,
    datasets: Vec<String>,
    state: String,
    created_at: String,
    expires_at: Option<String>,
}

pub(crate) fn run(args: &TokenArgs, context: &Context<'_>) -> Result<(), Failure> {
    match &args.command {
        TokenCommand::Create(args) => create(args, context),
        TokenCommand::List(ListArgs {}) => list(context),
        TokenCommand::Revoke(args) => revoke(args, context),
    }
}

fn create(args: &CreateArgs, context: &Context<'_>) -> Result<(), Failure> {
    let made = match &args.data {
        Some(dir) => create_in(args, dir)?,
        None => {
            let body = json!({
                "name": args.name,
                "roles": args.roles,
                "datasets": args.datasets,
                "expires_in_seconds": args.expires.0,
            });
            context.client()?.post_once("/v1/tokens", &body)?.json()?
        }
    };
    let shown: Shown = serde_json::from_value(made.clone())
        .map_err(|error| Failure::usage(format!("the answer shows no token: {error}")))?;
    let text = made["token"].as_str().unwrap_or_default();
    notes::say(told(&shown));
    context.out.either(made.to_string(), || text.to_owned())
}

/// In a data directory that no server has.
fn create_in(args: &CreateArgs, dir: &Path) -> Result<Value, Failure> {
    let grants = Grants::new(args.roles.clone(), args.datasets.clone()).map_err(Failure::usage)?;
    let spec = TokenSpec::new(args.name.clone(), grants, Some(args.expires.0));
    let spec = spec.map_err(Failure::usage)?;
    let is_new = !offline::is_data_directory(dir)?;
    let store = offline::open_to_change(dir)?;
    // The directory may be one of which the name was mistyped: its server would never know.
    if is_new {
        notes::say(format_args!("{} is new: there was no data directory", dir.display()));
    }
    if store.catalog().tokens().never_were() {
        spec.check_first().map_err(Failure::usage)?;
    }
    let reason = Some("made in the data directory".to_owned());
    let cause = Cause { actor: "anonymous".to_owned(), reason, ..Cause::default() };
    let made = spec.make(|new| store.create_token(new, cause))?;
    Ok(made.json())
}

fn told(shown: &Shown) -> String {
    let until = shown
        .expires_at
        .as_deref()
        .map_or_else(|| "until it is revoked".to_owned(), |at| format!("until {at}"));
    format!(
        "token {} of {} ({} on {}) is good {until}. Keep its text, it is not shown again:",
        shown.id,
        shown.name,
        shown.roles.join(", "),
        shown.datasets.join(", "),
    )
}

fn list(context: &Context<'_>) -> Result<(), Failure> {
    let all = all(&context.client()?)?;
    let json = json!({ "tokens": all, "next": null }).to_string();
    let shown: Vec<Shown> = serde_json::from_value(Value::Array(all))
        .map_err(|error| Failure::usage(format!("the answer shows no tokens: {error}")))?;
    context.out.either(json, || table(&shown))
}

/// All tokens, as the server tells them.
fn all(client: &Client) -> Result<Vec<Value>, Failure> {
    let (mut all, mut next): (Vec<Value>, Option<String>) = (Vec::new(), None);
    loop {
        let cursor = next.map_or_else(String::new, |next| format!("&cursor={next}"));
        let mut page: Value = client.get(&format!("/v1/tokens?limit=1000{cursor}"))?.json()?;
        if let Value::Array(tokens) = page["tokens"].take() {
            all.extend(tokens);
        }
        next = page["next"].as_str().map(str::to_owned);
        if next.is_none() {
            return Ok(all);
        }
    }
}

/// Whether no other token that is good may do everything on all datasets.
fn is_last_admin(all: &[Value], id: &str) -> bool {
    let has = |list: &Value, what: &str| {
        list.as_array().is_some_and(|list| list.iter().any(|one| one == what))
    };
    let is_admin = |token: &&Value| {
        token["state"] == "active" && has(&token["roles"], "admin") && has(&token["datasets"], "*")
    };
    let mut admins = all.iter().filter(is_admin);
    matches!((admins.next(), admins.next()), (Some(one), None) if one["id"] == id)
}

fn table(tokens: &[Shown]) -> String {
    if tokens.is_empty() {
        return "no tokens: whoever reaches the server may do everything".to_owned();
    }
    let columns =
        ["ID", "NAME", "STATE", "ROLES", "DATASETS", "CREATED", "EXPIRES"].map(|name| (name, Left));
    let mut table = Columns::new(&columns);
    let now = Utc::now();
    for token in tokens {
        table.row(&[
            token.id.clone(),
            token.name.clone(),
            token.state.clone(),
            token.roles.join(","),
            token.datasets.join(","),
            age_of(Some(&token.created_at), now),
            token
                .expires_at
                .as_deref()
                .map_or_else(|| "never".to_owned(), |at| age_of(Some(at), now)),
        ]);
    }
    table.text()
}

fn revoke(args: &RevokeArgs, context: &Context<'_>) -> Result<(), Failure> {
    let client = context.client()?;
    // What is leaked is revoked all the same when a list cannot be had.
    let is_last = || all(&client).is_ok_and(|all| is_last_admin(&all, &args.id.to_string()));
    if !args.yes && may_ask() && is_last() {
        let question = format!(
            "{} is the last token that may make others: after it one is made with the server stopped \
             alone (`tidetable token create NAME --role admin --data DIR`). Revoke it?",
            args.id
        );
        if !confirmed(&question)? {
            return Err(Failure::new(Exit::Failed, "nothing was revoked"));
        }
    }
    let answer = client.delete(&format!("/v1/tokens/{}", args.id))?;
    let shown: Shown = answer.json()?;
    context.out.either(answer.text(), || {
        format!(
            "token {} of {} is revoked: it is good for nothing from now on",
            shown.id, shown.name
        )
    })
}

#[cfg(test)]
mod tests {
    use super::super::stub::{Reply, Stub};
    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        revoke: RevokeArgs,
    }

    #[test]
    fn a_token_in_the_place_of_its_id_is_not_repeated() {
        let parsed = |id: &str| <Line as clap::Parser>::try_parse_from(["revoke", id]);
        let id = parsed("1f2e3d4c5b6a7988").unwrap().revoke.id;
        assert_eq!(id.to_string(), "1f2e3d4c5b6a7988");
        for secret in ["tt_1f2e3d4c5b6a7988_c2VjcmV0", "c2VjcmV0"] {
            let error = parsed(secret).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ValueValidation);
            let text = error.to_string();
            assert!(!text.contains("c2VjcmV0") && text.contains("after tt_"), "{text}");
        }
    }

    fn shown(state: &str, expires_at: Option<&str>) -> Value {
        json!({
            "id": "1f2e3d4c5b6a7988", "name": "airflow", "roles": ["pusher"],
            "datasets": ["course-*"], "state": state, "created_at": "2026-11-26T10:00:00Z",
            "created_by": "ops", "expires_at": expires_at, "revoked_at": null,
        })
    }

    #[test]
    fn the_list_shows_who_may_do_what_until_when() {
        let tokens = [shown("active", None), shown("revoked", Some("2099-01-01T00:00:00Z"))];
        let tokens: Vec<Shown> =
            tokens.into_iter().map(|token| serde_json::from_value(token).unwrap()).collect();
        let text = table(&tokens);
        for part in ["airflow", "pusher", "course-*", "never", "2099-01-01", "revoked"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(table(&[]).contains("everything"));
        assert!(told(&tokens[0]).contains("until it is revoked"));
    }

    #[test]
    fn the_last_that_may_make_others_is_told_from_the_rest() {
        let token = |id: &str, state: &str, role: &str, dataset: &str| json!({"id": id, "state": state, "roles": ["reader", role], "datasets": [dataset]});
        let mut all = vec![
            token("1", "active", "admin", "*"),
            token("2", "revoked", "admin", "*"),
            token("3", "active", "operator", "*"),
            token("4", "active", "admin", "course-*"),
        ];
        assert!(is_last_admin(&all, "1"));
        assert!(!["2", "3", "4"].iter().any(|id| is_last_admin(&all, id)));
        all.push(token("5", "active", "admin", "*"));
        assert!(!["1", "5"].iter().any(|id| is_last_admin(&all, id)));
    }

    #[test]
    fn times_are_spans_or_never() {
        let seconds = |text: &str| text.parse::<Expires>().map(|expires| expires.0);
        assert_eq!(seconds("30d"), Ok(Some(30 * 86_400)));
        assert_eq!(seconds("1w"), Ok(Some(7 * 86_400)));
        assert_eq!(seconds("never"), Ok(None));
        assert!(seconds("soon").unwrap_err().contains("or never"));
        for bare in ["30", "0", " 30 ", ""] {
            let text = seconds(bare).unwrap_err();
            assert!(text.contains("30d") && text.contains("or never"), "{bare:?}: {text}");
        }
        assert_eq!(seconds("30s"), Ok(Some(30)), "a unit that is given is meant");
    }

    #[test]
    fn what_makes_a_token_is_asked_once() {
        let stub = Stub::answering(vec![Reply::drop()]);
        let client = Client::new(&stub.address(), None).unwrap();
        assert!(client.post_once("/v1/tokens", &json!({})).is_err());
        assert_eq!(stub.finish().len(), 1, "a second token would be good too, and nobody's");
    }
}
