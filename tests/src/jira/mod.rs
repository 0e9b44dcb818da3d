//! A double of Jira: Cloud (API v3, documents) and Server (v2, text), with issues, a workflow of statuses and
//! transitions, comments, links, search by an index that may be behind, and webhooks. It refuses what Jira refuses, in
//! Jira's words; the names of statuses and resolutions may be translated, as they are for a user with another language.

mod adf;
mod hook;
mod issue;
pub mod wire;
mod world;

pub use hook::{Delivery, Proof};
pub use issue::{Comment, Issue};
pub use wire::{Double, Fault, Seen, Trouble};
pub use world::{Flavour, Site};

/// The one token that is right; with `USER` on Cloud, alone on a server.
pub const TOKEN: &str = "jira-token-9d2a";

/// The user of Cloud's basic authentication.
pub const USER: &str = "robot@example.org";

/// Jira's own address, which it tells people; connections go by another one.
pub const ADDRESS: &str = "https://jira.example";

/// A running double.
pub type Jira = Double<Site>;
