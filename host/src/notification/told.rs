//! What was told under a deduplication key, by any channel: a second notification of the same key finds it here and tells
//! nobody twice. A key is forgotten [`KEY_HOURS`] after it was used first.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{KEY_HOURS, NotificationError, Notifications, WORD_CHARACTERS_MAX, invalid};
use crate::journal::{Batch, Scan, StoreError, keys, row};

/// Channels of one key, at most; more than there are.
const CHANNELS_MAX: usize = 32;

/// Old keys removed with each new note.
const PRUNED_AT_ONCE: usize = 16;

/// What one channel was told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// `inbox`, `mail`, …
    pub channel: String,
    /// What it is called there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// What of the content the sender compares with later.
    pub digest: String,
}

/// The stored row (key `u`, `k`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ToldRow {
    pub(super) since: Timestamp,
    pub(super) deliveries: Vec<Delivery>,
}

impl Notifications {
    /// What was told under a key within the window.
    ///
    /// # Errors
    /// The key is too long, or the store failed.
    pub fn deliveries(&self, key: &str) -> Result<Vec<Delivery>, NotificationError> {
        check(key)?;
        Ok(self.told(&hash(key))?.map(|told| told.deliveries).unwrap_or_default())
    }

    /// Notes what a channel was told under a key. Durable on return.
    ///
    /// # Errors
    /// A text is too long, or the store failed.
    pub async fn delivered(&self, key: &str, delivery: Delivery) -> Result<(), NotificationError> {
        check(key)?;
        for text in [&delivery.channel, &delivery.digest].into_iter().chain(&delivery.id) {
            check(text)?;
        }
        let _changing = self.changing.lock().await;
        let (hash, now) = (hash(key), self.clock.now());
        let mut told = self.told(&hash)?.unwrap_or(ToldRow { since: now, deliveries: Vec::new() });
        told.deliveries.retain(|known| known.channel != delivery.channel);
        if told.deliveries.len() >= CHANNELS_MAX {
            return Err(invalid("channel", format!("use at most {CHANNELS_MAX} channels under one key")));
        }
        told.deliveries.push(delivery);
        let batch = self.forget(now)?;
        let batch = batch
            .put(keys::notification_key_age(millis(told.since), &hash), row::encode(&()))
            .put(keys::notification_key(&hash), row::encode(&told));
        self.journal.commit(batch).await.map_err(NotificationError::Store)
    }

    fn told(&self, hash: &[u8; 32]) -> Result<Option<ToldRow>, StoreError> {
        let Some(stored) = self.journal.get(&keys::notification_key(hash))? else { return Ok(None) };
        let told: ToldRow = row::decode(&stored)?;
        Ok(Some(told).filter(|told| millis(told.since) > oldest(self.clock.now())))
    }

    /// The removal of some keys whose window is over.
    fn forget(&self, now: Timestamp) -> Result<Batch, StoreError> {
        let oldest = oldest(now);
        let mut batch = Batch::default();
        for aged in self.journal.scan(Scan::prefix(keys::notification_key_ages(), PRUNED_AT_ONCE))? {
            let Some((since, hash)) = keys::notification_key_of_age(&aged.key) else { continue };
            if since > oldest {
                break;
            }
            // A key that was used again since then has a younger age of its own.
            let known = self.journal.get(&keys::notification_key(&hash))?;
            let known = known.map(|stored| row::decode::<ToldRow>(&stored)).transpose()?;
            if known.is_some_and(|told| millis(told.since) <= since) {
                batch = batch.delete(keys::notification_key(&hash));
            }
            batch = batch.delete(aged.key);
        }
        Ok(batch)
    }
}

fn oldest(now: Timestamp) -> u64 {
    millis(now.saturating_add(SignedDuration::from_hours(-KEY_HOURS)).unwrap_or(Timestamp::MIN))
}

fn millis(at: Timestamp) -> u64 {
    u64::try_from(at.as_millisecond()).unwrap_or(0)
}

fn hash(key: &str) -> [u8; 32] {
    Sha256::digest(key).into()
}

fn check(text: &str) -> Result<(), NotificationError> {
    match (1..=WORD_CHARACTERS_MAX).contains(&text.chars().count()) {
        true => Ok(()),
        false => Err(invalid("key", format!("write 1 to {WORD_CHARACTERS_MAX} characters"))),
    }
}
