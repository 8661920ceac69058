//! The rules as tables of scripts, and random sequences of events against the invariants. What
//! they share is here: a catalogue with the events that made it, and the words of a script.

mod canary;
mod history;
mod pointer;
mod pushes;
mod random;
mod remembered;
mod retention;
mod settings;
mod verdicts;

use super::*;
use crate::event::{Failed, Idempotency, Published, SealedPart, Stats};

const DAY: Millis = 24 * 3600 * 1000;

fn name(text: &str) -> DatasetName {
    DatasetName::parse(text).unwrap()
}

/// A catalogue with the events that made it.
#[derive(Clone)]
struct World {
    catalog: Catalog,
    log: Vec<(Cause, Event)>,
    now: Millis,
    dataset: DatasetName,
}

impl World {
    fn new() -> Self {
        let dataset = name("a");
        Self { catalog: Catalog::default(), log: Vec::new(), now: 1, dataset }
    }

    /// A dataset with its default settings, in which `script` happened.
    fn after(script: &str) -> Self {
        let mut world = Self::new();
        world.configure(&DatasetConfig::default());
        for step in script.split_whitespace() {
            world.step(step).unwrap_or_else(|e| panic!("{step} of {script:?}: {e}"));
        }
        world
    }

    fn configure(&mut self, config: &DatasetConfig) {
        let event = self.catalog.plan_configure(&self.dataset, config).unwrap();
        event.into_iter().for_each(|event| self.happen(event));
    }

    fn happen(&mut self, event: Event) {
        self.happen_because(Cause::default(), event);
    }

    fn happen_because(&mut self, cause: Cause, event: Event) {
        let cause = Cause { at: self.now, ..cause };
        self.catalog.apply(self.catalog.seq() + 1, &cause, &event);
        self.log.push((cause, event));
    }

    /// One word: `P` a push that becomes ready and asked for activation, `p` one that did
    /// not ask, `E` one that its gates refuse, `O` one that stays open, `X` one that fails;
    /// with the number of a version: `S1` seals it, `W1` publishes it, `A1` activates,
    /// `F1` forces (reason given), `f1` forces (none), `R1` rolls back to, `D1` deletes;
    /// `R` rolls back, `RH` and holds, `H` holds, `L` releases, `+5` lets 5 s pass; `C1` makes
    /// it a canary, `c` ends that, `M` promotes it.
    fn step(&mut self, step: &str) -> Result<()> {
        let (word, number) = step.split_at(1);
        let version = Version(number.parse().unwrap_or(0));
        match word {
            "P" | "p" | "E" => {
                let version = self.admit(word != "p")?;
                self.seal(version, word != "p")?;
                self.publish(version, if word == "E" { 0 } else { 10 })?;
            }
            "O" => drop(self.admit(true)?),
            "X" => {
                let version = self.admit(true)?;
                self.fail(version)?;
            }
            "S" => self.seal(version, true)?,
            "W" => self.publish(version, 10)?,
            "A" => self.activate(version, false, None)?,
            "F" => self.activate(version, true, Some("because"))?,
            "f" => self.activate(version, true, None)?,
            "R" => {
                let to = (version.0 > 0).then_some(version);
                let rollback = Rollback { to, hold: number == "H", expect: Expect::Anything };
                let event = self.catalog.plan_rollback(&self.dataset, &rollback)?;
                self.happen(event);
            }
            "H" => {
                let event = self.catalog.plan_hold(&self.dataset)?.expect("it was not held");
                self.happen(event);
            }
            "L" => {
                let target = self.dataset().release_target();
                let event = self.catalog.plan_release(&self.dataset, target)?;
                self.happen(event);
            }
            "D" => {
                let event = self.catalog.plan_delete(&self.dataset, version)?;
                self.happen(event);
            }
            "C" => self.canary(version, 10.0, None)?,
            "c" => {
                let event = self.catalog.plan_end_canary(&self.dataset, ExpectCanary::Anything)?;
                self.happen(event);
            }
            "M" => {
                let promotion = Promotion { version: None, expect: Expect::Anything };
                let event = self.catalog.plan_promote(&self.dataset, &promotion)?;
                self.happen(event);
            }
            "+" => self.now += version.0 * 1000,
            _ => panic!("no such step: {step}"),
        }
        Ok(())
    }

