//! What a user names as sources, as a list of things to open.

use std::collections::HashMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use tidetable_storage::{Code, Error};

use super::error::{IngestError, Result, shown};

/// One thing to read rows from.
pub(crate) struct Input {
    /// What messages call it.
    pub(crate) name: String,
    pub(crate) origin: Origin,
    /// The XXH3 of a file, if it is known: reading fails at its end if it has another.
    pub(crate) xxh3: Option<u64>,
}

/// Where the bytes come from.
pub(crate) enum Origin {
    /// A file, or anything else that opens as one.
    File(PathBuf),
    /// Standard input, a network body: read once, from its start.
    Reader(Box<dyn Read + Send>),
}

impl Input {
    /// A file that messages call `name`.
    pub(crate) fn file(name: impl Into<String>, path: impl Into<PathBuf>) -> Self {
        Self { name: name.into(), origin: Origin::File(path.into()), xxh3: None }
    }

    /// A part: messages name it, not the file in the server's staging.
    pub(crate) fn part(name: &str, path: &Path, xxh3: u64) -> Self {
        Self { xxh3: Some(xxh3), ..Self::file(name, path) }
    }

    /// Anything that can be read.
    pub(crate) fn reader(name: impl Into<String>, reader: impl Read + Send + 'static) -> Self {
        Self { name: name.into(), origin: Origin::Reader(Box::new(reader)), xxh3: None }
    }

    /// How many bytes it has as it is stored, if that is known.
    pub(crate) fn bytes(&self) -> Option<u64> {
        let Origin::File(path) = &self.origin else { return None };
        path.metadata().ok().filter(std::fs::Metadata::is_file).map(|metadata| metadata.len())
    }
}

/// Turns files, directories, globs and `-` into what is to be read, in order: as given,
/// and within a directory or glob by name, where numbers count as numbers (`part-2` before
/// `part-10`).
///
/// Of a directory all files are read whose names do not begin with `.` or `_`, which is
/// where Spark and others keep markers and checksums; a pattern matches such names only where
/// it says so (`_*`). A directory within it, a pattern that matches nothing, and a file that
/// is named twice are errors: each would push something other than what was meant.
pub(crate) fn expand_sources(sources: &[String]) -> Result<Vec<Input>> {
    if sources.is_empty() {
        return Err(IngestError::setting("no source: name files, directories, globs, or '-'"));
    }
    let mut inputs = Vec::new();
    let mut seen = HashMap::new();
    for source in sources {
        if source == "-" {
            once(&mut seen, PathBuf::from("-"), "-")?;
            inputs.push(Input::reader("standard input", io::stdin()));
            continue;
        }
        for path in expand(source)? {
            let same = path.canonicalize().map_err(|e| Error::io("find a source", &path, e))?;
            once(&mut seen, same, &path.to_string_lossy())?;
            inputs.push(Input::file(path.to_string_lossy().into_owned(), path));
        }
    }
    Ok(inputs)
}

fn once(seen: &mut HashMap<PathBuf, String>, same: PathBuf, name: &str) -> Result<()> {
    match seen.insert(same, name.to_owned()) {
        None => Ok(()),
        Some(before) if before == name => {
            Err(IngestError::setting(format!("the source {} is given twice", shown(name))))
        }
        Some(before) => Err(IngestError::setting(format!(
            "the source {} is given twice, the first time as {}",
            shown(name),
            shown(&before)
        ))),
    }
}

