//! CSV and TSV as they are found, and as they are broken.

use proptest::prelude::*;
use serde_json::json;
use tidetable_storage::Code;

use crate::ingest::error::Result;
use crate::ingest::testing::{assert_fails, input, records, served};

fn rows(text: &str, options: serde_json::Value) -> Result<Vec<String>> {
    records(vec![input("rows.csv", text)], options)
}

#[test]
fn cells_are_strings_and_quotes_are_undone() {
    let text = "\u{feff}id,name,note\r\n\
                1,plain,\"a, \"\"b\"\"\"\r\n\
                \r\n\
                2,\"line 1\nline 2\r\n\",\r\n\
                3,it\"s,\"\"";
    assert_eq!(
        rows(text, json!({"key": "id"})).unwrap(),
        [
            r#"1={"id":"1","name":"plain","note":"a, \"b\""}"#,
            r#"2={"id":"2","name":"line 1\nline 2\r\n","note":""}"#,
            r#"3={"id":"3","name":"it\"s","note":""}"#,
        ]
    );
}

#[test]
fn headers_delimiters_and_columns() {
    let expected = [r#"1={"id":"1","a b":"x"}"#];
    assert_eq!(rows("id,a b\n1,x\n", json!({"key": "id"})).unwrap(), expected);
    assert_eq!(rows("id;a b\n1;x\n", json!({"key": "id", "delimiter": ";"})).unwrap(), expected);
    assert_eq!(rows("1,x\n", json!({"key": "id", "columns": "id,a b"})).unwrap(), expected);
    let tsv = |text, options| records(vec![input("x.tsv", text)], options);
    assert_eq!(tsv("id\ta b\n1\tx\n", json!({"key": "id"})).unwrap(), expected);
    assert_eq!(tsv("id\t\"a b\"\n1\t\"x\"\n", json!({"key": "id"})).unwrap(), expected);
    // Every part has its own header, and they need not agree.
    let parts =
        vec![input("a.csv", "id,x\n1,2\n"), input("b.csv", ""), input("c.csv", "y,id\n3,4\n")];
    assert_eq!(
        records(parts, json!({"key": "id"})).unwrap(),
        [r#"1={"id":"1","x":"2"}"#, r#"4={"y":"3","id":"4"}"#]
    );
}

#[test]
fn types_and_nulls_are_applied_cell_by_cell() {
    let text = "id,n,i,b,j,s\n1,2.50,007x,T,\"{\"\"a\"\": [1, 2]}\",NA\n2,NA,NA,NA,NA,x\n";
    let types = json!({"n": "number", "b": "boolean", "j": "json"});
    assert_eq!(
        rows(text, json!({"key": "id", "types": types, "null": "NA"})).unwrap(),
        [
            r#"1={"id":"1","n":2.50,"i":"007x","b":true,"j":{"a":[1,2]},"s":null}"#,
            r#"2={"id":"2","n":null,"i":null,"b":null,"j":null,"s":"x"}"#,
        ]
    );
    let one = |cell: &str, kind: &str, more: serde_json::Value| {
        let mut options = json!({"key": "k", "value": "v", "types": {"v": kind}});
        options.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        rows(&format!("k,v\nk,{cell}\n"), options)
    };
    for (cell, kind, value) in [
        ("12345678901234567890.10", "number", "12345678901234567890.10"),
        ("1E5", "number", "1E5"),
        ("-42", "integer", "-42"),
        ("TRUE", "boolean", "true"),
        ("f", "boolean", "false"),
        ("0", "boolean", "false"),
        ("true", "string", "\"true\""),
        ("\"[1, \"\"x\"\"]\"", "json", "[1,\"x\"]"),
    ] {
        assert_eq!(one(cell, kind, json!({})).unwrap(), [format!("k={value}")], "{cell} {kind}");
    }
    for (cell, kind, part) in [
        (
            "abc",
            "number",
            "rows.csv row 1 (line 2): the column \"v\" is \"abc\": expected a number",
        ),
        ("", "number", "--null ''"),
        ("+1", "number", "expected a number"),
        (".5", "number", "expected a number"),
        (" 1", "number", "expected a number"),
        ("\"1,5\"", "number", "expected a number"),
        ("NaN", "number", "--nan null"),
        ("-inf", "number", "--nan null"),
        ("1.0", "integer", "expected a whole number"),
        ("007", "integer", "expected a whole number"),
        ("yes", "boolean", "expected true or false"),
        ("{", "json", "expected JSON"),
        ("[NaN]", "json", "expected JSON"),
    ] {
        assert_fails(one(cell, kind, json!({})), part);
    }
    assert_eq!(one("NaN", "number", json!({"nan": "null"})).unwrap(), ["k=null"]);
    assert_eq!(one("+Infinity", "number", json!({"nan": "null"})).unwrap(), ["k=null"]);
    assert_eq!(one("[NaN]", "json", json!({"nan": "null"})).unwrap(), ["k=[null]"]);
    assert_eq!(one("", "number", json!({"null": ""})).unwrap(), ["k=null"]);
    assert_eq!(one("", "string", json!({"null": "NA,"})).unwrap(), ["k=null"]);
}

/// So PostgreSQL and Spark tell a null from the text that looks like it.
#[test]
fn a_quoted_cell_is_a_text_even_where_it_looks_like_null() {
    let text = "id,a,b,c\n1,,\"\",NA\n2,\"NA\",NA,\"N\nA\"\n";
    assert_eq!(
        rows(text, json!({"key": "id", "null": ["", "NA", "N\nA"]})).unwrap(),
        [
            r#"1={"id":"1","a":null,"b":"","c":null}"#,
            r#"2={"id":"2","a":"NA","b":null,"c":"N\nA"}"#,
        ]
    );
    assert_fails(
        rows("id,n\n1,\"\"\n", json!({"key": "id", "null": "", "types": "n:number"})),
        "the column \"n\" is \"\": expected a number",
    );
}

#[test]
fn keys_follow_their_types() {
    let key = |cell: &str, options: serde_json::Value| {
        rows(&format!("k,v\n{cell},1\n"), options).map(|all| all[0].replace("=\"1\"", ""))
    };
    let plain = json!({"key": "k", "value": "v"});
    assert_eq!(key("1.50", plain.clone()).unwrap(), "1.50", "a string is what it is");
    assert_fails(key("", plain), "its key, \"k\", is empty");
    assert_fails(key("NA", json!({"key": "k", "null": "NA"})), "is null");
    let typed = |kind: &str| json!({"key": "k", "value": "v", "types": {"k": kind}});
    assert_fails(key("1.50", typed("number")), "fraction");
    assert_eq!(key("42", typed("integer")).unwrap(), "42");
    assert_eq!(key("T", typed("boolean")).unwrap(), "true");
    assert_eq!(key("\"\"\"x\"\"\"", typed("json")).unwrap(), "x");
    assert_fails(key("{}", typed("json")), "object or array");
}

#[test]
fn numbers_sort_as_numbers_only_when_they_are_typed() {
    let text = "k,s\n1,10\n1,9\n1,NA\n1,-1\n";
    let order = |more: serde_json::Value| {
        let mut options =
            json!({"key": "k", "value": "s", "collect": true, "order_by": "s:desc", "null": "NA"});
        options.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        served(vec![input("x.csv", text)], options).unwrap()
    };
    assert_eq!(order(json!({})), [r#"1=["9","10","-1",null]"#]);
    assert_eq!(order(json!({"types": "s:number"})), ["1=[10,9,-1,null]"]);
}

#[test]
fn bad_rows_are_named_and_reading_goes_on() {
    let text = "id,v\n1,a\n2\n3,b,c\n\"4\"x,d\n5,e\n6,\"f\n";
    let error = rows(text, json!({"key": "id"})).unwrap_err();
    assert_eq!(error.code, Code::BadRows);
    assert_eq!(
        error.problems,
        [
            "rows.csv row 2 (line 3): it has 1 cell; expected 2, one for each column",
            "rows.csv row 3 (line 4): it has 3 cells; expected 2, one for each column",
            "rows.csv row 4 (line 5): after a closing quote in cell 1, a delimiter or the line's end \
             is expected, found 'x'",
            "rows.csv row 6 (line 7): a quote that opens in it does not close",
        ]
    );
    // Rows after one with line ends in it still have their right places.
    let error = rows("id,v\n\"1\n1\",a\n\n3\n", json!({"key": "id"})).unwrap_err();
    assert!(error.problems[0].starts_with("rows.csv row 2 (line 5)"), "{}", error.problems[0]);
    let error = rows("1\n", json!({"key": "a", "columns": "a,b"})).unwrap_err();
    assert!(error.problems[0].starts_with("rows.csv row 1: "), "{}", error.problems[0]);
    assert_fails(rows("id\ra\r", json!({"key": "id"})), "carriage return outside quotes");
    assert_fails(rows("id,a\n1,b\rc\n", json!({"key": "id"})), "carriage return outside quotes");
}

#[test]
fn text_that_is_no_utf_8_fails_its_row_alone() {
    let bytes = b"id,v\n1,\"a\n\xff\"\n2\n3,\xe9\n";
    let error = records(vec![input("x.csv", bytes)], json!({"key": "id"})).unwrap_err();
    assert_eq!(error.problems.len(), 3);
    assert!(error.problems[0].contains("row 1 (line 2): it is not UTF-8, at byte 1 of line 3"));
    assert!(error.problems[1].contains("row 2 (line 4): it has 1 cell;"));
    assert!(error.problems[2].contains("row 3 (line 5): it is not UTF-8"));
}

/// A job that writes its keys alone writes a key that is null or empty as a blank line.
#[test]
fn a_blank_line_is_a_row_where_there_is_one_column_unless_nothing_follows_it() {
    assert_eq!(
        rows("\nid\n1\n\"2\n\n\"\n\n\r\n", json!({"key": "id"})).unwrap(),
        [r#"1={"id":"1"}"#, "2\n\n={\"id\":\"2\\n\\n\"}"]
    );
    let error = rows("id\n1\n\n\r\n2\n\n3\n\n", json!({"key": "id"})).unwrap_err();
    assert_eq!(error.code, Code::BadRows);
    assert_eq!(
        error.problems,
        [
            "rows.csv row 2 (line 3): its key, \"id\", is empty",
            "rows.csv row 3 (line 4): its key, \"id\", is empty",
            "rows.csv row 5 (line 6): its key, \"id\", is empty",
        ]
    );
    let one = json!({"key": "id", "columns": "id", "null": ""});
    assert_fails(rows("\n1\n", one), "rows.csv row 1: the field \"id\" of --key is null");
    let unload = json!({"key": "id", "columns": "id", "format": "redshift"});
    assert_fails(rows("1\n\n2\n", unload), "rows.csv row 2: its key, \"id\", is empty");
    // Where there are several columns no row is a blank line.
    assert_eq!(rows("id,v\n\n1,\n\n2,\n", json!({"key": "id"})).unwrap().len(), 2);
}

#[test]
fn headers_must_name_each_column_once() {
    for (text, options, part) in [
        ("id,v,id\n1,2,3\n", json!({"key": "id"}), "two columns named \"id\""),
        (",id\n0,1\n", json!({"key": "id"}), "column 1 has no name in the header line (pandas"),
        ("id,\"v\n", json!({"key": "id"}), "header line cannot be used: a quote"),
        (
            "a,b\n1,2\n",
            json!({"key": "id"}),
            "no column \"id\", which --key names: its columns are \"a\", \"b\"",
        ),
        (
            "course_id,learner\n1,2\n",
            json!({"key": "course-id"}),
            "its columns are \"course_id\", \"learner\"; did you mean \"course_id\"?",
        ),
        ("a;id\n1;2\n", json!({"key": "id"}), "--delimiter ';' would make several of it"),
        (
            "learner;id\n1;2\n",
            json!({"key": "learner"}),
            "its columns are \"learner;id\"; --delimiter ';' would make several of it",
        ),
        (
            "course_id,b\n1,2\n",
            json!({"key": "b", "types": "courseid:number"}),
            "which --types names; did you mean \"course_id\"?",
        ),
        ("a,b\n1,2\n", json!({"key": "a", "fields": "c"}), "which --fields names"),
        ("a,b\n1,2\n", json!({"key": "a", "value": "c"}), "which --value names"),
        ("a,b\n1,2\n", json!({"key": "a", "types": "c:number"}), "which --types names"),
        (
            "a,b\n1,2\n",
            json!({"key": "a", "collect": true, "order_by": "c"}),
            "which --order-by names",
        ),
    ] {
        let error = assert_fails(rows(text, options), part);
        assert!(error.detail.contains("rows.csv"), "{}", error.detail);
    }
    for text in ["", "id,v\n", "id,v", "\n\n"] {
        let error = rows(text, json!({"key": "id"})).unwrap_err();
        assert_eq!(error.code, Code::NoRows, "{text:?}");
    }
}

/// Whoever compares each name with all before it is not done within hours.
#[test]
fn a_header_of_very_many_columns_is_read() {
    let names = |last: &str| (0..1_000_000).map(|n| format!("{n},")).collect::<String>() + last;
    let options = json!({"key": "0", "value": "7"});
    let row = (0..1_000_000).map(|n| format!("{n},")).collect::<String>();
    let text = format!("{}\n{row}\n", names("last"));
    assert_eq!(rows(&text, options.clone()).unwrap(), ["0=\"7\""]);
    let text = format!("{}\n{row}\n", names("8"));
    assert_fails(rows(&text, options), "two columns named \"8\"");
}

/// An unclosed quote swallows the rest of a file: that must neither be quadratic in its
/// lines nor take more memory than one row may.
#[test]
fn an_unclosed_quote_is_stopped() {
    struct Endless(bool);
    impl std::io::Read for Endless {
        fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
            out.chunks_mut(2).for_each(|pair| pair.copy_from_slice(&b"x\n"[..pair.len()]));
            if !std::mem::replace(&mut self.0, true) {
                out[0] = b'"';
            }
            Ok(out.len())
        }
    }
    let endless = crate::ingest::Input::reader("endless.csv", Endless(false));
    let outcome = records(vec![endless], json!({"key": "k", "columns": "k"}));
    assert_fails(
        outcome,
        "endless.csv row 1: a quote that opens in it does not close within 67108864 bytes",
    );
}

proptest! {
    /// What the csv crate writes is read back cell by cell, whatever the cells hold.
    #[test]
    fn cells_read_back_as_they_were_written(
        table in (1usize..5).prop_flat_map(|width| {
            proptest::collection::vec(
                proptest::collection::vec("[a-c\",;\\t\r\n\\\\é ]{0,6}", width..=width), 1..8)
        }),
        delimiter in prop_oneof![Just(","), Just(";"), Just("\t")],
        crlf in any::<bool>(),
    ) {
        let terminator = if crlf { csv::Terminator::CRLF } else { csv::Terminator::Any(b'\n') };
        let mut writer = csv::WriterBuilder::new()
            .delimiter(delimiter.as_bytes()[0])
            .terminator(terminator)
            .from_writer(Vec::new());
        let columns: Vec<String> = (0..=table[0].len()).map(|n| format!("c{n}")).collect();
        writer.write_record(&columns).unwrap();
        for (n, row) in table.iter().enumerate() {
            writer.write_record(std::iter::once(&format!("k{n}")).chain(row)).unwrap();
        }
        let bytes = writer.into_inner().unwrap();
        let options = json!({"key": "c0", "delimiter": delimiter});
        let all = records(vec![input("x.csv", bytes)], options).unwrap();
        prop_assert_eq!(all.len(), table.len());
        for ((n, row), record) in table.iter().enumerate().zip(&all) {
            let (key, value) = record.split_once('=').unwrap();
            prop_assert_eq!(key, format!("k{n}"));
            let read: std::collections::BTreeMap<String, String> = serde_json::from_str(value).unwrap();
            for (column, cell) in row.iter().enumerate() {
                prop_assert_eq!(&read[&format!("c{}", column + 1)], cell);
            }
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(prop_oneof![
        Just(b'"'), Just(b','), Just(b'\n'), Just(b'\r'), Just(b'a'), any::<u8>()], 0..60)) {
        let _ = records(vec![input("x.csv", &bytes)], json!({"key": "a", "columns": "a,b"}));
        let _ = records(vec![input("x.csv", bytes)], json!({"key": "a"}));
    }
}
