//! Who sees what: lists with filters, counts, and following new notifications.

use std::collections::VecDeque;
use std::sync::Arc;

use futures_util::{Stream, stream};
use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::broadcast::{Receiver, error::RecvError};
use utoipa::ToSchema;
use uuid::Uuid;

use super::store::Marks;
use super::{EntityRef, KEPT_MAX, Notification, NotificationError, Notifications, Recipients, Severity};
use crate::journal::{Scan, StoreError, keys, row};

/// Rows read at a time.
const ROWS_AT_ONCE: usize = 200;

/// Who reads: she sees broadcasts, what is for her, and what is for her groups. Nobody in particular sees everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reader {
    /// Herself; read and saved are her own.
    pub user: Option<EntityRef>,
    /// Her groups.
    pub groups: Vec<EntityRef>,
}

/// Which notifications to list. What is `None` does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only read or only unread ones.
    pub read: Option<bool>,
    /// Only saved ones, or only those that are not.
    pub saved: Option<bool>,
    /// Only of this severity or above.
    pub severity: Option<Severity>,
    /// Only of this topic.
    pub topic: Option<String>,
    /// Only posted or changed at this moment or later.
    pub since: Option<Timestamp>,
    /// Only with this text in title or description, in any case.
    pub search: Option<String>,
}

/// A notification as one person sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = NotificationView)]
pub struct View {
    /// The notification.
    #[serde(flatten)]
    pub notification: Notification,
    /// When she read it as it is now; nothing where nobody in particular asks.
    #[schema(value_type = Option<String>, format = "date-time")]
    pub read: Option<Timestamp>,
    /// When she saved it.
    #[schema(value_type = Option<String>, format = "date-time")]
    pub saved: Option<Timestamp>,
}

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotificationPage {
    /// The notifications, newest first.
    pub items: Vec<View>,
    /// Where the next page begins.
    pub next: Option<String>,
}

/// How many notifications there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = NotificationCounts)]
pub struct Counts {
    /// Not read, or changed since.
    pub unread: usize,
    /// Read.
    pub read: usize,
    /// Saved, read or not.
    pub saved: usize,
}

impl Reader {
    /// Whether the notification is for her.
    pub fn may_see(&self, notification: &Notification) -> bool {
        let is_hers = |entity: &EntityRef| self.user.as_ref() == Some(entity) || self.groups.contains(entity);
        let anybody = self.user.is_none() && self.groups.is_empty();
        match &notification.recipients {
            Recipients::Broadcast => true,
            Recipients::Entity { entity_ref } => anybody || entity_ref.iter().any(is_hers),
        }
    }
}

impl View {
    pub(super) fn of(notification: Notification, marks: Option<&Marks>) -> Self {
        let read = marks.filter(|marks| marks.read >= notification.number).and_then(|marks| marks.read_at);
        Self { read, saved: marks.and_then(|marks| marks.saved_at), notification: notification.shown() }
    }
}

impl Filter {
    fn fits(&self, view: &View) -> bool {
        let notification = &view.notification;
        let has = |text: &str| {
            let text = text.to_lowercase();
            let within = |place: &str| place.to_lowercase().contains(&text);
            within(&notification.title) || notification.description.as_deref().is_some_and(within)
        };
        self.read.is_none_or(|read| read == view.read.is_some())
            && self.saved.is_none_or(|saved| saved == view.saved.is_some())
            && self.severity.is_none_or(|severity| notification.severity >= severity)
            && self.topic.as_ref().is_none_or(|topic| notification.topic.as_ref() == Some(topic))
            && self.since.is_none_or(|since| notification.updated.unwrap_or(notification.created) >= since)
            && self.search.as_deref().is_none_or(has)
    }
}

impl Notifications {
    /// Lists notifications, newest first. A page may be short although there is a next one.
    ///
    /// # Errors
    /// The cursor is none of this list, or the store failed.
    pub fn list(
        &self,
        reader: &Reader,
        filter: &Filter,
        limit: usize,
        cursor: Option<&str>,
    ) -> Result<NotificationPage, NotificationError> {
        let mut after = match cursor {
            Some(text) => Some(text.parse::<u64>().map_err(|_| NotificationError::BadCursor)?),
            None => None,
        };
        let mut items = Vec::new();
        for _ in 0..=KEPT_MAX / ROWS_AT_ONCE {
            let page = self.before(after)?;
            let last = page.len() < ROWS_AT_ONCE;
            for notification in page {
                if items.len() == limit {
                    return Ok(NotificationPage { items, next: after.map(|number| number.to_string()) });
                }
                after = Some(notification.number);
                let view = self.seen_by(reader, notification)?;
                items.extend(view.filter(|view| filter.fits(view)));
            }
            if last {
                return Ok(NotificationPage { items, next: None });
            }
        }
        Ok(NotificationPage { items, next: after.map(|number| number.to_string()) })
    }

