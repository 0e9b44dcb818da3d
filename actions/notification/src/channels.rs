//! One notification by one channel, whichever it is.

use orchestrator_sdk::notification::{self, Notification};
use orchestrator_sdk::{Context, Error};

use crate::input::{Channel, News};
use crate::{backstage, letter, slack, webhook};

/// How telling one channel ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Told {
    /// It took the notification; what it calls it, and what people should know about that.
    Taken(Option<String>, Option<String>),
    /// It keeps such notifications back; why.
    Skipped(String),
}

pub(crate) fn tell(ctx: &Context, channel: Channel, news: &News, id: &str) -> Result<Told, Error> {
    let told = match channel {
        Channel::Inbox => post(news),
        Channel::Backstage => backstage::post(news, id),
        Channel::Mail => letter::send(ctx, news),
        Channel::Slack => slack::post(news),
        Channel::Webhook => webhook::post(ctx, news, id),
    };
    told.map_err(|error| error.context(channel.as_str()))
}

fn post(news: &News) -> Result<Told, Error> {
    let posted = notification::post(Notification {
        recipients: news.recipients.clone(),
        title: news.title.clone(),
        description: news.description.clone(),
        link: news.link.clone(),
        severity: news.severity,
        topic: news.topic.clone(),
        scope: news.scope.clone(),
        part: String::new(),
    })?;
    Ok(Told::Taken(Some(posted.id), None))
}
