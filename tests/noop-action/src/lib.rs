//! Actions that touch nothing outside: one adds one to a number, one takes a notification and says that it was delivered.

use orchestrator_sdk::{Context, Error, Json, export_actions, json};
use serde::{Deserialize, Serialize};

/// A number, in and out.
#[derive(Deserialize, Serialize)]
pub struct Number {
    value: u64,
}

fn increment(_ctx: &Context, number: Number) -> Result<Number, Error> {
    Ok(Number { value: number.value + 1 })
}

/// Stands in for the action of the notification pack; one whose title contains `unheard` fails.
fn notify(_ctx: &Context, notification: Json) -> Result<Json, Error> {
    let title = notification["title"].as_str().unwrap_or_default();
    match title.is_empty() || title.contains("unheard") {
        true => Err(Error::permanent("nobody hears this")),
        false => Ok(json!({ "id": "n-1", "delivered": [{ "channel": "inbox" }], "suppressed": false })),
    }
}

export_actions! { "increment" => increment, "notify" => notify }
