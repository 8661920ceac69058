//! Reads rows from all sources, in order, into a sink.

use std::io::{self, Read as _};

use tidetable_storage::{Code, RecordList};

use super::error::{Fault, IngestError, MOST_PROBLEMS, Result};
use super::format::Format;
use super::growth::{Growth, GrowthLimits};
use super::lines::Lines;
use super::options::RowOptions;
use super::row::{RowRecord, Shape};
use super::rows::{RowFault, Rows, Unseen};
use super::source::Input;
use super::stream::Stream;
use super::{arrow_ipc, avro, csv, json_array, ndjson, parquet, redshift};

/// Progress is told at least every so many rows…
const ROWS_A_STEP: u64 = 4_096;
/// …and every so many bytes of the source.
const BYTES_A_STEP: u64 = 4 << 20;

/// How far reading has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Rows read so far.
    pub(crate) rows: u64,
    /// Bytes used so far, as the sources are stored (compressed if they are).
    pub(crate) bytes: u64,
    /// All bytes of all sources, if that is known: it is not for standard input.
    pub(crate) total_bytes: Option<u64>,
}

/// What was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReadReport {
    /// Given or guessed; one for all sources. None: all sources were empty files.
    pub(crate) format: Option<Format>,
    /// All rows, each of which went to the sink.
    pub(crate) rows: u64,
    /// All bytes, as the sources are stored.
    pub(crate) bytes: u64,
}

/// Where records go, in the order of their rows. An error of the sink ends the reading with
/// that error.
pub(crate) type Sink<'a> = dyn FnMut(RecordList) -> Result<()> + 'a;

/// Reads all rows of `inputs` and hands them to `sink` in order. A few chunks of rows are
/// held in memory.
///
/// Fails with
/// - `invalid_setting` if the options contradict each other or the source, or the format
///   can be neither guessed nor was given,
/// - `bad_rows` (or `value_too_large`) if any row cannot be used: reading goes on to name
///   up to five such rows, but from the first on the sink gets nothing more,
/// - `decompression_limit` if what is compressed grows beyond `limits`,
/// - `no_rows` if there is none at all,
/// - `io_failed` if the operating system fails, and whatever `sink` fails with.
pub(crate) fn read_rows(
    inputs: Vec<Input>,
    options: &RowOptions,
    limits: GrowthLimits,
    sink: &mut Sink<'_>,
    progress: &mut dyn FnMut(Progress),
) -> Result<ReadReport> {
    read_some_rows(inputs, options, (None, limits), sink, progress)
}

/// As [`read_rows`], but at most `most` rows.
pub(crate) fn read_some_rows(
    inputs: Vec<Input>,
    options: &RowOptions,
    (most, limits): (Option<u64>, GrowthLimits),
    sink: &mut Sink<'_>,
    progress: &mut dyn FnMut(Progress),
) -> Result<ReadReport> {
    options.check()?;
    let total_bytes = inputs.iter().map(Input::bytes).sum();
    let names: Vec<String> = inputs.iter().map(|input| input.name.clone()).collect();
    let mut reading = Reading {
        options,
        shape: Shape::of(options),
        sink,
        pending: RecordList::default(),
        progress,
        told: Progress { total_bytes, ..Progress::default() },
        bytes_before: 0,
        rows: 0,
        most,
        problems: Vec::new(),
        unseen: Unseen::of(options),
    };
    let growth = Growth::new(limits);
    let mut format = None;
    for input in inputs {
        if !reading.wants_more() {
            break;
        }
        let stored = input.bytes();
        let stream = Stream::open(input, &growth).map_err(|error| reading.with_problems(error))?;
        let its_format = reading.format_of(&stream, format)?;
        format = its_format.or(format);
        let used = match its_format {
            Some(format) => reading.read(stream, format)?,
            None => read_blank(stream)?,
        };
        reading.bytes_before += stored.unwrap_or(used);
    }
    reading.hand_on()?;
    reading.finish(&names)?;
    let Reading { rows, bytes_before, told, progress, .. } = reading;
    progress(Progress { rows, bytes: bytes_before, ..told });
    Ok(ReadReport { format, rows, bytes: bytes_before })
}

