//! A webhook that takes the notification as JSON. The signature, if there is one, is the connection's (`hmac`); `id` is the
//! same for each repeat, so that the other side can drop what it has.

use orchestrator_sdk::notification::Recipients;
use orchestrator_sdk::{Context, Error, http, json};

use crate::channels::Told;
use crate::input::News;

const CONNECTION: &str = "webhook";

pub(crate) fn post(ctx: &Context, news: &News, id: &str) -> Result<Told, Error> {
    let recipients = match &news.recipients {
        Recipients::Broadcast => json!({ "type": "broadcast" }),
        Recipients::Entities(entities) => json!({ "type": "entity", "entityRef": entities }),
    };
    let body = json!({
        "id": id,
        "title": news.title,
        "description": news.description,
        "severity": news.severity,
        "topic": news.topic,
        "scope": news.scope,
        "link": news.link,
        "recipients": recipients,
        "instance": ctx.instance(),
    });
    let response = http::post(CONNECTION, "").json(&body).send()?.error_for_status()?;
    let taken = response.parse::<orchestrator_sdk::Json>().ok();
    let id = taken.and_then(|taken| taken.get("id").and_then(|id| id.as_str().map(str::to_owned)));
    Ok(Told::Taken(id, None))
}
