//! Reads a key, and many: `cargo run --release --example read -- course-recs 42 7`, from the server
//! that `TIDETABLE_SERVER` names.

use anyhow::Context as _;
use serde_json::Value;
use tidetable_client::{Client, Error};

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let dataset = arguments.next().context("say a dataset, and keys")?;
    let keys: Vec<String> = arguments.collect();
    let client = Client::builder().build()?;

    // One key, with the version that it was read from.
    if let Some(key) = keys.first() {
        match client.get_entry::<Value>(&dataset, key).await {
            Ok(Some(entry)) => println!("{key} of version {}: {}", entry.version, entry.value),
            Ok(None) => println!("{key} is not there"),
            Err(Error::NotFound(problem)) => println!("{problem}"),
            Err(error) => return Err(error.into()),
        }
    }

    // Many, all of one version.
    let found = client.get_many::<Value>(&dataset, &keys).await?;
    println!("{} of {} found, in version {:?}", found.len(), keys.len(), found.version());

    // The first records, in the order of their keys.
    let mut records = client.scan::<Value>(&dataset, "").limit(3);
    while let Some((key, value)) = records.next().await? {
        println!("{key}: {value}");
    }
    Ok(())
}
