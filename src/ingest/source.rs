//! What a user names as sources, as a list of things to open.

use std::collections::{BTreeSet, HashMap};
use std::fs::Metadata;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use tidetable_storage::{Error, ExpectedPart, quoted};

use super::directory::{self, MARKER};
use super::error::{IngestError, Result};
use super::{manifest, objects};
use crate::remote::{
    DELTA_LOG, IS_DELTA, Location, Object, Settings, Stores, instead_of_directory,
};

/// One thing to read rows from.
pub(crate) struct Input {
    /// What messages call it.
    pub(crate) name: String,
    pub(crate) origin: Origin,
    /// What a file should be, if it is a part: reading fails at its end if it is another.
    pub(crate) expected: Option<ExpectedPart>,
}

/// Where the bytes come from.
pub(crate) enum Origin {
    /// A file, or anything else that opens as one.
    File(PathBuf),
    /// Standard input, a network body: read once, from its start.
    Reader(Box<dyn Read + Send>),
    /// An object in a store, as it was found.
    Object(Object),
}

/// How what is named as sources is understood.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
pub(crate) struct SourceOptions {
    /// Read a directory of a Spark or Hadoop job (part-00000…) although it has no _SUCCESS: its
    /// job may have failed, or be running still
    #[arg(long, help_heading = "Sources")]
    pub(crate) accept_unfinished: bool,

    /// SOURCE is the manifest of a Redshift UNLOAD: read the files it lists, each of the length
    /// it says. A source whose name ends in 'manifest' is taken for one anyway
    #[arg(long, help_heading = "Sources")]
    pub(crate) manifest: bool,
}

impl SourceOptions {
    /// Whether a file of this name is a list of files.
    pub(super) fn is_manifest(&self, name: &str) -> bool {
        self.manifest || is_named_manifest(name)
    }

    /// Refuses to take a `directory` for a manifest: which of its files would be it?
    pub(super) fn refuse_directory(&self, directory: &str) -> Result<()> {
        self.refuse(directory, "a directory: name the manifest in it, or leave --manifest out")
    }

    fn refuse(&self, source: &str, what: &str) -> Result<()> {
        if !self.manifest {
            return Ok(());
        }
        let source = quoted(source);
        let text = format!("--manifest takes a file or an object, and {source} is {what}");
        Err(IngestError::setting(text))
    }

    fn refuse_pipe(&self, source: &str) -> Result<()> {
        self.refuse(source, "a pipe: write it to a file, and name that")
    }
}

/// Whether a file has the name of a list of files, as an UNLOAD gives it one.
pub(super) fn is_named_manifest(name: &str) -> bool {
    name.ends_with("manifest")
}

impl Input {
    /// A file that messages call `name`.
    pub(crate) fn file(name: impl Into<String>, path: impl Into<PathBuf>) -> Self {
        Self { name: name.into(), origin: Origin::File(path.into()), expected: None }
    }

    /// A part: messages name it, not the file in the server's staging.
    pub(crate) fn part(name: &str, path: &Path, expected: ExpectedPart) -> Self {
        Self { expected: Some(expected), ..Self::file(name, path) }
    }

    /// Anything that can be read.
    pub(crate) fn reader(name: impl Into<String>, reader: impl Read + Send + 'static) -> Self {
        Self { name: name.into(), origin: Origin::Reader(Box::new(reader)), expected: None }
    }

    /// An object in a store.
    pub(crate) fn object(object: Object) -> Self {
        Self { name: object.location().to_string(), origin: Origin::Object(object), expected: None }
    }

    /// Whether it can be opened a second time: what went through a pipe is gone.
    pub(crate) fn can_be_read_again(&self) -> bool {
        match &self.origin {
            Origin::File(path) => path.metadata().is_ok_and(|found| found.is_file()),
            Origin::Object(_) => true,
            Origin::Reader(_) => false,
        }
    }

    /// How many bytes it has as it is stored, if that is known.
    pub(crate) fn bytes(&self) -> Option<u64> {
        if self.arrives() { None } else { self.bytes_there() }
    }

