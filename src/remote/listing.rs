//! What stands at a location: one object, or all beneath a prefix.

use std::collections::BTreeSet;
use std::fmt;
use std::iter::successors;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use object_store::path::Path;
use object_store::{GetOptions, ObjectMeta, ObjectStore};
use tokio::time::{Instant, timeout, timeout_at};

use super::error::{RemoteError, Why};
use super::location::Location;
use super::reader::Object;
use super::runtime;
use super::store::Stores;

/// How long a store may take for the next names of a list.
const NEXT_NAMES: Duration = Duration::from_secs(60);
/// And for all of them.
const ALL_NAMES: Duration = Duration::from_secs(600);
/// More objects than this beneath one prefix are not what is meant, or have no end.
const MAX_LISTED: usize = 1_000_000;
/// How long it may take until a store says what an object is.
const ONE_OBJECT: Duration = Duration::from_secs(120);
/// Objects that are looked at one by one, for one list: as many as a manifest may have.
const MAX_LOOKED_AT: usize = 100_000;
/// How long that may take for all lists of one command or import, besides the listing itself.
const ALL_OBJECTS: Duration = Duration::from_secs(3600);
/// Objects that are asked after at the same time.
const AT_ONCE: usize = 16;

/// Where a Delta table has its log.
pub(crate) const DELTA_LOG: &str = "_delta_log";
/// What a directory with such a log is, and what to do with it. Its files are rows of all its versions:
/// also those that were deleted, and those that were replaced.
pub(crate) const IS_DELTA: &str = "is a Delta table, and its log (_delta_log) alone says which of its \
    files count: write it as plain Parquet first (in Spark: \
    spark.read.format(\"delta\").load(…).write.parquet(…)), and push that";

/// What to do where a directory holds another one of this `name`. That of a partition, `lang=en`, holds
/// the values of a column that are not in its files: what matches `pattern` alone would lack it.
pub(crate) fn instead_of_directory(name: &str, pattern: &str) -> String {
    match name.split_once('=') {
        Some((column, _)) if !column.is_empty() => format!(
            "the column {column:?} stands in the names of directories only, and not in the files: \
             write them without partitionBy, or partitioned by a copy of that column, and name {pattern}"
        ),
        _ => format!("name what to read, for instance {pattern}"),
    }
}

/// What stands beneath a prefix.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// With the names that they have there.
    pub(crate) objects: Vec<(String, Object)>,
    /// Whether `_SUCCESS` is among those left out.
    pub(crate) is_marked: bool,
    /// The directories whose log of a Delta table is among those left out, without a `/` at their ends.
    tables: BTreeSet<String>,
}

impl Stores {
    /// The object at `location`, if it is there and may be read.
    pub(crate) fn object(&mut self, location: &Location) -> Result<Object, RemoteError> {
        let store = self.of(location)?;
        runtime().block_on(look_at(&store, location))
    }

    /// The objects at the `locations` that `list` names, in their order, each with what is told of the
    /// place instead of an object.
    pub(crate) fn objects(
        &mut self,
        list: &str,
        locations: &[Location],
    ) -> Result<Vec<Result<Object, RemoteError>>, RemoteError> {
        let mut asked = Vec::with_capacity(locations.len());
        for location in locations {
            asked.push((self.of(location)?, location));
        }
        let asked = asked.iter().map(|(store, location)| async move {
            Ok::<_, RemoteError>(look_at(store, location).await)
        });
        runtime().block_on(look_at_each(list, asked, &mut self.looking))
    }

    /// The objects beneath the prefix `location`, as those of a directory: names that begin with
    /// `.` or `_` are left out, and a directory within it is an error.
    pub(crate) fn list(&mut self, location: &Location) -> Result<Found, RemoteError> {
        let store = self.of(location)?;
        runtime().block_on(list(&store, location, Wanted::Directory, &mut self.looking))
    }

    /// The objects beneath the prefix `location`, however deep, whose names there are `wanted`.
    pub(crate) fn list_those(
        &mut self,
        location: &Location,
        wanted: &dyn Fn(&str) -> bool,
    ) -> Result<Found, RemoteError> {
        let store = self.of(location)?;
        runtime().block_on(list(&store, location, Wanted::Those(wanted), &mut self.looking))
    }
}

/// Which names are taken.
#[derive(Clone, Copy)]
enum Wanted<'a> {
    Directory,
    Those(&'a dyn Fn(&str) -> bool),
}

