//! The doors to mail and to the server's notifications in a component.

use crate::bindings::orchestrator::mail::mail as host_mail;
use crate::bindings::orchestrator::notification::inbox;
use crate::mail::{Accepted, MailErrorKind, Message, Outcome};
use crate::notification::{Delivery, Notification, PostErrorKind, Posted, Recipients, Severity};

pub(crate) fn send_mail(message: Message) -> Result<Outcome, MailErrorKind> {
    let severity = message.severity.map(|severity| match severity {
        Severity::Low => host_mail::Severity::Low,
        Severity::Normal => host_mail::Severity::Normal,
        Severity::High => host_mail::Severity::High,
        Severity::Critical => host_mail::Severity::Critical,
    });
    let message = host_mail::Message {
        connection: message.connection,
        sender: message.sender,
        to: message.to,
        cc: message.cc,
        bcc: message.bcc,
        reply_to: message.reply_to,
        subject: message.subject,
        text: message.text,
        html: message.html,
        headers: message.headers.into_iter().map(|(name, value)| host_mail::Header { name, value }).collect(),
        severity,
        topic: message.topic,
        part: message.part,
    };
    match host_mail::send(&message) {
        Ok(host_mail::Outcome::Accepted(host_mail::Accepted { message_id, recipients, missing })) => {
            Ok(Outcome::Accepted(Accepted { message_id, recipients, missing }))
        }
        Ok(host_mail::Outcome::Filtered(rule)) => Ok(Outcome::Filtered(rule)),
        Err(host_mail::Error::Denied(text)) => Err(MailErrorKind::Denied(text)),
        Err(host_mail::Error::Invalid(text)) => Err(MailErrorKind::Invalid(text)),
        Err(host_mail::Error::Refused(text)) => Err(MailErrorKind::Refused(text)),
        Err(host_mail::Error::Unavailable(text)) => Err(MailErrorKind::Unavailable(text)),
        Err(host_mail::Error::Interrupted(text)) => Err(MailErrorKind::Interrupted(text)),
        Err(host_mail::Error::Exhausted(text)) => Err(MailErrorKind::Exhausted(text)),
    }
}

pub(crate) fn post(notification: Notification) -> Result<Posted, PostErrorKind> {
    let notification = inbox::Notification {
        recipients: match notification.recipients {
            Recipients::Broadcast => inbox::Recipients::Broadcast,
            Recipients::Entities(entities) => inbox::Recipients::Entities(entities),
        },
        title: notification.title,
        description: notification.description,
        link: notification.link,
        severity: match notification.severity {
            Severity::Low => inbox::Severity::Low,
            Severity::Normal => inbox::Severity::Normal,
            Severity::High => inbox::Severity::High,
            Severity::Critical => inbox::Severity::Critical,
        },
        topic: notification.topic,
        scope: notification.scope,
        part: notification.part,
    };
    let inbox::Posted { id, updated } = inbox::post(&notification).map_err(told)?;
    Ok(Posted { id, updated })
}

pub(crate) fn deliveries(key: &str) -> Result<Vec<Delivery>, PostErrorKind> {
    let deliveries = inbox::deliveries(key).map_err(told)?;
    Ok(deliveries
        .into_iter()
        .map(|told| Delivery { channel: told.channel, id: told.id, digest: told.digest })
        .collect())
}

pub(crate) fn delivered(key: &str, delivery: Delivery) -> Result<(), PostErrorKind> {
    let Delivery { channel, id, digest } = delivery;
    inbox::delivered(key, &inbox::Delivery { channel, id, digest }).map_err(told)
}

fn told(error: inbox::Error) -> PostErrorKind {
    match error {
        inbox::Error::Denied(text) => PostErrorKind::Denied(text),
        inbox::Error::Invalid(text) => PostErrorKind::Invalid(text),
        inbox::Error::Unavailable(text) => PostErrorKind::Unavailable(text),
    }
}
