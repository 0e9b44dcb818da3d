//! Answers 5 MiB.

use serde_json::Value;

use crate::Answer;

pub(super) fn run(input: Value) -> Answer {
    let _ = input;
    crate::answer_text(format!("\"{}\"", "x".repeat(5 << 20)))
}
