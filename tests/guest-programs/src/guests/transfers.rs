//! Transfers from `[connection, target]` to `[connection, target]` and answers the outcome.

use serde_json::Value;

use crate::{Answer, answer};

pub(super) fn run(input: Value) -> Answer {
    let text = |side: usize, at: usize| input[side][at].as_str().unwrap_or_default();
    let source = crate::request(text(0, 0), "GET", text(0, 1));
    let destination = crate::request(text(1, 0), "PUT", text(1, 1));
    let outcome = crate::client::start_transfer(&source, &destination).and_then(|exchange| exchange.finish());
    answer(&match outcome {
        Err(error) => crate::shown(&error),
        Ok(outcome) => serde_json::json!({
            "status": outcome.response.status,
            "transferred": outcome.transferred.map(|moved| serde_json::json!({
                "sourceStatus": moved.source_status, "bytes": moved.bytes, "sha256": moved.sha256,
            })),
        }),
    })
}
