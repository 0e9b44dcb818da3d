//! Writes far more log than it may.

use serde_json::Value;

use crate::{Answer, answer};

pub(super) fn run(input: Value) -> Answer {
    use crate::wit::orchestrator::log::log;
    let line = "x".repeat(1000);
    for _ in 0..5000 {
        log::write(log::Level::Info, &line);
    }
    answer(&input)
}
