//! Which files of a directory are its rows, wherever it lies.

use tidetable_storage::{Code, quoted};

use super::error::{IngestError, Result};
use super::source::{SourceOptions, is_named_manifest, natural};

/// What Spark and Hadoop write when a job has finished.
pub(super) const MARKER: &str = "_SUCCESS";

/// What is read of a directory, in the order of its names; `is_marked` says whether a job left its
/// marker there, and `found` has none of the names that begin with `.` or `_`.
///
/// A directory of part files as Spark and Hadoop name them (`part-00000`, `part-r-00000`) is the
/// output of a job. Without its marker that job has failed, or writes on; and its rows are in its
/// part files alone. A manifest lists its other files, and has no rows.
pub(super) fn chosen<T>(
    directory: &str,
    mut found: Vec<(String, T)>,
    is_marked: bool,
    how: &SourceOptions,
) -> Result<Vec<T>> {
    let of_a_job = found.iter().any(|(name, _)| is_numbered_part(name));
    if of_a_job && !is_marked && !how.accept_unfinished {
        let text = format!(
            "the directory {} has part files of a Spark or Hadoop job, but no {MARKER}: the job \
             has not finished, or has failed (--accept-unfinished reads it all the same)",
            quoted(directory)
        );
        return Err(IngestError::new(Code::SourceIncomplete, text));
    }
    if of_a_job {
        found.retain(|(name, _)| name.starts_with("part-"));
    }
    let before = found.len();
    found.retain(|(name, _)| !is_named_manifest(name));
    if found.is_empty() {
        let but = if before > 0 { " but a manifest: name that, to read what it lists" } else { "" };
        let text = format!("the directory {} has no files{but}", quoted(directory));
        return Err(IngestError::new(Code::NoRows, text));
    }
    found.sort_by_cached_key(|(name, _)| natural(name));
    Ok(found.into_iter().map(|(_, file)| file).collect())
}

/// `part-00000…`, `part-m-00000…`, `part-r-00000…`.
fn is_numbered_part(name: &str) -> bool {
    let Some(rest) = name.strip_prefix("part-") else { return false };
    let rest = rest.strip_prefix("m-").or_else(|| rest.strip_prefix("r-")).unwrap_or(rest);
    rest.len() >= 5 && rest.bytes().take(5).all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(names: &[&str], is_marked: bool, accept_unfinished: bool) -> Result<Vec<String>> {
        let found = names.iter().map(|name| ((*name).to_owned(), (*name).to_owned())).collect();
        let how = SourceOptions { accept_unfinished, ..SourceOptions::default() };
        chosen("out", found, is_marked, &how)
    }

    #[test]
    fn the_output_of_a_job_is_read_when_it_has_finished_and_its_parts_alone() {
        for parts in [
            ["part-00001-7f.c000.snappy.parquet", "part-00010-7f.c000.snappy.parquet"],
            ["part-r-00001", "part-r-00010"],
            ["part-m-00001.gz", "part-m-00010.gz"],
        ] {
            let names = [parts[1], "report.txt", parts[0]];
            let error = choose(&names, false, false).unwrap_err();
            assert_eq!(error.code, Code::SourceIncomplete);
            assert!(
                error.detail.contains("\"out\"") && error.detail.contains("_SUCCESS"),
                "{error}"
            );
            assert_eq!(choose(&names, true, false).unwrap(), parts);
            assert_eq!(choose(&names, false, true).unwrap(), parts);
        }
    }

    #[test]
    fn other_directories_need_no_marker() {
        for is_marked in [false, true] {
            let chosen = choose(&["part-10", "a", "part-2"], is_marked, false).unwrap();
            assert_eq!(chosen, ["a", "part-2", "part-10"]);
        }
        assert_eq!(choose(&["b.csv", "a.csv"], true, false).unwrap(), ["a.csv", "b.csv"]);
        assert_eq!(choose(&[], true, false).unwrap_err().code, Code::NoRows);
    }

    #[test]
    fn a_manifest_is_none_of_the_files_that_it_lists() {
        let names = ["grades_manifest", "grades_0001_part_00", "manifest.csv", "manifest"];
        let chosen = choose(&names, false, false).unwrap();
        assert_eq!(chosen, ["grades_0001_part_00", "manifest.csv"]);
        let error = choose(&["grades_manifest"], false, false).unwrap_err();
        assert_eq!(error.code, Code::NoRows);
        assert!(error.detail.contains("name that"), "{error}");
    }
}
