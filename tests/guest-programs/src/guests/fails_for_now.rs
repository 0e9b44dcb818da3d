//! Fails and asks for another attempt.

use serde_json::Value;

use crate::Answer;

pub(super) fn run(input: Value) -> Answer {
    let problem = crate::Problem {
        type_: "https://example.com/busy".to_owned(),
        status: 503,
        title: "busy".to_owned(),
        detail: input.to_string(),
    };
    let failure = crate::wit::orchestrator::action::types::TransientFailure { problem, retry_after_ms: Some(1500) };
    Err(crate::Failure::Transient(failure))
}
