//! Mail in the tests of a pack: what a message looks like to an entry, and what the server at the other end says.

use serde_json::{Map, Value as Json, json};

use super::case::Reply;
use super::judge::text_with_instance;
use crate::connection::mail::{Letter, MailError, Sent};

/// What stands in the place of a request's method.
pub(super) const METHOD: &str = "MAIL";

/// What stands in the place of a request's path: a connection for mail leads to one place.
pub(super) const PATH: &str = "/";

/// A message as an entry's `mail` is compared with it; what the action did not set is not there.
pub(super) fn shown(letter: &Letter) -> Json {
    let mut shown = Map::new();
    for (name, list) in [("to", &letter.to), ("cc", &letter.cc), ("bcc", &letter.bcc)] {
        if !list.is_empty() {
            shown.insert(name.to_owned(), json!(list));
        }
    }
    let texts = [
        ("sender", letter.sender.as_deref()),
        ("replyTo", letter.reply_to.as_deref()),
        ("subject", Some(letter.subject.as_str())),
        ("text", letter.text.as_deref()),
        ("html", letter.html.as_deref()),
        ("topic", letter.topic.as_deref()),
    ];
    shown.extend(texts.into_iter().filter_map(|(name, text)| Some((name.to_owned(), json!(text?)))));
    if let Some(severity) = letter.severity {
        shown.insert("severity".to_owned(), json!(severity));
    }
    if !letter.headers.is_empty() {
        let headers = letter.headers.iter().map(|(name, value)| (name.clone(), json!(value)));
        shown.insert("headers".to_owned(), Json::Object(headers.collect()));
    }
    Json::Object(shown)
}

/// What comes of a message by what an entry says.
pub(super) fn ends(reply: &Reply, letter: &Letter, key: &str, instance: &str) -> Result<Sent, MailError> {
    let recipients = letter.to.len() + letter.cc.len() + letter.bcc.len();
    match reply {
        Reply::Filtered(rule) => Ok(Sent::Filtered(text_with_instance(rule, instance))),
        Reply::Refused => Err(MailError::Refused("the mail server answered 550: no".to_owned())),
        Reply::Unavailable => Err(MailError::Unavailable("no connection to the mail server".to_owned())),
        Reply::Timeout | Reply::Interrupted => {
            Err(MailError::Interrupted("the connection broke after the message was handed over".to_owned()))
        }
        Reply::Response { .. } => Ok(Sent::Accepted {
            message_id: format!("<{key}.{}@test.invalid>", letter.part),
            recipients: u32::try_from(recipients).unwrap_or(u32::MAX),
            missing: Vec::new(),
        }),
    }
}
