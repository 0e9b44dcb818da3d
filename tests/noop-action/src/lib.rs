//! Actions that touch nothing outside: one adds one to a number, one stands in for the notification of people.

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

fn notify(ctx: &Context, _notification: Json) -> Result<Json, Error> {
    let id = ctx.idempotency_key();
    Ok(json!({ "id": id, "delivered": [{ "channel": "inbox", "id": id }], "suppressed": false }))
}

export_actions! { "increment" => increment, "notify" => notify }
