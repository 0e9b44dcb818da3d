//! Panics with a message.

use serde_json::Value;

use crate::Answer;

pub(super) fn run(input: Value) -> Answer {
    panic!("the guest's own message: {input}");
}
