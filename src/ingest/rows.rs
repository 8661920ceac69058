//! Rows that were read together, on their way from the thread that parsed them to the one
//! that hands their records on.

use tidetable_storage::{Code, RecordList};

use super::error::{Fault, IngestError, MOST_PROBLEMS, Result};
use super::options::RowOptions;
use super::row::RowRecord;

/// Rows that were read together, with what came of each.
pub(crate) struct Rows {
    /// Those before the first fault.
    pub(crate) records: RecordList,
    /// How many rows there are.
    rows: u64,
    pub(crate) faults: Vec<RowFault>,
    /// No further row can be found behind the last fault.
    pub(crate) lost: bool,
    /// Fields that none of them had.
    pub(crate) unseen: Option<Unseen>,
    /// Bytes of the source that were used up to here.
    pub(crate) consumed: u64,
}

/// A row that cannot be used.
pub(crate) struct RowFault {
    /// Which of the rows, from 1.
    pub(crate) row: u64,
    /// What names it in its source.
    pub(crate) number: u64,
    pub(crate) fault: Fault,
}

impl Rows {
    /// None yet; their records will have about as many bytes.
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self {
            records: RecordList::with_capacity(bytes),
            rows: 0,
            faults: Vec::new(),
            lost: false,
            unseen: None,
            consumed: 0,
        }
    }

    /// The next row: a record, or why it is none. `number` names it in its source.
    pub(crate) fn push(&mut self, number: u64, row: std::result::Result<RowRecord<'_>, Fault>) {
        self.rows += 1;
        match row {
            Ok(record) if self.faults.is_empty() => {
                self.records.push(record.key, record.rank, record.value);
            }
            Ok(_) => {}
            Err(fault) => self.faults.push(RowFault { row: self.rows, number, fault }),
        }
    }

    /// The next row, behind which none can be found.
    pub(crate) fn lose(&mut self, number: u64, fault: Fault) {
        self.push(number, Err(fault));
        self.lost = true;
    }

    /// Whether there are so many faults that reading ends with them.
    pub(crate) fn are_hopeless(&self) -> bool {
        self.lost || self.faults.len() >= MOST_PROBLEMS
    }

    /// Gives back memory that was reserved, if most is not used: some hold rows for long.
    pub(crate) fn compact(&mut self) {
        self.records.compact();
    }

    /// Says which fields, of those that options name, none of the rows had.
    pub(crate) fn have_not(&mut self, unseen: Unseen) {
        self.unseen = Some(unseen);
    }

    /// How many there are.
    pub(crate) fn len(&self) -> u64 {
        self.rows
    }

    /// How many bytes their records have.
    pub(crate) fn bytes(&self) -> u64 {
        self.records.bytes() as u64
    }

    /// Keeps the first `most` rows.
    pub(crate) fn truncate(&mut self, most: u64) {
        if self.rows > most {
            self.records.truncate(usize::try_from(most).unwrap_or(usize::MAX));
            let faults = self.faults.len();
            self.faults.retain(|fault| fault.row <= most);
            self.lost &= self.faults.len() == faults;
            self.rows = most;
        }
    }
}

/// Fields named by options that may be missing from a row, but not from all: then the name
/// is misspelt. Only for formats whose rows name their fields one by one.
#[derive(Clone, Debug)]
pub(crate) struct Unseen {
    fields: Vec<(&'static str, String)>,
    used: bool,
}

impl Unseen {
    pub(crate) fn of(options: &RowOptions) -> Self {
        let fields = options.fields.iter().map(|name| ("--fields", name.clone()));
        let orders = options.order_by.iter().map(|order| ("--order-by", order.field.clone()));
        Self { fields: fields.chain(orders).collect(), used: false }
    }

    /// Notes a row, of which `has` says whether it has a field.
    pub(crate) fn note(&mut self, has: impl Fn(&str) -> bool) {
        self.used = true;
        self.fields.retain(|(_, name)| !has(name));
    }

    /// Notes other rows, which `unseen` has noted.
    pub(crate) fn also(&mut self, unseen: &Self) {
        self.used |= unseen.used;
        self.fields.retain(|field| unseen.fields.contains(field));
    }

    pub(crate) fn check(&self) -> Result<()> {
        match self.fields.first() {
            Some((flag, name)) if self.used => {
                let detail = format!("no row has the field {name:?}, which {flag} names");
                Err(IngestError {
                    problems: vec![detail.clone()],
                    ..IngestError::new(Code::BadRows, detail)
                })
            }
            _ => Ok(()),
        }
    }
}
