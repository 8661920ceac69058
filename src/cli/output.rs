//! What a command prints: tables for people, the API's JSON for programs.
//!
//! Results go to standard output, everything else (progress, warnings, errors) to
//! standard error, so that a pipe carries results only. The functions that make text are
//! pure: they take the time and give a `String`.

use std::io::{self, IsTerminal, Write};

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

use super::exit::Failure;

mod figures;
mod tables;

pub(crate) use figures::{
    age_of, bytes, counted, cut, duration, grouped, printable, second_of, step,
};
pub(crate) use tables::{
    canary_table, datasets_table, history_table, version_text, versions_table,
};

/// Standard output, for people or for programs.
#[derive(Clone, Debug)]
pub(crate) struct Output {
    pub(crate) json: bool,
    sink: Sink,
}

#[derive(Clone, Debug)]
enum Sink {
    Stdout,
    #[cfg(test)]
    Memory(std::sync::Arc<std::sync::Mutex<Vec<u8>>>),
}

impl Output {
    /// The output of this process.
    pub(crate) fn stdout(json: bool) -> Self {
        Self { json, sink: Sink::Stdout }
    }

    /// Writes `text` and a line end.
    pub(crate) fn line(&self, text: impl AsRef<str>) -> Result<(), Failure> {
        self.write(&[text.as_ref().as_bytes(), b"\n"].concat())
    }

    /// Writes `json` with `--json`, else what `text` makes.
    pub(crate) fn either(
        &self,
        json: impl AsRef<str>,
        text: impl FnOnce() -> String,
    ) -> Result<(), Failure> {
        if self.json { self.line(json.as_ref().trim_end()) } else { self.line(text()) }
    }

    /// Writes bytes as they are; a line end follows only on a terminal.
    pub(crate) fn raw(&self, bytes: &[u8]) -> Result<(), Failure> {
        self.write(bytes)?;
        if io::stdout().is_terminal() { self.write(b"\n") } else { Ok(()) }
    }

    fn write(&self, bytes: &[u8]) -> Result<(), Failure> {
        match &self.sink {
            Sink::Stdout => {
                let mut out = io::stdout().lock();
                out.write_all(bytes)?;
                out.flush()?;
            }
            #[cfg(test)]
            Sink::Memory(bytes_so_far) => bytes_so_far.lock().unwrap().extend_from_slice(bytes),
        }
        Ok(())
    }
}

#[cfg(test)]
impl Output {
    /// An output that a test can read.
    pub(crate) fn captured(json: bool) -> Self {
        Self { json, sink: Sink::Memory(std::sync::Arc::default()) }
    }

    /// What was written to a captured output.
    pub(crate) fn text(&self) -> String {
        match &self.sink {
            Sink::Stdout => panic!("not captured"),
            Sink::Memory(bytes) => String::from_utf8(bytes.lock().unwrap().clone()).unwrap(),
        }
    }
}

pub(crate) use CellAlignment::{Left, Right};

/// A table without lines: it is read by people and cut by `awk` alike.
pub(crate) struct Columns(Table);

impl Columns {
    pub(crate) fn new(columns: &[(&str, CellAlignment)]) -> Self {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(columns.iter().map(|(name, _)| *name));
        for (i, (_, alignment)) in columns.iter().enumerate() {
            let column = table.column_mut(i).expect("the header has made it");
            column.set_cell_alignment(*alignment);
            // One space on the left would indent every line.
            column.set_padding((0, 2));
        }
        Self(table)
    }

    pub(crate) fn row(&mut self, cells: &[String]) {
        self.0.add_row(cells.iter().map(|cell| printable(cell)));
    }

    pub(crate) fn text(&self) -> String {
        let lines = self.0.lines().map(|line| line.trim_end().to_owned());
        lines.collect::<Vec<_>>().join("\n")
    }
}
