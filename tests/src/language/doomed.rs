//! A journal that stops the world at a chosen append: whoever waits for its answer waits for ever, and so does whoever
//! appends afterwards. What was durable until then is what the next server finds.

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, pending};
use orchestrator_host::journal::{Batch, CommitError, Counters, Journal, Row, Scan, StoreError};
use tokio::sync::watch;

/// What becomes of the append that the world stops at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strike {
    /// It is lost.
    Before,
    /// It is durable, and its answer is lost.
    After,
}

/// The journal.
pub struct Doomed {
    /// Taken out when the server is dead: what it leaves in memory must not hold the store.
    inner: Mutex<Option<Arc<dyn Journal>>>,
    strike: Strike,
    /// Appends made, and how many are answered.
    made: Mutex<u64>,
    answered: u64,
    struck: watch::Sender<bool>,
}

impl Doomed {
    /// Answers so many appends and stops the world at the next one.
    pub fn new(inner: Arc<dyn Journal>, answered: u64, strike: Strike) -> Self {
        Self {
            inner: Mutex::new(Some(inner)),
            strike,
            made: Mutex::new(0),
            answered,
            struck: watch::Sender::new(false),
        }
    }

    /// Never stops the world.
    pub fn never(inner: Arc<dyn Journal>) -> Self {
        Self::new(inner, u64::MAX, Strike::Before)
    }

    /// Lets go of the store.
    pub fn close(&self) {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    fn inner(&self) -> Result<Arc<dyn Journal>, StoreError> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.clone().ok_or_else(|| StoreError("the server is dead".to_owned()))
    }

    /// How many appends were made.
    pub fn made(&self) -> u64 {
        *self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the world stops.
    pub async fn struck(&self) {
        let mut struck = self.struck.subscribe();
        // The sender lives as long as `self`.
        let _ = struck.wait_for(|struck| *struck).await;
    }
}

impl Journal for Doomed {
    fn commit(&self, batch: Batch) -> BoxFuture<'static, Result<(), CommitError>> {
        let inner = match self.inner() {
            Ok(inner) => inner,
            Err(error) => return std::future::ready(Err(error.into())).boxed(),
        };
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        *made += 1;
        if *made <= self.answered {
            return inner.commit(batch);
        }
        let durable = (self.strike == Strike::After && *made == self.answered + 1).then(|| inner.commit(batch));
        let struck = self.struck.clone();
        async move {
            if let Some(durable) = durable {
                // A refusal is lost like any other answer.
                let _ = durable.await;
            }
            struck.send_replace(true);
            pending().await
        }
        .boxed()
    }

    fn get(&self, key: &[u8]) -> Result<Option<bytes::Bytes>, StoreError> {
        self.inner()?.get(key)
    }

    fn scan(&self, scan: Scan) -> Result<Vec<Row>, StoreError> {
        self.inner()?.scan(scan)
    }

    fn counters(&self) -> Counters {
        self.inner().map(|inner| inner.counters()).unwrap_or_default()
    }
}
