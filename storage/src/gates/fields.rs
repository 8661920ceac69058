//! Gates on what the values hold, judged from the profile of a version and that of the current
//! one.

use super::{Gates, RATIO_GATES_FROM, Range, Verdict};
use crate::profile::{DISTINCT_EXACT_BELOW, FieldProfile, JsonType, Profile};

/// A field that fewer of the current version's objects have is not missed.
const KNOWN_FROM_PERCENT: f64 = 5.0;
/// Fewer values say nothing of their type or their variety.
const ENOUGH_VALUES: u64 = 100;
/// As many different values are many.
const MANY_VALUES: u64 = 10;
/// Fields that a verdict names.
const NAMED: usize = 5;

/// What the gates on fields say of a version; one verdict for each field that a limit is set on.
pub(crate) fn fields(gates: &Gates, new: &Profile, current: Option<&Profile>) -> Vec<Verdict> {
    let mut verdicts = limits(gates, new);
    if let Some(current) = current.filter(|c| c.objects > 0 && c.sampled >= RATIO_GATES_FROM) {
        verdicts.extend(comparisons(gates, new, current));
    }
    verdicts
}

fn limits(gates: &Gates, new: &Profile) -> Vec<Verdict> {
    let objects = new.objects;
    let mut verdicts = Vec::new();
    for field in gates.required_fields.iter().flatten() {
        let present = new.fields.get(field).map_or(0, |found| found.present);
        let share = percent(present, objects);
        let detail =
            format!("{field:?} is in {share:.1} % of {objects} objects; every one must have it");
        verdicts.push(Verdict::new(
            "required_fields",
            100.0,
            share,
            present == objects && objects > 0,
            detail,
        ));
    }
    for (field, limit) in gates.max_null_percent.iter().flatten() {
        let nulls = percent(objects - new.filled(field).min(objects), objects);
        let nulls = if objects == 0 { 100.0 } else { nulls };
        let detail = format!(
            "{field:?} is null or missing in {nulls:.1} % of {objects} objects; at most {limit} % is allowed"
        );
        verdicts.push(Verdict::new("max_null_percent", *limit, nulls, nulls <= *limit, detail));
    }
    for (field, limit) in gates.min_distinct.iter().flatten() {
        let distinct = new.fields.get(field).map_or(0, |found| found.distinct);
        let is_exact = distinct < DISTINCT_EXACT_BELOW;
        let about = if is_exact { "" } else { "about " };
        let detail = format!(
            "{field:?} has {about}{distinct} different values in {objects} objects; at least {limit} are expected"
        );
        // An estimate may be too small by a twentieth, and must refuse nothing that is right.
        let passed = distinct + if is_exact { 0 } else { distinct / 20 } >= *limit;
        verdicts.push(Verdict::new("min_distinct", *limit as f64, distinct as f64, passed, detail));
    }
    for (field, range) in gates.ranges.iter().flatten() {
        verdicts.push(in_range(field, *range, new.fields.get(field)));
    }
    if let Some(limit) = gates.max_value_bytes_p99 {
        let p99 = new.value_bytes.p99;
        let detail = format!("99 of 100 values have at most {p99} bytes; {limit} are allowed");
        verdicts.push(Verdict::new(
            "max_value_bytes_p99",
            limit as f64,
            p99 as f64,
            p99 <= limit,
            detail,
        ));
    }
    verdicts
}

fn in_range(field: &str, Range { min, max }: Range, found: Option<&FieldProfile>) -> Verdict {
    let Some(number) = found.and_then(|found| found.number) else {
        let detail = format!("{field:?} has no numbers, which are to be in a range");
        return Verdict::new("ranges", min.or(max).unwrap_or_default(), 0.0, false, detail);
    };
    let below = min.filter(|min| number.min < *min);
    let above = max.filter(|max| number.max > *max);
    let shown = |end: Option<f64>| end.map_or_else(|| "…".to_owned(), |end| end.to_string());
    let (limit, observed) = match (below, above) {
        (Some(min), _) => (min, number.min),
        (None, Some(max)) => (max, number.max),
        (None, None) => {
            (max.or(min).unwrap_or_default(), if max.is_some() { number.max } else { number.min })
        }
    };
    let detail = format!(
        "{field:?} is from {} to {}; it is to be from {} to {}",
        number.min,
        number.max,
        shown(min),
        shown(max)
    );
    Verdict::new("ranges", limit, observed, below.is_none() && above.is_none(), detail)
}