    /// A notification as the reader sees it.
    ///
    /// # Errors
    /// There is none for her, or the store failed.
    pub fn view(&self, reader: &Reader, id: Uuid) -> Result<View, NotificationError> {
        self.seen_by(reader, self.get(id)?)?.ok_or(NotificationError::NotFound(id))
    }

    /// Counts what the reader sees.
    ///
    /// # Errors
    /// The store failed.
    pub fn counts(&self, reader: &Reader) -> Result<Counts, NotificationError> {
        let (mut counts, mut after) = (Counts::default(), None);
        loop {
            let page = self.before(after)?;
            let last = page.len() < ROWS_AT_ONCE;
            for notification in page {
                after = Some(notification.number);
                let Some(view) = self.seen_by(reader, notification)? else { continue };
                counts.read += usize::from(view.read.is_some());
                counts.unread += usize::from(view.read.is_none());
                counts.saved += usize::from(view.saved.is_some());
            }
            if last {
                return Ok(counts);
            }
        }
    }

    /// The notifications for the reader as they come, those after number `after` first where it is given.
    pub fn follow(
        self: &Arc<Self>,
        reader: Reader,
        after: Option<u64>,
    ) -> impl Stream<Item = Notification> + Send + use<> {
        // Subscribed before the store is read, so that nothing falls in between.
        let live = self.live.subscribe();
        let follower = Follower {
            notifications: self.clone(),
            reader,
            live,
            told: after.unwrap_or(0),
            behind: after.is_some(),
            ahead: VecDeque::new(),
        };
        stream::unfold(follower, |mut follower| async move { Some((follower.next().await?.shown(), follower)) })
    }

    /// The rows before a number, newest first, at most [`ROWS_AT_ONCE`].
    fn before(&self, number: Option<u64>) -> Result<Vec<Notification>, StoreError> {
        let after = number.map(keys::notification);
        let scan = Scan { prefix: keys::notifications(), after, reverse: true, limit: ROWS_AT_ONCE };
        self.journal.scan(scan)?.iter().map(|stored| row::decode(&stored.value)).collect()
    }

    fn after(&self, number: u64) -> Result<Vec<Notification>, StoreError> {
        let after = Some(keys::notification(number));
        let scan = Scan { after, ..Scan::prefix(keys::notifications(), ROWS_AT_ONCE) };
        self.journal.scan(scan)?.iter().map(|stored| row::decode(&stored.value)).collect()
    }

    fn seen_by(&self, reader: &Reader, notification: Notification) -> Result<Option<View>, StoreError> {
        if !reader.may_see(&notification) {
            return Ok(None);
        }
        let marks = reader.user.as_ref().map(|user| self.marks(notification.id, user)).transpose()?;
        Ok(Some(View::of(notification, marks.as_ref())))
    }
}

/// One who follows. What the broadcast loses for a slow one is read from the store.
struct Follower {
    notifications: Arc<Notifications>,
    reader: Reader,
    live: Receiver<Arc<Notification>>,
    told: u64,
    behind: bool,
    ahead: VecDeque<Arc<Notification>>,
}

impl Follower {
    async fn next(&mut self) -> Option<Notification> {
        loop {
            if let Some(next) = self.ahead.pop_front() {
                if next.number > self.told {
                    self.told = next.number;
                    if self.reader.may_see(&next) {
                        return Some(Notification::clone(&next));
                    }
                }
                continue;
            }
            if self.behind {
                let page = self.notifications.after(self.told).ok()?;
                self.behind = page.len() == ROWS_AT_ONCE;
                self.ahead.extend(page.into_iter().map(Arc::new));
                continue;
            }
            match self.live.recv().await {
                Ok(next) => self.ahead.push_back(next),
                Err(RecvError::Lagged(_)) => self.behind = true,
                Err(RecvError::Closed) => return None,
            }
        }
    }
}
