//! Sends a message by the connection that it is told; answers what came of it.

use serde_json::{Value, json};

use crate::{Answer, answer};

pub(super) fn run(input: Value) -> Answer {
    use crate::more::orchestrator::mail::mail::{self, Error, Message, Outcome};
    let message = Message {
        connection: input.as_str().unwrap_or_default().to_owned(),
        sender: None,
        to: vec!["ann@example.org".to_owned()],
        cc: Vec::new(),
        bcc: Vec::new(),
        reply_to: None,
        subject: "subject".to_owned(),
        text: Some("text".to_owned()),
        html: None,
        headers: Vec::new(),
        severity: None,
        topic: None,
        part: String::new(),
    };
    let (kind, text) = match mail::send(&message) {
        Ok(Outcome::Accepted(accepted)) => ("accepted", accepted.message_id),
        Ok(Outcome::Filtered(rule)) => ("filtered", rule),
        Err(Error::Denied(text)) => ("denied", text),
        Err(Error::Invalid(text)) => ("invalid", text),
        Err(Error::Refused(text)) => ("refused", text),
        Err(Error::Unavailable(text)) => ("unavailable", text),
        Err(Error::Interrupted(text)) => ("interrupted", text),
        Err(Error::Exhausted(text)) => ("exhausted", text),
    };
    answer(&json!([kind, text]))
}
