//! Calls itself for ever.

use serde_json::Value;

use crate::{Answer, answer};

pub(super) fn run(input: Value) -> Answer {
    answer(&descend(std::hint::black_box(input.as_u64().unwrap_or(1))).into())
}

#[expect(unconditional_recursion, reason = "this is what is tried")]
fn descend(depth: u64) -> u64 {
    let room = std::hint::black_box([depth; 64]);
    descend(depth + 1) + room[7]
}
