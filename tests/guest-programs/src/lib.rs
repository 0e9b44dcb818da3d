//! Hostile and odd guests. They are one component, so that they are compiled once; the action's name selects the file in
//! `guests/`. They use the bare bindings on purpose: what the SDK would prevent is what is tried here.

mod guests;

mod wit {
    wit_bindgen::generate!({ world: "orchestrator:pack/action@0.1.0", path: "../../wit", generate_all });
}

/// What came with later worlds, beside the first one, so that components of that one are still seen to link.
mod more {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "package guests:more; world more {
            import orchestrator:mail/mail@0.1.0; import orchestrator:notification/inbox@0.1.0;
        }",
        world: "guests:more/more",
        generate_all,
    });
}

use serde_json::Value;
use wit::exports::orchestrator::action::handler::{Failure, Guest, Invocation, Phase, Reply};
use wit::orchestrator::action::types::{Problem, Success};
use wit::orchestrator::http::client;

/// The component's one export.
struct Programs;

impl Guest for Programs {
    fn run(invocation: Invocation) -> Result<Reply, Failure> {
        let text = match &invocation.phase {
            Phase::Run(text) | Phase::Probe(text) | Phase::Undo(text) => text,
        };
        let input = serde_json::from_str(text).map_err(|error| refuse(&format!("input: {error}")))?;
        guests::run(&invocation.action, input)
    }
}

/// Only on Wasm: the names of component exports break a native link.
#[cfg(target_arch = "wasm32")]
#[expect(unsafe_code, reason = "generated")]
mod export {
    use super::{Programs, wit};
    wit::export!(Programs with_types_in wit);
}

/// What a guest answers.
type Answer = Result<Reply, Failure>;

fn answer(output: &Value) -> Answer {
    answer_text(output.to_string())
}

fn answer_text(output: String) -> Answer {
    Ok(Reply::Succeeded(Success { output, receipt: None, resources: Vec::new() }))
}

fn refuse(detail: &str) -> Failure {
    Failure::Permanent(Problem {
        type_: String::new(),
        status: 400,
        title: "refused".to_owned(),
        detail: detail.to_owned(),
    })
}

fn request(connection: &str, method: &str, target: &str) -> client::Request {
    client::Request {
        connection: connection.to_owned(),
        method: method.to_owned(),
        target: target.to_owned(),
        headers: Vec::new(),
        body: None,
        timeout_ms: None,
    }
}

/// An error as `[kind, text]`.
fn shown(error: &client::Error) -> Value {
    let (kind, text) = match error {
        client::Error::Denied(text) => ("denied", text.clone()),
        client::Error::InvalidRequest(text) => ("invalid-request", text.clone()),
        client::Error::Unavailable(text) => ("unavailable", text.clone()),
        client::Error::Timeout(text) => ("timeout", text.clone()),
        client::Error::Interrupted(text) => ("interrupted", text.clone()),
        client::Error::TooLarge(bytes) => ("too-large", bytes.to_string()),
        client::Error::Exhausted(text) => ("exhausted", text.clone()),
    };
    serde_json::json!([kind, text])
}

/// A response as `{status, headers, body}`, or the error.
fn told(result: &Result<client::Response, client::Error>) -> Value {
    match result {
        Ok(response) => serde_json::json!({
            "status": response.status,
            "headers": response.headers.iter().map(|field| (field.name.clone(), field.value.clone().into()))
                .collect::<serde_json::Map<_, _>>(),
            "body": String::from_utf8_lossy(&response.body),
        }),
        Err(error) => shown(error),
    }
}
