//! The rows of keys: which were used for what, and what was answered.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::clock::Clock;
use crate::journal::{Batch, CommitError, Journal, Key, Scan, StoreError, Write, keys, row};

/// How long a key is known: longer than anybody repeats one request.
const HOURS: i64 = 24;

/// Keys that are known, at most; the oldest make room. Each holds one answer.
const KEYS_MAX: usize = 100_000;

/// Old keys removed with each new one.
const PRUNED_AT_ONCE: usize = 16;

pub(super) type Hash = [u8; 32];

/// The keys that are known, with their answers.
pub struct Replays {
    journal: Arc<dyn Journal>,
    clock: Arc<dyn Clock>,
    under_way: Mutex<HashSet<Hash>>,
    known: AtomicUsize,
}

/// The stored row (key `f`). Members are only ever added, with a default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Kept {
    pub(super) at: Timestamp,
    /// The digest of what was asked; absent where its body was not read whole.
    pub(super) request: Option<String>,
    /// The answer's status; absent where something was changed and the answer is not known.
    #[serde(default)]
    pub(super) status: Option<u16>,
    pub(super) location: Option<String>,
    pub(super) content_type: Option<String>,
    pub(super) body: Option<String>,
}

/// A key while its request runs.
pub(super) struct UnderWay {
    pub(super) replays: Arc<Replays>,
    pub(super) key: Hash,
    pub(super) since: Timestamp,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.replays.under_way.lock().expect("no holder of this lock panics").remove(&self.key);
    }
}

impl Replays {
    /// The keys of a store, whose batches take riders along.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn open(journal: Arc<dyn Journal>, clock: Arc<dyn Clock>) -> Result<Arc<Self>, StoreError> {
        let known = journal.scan(Scan::prefix(keys::replay_ages(), KEYS_MAX))?.len();
        Ok(Arc::new(Self { journal, clock, under_way: Mutex::default(), known: AtomicUsize::new(known) }))
    }

    pub(super) fn begin(self: &Arc<Self>, key: Hash) -> Option<UnderWay> {
        let fresh = self.under_way.lock().expect("no holder of this lock panics").insert(key);
        fresh.then(|| UnderWay { replays: self.clone(), key, since: self.clock.now() })
    }

    pub(super) fn find(&self, key: &Hash) -> Result<Option<Kept>, StoreError> {
        Ok(self.row(key)?.filter(|kept| kept.at > self.oldest()))
    }

    fn row(&self, key: &Hash) -> Result<Option<Kept>, StoreError> {
        self.journal.get(&keys::replay(key))?.map(|stored| row::decode(&stored)).transpose()
    }

    /// The rows of a key. A former use of it goes.
    pub(super) fn rows(&self, key: &Hash, kept: &Kept) -> Result<Batch, StoreError> {
        let age = keys::replay_age(millis(kept.at), key);
        let former = self.row(key)?.map(|former| keys::replay_age(millis(former.at), key));
        let batch = match former.filter(|former| *former != age) {
            Some(former) => Batch::default().delete(former),
            None => Batch::default(),
        };
        Ok(batch.put(keys::replay(key), row::encode(kept)).put(age, row::encode(&())))
    }

    pub(super) async fn keep(&self, key: &Hash, kept: &Kept) -> Result<(), CommitError> {
        let is_new = self.row(key)?.is_none_or(|former| former.at == kept.at);
        let mut batch = self.rows(key, kept)?;
        let own: Vec<Key> = batch.writes.iter().map(|write| key_of(write).clone()).collect();
        let old = self.forget()?.writes.into_iter().filter(|write| !own.contains(key_of(write)));
        let old: Vec<Write> = old.collect();
        let removed = old.iter().filter(|write| keys::replay_of_age(key_of(write)).is_some()).count();
        batch.writes.extend(old);
        self.journal.commit(batch).await?;
        let counted = |known: usize| Some((known + usize::from(is_new)).saturating_sub(removed));
        let _ = self.known.fetch_update(Ordering::Relaxed, Ordering::Relaxed, counted);
        Ok(())
    }

    /// The removal of some keys whose time is over, or that are too many.
    fn forget(&self) -> Result<Batch, StoreError> {
        let (oldest, mut batch) = (millis(self.oldest()), Batch::default());
        let too_many = self.known.load(Ordering::Relaxed) >= KEYS_MAX;
        for aged in self.journal.scan(Scan::prefix(keys::replay_ages(), PRUNED_AT_ONCE))? {
            let Some((at, key)) = keys::replay_of_age(&aged.key) else { continue };
            if at > oldest && !too_many {
                break;
            }
            batch = batch.delete(keys::replay(&key)).delete(aged.key);
        }
        Ok(batch)
    }

    fn oldest(&self) -> Timestamp {
        self.clock.now().saturating_add(SignedDuration::from_hours(-HOURS)).unwrap_or(Timestamp::MIN)
    }
}

fn key_of(write: &Write) -> &Key {
    match write {
        Write::Put(key, _) | Write::Delete(key) => key,
    }
}

fn millis(at: Timestamp) -> u64 {
    u64::try_from(at.as_millisecond()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SimClock;
    use crate::journal::memory::MemoryJournal;

    fn kept(at: Timestamp) -> Kept {
        Kept { at, status: Some(201), body: Some("{}".into()), ..Kept::default() }
    }

    #[tokio::test]
    async fn a_key_is_known_for_a_day_and_then_forgotten() {
        let clock = SimClock::new("2026-01-01T00:00:00Z".parse().unwrap());
        let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::new());
        let replays = Replays::open(journal.clone(), Arc::new(clock.clone())).unwrap();
        replays.keep(&[1; 32], &kept(clock.now())).await.unwrap();
        clock.advance(SignedDuration::from_hours(23));
        assert!(replays.find(&[1; 32]).unwrap().is_some());
        clock.advance(SignedDuration::from_hours(2));
        assert!(replays.find(&[1; 32]).unwrap().is_none());
        let rows = |prefix| journal.scan(Scan::prefix(prefix, 10)).unwrap().len();
        let claim = replays.rows(&[1; 32], &Kept { status: None, ..kept(clock.now()) }).unwrap();
        journal.commit(claim).await.unwrap();
        assert_eq!(rows(keys::replay_ages()), 1, "the old age of the first key is gone");
        assert_eq!(replays.find(&[1; 32]).unwrap().unwrap().status, None);
        replays.keep(&[1; 32], &kept(clock.now())).await.unwrap();
        replays.keep(&[2; 32], &kept(clock.now())).await.unwrap();
        assert_eq!(rows(keys::replay_ages()), 2);
        assert!(replays.find(&[1; 32]).unwrap().is_some());
        clock.advance(SignedDuration::from_hours(25));
        replays.keep(&[3; 32], &kept(clock.now())).await.unwrap();
        assert_eq!((rows(keys::replay_ages()), rows(keys::replay(&[1; 32]))), (1, 0), "old ones make room");
    }

    #[test]
    fn a_kept_row_reads_what_an_earlier_version_wrote() {
        let text = r#"{"at":"2026-01-01T00:00:00Z","request":"ab","status":201,"location":"/v1/services/a","contentType":"application/json","body":"{}"}"#;
        let kept: Kept = serde_json::from_str(text).unwrap();
        assert_eq!((kept.status, kept.body.as_deref()), (Some(201), Some("{}")));
    }
}
