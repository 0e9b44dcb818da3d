//! Reads the secrets it is told to and answers them; also writes them to the log.

use serde_json::Value;

use crate::{Answer, answer};

pub(super) fn run(input: Value) -> Answer {
    use crate::wit::orchestrator::{log::log, secrets::store};
    let mut results = Vec::new();
    for name in input.as_array().into_iter().flatten().filter_map(Value::as_str) {
        results.push(match store::reveal(name) {
            Ok(bytes) => {
                let text = String::from_utf8_lossy(&bytes).into_owned();
                log::write(log::Level::Info, &format!("the secret is {text}"));
                format!("revealed: {text}")
            }
            Err(store::Error::Denied(text)) => format!("denied: {text}"),
            Err(store::Error::Missing(text)) => format!("missing: {text}"),
        });
    }
    answer(&results.into())
}
