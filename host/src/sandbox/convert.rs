//! Between the WIT's types and the model's. What a guest gives is checked and bounded here, before anything keeps it.

use super::{Invocation, Phase, Reply};
use crate::capability::Finding;
use crate::capability::wit::exports::orchestrator::action::handler;
use crate::capability::wit::orchestrator::action::types;
use crate::model::{Failure, Json, OutsideResource, Problem, Reaction, ResourceChange, Success, standard};

/// JSON text in either direction, bytes (WIT `orchestrator:action`).
const JSON_BYTES_MAX: usize = 4 << 20;

/// Outside resources of one call (WIT `orchestrator:action`).
const RESOURCES_MAX: usize = 1000;

/// A resource's kind and identifier, bytes.
const RESOURCE_TEXT_BYTES_MAX: usize = 1024;

/// A problem's type and title, bytes.
const TITLE_BYTES_MAX: usize = 1024;

/// A problem's detail, bytes.
const DETAIL_BYTES_MAX: usize = 16 << 10;

pub(super) fn invocation(call: &Invocation) -> handler::Invocation {
    handler::Invocation {
        action: call.action.to_string(),
        phase: match &call.phase {
            Phase::Run(input) => handler::Phase::Run(input.to_string()),
            Phase::Probe(input) => handler::Phase::Probe(input.to_string()),
            Phase::Undo(receipt) => handler::Phase::Undo(receipt.to_string()),
        },
        instance: call.instance.clone(),
        task: call.task.clone(),
        idempotency_key: call.idempotency_key.clone(),
        attempt: call.attempt,
        timeout_ms: u64::try_from(call.timeout.as_millis()).unwrap_or(u64::MAX),
        checkpoint: call.checkpoint.as_ref().map(Json::to_string),
    }
}

/// The reply, where it fits the phase and is well formed; else what is wrong with it.
pub(super) fn reply(reply: handler::Reply, phase: &Phase) -> Result<Reply, String> {
    match (reply, phase) {
        (handler::Reply::Succeeded(answer), Phase::Run(_)) => success(answer).map(Reply::Succeeded),
        (handler::Reply::Probed(found), Phase::Probe(_)) => Ok(Reply::Probed(match found {
            handler::Finding::Done(answer) => Finding::Done(success(answer)?),
            handler::Finding::NotDone => Finding::NotDone,
            handler::Finding::Unknown => Finding::Unknown,
        })),
        (handler::Reply::Undone, Phase::Undo(_)) => Ok(Reply::Undone),
        (handler::Reply::Unsupported, _) => Ok(Reply::Unsupported),
        _ => Err("it answered another phase than the one it was asked for".to_owned()),
    }
}

fn success(success: types::Success) -> Result<Success, String> {
    if success.resources.len() > RESOURCES_MAX {
        return Err(format!("it reported {} resources, at most {RESOURCES_MAX} are kept", success.resources.len()));
    }
    Ok(Success {
        output: json("output", &success.output)?,
        receipt: success.receipt.map(|receipt| json("receipt", &receipt)).transpose()?,
        resources: success.resources.into_iter().map(resource).collect::<Result<_, _>>()?,
    })
}

fn json(what: &str, text: &str) -> Result<Json, String> {
    if text.len() > JSON_BYTES_MAX {
        return Err(format!("its {what} has {} bytes, at most {JSON_BYTES_MAX} are taken", text.len()));
    }
    serde_json::from_str(text).map_err(|error| format!("its {what} is not JSON: {error}"))
}

fn resource(resource: types::OutsideResource) -> Result<OutsideResource, String> {
    if resource.kind.len().max(resource.id.len()) > RESOURCE_TEXT_BYTES_MAX {
        return Err(format!("a resource's kind or id is over {RESOURCE_TEXT_BYTES_MAX} bytes"));
    }
    let change = match resource.change {
        types::ResourceChange::Created => ResourceChange::Created,
        types::ResourceChange::Deleted => ResourceChange::Deleted,
    };
    Ok(OutsideResource { kind: resource.kind, id: resource.id, change })
}

/// The action's own failure.
pub(super) fn told(failure: types::Failure) -> Failure {
    match failure {
        types::Failure::Transient(failure) => Failure {
            reaction: Reaction::Transient { retry_after_ms: failure.retry_after_ms },
            problem: problem(failure.problem),
        },
        types::Failure::Permanent(told) => Failure { reaction: Reaction::Permanent, problem: problem(told) },
        types::Failure::Unknown(told) => Failure { reaction: Reaction::Unknown, problem: problem(told) },
    }
}

fn problem(problem: types::Problem) -> Problem {
    Problem {
        kind: cut(problem.type_, TITLE_BYTES_MAX),
        status: if (400..=599).contains(&problem.status) { problem.status } else { standard::RUNTIME.1 },
        title: cut(problem.title, TITLE_BYTES_MAX),
        detail: cut(problem.detail, DETAIL_BYTES_MAX),
    }
}

fn cut(mut text: String, bytes_max: usize) -> String {
    text.truncate(text.floor_char_boundary(bytes_max));
    text
}

/// A failure that the sandbox itself found, of a standard type.
pub(super) fn fault(reaction: Reaction, (segment, status): (&str, u16), title: &str, detail: String) -> Failure {
    let kind = format!("{}{segment}", standard::BASE);
    Failure { reaction, problem: Problem { kind, status, title: title.to_owned(), detail } }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(output: &str) -> types::Success {
        types::Success { output: output.to_owned(), receipt: None, resources: Vec::new() }
    }

    #[test]
    fn an_answer_to_another_phase_is_a_fault() {
        let run = Phase::Run(Json::Null);
        assert!(reply(handler::Reply::Undone, &run).is_err());
        assert!(reply(handler::Reply::Probed(handler::Finding::NotDone), &run).is_err());
        assert!(reply(handler::Reply::Succeeded(answer("1")), &Phase::Undo(Json::Null)).is_err());
        assert_eq!(reply(handler::Reply::Unsupported, &run), Ok(Reply::Unsupported));
    }

    #[test]
    fn an_answer_is_bounded_json() {
        let run = Phase::Run(Json::Null);
        let check = |output: &str, expected: bool| {
            assert_eq!(reply(handler::Reply::Succeeded(answer(output)), &run).is_ok(), expected);
        };
        check("{\"a\":[1]}", true);
        check("{\"a\":", false);
        check("", false);
        check("NaN", false);
        check(&"[".repeat(100_000), false);
        check(&format!("\"{}\"", "x".repeat(JSON_BYTES_MAX)), false);
    }

    #[test]
    fn a_failure_of_a_guest_is_bounded() {
        let long = types::Problem {
            type_: String::new(),
            status: 200,
            title: "ä".repeat(TITLE_BYTES_MAX),
            detail: "x".repeat(2 * DETAIL_BYTES_MAX),
        };
        let failure = told(types::Failure::Permanent(long));
        assert_eq!(failure.problem.status, 500);
        assert_eq!(failure.problem.title.len(), TITLE_BYTES_MAX);
        assert_eq!(failure.problem.detail.len(), DETAIL_BYTES_MAX);
    }
}
