//! Tries every call of the server's own notifications; answers what came of each.

use serde_json::{Value, json};

use crate::{Answer, answer};

pub(super) fn run(_: Value) -> Answer {
    use crate::more::orchestrator::notification::inbox::{self, Delivery, Error, Notification, Recipients, Severity};
    let notification = Notification {
        recipients: Recipients::Broadcast,
        title: "title".to_owned(),
        description: None,
        link: None,
        severity: Severity::Normal,
        topic: None,
        scope: None,
        part: String::new(),
    };
    let shown = |came: Result<(), Error>| match came {
        Ok(()) => json!(["done", ""]),
        Err(Error::Denied(text)) => json!(["denied", text]),
        Err(other) => json!(["other", format!("{other:?}")]),
    };
    let delivery = Delivery { channel: "inbox".to_owned(), id: None, digest: String::new() };
    answer(&json!([
        shown(inbox::post(&notification).map(drop)),
        shown(inbox::deliveries("key").map(drop)),
        shown(inbox::delivered("key", &delivery)),
    ]))
}
