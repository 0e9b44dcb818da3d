//! An action that adds one to a number and touches nothing outside.

use orchestrator_sdk::{Context, Error, export_actions};
use serde::{Deserialize, Serialize};

/// A number, in and out.
#[derive(Deserialize, Serialize)]
pub struct Number {
    value: u64,
}

fn increment(_ctx: &Context, number: Number) -> Result<Number, Error> {
    Ok(Number { value: number.value + 1 })
}

export_actions! { "increment" => increment }
