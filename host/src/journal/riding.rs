//! Rows that ride along: what somebody above wants to be durable with the first batch that a piece of work commits, and
//! only with it. So a key under which a request came is in the store exactly where the request has changed something,
//! and no room has to know of keys.
//!
//! What the work commits in a task of its own carries nobody.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};

use super::{Batch, CommitError, Counters, Journal, Row, Scan, StoreError};

tokio::task_local! {
    static RIDER: Arc<Rider>;
}

/// Rows on their way with a piece of work.
pub struct Rider {
    rows: Box<dyn Fn() -> Batch + Send + Sync>,
    aboard: AtomicBool,
}

impl Rider {
    /// A rider whose rows are asked for when its batch is committed. They must be none that the work writes.
    pub fn new(rows: impl Fn() -> Batch + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { rows: Box::new(rows), aboard: AtomicBool::new(false) })
    }

    /// Whether a batch took the rows along, which may be durable then.
    pub fn is_aboard(&self) -> bool {
        self.aboard.load(Ordering::Acquire)
    }

    /// Does the work with this rider.
    pub async fn accompany<T>(self: &Arc<Self>, work: impl Future<Output = T>) -> T {
        RIDER.scope(self.clone(), work).await
    }
}

/// A journal whose batches take riders along.
pub struct Riding(Arc<dyn Journal>);

impl Riding {
    /// Riders over a journal.
    pub fn over(journal: Arc<dyn Journal>) -> Arc<dyn Journal> {
        Arc::new(Self(journal))
    }
}

impl Journal for Riding {
    fn commit(&self, mut batch: Batch) -> BoxFuture<'static, Result<(), CommitError>> {
        let waiting = RIDER.try_with(Arc::clone).ok().filter(|rider| !rider.aboard.swap(true, Ordering::AcqRel));
        let Some(rider) = waiting else { return self.0.commit(batch) };
        let rows = (rider.rows)();
        batch.expectations.extend(rows.expectations);
        batch.writes.extend(rows.writes);
        let committed = self.0.commit(batch);
        async move {
            let answer = committed.await;
            if let Err(CommitError::Conflict(_)) = answer {
                rider.aboard.store(false, Ordering::Release); // Certainly not written: the next batch takes it.
            }
            answer
        }
        .boxed()
    }

    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.0.get(key)
    }

    fn scan(&self, scan: Scan) -> Result<Vec<Row>, StoreError> {
        self.0.scan(scan)
    }

    fn counters(&self) -> Counters {
        self.0.counters()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Expectation;
    use crate::journal::memory::MemoryJournal;

    crate::journal::contract::suite!(|| {
        let journal = Riding::over(Arc::new(MemoryJournal::new()));
        move || Arc::clone(&journal)
    });

    fn put(key: &str) -> Batch {
        Batch::default().put(key.into(), Bytes::from_static(b"1"))
    }

    fn keys(journal: &dyn Journal) -> Vec<String> {
        let rows = journal.scan(Scan::prefix(Vec::new(), 100)).unwrap();
        rows.into_iter().map(|row| String::from_utf8_lossy(&row.key).into_owned()).collect()
    }

    #[tokio::test]
    async fn rows_ride_with_the_first_batch_of_the_work_alone() {
        let journal = Riding::over(Arc::new(MemoryJournal::new()));
        let rider = Rider::new(|| put("rider"));
        journal.commit(put("before")).await.unwrap();
        assert_eq!(keys(&*journal), ["before"]);
        let refused = put("a").expect(Expectation::Present("nothing".into()));
        let work = async {
            journal.commit(refused).await.unwrap_err();
            assert!(!rider.is_aboard());
            journal.commit(put("b")).await.unwrap();
            assert!(rider.is_aboard());
            journal.commit(Batch::default().delete("rider".into())).await.unwrap();
            journal.commit(put("c")).await
        };
        rider.accompany(work).await.unwrap();
        journal.commit(put("d")).await.unwrap();
        assert_eq!(keys(&*journal), ["b", "before", "c", "d"], "it rode once");
    }

    #[tokio::test]
    async fn two_pieces_of_work_have_their_own_riders() {
        let journal = Riding::over(Arc::new(MemoryJournal::new()));
        let (one, other) = (Rider::new(|| put("rider 1")), Rider::new(|| put("rider 2")));
        let (first, second) = (one.accompany(journal.commit(put("a"))), other.accompany(async { journal.get(b"a") }));
        let (written, read) = tokio::join!(first, second);
        written.unwrap();
        read.unwrap();
        // The call was made outside of the scope: whoever commits is who calls `commit`.
        assert_eq!(keys(&*journal), ["a"]);
        one.accompany(async { journal.commit(put("b")).await }).await.unwrap();
        assert_eq!(keys(&*journal), ["a", "b", "rider 1"]);
        assert!(!other.is_aboard());
    }
}
