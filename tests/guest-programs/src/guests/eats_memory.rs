//! Takes memory until there is none.

use serde_json::Value;

use crate::Answer;

pub(super) fn run(input: Value) -> Answer {
    let mut taken = vec![input.to_string().into_bytes()];
    loop {
        taken.push(std::hint::black_box(vec![1_u8; 1 << 20]));
    }
}
