//! What the nightly jobs of an online university might write: course recommendations as
//! NDJSON, one row per learner and course in no order, and learner statistics as CSV.
//!
//! The same learner and night always give the same rows, so the tour is the same for
//! everybody. The rows are written as they are made: memory does not grow with learners.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::ops::Range;
use std::path::Path;

use chrono::{Days, NaiveDate};

const COURSES: &[&str] = &[
    "accounting-basics",
    "algorithms-part-1",
    "algorithms-part-2",
    "ancient-greek-history",
    "astronomy",
    "bayesian-statistics",
    "behavioural-economics",
    "bioinformatics",
    "calculus-one",
    "climate-science",
    "compilers",
    "constitutional-law",
    "corporate-finance",
    "cryptography",
    "data-visualisation",
    "databases",
    "deep-learning",
    "design-thinking",
    "drug-discovery",
    "epidemiology",
    "financial-markets",
    "game-theory",
    "genetics",
    "human-anatomy",
    "immunology",
    "international-law",
    "introduction-to-logic",
    "learning-how-to-learn",
    "linear-algebra",
    "machine-learning",
    "microeconomics",
    "modern-art",
    "music-theory",
    "negotiation",
    "neuroscience",
    "nutrition",
    "operating-systems",
    "organic-chemistry",
    "philosophy-of-science",
    "photography",
    "positive-psychology",
    "probability",
    "programming-in-python",
    "programming-in-rust",
    "project-management",
    "public-speaking",
    "quantum-mechanics",
    "roman-architecture",
    "social-psychology",
    "songwriting",
    "spanish-for-beginners",
    "supply-chains",
    "sustainable-cities",
    "systems-biology",
    "teaching-online",
    "thermodynamics",
    "urban-planning",
    "web-development",
    "wine-and-chemistry",
    "world-literature",
];

const REASONS: &[&str] = &[
    "because you finished a course like it",
    "learners like you took it next",
    "popular in your field",
    "new from a teacher you follow",
    "completes your specialisation",
    "short enough for this month",
];

/// Learners whose rows are mixed with each other's, as the tasks of a job would.
const MIXED: u32 = 500;

/// What the statistics of a night are like.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stats {
    /// As they should be.
    Right,
    /// Only every second learner: an input was missing.
    Halved,
    /// A field has another name.
    Renamed,
    /// Everybody is there, and everything that was counted is 0.
    Zeroed,
    /// The keys of another dataset: with a prefix.
    Prefixed,
    /// What is said to be minutes are seconds.
    InSeconds,
}

/// Writes the recommendations that were worked out in `night` for learners 1 to `learners`:
/// 8 to 12 rows each. Gives the number of rows.
pub(crate) fn write_recommendations(path: &Path, learners: u32, night: u64) -> io::Result<u64> {
    let mut out = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let mut rows = Vec::new();
    let mut written = 0;
    for first in (1..=learners).step_by(MIXED as usize) {
        let learners = first..(first + MIXED).min(learners + 1);
        let mut random = Random::of(u64::from(first), night);
        recommend(learners, night, &mut rows);
        random.shuffle(&mut rows);
        written += rows.len() as u64;
        for (learner, rank, course, score) in rows.drain(..) {
            let reason = REASONS[(course + rank) % REASONS.len()];
            let course = COURSES[course];
            // Ten thousandths, so that the text is the same on every machine.
            writeln!(
                out,
                r#"{{"learner_id":{learner},"course_id":"{course}","score":0.{score:04},"rank":{rank},"reason":"{reason}"}}"#
            )?;
        }
    }
    out.flush()?;
    Ok(written)
}

/// Adds the rows of some learners: learner, rank, course, score in ten thousandths.
fn recommend(learners: Range<u32>, night: u64, rows: &mut Vec<(u32, usize, usize, u64)>) {
    let mut courses: Vec<usize> = (0..COURSES.len()).collect();
    let mut scores = Vec::new();
    for learner in learners {
        // Taste does not change overnight; what is new in the catalogue does.
        let mut taste = Random::of(u64::from(learner), 0);
        let mut news = Random::of(u64::from(learner), night);
        taste.shuffle(&mut courses);
        let count = 8 + taste.below(5);
        scores.clear();
        scores.extend((0..count).map(|_| 2_000 + taste.below(7_000) + news.below(999)));
        scores.sort_unstable_by(|a, b| b.cmp(a));
        let ranked = scores.iter().zip(&courses).enumerate();
        rows.extend(ranked.map(|(i, (&score, &course))| (learner, i + 1, course, score)));
    }
}

