//! Mail through a connection of kind `smtp`. The server, its credentials and people's addresses stay in the host: a
//! recipient may be an address or a name of the connection's address book.
//!
//! ```
//! use orchestrator_sdk::mail::{self, Outcome};
//! let outside = orchestrator_sdk::testing::Outside::new();
//! let sent = mail::message("post").to("user:default/ann").subject("Disk full").text("Volume 7 is full.").send().unwrap();
//! assert!(matches!(sent, Outcome::Accepted(_)));
//! assert_eq!(outside.mails()[0].subject, "Disk full");
//! ```

use std::time::Duration;

use crate::{Error, Reaction, outside, standard};

pub use crate::notification::Severity;

/// A message, to be sent with [`Message::send`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message {
    /// The connection's name in `pack.yaml`.
    pub connection: String,
    /// The sender's address; the connection's where absent.
    pub sender: Option<String>,
    /// Addresses, or names of the address book.
    pub to: Vec<String>,
    /// As `to`.
    pub cc: Vec<String>,
    /// As `to`; not told to the others.
    pub bcc: Vec<String>,
    /// Where answers go.
    pub reply_to: Option<String>,
    /// One line.
    pub subject: String,
    /// The plain body.
    pub text: Option<String>,
    /// The HTML body.
    pub html: Option<String>,
    /// Further fields, `X-…` and a few others.
    pub headers: Vec<(String, String)>,
    /// What the connection's filter goes by.
    pub severity: Option<Severity>,
    /// What the connection's filter goes by.
    pub topic: Option<String>,
    /// Tells the messages of one task apart.
    pub part: String,
}

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The mail server took it.
    Accepted(Accepted),
    /// The connection's filter kept it back; the text says which rule.
    Filtered(String),
}

/// A message that the mail server took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// Its `Message-ID`, with the angle brackets; the same for each repeat of the attempt.
    pub message_id: String,
    /// Addresses it goes to.
    pub recipients: u32,
    /// Names without an address, and recipients that the server did not take.
    pub missing: Vec<String>,
}

/// Why the host gives no outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MailErrorKind {
    /// Not granted.
    Denied(String),
    /// The message is wrong.
    Invalid(String),
    /// The mail server refused for good.
    Refused(String),
    /// Nothing was sent.
    Unavailable(String),
    /// It may be on its way.
    Interrupted(String),
    /// The attempt's or the connection's budget is used up.
    Exhausted(String),
}

/// After so long an exhausted budget is asked again.
const EXHAUSTED_AFTER: Duration = Duration::from_secs(300);

/// Begins a message through a connection.
pub fn message(connection: &str) -> Message {
    Message { connection: connection.to_owned(), ..Message::default() }
}

impl Message {
    /// Adds a recipient: an address, or a name of the address book such as `user:default/ann` or `broadcast`.
    #[must_use]
    pub fn to(mut self, recipient: &str) -> Self {
        self.to.push(recipient.to_owned());
        self
    }

    /// Adds a recipient of a copy.
    #[must_use]
    pub fn cc(mut self, recipient: &str) -> Self {
        self.cc.push(recipient.to_owned());
        self
    }

    /// Sets the subject.
    #[must_use]
    pub fn subject(mut self, subject: &str) -> Self {
        self.subject = subject.to_owned();
        self
    }

    /// Sets the plain body.
    #[must_use]
    pub fn text(mut self, text: &str) -> Self {
        self.text = Some(text.to_owned());
        self
    }

    /// Sets the HTML body. What of it is not your own, escape with [`escape_html`].
    #[must_use]
    pub fn html(mut self, html: &str) -> Self {
        self.html = Some(html.to_owned());
        self
    }

    /// Tells this message from others of the same task, so that each has its own identifier.
    #[must_use]
    pub fn part(mut self, part: &str) -> Self {
        self.part = part.to_owned();
        self
    }

    /// Sends the message and waits until the server has taken it.
    ///
    /// # Errors
    /// Permanent: not granted (`authorization` 403), a wrong message (`validation` 400), refused (`communication` 502).
    /// Transient: the server is away or busy (503), a budget is used up (429). Unknown: lost after it was handed over.
    pub fn send(self) -> Result<Outcome, Error> {
        outside::send_mail(self).map_err(|kind| {
            let communication = |reaction, status, title, detail: String| {
                Error::new(reaction, standard::COMMUNICATION, status, title, detail)
            };
            match kind {
                MailErrorKind::Denied(detail) => {
                    Error::new(Reaction::Permanent, standard::AUTHORIZATION, 403, "Mail not granted", detail)
                }
                MailErrorKind::Invalid(detail) => Error::validation(detail),
                MailErrorKind::Refused(detail) => communication(Reaction::Permanent, 502, "Mail refused", detail),
                MailErrorKind::Unavailable(detail) => Error::transient(detail),
                MailErrorKind::Interrupted(detail) => Error::unknown(detail),
                MailErrorKind::Exhausted(detail) => {
                    let reaction = Reaction::Transient { retry_after: Some(EXHAUSTED_AFTER) };
                    communication(reaction, 429, "Mail budget used up", detail)
                }
            }
        })
    }
}

/// Text that stands for itself in HTML.
pub fn escape_html(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}
