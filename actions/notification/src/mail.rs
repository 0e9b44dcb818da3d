//! `send-mail`: a message of any content.

use orchestrator_sdk::mail::{self, Outcome};
use orchestrator_sdk::notification::Severity;
use orchestrator_sdk::{Context, Error};
use serde::{Deserialize, Serialize};

/// The input of `send-mail`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SendMail {
    /// Addresses, or names of the connection's address book.
    pub to: Vec<String>,
    /// As `to`.
    #[serde(default)]
    pub cc: Vec<String>,
    /// As `to`; not told to the others.
    #[serde(default)]
    pub bcc: Vec<String>,
    /// Where answers go.
    #[serde(default)]
    pub reply_to: Option<String>,
    /// One line.
    pub subject: String,
    /// The plain body.
    #[serde(default)]
    pub text: Option<String>,
    /// The HTML body.
    #[serde(default)]
    pub html: Option<String>,
    /// What the connection's filter goes by.
    #[serde(default)]
    pub severity: Option<Severity>,
    /// What the connection's filter goes by.
    #[serde(default)]
    pub topic: Option<String>,
}

/// The output of `send-mail`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SentMail {
    /// Whether the mail server took it; `false` where the connection's filter kept it back.
    pub sent: bool,
    /// Its `Message-ID`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    /// Addresses it goes to.
    pub recipients: u32,
    /// Names without an address, and recipients that the server did not take.
    pub missing: Vec<String>,
    /// The filter's rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Sends a message. A repeat carries the same `Message-ID`.
///
/// # Errors
/// Those of [`mail::Message::send`].
pub fn send_mail(_: &Context, input: SendMail) -> Result<SentMail, Error> {
    let message = mail::Message {
        to: input.to,
        cc: input.cc,
        bcc: input.bcc,
        reply_to: input.reply_to,
        subject: input.subject,
        text: input.text,
        html: input.html,
        severity: input.severity,
        topic: input.topic,
        ..mail::message("mail")
    };
    Ok(match message.send()? {
        Outcome::Accepted(accepted) => SentMail {
            sent: true,
            message_id: Some(accepted.message_id),
            recipients: accepted.recipients,
            missing: accepted.missing,
            reason: None,
        },
        Outcome::Filtered(rule) => {
            SentMail { sent: false, message_id: None, recipients: 0, missing: Vec::new(), reason: Some(rule) }
        }
    })
}
