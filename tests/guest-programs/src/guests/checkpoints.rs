//! Stores what it is told to, then a text that is not JSON, then one that is too long.

use serde_json::Value;

use crate::{Answer, answer};

pub(super) fn run(input: Value) -> Answer {
    use crate::wit::orchestrator::progress::progress;
    let texts = [input.to_string(), "{".to_owned(), format!("\"{}\"", "x".repeat(256 << 10))];
    let results: Vec<_> = texts
        .iter()
        .map(|text| match progress::checkpoint(text) {
            Ok(()) => "stored".to_owned(),
            Err(progress::Error::Invalid(text)) => format!("invalid: {text}"),
            Err(progress::Error::Unavailable(text)) => format!("unavailable: {text}"),
        })
        .collect();
    answer(&results.into())
}
