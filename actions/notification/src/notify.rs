//! `notify`: the channels one after another. One that fails does not keep the others from being told, and the failure
//! says of each what became of it.

use orchestrator_sdk::{Context, Error, Reaction, standard};
use serde::{Deserialize, Serialize};

use crate::channels::{Told, tell};
use crate::input::{Channel, News, Notify, Require};
use crate::ledger::Ledger;

/// The output of `notify`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notified {
    /// The notification's identifier: the inbox's, else the same text for each repeat.
    pub id: String,
    /// The channels that were told, now or before under the key.
    pub delivered: Vec<Delivered>,
    /// The channels that keep such notifications back.
    #[serde(default)]
    pub skipped: Vec<Skipped>,
    /// The channels that failed, where one that succeeded is enough.
    #[serde(default)]
    pub failed: Vec<Failed>,
    /// Whether nobody was told anything now, because all of it was told before under the key.
    pub suppressed: bool,
}

/// A channel that was told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivered {
    /// Which.
    pub channel: Channel,
    /// What it calls the notification.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// What people should know about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// A channel that keeps the notification back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// Which.
    pub channel: Channel,
    /// Why.
    pub reason: String,
}

/// A channel that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// Which.
    pub channel: Channel,
    /// The problem's type.
    #[serde(rename = "type")]
    pub kind: String,
    /// The problem's status.
    pub status: u16,
    /// What happened and what to do about it.
    pub detail: String,
}

/// Tells people.
///
/// # Errors
/// A wrong input (`validation` 400); or, unless one channel is enough, what the channels failed with: transient where
/// another attempt may reach them. A repeat and a retry tell only the channels that were not told.
pub fn notify(ctx: &Context, input: Notify) -> Result<Notified, Error> {
    let mut news = input.news()?;
    if news.scope.is_none() {
        news.scope.clone_from(&input.key);
    }
    let channels = input.channels();
    let mut ledger = Ledger::open(ctx, &input, &news)?;
    let mut round = Round::default();
    for channel in channels {
        round.tell(ctx, channel, &news, &mut ledger)?;
    }
    round.end(ctx, &input, &ledger)
}

/// What became of the channels.
#[derive(Default)]
struct Round {
    delivered: Vec<Delivered>,
    skipped: Vec<Skipped>,
    failed: Vec<(Channel, Error)>,
    anew: bool,
}

impl Round {
    /// Tells one channel; only what keeps a note from being taken ends the round.
    fn tell(&mut self, ctx: &Context, channel: Channel, news: &News, ledger: &mut Ledger) -> Result<(), Error> {
        if ledger.is_told(channel) {
            let here = ledger.here.iter().find(|told| told.channel == channel).cloned();
            self.anew |= here.is_some();
            self.delivered.extend(here.or_else(|| ledger.earlier(channel)));
            return Ok(());
        }
        match tell(ctx, channel, news, ctx.idempotency_key()) {
            Ok(Told::Taken(id, note)) => {
                let delivered = Delivered { channel, id, note };
                self.delivered.push(delivered.clone());
                self.anew = true;
                ledger.tell(ctx, delivered)
            }
            Ok(Told::Skipped(reason)) => {
                self.skipped.push(Skipped { channel, reason });
                Ok(())
            }
            Err(error) => {
                self.failed.push((channel, error));
                Ok(())
            }
        }
    }

    fn end(self, ctx: &Context, input: &Notify, ledger: &Ledger) -> Result<Notified, Error> {
        let enough = input.require == Some(Require::Any) && !self.delivered.is_empty();
        if !self.failed.is_empty() && !enough {
            ledger.keep_for_a_retry()?;
            return Err(self.failure());
        }
        ledger.close()?;
        let inbox = self.delivered.iter().find(|told| told.channel == Channel::Inbox).and_then(|told| told.id.clone());
        Ok(Notified {
            id: inbox.unwrap_or_else(|| ctx.idempotency_key().to_owned()),
            suppressed: !self.anew && self.skipped.is_empty() && self.failed.is_empty(),
            delivered: self.delivered,
            skipped: self.skipped,
            failed: self.failed.into_iter().map(|(channel, error)| Failed::of(channel, error)).collect(),
        })
    }

    /// One error for all channels that failed; it says of each what happened, and which were told.
    fn failure(mut self) -> Error {
        let details: Vec<_> = self.failed.iter().map(|(_, error)| error.problem.detail.clone()).collect();
        let told: Vec<_> = self.delivered.iter().map(|told| told.channel.as_str()).collect();
        let (_, mut first) = self.failed.remove(0);
        let rest: Vec<_> = self.failed.iter().map(|(_, error)| &error.reaction).collect();
        first.reaction = rest.into_iter().fold(first.reaction, worst);
        first.problem.detail = match told.is_empty() {
            true => details.join("; "),
            false => format!("{}; told were: {}", details.join("; "), told.join(", ")),
        };
        if !self.failed.is_empty() {
            first = first.with_type(standard::COMMUNICATION, 502, "Channels failed");
        }
        first
    }
}

/// Another attempt is worth it where it may reach one channel more; it tells no channel twice that was told.
fn worst(one: Reaction, other: &Reaction) -> Reaction {
    match (one, other) {
        (Reaction::Unknown, _) | (_, Reaction::Unknown) => Reaction::Unknown,
        (Reaction::Transient { retry_after: one }, Reaction::Transient { retry_after: other }) => {
            Reaction::Transient { retry_after: one.max(*other) }
        }
        (transient @ Reaction::Transient { .. }, Reaction::Permanent) => transient,
        (Reaction::Permanent, other) => *other,
    }
}

impl Failed {
    fn of(channel: Channel, error: Error) -> Self {
        Self { channel, kind: error.problem.kind, status: error.problem.status, detail: error.problem.detail }
    }
}
