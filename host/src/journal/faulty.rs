//! A journal that breaks at a chosen commit, for tests of what a crash leaves behind: those of every crate here, and
//! those of packs on their authors' desks. No server uses it.
//!
//! A test runs its story on a [`CrashJournal`], waits for [`CrashJournal::crashed`], and goes on with
//! [`CrashJournal::reopen`]: a journal with exactly the batches that were committed before the crash, as a restart
//! after a power cut would find it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::future::{self, BoxFuture, FutureExt};
use tokio::sync::watch;

use super::{Batch, CommitError, Counters, Journal, Row, Scan, StoreError, memory::MemoryJournal};

/// How the crash shows itself to the callers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crash {
    /// The commit after the last good one is never answered and leaves nothing, nor does any later one: the process
    /// died before the write.
    Frozen,
    /// As [`Crash::Frozen`], but the batch that was under way is durable: the process died after the write and before
    /// the answer.
    Unanswered,
    /// Every commit after the last good one fails with [`CommitError::Unavailable`] and leaves nothing: the device is
    /// gone and the process lives on.
    Failing,
}

/// A journal in memory that takes a number of commits and then breaks. Reads go on as before.
#[derive(Debug)]
pub struct CrashJournal {
    rows: MemoryJournal,
    crash: Crash,
    left: Mutex<u64>,
    crashed: watch::Sender<bool>,
}

impl CrashJournal {
    /// An empty journal that takes `commits` commits. Batches refused for an expectation do not count.
    pub fn new(commits: u64, crash: Crash) -> Self {
        Self::over(&MemoryJournal::new(), commits, crash)
    }

    /// As [`CrashJournal::new`], starting with the rows that another journal has now.
    pub fn over(journal: &MemoryJournal, commits: u64, crash: Crash) -> Self {
        Self { rows: journal.copy(), crash, left: Mutex::new(commits), crashed: watch::Sender::new(false) }
    }

    /// Waits for the first commit that meets the crash.
    pub async fn crashed(&self) {
        let mut crashed = self.crashed.subscribe();
        // The sender lives as long as `self`, so that the wait can only end with the crash.
        let _ = crashed.wait_for(|crashed| *crashed).await;
    }

    /// Whether a commit has met the crash.
    pub fn has_crashed(&self) -> bool {
        *self.crashed.borrow()
    }

    /// What a restart finds: a sound journal with exactly the batches committed so far.
    pub fn reopen(&self) -> MemoryJournal {
        let _no_commit_meanwhile = self.left();
        self.rows.copy()
    }

    fn left(&self) -> MutexGuard<'_, u64> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn meet_crash(&self, batch: Batch) -> BoxFuture<'static, Result<(), CommitError>> {
        let first = !self.crashed.send_replace(true);
        match self.crash {
            Crash::Failing => future::ready(Err(CommitError::Unavailable(StoreError(
                "it failed before; restart once the device is sound".to_owned(),
            ))))
            .boxed(),
            Crash::Unanswered if first => {
                // A refusal is lost like any other answer.
                let _ = self.rows.apply(batch);
                future::pending().boxed()
            }
            Crash::Unanswered | Crash::Frozen => future::pending().boxed(),
        }
    }
}

impl Journal for CrashJournal {
    fn commit(&self, batch: Batch) -> BoxFuture<'static, Result<(), CommitError>> {
        let mut left = self.left();
        if *left == 0 {
            return self.meet_crash(batch);
        }
        let answer = self.rows.apply(batch);
        if answer.is_ok() {
            *left -= 1;
        }
        future::ready(answer).boxed()
    }

    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.rows.get(key)
    }

    fn scan(&self, scan: Scan) -> Result<Vec<Row>, StoreError> {
        self.rows.scan(scan)
    }

    fn counters(&self) -> Counters {
        self.rows.counters()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::journal::Expectation;

    crate::journal::contract::suite!(|| {
        let journal = Arc::new(CrashJournal::new(u64::MAX, Crash::Frozen));
        move || Arc::clone(&journal) as Arc<dyn Journal>
    });

    fn put(key: &str) -> Batch {
        Batch::default().put(key.into(), Bytes::from_static(b"1"))
    }

    fn keys(journal: &dyn Journal) -> Vec<String> {
        let rows = journal.scan(Scan::prefix(Vec::new(), 100)).expect("the store reads");
        rows.into_iter().map(|row| String::from_utf8_lossy(&row.key).into_owned()).collect()
    }

    fn check(crash: Crash, answer: Option<bool>, left_behind: &[&str]) {
        let journal = CrashJournal::new(2, crash);
        for key in ["a", "b"] {
            assert_eq!(journal.commit(put(key)).now_or_never(), Some(Ok(())));
        }
        assert!(!journal.has_crashed());
        for key in ["c", "d"] {
            let given = journal.commit(put(key)).now_or_never();
            assert_eq!(given.map(|given| given.is_ok()), answer, "{crash:?} {key}");
        }
        assert!(journal.crashed().now_or_never().is_some());
        assert_eq!(keys(&journal.reopen()), left_behind, "{crash:?}");
    }

    #[test]
    fn a_crash_leaves_exactly_what_was_committed() {
        check(Crash::Frozen, None, &["a", "b"]);
        check(Crash::Failing, Some(false), &["a", "b"]);
        check(Crash::Unanswered, None, &["a", "b", "c"]);
    }

    #[test]
    fn a_refused_batch_does_not_bring_the_crash_nearer() {
        let journal = CrashJournal::new(1, Crash::Failing);
        let refused = put("a").expect(Expectation::Present("nothing".into()));
        assert_eq!(journal.commit(refused).now_or_never(), Some(Err(CommitError::Conflict("nothing".into()))));
        assert_eq!(journal.commit(put("a")).now_or_never(), Some(Ok(())));
        assert!(!journal.has_crashed());
    }

    #[tokio::test]
    async fn who_waits_for_the_crash_is_woken() {
        let journal = Arc::new(CrashJournal::new(0, Crash::Frozen));
        let waiting = tokio::spawn({
            let journal = Arc::clone(&journal);
            async move { journal.crashed().await }
        });
        tokio::task::yield_now().await;
        assert!(journal.commit(put("a")).now_or_never().is_none());
        waiting.await.expect("no panic");
    }
}
