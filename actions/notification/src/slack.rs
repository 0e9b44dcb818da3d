//! Slack and what speaks like it (Mattermost, Rocket.Chat): an incoming webhook, or Slack's own API where a channel is
//! named. Of our texts nothing is taken as markup: `&`, `<` and `>` are escaped, as Slack asks for.

use orchestrator_sdk::notification::Severity;
use orchestrator_sdk::{Error, Json, http, json, standard};

use crate::channels::Told;
use crate::input::News;

const CONNECTION: &str = "slack";

/// A header block's characters, at most.
const HEADER_CHARACTERS_MAX: usize = 150;

/// A section block's characters, at most.
const SECTION_CHARACTERS_MAX: usize = 3_000;

pub(crate) fn post(news: &News) -> Result<Told, Error> {
    let mut body = body(news);
    let Some(channel) = &news.slack_channel else {
        let response = http::post(CONNECTION, "").json(&body).send()?;
        return match response.status() {
            404 | 410 => Err(response.error().cure("the webhook was removed; make a new one and store its secret")),
            _ => response.error_for_status().map(|_| Told::Taken(None, None)),
        };
    };
    body["channel"] = json!(channel);
    let answer: Json = http::post(CONNECTION, "/chat.postMessage").json(&body).send()?.json()?;
    if answer["ok"] == json!(true) {
        return Ok(Told::Taken(answer["ts"].as_str().map(str::to_owned), None));
    }
    Err(refused(channel, answer["error"].as_str().unwrap_or("no reason")))
}

/// Slack answers 200 and says in the body what is wrong.
fn refused(channel: &str, reason: &str) -> Error {
    let detail = format!("Slack refused the message to `{channel}`: {reason}");
    match reason {
        "ratelimited" | "rate_limited" | "internal_error" | "fatal_error" | "service_unavailable" => {
            Error::transient(detail)
        }
        "channel_not_found" | "not_in_channel" => Error::permanent(detail).cure("invite the app to the channel"),
        "invalid_auth" | "not_authed" | "token_revoked" | "token_expired" | "account_inactive" => Error::permanent(
            detail,
        )
        .cure("store a valid bot token for the connection")
        .with_type(standard::AUTHENTICATION, 401, "Not authenticated outside"),
        _ => Error::permanent(detail).with_type(standard::COMMUNICATION, 502, "Message refused"),
    }
}

fn body(news: &News) -> Json {
    let mark = match news.severity {
        Severity::Critical => ":rotating_light: ",
        Severity::High => ":warning: ",
        Severity::Normal | Severity::Low => "",
    };
    let mut blocks = vec![json!({
        "type": "header",
        "text": { "type": "plain_text", "text": cut(&format!("{mark}{}", news.title), HEADER_CHARACTERS_MAX) },
    })];
    if let Some(description) = &news.description {
        let text = cut(&escape(description), SECTION_CHARACTERS_MAX);
        blocks.push(json!({ "type": "section", "text": { "type": "mrkdwn", "text": text, "verbatim": true } }));
    }
    if let Some(link) = news.link.as_deref().filter(|link| link.starts_with("http")) {
        let text = cut(&format!("<{}|Open>", escape(link).replace('|', "%7C")), SECTION_CHARACTERS_MAX);
        blocks.push(json!({ "type": "section", "text": { "type": "mrkdwn", "text": text } }));
    }
    let said = [Some(format!("severity: {}", news.severity.as_str())), news.topic.as_ref().map(|topic| escape(topic))];
    let said: Vec<_> = said.into_iter().flatten().collect();
    blocks.push(json!({ "type": "context", "elements": [{ "type": "mrkdwn", "text": said.join(" · ") }] }));
    json!({ "text": format!("{mark}{}", escape(&news.title)), "blocks": blocks })
}

/// The three characters that Slack takes for markup of its own.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// The text, shortened so that no escaped character is cut in two.
fn cut(text: &str, characters_max: usize) -> String {
    if text.chars().count() <= characters_max {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(characters_max - 1).collect();
    if let Some(at) = short.rfind('&').filter(|at| !short[*at..].contains(';')) {
        short.truncate(at);
    }
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_is_escaped_and_never_cut_in_two() {
        assert_eq!(escape("<!channel> & co"), "&lt;!channel&gt; &amp; co");
        assert_eq!(cut("abcdef", 6), "abcdef");
        assert_eq!(cut("abcdefg", 6), "abcde…");
        assert_eq!(cut("ab&amp;cd", 5), "ab…");
    }
}