/// What the readers of all formats share: they hand in records and faults, and learn
/// whether to go on.
pub(crate) struct Reading<'a, 'b> {
    pub(crate) options: &'a RowOptions,
    pub(crate) shape: Shape,
    sink: &'a mut Sink<'b>,
    /// Records that came one by one and were not handed on yet.
    pending: RecordList,
    progress: &'a mut dyn FnMut(Progress),
    told: Progress,
    /// Bytes of the sources before this one.
    bytes_before: u64,
    rows: u64,
    most: Option<u64>,
    problems: Vec<(Code, String)>,
    /// Fields that options name and no row had so far.
    pub(crate) unseen: Unseen,
}

impl Reading<'_, '_> {
    /// A good row, or a bad one with its place ("rows.csv row 17"). `consumed`: bytes of
    /// this source that were used so far. Fails when it is time to stop.
    pub(crate) fn row(
        &mut self,
        record: std::result::Result<RowRecord<'_>, Fault>,
        place: impl FnOnce() -> String,
        consumed: u64,
    ) -> Result<()> {
        self.rows += 1;
        match record {
            Ok(RowRecord { key, rank, value }) if self.problems.is_empty() => {
                if self.pending.capacity() == 0 {
                    self.pending = RecordList::to_fill();
                }
                self.pending.push(key, rank, value);
                if self.pending.is_full() {
                    self.hand_on()?;
                }
            }
            Ok(_) => {}
            Err(fault) => {
                self.hand_on()?;
                self.problem(&place(), &fault)?;
            }
        }
        self.tell(consumed);
        Ok(())
    }

    /// Many rows at once; `place` makes of the number of one its place. Whether more are
    /// wanted; fails when it is time to stop.
    pub(crate) fn rows(&mut self, mut rows: Rows, place: impl Fn(u64) -> String) -> Result<bool> {
        if let Some(most) = self.most {
            rows.truncate(most - self.rows);
        }
        let (before, count) = (self.rows, rows.len());
        if self.problems.is_empty() && !rows.records.is_empty() {
            (self.sink)(rows.records)?;
        }
        let lost = rows.faults.pop_if(|_| rows.lost);
        for RowFault { row, number, fault } in rows.faults {
            self.rows = before + row;
            self.problem(&place(number), &fault)?;
        }
        if let Some(RowFault { row, number, fault }) = lost {
            self.rows = before + row - 1;
            return Err(self.last_row(&place(number), &fault));
        }
        self.rows = before + count;
        if let Some(unseen) = rows.unseen {
            self.unseen.also(&unseen);
        }
        self.tell(rows.consumed);
        Ok(self.wants_more())
    }

    fn hand_on(&mut self) -> Result<()> {
        match self.pending.is_empty() {
            true => Ok(()),
            false => (self.sink)(std::mem::take(&mut self.pending)),
        }
    }

    fn tell(&mut self, consumed: u64) {
        let bytes = self.bytes_before + consumed;
        if self.rows >= self.told.rows + ROWS_A_STEP || bytes >= self.told.bytes + BYTES_A_STEP {
            self.told = Progress { rows: self.rows, bytes, ..self.told };
            (self.progress)(self.told);
        }
    }

    /// Whether somebody waits for a few rows, not for all.
    pub(crate) fn is_limited(&self) -> bool {
        self.most.is_some()
    }

    /// Whether reading goes on: not when as many rows as were asked for are there.
    pub(crate) fn wants_more(&self) -> bool {
        self.most.is_none_or(|most| self.rows < most)
    }

    /// Notes that a row cannot be used. Fails when that was one too many.
    fn problem(&mut self, place: &str, fault: &Fault) -> Result<()> {
        self.problems.push((fault.code, format!("{place}: {}", fault.what)));
        if self.problems.len() < MOST_PROBLEMS {
            return Ok(());
        }
        Err(self.bad_rows(&format!("reading stopped after {MOST_PROBLEMS} bad rows")))
    }

    /// A row after which no further row can be found in this source.
    pub(crate) fn last_row(&mut self, place: &str, fault: &Fault) -> IngestError {
        self.rows += 1;
        match self.problem(place, fault) {
            Err(error) => error,
            Ok(()) => self.bad_rows("what follows could not be read"),
        }
    }

