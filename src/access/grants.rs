//! Roles, the rights they are made of, and the datasets they hold on.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use tidetable_storage::{DatasetName, Token, quoted};

/// What a route needs. Each is one bit, so that a set of them is a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Right {
    /// Values: lookups, scans, samples, the history of a key.
    Read = 1,
    /// What there is of a dataset and its versions, without values.
    See = 1 << 1,
    /// Bring a version.
    Push = 1 << 2,
    /// Give up a push that runs; with [`Right::Operate`] any version that nobody serves.
    Discard = 1 << 3,
    /// Change which version is served.
    Operate = 1 << 4,
    /// Settings of datasets, their deletion, tokens.
    Administer = 1 << 5,
    /// How the server is, and what it counts.
    Monitor = 1 << 6,
}

impl Right {
    /// The role to ask for: the one with the fewest rights that has this one.
    pub(crate) fn role(self) -> Role {
        match self {
            Self::Read | Self::See => Role::Reader,
            Self::Push | Self::Discard => Role::Pusher,
            Self::Operate => Role::Operator,
            Self::Administer => Role::Admin,
            Self::Monitor => Role::Monitor,
        }
    }
}

/// What a token is for.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Role {
    /// Looks keys up, and sees which versions there are
    Reader,
    /// Pushes versions, and gives up its own pushes that run; sees no values
    Pusher,
    /// Activates, rolls back, holds, releases, runs canaries, deletes versions; sees no values
    Operator,
    /// Everything: also settings and deletion of datasets, and, on all datasets, tokens
    Admin,
    /// Metrics and health; no data
    Monitor,
}

impl Role {
    /// Every role, in the order of the documentation.
    pub(crate) const ALL: [Self; 5] =
        [Self::Reader, Self::Pusher, Self::Operator, Self::Admin, Self::Monitor];

    /// Its name.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Pusher => "pusher",
            Self::Operator => "operator",
            Self::Admin => "admin",
            Self::Monitor => "monitor",
        }
    }

    /// Whether it has that right.
    pub(crate) fn has(self, right: Right) -> bool {
        self.rights() & right as u8 != 0
    }

    fn rights(self) -> u8 {
        let of = |rights: &[Right]| rights.iter().fold(0, |all, right| all | *right as u8);
        match self {
            Self::Reader => of(&[Right::Read, Right::See]),
            Self::Pusher => of(&[Right::See, Right::Push, Right::Discard]),
            Self::Operator => of(&[Right::See, Right::Discard, Right::Operate, Right::Monitor]),
            Self::Admin => u8::MAX,
            Self::Monitor => of(&[Right::Monitor]),
        }
    }
}

/// The name of a dataset, a prefix of names that ends in `*`, or `*`: all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Pattern(String);

impl Pattern {
    /// All datasets, also those that come to be later.
    pub(crate) fn all() -> Self {
        Self("*".to_owned())
    }

    fn matches(&self, dataset: &DatasetName) -> bool {
        match self.0.strip_suffix('*') {
            Some(prefix) => dataset.as_str().starts_with(prefix),
            None => dataset.as_str() == self.0,
        }
    }
}

impl FromStr for Pattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let name = text.strip_suffix('*').unwrap_or(text);
        if text == "*" || DatasetName::parse(name).is_ok() {
            return Ok(Self(text.to_owned()));
        }
        Err(format!(
            "{} names no datasets: expected a dataset's name, a prefix such as course-*, or *",
            quoted(text)
        ))
    }
}

impl TryFrom<String> for Pattern {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.0
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Most patterns of one token.
const MOST_PATTERNS: usize = 100;

/// What a token may be used for, as the journal keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Grants {
    roles: Vec<Role>,
    datasets: Vec<Pattern>,
}

impl Grants {
    /// These roles on these datasets.
    pub(crate) fn new(mut roles: Vec<Role>, datasets: Vec<Pattern>) -> Result<Self, String> {
        roles.sort_unstable();
        roles.dedup();
        if roles.is_empty() {
            let known = Self::known_roles();
            return Err(format!("roles is empty: name at least one of {known}"));
        }
        if !(1..=MOST_PATTERNS).contains(&datasets.len()) {
            return Err(format!(
                "datasets has {} entries: expected 1 to {MOST_PATTERNS}",
                datasets.len()
            ));
        }
        Ok(Self { roles, datasets })
    }

    fn known_roles() -> String {
        Role::ALL.map(Role::as_str).join(", ")
    }

    /// Everything.
    pub(crate) fn all() -> Self {
        Self { roles: vec![Role::Admin], datasets: vec![Pattern::all()] }
    }

    /// Nothing.
    pub(crate) fn none() -> Self {
        Self { roles: Vec::new(), datasets: Vec::new() }
    }

