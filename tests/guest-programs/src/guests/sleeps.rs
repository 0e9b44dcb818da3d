//! Sleeps for an hour.

use serde_json::Value;

use crate::{Answer, answer};

pub(super) fn run(input: Value) -> Answer {
    std::thread::sleep(std::time::Duration::from_secs(3600));
    answer(&input)
}