async fn look_at(store: &Arc<dyn ObjectStore>, location: &Location) -> Result<Object, RemoteError> {
    let key = key_of(location)?;
    let asked = async {
        if location.is_in_store() {
            let head = GetOptions { head: true, ..GetOptions::default() };
            if let Ok(found) = store.get_opts(&key, head).await {
                return Ok(found.meta);
            }
        }
        // What refuses a HEAD does not say why. (And an address may be signed for GET alone.)
        let found = store.get_opts(&key, GetOptions::default()).await;
        found.map(|found| found.meta).map_err(|error| RemoteError::of(&error, location))
    };
    let meta = match timeout(ONE_OBJECT, asked).await {
        Ok(meta) => meta?,
        Err(_) => return Err(RemoteError::new(Why::Failed, location, "the store does not answer")),
    };
    Ok(Object::new(Arc::clone(store), key, location, &meta))
}

/// The path of an address is part of what its store was opened with.
fn key_of(location: &Location) -> Result<Path, RemoteError> {
    if !location.is_in_store() {
        return Ok(Path::default());
    }
    Path::parse(&location.path)
        .map_err(|_| RemoteError::new(Why::Usage, location, "its name is not read"))
}

async fn list(
    store: &Arc<dyn ObjectStore>,
    location: &Location,
    wanted: Wanted<'_>,
    looking: &mut Duration,
) -> Result<Found, RemoteError> {
    let prefix = (!location.path.is_empty()).then(|| key_of(location)).transpose()?;
    let mut listed = store.list(prefix.as_ref());
    let (mut found, mut count) = (Found::default(), 0);
    let ends = Instant::now() + ALL_NAMES;
    loop {
        let within = ends.min(Instant::now() + NEXT_NAMES);
        let meta = match timeout_at(within, listed.next()).await {
            Err(_) => {
                let why = format!(
                    "the store does not come to the end of its list: it has named {count} objects. Ask \
                     again later, or name fewer"
                );
                return Err(RemoteError::new(Why::Failed, location, why));
            }
            Ok(None) => {
                refuse_tables(&found, location)?;
                return without_directories(store, location, found, looking).await;
            }
            Ok(Some(Err(error))) => return Err(RemoteError::of(&error, location)),
            Ok(Some(Ok(meta))) => meta,
        };
        count += 1;
        if count > MAX_LISTED {
            let why = format!("there are more than {MAX_LISTED} objects: name fewer");
            return Err(RemoteError::new(Why::Usage, location, why));
        }
        take(&mut found, store, location, &meta, wanted)?;
    }
}

/// Leaves out the objects that stand for a directory: they are empty, and their names end in a `/`
/// that the list does not show.
async fn without_directories(
    store: &Arc<dyn ObjectStore>,
    location: &Location,
    mut found: Found,
    looking: &mut Duration,
) -> Result<Found, RemoteError> {
    let objects = found.objects.iter().map(|(_, object)| object);
    let empty: Vec<&Object> = objects.filter(|object| object.bytes() == 0).collect();
    let asked = empty.iter().map(|object| async move {
        match look_at(store, object.location()).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind == Why::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    });
    let mut are_there = look_at_each(location, asked, looking).await?.into_iter();
    found.objects.retain(|(_, object)| object.bytes() > 0 || are_there.next() == Some(true));
    Ok(found)
}

/// What each of the questions after single objects of `list` has brought, in their order; an error if
/// they are too many, or if they are not answered in what is left of the time. `looking` is how much of
/// it was taken before, and then with these.
async fn look_at_each<T, F: Future<Output = Result<T, RemoteError>>>(
    list: impl fmt::Display,
    asked: impl ExactSizeIterator<Item = F>,
    looking: &mut Duration,
) -> Result<Vec<T>, RemoteError> {
    if asked.len() == 0 {
        return Ok(Vec::new());
    }
    let began = Instant::now();
    let until = began + ALL_OBJECTS.saturating_sub(*looking);
    let found = look_until(list, asked, until).await;
    *looking += began.elapsed();
    found
}

async fn look_until<T, F: Future<Output = Result<T, RemoteError>>>(
    list: impl fmt::Display,
    asked: impl ExactSizeIterator<Item = F>,
    until: Instant,
) -> Result<Vec<T>, RemoteError> {
    let all = asked.len();
    if all > MAX_LOOKED_AT {
        let why = format!(
            "{all} of its objects are empty, or told by their names alone, and would have to be looked at \
             one by one; {MAX_LOOKED_AT} may be. Remove what is empty, or name fewer"
        );
        return Err(RemoteError::new(Why::Usage, list, why));
    }
    let mut asked = futures_util::stream::iter(asked).buffered(AT_ONCE);
    let mut found = Vec::with_capacity(all);
    loop {
        match timeout_at(until, asked.next()).await {
            Ok(Some(one)) => found.push(one?),
            Ok(None) => return Ok(found),
            Err(_) => {
                let (done, minutes) = (found.len(), ALL_OBJECTS.as_secs() / 60);
                let why = format!(
                    "its objects are looked at one by one, and the store answers too slowly: {done} of {all} \
                     were after {minutes} minutes, with what was looked at before them. Ask again later, or \
                     name fewer"
                );
                return Err(RemoteError::new(Why::Failed, list, why));
            }
        }
    }
}

