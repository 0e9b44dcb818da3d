//! A part of a journal: all keys begin with a prefix that whoever uses the part does not see. So a room that knows nothing
//! of tenants has rows of its own for each of them.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};

use super::{Batch, CommitError, Counters, Expectation, Journal, Key, Row, Scan, StoreError, Write};

/// The rows below a prefix.
pub struct Scoped {
    journal: Arc<dyn Journal>,
    prefix: Key,
}

impl Scoped {
    /// The part of `journal` below `prefix`; the journal itself where that is empty.
    pub fn below(journal: Arc<dyn Journal>, prefix: Key) -> Arc<dyn Journal> {
        if prefix.is_empty() { journal } else { Arc::new(Self { journal, prefix }) }
    }

    fn inner(&self, key: &[u8]) -> Key {
        [&self.prefix[..], key].concat()
    }

    fn outer(&self, key: &[u8]) -> Key {
        key.get(self.prefix.len()..).unwrap_or_default().to_vec()
    }

    fn expectation(&self, expectation: Expectation) -> Expectation {
        match expectation {
            Expectation::Absent(key) => Expectation::Absent(self.inner(&key)),
            Expectation::Present(key) => Expectation::Present(self.inner(&key)),
            Expectation::Equals(key, value) => Expectation::Equals(self.inner(&key), value),
        }
    }

    fn write(&self, write: Write) -> Write {
        match write {
            Write::Put(key, value) => Write::Put(self.inner(&key), value),
            Write::Delete(key) => Write::Delete(self.inner(&key)),
        }
    }
}

impl Journal for Scoped {
    fn commit(&self, batch: Batch) -> BoxFuture<'static, Result<(), CommitError>> {
        let expectations = batch.expectations.into_iter().map(|expectation| self.expectation(expectation)).collect();
        let writes = batch.writes.into_iter().map(|write| self.write(write)).collect();
        let (committed, hidden) = (self.journal.commit(Batch { expectations, writes }), self.prefix.len());
        let shown = move |error| match error {
            CommitError::Conflict(key) => CommitError::Conflict(key.get(hidden..).unwrap_or_default().to_vec()),
            error @ CommitError::Unavailable(_) => error,
        };
        async move { committed.await.map_err(shown) }.boxed()
    }

    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.journal.get(&self.inner(key))
    }

    fn scan(&self, scan: Scan) -> Result<Vec<Row>, StoreError> {
        let (prefix, after) = (self.inner(&scan.prefix), scan.after.map(|after| self.inner(&after)));
        let rows = self.journal.scan(Scan { prefix, after, ..scan })?;
        Ok(rows.into_iter().map(|row| Row { key: self.outer(&row.key), value: row.value }).collect())
    }

    fn counters(&self) -> Counters {
        self.journal.counters()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::memory::MemoryJournal;

    crate::journal::contract::suite!(|| {
        let whole = MemoryJournal::new();
        // What is beside the part must not be seen in it.
        for key in [&b"p"[..], b"pa", b"p\x00", b"p\x02", b"q"] {
            whole.apply(Batch::default().put(key.to_vec(), Bytes::from_static(b"beside"))).expect("nothing expected");
        }
        let part = Scoped::below(Arc::new(whole.copy()), b"p\x01".to_vec());
        move || Arc::clone(&part)
    });

    #[test]
    fn two_parts_hold_different_rows_under_the_same_key() {
        let whole: Arc<MemoryJournal> = Arc::default();
        let [one, other] = [b"1", b"2"].map(|prefix| Scoped::below(whole.clone(), prefix.to_vec()));
        let put = |value: &'static [u8]| Batch::default().put(b"a".to_vec(), Bytes::from_static(value));
        one.commit(put(b"one")).now_or_never().expect("memory does not wait").expect("nothing expected");
        assert_eq!(other.get(b"a"), Ok(None));
        assert_eq!(one.get(b"a"), Ok(Some(Bytes::from_static(b"one"))));
        assert_eq!(whole.get(b"1a"), Ok(Some(Bytes::from_static(b"one"))));
    }
}
