//! Keeping notifications: numbers, scopes, marks, and what is too old. One change at a time, so that numbers are given in
//! the order in which followers hear of them.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::sync::{Mutex, broadcast};
use uuid::Uuid;

use super::query::{Reader, View};
use super::{EntityRef, KEPT_DAYS, KEPT_MAX, New, Notification, NotificationError, invalid};
use crate::clock::Clock;
use crate::journal::{Batch, Journal, Scan, StoreError, keys, row};

/// New notifications that a slow follower may lag behind before it has to read the store; each has some kilobytes.
const FOLLOWED_MAX: usize = 256;

/// Old notifications removed with each new one: more than one, so that a backlog shrinks, and few, so that posting stays
/// quick.
const PRUNED_AT_ONCE: usize = 8;

/// Marks removed in one batch.
const MARKS_AT_ONCE: usize = 1_000;

/// Notifications marked in one request.
const MARKED_MAX: usize = 1_000;

/// The notifications of one tenant; all that is known of them is in the journal.
pub struct Notifications {
    pub(super) journal: Arc<dyn Journal>,
    pub(super) clock: Arc<dyn Clock>,
    /// The next number and how many there are; held over a change.
    pub(super) changing: Mutex<Standing>,
    pub(super) live: broadcast::Sender<Arc<Notification>>,
}

/// Where the store stands.
pub(super) struct Standing {
    next: u64,
    kept: usize,
}

/// What became of a notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Posted {
    /// As it is kept now.
    pub notification: Arc<Notification>,
    /// Whether it took the place of an earlier one.
    pub updated: bool,
}

/// What one person did with a notification (key `u`, `r`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Marks {
    /// The number at which it was read; a changed notification has a newer one and is unread again.
    #[serde(default)]
    pub(super) read: u64,
    /// When it was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) read_at: Option<Timestamp>,
    /// When it was saved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) saved_at: Option<Timestamp>,
}

impl Notifications {
    /// Reads where the store stands.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn open(journal: Arc<dyn Journal>, clock: Arc<dyn Clock>) -> Result<Arc<Self>, StoreError> {
        // At most `KEPT_MAX` and what one change may leave over.
        let rows = journal.scan(Scan::prefix(keys::notifications(), 2 * KEPT_MAX))?;
        let last = rows.last().and_then(|row| keys::number_of(&row.key)).unwrap_or(0);
        let standing = Standing { next: last + 1, kept: rows.len() };
        let live = broadcast::Sender::new(FOLLOWED_MAX);
        Ok(Arc::new(Self { journal, clock, changing: Mutex::new(standing), live }))
    }

    /// Keeps a notification, or updates the one of its scope. One that has not changed stays as it is, read where it was
    /// read. Durable on return.
    ///
    /// # Errors
    /// It breaks a rule, or the store failed.
    pub async fn post(&self, new: New) -> Result<Posted, NotificationError> {
        new.check()?;
        let mut standing = self.changing.lock().await;
        let identity = identity(&new);
        let earlier = match &identity {
            Some(identity) => self.of_identity(identity)?,
            None => None,
        };
        let now = self.clock.now();
        let mut notification = kept(new, identity, standing.next, now);
        let mut batch = Batch::default();
        if let Some(earlier) = &earlier {
            (notification.id, notification.created) = (earlier.id, earlier.created);
            notification.updated = earlier.updated;
            if same(earlier, &notification) {
                return Ok(Posted { notification: Arc::new(earlier.clone()), updated: true });
            }
            notification.updated = Some(now);
            batch = batch.delete(keys::notification(earlier.number));
        }
        let (batch, removed) = self.prune(put(batch, &notification), &standing, earlier.as_ref(), now)?;
        self.journal.commit(batch).await.map_err(NotificationError::Store)?;
        standing.next += 1;
        standing.kept = standing.kept + usize::from(earlier.is_none()) - removed;
        let notification = Arc::new(notification);
        // Nobody may be listening, which is fine.
        let _ = self.live.send(notification.clone());
        Ok(Posted { notification, updated: earlier.is_some() })
    }

    /// The notification.
    ///
    /// # Errors
    /// There is none, or the store failed.
    pub fn get(&self, id: Uuid) -> Result<Notification, NotificationError> {
        let Some(number) = self.journal.get(&keys::notification_id(id))? else {
            return Err(NotificationError::NotFound(id));
        };
        let number: u64 = row::decode(&number)?;
        self.at(number)?.ok_or(NotificationError::NotFound(id))
    }

    /// Removes a notification with everybody's marks.
    ///
    /// # Errors
    /// There is none, or the store failed.
    pub async fn delete(&self, id: Uuid) -> Result<(), NotificationError> {
        let mut standing = self.changing.lock().await;
        let notification = self.get(id)?;
        self.journal.commit(self.without(Batch::default(), &notification)?).await.map_err(NotificationError::Store)?;
        standing.kept = standing.kept.saturating_sub(1);
        Ok(())
    }

    /// Marks notifications as read or unread, saved or not, for one person; what is `None` stays. Those that are not for
    /// her are not found. Durable on return.
    ///
    /// # Errors
    /// More than 1,000, one that is not there (nothing is marked), or the store failed.
    pub async fn mark(
        &self,
        ids: &[Uuid],
        reader: &Reader,
        read: Option<bool>,
        saved: Option<bool>,
    ) -> Result<Vec<View>, NotificationError> {
        if ids.len() > MARKED_MAX {
            return Err(invalid("ids", format!("mark at most {MARKED_MAX} at once")));
        }
        let Some(user) = &reader.user else { return Err(invalid("user", "say whose marks: `user:default/ann`")) };
        let _changing = self.changing.lock().await;
        let (mut batch, mut views, now) = (Batch::default(), Vec::new(), self.clock.now());
        let ids: std::collections::BTreeSet<_> = ids.iter().collect();
        for id in ids {
            let notification = self.get(*id)?;
            if !reader.may_see(&notification) {
                return Err(NotificationError::NotFound(*id));
            }
            let marks = self.marks(*id, user)?.changed(notification.number, read, saved, now);
            batch = batch.put(keys::notification_mark(*id, user.as_str()), row::encode(&marks));
            views.push(View::of(notification, Some(&marks)));
        }
        self.journal.commit(batch).await.map_err(NotificationError::Store)?;
        Ok(views)
    }

    pub(super) fn marks(&self, id: Uuid, user: &EntityRef) -> Result<Marks, StoreError> {
        let stored = self.journal.get(&keys::notification_mark(id, user.as_str()))?;
        stored.map_or_else(|| Ok(Marks::default()), |stored| row::decode(&stored))
    }

    fn at(&self, number: u64) -> Result<Option<Notification>, StoreError> {
        self.journal.get(&keys::notification(number))?.map(|stored| row::decode(&stored)).transpose()
    }

    fn of_identity(&self, identity: &[u8; 32]) -> Result<Option<Notification>, StoreError> {
        let Some(id) = self.journal.get(&keys::notification_scope(identity))? else { return Ok(None) };
        let id: Uuid = row::decode(&id)?;
        let Some(number) = self.journal.get(&keys::notification_id(id))? else { return Ok(None) };
        self.at(row::decode(&number)?)
    }

    /// Adds the removal of what is too old or too much; how many notifications it removes.
    fn prune(
        &self,
        mut batch: Batch,
        standing: &Standing,
        earlier: Option<&Notification>,
        now: Timestamp,
    ) -> Result<(Batch, usize), StoreError> {
        let too_many = (standing.kept + 1).saturating_sub(KEPT_MAX);
        let kept_since = now.saturating_add(SignedDuration::from_hours(-24 * KEPT_DAYS)).unwrap_or(Timestamp::MIN);
        let mut removed = 0;
        for stored in self.journal.scan(Scan::prefix(keys::notifications(), PRUNED_AT_ONCE))? {
            let old: Notification = row::decode(&stored.value)?;
            if earlier.is_some_and(|earlier| earlier.number == old.number) {
                continue;
            }
            if removed >= too_many && old.updated.unwrap_or(old.created) >= kept_since {
                break;
            }
            batch = self.without(batch, &old)?;
            removed += 1;
        }
        Ok((batch, removed))
    }

    /// Adds the removal of a notification. Marks beyond the first thousand stay behind, unreachable.
    fn without(&self, mut batch: Batch, old: &Notification) -> Result<Batch, StoreError> {
        batch = batch.delete(keys::notification(old.number)).delete(keys::notification_id(old.id));
        let mut identity = [0; 32];
        if hex::decode_to_slice(&old.identity, &mut identity).is_ok() {
            batch = batch.delete(keys::notification_scope(&identity));
        }
        let marks = self.journal.scan(Scan::prefix(keys::notification_marks(old.id), MARKS_AT_ONCE))?;
        Ok(marks.into_iter().fold(batch, |batch, mark| batch.delete(mark.key)))
    }
}

