//! What was told already. The checkpoint knows it for a repeat of the same attempt, the server's notes for a key: that of
//! the input, or one of the task itself where some channels failed, so that a retry tells only those.

use orchestrator_sdk::notification::{self, Delivery};
use orchestrator_sdk::{Context, Error};
use serde::{Deserialize, Serialize};

use crate::input::{Channel, News, Notify};
use crate::notify::Delivered;

/// The digest of a task's own note once every channel was told: the next time round, it is told anew.
const OVER: &str = "over";

/// What was told, and where it is noted.
pub(crate) struct Ledger {
    key: String,
    /// Whether the key is the input's.
    given: bool,
    digest: String,
    /// Told by this very attempt or an earlier one of the same activation.
    pub(crate) here: Vec<Delivered>,
    /// Told before, under the key.
    before: Vec<Delivery>,
}

/// The checkpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Checkpoint {
    told: Vec<Delivered>,
}

impl Ledger {
    pub(crate) fn open(ctx: &Context, input: &Notify, news: &News) -> Result<Self, Error> {
        let digest = digest(news);
        let (key, given) = match &input.key {
            Some(key) => (key.clone(), true),
            None => (format!("task {} {} {digest}", ctx.instance(), ctx.task()), false),
        };
        let here = ctx.checkpoint::<Checkpoint>()?.unwrap_or_default().told;
        let before = notification::deliveries(&key)?;
        let before = before.into_iter().filter(|told| told.digest != OVER).collect();
        Ok(Self { key, given, digest, here, before })
    }

    /// Whether a channel was told this already, in this attempt or under the key. What is new under a known key is told
    /// where it takes the earlier one's place, and nowhere else.
    pub(crate) fn is_told(&self, channel: Channel) -> bool {
        let before = self.before.iter().find(|told| told.channel == channel.as_str());
        let updates = matches!(channel, Channel::Inbox | Channel::Backstage);
        self.here.iter().any(|told| told.channel == channel)
            || before.is_some_and(|told| !updates || told.digest == self.digest)
    }

    /// What a channel called it that was told before.
    pub(crate) fn earlier(&self, channel: Channel) -> Option<Delivered> {
        let told = self.before.iter().find(|told| told.channel == channel.as_str())?;
        Some(Delivered { channel, id: told.id.clone(), note: None })
    }

    /// Remembers that a channel was told.
    pub(crate) fn tell(&mut self, ctx: &Context, delivered: Delivered) -> Result<(), Error> {
        self.here.push(delivered.clone());
        ctx.save_checkpoint(&Checkpoint { told: self.here.clone() })?;
        if self.given {
            self.note(&delivered, self.digest.clone())?;
        }
        Ok(())
    }

    /// Some channels failed: a retry of the task, which knows no checkpoint of this one, finds those that did not.
    pub(crate) fn keep_for_a_retry(&self) -> Result<(), Error> {
        match self.given {
            true => Ok(()),
            false => self.here.iter().try_for_each(|told| self.note(told, self.digest.clone())),
        }
    }

    /// All channels were told: the same task may tell the same again.
    pub(crate) fn close(&self) -> Result<(), Error> {
        if self.given || self.before.is_empty() {
            return Ok(());
        }
        let over = |told: &Delivery| Delivery { digest: OVER.to_owned(), ..told.clone() };
        self.before.iter().try_for_each(|told| notification::delivered(&self.key, over(told)))?;
        self.here.iter().try_for_each(|told| self.note(told, OVER.to_owned()))
    }

    fn note(&self, told: &Delivered, digest: String) -> Result<(), Error> {
        let channel = told.channel.as_str().to_owned();
        notification::delivered(&self.key, Delivery { channel, id: told.id.clone(), digest })
    }
}

/// FNV-1a over everything that people see: it only tells a changed notification from the same one.
fn digest(news: &News) -> String {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in format!("{news:?}").bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    format!("{hash:016x}")
}
