//! Mail and notifications of a test: what the action sent, and how the next message ends.

use std::collections::{BTreeMap, VecDeque};

use super::{Outside, state};
use crate::mail::{Accepted, MailErrorKind, Message, Outcome};
use crate::notification::{Delivery, Notification, PostErrorKind, Posted};

#[derive(Default)]
pub(super) struct Telling {
    mails: Vec<Message>,
    mail_ends: VecDeque<Result<Outcome, MailErrorKind>>,
    posts: Vec<Notification>,
    refusal: Option<PostErrorKind>,
    told: BTreeMap<String, Vec<Delivery>>,
}

impl Outside {
    /// How the next message ends; without this it is accepted for each of its recipients.
    pub fn mail_ends(&self, end: Result<Outcome, MailErrorKind>) {
        self.state.borrow_mut().telling.mail_ends.push_back(end);
    }

    /// The messages sent so far, also those that were not accepted.
    pub fn mails(&self) -> Vec<Message> {
        self.state.borrow().telling.mails.clone()
    }

    /// Refuses every notification from now on; nothing lifts it.
    pub fn refuse_notifications(&self, refusal: Option<PostErrorKind>) {
        self.state.borrow_mut().telling.refusal = refusal;
    }

    /// The notifications posted so far.
    pub fn notifications(&self) -> Vec<Notification> {
        self.state.borrow().telling.posts.clone()
    }

    /// What is noted under a key, to begin with or so far.
    pub fn told(&self, key: &str) -> Vec<Delivery> {
        self.state.borrow().telling.told.get(key).cloned().unwrap_or_default()
    }

    /// Notes what was told under a key before the test.
    pub fn note_told(&self, key: &str, delivery: Delivery) {
        self.state.borrow_mut().telling.note(key, delivery);
    }
}

impl Telling {
    fn note(&mut self, key: &str, delivery: Delivery) {
        let told = self.told.entry(key.to_owned()).or_default();
        told.retain(|known| known.channel != delivery.channel);
        told.push(delivery);
    }

    fn post(&mut self, notification: Notification) -> Posted {
        let same = |known: &&mut Notification| {
            known.scope.is_some()
                && (&known.scope, &known.recipients) == (&notification.scope, &notification.recipients)
        };
        if let Some(known) = self.posts.iter_mut().find(same) {
            let id = format!("notification-{}", known.scope.clone().unwrap_or_default());
            *known = notification;
            return Posted { id, updated: true };
        }
        let number = self.posts.len() + 1;
        let id = notification.scope.clone().unwrap_or_else(|| number.to_string());
        self.posts.push(notification);
        Posted { id: format!("notification-{id}"), updated: false }
    }
}

pub(crate) fn send_mail(message: Message) -> Result<Outcome, MailErrorKind> {
    let state = state();
    let telling = &mut state.borrow_mut().telling;
    let recipients = u32::try_from(message.to.len() + message.cc.len() + message.bcc.len()).unwrap_or(u32::MAX);
    let message_id = format!("<{}{}@example.org>", telling.mails.len() + 1, message.part);
    telling.mails.push(message);
    let accepted = Ok(Outcome::Accepted(Accepted { message_id, recipients, missing: Vec::new() }));
    telling.mail_ends.pop_front().unwrap_or(accepted)
}

pub(crate) fn post(notification: Notification) -> Result<Posted, PostErrorKind> {
    let state = state();
    let telling = &mut state.borrow_mut().telling;
    match &telling.refusal {
        Some(refusal) => Err(refusal.clone()),
        None => Ok(telling.post(notification)),
    }
}

pub(crate) fn deliveries(key: &str) -> Result<Vec<Delivery>, PostErrorKind> {
    Ok(state().borrow().telling.told.get(key).cloned().unwrap_or_default())
}

pub(crate) fn delivered(key: &str, delivery: Delivery) -> Result<(), PostErrorKind> {
    state().borrow_mut().telling.note(key, delivery);
    Ok(())
}
