//! The server's own notifications: post one for people to read, and find out what was told under a key. An action asks for
//! it with `uses: { inbox: true }` in `pack.yaml`.
//!
//! ```
//! use orchestrator_sdk::notification::{self, Notification, Severity};
//! let outside = orchestrator_sdk::testing::Outside::new();
//! let disk = Notification { severity: Severity::High, ..Notification::titled("Disk full") };
//! let posted = notification::post(disk).unwrap();
//! assert_eq!(outside.notifications()[0].title, "Disk full");
//! assert!(!posted.updated);
//! ```

use serde::{Deserialize, Serialize};

use crate::{Error, Reaction, outside, standard};

/// How much a notification matters, least first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
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
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Recipients {
    /// Everybody.
    #[default]
    Broadcast,
    /// Users and groups, `user:default/ann`, `group:default/ops`.
    Entities(Vec<String>),
}

/// A notification.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notification {
    /// Who gets it.
    pub recipients: Recipients,
    /// One line, 1 to 300 characters.
    pub title: String,
    /// At most 4,000 characters.
    pub description: Option<String>,
    /// An `http` or `https` URL, or a path that starts with `/`.
    pub link: Option<String>,
    /// How much it matters.
    pub severity: Severity,
    /// What it is about.
    pub topic: Option<String>,
    /// A notification of the same scope and recipients is updated.
    pub scope: Option<String>,
    /// Tells the notifications of one task apart where they have no scope.
    pub part: String,
}

/// What was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Posted {
    /// Its identifier.
    pub id: String,
    /// Whether an earlier one was updated.
    pub updated: bool,
}

/// What one channel was told under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// `inbox`, `mail`, …
    pub channel: String,
    /// What it is called there.
    pub id: Option<String>,
    /// What of the content is to be compared with later.
    pub digest: String,
}

/// Why the host did not keep or tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PostErrorKind {
    /// Not requested.
    Denied(String),
    /// The notification is wrong.
    Invalid(String),
    /// The store could not take it.
    Unavailable(String),
}

impl Notification {
    /// A notification for everybody with nothing but a title.
    pub fn titled(title: &str) -> Self {
        Self { title: title.to_owned(), ..Self::default() }
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

/// Posts a notification. Durable on return; a repeat of the task finds what an earlier attempt posted.
///
/// # Errors
/// Permanent: not requested (`authorization` 403), a wrong notification (`validation` 400). Transient: the store failed.
pub fn post(notification: Notification) -> Result<Posted, Error> {
    outside::post(notification).map_err(told)
}

/// What was told under a key in the last 24 hours, by any instance.
///
/// # Errors
/// As [`post`].
pub fn deliveries(key: &str) -> Result<Vec<Delivery>, Error> {
    outside::deliveries(key).map_err(told)
}

/// Notes that a channel was told under a key, in the place of that channel's earlier note.
///
/// # Errors
/// As [`post`].
pub fn delivered(key: &str, delivery: Delivery) -> Result<(), Error> {
    outside::delivered(key, delivery).map_err(told)
}

fn told(kind: PostErrorKind) -> Error {
    match kind {
        PostErrorKind::Denied(detail) => {
            Error::new(Reaction::Permanent, standard::AUTHORIZATION, 403, "Notifications not requested", detail)
        }
        PostErrorKind::Invalid(detail) => Error::validation(detail),
        PostErrorKind::Unavailable(detail) => Error::transient(detail),
    }
}
