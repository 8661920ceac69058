//! One watch: whether a version that was activated does worse than the one before. Pure: it is
//! given what was counted, the limits and the time, and says what it came to.
//!
//! Three measures, each over all of the window so far:
//! - **hit rate**: keys that were looked up in the new version are looked up in the one before,
//!   too ([`Compared`]), by a sample in which each key weighs as much as the lookups that it
//!   stands for. Of those that at least one of the two has, the share that the new one
//!   has may be lower than the share that the one before has by so many points. A key that
//!   neither has says nothing, however often it is asked for;
//! - **errors**: the share of lookups that failed, unless it was as high before;
//! - **p99**: the time that 99 of 100 lookups took no more than, as a multiple of what it was
//!   before.

use serde::{Deserialize, Serialize};
use tidetable_storage::{Millis, Swap, Version, WatchLimits, age};

use crate::metrics::ArmTotals;

/// A sample of so many lookups says enough of all of them, if all weigh the same: if the hit
/// rate has fallen by 10 points, fewer than one in 100,000 of such samples makes it 20.
const ENOUGH_SAMPLED: u64 = 200;

/// What it came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// It goes on.
    Watching,
    /// The window has passed, and the version did no worse.
    Well,
    /// It did worse.
    Fell,
}

impl Verdict {
    /// The word for it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Watching => "watching",
            Self::Well => "well",
            Self::Fell => "fell",
        }
    }
}

/// Sampled lookups of the new version, and what both versions have of them.
///
/// The sample is stratified. A stratum is what one thread had looked up from one look to the
/// next: so many lookups, of which so many were kept, each with the same chance. A kept one
/// stands for lookups / kept of them, its weight. The weights of those that a version has,
/// added up over all strata, estimate how many of all lookups it has; a hit rate is the
/// quotient of two such sums, a stratified mean. Without weights a quiet thread would count as
/// much as a busy one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Compared {
    /// Sampled lookups of keys that at least one of the two has: a plain count. All others
    /// are sums of weights.
    pub(crate) sampled: u64,
    /// The lookups that those stand for.
    pub(crate) known: f64,
    /// The squares of their weights.
    pub(crate) squares: f64,
    /// Of the known ones, those that the version before has.
    pub(crate) before: f64,
    /// Those that the new one has.
    pub(crate) new: f64,
    /// Lookups of keys that neither has.
    pub(crate) unknown: f64,
}

impl Compared {
    /// One more key, which stands for so many lookups.
    pub(crate) fn add(&mut self, weight: f64, before: bool, new: bool) {
        if !before && !new {
            self.unknown += weight;
            return;
        }
        self.sampled += 1;
        self.known += weight;
        self.squares += weight * weight;
        if before {
            self.before += weight;
        }
        if new {
            self.new += weight;
        }
    }

    /// And these.
    pub(crate) fn add_all(&mut self, others: Self) {
        self.sampled += others.sampled;
        self.known += others.known;
        self.squares += others.squares;
        self.before += others.before;
        self.new += others.new;
        self.unknown += others.unknown;
    }

    /// Whether at least so many were sampled, and say as much as so many of equal weight would
    /// (Kish's effective sample size). One heavy key among hundreds of light ones, as a flood of
    /// unknown keys leaves it on its thread, would else decide alone.
    fn has_sampled(&self, least: u64) -> bool {
        self.sampled >= least && self.known * self.known >= least as f64 * self.squares
    }
}

/// The watch of one activation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Watch {
    /// The activation.
    pub(crate) swap: Swap,
    /// The version that was current before it.
    pub(crate) against: Version,
    /// What is known of lookups of that version while it was current.
    before: ArmTotals,
    /// Lookups of the new one since.
    seen: ArmTotals,
    compared: Compared,
    verdict: Verdict,
    detail: String,
}

impl Watch {
    /// Begins. `before` is what is known of lookups of `against` while it was current.
    pub(crate) fn begin(swap: Swap, against: Version, before: ArmTotals) -> Self {
        Self {
            swap,
            against,
            before,
            seen: ArmTotals::default(),
            compared: Compared::default(),
            verdict: Verdict::Watching,
            detail: "nothing was looked up yet".to_owned(),
        }
    }

    /// The version that is watched.
    pub(crate) fn version(&self) -> Version {
        self.swap.to
    }

    /// When the window ends.
    pub(crate) fn until(&self, limits: &WatchLimits) -> Millis {
        until(&self.swap, limits)
    }

    /// Keys looked up so far.
    pub(crate) fn lookups(&self) -> u64 {
        self.seen.keys()
    }