/// Writes the statistics of learners 1 to `learners` as they stood after `night`. Gives the
/// number of rows.
pub(crate) fn write_statistics(
    path: &Path,
    learners: u32,
    night: u64,
    stats: Stats,
) -> io::Result<u64> {
    let today = first_day() + Days::new(night);
    let mut out = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let last_active = if stats == Stats::Renamed { "last_seen" } else { "last_active" };
    writeln!(out, "learner_id,courses_started,completed,minutes,{last_active},streak_days")?;
    let mut written = 0;
    let step = if stats == Stats::Halved { 2 } else { 1 };
    let prefix = if stats == Stats::Prefixed { "user:" } else { "" };
    for learner in (1..=learners).step_by(step) {
        let mut random = Random::of(u64::from(learner), 0);
        let started = 1 + random.below(20);
        let completed = random.below(started + 1);
        let mut minutes = started * 90 + random.below(4_000) + night * random.below(45);
        if stats == Stats::InSeconds {
            minutes *= 60;
        }
        let idle = random.below(60).saturating_sub(night);
        let streak = if idle == 0 { 1 + random.below(30) + night } else { 0 };
        let last_active = today - Days::new(idle);
        if stats == Stats::Zeroed {
            writeln!(out, "{learner},0,0,0,{last_active},0")?;
        } else {
            writeln!(
                out,
                "{prefix}{learner},{started},{completed},{minutes},{last_active},{streak}"
            )?;
        }
        written += 1;
    }
    out.flush()?;
    Ok(written)
}

fn first_day() -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, 11, 16).expect("a day of the calendar")
}

/// Random numbers that are the same everywhere (SplitMix64).
struct Random(u64);

impl Random {
    fn of(one: u64, other: u64) -> Self {
        Self(one.wrapping_mul(0xD134_2543_DE82_EF95) ^ other.wrapping_mul(0x2545_F491_4F6C_DD1D))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            let j = usize::try_from(self.below(i as u64 + 1)).expect("no more than i");
            items.swap(i, j);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn recommendations_are_ranked_by_score_and_mixed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("recs.ndjson");
        let rows = write_recommendations(&path, 1_200, 1).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count() as u64, rows);
        let mut learners: BTreeMap<u64, Vec<(u64, f64)>> = BTreeMap::new();
        for line in text.lines() {
            let row: serde_json::Value = serde_json::from_str(line).unwrap();
            let of = learners.entry(row["learner_id"].as_u64().unwrap()).or_default();
            of.push((row["rank"].as_u64().unwrap(), row["score"].as_f64().unwrap()));
        }
        assert_eq!(learners.len(), 1_200);
        assert_eq!(learners.last_key_value().unwrap().0, &1_200);
        let mixed = learners.values().filter(|of| !of.is_sorted_by_key(|(rank, _)| *rank)).count();
        assert!(mixed > 1_000, "only {mixed} learners need their rows sorted");
        for of in learners.values_mut() {
            of.sort_by_key(|(rank, _)| *rank);
            assert!((8..=12).contains(&of.len()));
            assert!(of.is_sorted_by(|a, b| a.1 >= b.1), "{of:?}");
        }
        let again = dir.path().join("again.ndjson");
        write_recommendations(&again, 1_200, 1).unwrap();
        assert_eq!(text, std::fs::read_to_string(&again).unwrap(), "the same rows every time");
        write_recommendations(&again, 1_200, 2).unwrap();
        assert_ne!(text, std::fs::read_to_string(&again).unwrap(), "another night, other rows");
    }

    #[test]
    fn statistics_are_plausible_or_as_wrong_as_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("stats.csv");
        let read = |stats| {
            let rows = write_statistics(&path, 1_000, 2, stats).unwrap();
            let text = std::fs::read_to_string(&path).unwrap();
            assert_eq!(text.lines().count() as u64, rows + 1);
            text.lines().skip(1).map(|l| l.split(',').map(str::to_owned).collect()).collect()
        };
        let right: Vec<Vec<String>> = read(Stats::Right);
        assert_eq!(right.len(), 1_000);
        for row in &right {
            let numbers: Vec<u64> = [1, 2, 3, 5].iter().map(|&i| row[i].parse().unwrap()).collect();
            assert!(numbers[0] >= 1 && numbers[1] <= numbers[0] && numbers[2] > 0, "{row:?}");
            assert!(row[4].parse::<NaiveDate>().unwrap() <= first_day() + Days::new(2));
        }
        assert_eq!(read(Stats::Halved).len(), 500);
        let zeroed: Vec<Vec<String>> = read(Stats::Zeroed);
        assert_eq!(zeroed.len(), 1_000);
        assert!(zeroed.iter().all(|row| row[3] == "0"));
        assert!(read(Stats::Prefixed).iter().all(|row| row[0].starts_with("user:")));
        let minutes = |row: &Vec<String>| row[3].parse::<u64>().unwrap();
        let seconds = read(Stats::InSeconds);
        assert!(right.iter().zip(&seconds).all(|(r, s)| minutes(s) == 60 * minutes(r)));
        assert_eq!(read(Stats::Renamed), right, "the name of a field alone is another");
        assert!(std::fs::read_to_string(&path).unwrap().contains(",last_seen,"));
    }
}
