//! Mail through one SMTP server: what an admin declared (`settings.rs`), who a message goes to and whether it may
//! (here), the message itself (`message.rs`), and the conversation with the server (`smtp.rs`). `lettre` is used only in
//! this folder.
//!
//! Each message has a conversation of its own: mail is rare, and servers end idle conversations.

mod message;
pub mod settings;
mod smtp;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lettre::message::Mailbox;
use tokio::sync::Semaphore;

use super::declaration::{Authentication, Connection};
use super::secrets::Secrets;
use super::transport::StandIn;
use crate::model::ConnectionName;
use crate::notification::Severity;
use settings::MailSettings;

/// Addresses of one message, at most; servers commonly stop at 100.
const ADDRESSES_MAX: usize = 100;

/// The window of a connection's budget.
const HOUR: Duration = Duration::from_secs(3_600);

/// A message as a guest writes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Letter {
    /// The sender's address; the connection's where absent.
    pub sender: Option<String>,
    /// Addresses and names of the address book.
    pub to: Vec<String>,
    /// As `to`.
    pub cc: Vec<String>,
    /// As `to`; not told to the others.
    pub bcc: Vec<String>,
    /// Where answers go; the connection's where absent.
    pub reply_to: Option<String>,
    /// One line.
    pub subject: String,
    /// The plain body.
    pub text: Option<String>,
    /// The HTML body.
    pub html: Option<String>,
    /// Further fields.
    pub headers: Vec<(String, String)>,
    /// What the connection's filter goes by.
    pub severity: Option<Severity>,
    /// What the connection's filter goes by.
    pub topic: Option<String>,
    /// Tells the messages of one task apart.
    pub part: String,
}

/// How sending ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sent {
    /// The server took it.
    Accepted {
        /// Its `Message-ID`.
        message_id: String,
        /// Addresses it goes to.
        recipients: u32,
        /// Names without an address, and recipients that the server did not take.
        missing: Vec<String>,
    },
    /// The connection's filter keeps it back.
    Filtered(String),
}

/// Why mail was not sent, sorted by what a caller can do. Texts have neither the server's name nor credentials.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MailError {
    /// The message is wrong.
    #[error("{0}")]
    Invalid(String),
    /// The server refused for good; nothing was sent.
    #[error("{0}")]
    Refused(String),
    /// Nothing was sent; worth another attempt.
    #[error("{0}")]
    Unavailable(String),
    /// Lost after the message was handed over.
    #[error("{0}")]
    Interrupted(String),
    /// The hour's budget is used up.
    #[error("{0}")]
    Exhausted(String),
}

/// Sends mail through one connection.
pub struct Mailer {
    name: ConnectionName,
    settings: MailSettings,
    from: Mailbox,
    server: smtp::Server,
    timeout: Duration,
    secrets: Secrets,
    authentication: Authentication,
    places: Arc<Semaphore>,
    /// When the messages of the last hour were handed over. Begins anew with the server and with each change of the
    /// connection.
    hour: Mutex<VecDeque<Instant>>,
    /// Who takes the messages in the place of the server.
    stand_in: Option<Arc<dyn StandIn>>,
}

impl Mailer {
    /// Makes the mailer of a valid declaration. Nothing is sent.
    ///
    /// # Errors
    /// The certificates cannot be used; the text says why.
    pub(super) fn new(
        name: &ConnectionName,
        declaration: &Connection,
        settings: &MailSettings,
        secrets: Secrets,
        places: Arc<Semaphore>,
    ) -> Result<Self, String> {
        let from = settings.from.parse().map_err(|_| "write `mail.from` as an address".to_owned())?;
        Ok(Self {
            name: name.clone(),
            from,
            server: smtp::Server::new(declaration, settings)?,
            timeout: Duration::from_millis(declaration.timeout_ms),
            settings: settings.clone(),
            secrets,
            authentication: declaration.authentication.clone(),
            places,
            hour: Mutex::default(),
            stand_in: None,
        })
    }

    /// The same, with somebody in this process in the place of the server, of the address book and of the filter.
    pub(super) fn standing_in(self, stand_in: Arc<dyn StandIn>) -> Self {
        Self { stand_in: Some(stand_in), ..self }
    }

    /// Messages that one attempt may send.
    pub fn messages_per_attempt(&self) -> u32 {
        self.settings.messages_per_attempt
    }

    /// Sends a letter. `key` is the attempt's idempotency key, which the message's identifier is made of. Sets
    /// `handed_over` when the server may have the message.
    ///
    /// # Errors
    /// See [`MailError`].
    pub async fn send(
        &self,
        letter: &Letter,
        key: &str,
        handed_over: &std::sync::atomic::AtomicBool,
    ) -> Result<Sent, MailError> {
        if let Some(stand_in) = &self.stand_in {
            let sent = stand_in.mail(letter.clone()).await;
            let has_effect = matches!(sent, Ok(Sent::Accepted { .. }) | Err(MailError::Interrupted(_)));
            handed_over.store(has_effect, std::sync::atomic::Ordering::Relaxed);
            return sent;
        }
        if let Some(rule) = self.settings.filter.keeps_back(letter) {
            return Ok(Sent::Filtered(rule));
        }
        let (addressed, missing) = self.addressed(letter)?;
        let message = message::write(letter, &addressed, key)?;
        let place = self.take_place()?;
        let deadline = Instant::now() + self.timeout;
        let Ok(Ok(_permit)) = tokio::time::timeout_at(deadline.into(), self.places.acquire()).await else {
            self.give_back(place);
            return Err(MailError::Unavailable("all conversations of the connection are in use".to_owned()));
        };
        let credentials = smtp::credentials(&self.authentication, &self.secrets);
        let sent = match credentials {
            Ok(credentials) => self.server.deliver(&message, credentials, deadline, handed_over).await,
            Err(error) => Err(error),
        };
        if matches!(sent, Err(MailError::Refused(_) | MailError::Unavailable(_))) {
            self.give_back(place);
        }
        if let Err(error) = &sent {
            tracing::info!(connection = %self.name, %error, "a message was not sent");
        }
        let refused = sent?;
        let recipients = u32::try_from(message.addresses() - refused.len()).unwrap_or(u32::MAX);
        let missing = missing.into_iter().chain(refused).collect();
        Ok(Sent::Accepted { message_id: message.id, recipients, missing })
    }