    fn canary(&mut self, version: Version, percent: f64, experiment: Option<&str>) -> Result<()> {
        let experiment = experiment.map(str::to_owned);
        let expect = ExpectCanary::Anything;
        let start = CanaryStart { version, percent, experiment, expect };
        let event = self.catalog.plan_canary(&self.dataset, &start)?;
        event.into_iter().for_each(|event| self.happen(event));
        Ok(())
    }

    fn admit(&mut self, activate: bool) -> Result<Version> {
        let push = Admission { activate, whole: true, ..Admission::default() };
        let event = self.catalog.plan_admit(&self.dataset, &push)?;
        let version = event.version().unwrap();
        self.happen(event);
        Ok(version)
    }

    fn seal(&mut self, version: Version, activate: bool) -> Result<()> {
        let part = SealedPart { name: "1".to_owned(), bytes: 1, sha256: String::new() };
        let event = self.catalog.plan_seal(&self.dataset, version, activate, vec![part])?;
        self.happen(event);
        Ok(())
    }

    fn publish(&mut self, version: Version, records: u64) -> Result<()> {
        self.catalog.check_publish(&self.dataset, version)?;
        let content_digest = format!("of version {version}");
        let stats = Stats { records, content_digest, ..Stats::default() };
        let (gates, against) = self.catalog.gate(&self.dataset, &stats, |_, _| false)?;
        let manifest = [version.0 as u8; 32];
        let dataset = self.dataset.clone();
        self.happen(Event::Published(Published {
            dataset,
            version,
            manifest,
            stats,
            gates,
            against,
        }));
        Ok(())
    }

    fn fail(&mut self, version: Version) -> Result<()> {
        let event = self.catalog.plan_fail(Failed {
            dataset: self.dataset.clone(),
            version,
            code: "bad_rows".to_owned(),
            detail: "row 7".to_owned(),
            problems: vec!["row 7".to_owned()],
        })?;
        self.happen(event);
        Ok(())
    }

    fn activate(&mut self, version: Version, force: bool, reason: Option<&str>) -> Result<()> {
        let activation = Activation { version, force, expect: Expect::Anything };
        let event = self.catalog.plan_activate(&self.dataset, &activation, reason)?;
        let reason = reason.map(str::to_owned);
        self.happen_because(Cause { reason, ..Cause::default() }, event);
        Ok(())
    }

    fn dataset(&self) -> &Dataset {
        self.catalog.dataset(&self.dataset).unwrap()
    }

    fn state(&self, version: u64) -> State {
        self.dataset().versions[&Version(version)].state
    }

    /// Every version's state, as its first three letters: `1ret 2act`; ` held` if held.
    fn shown(&self) -> String {
        let versions = &self.dataset().versions;
        let mut shown: Vec<String> =
            versions.iter().map(|(v, e)| format!("{v}{}", &e.state.as_str()[..3])).collect();
        shown.extend(self.dataset().hold.is_some().then(|| "held".to_owned()));
        shown.extend(self.dataset().canary.as_ref().map(|c| format!("canary{}", c.version)));
        shown.join(" ")
    }

    fn due(&self) -> Vec<u64> {
        let due = self.catalog.due_for_deletion(&Keep::default(), self.now);
        due.iter().map(|(_, v)| v.0).collect()
    }

    fn folded(&self) -> Catalog {
        let mut catalog = Catalog::default();
        for (n, (cause, event)) in self.log.iter().enumerate() {
            catalog.apply(n as u64 + 1, cause, event);
        }
        catalog
    }
}

fn id(key: &str, fingerprint: &str) -> Cause {
    let idempotency = Idempotency { key: key.to_owned(), fingerprint: fingerprint.to_owned() };
    Cause { idempotency: Some(idempotency), ..Cause::default() }
}
