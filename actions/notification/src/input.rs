//! What `notify` is asked for, and its templates.

use std::collections::BTreeMap;

use orchestrator_sdk::notification::{Recipients, Severity};
use orchestrator_sdk::{Error, Json};
use serde::{Deserialize, Serialize};

/// The input of `notify`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Notify {
    /// One line; with `values`, `{name}` stands for a value.
    pub title: String,
    /// More about it, as `title`.
    #[serde(default)]
    pub description: Option<String>,
    /// How much it matters.
    #[serde(default)]
    pub severity: Option<Severity>,
    /// What it is about.
    #[serde(default)]
    pub topic: Option<String>,
    /// A later notification of the same scope takes its place where a channel knows scopes.
    #[serde(default)]
    pub scope: Option<String>,
    /// Where to go.
    #[serde(default)]
    pub link: Option<String>,
    /// Who gets it; everybody by default.
    #[serde(default)]
    pub recipients: Option<To>,
    /// By which channels; `inbox` by default.
    #[serde(default)]
    pub channels: Option<Vec<Channel>>,
    /// What was told under this key in the last 24 hours is not told again.
    #[serde(default)]
    pub key: Option<String>,
    /// What `{name}` in title and description stands for; without it they are taken as they are.
    #[serde(default)]
    pub values: Option<BTreeMap<String, Json>>,
    /// Whether every channel has to be reached.
    #[serde(default)]
    pub require: Option<Require>,
    /// Addresses or names of the address book, in the place of the recipients.
    #[serde(default)]
    pub mail_to: Option<Vec<String>>,
    /// The Slack channel, where the connection leads to Slack's API and not to a webhook.
    #[serde(default)]
    pub slack_channel: Option<String>,
}

/// Who gets it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", rename_all_fields = "camelCase")]
pub enum To {
    /// Everybody.
    Broadcast,
    /// Users and groups.
    Entity {
        /// `user:default/ann`, `group:default/ops`.
        entity_ref: Vec<String>,
    },
}

/// A way to tell people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Channel {
    /// The server's own notifications.
    Inbox,
    /// The notifications backend of Backstage.
    Backstage,
    /// E-mail.
    Mail,
    /// An incoming webhook of Slack or of what speaks like it, or Slack's API.
    Slack,
    /// A webhook that takes our own JSON.
    Webhook,
}

/// When a notification succeeds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Require {
    /// Every channel took it.
    #[default]
    All,
    /// At least one took it; the others are told in the output.
    Any,
}

/// A notification, ready to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct News {
    pub(crate) title: String,
    pub(crate) description: Option<String>,
    pub(crate) severity: Severity,
    pub(crate) topic: Option<String>,
    pub(crate) scope: Option<String>,
    pub(crate) link: Option<String>,
    pub(crate) recipients: Recipients,
    pub(crate) mail_to: Vec<String>,
    pub(crate) slack_channel: Option<String>,
}

impl Channel {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Inbox => "inbox",
            Self::Backstage => "backstage",
            Self::Mail => "mail",
            Self::Slack => "slack",
            Self::Webhook => "webhook",
        }
    }
}

impl Notify {
    /// The channels, each once.
    pub(crate) fn channels(&self) -> Vec<Channel> {
        let mut channels = match self.channels.as_deref() {
            None | Some([]) => vec![Channel::Inbox],
            Some(channels) => channels.to_vec(),
        };
        channels.sort();
        channels.dedup();
        channels
    }

    /// The notification with its templates filled in.
    pub(crate) fn news(&self) -> Result<News, Error> {
        let recipients = match &self.recipients {
            None | Some(To::Broadcast) => Recipients::Broadcast,
            Some(To::Entity { entity_ref }) if entity_ref.is_empty() => {
                return Err(Error::validation("name at least one user or group in `recipients.entityRef`"));
            }
            Some(To::Entity { entity_ref }) => Recipients::Entities(entity_ref.clone()),
        };
        let title = self.filled("title", &self.title)?;
        if title.trim().is_empty() {
            return Err(Error::validation("give the notification a title"));
        }
        Ok(News {
            // A value may have brought line ends, which no channel has in a title.
            title: title.split_whitespace().collect::<Vec<_>>().join(" "),
            description: self.description.as_ref().map(|text| self.filled("description", text)).transpose()?,
            severity: self.severity.unwrap_or_default(),
            topic: self.topic.clone(),
            scope: self.scope.clone(),
            link: self.link.clone(),
            recipients,
            mail_to: self.mail_to.clone().unwrap_or_default(),
            slack_channel: self.slack_channel.clone(),
        })
    }

    fn filled(&self, member: &str, text: &str) -> Result<String, Error> {
        match &self.values {
            None => Ok(text.to_owned()),
            Some(values) => fill(text, values).map_err(|reason| Error::validation(format!("`{member}`: {reason}"))),
        }
    }
}

/// Puts values in the place of `{name}`; `{{` and `}}` stand for the braces themselves.
fn fill(template: &str, values: &BTreeMap<String, Json>) -> Result<String, String> {
    let (mut filled, mut rest) = (String::with_capacity(template.len()), template);
    while let Some(at) = rest.find(['{', '}']) {
        filled.push_str(&rest[..at]);
        let (brace, after) = rest[at..].split_at(1);
        if after.starts_with(brace) {
            filled.push_str(brace);
            rest = &after[1..];
            continue;
        }
        let name = after.split_once('}').filter(|_| brace == "{");
        let (name, after) = name.ok_or("a brace has no partner; write `{{` or `}}` for a brace itself")?;
        match values.get(name.trim()) {
            Some(Json::String(text)) => filled.push_str(text),
            Some(value @ (Json::Number(_) | Json::Bool(_))) => filled.push_str(&value.to_string()),
            Some(_) => {
                return Err(format!("`{{{name}}}` stands for a list, an object or null; give a text or a number"));
            }
            None => return Err(format!("`{{{name}}}` has no value in `values`; there are {}", names(values))),
        }
        rest = after;
    }
    filled.push_str(rest);
    Ok(filled)
}

fn names(values: &BTreeMap<String, Json>) -> String {
    values.keys().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use orchestrator_sdk::json;

    use super::*;

    #[test]
    fn a_template_is_filled_once_and_completely() {
        let values = BTreeMap::from([
            ("vm".to_owned(), json!("db-{n}")),
            ("n".to_owned(), json!(7)),
            ("list".to_owned(), json!([])),
        ]);
        let check = |template: &str, expected: Result<&str, &str>| match (fill(template, &values), expected) {
            (Ok(filled), Ok(expected)) => assert_eq!(filled, expected, "{template}"),
            (Err(reason), Err(expected)) => assert!(reason.contains(expected), "{template}: {reason}"),
            (found, _) => panic!("{template}: {found:?}"),
        };
        check("VM {vm} has {n} disks", Ok("VM db-{n} has 7 disks"));
        check("{{vm}} is {vm}", Ok("{vm} is db-{n}"));
        check("plain", Ok("plain"));
        check("{gone}", Err("has no value"));
        check("{list}", Err("a list"));
        check("{vm", Err("no partner"));
        check("vm}", Err("no partner"));
    }
}