    /// Whether more of it may come.
    pub(crate) fn arrives(&self) -> bool {
        let Some(ExpectedPart::Arriving(arrival)) = &self.expected else { return false };
        arrival.arrived().is_none()
    }

    /// How many bytes of it can be read by now, if that is known.
    pub(crate) fn bytes_there(&self) -> Option<u64> {
        let path = match &self.origin {
            Origin::File(path) => path,
            Origin::Object(object) => return Some(object.bytes()),
            Origin::Reader(_) => return None,
        };
        path.metadata().ok().filter(Metadata::is_file).map(|metadata| metadata.len())
    }
}

/// Turns files, directories, globs, `-` and what lies in stores (`s3://bucket/prefix/`) into what
/// is to be read, in order: as given, and within a directory or glob by name, where numbers count
/// as numbers (`part-2` before `part-10`).
///
/// Of a directory all files are read whose names do not begin with `.` or `_`, which is
/// where Spark and others keep markers and checksums; a pattern matches such names only where
/// it says so (`_*`). Nor is a manifest read that lies in a directory; one that a pattern matches is
/// taken as if it were named. A directory that a job of Spark or Hadoop writes is read when that job
/// has finished ([`directory::chosen`]). A directory within it, a pattern that matches nothing, and a
/// file that is named twice are errors: each would push something other than what was meant.
pub(crate) fn expand_sources(sources: &[String], how: &SourceOptions) -> Result<Vec<Input>> {
    if sources.is_empty() {
        let text = "no source: name files, directories, globs, s3://…, or '-'";
        return Err(IngestError::setting(text));
    }
    let mut stores = Stores::new(Settings::default());
    let mut inputs = Vec::new();
    let mut seen = HashMap::new();
    for source in sources {
        for input in expand(source, &mut stores, how)? {
            let same = match &input.origin {
                Origin::File(path) => same_path(path)?,
                Origin::Object(object) => PathBuf::from(object.location().whole()),
                Origin::Reader(_) => PathBuf::from("-"),
            };
            let name = if source == "-" { "-" } else { &input.name };
            once(&mut seen, same, name)?;
            inputs.push(input);
        }
    }
    Ok(inputs)
}

/// What one source stands for.
fn expand(source: &str, stores: &mut Stores, how: &SourceOptions) -> Result<Vec<Input>> {
    if source == "-" {
        how.refuse_pipe(source)?;
        return Ok(vec![Input::reader("standard input", io::stdin())]);
    }
    let path = Path::new(source);
    let is_there = path.symlink_metadata().is_ok();
    if let Some(location) = Location::parse(source).filter(|_| !is_there) {
        let odd = |why| IngestError::setting(format!("the source {}: {why}", quoted(source)));
        return objects::expand(&location.map_err(odd)?, stores, how, &|_| true);
    }
    let mut inputs = Vec::new();
    for path in files(source, how)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !path.is_file() {
            how.refuse_pipe(&path.to_string_lossy())?;
        } else if how.is_manifest(&name) {
            inputs.extend(manifest::of_file(&path, stores)?);
            continue;
        }
        inputs.push(Input::file(path.to_string_lossy().into_owned(), path));
    }
    Ok(inputs)
}

/// What is there by this path. It may be a link to nothing.
fn find(path: &Path) -> Result<Metadata> {
    path.metadata().map_err(|error| {
        let absent = error.kind() == io::ErrorKind::NotFound;
        let error = IngestError::from(Error::io("find a source", path, error));
        IngestError { absent, ..error }
    })
}

/// The one path that a file or directory has. What is neither may have none: `/dev/fd/63` leads to a
/// pipe without a name.
fn same_path(path: &Path) -> Result<PathBuf> {
    let found = find(path)?;
    if !found.is_file() && !found.is_dir() {
        return Ok(path.to_owned());
    }
    Ok(path.canonicalize().map_err(|e| Error::io("find a source", path, e))?)
}

