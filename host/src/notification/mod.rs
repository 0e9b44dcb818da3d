//! Notifications that the server keeps for people: broadcasts, and those for users and groups. Each person's own marks
//! (read, saved) stand beside them. What was told under a deduplication key is remembered here too, for every channel.
//! Each tenant has its own (`tenants`); nothing else here knows of tenants.
//!
//! A reader says who she is and which groups she is in. Nothing here sends anything.

mod entity;
mod query;
mod store;
mod tenants;
mod told;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::journal::CommitError;
pub use entity::{EntityError, EntityRef};
pub use query::{Counts, Filter, NotificationPage, Reader, View};
pub use store::{Notifications, Posted};
pub use tenants::AllNotifications;
pub use told::Delivery;

/// Notifications kept for a tenant, at most; the oldest go first.
pub const KEPT_MAX: usize = 10_000;

/// Days that a notification is kept.
pub const KEPT_DAYS: i64 = 90;

/// Hours for which it is known what was told under a key.
pub const KEY_HOURS: i64 = 24;

/// Users and groups of one notification, at most; more is a broadcast.
pub const ENTITIES_MAX: usize = 100;

/// A title's characters, at most: a line in a list.
const TITLE_CHARACTERS_MAX: usize = 300;

/// A description's characters, at most.
const DESCRIPTION_CHARACTERS_MAX: usize = 4_000;

/// A link's, topic's, scope's or key's characters, at most.
const WORD_CHARACTERS_MAX: usize = 1_000;

/// How much a notification matters, least first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = NotificationSeverity)]
pub enum Severity {
    /// Worth knowing some day.
    Low,
    /// Worth knowing.
    #[default]
    Normal,
    /// Worth a look soon.
    High,
    /// Somebody has to act now.
    Critical,
}

/// Who gets a notification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "lowercase")]
#[schema(as = NotificationRecipients)]
pub enum Recipients {
    /// Everybody.
    Broadcast,
    /// These users and the members of these groups.
    Entity {
        /// In order, without duplicates.
        // Named here, as the document's generator does not know a rule for the members of all variants.
        #[serde(rename = "entityRef")]
        #[schema(value_type = Vec<String>)]
        entity_ref: Vec<EntityRef>,
    },
}

/// A notification to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct New {
    /// Who posts it, `pack:notification` or `api`: part of what a scope means.
    pub origin: String,
    /// Who gets it.
    pub recipients: Recipients,
    /// One line.
    pub title: String,
    /// More about it.
    pub description: Option<String>,
    /// Where to go.
    pub link: Option<String>,
    /// How much it matters.
    pub severity: Severity,
    /// What it is about.
    pub topic: Option<String>,
    /// A later one of the same scope, origin and recipients takes this one's place.
    pub scope: Option<String>,
    /// Finds what an earlier try posted, where there is no scope.
    pub repeat_key: Option<String>,
}

/// A notification as it is kept; the stored row (key `u`, `n`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Notification {
    /// Its identifier.
    #[schema(value_type = String, format = "uuid")]
    pub id: Uuid,
    /// Its place in the order; a changed notification gets a new one.
    pub number: u64,
    /// When it was posted first.
    #[schema(value_type = String, format = "date-time")]
    pub created: Timestamp,
    /// When it was changed last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = "date-time")]
    pub updated: Option<Timestamp>,
    /// Who posted it.
    pub origin: String,
    /// Who gets it.
    pub recipients: Recipients,
    /// One line.
    pub title: String,
    /// More about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Where to go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// How much it matters.
    #[serde(default)]
    pub severity: Severity,
    /// What it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// Its scope.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// The key of its identity among those of a scope, hexadecimal; empty where it has none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schema(ignore)]
    pub(crate) identity: String,
}

/// Why a notification is not kept, marked or told.
#[derive(Debug, thiserror::Error)]
pub enum NotificationError {
    /// It breaks a rule.
    #[error("{member}: {reason}")]
    Invalid {
        /// Which member, `title`, …
        member: &'static str,
        /// What to write instead.
        reason: String,
    },
    /// There is none of this identifier.
    #[error("there is no notification `{0}`; it was deleted or is older than {KEPT_DAYS} days")]
    NotFound(Uuid),
    /// The cursor is none of this list.
    #[error("the cursor is not one of this list; begin without it")]
    BadCursor,
    /// The store failed.
    #[error("keep the notification")]
    Store(#[source] CommitError),
}

impl From<crate::journal::StoreError> for NotificationError {
    fn from(error: crate::journal::StoreError) -> Self {
        Self::Store(error.into())
    }
}

impl Notification {
    /// Without what is only for the store.
    pub(crate) fn shown(self) -> Self {
        Self { identity: String::new(), ..self }
    }
}

impl New {
    /// Whether it keeps the rules.
    ///
    /// # Errors
    /// [`NotificationError::Invalid`] at the first member that does not.
    pub fn check(&self) -> Result<(), NotificationError> {
        let lines = [
            ("title", Some(&self.title), TITLE_CHARACTERS_MAX),
            ("topic", self.topic.as_ref(), WORD_CHARACTERS_MAX),
            ("scope", self.scope.as_ref(), WORD_CHARACTERS_MAX),
            ("link", self.link.as_ref(), WORD_CHARACTERS_MAX),
        ];
        for (member, text, max) in lines {
            let Some(text) = text else { continue };
            if !(1..=max).contains(&text.chars().count()) || text.chars().any(char::is_control) {
                return Err(invalid(member, format!("write one line of 1 to {max} characters")));
            }
        }
        let description = self.description.as_deref().unwrap_or_default();
        if description.chars().count() > DESCRIPTION_CHARACTERS_MAX {
            return Err(invalid("description", format!("write at most {DESCRIPTION_CHARACTERS_MAX} characters")));
        }
        if let Recipients::Entity { entity_ref } = &self.recipients
            && !(1..=ENTITIES_MAX).contains(&entity_ref.len())
        {
            let reason = format!("name 1 to {ENTITIES_MAX} users or groups, or write `{{\"type\": \"broadcast\"}}`");
            return Err(invalid("recipients", reason));
        }
        self.link.as_deref().map_or(Ok(()), check_link)
    }
}

/// A link that a reader's browser may follow: no scheme that runs code.
fn check_link(link: &str) -> Result<(), NotificationError> {
    let absolute = url::Url::parse(link).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
    let relative = link.starts_with('/') && !link.starts_with("//") && !link.contains('\\');
    match absolute || relative {
        true => Ok(()),
        false => Err(invalid("link", "write an `https://` or `http://` URL, or a path that starts with one `/`")),
    }
}

pub(crate) fn invalid(member: &'static str, reason: impl Into<String>) -> NotificationError {
    NotificationError::Invalid { member, reason: reason.into() }
}

impl Recipients {
    /// These users and groups, in order and without duplicates; a broadcast where there are none is refused by
    /// [`New::check`].
    pub fn entities(entities: impl IntoIterator<Item = EntityRef>) -> Self {
        let entities: std::collections::BTreeSet<_> = entities.into_iter().collect();
        Self::Entity { entity_ref: entities.into_iter().collect() }
    }
}

impl Severity {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

#[cfg(test)]
mod tests;
