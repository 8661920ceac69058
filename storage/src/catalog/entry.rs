//! One version, as the journal tells it, and where it is in its life.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::error::Code;
use crate::event::{Admitted, Cause, Event, Millis, SealedPart, Stats, Verdict};
use crate::gates;
use crate::layout::Layout;
use crate::names::{DatasetName, Version};

/// Where a version is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Its parts are arriving.
    Receiving,
    /// It has all its parts; its files are being made and verified.
    Building,
    /// Complete and verified; never served.
    Ready,
    /// The current version.
    Active,
    /// It served, and another does now.
    Retired,
    /// Its push ended without files.
    Failed,
    /// A gate refused it.
    Rejected,
    /// It was rolled back from.
    Bad,
    /// It was given up.
    Deleted,
}

impl State {
    /// Whether its files are in place.
    pub fn has_files(self) -> bool {
        matches!(self, Self::Ready | Self::Active | Self::Retired | Self::Rejected | Self::Bad)
    }

    /// Whether its push still runs.
    pub fn is_pushing(self) -> bool {
        matches!(self, Self::Receiving | Self::Building)
    }

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Receiving => "receiving",
            Self::Building => "building",
            Self::Ready => "ready",
            Self::Active => "active",
            Self::Retired => "retired",
            Self::Failed => "failed",
            Self::Rejected => "rejected",
            Self::Bad => "bad",
            Self::Deleted => "deleted",
        }
    }
}

/// One version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Where it is in its life.
    pub state: State,
    /// The batch run's name for it.
    pub label: Option<String>,
    /// The instant the data describes.
    pub as_of: Option<String>,
    /// How its rows became keys and values, as JSON.
    pub options: String,
    /// Whether its push asked for activation.
    pub activate: bool,
    /// Whether its push is one request.
    pub whole: bool,
    /// Its parts, once it is sealed.
    pub parts: Vec<SealedPart>,
    /// When its push began.
    pub created_at: Millis,
    /// When it was published.
    pub ready_at: Option<Millis>,
    /// When it last became current.
    pub activated_at: Option<Millis>,
    /// When it last ceased to be current, or a canary.
    pub left_at: Option<Millis>,
    /// BLAKE3 of its manifest, once it is published.
    pub manifest: Option<[u8; 32]>,
    /// How often its files were replaced, to leave out erased keys.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub generation: u32,
    /// What is in it, once it is published.
    pub stats: Option<Stats>,
    /// What the gates said last.
    pub gates: Vec<Verdict>,
    /// The version they compared it with.
    pub gated_against: Option<Version>,
    /// The stable name of why it failed, or was refused and not activated since.
    pub code: Option<String>,
    /// Why it failed, was refused, was marked bad or was forced: without keys and values of it.
    pub reason: Option<String>,
    /// Why it failed, if that quotes rows, keys or values: see [`Entry::quoting`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The first places in the source at fault.
    pub problems: Vec<String>,
    /// It was ready while a canary ran: a start does not activate it.
    #[serde(default)]
    pub beside_canary: bool,
    /// It is or was a canary: it is activated by nobody but a person who names it.
    #[serde(default)]
    pub was_canary: bool,
}

impl Entry {
    /// Where its files are, once it is published.
    pub fn place(&self, layout: &Layout, dataset: &DatasetName, version: Version) -> PathBuf {
        layout.generation(dataset, version, self.generation)
    }

    /// Why it failed or was refused, with the rows, keys and values that this quotes: for those
    /// alone who may read them, or have pushed them. `None` if the reason says all.
    pub fn quoting(&self) -> Option<String> {
        match self.state {
            State::Rejected => gates::quoting_refusal(&self.gates),
            _ => self.detail.clone(),
        }
    }

    pub(super) fn admitted(cause: &Cause, e: &Admitted) -> Self {
        Self {
            state: State::Receiving,
            label: e.label.clone(),
            as_of: e.as_of.clone(),
            options: e.options.clone(),
            activate: e.activate,
            whole: e.whole,
            parts: Vec::new(),
            created_at: cause.at,
            ready_at: None,
            activated_at: None,
            left_at: None,
            manifest: None,
            generation: 0,
            stats: None,
            gates: Vec::new(),
            gated_against: None,
            code: None,
            reason: None,
            detail: None,
            problems: Vec::new(),
            beside_canary: false,
            was_canary: false,
        }
    }

    /// It is ready while a canary runs.
    pub(super) fn waits_beside_canary(&mut self) {
        self.beside_canary = true;
    }

    /// It is served now, or tried.
    pub(super) fn waits_no_more(&mut self) {
        // Earlier versions of this program kept here why it waits: checkpoints of theirs have that.
        if std::mem::take(&mut self.beside_canary) {
            self.reason = None;
        }
    }

    /// Takes in one of the five events that are about a version alone.
    pub(super) fn take(&mut self, cause: &Cause, event: &Event) {
        match event {
            Event::Sealed(e) => {
                self.state = State::Building;
                self.activate = e.activate;
                self.parts = e.parts.clone();
            }
            Event::Failed(e) => {
                self.state = State::Failed;
                self.code = Some(e.code.clone());
                let reason = e.reason();
                self.detail = Some(e.detail.clone()).filter(|detail| *detail != reason);
                self.reason = Some(reason);
                self.problems = e.problems.clone();
                self.left_at = Some(cause.at);
            }
            Event::Published(e) => {
                self.ready_at = Some(cause.at);
                self.manifest = Some(e.manifest);
                self.stats = Some(e.stats.clone());
                self.gated(&e.gates, e.against);
            }
            Event::Rejected(e) => self.gated(&e.gates, e.against),
            Event::Deleted(_) => {
                self.state = State::Deleted;
                self.left_at = Some(cause.at);
            }
            _ => unreachable!("Dataset::take hands on the events of one version alone"),
        }
    }

    fn gated(&mut self, verdicts: &[Verdict], against: Option<Version>) {
        self.gates = verdicts.to_vec();
        self.gated_against = against;
        self.state = State::Ready;
        if !gates::all_passed(verdicts) {
            self.state = State::Rejected;
            self.code = Some(Code::GateRefused.as_str().to_owned());
            self.reason = Some(gates::refusal(verdicts));
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_zero(n: &u32) -> bool {
    *n == 0
}
