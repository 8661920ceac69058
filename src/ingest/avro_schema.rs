//! The schema of an Avro file, before the library reads it.
//!
//! Avro lets a type be named in two ways: by a name and a namespace, or by both with a dot between, as
//! writers do that keep schemas in their canonical form. arrow-avro finds a type again only if it was
//! named in the first way. So names are split here.

use serde_json::{Map, Value};

/// Names every record, enum and fixed by a name and a namespace (Avro 1.12, "Names"). Whether
/// anything was changed.
pub(super) fn split_names(schema: &mut Value) -> bool {
    match schema {
        Value::Array(all) => all.iter_mut().fold(false, |any, one| split_names(one) | any),
        Value::Object(schema) => {
            let mut any = is_named(schema) && split_name(schema);
            for inside in ["type", "items", "values", "fields"] {
                any |= schema.get_mut(inside).is_some_and(split_names);
            }
            any
        }
        _ => false,
    }
}

fn is_named(schema: &Map<String, Value>) -> bool {
    let kind = schema.get("type").and_then(Value::as_str);
    kind.is_some_and(|kind| matches!(kind, "record" | "error" | "enum" | "fixed"))
}

fn split_name(schema: &mut Map<String, Value>) -> bool {
    let Some((namespace, name)) = schema.get("name").and_then(Value::as_str).and_then(|name| {
        let (namespace, name) = name.rsplit_once('.')?;
        Some((namespace.to_owned(), name.to_owned()))
    }) else {
        return false;
    };
    schema.insert("namespace".to_owned(), namespace.into());
    schema.insert("name".to_owned(), name.into());
    true
}

/// The name of a type that has itself inside, in a schema whose names are split: rows of such have
/// no columns.
pub(super) fn refers_to_itself(schema: &Value) -> Option<&str> {
    within(schema, "", &mut Vec::new())
}

/// `around`: the full names of the records that this is in; `namespace`: that of the innermost.
fn within<'a>(
    schema: &'a Value,
    namespace: &'a str,
    around: &mut Vec<(&'a str, &'a str)>,
) -> Option<&'a str> {
    match schema {
        Value::String(name) => {
            let full = name.rsplit_once('.').unwrap_or((namespace, name));
            around.contains(&full).then_some(name)
        }
        Value::Array(all) => all.iter().find_map(|one| within(one, namespace, around)),
        Value::Object(schema) => match schema.get("type")?.as_str() {
            Some("record" | "error") => {
                let text = |key| schema.get(key).and_then(Value::as_str);
                let namespace = text("namespace").unwrap_or(namespace);
                around.push((namespace, text("name").unwrap_or_default()));
                let mut types =
                    schema.get("fields")?.as_array()?.iter().filter_map(|f| f.get("type"));
                let found = types.find_map(|one| within(one, namespace, around));
                around.pop();
                found
            }
            Some("array") => within(schema.get("items")?, namespace, around),
            Some("map") => within(schema.get("values")?, namespace, around),
            Some("enum" | "fixed") => None,
            _ => within(schema.get("type")?, namespace, around),
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_with_dots_are_split_wherever_they_are() {
        let mut schema = json!({"type": "record", "name": "com.x.Row", "fields": [
            {"name": "a", "type": ["null", {"type": "enum", "name": "y.E", "symbols": ["S"]}]},
            {"name": "b.c", "type": {"type": "array", "items": {
                "type": "map", "values": {"type": "fixed", "name": "F", "size": 1}}},
             "default": {"type": "record", "name": "x.y"}}]});
        assert!(split_names(&mut schema));
        assert_eq!((&schema["name"], &schema["namespace"]), (&json!("Row"), &json!("com.x")));
        let kind = &schema["fields"][0]["type"][1];
        assert_eq!((&kind["name"], &kind["namespace"]), (&json!("E"), &json!("y")));
        let field = &schema["fields"][1];
        assert_eq!(field["name"], "b.c", "a field is no type");
        assert_eq!(field["default"]["name"], "x.y", "nor is a value");
        assert!(field["type"]["items"]["values"].get("namespace").is_none());
        assert!(!split_names(&mut schema), "once is enough");
    }

    #[test]
    fn what_refers_to_itself_is_found_and_what_is_used_twice_is_not() {
        let of = |kind: Value| {
            json!({"type": "record", "name": "L", "namespace": "n", "fields": [
                {"name": "p", "type": {"type": "record", "name": "P", "fields": []}},
                {"name": "again", "type": kind}]})
        };
        let itself = [
            json!("L"),
            json!("n.L"),
            json!(["null", "L"]),
            json!({"type": "array", "items": "L"}),
            json!({"type": "map", "values": ["null", "n.L"]}),
            json!({"type": {"type": "record", "name": "Q", "fields": [{"name": "l", "type": "L"}]}}),
        ];
        for kind in itself {
            assert!(refers_to_itself(&of(kind.clone())).is_some(), "{kind}");
        }
        for kind in [json!("P"), json!("n.P"), json!("m.L"), json!("string")] {
            assert_eq!(refers_to_itself(&of(kind.clone())), None, "{kind}");
        }
    }
}
