//! Telling people: one notification over any of the channels `inbox` (the server's own), `backstage`, `mail`, `slack` and
//! `webhook`, each by a connection of that name. What was told is remembered, in the checkpoint for a repeat of the same
//! attempt and under a key for everybody else, so that nobody is told twice.
//!
//! Mail of any other content is `send-mail`.

mod backstage;
mod channels;
mod input;
mod ledger;
mod letter;
mod mail;
mod notify;
mod slack;
mod webhook;

pub use input::{Channel, Notify, Require, To};
pub use mail::{SendMail, SentMail, send_mail};
pub use notify::{Delivered, Failed, Notified, Skipped, notify};

orchestrator_sdk::export_actions! {
    "notify" => notify,
    "send-mail" => send_mail,
}

#[cfg(test)]
mod tests;