fn once(seen: &mut HashMap<PathBuf, String>, same: PathBuf, name: &str) -> Result<()> {
    match seen.insert(same, name.to_owned()) {
        None => Ok(()),
        Some(before) if before == name => {
            Err(IngestError::setting(format!("the source {} is given twice", quoted(name))))
        }
        Some(before) => Err(IngestError::setting(format!(
            "the source {} is given twice, the first time as {}",
            quoted(name),
            quoted(&before)
        ))),
    }
}

/// The files that one source stands for.
fn files(source: &str, how: &SourceOptions) -> Result<Vec<PathBuf>> {
    let path = Path::new(source);
    if path.is_dir() {
        return files_of(path, how);
    }
    // A file whose name looks like a pattern is meant as a file.
    if path.symlink_metadata().is_ok() || !source.contains(['*', '?', '[']) {
        return find(path).map(|_| vec![path.to_owned()]);
    }
    let matches = glob::glob(source).map_err(|error| {
        IngestError::setting(format!("{} is not a pattern: {error}", quoted(source)))
    })?;
    let (mut paths, mut looked_at) = (Vec::new(), BTreeSet::new());
    for path in matches {
        let path = path.map_err(|e| {
            let path = e.path().to_owned();
            Error::io("look for sources in", path, io::Error::from(e))
        })?;
        if is_aside(source, &path) {
            continue;
        }
        if path.is_dir() {
            paths.extend(files_of(&path, how)?);
            continue;
        }
        path.ancestors()
            .skip(1)
            .filter(|above| looked_at.insert(above.to_path_buf()))
            .try_for_each(refuse_delta)?;
        paths.push(path);
    }
    if paths.is_empty() {
        let text = format!(
            "nothing matches the source {} (names that begin with . or _ count only where the \
             pattern does too)",
            quoted(source)
        );
        return Err(IngestError { absent: true, ..IngestError::setting(text) });
    }
    paths.sort_by_cached_key(|path| natural(&path.to_string_lossy()));
    Ok(paths)
}

/// Whether a pattern matches a marker, a checksum or what lies in a directory of such,
/// without saying so: a name that begins with `.` or `_` where the pattern does not.
pub(super) fn is_aside(pattern: &str, path: &Path) -> bool {
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

fn refuse_delta(directory: &Path) -> Result<()> {
    if !directory.join(DELTA_LOG).is_dir() {
        return Ok(());
    }
    let text = format!("the directory {} {IS_DELTA}", quoted(&directory.to_string_lossy()));
    Err(IngestError::setting(text))
}

fn files_of(directory: &Path, how: &SourceOptions) -> Result<Vec<PathBuf>> {
    how.refuse_directory(&directory.to_string_lossy())?;
    refuse_delta(directory)?;
    let failed = |error| IngestError::from(Error::io("list the directory", directory, error));
    let (mut files, mut is_marked) = (Vec::new(), false);
    for entry in directory.read_dir().map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(['.', '_']) {
            is_marked |= name == MARKER;
            continue;
        }
        let path = entry.path();
        let metadata = find(&path)?;
        if metadata.is_dir() {
            let pattern = directory.join("*").join("*");
            return Err(IngestError::setting(format!(
                "the directory {} holds another one, {}: {}",
                quoted(&directory.to_string_lossy()),
                quoted(&name),
                instead_of_directory(&name, &quoted(&pattern.to_string_lossy()))
            )));
        }
        if metadata.is_file() {
            files.push((name.into_owned(), path));
        }
    }
    directory::chosen(&directory.to_string_lossy(), files, is_marked, how)
}

