//! Makes the calls that `clients/conformance` asks for, as a user of the client would: one JSON
//! object a line on standard input, one answer a line on standard output.

use std::error::Error as _;
use std::io::{BufRead as _, Write as _};
use std::time::Duration;

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tidetable_client::{Batch, Client, Dataset, Error, Key, Lookup, Problem};

/// As it stands in the answer, so that no digit is lost.
type Raw = Box<RawValue>;

#[derive(Deserialize)]
struct Asked {
    id: u64,
    call: String,
    base_url: Option<String>,
    options: Option<Options>,
    dataset: Option<String>,
    key: Option<String>,
    key_base64: Option<String>,
    keys: Option<Vec<String>>,
    keys_base64: Option<Vec<String>>,
    fields: Option<Vec<String>>,
    version: Option<u64>,
    prefix: Option<String>,
    limit: Option<u64>,
    unit: Option<String>,
    requests: Option<Vec<Asking>>,
}

#[derive(Deserialize)]
struct Asking {
    dataset: String,
    keys: Vec<String>,
    fields: Option<Vec<String>>,
    version: Option<u64>,
}

#[derive(Deserialize)]
struct Options {
    total_timeout: Option<f64>,
    connect_timeout: Option<f64>,
    token: Option<String>,
    unit: Option<String>,
    max_tries: Option<u32>,
    cache: Option<Cache>,
}