    /// What a token of the journal grants: nothing, if that is not understood.
    pub(crate) fn of(token: &Token) -> Self {
        Self::parse(&token.grants).unwrap_or_else(|_| Self::none())
    }

    fn parse(json: &str) -> serde_json::Result<Self> {
        serde_json::from_str(json)
    }

    /// As the journal holds it.
    pub(crate) fn json(&self) -> String {
        serde_json::to_string(self).expect("roles and patterns are plain data")
    }

    pub(crate) fn roles(&self) -> &[Role] {
        &self.roles
    }

    pub(crate) fn datasets(&self) -> &[Pattern] {
        &self.datasets
    }

    pub(crate) fn have(&self, right: Right) -> bool {
        self.roles.iter().any(|role| role.has(right))
    }

    pub(crate) fn allow(&self, right: Right, dataset: &DatasetName) -> bool {
        self.have(right) && self.datasets.iter().any(|pattern| pattern.matches(dataset))
    }

    pub(crate) fn allow_everywhere(&self, right: Right) -> bool {
        self.have(right) && self.datasets.iter().any(|pattern| pattern.0 == "*")
    }
}

/// So many patterns are told in a sentence.
const TOLD: usize = 5;

/// `reader, pusher on course-*`
impl fmt::Display for Grants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.roles.is_empty() {
            return f.write_str("none");
        }
        let roles: Vec<_> = self.roles.iter().map(|role| role.as_str()).collect();
        let datasets: Vec<_> = self.datasets.iter().take(TOLD).map(Pattern::to_string).collect();
        write!(f, "{} on {}", roles.join(", "), datasets.join(", "))?;
        match self.datasets.len().saturating_sub(TOLD) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_names_and_prefixes_of_names() {
        let matches = |pattern: &str, name: &str| {
            pattern.parse::<Pattern>().unwrap().matches(&DatasetName::parse(name).unwrap())
        };
        assert!(
            matches("*", "a") && matches("a", "a") && matches("a*", "a") && matches("a*", "ab")
        );
        assert!(!matches("a", "ab") && !matches("ab", "a") && !matches("ab*", "a"));
        for bad in ["", "**", "a**", "*a", "a*b", "A*", "../*", "a b", "_*", "é"] {
            assert!(bad.parse::<Pattern>().is_err(), "{bad:?}");
        }
        let long = "y".repeat(10_000).parse::<Pattern>().unwrap_err();
        assert!(long.len() < 300, "{}", long.len());
    }

    #[test]
    fn rights_hold_on_the_datasets_of_the_token_alone() {
        let grants = |roles: &[Role], datasets: &[&str]| {
            let datasets = datasets.iter().map(|text| text.parse().unwrap()).collect();
            Grants::new(roles.to_vec(), datasets).unwrap()
        };
        let a = DatasetName::parse("a").unwrap();
        let b = DatasetName::parse("b").unwrap();
        let reader = grants(&[Role::Reader], &["a", "c*"]);
        assert!(reader.allow(Right::Read, &a) && !reader.allow(Right::Read, &b));
        assert!(!reader.allow(Right::Push, &a) && !reader.allow_everywhere(Right::Read));
        let both = grants(&[Role::Pusher, Role::Operator, Role::Pusher], &["*"]);
        assert_eq!(both.roles(), [Role::Pusher, Role::Operator]);
        assert_eq!(both.to_string(), "pusher, operator on *");
        assert_eq!(Grants::none().to_string(), "none");
        let seven = grants(&[Role::Reader], &["a", "b", "c*", "d", "e", "f", "g"]);
        assert_eq!(seven.to_string(), "reader on a, b, c*, d, e and 2 more");
        assert!(both.allow(Right::Push, &b) && both.allow_everywhere(Right::Operate));
        assert!(!both.allow(Right::Read, &a) && !both.allow(Right::Administer, &a));
        assert!(Grants::all().allow_everywhere(Right::Read));
        assert!(!Grants::none().allow(Right::Read, &a) && !Grants::none().have(Right::Read));
        assert_eq!(Grants::parse(&reader.json()).unwrap(), reader);
        assert!(Grants::new(vec![], vec![Pattern::all()]).is_err());
        assert!(Grants::new(vec![Role::Reader], vec![]).is_err());
    }

    #[test]
    fn what_is_not_understood_is_no_grant() {
        for bad in [
            "",
            "{}",
            r#"{"roles":["owner"],"datasets":["*"]}"#,
            r#"{"roles":["reader"],"datasets":["*"],"but_not":["secret"]}"#,
            r#"{"roles":["reader"],"datasets":["a**"]}"#,
        ] {
            assert!(Grants::parse(bad).is_err(), "{bad}");
        }
    }
}