/// One object of a list.
fn take(
    found: &mut Found,
    store: &Arc<dyn ObjectStore>,
    location: &Location,
    meta: &ObjectMeta,
    wanted: Wanted<'_>,
) -> Result<(), RemoteError> {
    let key: &str = meta.location.as_ref();
    // A store that names others than it was asked for is not believed.
    let Some(name) = key.strip_prefix(location.path.as_str()) else {
        let is_itself = location.path.strip_suffix('/') == Some(key);
        let why = "the store lists what is not beneath it";
        // The object that stands for an empty directory is none.
        return if is_itself { Ok(()) } else { Err(RemoteError::new(Why::Failed, location, why)) };
    };
    let first = name.split('/').next().unwrap_or_default();
    let is_taken = match wanted {
        // What stands for a directory has no rows, whatever matches its name.
        _ if name.ends_with("_$folder$") => false,
        Wanted::Directory => !first.starts_with(['.', '_']),
        Wanted::Those(wanted) => wanted(name),
    };
    if !is_taken {
        let table = table_of_log(name);
        if table == Some("") && matches!(wanted, Wanted::Directory) {
            return Err(is_table("", location));
        }
        found.tables.extend(table.map(str::to_owned));
        found.is_marked |= name == "_SUCCESS";
        return Ok(());
    }
    if matches!(wanted, Wanted::Directory) && name.contains('/') {
        let first: String = first.chars().take(60).collect();
        let instead = instead_of_directory(&first, &format!("{location}*/*"));
        let why = format!("it holds another directory, {first:?}: {instead}");
        return Err(RemoteError::new(Why::Usage, location, why));
    }
    let (store, place) = (Arc::clone(store), location.with_path(key));
    let object = Object::new(store, meta.location.clone(), &place, meta);
    found.objects.push((name.to_owned(), object));
    Ok(())
}

/// Refuses files of a Delta table that a pattern matches: those of its partitions, too.
fn refuse_tables(found: &Found, location: &Location) -> Result<(), RemoteError> {
    if found.tables.is_empty() {
        return Ok(());
    }
    let mut tables = found.objects.iter().flat_map(|(name, _)| may_be_tables(name));
    let table = tables.find(|&directory| found.tables.contains(directory));
    table.map_or(Ok(()), |table| Err(is_table(table, location)))
}

/// The directory of the object of this name, and those above it for as long as they are partitions.
fn may_be_tables(name: &str) -> impl Iterator<Item = &str> {
    successors(Some(parent(name)), |&directory| {
        let last = directory.rsplit('/').next().unwrap_or_default();
        last.contains('=').then(|| parent(directory))
    })
}

fn is_table(table: &str, location: &Location) -> RemoteError {
    let end = if table.is_empty() { "" } else { "/" };
    let place = location.with_path(format!("{}{table}{end}", location.path));
    RemoteError::new(Why::Usage, &place, format!("it {IS_DELTA}"))
}

/// The directory of the Delta table of whose log the object of this name is.
fn table_of_log(name: &str) -> Option<&str> {
    let mut found = name.match_indices(DELTA_LOG).map(|(at, log)| name.split_at(at + log.len()));
    let is_log = |before: &str| before.rsplit('/').next() == Some(DELTA_LOG);
    let log = found.find(|(before, after)| is_log(before) && after.starts_with('/'));
    log.map(|(log, _)| parent(log))
}

