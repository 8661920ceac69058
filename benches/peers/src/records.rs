//! The records that every system holds: ten recommendations for each learner, as a nightly
//! job of an online university would write them. The same number and edition always give
//! the same record.
//!
//! A value is an array of ten objects, about 430 bytes of compact JSON. Courses are drawn by
//! popularity (few are recommended to many), scores fall from the first to the last and are
//! written as the shortest text of the number, so that the value is the same bytes whether it
//! came as JSON or as a double in Parquet.

use crate::keys::digit;
use crate::random::Random;

const SUBJECTS: [&str; 60] = [
    "accounting",
    "algebra",
    "algorithms",
    "anatomy",
    "art",
    "astronomy",
    "bayes",
    "biology",
    "botany",
    "business",
    "calculus",
    "chemistry",
    "climate",
    "cloud",
    "compilers",
    "crypto",
    "databases",
    "design",
    "drawing",
    "ecology",
    "economics",
    "epidemics",
    "ethics",
    "finance",
    "french",
    "games",
    "genetics",
    "geology",
    "greek",
    "history",
    "immunology",
    "law",
    "logic",
    "marketing",
    "medicine",
    "microbes",
    "music",
    "networks",
    "neurons",
    "nutrition",
    "oceans",
    "optics",
    "philosophy",
    "photo",
    "physics",
    "poetry",
    "politics",
    "probability",
    "psychology",
    "python",
    "robotics",
    "rust",
    "sociology",
    "spanish",
    "statistics",
    "teaching",
    "theatre",
    "transport",
    "vision",
    "writing",
];

/// Most subjects have courses of two levels, given in several parts.
const LEVELS: [&str; 2] = ["", "adv-"];
const PARTS: [&str; 8] = ["", "-1", "-2", "-3", "-4", "-5", "-6", "-7"];

/// Recommendations of one learner.
pub(crate) const ITEMS: usize = 10;

/// How much popular courses are preferred; see [`skewed`].
const SKEW: f64 = 3.0;

/// One recommendation.
#[derive(Clone, Copy, Default)]
pub(crate) struct Item {
    pub(crate) course: usize,
    /// In ten thousandths.
    pub(crate) score: u64,
}

/// All courses, the most popular first.
pub(crate) struct Catalogue {
    courses: Vec<String>,
}

impl Catalogue {
    pub(crate) fn new() -> Self {
        let mut courses = Vec::with_capacity(LEVELS.len() * SUBJECTS.len() * PARTS.len());
        for subject in SUBJECTS {
            for level in LEVELS {
                courses.extend(PARTS.map(|part| format!("{level}{subject}{part}")));
            }
        }
        // Popularity has nothing to do with the alphabet.
        let mut random = Random::of(1, 1);
        for i in (1..courses.len()).rev() {
            let j = usize::try_from(random.below(i as u64 + 1)).expect("no more than i");
            courses.swap(i, j);
        }
        Self { courses }
    }

    pub(crate) fn course(&self, number: usize) -> &str {
        &self.courses[number]
    }

    /// What learner `number` is recommended in an edition of the data.
    pub(crate) fn items(&self, number: u64, edition: u64) -> [Item; ITEMS] {
        let mut random = Random::of(number + 1, edition + 1);
        let mut items = [Item::default(); ITEMS];
        let mut score = 9_000 + random.below(1_000);
        for i in 0..ITEMS {
            let course = loop {
                let course = skewed(&mut random, self.courses.len() as u64, SKEW);
                let course = usize::try_from(course).expect("the number of a course");
                if items[..i].iter().all(|item| item.course != course) {
                    break course;
                }
            };
            items[i] = Item { course, score };
            score -= 1 + random.below(850);
        }
        items
    }

    /// Writes the value of a learner after what is in `out`.
    pub(crate) fn write_value(&self, items: &[Item; ITEMS], out: &mut Vec<u8>) {
        for (i, item) in items.iter().enumerate() {
            out.extend_from_slice(if i == 0 {
                b"[{\"course_id\":\""
            } else {
                b",{\"course_id\":\""
            });
            out.extend_from_slice(self.course(item.course).as_bytes());
            out.extend_from_slice(b"\",\"score\":0.");
            write_score(item.score, out);
            out.push(b'}');
        }
        out.push(b']');
    }
}

/// Four digits, without zeros at the end.
fn write_score(score: u64, out: &mut Vec<u8>) {
    let mut left = score;
    let mut divisor = 1_000;
    while left > 0 {
        out.push(digit(left / divisor));
        left %= divisor;
        divisor /= 10;
    }
}

/// A number below `count`, drawn as `u^skew` of it, `u` being any of 0..1 with equal chance: the
/// larger `skew`, the more often small ones come.
pub(crate) fn skewed(random: &mut Random, count: u64, skew: f64) -> u64 {
    let unit = (random.next() >> 11) as f64 / (1u64 << 53) as f64;
    ((unit.powf(skew) * count as f64) as u64).min(count - 1)
}

/// All numbers below `records`, each once, in no order, as the tasks of a job would write
/// them: an odd factor permutes the numbers below a power of two.
pub(crate) fn in_no_order(records: u64) -> impl Iterator<Item = u64> {
    let bits = records.next_power_of_two();
    (0..bits)
        .map(move |i| i.wrapping_mul(2_654_435_761).wrapping_add(12_345) & (bits - 1))
        .filter(move |number| *number < records)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_comes_once_and_in_no_order() {
        let numbers: Vec<u64> = in_no_order(1_000).collect();
        let mut sorted = numbers.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..1_000).collect::<Vec<_>>());
        assert!(!numbers.is_sorted());
    }

    #[test]
    fn a_value_is_compact_json_that_serde_would_write_alike() {
        let catalogue = Catalogue::new();
        let mut bytes = 0;
        for number in 0..1_000 {
            let mut value = Vec::new();
            catalogue.write_value(&catalogue.items(number, 1), &mut value);
            let parsed: serde_json::Value = serde_json::from_slice(&value).unwrap();
            let scores: Vec<f64> =
                parsed.as_array().unwrap().iter().map(|i| i["score"].as_f64().unwrap()).collect();
            assert_eq!(scores.len(), ITEMS);
            assert!(scores.is_sorted_by(|a, b| a > b), "{scores:?}");
            assert_eq!(parsed.to_string().as_bytes(), value);
            bytes += value.len();
        }
        assert!((400_000..460_000).contains(&bytes), "{bytes} bytes of 1,000 values");
    }

    #[test]
    fn another_edition_is_another_value() {
        let catalogue = Catalogue::new();
        let value = |edition| {
            let mut value = Vec::new();
            catalogue.write_value(&catalogue.items(42, edition), &mut value);
            value
        };
        assert_eq!(value(1), value(1));
        assert_ne!(value(1), value(2));
    }
}