    /// An error that ends the reading, with the problems that were found before it.
    pub(crate) fn with_problems(&self, mut error: IngestError) -> IngestError {
        let before = self.problems.iter().map(|(_, problem)| problem.clone());
        error.problems = before.chain(std::mem::take(&mut error.problems)).collect();
        error.problems.truncate(MOST_PROBLEMS);
        error
    }

    fn bad_rows(&self, how: &str) -> IngestError {
        let problems: Vec<String> = self.problems.iter().map(|(_, text)| text.clone()).collect();
        let code = self.problems.first().map_or(Code::BadRows, |(code, _)| *code);
        let detail = format!(
            "{} of {} {} cannot be used ({how}); the first is {}",
            problems.len(),
            self.rows,
            if self.rows == 1 { "row" } else { "rows" },
            problems.first().map_or("unknown", String::as_str)
        );
        IngestError { problems, ..IngestError::new(code, detail) }
    }

    fn format_of(&self, stream: &Stream, before: Option<Format>) -> Result<Option<Format>> {
        let is_blank = stream.head.trim_ascii().is_empty();
        let guessed = || {
            Format::of_name(&stream.name)
                .or_else(|| Format::of_first_bytes(&stream.head))
                // Nothing at all is no Parquet file, whatever came before it.
                .or_else(|| before.filter(|before| before.is_text() || !is_blank))
        };
        let Some(format) = self.options.format.or_else(guessed) else {
            // Jobs write empty parts; one without a telling name is no reason to stop.
            if is_blank {
                return Ok(None);
            }
            return Err(of_no_format(stream));
        };
        if before.is_some_and(|before| before != format) {
            return Err(IngestError::setting(format!(
                "{} is {}, but the sources before it are {}: all sources of a push have one format",
                stream.name,
                format.as_str(),
                before.map_or("", Format::as_str)
            )));
        }
        self.options.check_for(format)?;
        Ok(Some(format))
    }

    /// Reads one source; how many of its bytes were used.
    fn read(&mut self, stream: Stream, format: Format) -> Result<u64> {
        match format {
            Format::Ndjson => ndjson::read(stream, self),
            Format::Csv | Format::Tsv => csv::read(Lines::new(stream), format, self),
            Format::Redshift => redshift::read(Lines::new(stream), self),
            Format::Parquet => parquet::read(stream, self),
            Format::Json => json_array::read(stream, self),
            Format::Avro => avro::read(stream, self),
            Format::Arrow => arrow_ipc::read(stream, self),
        }
    }

    fn finish(&self, sources: &[String]) -> Result<()> {
        if !self.problems.is_empty() {
            return Err(self.bad_rows("all sources were read"));
        }
        if self.rows == 0 {
            let mut names = sources[..sources.len().min(5)].join(", ");
            if sources.len() > 5 {
                names = format!("{names} and {} more", sources.len() - 5);
            }
            return Err(IngestError::new(Code::NoRows, format!("there is no row in {names}")));
        }
        // Only all rows can show that a field is nowhere.
        if self.wants_more() { self.unseen.check() } else { Ok(()) }
    }
}

/// Reads on in a source that begins with white space and tells no format; how many of its bytes
/// were used. Fails if it has more than white space, since that may be rows.
fn read_blank(mut stream: Stream) -> Result<u64> {
    let mut block = [0; 4096];
    loop {
        match stream.reader.read(&mut block) {
            Ok(0) => return Ok(stream.consumed()),
            Ok(count) if block[..count].trim_ascii().is_empty() => {}
            Ok(_) => return Err(of_no_format(&stream)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(stream.failed(error)),
        }
    }
}

fn of_no_format(source: &Stream) -> IngestError {
    // Tables of text may begin with these letters: they say too little for a guess.
    let sealed = match source.head.starts_with(parquet::SEALED) {
        true => "; if it is Parquet, its footer is encrypted, which is not read",
        false => "",
    };
    IngestError::setting(format!(
        "the format of {} cannot be told from its name or first bytes: give it with --format \
         {}{sealed}",
        source.name,
        Format::ALL
    ))
}