/// The files that one source stands for.
fn expand(source: &str) -> Result<Vec<PathBuf>> {
    let path = Path::new(source);
    if path.is_dir() {
        return files_of(path);
    }
    // A file whose name looks like a pattern is meant as a file.
    if path.symlink_metadata().is_ok() || !source.contains(['*', '?', '[']) {
        return match path.metadata() {
            Ok(_) => Ok(vec![path.to_owned()]),
            Err(e) => {
                let absent = e.kind() == io::ErrorKind::NotFound;
                let error = IngestError::from(Error::io("find a source", path, e));
                Err(IngestError { absent, ..error })
            }
        };
    }
    let matches = glob::glob(source).map_err(|error| {
        IngestError::setting(format!("{} is not a pattern: {error}", shown(source)))
    })?;
    let mut paths = Vec::new();
    for path in matches {
        let path = path.map_err(|e| {
            let path = e.path().to_owned();
            Error::io("look for sources in", path, io::Error::from(e))
        })?;
        if is_aside(source, &path) {
            continue;
        }
        if path.is_dir() { paths.extend(files_of(&path)?) } else { paths.push(path) }
    }
    if paths.is_empty() {
        let text = format!(
            "nothing matches the source {} (names that begin with . or _ count only where the \
             pattern does too)",
            shown(source)
        );
        return Err(IngestError { absent: true, ..IngestError::setting(text) });
    }
    paths.sort_by_cached_key(|path| natural(&path.to_string_lossy()));
    Ok(paths)
}

/// Whether a pattern matches a marker, a checksum or what lies in a directory of such,
/// without saying so: a name that begins with `.` or `_` where the pattern does not.
fn is_aside(pattern: &str, path: &Path) -> bool {
    let aside = |name: &str| name.starts_with(['.', '_']);
    let names: Vec<_> =
        path.iter().map(|name| name.to_string_lossy()).filter(|name| name != "/").collect();
    let segments: Vec<&str> = pattern.split('/').filter(|segment| !segment.is_empty()).collect();
    if segments.contains(&"**") {
        // Any number of names stand for it.
        let literal = segments.iter().take_while(|s| !s.contains(['*', '?', '['])).count();
        let patterns = &segments[literal..];
        let said = |name: &str| patterns.iter().any(|s| s.get(..1) == name.get(..1));
        let mut matched = names.iter().rev().take(names.len().saturating_sub(literal));
        return matched.any(|name| aside(name) && !said(name));
    }
    let mut both = segments.iter().rev().zip(names.iter().rev());
    both.any(|(segment, name)| aside(name) && segment.get(..1) != name.get(..1))
}

fn files_of(directory: &Path) -> Result<Vec<PathBuf>> {
    let failed = |error| IngestError::from(Error::io("list the directory", directory, error));
    let mut files = Vec::new();
    for entry in directory.read_dir().map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(['.', '_']) {
            continue;
        }
        let path = entry.path();
        let metadata = path.metadata().map_err(|e| Error::io("find a source", &path, e))?;
        if metadata.is_dir() {
            return Err(IngestError::setting(format!(
                "the directory {} holds another one, {}: name what to read, for instance {}",
                shown(&directory.to_string_lossy()),
                shown(&name),
                shown(&directory.join("*").join("*").to_string_lossy())
            )));
        }
        if metadata.is_file() {
            files.push((natural(&name), path));
        }
    }
    if files.is_empty() {
        return Err(IngestError::new(
            Code::NoRows,
            format!("the directory {} has no files", shown(&directory.to_string_lossy())),
        ));
    }
    files.sort();
    Ok(files.into_iter().map(|(_, path)| path).collect())
}

