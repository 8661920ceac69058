//! The formats of sources, and how the format of a source is guessed.
//!
//! The name is believed first (`rows.csv.gz` is CSV), then the first bytes. What says
//! nothing either way is an error: a wrong guess would push nonsense.

use serde::{Deserialize, Serialize};

/// How rows are written in a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
#[value(rename_all = "lowercase")]
pub(crate) enum Format {
    /// One JSON object per line; also called jsonl
    #[serde(alias = "jsonl")]
    #[value(alias = "jsonl")]
    Ndjson,
    /// One JSON array of objects
    Json,
    /// Comma-separated, with a header line or --columns
    Csv,
    /// Tab-separated, with a header line or --columns; quotes as in CSV
    Tsv,
    /// Apache Parquet
    Parquet,
    /// Apache Avro: object container files
    Avro,
    /// Apache Arrow IPC: files (also called Feather) and streams
    Arrow,
    /// The text of Redshift's UNLOAD: '|', backslash escapes, no header; needs --columns
    Redshift,
}

/// What an Arrow file begins with…
pub(crate) const ARROW_FILE: &[u8] = b"ARROW1";
/// …and what a stream does.
const ARROW_STREAM: &[u8] = b"\xff\xff\xff\xff";

impl Format {
    /// The names of all formats, for messages.
    pub(crate) const ALL: &str = "ndjson, json, csv, tsv, parquet, avro, arrow or redshift";

    /// The name, as flags and JSON spell it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Ndjson => "ndjson",
            Self::Json => "json",
            Self::Csv => "csv",
            Self::Tsv => "tsv",
            Self::Parquet => "parquet",
            Self::Avro => "avro",
            Self::Arrow => "arrow",
            Self::Redshift => "redshift",
        }
    }

    /// Whether a row is a line of cells that have no types of their own.
    pub(crate) fn is_delimited_text(self) -> bool {
        matches!(self, Self::Csv | Self::Tsv | Self::Redshift)
    }

    /// Whether it is text, of which nothing at all is a source without rows.
    pub(crate) fn is_text(self) -> bool {
        !matches!(self, Self::Parquet | Self::Avro | Self::Arrow)
    }

    /// What the name of a source says, if anything. Case and a compression suffix do not
    /// matter.
    pub(crate) fn of_name(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        let plain = [".gz", ".gzip", ".zst", ".zstd"]
            .iter()
            .find_map(|suffix| name.strip_suffix(suffix))
            .unwrap_or(&name);
        let (_, extension) = plain.rsplit_once('.')?;
        match extension {
            // `json` is lines or an array: the first bytes say which.
            "ndjson" | "jsonl" => Some(Self::Ndjson),
            "csv" => Some(Self::Csv),
            "tsv" => Some(Self::Tsv),
            "parquet" => Some(Self::Parquet),
            "avro" => Some(Self::Avro),
            "arrow" | "arrows" | "feather" | "ipc" => Some(Self::Arrow),
            _ => None,
        }
    }

    /// What the first bytes of a source, decompressed, say.
    pub(crate) fn of_first_bytes(head: &[u8]) -> Option<Self> {
        let binary = [
            (&b"PAR1"[..], Self::Parquet),
            (b"Obj\x01", Self::Avro),
            (ARROW_FILE, Self::Arrow),
            (ARROW_STREAM, Self::Arrow),
        ];
        if let Some((_, format)) = binary.iter().find(|(magic, _)| head.starts_with(magic)) {
            return Some(*format);
        }
        let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
        match text.strip_prefix(b"[").map(<[u8]>::trim_ascii_start) {
            Some([b'{', ..]) => Some(Self::Json),
            // An array without rows, as jobs write for a part without any.
            Some([b']', behind @ ..]) if behind.trim_ascii().is_empty() => Some(Self::Json),
            // Other text may begin with a bracket.
            Some(_) => None,
            None => text.starts_with(b"{").then_some(Self::Ndjson),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_the_format_whatever_compresses_them() {
        for (name, format) in [
            ("a.ndjson", Some(Format::Ndjson)),
            ("a.jsonl.gz", Some(Format::Ndjson)),
            ("A.JSON.ZST", None),
            ("a.avro", Some(Format::Avro)),
            ("a.feather", Some(Format::Arrow)),
            ("x/part-0.c000.snappy.parquet", Some(Format::Parquet)),
            ("a.csv.zstd", Some(Format::Csv)),
            ("a.tsv", Some(Format::Tsv)),
            ("0000_part_00", None),
            ("0000_part_00.gz", None),
            ("a.txt", None),
            ("csv", None),
            ("", None),
        ] {
            assert_eq!(Format::of_name(name), format, "{name}");
        }
    }

    #[test]
    fn first_bytes_say_the_format_only_when_they_are_unmistakable() {
        assert_eq!(Format::of_first_bytes(b"PAR1\x15"), Some(Format::Parquet));
        assert_eq!(Format::of_first_bytes(b"\xef\xbb\xbf \n{\"a\":1}"), Some(Format::Ndjson));
        for array in [&b" [\n {\"a\":1}]"[..], b"[]", b"\xef\xbb\xbf [\n ]\n"] {
            assert_eq!(Format::of_first_bytes(array), Some(Format::Json));
        }
        assert_eq!(Format::of_first_bytes(b"Obj\x01"), Some(Format::Avro));
        assert_eq!(Format::of_first_bytes(b"ARROW1\0\0"), Some(Format::Arrow));
        for other in [&b"a,b\n"[..], b"", b"[1]", b"[", b"[],b\n", b" \n", b"PAR", b"1|2\n"] {
            assert_eq!(Format::of_first_bytes(other), None);
        }
    }
}