    /// What it came to.
    pub(crate) fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// The same for a person, with what was seen.
    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    /// Why nobody but a person goes back from this activation: it was not the job's.
    pub(crate) fn is_a_persons(&self) -> Option<&'static str> {
        if self.swap.forced {
            return Some("its activation was forced");
        }
        if self.swap.together {
            return Some(
                "it was activated together with other datasets, which would not go back with it",
            );
        }
        (self.swap.to < self.against).then_some("it is the older version, gone back to by hand")
    }

    /// So much was counted since the activation, and so many more keys were compared.
    pub(crate) fn saw(&mut self, seen: ArmTotals, compared: Compared) {
        self.seen = seen;
        self.compared.add_all(compared);
    }

    /// Its version was rolled back for what was seen, as the journal has it.
    pub(crate) fn has_fallen(&mut self, reason: &str) {
        if self.verdict == Verdict::Watching {
            self.verdict = Verdict::Fell;
            self.detail = format!("{reason}; rolled back to version {}", self.against);
        }
    }

    /// With what was done about it.
    pub(crate) fn and(&mut self, what: &str) {
        self.detail.push_str("; ");
        self.detail.push_str(what);
    }

    /// What this comes to, if that is new: once there is a verdict it stays.
    pub(crate) fn judge(&mut self, limits: &WatchLimits, now: Millis) -> Option<Verdict> {
        if self.verdict != Verdict::Watching {
            return None;
        }
        let falls = self.falls(limits);
        if !falls.is_empty() {
            let seconds = now.saturating_sub(self.swap.at).div_ceil(1000);
            self.detail = format!("seen within {seconds} s: {}", falls.join("; "));
            self.verdict = Verdict::Fell;
            return Some(self.verdict);
        }
        self.detail = self.summary(limits);
        if !is_over(&self.swap, limits, now) {
            return None;
        }
        self.verdict = Verdict::Well;
        Some(self.verdict)
    }

    /// Every measure that is beyond its limit, for a person.
    fn falls(&self, limits: &WatchLimits) -> Vec<String> {
        if self.lookups() < limits.min_lookups {
            return Vec::new();
        }
        let falls = [self.hit_rate_fell(limits), self.errors_rose(limits), self.p99_rose(limits)];
        falls.into_iter().flatten().collect()
    }

    fn hit_rate_fell(&self, limits: &WatchLimits) -> Option<String> {
        let most = limits.max_hit_rate_drop?;
        let Compared { sampled, known, before, new, .. } = self.compared;
        if !self.knows_enough(limits) {
            return None;
        }
        let (before, new) = (percent(before, known), percent(new, known));
        let drop = before - new;
        (drop > most).then(|| {
            format!(
                "the hit rate fell by {drop:.1} points, where {most} are allowed: by {sampled} sampled lookups of \
                 keys that version {version} or {against} has, {version} has {new:.1} % and {against} had \
                 {before:.1} %",
                version = self.version(),
                against = self.against,
            )
        })
    }

    /// Whether there were `min_lookups` lookups of keys that one of the versions has, as far as
    /// a sample of them says.
    fn knows_enough(&self, limits: &WatchLimits) -> bool {
        let Compared { known, unknown, .. } = self.compared;
        let (lookups, least) = (self.lookups() as f64, limits.min_lookups as f64);
        self.compared.has_sampled(limits.min_lookups.clamp(1, ENOUGH_SAMPLED))
            && lookups * known >= least * (known + unknown)
    }

    fn errors_rose(&self, limits: &WatchLimits) -> Option<String> {
        let most = limits.max_error_percent?;
        let failed = percent(self.seen.errors as f64, self.lookups() as f64);
        let before = percent(self.before.errors as f64, self.before.keys() as f64);
        let was_as_high = self.before.keys() >= limits.min_lookups && before >= failed;
        (failed > most && !was_as_high).then(|| {
            let (errors, lookups) = (self.seen.errors, self.lookups());
            format!(
                "{failed:.1} % of the lookups failed ({errors} of {lookups}), where {most} % are allowed"
            )
        })
    }

    fn p99_rose(&self, limits: &WatchLimits) -> Option<String> {
        let most = limits.max_p99_factor?;
        if self.before.timed().min(self.seen.timed()) < limits.min_lookups {
            return None;
        }
        let (before, new) = (self.before.quantile(0.99)?, self.seen.quantile(0.99)?);
        let factor = new.as_secs_f64() / before.as_secs_f64().max(1e-9);
        (factor > most).then(|| {
            format!(
                "the p99 of a lookup is {new:?}, {factor:.1} times that of version {} ({before:?}), where {most} \
                 times are allowed",
                self.against
            )
        })
    }

    fn summary(&self, limits: &WatchLimits) -> String {
        let (lookups, errors) = (self.lookups(), self.seen.errors);
        let mut text = format!("{lookups} lookups, of which {errors} failed");
        if lookups < limits.min_lookups {
            text.push_str(&format!(
                ": too few to say more (min_lookups is {})",
                limits.min_lookups
            ));
            return text;
        }
        let Compared { sampled, known, before, new, .. } = self.compared;
        text.push_str(&format!(
            "; by {sampled} sampled lookups of keys that version {version} or {against} has, {version} has \
             {:.1} % and {against} had {:.1} %",
            percent(new, known),
            percent(before, known),
            version = self.version(),
            against = self.against,
        ));
        if limits.max_hit_rate_drop.is_some() && !self.knows_enough(limits) {
            text.push_str(": too few to judge the hit rate");
        }
        text
    }
}

/// When the window of an activation ends.
fn until(swap: &Swap, limits: &WatchLimits) -> Millis {
    swap.at.saturating_add(limits.window_seconds.saturating_mul(1000))
}

/// Whether the window of an activation has passed; also of one that is still to come, by a clock
/// that was wrong: nothing would end its watch until then.
pub(crate) fn is_over(swap: &Swap, limits: &WatchLimits, now: Millis) -> bool {
    age(swap.at, now) >= limits.window_seconds.saturating_mul(1000)
}

fn percent(part: f64, all: f64) -> f64 {
    if all > 0.0 { part * 100.0 / all } else { 0.0 }
}

#[cfg(test)]
mod tests;
