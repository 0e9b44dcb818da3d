//! Answers `undone` to whatever it is asked.

use serde_json::Value;

use crate::Answer;

pub(super) fn run(input: Value) -> Answer {
    let _ = input;
    Ok(crate::Reply::Undone)
}