impl Marks {
    fn changed(mut self, number: u64, read: Option<bool>, saved: Option<bool>, now: Timestamp) -> Self {
        match read {
            Some(true) if self.read < number => (self.read, self.read_at) = (number, Some(now)),
            Some(false) => (self.read, self.read_at) = (0, None),
            _ => {}
        }
        match saved {
            Some(true) if self.saved_at.is_none() => self.saved_at = Some(now),
            Some(false) => self.saved_at = None,
            _ => {}
        }
        self
    }
}

fn put(mut batch: Batch, notification: &Notification) -> Batch {
    let mut identity = [0; 32];
    if hex::decode_to_slice(&notification.identity, &mut identity).is_ok() {
        batch = batch.put(keys::notification_scope(&identity), row::encode(&notification.id));
    }
    batch
        .put(keys::notification(notification.number), row::encode(notification))
        .put(keys::notification_id(notification.id), row::encode(&notification.number))
}

fn kept(new: New, identity: Option<[u8; 32]>, number: u64, now: Timestamp) -> Notification {
    Notification {
        id: Uuid::now_v7(),
        number,
        created: now,
        updated: None,
        origin: new.origin,
        recipients: new.recipients,
        title: new.title,
        description: new.description,
        link: new.link,
        severity: new.severity,
        topic: new.topic,
        scope: new.scope,
        identity: identity.map(hex::encode).unwrap_or_default(),
    }
}

/// Whether a reader sees no difference.
fn same(earlier: &Notification, new: &Notification) -> bool {
    let new = Notification { number: earlier.number, ..new.clone() };
    *earlier == new
}

/// What an update goes by: the scope, or the key of a repeat, with who posts it and who gets it.
fn identity(new: &New) -> Option<[u8; 32]> {
    let (kind, scope) = match (&new.scope, &new.repeat_key) {
        (Some(scope), _) => ("scope", scope),
        (None, Some(key)) => ("repeat", key),
        (None, None) => return None,
    };
    let recipients = serde_json::to_string(&new.recipients).expect("recipients are text");
    let mut hash = Sha256::new();
    for part in [kind, scope, &new.origin, &recipients] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    Some(hash.finalize().into())
}