/// A key that sorts names as people number them: runs of digits count as numbers, that is,
/// by their length without leading zeros and then digit by digit.
pub(super) fn natural(name: &str) -> (Vec<(String, usize, String)>, String) {
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
        names_how(directory, sources, &SourceOptions::default())
    }

    fn names_how(directory: &Path, sources: &[&str], how: &SourceOptions) -> Result<Vec<String>> {
        let inside = |source: &&str| match *source {
            "-" => "-".to_owned(),
            other => format!("{}/{other}", directory.display()),
        };
        let sources: Vec<_> = sources.iter().map(inside).collect();
        let inputs = expand_sources(&sources, how)?;
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
        let it = directory(&["a.csv", "deep/er/b.csv", "_only/_hidden", "by/lang=en/part-00000"]);
        for (sources, part) in [
            (&["none.csv"][..], "none.csv"),
            (&["*.parquet"], "nothing matches"),
            (&["a.csv", "*.csv"], "given twice"),
            (&["-", "-"], "given twice"),
            (&["a.csv", "deep/../a.csv"], "the first time as"),
            (&["deep"], "holds another one, \"er\": name what to read, for instance"),
            (&["by"], "the column \"lang\" stands in the names of directories only"),
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
    fn a_link_to_nothing_is_not_there() {
        let it = directory(&["a.csv", "d/b.csv"]);
        for link in ["gone.csv", "d/gone.csv"] {
            std::os::unix::fs::symlink("nowhere", it.path().join(link)).unwrap();
        }
        for source in ["gone.csv", "*.csv", "d"] {
            let error = names(it.path(), &[source]).unwrap_err();
            assert!(error.absent && error.to_string().contains("gone.csv"), "{source}: {error}");
        }
    }

    /// Rows that were deleted stand in its files, too.
    #[test]
    fn a_delta_table_is_no_directory_of_rows() {
        let it = directory(&["t/_delta_log/00000000000000000000.json", "t/part-00000-7f.parquet"]);
        let all_the_same = SourceOptions { accept_unfinished: true, ..SourceOptions::default() };
        for how in [SourceOptions::default(), all_the_same] {
            for source in ["t/*.parquet", "t/*", "*/*.parquet"] {
                let error = names_how(it.path(), &[source], &how).unwrap_err();
                assert!(error.detail.contains("is a Delta table"), "{source}: {error}");
            }
            let error = names_how(it.path(), &["t"], &how).unwrap_err();
            assert!(error.detail.contains("is a Delta table"), "{error}");
            assert!(!error.detail.contains("--accept-unfinished"), "{error}");
        }
    }

    /// These list nothing, so that what takes one for a manifest says so.
    #[test]
    fn a_manifest_lists_files_however_it_is_named_but_by_its_directory() {
        let it = directory(&["un/g_0000_part_00", "un/g_manifest"]);
        let manifest = SourceOptions { manifest: true, ..SourceOptions::default() };
        for (source, how) in [
            ("un/g_manifest", &SourceOptions::default()),
            ("un/*_manifest", &SourceOptions::default()),
            ("un/*", &SourceOptions::default()),
            ("un/g_0000_part_00", &manifest),
            ("un/*_part_*", &manifest),
        ] {
            let error = names_how(it.path(), &[source], how).unwrap_err();
            assert!(error.detail.contains("no manifest of a Redshift"), "{source}: {error}");
        }
        assert_eq!(names(it.path(), &["un"]).unwrap(), ["un/g_0000_part_00"]);
        assert_eq!(names(it.path(), &["u?"]).unwrap(), ["un/g_0000_part_00"]);
        for source in ["un", "u?"] {
            let error = names_how(it.path(), &[source], &manifest).unwrap_err();
            assert!(error.detail.contains("is a directory: name the"), "{source}: {error}");
        }
    }

    #[test]
    fn what_is_a_pipe_is_taken_by_the_path_that_it_has() {
        use std::os::fd::AsRawFd as _;
        let (reader, _writer) = io::pipe().unwrap();
        let source = format!("/dev/fd/{}", reader.as_raw_fd());
        let both = [source.clone(), source.clone()];
        let inputs = expand_sources(&both[..1], &SourceOptions::default()).unwrap();
        assert_eq!(inputs[0].name, source);
        assert!(!inputs[0].can_be_read_again() && inputs[0].bytes().is_none());
        // What is read is no text to show.
        let refused =
            |sources: &[String], how: &SourceOptions| expand_sources(sources, how).err().unwrap();
        let error = refused(&both, &SourceOptions::default());
        assert!(error.detail.contains("given twice"), "{error}");
        let manifest = SourceOptions { manifest: true, ..SourceOptions::default() };
        for source in [source, "-".to_owned()] {
            let error = refused(&[source], &manifest);
            assert!(error.detail.contains("is a pipe"), "{error}");
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
