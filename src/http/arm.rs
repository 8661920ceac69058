//! Which arm of a dataset a read is of: the current version, or the canary beside it.
//!
//! A read says for whom it is (`Tidetable-Unit`), or is for its own key; or it names the arm
//! (`Tidetable-Arm`). An explicit version is neither arm. While no canary runs there is nothing
//! to choose, and nothing is said about it.

use axum::http::header::VARY;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use tidetable_storage::{Served, Version};

use crate::metrics::Arm;
use crate::problem::{Answer, Fault, Problem};

/// The header that says for whom a read is.
const UNIT: &str = "tidetable-unit";
/// The header that asks for an arm, and the one that says which it was.
const ARM: &str = "tidetable-arm";
const MAX_UNIT_BYTES: usize = 1024;

/// What a read says of who reads.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reader<'a> {
    unit: Option<&'a [u8]>,
    wanted: Option<Arm>,
}

impl<'a> Reader<'a> {
    /// As the headers of a request say it. They are checked also where they change nothing: a
    /// client's mistake is not to wait for a canary.
    pub(crate) fn of(headers: &'a HeaderMap) -> Answer<Self> {
        let unit = only(headers, UNIT)?.map(HeaderValue::as_bytes);
        if unit.is_some_and(|unit| !is_unit(unit)) {
            let text = format!("Tidetable-Unit is 1 to {MAX_UNIT_BYTES} bytes");
            return Err(Problem::new(Fault::InvalidHeader, text));
        }
        let wanted = match only(headers, ARM)?.map(HeaderValue::as_bytes) {
            None => None,
            Some(b"canary") => Some(Arm::Canary),
            Some(b"current") => Some(Arm::Current),
            Some(_) => {
                let text = "Tidetable-Arm of a request is canary or current";
                return Err(Problem::new(Fault::InvalidHeader, text));
            }
        };
        Ok(Self { unit, wanted })
    }

    /// One that says at most for whom it is.
    pub(crate) fn for_unit(unit: Option<&'a [u8]>) -> Self {
        Self { unit, wanted: None }
    }

    /// What a read is of: of the version that it names, else of the arm of its unit. One without
    /// a unit is for its key, if it has one key alone, and else for nobody: it is of what is
    /// current, so that one answer stays one version.
    pub(crate) fn chooses(
        &self,
        served: &Served,
        version: Option<Version>,
        key: Option<&[u8]>,
    ) -> Choice {
        if version.is_some() {
            return Choice { arm: Arm::Pinned, version, told: false, wanted: false };
        }
        let Some(canary) = served.canary() else { return Choice::CURRENT };
        let is_canary = match (self.wanted, self.unit.or(key)) {
            (Some(wanted), _) => wanted == Arm::Canary,
            (None, Some(unit)) => canary.takes(unit),
            (None, None) => false,
        };
        let arm = if is_canary { Arm::Canary } else { Arm::Current };
        let version = is_canary.then(|| canary.version());
        Choice { arm, version, told: true, wanted: self.wanted.is_some() }
    }

    /// What the next page of a scan is of: the version of the page before, whatever arm that is
    /// of by now.
    pub(crate) fn goes_on(served: &Served, version: Version) -> Choice {
        let arm = match served.canary() {
            _ if served.current_version() == Some(version) => Arm::Current,
            Some(canary) if canary.version() == version => Arm::Canary,
            _ => Arm::Pinned,
        };
        let told = served.canary().is_some() && arm != Arm::Pinned;
        Choice { arm, version: Some(version), told, wanted: false }
    }
}

/// Whether that is the name of a unit.
pub(crate) fn is_unit(bytes: &[u8]) -> bool {
    (1..=MAX_UNIT_BYTES).contains(&bytes.len())
}

/// What a read is of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Choice {
    /// As it is counted.
    pub(crate) arm: Arm,
    /// The version to read, if not the current one.
    pub(crate) version: Option<Version>,
    /// Whether the answer says which arm it is of.
    told: bool,
    /// Whether the request has asked for the arm.
    wanted: bool,
}

impl Choice {
    /// The current version, where no canary runs.
    const CURRENT: Self = Self { arm: Arm::Current, version: None, told: false, wanted: false };

    /// The arm, if there is one to tell.
    pub(crate) fn told(&self) -> Option<Arm> {
        self.told.then_some(self.arm)
    }

    /// Says on an answer which arm it is of, and by what that was chosen.
    pub(crate) fn stamp(&self, headers: &mut HeaderMap) {
        for (name, value) in self.headers().into_iter().flatten() {
            headers.insert(name, value);
        }
    }

    /// The same on a problem.
    pub(crate) fn on(&self, problem: Problem) -> Problem {
        let headers = self.headers().into_iter().flatten();
        headers.fold(problem, |problem, (name, value)| problem.header(name, value))
    }

    fn headers(&self) -> Option<[(HeaderName, HeaderValue); 2]> {
        let arm = HeaderValue::from_static(self.told()?.as_str());
        let vary = if self.wanted { "Tidetable-Unit, Tidetable-Arm" } else { "Tidetable-Unit" };
        Some([(HeaderName::from_static(ARM), arm), (VARY, HeaderValue::from_static(vary))])
    }
}

/// The value of a header that is given once at most.
fn only<'a>(headers: &'a HeaderMap, name: &str) -> Answer<Option<&'a HeaderValue>> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (value, None) => Ok(value),
        _ => Err(Problem::new(Fault::InvalidHeader, format!("{name} is given more than once"))),
    }
}
