//! Sends the requests it is told to, `[connection, method, target, {field: value}, body]`, and answers what came.

use serde_json::Value;

use crate::{Answer, answer};

pub(super) fn run(input: Value) -> Answer {
    let list = input.as_array().cloned().unwrap_or_default();
    let results: Vec<Value> = list
        .iter()
        .map(|asked| {
            let text = |at: usize| asked[at].as_str().unwrap_or_default();
            let mut request = crate::request(text(0), text(1), text(2));
            for (name, value) in asked[3].as_object().into_iter().flatten() {
                let value = value.as_str().unwrap_or_default().to_owned();
                request.headers.push(crate::client::Header { name: name.clone(), value });
            }
            request.body = asked[4].as_str().map(|body| body.as_bytes().to_vec());
            request.timeout_ms = asked[5].as_u64().and_then(|ms| u32::try_from(ms).ok());
            crate::told(&crate::client::send(&request))
        })
        .collect();
    answer(&results.into())
}