/// The directory that holds what has this name.
fn parent(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(directory, _)| directory)
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;

    /// What is taken of these names beneath a prefix.
    fn taken(names: &[&str], wanted: Wanted<'_>) -> Result<Vec<String>, RemoteError> {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let location = Location::parse("s3://bucket/out/").unwrap().unwrap();
        let mut found = Found::default();
        for name in names {
            let meta = ObjectMeta {
                location: Path::parse(format!("out/{name}")).unwrap(),
                last_modified: chrono::DateTime::UNIX_EPOCH,
                size: 1,
                e_tag: None,
                version: None,
            };
            take(&mut found, &store, &location, &meta, wanted)?;
        }
        refuse_tables(&found, &location)?;
        Ok(found.objects.into_iter().map(|(name, _)| name).collect())
    }

    /// So many empty objects beneath a prefix of a store that has none of them.
    async fn without(empty: usize) -> Result<Found, RemoteError> {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let location = Location::parse("s3://bucket/out/").unwrap().unwrap();
        let mut found = Found::default();
        for number in 0..empty {
            let meta = ObjectMeta {
                location: Path::parse(format!("out/{number}")).unwrap(),
                last_modified: chrono::DateTime::UNIX_EPOCH,
                size: 0,
                e_tag: None,
                version: None,
            };
            take(&mut found, &store, &location, &meta, Wanted::Directory).unwrap();
        }
        let mut looking = Duration::ZERO;
        without_directories(&store, &location, found, &mut looking).await
    }

    #[tokio::test]
    async fn so_many_objects_are_looked_at_one_by_one_and_no_more() {
        assert!(without(3).await.unwrap().objects.is_empty());
        let error = without(MAX_LOOKED_AT + 1).await.unwrap_err();
        assert_eq!((error.kind, error.place.as_str()), (Why::Usage, "s3://bucket/out/"));
        assert!(error.why.contains("100001 of its objects") && error.why.contains("100000 may be"));
    }

    #[tokio::test]
    async fn a_store_that_answers_too_slowly_is_told_with_how_far_it_came() {
        let asked = (0..40).map(|number| async move {
            if number >= 2 {
                std::future::pending::<()>().await;
            }
            Ok(number)
        });
        let mut looking = ALL_OBJECTS;
        let error = look_at_each("s3://bucket/manifest", asked, &mut looking).await.unwrap_err();
        assert_eq!((error.kind, error.place.as_str()), (Why::Failed, "s3://bucket/manifest"));
        assert!(error.why.contains("2 of 40 were after 60 minutes"), "{error}");
    }

    /// An hour is for looking at objects, and listing them is no part of it.
    #[tokio::test]
    async fn the_time_for_looking_is_that_of_all_lists_and_of_nothing_else() {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let location = Location::parse("s3://bucket/out/").unwrap().unwrap();
        let mut looking = Duration::ZERO;
        list(&store, &location, Wanted::Directory, &mut looking).await.unwrap();
        assert_eq!(looking, Duration::ZERO);
        for _ in 0..2 {
            let before = looking;
            let asked = [async {
                let began = Instant::now();
                while began.elapsed().is_zero() {
                    std::hint::spin_loop();
                }
                Ok(())
            }];
            look_at_each("s3://bucket/manifest", asked.into_iter(), &mut looking).await.unwrap();
            assert!(looking > before);
        }
    }

    #[test]
    fn a_partition_is_told_from_another_directory() {
        let why = |name| taken(&[name], Wanted::Directory).unwrap_err().why;
        let partition = why("lang=en/part-00000-7f.c000.snappy.parquet");
        assert!(partition.contains("the column \"lang\"") && partition.contains("partitionBy"));
        let directory = why("2026-11-25/part-00000");
        assert!(directory.ends_with("name what to read, for instance s3://bucket/out/*/*"));
    }

    #[test]
    fn what_stands_for_a_directory_is_taken_by_no_pattern() {
        let names = ["recs_$folder$", "recs.ndjson", "recs_$folder$.ndjson"];
        for wanted in [Wanted::Directory, Wanted::Those(&|name: &str| name.starts_with("recs"))] {
            assert_eq!(taken(&names, wanted).unwrap(), names[1..]);
        }
    }

    #[test]
    fn a_delta_table_is_no_directory_of_rows() {
        let names = ["_delta_log/00000000000000000000.json", "part-00000-7f.c000.snappy.parquet"];
        let error = taken(&names, Wanted::Directory).unwrap_err();
        assert_eq!(error.kind, Why::Usage);
        assert!(
            error.why.contains("Delta table") && error.why.contains("plain Parquet"),
            "{error}"
        );
        assert_eq!(taken(&["_delta_logs", names[1]], Wanted::Directory).unwrap(), [names[1]]);
    }

    /// Whatever the order in which they are listed.
    #[test]
    fn no_pattern_gets_round_the_log_of_a_delta_table() {
        let of =
            |names: &[&str]| taken(names, Wanted::Those(&|name: &str| name.ends_with(".parquet")));
        for (table, names) in [
            ("out/: it", ["_delta_log/0.json", "a.parquet"]),
            ("out/: it", ["a.parquet", "_delta_log/0.json"]),
            ("out/: it", ["_delta_log/0.json", "y=1/m=2/a.parquet"]),
            ("out/t/: it", ["t/_delta_log/0.json", "t/a.parquet"]),
            ("out/t/: it", ["t/_delta_log/0.json", "t/y=1/a.parquet"]),
        ] {
            let error = of(&names).unwrap_err();
            assert!(error.kind == Why::Usage && error.why.contains("Delta table"), "{error}");
            assert!(error.to_string().contains(table), "{names:?}: {error}");
        }
        for names in [
            ["t/_delta_log/0.json", "a.parquet"],
            ["t/_delta_log/0.json", "u/a.parquet"],
            ["_delta_logs/0.json", "a.parquet"],
            ["x_delta_log/0.json", "a.parquet"],
            ["_delta_log", "a.parquet"],
        ] {
            assert_eq!(of(&names).unwrap(), [names[1]]);
        }
    }
}