#[derive(Deserialize)]
struct Cache {
    ttl: f64,
    mode: Option<String>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let mut client = None;
    for line in std::io::stdin().lock().lines() {
        let asked: Asked = serde_json::from_str(&line?)?;
        let mut answer = match answer(&asked, &mut client).await {
            Ok(answer) => answer,
            Err(error) => json!({"error": told(&error)}),
        };
        answer["id"] = asked.id.into();
        let mut out = std::io::stdout().lock();
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    Ok(())
}

async fn answer(asked: &Asked, client: &mut Option<Client>) -> anyhow::Result<Value> {
    match asked.call.as_str() {
        "hello" => {
            let needs = [
                "bigint",
                "bytes_keys",
                "connect_timeout",
                "cache",
                "cache_version",
                "clear_cache",
                "unit",
                "unit_of_any_text",
                "unit_per_call",
                "user_agent",
            ];
            return Ok(json!({"language": "rust", "needs": needs}));
        }
        "open" => {
            *client = Some(open(asked)?);
            return Ok(json!({"ok": true}));
        }
        "close" => {
            *client = None;
            return Ok(json!({"ok": true}));
        }
        _ => {}
    }
    let client = client.as_ref().context("open comes first")?;
    let client = &match &asked.unit {
        Some(unit) => client.for_unit(unit),
        None => client.clone(),
    };
    match asked.call.as_str() {
        "get" => get(asked, client).await,
        "get_many" => get_many(asked, client).await,
        "scan" => scan(asked, client).await,
        "multi" => multi(asked, client).await,
        "clear_cache" => {
            client.clear_cache();
            Ok(json!({"ok": true}))
        }
        "describe" => Ok(json!({"text": format!("{client:?}")})),
        other => bail!("no such call: {other}"),
    }
}

fn open(asked: &Asked) -> anyhow::Result<Client> {
    let options = asked.options.as_ref().context("options")?;
    let mut builder = Client::builder()
        .server(asked.base_url.as_deref().context("base_url")?)
        .token(options.token.clone())
        .unit(options.unit.clone());
    if let Some(seconds) = options.total_timeout {
        builder = builder.total_timeout(Duration::try_from_secs_f64(seconds)?);
    }
    if let Some(seconds) = options.connect_timeout {
        builder = builder.connect_timeout(Duration::try_from_secs_f64(seconds)?);
    }
    if let Some(tries) = options.max_tries {
        builder = builder.max_tries(tries);
    }
    if let Some(cache) = &options.cache {
        builder = builder.cache(Duration::try_from_secs_f64(cache.ttl)?);
        if cache.mode.as_deref() == Some("version") {
            builder = builder.cache_by_version();
        }
    }
    Ok(builder.build()?)
}

async fn get(asked: &Asked, client: &Client) -> anyhow::Result<Value> {
    let key = match (&asked.key_base64, &asked.key) {
        (Some(bytes), _) => Key::from(STANDARD.decode(bytes)?),
        (None, key) => Key::from(key.as_deref().context("key")?),
    };
    Ok(match dataset(asked, client)?.get_entry::<Raw>(key).await? {
        Some(entry) => {
            json!({"found": true, "value": value(&entry.value)?, "version": entry.version})
        }
        None => json!({"found": false}),
    })
}

async fn get_many(asked: &Asked, client: &Client) -> anyhow::Result<Value> {
    let dataset = dataset(asked, client)?;
    if let Some(keys) = &asked.keys_base64 {
        let keys: Result<Vec<_>, _> = keys.iter().map(|key| STANDARD.decode(key)).collect();
        return batch(&dataset.get_many(keys?).await?, |key| STANDARD.encode(key.as_bytes()));
    }
    let keys = asked.keys.as_ref().context("keys")?;
    batch(&dataset.get_many(keys).await?, Key::to_string)
}

async fn scan(asked: &Asked, client: &Client) -> anyhow::Result<Value> {
    let prefix = asked.prefix.as_deref().context("prefix")?;
    let mut scan = dataset(asked, client)?.scan::<Raw>(prefix);
    if let Some(limit) = asked.limit {
        scan = scan.limit(limit);
    }
    let mut records = Vec::new();
    while let Some((key, found)) = scan.next().await? {
        let key = match key.as_str() {
            Some(text) => json!(text),
            None => json!({"base64": STANDARD.encode(key.as_bytes())}),
        };
        records.push(json!([key, value(&found)?]));
    }
    Ok(json!({"records": records, "version": scan.version()}))
}

async fn multi(asked: &Asked, client: &Client) -> anyhow::Result<Value> {
    let mut lookups = Vec::new();
    for asking in asked.requests.as_ref().context("requests")? {
        let mut lookup = Lookup::new(&asking.dataset, &asking.keys);
        if let Some(fields) = &asking.fields {
            lookup = lookup.fields(fields);
        }
        if let Some(version) = asking.version {
            lookup = lookup.version(version);
        }
        lookups.push(lookup);
    }
    let mut answers = Vec::new();
    for answer in client.multi::<Raw>(lookups).await? {
        let mut told = match &answer.result {
            Ok(found) => batch(found, Key::to_string)?,
            Err(problem) => json!({"error": of_problem(problem)}),
        };
        told["dataset"] = answer.dataset.into();
        answers.push(told);
    }
    Ok(json!({"answers": answers}))
}

fn dataset(asked: &Asked, client: &Client) -> anyhow::Result<Dataset> {
    let mut dataset = client.dataset(asked.dataset.as_deref().context("dataset")?);
    if let Some(fields) = &asked.fields {
        dataset = dataset.fields(fields);
    }
    if let Some(version) = asked.version {
        dataset = dataset.version(version);
    }
    Ok(dataset)
}

fn batch(found: &Batch<Raw>, written: impl Fn(&Key) -> String) -> anyhow::Result<Value> {
    let pair = |(key, found): &(Key, Raw)| Ok(json!([written(key), value(found)?]));
    let values: anyhow::Result<Vec<Value>> = found.iter().map(pair).collect();
    Ok(json!({"values": values?, "version": found.version()}))
}

/// Whole numbers up to those of 64 bits are exact in a `Value`.
fn value(raw: &RawValue) -> anyhow::Result<Value> {
    Ok(serde_json::from_str(raw.get())?)
}

fn told(error: &anyhow::Error) -> Value {
    let text = format!("{error:?}");
    let Some(error) = error.downcast_ref::<Error>() else {
        return json!({"kind": "adapter", "text": text});
    };
    let mut all = format!("{error} {error:?}");
    let mut next = error.source();
    while let Some(cause) = next {
        all = format!("{all} {cause} {cause:?}");
        next = cause.source();
    }
    let kind = match error {
        Error::NotFound(problem) | Error::Server(problem) => {
            let mut told = of_problem(problem);
            told["text"] = all.into();
            return told;
        }
        Error::Connection { .. } => "connection",
        Error::Deadline { .. } => "timeout",
        Error::Usage(_) => "usage",
        _ => "decode",
    };
    json!({"kind": kind, "text": all})
}

fn of_problem(problem: &Problem) -> Value {
    json!({"kind": "http", "code": problem.code, "status": problem.status, "detail": problem.detail,
        "request_id": problem.request_id})
}
