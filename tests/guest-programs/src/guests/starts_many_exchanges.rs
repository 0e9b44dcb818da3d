//! Starts as many exchanges as it is told, finishes one, starts another, finishes the first again.

use serde_json::Value;

use crate::{Answer, answer};

pub(super) fn run(input: Value) -> Answer {
    use crate::client;
    let request = crate::request("outside", "GET", "/");
    let mut kept = Vec::new();
    let mut refused = Vec::new();
    for _ in 0..input.as_u64().unwrap_or_default() {
        match client::start_send(&request) {
            Ok(exchange) => kept.push(exchange),
            Err(error) => refused.push(crate::shown(&error)),
        }
    }
    let ended = kept.is_empty() || (client::wait_any(&kept.iter().collect::<Vec<_>>()) as usize) < kept.len();
    let first = kept.first().map(|exchange| exchange.finish().is_ok());
    let another = client::start_send(&request).is_ok();
    let again = kept.first().map(|exchange| exchange.finish().err().map(|error| crate::shown(&error)));
    answer(&serde_json::json!({
        "started": kept.len(), "refused": refused, "ended": ended, "first": first, "another": another, "again": again,
    }))
}