/// The three gates that find what no limit was set for.
fn comparisons(gates: &Gates, new: &Profile, current: &Profile) -> Vec<Verdict> {
    let Changes { gone, other_type, same } = changes(new, current);
    let gate = |on: Option<bool>, gate: &str, found: Vec<String>, good: &str, bad: &str| {
        (on == Some(true)).then(|| {
            let detail = if found.is_empty() {
                good.to_owned()
            } else {
                format!("{bad} {}; if that is meant so, set gates.{gate} to false", list(&found))
            };
            Verdict::new(gate, 0.0, found.len() as f64, found.is_empty(), detail)
        })
    };
    [
        gate(
            gates.fields_kept,
            "fields_kept",
            gone,
            "every field of the current version is there",
            "gone, or null everywhere:",
        ),
        gate(
            gates.types_unchanged,
            "types_unchanged",
            other_type,
            "every field has values of the same type as before",
            "values of another type:",
        ),
        gate(
            gates.variety_kept,
            "variety_kept",
            same,
            "no field has become the same everywhere",
            "the same value everywhere:",
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The fields that are not as they were in the current version, each with how.
struct Changes {
    gone: Vec<String>,
    other_type: Vec<String>,
    /// Now the same value everywhere.
    same: Vec<String>,
}

fn changes(new: &Profile, current: &Profile) -> Changes {
    let known = current
        .fields
        .iter()
        .filter(|(_, field)| percent(field.filled(), current.objects) >= KNOWN_FROM_PERCENT);
    let (mut gone, mut other_type, mut same) = (Vec::new(), Vec::new(), Vec::new());
    for (name, before) in known {
        // Of very many fields some are not told.
        let Some(after) = new.fields.get(name).filter(|field| field.filled() > 0) else {
            if !new.fields_cut {
                let share = percent(before.filled(), current.objects);
                gone.push(format!("{name:?} (in {share:.0} % of the current version's objects)"));
            }
            continue;
        };
        if let Some((from, to)) = changed_type(before, after) {
            other_type.push(format!("{name:?} (from {} to {})", from.as_str(), to.as_str()));
        }
        let enough = after.filled() >= ENOUGH_VALUES;
        if enough && before.distinct >= MANY_VALUES && after.distinct == 1 {
            let numbers = after.number.map(|number| format!(" {}", number.min)).unwrap_or_default();
            same.push(format!("{name:?} (always{numbers}; it had {} values)", before.distinct));
        }
    }
    Changes { gone, other_type, same }
}

/// The type of nearly all values before, if hardly any has it now, and what most have now.
fn changed_type(before: &FieldProfile, after: &FieldProfile) -> Option<(JsonType, JsonType)> {
    let most = |field: &FieldProfile| {
        let types = field.types.iter().filter(|(of, _)| **of != JsonType::Null);
        types.max_by_key(|(_, count)| **count).map(|(of, _)| *of)
    };
    let (from, to) = (most(before)?, most(after)?);
    let enough = before.filled() >= ENOUGH_VALUES && after.filled() >= ENOUGH_VALUES;
    let was = percent(before.of_type(from), before.filled()) >= 90.0;
    let is = percent(after.of_type(from), after.filled()) < 10.0;
    (enough && was && is).then_some((from, to))
}

fn list(names: &[String]) -> String {
    let more = names.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", names[..names.len().min(NAMED)].join(", "))
}

fn percent(part: u64, of: u64) -> f64 {
    if of == 0 { 0.0 } else { part as f64 / of as f64 * 100.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::Sampler;

    fn profile(value: impl Fn(usize) -> String) -> Profile {
        let mut sampler = Sampler::new();
        (0..2000).for_each(|n| sampler.offer(format!("{n:05}").as_bytes(), value(n).as_bytes()));
        sampler.profile()
    }

    fn good(n: usize) -> String {
        let maybe = if n.is_multiple_of(10) { ",\"rare\":1" } else { "" };
        format!("[{{\"course\":\"c{}\",\"score\":{}{maybe}}}]", n % 50, n as f64 / 2000.0)
    }

    fn refusing(gates: &str, new: &Profile, current: Option<&Profile>) -> Vec<(String, String)> {
        let gates: Gates = serde_json::from_str(gates).unwrap();
        let verdicts = fields(&gates, new, current).into_iter().filter(|v| !v.passed);
        verdicts.map(|v| (v.gate, v.detail)).collect()
    }

    #[track_caller]
    fn refused_by(gate: &str, naming: &str, gates: &str, new: &Profile, current: Option<&Profile>) {
        let refused = refusing(gates, new, current);
        assert_eq!(refused.len(), 1, "{refused:?}");
        assert!(refused[0].0 == gate && refused[0].1.contains(naming), "{refused:?}");
    }

    #[test]
    fn a_night_like_the_one_before_passes() {
        let (new, current) = (profile(good), profile(good));
        assert!(refusing("{}", &new, Some(&current)).is_empty());
        let gates = r#"{"required_fields":["course","score"],"max_null_percent":{"rare":95},
            "min_distinct":{"course":50,"score":1000},"ranges":{"score":{"min":0,"max":1}},"max_value_bytes_p99":60}"#;
        assert!(refusing(gates, &new, Some(&current)).is_empty());
        assert_eq!(fields(&serde_json::from_str(gates).unwrap(), &new, Some(&current)).len(), 10);
    }

    #[test]
    fn what_no_limit_was_set_for_is_found_by_comparing() {
        let current = profile(good);
        let with =
            |from: &'static str, to: &'static str| profile(move |n| good(n).replace(from, to));
        refused_by("fields_kept", "\"score\"", "{}", &with("score", "points"), Some(&current));
        let null = profile(|n| format!("[{{\"course\":\"c{n}\",\"score\":null,\"rare\":1}}]"));
        refused_by("fields_kept", "\"score\"", "{}", &null, Some(&current));
        let text = profile(|n| format!("[{{\"course\":\"c{n}\",\"score\":\"{n}\",\"rare\":1}}]"));
        refused_by("types_unchanged", "from number to string", "{}", &text, Some(&current));
        let zero = profile(|n| format!("[{{\"course\":\"c{n}\",\"score\":0,\"rare\":1}}]"));
        refused_by("variety_kept", "always 0", "{}", &zero, Some(&current));
        for (gate, new) in
            [("fields_kept", null), ("types_unchanged", text), ("variety_kept", zero)]
        {
            assert!(refusing(&format!("{{\"{gate}\":false}}"), &new, Some(&current)).is_empty());
        }
        let scalars = profile(|n| n.to_string());
        refused_by(
            "fields_kept",
            "\"score\"",
            "{\"types_unchanged\":null}",
            &scalars,
            Some(&current),
        );
        assert!(refusing("{}", &scalars, None).is_empty());
    }

    #[test]
    fn each_limit_refuses_by_its_name_and_field() {
        let new = profile(good);
        refused_by(
            "required_fields",
            "\"rare\" is in 10.0 %",
            r#"{"required_fields":["rare"]}"#,
            &new,
            None,
        );
        refused_by("required_fields", "\"none\"", r#"{"required_fields":["none"]}"#, &new, None);
        refused_by("max_null_percent", "90.0 %", r#"{"max_null_percent":{"rare":89}}"#, &new, None);
        refused_by(
            "min_distinct",
            "has 50 different",
            r#"{"min_distinct":{"course":51}}"#,
            &new,
            None,
        );
        refused_by("ranges", "from 0 to 0.9995", r#"{"ranges":{"score":{"max":0.9}}}"#, &new, None);
        refused_by("ranges", "0.1 to …", r#"{"ranges":{"score":{"min":0.1}}}"#, &new, None);
        refused_by("ranges", "no numbers", r#"{"ranges":{"course":{"min":0}}}"#, &new, None);
        refused_by("max_value_bytes_p99", "bytes", r#"{"max_value_bytes_p99":10}"#, &new, None);
        let scalars = profile(|n| n.to_string());
        refused_by("required_fields", "0 objects", r#"{"required_fields":["a"]}"#, &scalars, None);
        refused_by(
            "max_null_percent",
            "100.0 %",
            r#"{"max_null_percent":{"a":99}}"#,
            &scalars,
            None,
        );
    }
}
