//! Computes for ever.

use serde_json::Value;

use crate::{Answer, answer};

pub(super) fn run(input: Value) -> Answer {
    let mut count = 0_u64;
    while !input.is_number() {
        count = std::hint::black_box(count.wrapping_add(1));
    }
    answer(&count.into())
}
