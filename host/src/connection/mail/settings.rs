//! What an admin declares about mail: the sender, TLS, who may be written to, the address book, a filter, and budgets.

use std::collections::BTreeMap;

use lettre::message::Mailbox;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Letter;
use crate::connection::declaration::{Authentication, Connection};
use crate::connection::registry::{ConnectionError, invalid};
use crate::notification::{EntityRef, Severity};

/// The name that the address book has for everybody.
pub const BROADCAST: &str = "broadcast";

/// Names of an address book, at most.
const NAMES_MAX: usize = 1_000;

/// Addresses behind one name, at most.
const ADDRESSES_MAX: usize = 100;

/// How mail is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MailSettings {
    /// The sender, `Orchestrator <orchestrator@example.org>`.
    pub from: String,
    /// Where answers go; the sender by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<String>,
    /// How the conversation is encrypted.
    #[serde(default)]
    pub tls: Tls,
    /// Domains that may be written to; all by default.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recipient_domains: Vec<String>,
    /// The address book: the addresses of users and groups (`user:default/ann`) and of `broadcast`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = Object)]
    pub recipients: BTreeMap<String, Vec<String>>,
    /// Which messages are kept back.
    #[serde(default)]
    pub filter: MailFilter,
    /// Messages of one attempt, 1 to 1,000.
    #[serde(default = "default_messages_per_attempt")]
    pub messages_per_attempt: u32,
    /// Messages of one hour over all instances, 1 to 100,000.
    #[serde(default = "default_messages_per_hour")]
    pub messages_per_hour: u32,
}

/// How a conversation is encrypted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = MailTls)]
pub enum Tls {
    /// From the beginning on, commonly on port 465.
    Implicit,
    /// After `STARTTLS`, commonly on port 587; a server without it is refused.
    #[default]
    Starttls,
    /// Not at all, commonly on port 25; without a password, unless the server is on this machine.
    None,
}

/// Which messages are kept back, by what they say about themselves. One that says nothing counts as `normal`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MailFilter {
    /// Nothing below this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_severity: Option<Severity>,
    /// Nothing above this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_severity: Option<Severity>,
    /// Nothing of these topics.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub excluded_topics: Vec<String>,
}

fn default_messages_per_attempt() -> u32 {
    20
}

fn default_messages_per_hour() -> u32 {
    500
}

impl MailFilter {
    /// The rule that keeps a letter back, if one does.
    pub(super) fn keeps_back(&self, letter: &Letter) -> Option<String> {
        let severity = letter.severity.unwrap_or_default();
        if let Some(min) = self.min_severity.filter(|min| severity < *min) {
            return Some(format!("the connection sends no mail below severity `{}`", min.as_str()));
        }
        if let Some(max) = self.max_severity.filter(|max| severity > *max) {
            return Some(format!("the connection sends no mail above severity `{}`", max.as_str()));
        }
        let topic = letter.topic.as_ref().filter(|topic| self.excluded_topics.contains(topic))?;
        Some(format!("the connection sends no mail of topic `{topic}`"))
    }
}

/// Whether a recipient is a name of the address book rather than an address.
pub(super) fn is_name(recipient: &str) -> bool {
    recipient.eq_ignore_ascii_case(BROADCAST) || EntityRef::parse(recipient).is_ok()
}

/// Checks a declaration with `mail` beyond its shape.
///
/// # Errors
/// [`ConnectionError::Invalid`] with the member and what to write instead.
pub(in crate::connection) fn validate(connection: &Connection, mail: &MailSettings) -> Result<(), ConnectionError> {
    let url = &connection.base_url;
    if url.scheme() != "smtp" || url.host_str().is_none_or(str::is_empty) || !matches!(url.path(), "" | "/") {
        return invalid("baseUrl", "with `mail`, write `smtp://host` or `smtp://host:port`");
    }
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        return invalid("baseUrl", "write host and port only; credentials belong in `authentication`");
    }
    validate_credentials(connection, mail)?;
    for (member, address) in [("mail.from", Some(&mail.from)), ("mail.replyTo", mail.reply_to.as_ref())] {
        if address.is_some_and(|address| !is_address(address)) {
            return invalid(member, "write an address, `Orchestrator <orchestrator@example.org>`");
        }
    }
    if !(1..=1_000).contains(&mail.messages_per_attempt) {
        return invalid("mail.messagesPerAttempt", "write 1 to 1000");
    }
    if !(1..=100_000).contains(&mail.messages_per_hour) {
        return invalid("mail.messagesPerHour", "write 1 to 100000");
    }
    validate_book(mail)
}

fn validate_credentials(connection: &Connection, mail: &MailSettings) -> Result<(), ConnectionError> {
    let here = matches!(connection.base_url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
    match &connection.authentication {
        Authentication::None => Ok(()),
        Authentication::Basic { .. } if mail.tls == Tls::None && !here => {
            invalid("mail.tls", "write `starttls` or `implicit`: a password is sent over TLS only")
        }
        Authentication::Basic { .. } => Ok(()),
        _ => invalid("authentication", "write scheme `basic` (user name and password) or `none` for a mail server"),
    }
}

fn validate_book(mail: &MailSettings) -> Result<(), ConnectionError> {
    if mail.recipients.len() > NAMES_MAX {
        return invalid("mail.recipients", format!("name at most {NAMES_MAX} users and groups"));
    }
    for (name, addresses) in &mail.recipients {
        let spelled = name == BROADCAST || EntityRef::parse(name).is_ok_and(|entity| entity.as_str() == name);
        if !spelled {
            let cure =
                "name users and groups in lower case as `user:default/ann` and `group:default/ops`, or `broadcast`";
            return invalid("mail.recipients", format!("`{name}`: {cure}"));
        }
        let wrong = addresses.iter().find(|address| !is_address(address));
        if wrong.is_some() || !(1..=ADDRESSES_MAX).contains(&addresses.len()) {
            return invalid("mail.recipients", format!("`{name}`: write a list of 1 to {ADDRESSES_MAX} addresses"));
        }
    }
    Ok(())
}

fn is_address(text: &str) -> bool {
    !text.chars().any(char::is_control) && text.parse::<Mailbox>().is_ok()
}
