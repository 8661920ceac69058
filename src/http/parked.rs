//! Why a version that is ready is not served. Whoever pushed it and whoever looks at it later are
//! told the same.
//!
//! It follows from what is so now, and is kept nowhere: what is over keeps nobody waiting.

use tidetable_storage::{Dataset, Entry, Parked, State, Version};

/// Why it waits, in a sentence; `None` if it is not ready. To be asked only while nothing works at
/// the version, and unless its activation has failed: it may be on its way.
pub(super) fn detail(dataset: &Dataset, version: Version, entry: &Entry) -> Option<&'static str> {
    if entry.state != State::Ready {
        return None;
    }
    if dataset.canary.as_ref().is_some_and(|canary| canary.version == version) {
        return Some("it is the canary, served to a share of the units: promote makes it current");
    }
    // What nobody has asked for is not waited for, whatever else keeps it.
    let why = match entry.activate {
        true => dataset.parked(version, entry),
        false => Some(Parked::NotAsked),
    };
    Some(match why {
        Some(Parked::NotAsked) => "ready; activate it when it is wanted",
        Some(Parked::Held) => {
            "the dataset is held: the version is ready, and waits for release or activate"
        }
        Some(Parked::Canary) if dataset.canary.is_some() => {
            "a canary runs: the version is ready, and is not activated by itself"
        }
        Some(Parked::Canary) => {
            "it was a canary, and is not activated by itself; activate it when it is wanted"
        }
        Some(Parked::Superseded) => {
            "ready, but not activated: the current version's push began after this one's"
        }
        _ if entry.beside_canary => {
            "a canary ran, so it was not activated by itself; activate it when it is wanted"
        }
        // Another version was current, or the dataset held, when its turn came.
        _ => "ready, and not activated by itself; activate it when it is wanted",
    })
}

/// The reason of a ready version: the canary that keeps it from being activated by itself.
pub(super) fn reason(dataset: &Dataset, version: Version, entry: &Entry) -> Option<String> {
    let canary = dataset.canary.as_ref().filter(|canary| canary.version != version)?;
    let text = "nothing is activated by itself while a canary runs";
    entry.activate.then(|| format!("{text} (version {})", canary.version))
}
