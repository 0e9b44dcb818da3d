//! Writes far more to standard output than it may, without a line feed, and some to standard error.

use serde_json::Value;

use crate::{Answer, answer};

pub(super) fn run(input: Value) -> Answer {
    use std::io::Write;
    eprintln!("an error line");
    let piece = [b'x'; 4096];
    for _ in 0..1000 {
        let _ = std::io::stdout().write_all(&piece);
    }
    let _ = std::io::stdout().flush();
    answer(&input)
}
