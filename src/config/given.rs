//! What was given of the settings, where, and which of it holds: the texts of the file, of the
//! variables and of the flags, before they are values.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context as _, bail};

use super::{NAMES, Sources, Target, file};
use crate::nearest::nearest;

/// How the variables of settings begin.
const PREFIX: &str = "TIDETABLE_";

/// Variables that begin like settings and are not settings of the server.
const OTHER_VARIABLES: [&str; 6] = [
    "TIDETABLE_SERVER",
    "TIDETABLE_TOKEN",
    "TIDETABLE_CONFIG",
    "TIDETABLE_CA_CERTIFICATE",
    "TIDETABLE_CLIENT_CERTIFICATE",
    "TIDETABLE_CLIENT_KEY",
];

/// And those of a build with faults.
#[cfg(feature = "faults")]
const FAULT_VARIABLES: &[&str] = &tidetable_storage::FAULT_VARIABLES;
#[cfg(not(feature = "faults"))]
const FAULT_VARIABLES: &[&str] = &[];

/// Where a value stands, for the message that refuses it.
#[derive(Clone, Debug)]
pub(super) enum Origin {
    Flag(&'static str),
    Variable(String),
    File(PathBuf, usize),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => write!(f, "--{}", name.replace('_', "-")),
            Self::Variable(name) => f.write_str(name),
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
        }
    }
}

/// The texts that were given; later ones replace earlier ones.
#[derive(Debug, Default)]
pub(super) struct Given {
    settings: BTreeMap<&'static str, (String, Origin)>,
    pub(super) webhooks: Vec<Target>,
    pub(super) sources: Sources,
}

impl Given {
    pub(super) fn add_file(&mut self, path: &Path) -> anyhow::Result<()> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the settings in {}", path.display()))?;
        let contents = file::contents(&text)
            .map_err(|(line, message)| anyhow::anyhow!("{}:{line}: {message}", path.display()))?;
        self.webhooks = contents.webhooks;
        self.sources = contents.sources;
        for entry in contents.settings {
            let origin = Origin::File(path.to_owned(), entry.line);
            let Some(name) = NAMES.iter().find(|name| **name == entry.name) else {
                bail!(unknown(&entry.name, &origin));
            };
            self.settings.insert(name, (entry.value, origin));
        }
        Ok(())
    }

    pub(super) fn add_variables(
        &mut self,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> anyhow::Result<()> {
        for (variable, value) in variables {
            let variable = variable.to_string_lossy().into_owned();
            let Some(rest) = variable.strip_prefix(PREFIX) else { continue };
            let name = variable.as_str();
            if OTHER_VARIABLES.contains(&name) || FAULT_VARIABLES.contains(&name) {
                continue;
            }
            let lower = rest.to_ascii_lowercase();
            let known =
                NAMES.iter().find(|name| **name == lower && rest == lower.to_ascii_uppercase());
            let origin = Origin::Variable(variable.clone());
            match known {
                Some(name) => self.add(name, &value, origin)?,
                None if is_of_a_service(rest) => {}
                None => bail!(unknown(&variable, &origin)),
            }
        }
        Ok(())
    }

    pub(super) fn add(
        &mut self,
        name: &'static str,
        value: &OsString,
        origin: Origin,
    ) -> anyhow::Result<()> {
        let Some(text) = value.to_str() else {
            bail!("{name} is {value:?} ({origin}): expected UTF-8");
        };
        self.settings.insert(name, (text.to_owned(), origin));
        Ok(())
    }

    pub(super) fn parse<T: FromStr<Err: fmt::Display>>(
        &self,
        name: &str,
        default: &str,
    ) -> anyhow::Result<T> {
        let (text, origin) = match self.settings.get(name) {
            Some((text, origin)) => (text.as_str(), origin.to_string()),
            None => (default, "the default".to_owned()),
        };
        text.parse().map_err(|error| anyhow::anyhow!("{name} is {text:?} ({origin}): {error}"))
    }
}

/// Whether Kubernetes gives every container a variable of this name, behind [`PREFIX`], where there is
/// a Service `tidetable`: `SERVICE_HOST`, `SERVICE_PORT`, `SERVICE_PORT_HTTP`, `PORT`, `PORT_7070_TCP`,
/// `PORT_7070_TCP_ADDR`.
fn is_of_a_service(rest: &str) -> bool {
    if matches!(rest, "SERVICE_HOST" | "SERVICE_PORT" | "PORT") || rest.starts_with("SERVICE_PORT_")
    {
        return true;
    }
    let port = rest.strip_prefix("PORT_").and_then(|rest| rest.split_once('_'));
    port.is_some_and(|(port, _)| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()))
}

fn unknown(name: &str, origin: &Origin) -> String {
    let place = match origin {
        Origin::File(..) => format!("{origin}: "),
        _ => String::new(),
    };
    let near = nearest(name.trim_start_matches(PREFIX), NAMES.iter().copied());
    let near = match (near, origin) {
        (None, _) => "; the".to_owned(),
        (Some(near), Origin::Variable(_)) => {
            format!(": did you mean {PREFIX}{}? The", near.to_ascii_uppercase())
        }
        (Some(near), _) => format!(": did you mean {near}? The"),
    };
    format!("{place}{name} is no setting{near} settings are {}", NAMES.join(", "))
}
