//! Durable history behind one trait: ordered rows, changed in atomic batches. The contract-test suite in `contract.rs`
//! runs against every implementation. What the rows mean is in `keys.rs`; how they are written is in `row.rs`.

pub mod keys;
pub mod row;

pub mod memory;
pub mod riding;
pub mod scoped;
pub mod sled;

mod durable_sync;
mod writer;

pub mod faulty;

#[cfg(test)]
mod contract;

use std::ops::Bound;

use bytes::Bytes;
use futures_util::future::BoxFuture;

/// A row's key. Keys sort bytewise; `keys.rs` makes them.
pub type Key = Vec<u8>;

/// The store's contract.
pub trait Journal: Send + Sync + 'static {
    /// Applies every write of the batch, or none. Batches take effect in the order of the calls.
    ///
    /// Durable on return: it survives a power cut. Many callers share one flush. Dropping the future does not undo it.
    ///
    /// # Errors
    /// [`CommitError::Conflict`] where an expectation does not hold (nothing was written);
    /// [`CommitError::Unavailable`] where the store failed: whether the batch is durable is unknown and the store
    /// takes no further batch.
    fn commit(&self, batch: Batch) -> BoxFuture<'static, Result<(), CommitError>>;

    /// The row's value.
    ///
    /// # Errors
    /// The store cannot be read.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError>;

    /// Rows in order of their keys.
    ///
    /// # Errors
    /// The store cannot be read.
    fn scan(&self, scan: Scan) -> Result<Vec<Row>, StoreError>;

    /// Counters since the store was opened.
    fn counters(&self) -> Counters;
}

/// Writes that belong together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// Must all hold just before the writes.
    pub expectations: Vec<Expectation>,
    /// What changes. A key occurs at most once.
    pub writes: Vec<Write>,
}

/// A condition of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expectation {
    /// There is no such row.
    Absent(Key),
    /// There is such a row.
    Present(Key),
    /// The row has exactly this value.
    Equals(Key, Bytes),
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// Makes or replaces a row. Values up to 64 MiB.
    Put(Key, Bytes),
    /// Removes a row, if there is one.
    Delete(Key),
}

/// A row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its key.
    pub key: Key,
    /// Its value.
    pub value: Bytes,
}

/// Which rows to give.
#[derive(Debug, Clone)]
pub struct Scan {
    /// Only rows whose key starts so.
    pub prefix: Key,
    /// Only rows after this key in the direction of the scan.
    pub after: Option<Key>,
    /// From the last row to the first.
    pub reverse: bool,
    /// At most so many.
    pub limit: usize,
}

/// What a store did since it was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Batches committed.
    pub commits: u64,
    /// Times the device was asked to make writes durable on behalf of commits.
    pub syncs: u64,
}

/// Why a batch was not committed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// An expectation did not hold; carries the key of the first that did not.
    #[error("commit: the row was changed by somebody else")]
    Conflict(Key),
    /// The store failed.
    #[error(transparent)]
    Unavailable(#[from] StoreError),
}

/// The store failed; the text is for the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("use the store: {0}")]
pub struct StoreError(pub String);

impl Batch {
    /// Adds a put.
    pub fn put(mut self, key: Key, value: Bytes) -> Self {
        self.writes.push(Write::Put(key, value));
        self
    }

    /// Adds a delete.
    pub fn delete(mut self, key: Key) -> Self {
        self.writes.push(Write::Delete(key));
        self
    }

    /// Adds an expectation.
    pub fn expect(mut self, expectation: Expectation) -> Self {
        self.expectations.push(expectation);
        self
    }
}

impl Batch {
    /// Checks the expectations against the rows that `get` gives.
    pub(crate) fn check(&self, get: impl Fn(&Key) -> Result<Option<Bytes>, StoreError>) -> Result<(), CommitError> {
        for expectation in &self.expectations {
            let key = expectation.key();
            if !expectation.holds(get(key)?.as_ref()) {
                return Err(CommitError::Conflict(key.clone()));
            }
        }
        Ok(())
    }
}

impl Expectation {
    /// The row it is about.
    pub fn key(&self) -> &Key {
        match self {
            Self::Absent(key) | Self::Present(key) | Self::Equals(key, _) => key,
        }
    }

    /// Whether it holds where the row has this value.
    pub fn holds(&self, value: Option<&Bytes>) -> bool {
        match self {
            Self::Absent(_) => value.is_none(),
            Self::Present(_) => value.is_some(),
            Self::Equals(_, expected) => value == Some(expected),
        }
    }
}

impl Scan {
    /// The first `limit` rows under a prefix.
    pub fn prefix(prefix: Key, limit: usize) -> Self {
        Self { prefix, after: None, reverse: false, limit }
    }

    /// The first and last key that the scan may give; nothing where no key can match. The bounds leave out `limit` and
    /// `reverse`.
    pub(crate) fn range(&self) -> Option<(Bound<Key>, Bound<Key>)> {
        let mut low = Bound::Included(self.prefix.clone());
        let mut high = end_of(&self.prefix).map_or(Bound::Unbounded, Bound::Excluded);
        match &self.after {
            Some(after) if self.reverse && *after < self.prefix => return None,
            Some(after) if self.reverse && is_behind(&high, after) => {}
            Some(after) if self.reverse => high = Bound::Excluded(after.clone()),
            Some(after) if is_behind(&high, after) => return None,
            Some(after) if *after >= self.prefix => low = Bound::Excluded(after.clone()),
            _ => {}
        }
        match (&low, &high) {
            (Bound::Included(low), Bound::Excluded(high)) if low >= high => None,
            (Bound::Excluded(low), Bound::Excluded(high)) if low >= high => None,
            _ => Some((low, high)),
        }
    }
}

/// Whether a key is behind all keys below an upper bound.
fn is_behind(high: &Bound<Key>, key: &Key) -> bool {
    matches!(high, Bound::Excluded(end) if end <= key)
}

/// The first key behind all keys with this prefix; nothing where the prefix is empty or all 0xff.
fn end_of(prefix: &[u8]) -> Option<Key> {
    let kept = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut end = prefix[..=kept].to_vec();
    end[kept] += 1;
    Some(end)
}