/// A key that sorts names as people number them: runs of digits count as numbers, that is,
/// by their length without leading zeros and then digit by digit.
fn natural(name: &str) -> (Vec<(String, usize, String)>, String) {
    let mut parts = Vec::new();
    let mut rest = name;
    while !rest.is_empty() {
        let text_end = rest.find(|char: char| char.is_ascii_digit()).unwrap_or(rest.len());
        let (text, after) = rest.split_at(text_end);
        let end = after.find(|char: char| !char.is_ascii_digit()).unwrap_or(after.len());
        let (digits, after) = after.split_at(end);
        let number = digits.trim_start_matches('0');
        parts.push((text.to_owned(), number.len(), number.to_owned()));
        rest = after;
    }
    // Names that differ in leading zeros alone still need an order.
    (parts, name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(files: &[&str]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for file in files {
            let path = directory.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, file).unwrap();
        }
        directory
    }

    fn names(directory: &Path, sources: &[&str]) -> Result<Vec<String>> {
        let inside = |source: &&str| match *source {
            "-" => "-".to_owned(),
            other => format!("{}/{other}", directory.display()),
        };
        let inputs = expand_sources(&sources.iter().map(inside).collect::<Vec<_>>())?;
        let prefix = format!("{}/", directory.display());
        Ok(inputs.iter().map(|input| input.name.replace(&prefix, "")).collect())
    }

    #[test]
    fn directories_give_their_files_in_the_order_people_count() {
        let it = directory(&["part-10", "part-2", "part-02", "a", "_SUCCESS", ".part-2.crc"]);
        assert_eq!(names(it.path(), &[""]).unwrap(), ["a", "part-02", "part-2", "part-10"]);
    }

    #[test]
    fn patterns_leave_out_what_directories_do_unless_they_say_so() {
        let it = directory(&[
            "a/1.csv",
            "a/_SUCCESS",
            "a/.1.csv.crc",
            "a/_temporary/2.csv",
            "_b/3.csv",
            "_b/_4",
        ]);
        for (pattern, matched) in [
            ("a/*", &["a/1.csv"][..]),
            ("./a/*", &["a/1.csv"]),
            ("*/*.csv", &["a/1.csv"]),
            ("*/*/*.csv", &[]),
            ("**/*.csv", &["a/1.csv"]),
            ("a/_*", &["a/_SUCCESS", "a/_temporary/2.csv"]),
            ("a/.*.crc", &["a/.1.csv.crc"]),
            ("a/[_]SUCCESS", &[]),
            ("_*/*", &["_b/3.csv"]),
            ("_b/*", &["_b/3.csv"]),
            ("_b/**/*", &["_b/3.csv"]),
        ] {
            let found = names(it.path(), &[pattern]);
            if matched.is_empty() {
                assert!(found.unwrap_err().absent, "{pattern}");
            } else {
                let found = found.unwrap();
                let found: Vec<_> = found.iter().map(|f| f.trim_start_matches("./")).collect();
                assert_eq!(found, matched, "{pattern}");
            }
        }
    }

    #[test]
    fn sources_come_in_the_order_they_were_named() {
        let it = directory(&["b.csv", "a.csv", "c[1].csv", "x/9", "x/10"]);
        let all = names(it.path(), &["c[1].csv", "-", "?.csv", "x"]).unwrap();
        assert_eq!(all, ["c[1].csv", "standard input", "a.csv", "b.csv", "x/9", "x/10"]);
    }

    #[test]
    fn what_names_nothing_or_twice_is_an_error_that_says_so() {
        let it = directory(&["a.csv", "deep/er/b.csv", "_only/_hidden"]);
        for (sources, part) in [
            (&["none.csv"][..], "none.csv"),
            (&["*.parquet"], "nothing matches"),
            (&["a.csv", "*.csv"], "given twice"),
            (&["-", "-"], "given twice"),
            (&["a.csv", "deep/../a.csv"], "the first time as"),
            (&["deep"], "holds another one, \"er\""),
            (&["_only"], "has no files"),
            (&["[z-a"], "not a pattern"),
            (&[], "no source"),
        ] {
            let error = names(it.path(), sources).unwrap_err();
            assert!(error.to_string().contains(part), "{sources:?}: {error}");
            assert_eq!(
                error.absent,
                ["none.csv", "*.parquet"].contains(sources.first().unwrap_or(&""))
            );
        }
    }

    #[test]
    fn names_with_numbers_of_any_length_sort() {
        let mut names =
            ["p100000000000000000000000", "p9", "p10", "p", "p-1", "pa", "p09", "P1", "p9a"];
        names.sort_by_key(|name| natural(name));
        assert_eq!(
            names,
            ["P1", "p", "p09", "p9", "p9a", "p10", "p100000000000000000000000", "p-1", "pa"]
        );
    }
}
