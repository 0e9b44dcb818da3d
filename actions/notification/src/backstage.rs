//! The notifications backend of Backstage. A scope is always sent: Backstage updates the notification of a scope, so that
//! a repeat makes no second one. Its `title`, `scope` and `link` rules are checked by it.

use orchestrator_sdk::notification::Recipients;
use orchestrator_sdk::{Error, Json, Reaction, http, json};

use crate::channels::Told;
use crate::input::News;

const CONNECTION: &str = "backstage";

/// The path, and the one that older versions have alone.
const PATHS: [&str; 2] = ["/api/notifications/notifications", "/api/notifications"];

pub(crate) fn post(news: &News, id: &str) -> Result<Told, Error> {
    let body = body(news, id);
    let [path, older] = PATHS;
    let mut response = send(path, &body)?;
    if response.status() == 404 {
        response = send(older, &body)?;
    }
    let rows = match response.status() {
        200..=299 => response.json::<Json>().unwrap_or_default(),
        404 => {
            let error = response.error();
            return Err(
                error.cure("the notifications plugin is not installed there, or the base URL has a path too much")
            );
        }
        401 | 403 => {
            let cure = "use a token of `backend.auth.externalAccess`: those of users are refused";
            return Err(response.error().cure(cure));
        }
        _ => return Err(repeatable(response.error())),
    };
    let first = rows.get(0).and_then(|row| row.get("id")).and_then(Json::as_str).map(str::to_owned);
    let nobody = rows.as_array().is_some_and(Vec::is_empty);
    let note = nobody.then(|| "Backstage knows none of the recipients, or they have switched it off".to_owned());
    Ok(Told::Taken(first, note))
}

fn send(path: &str, body: &Json) -> Result<http::Response, Error> {
    http::post(CONNECTION, path).json(body).send().map_err(|error| repeatable(error.into()))
}

/// The scope makes a repeat harmless, so that what is unknown may simply be tried again.
fn repeatable(mut error: Error) -> Error {
    if error.reaction == Reaction::Unknown {
        error.reaction = Reaction::Transient { retry_after: None };
    }
    error
}

fn body(news: &News, id: &str) -> Json {
    let recipients = match &news.recipients {
        Recipients::Broadcast => json!({ "type": "broadcast" }),
        Recipients::Entities(entities) => json!({ "type": "entity", "entityRef": entities }),
    };
    let mut payload = json!({
        "title": news.title,
        "severity": news.severity,
        "scope": news.scope.as_deref().unwrap_or(id),
    });
    for (member, text) in [("description", &news.description), ("link", &news.link), ("topic", &news.topic)] {
        if let Some(text) = text {
            payload[member] = json!(text);
        }
    }
    json!({ "recipients": recipients, "payload": payload })
}
