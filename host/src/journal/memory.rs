//! A journal in memory, for tests and for trying things out. It keeps the whole contract except that nothing outlives
//! the process: what `commit` answers is as durable as the value itself. It counts no syncs, because there are none.

use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use futures_util::future::{self, BoxFuture, FutureExt};

use super::{Batch, CommitError, Counters, Journal, Key, Row, Scan, StoreError, Write};

/// Rows in a sorted map.
#[derive(Debug, Default)]
pub struct MemoryJournal {
    state: Mutex<State>,
}

#[derive(Debug, Default, Clone)]
struct State {
    rows: BTreeMap<Key, Bytes>,
    commits: u64,
}

impl MemoryJournal {
    /// An empty journal.
    pub fn new() -> Self {
        Self::default()
    }

    /// A journal of its own with the rows that this one has now; its counters start at zero.
    pub fn copy(&self) -> Self {
        Self { state: Mutex::new(State { rows: self.state().rows.clone(), commits: 0 }) }
    }

    /// Applies a batch at once; what [`Journal::commit`] does, without the future.
    ///
    /// # Errors
    /// [`CommitError::Conflict`] where an expectation does not hold.
    pub fn apply(&self, batch: Batch) -> Result<(), CommitError> {
        let mut state = self.state();
        batch.check(|key| Ok(state.rows.get(key).cloned()))?;
        for write in batch.writes {
            match write {
                Write::Put(key, value) => drop(state.rows.insert(key, value)),
                Write::Delete(key) => drop(state.rows.remove(&key)),
            }
        }
        state.commits += 1;
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere cannot leave a half-applied batch: `apply` has no way to fail between its writes.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Journal for MemoryJournal {
    fn commit(&self, batch: Batch) -> BoxFuture<'static, Result<(), CommitError>> {
        future::ready(self.apply(batch)).boxed()
    }

    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Ok(self.state().rows.get(key).cloned())
    }

    fn scan(&self, scan: Scan) -> Result<Vec<Row>, StoreError> {
        let state = self.state();
        let Some(range) = scan.range() else { return Ok(Vec::new()) };
        let rows = state.rows.range::<[u8], (Bound<&[u8]>, Bound<&[u8]>)>((as_slice(&range.0), as_slice(&range.1)));
        let row = |(key, value): (&Key, &Bytes)| Row { key: key.clone(), value: value.clone() };
        Ok(match scan.reverse {
            false => rows.take(scan.limit).map(row).collect(),
            true => rows.rev().take(scan.limit).map(row).collect(),
        })
    }

    fn counters(&self) -> Counters {
        Counters { commits: self.state().commits, syncs: 0 }
    }
}

fn as_slice(bound: &Bound<Key>) -> Bound<&[u8]> {
    match bound {
        Bound::Included(key) => Bound::Included(key),
        Bound::Excluded(key) => Bound::Excluded(key),
        Bound::Unbounded => Bound::Unbounded,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    crate::journal::contract::suite!(|| {
        let journal = Arc::new(MemoryJournal::new());
        move || Arc::clone(&journal) as Arc<dyn Journal>
    });

    #[test]
    fn a_copy_goes_its_own_way() {
        let journal = MemoryJournal::new();
        journal.apply(Batch::default().put(b"a".to_vec(), Bytes::from_static(b"1"))).expect("nothing expected");
        let copy = journal.copy();
        copy.apply(Batch::default().delete(b"a".to_vec())).expect("nothing expected");
        assert_eq!(journal.get(b"a"), Ok(Some(Bytes::from_static(b"1"))));
        assert_eq!(copy.get(b"a"), Ok(None));
    }
}
