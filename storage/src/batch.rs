//! Records on their way from one thread to the next.

/// A batch is handed on when it has so many bytes.
const BATCH_BYTES: usize = 256 * 1024;

/// Records in order, one after the other.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    /// Of each record: the lengths of key and value.
    lengths: Vec<(usize, usize)>,
}

impl Batch {
    /// Adds a record.
    pub(crate) fn push(&mut self, key: &[u8], value: &[u8]) {
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(value);
        self.lengths.push((key.len(), value.len()));
    }

    /// Whether it should be handed on.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes.len() >= BATCH_BYTES
    }

    /// Its records: (key, value).
    pub(crate) fn records(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut rest = &self.bytes[..];
        self.lengths.iter().map(move |&(key, value)| {
            let (record, after) = rest.split_at(key + value);
            rest = after;
            record.split_at(key)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out_in_order() {
        let records = [(&b"a"[..], &b"1"[..]), (b"b", b""), (b"cc", &[7; 1000])];
        let mut batch = Batch::default();
        records.iter().for_each(|(key, value)| batch.push(key, value));
        assert!(batch.records().eq(records));
        assert!(!batch.is_full());
        batch.push(b"d", &[0; BATCH_BYTES]);
        assert!(batch.is_full());
    }
}