    /// Who the letter goes to and comes from, and the names that have no address.
    fn addressed(&self, letter: &Letter) -> Result<(message::Addressed, Vec<String>), MailError> {
        let mut missing = Vec::new();
        let addressed = message::Addressed {
            from: self.sender(letter.sender.as_deref())?,
            reply_to: match letter.reply_to.as_ref().or(self.settings.reply_to.as_ref()) {
                Some(text) => Some(mailbox("reply-to", text)?),
                None => None,
            },
            to: self.mailboxes("to", &letter.to, &mut missing)?,
            cc: self.mailboxes("cc", &letter.cc, &mut missing)?,
            bcc: self.mailboxes("bcc", &letter.bcc, &mut missing)?,
        };
        let addresses = addressed.to.len() + addressed.cc.len() + addressed.bcc.len();
        match addresses {
            0 => Err(MailError::Invalid(format!(
                "no recipient has an address{}: write one, or let an admin add the name to `mail.recipients` of the \
                 connection",
                if missing.is_empty() { String::new() } else { format!(" ({})", missing.join(", ")) }
            ))),
            1..=ADDRESSES_MAX => Ok((addressed, missing)),
            _ => Err(MailError::Invalid(format!("a message goes to at most {ADDRESSES_MAX} addresses; send several"))),
        }
    }

    fn sender(&self, asked: Option<&str>) -> Result<Mailbox, MailError> {
        let Some(asked) = asked else { return Ok(self.from.clone()) };
        let sender = mailbox("sender", asked)?;
        match sender.email.domain().eq_ignore_ascii_case(self.from.email.domain()) {
            true => Ok(sender),
            false => Err(MailError::Invalid(
                "write a sender of the connection's own domain, or leave it out: the connection has one".to_owned(),
            )),
        }
    }

    fn mailboxes(&self, field: &str, names: &[String], missing: &mut Vec<String>) -> Result<Vec<Mailbox>, MailError> {
        let mut found: Vec<Mailbox> = Vec::new();
        for name in names {
            let texts = match settings::is_name(name) {
                true => match self.settings.recipients.get(&name.to_lowercase()) {
                    Some(addresses) => addresses.clone(),
                    None => {
                        missing.push(name.clone());
                        continue;
                    }
                },
                false => vec![name.clone()],
            };
            for text in texts {
                let mailbox = mailbox(field, &text)?;
                self.allow(&mailbox)?;
                if !found.iter().any(|known| known.email == mailbox.email) {
                    found.push(mailbox);
                }
            }
        }
        Ok(found)
    }

    fn allow(&self, mailbox: &Mailbox) -> Result<(), MailError> {
        let domain = mailbox.email.domain();
        let domains = &self.settings.recipient_domains;
        match domains.is_empty() || domains.iter().any(|allowed| allowed.eq_ignore_ascii_case(domain)) {
            true => Ok(()),
            false => Err(MailError::Invalid(format!(
                "mail to `{domain}` is not allowed; an admin adds it to `mail.recipientDomains` of the connection"
            ))),
        }
    }

    /// A place among the messages of the hour.
    fn take_place(&self) -> Result<Instant, MailError> {
        let (mut hour, now) = (self.hour.lock().expect("no holder of this lock panics"), Instant::now());
        while hour.front().is_some_and(|first| now.duration_since(*first) >= HOUR) {
            hour.pop_front();
        }
        if hour.len() >= self.settings.messages_per_hour as usize {
            let first = hour.front().map_or(HOUR, |first| HOUR.saturating_sub(now.duration_since(*first)));
            return Err(MailError::Exhausted(format!(
                "the connection has sent its {} messages of this hour; there is place again in {} s",
                self.settings.messages_per_hour,
                first.as_secs() + 1
            )));
        }
        hour.push_back(now);
        Ok(now)
    }

    /// Nothing was sent: the place is free again.
    fn give_back(&self, place: Instant) {
        let mut hour = self.hour.lock().expect("no holder of this lock panics");
        if let Some(at) = hour.iter().position(|taken| *taken == place) {
            hour.remove(at);
        }
    }
}

fn mailbox(field: &str, text: &str) -> Result<Mailbox, MailError> {
    let wrong = || {
        let shown: String = text.chars().filter(|c| !c.is_control()).take(100).collect();
        MailError::Invalid(format!("`{shown}` in `{field}` is no address: write `ann@example.org`, on one line"))
    };
    match text.chars().any(char::is_control) {
        true => Err(wrong()),
        false => text.parse().map_err(|_| wrong()),
    }
}

#[cfg(test)]
mod tests;
