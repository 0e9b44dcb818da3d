//! Mail for guests: the grant and the attempt's budget are checked here, then `connection` finds the addresses, writes the
//! message and talks to the server.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::wit::orchestrator::mail::mail::{self, Accepted, Error, Message, Outcome};
use super::{Guest, denial};
use crate::connection::client::Client;
use crate::connection::mail::{Letter, MailError, Sent};
use crate::model::ConnectionName;
use crate::notification::Severity;

/// Recipients that a guest may write in one list; names of the address book may stand for more.
const RECIPIENTS_MAX: usize = 100;

/// What the mail capability keeps of one attempt.
pub(crate) struct Mail {
    idempotency_key: String,
    sent: u32,
    handed_over: AtomicBool,
}

impl Mail {
    pub(crate) fn new(idempotency_key: String) -> Self {
        Self { idempotency_key, sent: 0, handed_over: AtomicBool::new(false) }
    }

    /// Whether a server may have taken a message.
    pub(crate) fn may_have_had_effect(&self) -> bool {
        self.handed_over.load(Ordering::Relaxed)
    }
}

impl mail::Host for Guest {
    async fn send(&mut self, message: Message) -> Result<Outcome, Error> {
        let client = self.mail_client(&message.connection)?;
        let Some(mailer) = client.mailer() else {
            return Err(Error::Denied(format!(
                "the connection granted as `{}` leads to no mail server; grant one that was declared with `mail`",
                message.connection
            )));
        };
        if self.mail.sent >= mailer.messages_per_attempt() {
            let max = mailer.messages_per_attempt();
            return Err(Error::Exhausted(format!(
                "the attempt has sent its {max} messages; send the rest in another task"
            )));
        }
        let letter = letter(message)?;
        self.mail.sent += 1;
        let sent = mailer.send(&letter, &self.mail.idempotency_key, &self.mail.handed_over).await;
        sent.map(outcome).map_err(told)
    }
}

impl Guest {
    fn mail_client(&self, connection: &str) -> Result<Arc<Client>, Error> {
        let name = ConnectionName::parse(connection).ok();
        let client = name.and_then(|name| self.granted.connections.get(&name).cloned());
        client.ok_or_else(|| Error::Denied(denial::connection(&self.granted, connection)))
    }
}

fn letter(message: Message) -> Result<Letter, Error> {
    let lists = [&message.to, &message.cc, &message.bcc];
    if lists.iter().any(|list| list.len() > RECIPIENTS_MAX) {
        return Err(Error::Invalid(format!("name at most {RECIPIENTS_MAX} recipients; send several messages")));
    }
    Ok(Letter {
        sender: message.sender,
        to: message.to,
        cc: message.cc,
        bcc: message.bcc,
        reply_to: message.reply_to,
        subject: message.subject,
        text: message.text,
        html: message.html,
        headers: message.headers.into_iter().map(|header| (header.name, header.value)).collect(),
        severity: message.severity.map(severity),
        topic: message.topic,
        part: message.part,
    })
}

fn severity(severity: mail::Severity) -> Severity {
    match severity {
        mail::Severity::Low => Severity::Low,
        mail::Severity::Normal => Severity::Normal,
        mail::Severity::High => Severity::High,
        mail::Severity::Critical => Severity::Critical,
    }
}

fn outcome(sent: Sent) -> Outcome {
    match sent {
        Sent::Accepted { message_id, recipients, missing } => {
            Outcome::Accepted(Accepted { message_id, recipients, missing })
        }
        Sent::Filtered(rule) => Outcome::Filtered(rule),
    }
}

fn told(error: MailError) -> Error {
    match error {
        MailError::Invalid(text) => Error::Invalid(text),
        MailError::Refused(text) => Error::Refused(text),
        MailError::Unavailable(text) => Error::Unavailable(text),
        MailError::Interrupted(text) => Error::Interrupted(text),
        MailError::Exhausted(text) => Error::Exhausted(text),
    }
}
