//! Verifying what a server has: it reads, and says what it found.

use serde::Deserialize;
use serde_json::json;
use tidetable_storage::{DatasetName, Version};

use super::super::Context;
use super::super::api::{self, List, dataset_path, new_key, version_path};
use super::super::client::Client;
use super::super::exit::{Exit, Failure};
use super::super::output::{bytes, counted};
use super::{IF_DAMAGED, so_many_damaged};

/// How long one request waits for the server to have read a version, in seconds.
const WAIT: u64 = 60;

/// What came of one version.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Verified {
    version: u64,
    sound: Option<bool>,
    bytes: u64,
    damaged: Option<Damage>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Damage {
    file: String,
    offset: Option<u64>,
    detail: String,
}

pub(super) fn verify_served(
    dataset: &DatasetName,
    version: Option<Version>,
    context: &Context<'_>,
) -> Result<(), Failure> {
    let (client, name) = (context.client()?, dataset.as_str());
    let versions = match version {
        Some(version) => vec![version.0],
        None => kept(&client, name)?,
    };
    let (mut damaged, mut read) = (Vec::new(), 0);
    for version in &versions {
        let path = format!("{}/verify?wait={WAIT}", version_path(name, *version));
        let answer = loop {
            let answer = client
                .post(&path, &json!({}), &new_key())
                .map_err(|failure| failure.about(name, Some(*version)))?;
            if answer.json::<Verified>()?.sound.is_some() {
                break answer;
            }
        };
        let verified: Verified = answer.json()?;
        read += verified.bytes;
        context.out.either(answer.text(), || verified.text(name))?;
        let what = verified.damaged.as_ref().map(Damage::text);
        damaged.extend(what.map(|what| (format!("{name} {version}"), what)));
    }
    if !context.out.json && damaged.is_empty() {
        let n = counted(versions.len() as u64, "version");
        context.out.line(format!("all sound: {n}, {}", bytes(read)))?;
    }
    if damaged.is_empty() {
        return Ok(());
    }
    let mut failure = Failure::new(Exit::Failed, so_many_damaged(damaged.len() as u64));
    failure.code = Some("data_corrupt".to_owned());
    failure.problems = damaged.into_iter().map(|(name, what)| format!("{name}: {what}")).collect();
    Err(failure.hint(IF_DAMAGED))
}

/// The versions that have files, newest first.
fn kept(client: &Client, name: &str) -> Result<Vec<u64>, Failure> {
    let path = format!("{}/versions", dataset_path(name));
    let list = List::read(client, &path, "versions", None).map_err(|f| f.about(name, None))?;
    let versions: Vec<api::Version> = list.items()?;
    let has_files = |version: &&api::Version| {
        ["ready", "active", "retired", "rejected", "bad"].contains(&version.state.as_str())
    };
    Ok(versions.iter().filter(has_files).map(|version| version.version).collect())
}

impl Verified {
    fn text(&self, name: &str) -> String {
        let version = self.version;
        match &self.damaged {
            None => format!("{name} {version}: sound, {}", bytes(self.bytes)),
            Some(damage) => format!("{name} {version}: DAMAGED: {}", damage.text()),
        }
    }
}

impl Damage {
    fn text(&self) -> String {
        let place = self.offset.map(|at| format!(" at byte {at}")).unwrap_or_default();
        format!("{}{place}: {}", self.file, self.detail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_damaged_is_told_with_its_file_and_place() {
        let sound = Verified { version: 3, bytes: 1_200_000, ..Verified::default() };
        assert_eq!(sound.text("recs"), "recs 3: sound, 1.2 MB");
        let file = "000001.sst".to_owned();
        let damage = Damage { file, offset: Some(8192), detail: "other bytes".to_owned() };
        let damaged = Verified { damaged: Some(damage), ..sound };
        assert_eq!(damaged.text("recs"), "recs 3: DAMAGED: 000001.sst at byte 8192: other bytes");
    }
}
