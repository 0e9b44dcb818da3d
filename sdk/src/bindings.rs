//! The generated bindings of `wit/deps/pack-0.1.1/world.wit`, and the way between their types and this crate's. Only a component has
//! them; authors never see them.

wit_bindgen::generate!({
    path: "../wit",
    world: "orchestrator:pack/action@0.1.1",
    generate_all,
    pub_export_macro: true,
    default_bindings_module: "orchestrator_sdk::bindings",
});

use std::time::Duration;

use exports::orchestrator::action::handler;
use orchestrator::action::types;

use crate::action::{Finding, Invocation, Phase, Reply, Success};
use crate::{Change, Error, Reaction};

/// Serves one call with the component's own `serve`.
pub fn serve(
    invocation: handler::Invocation,
    serve: fn(Invocation) -> Result<Reply, Error>,
) -> Result<handler::Reply, types::Failure> {
    serve(invocation_in(invocation)).map(reply_out).map_err(failure_out)
}

fn invocation_in(invocation: handler::Invocation) -> Invocation {
    Invocation {
        action: invocation.action,
        phase: match invocation.phase {
            handler::Phase::Run(input) => Phase::Run(input),
            handler::Phase::Probe(input) => Phase::Probe(input),
            handler::Phase::Undo(receipt) => Phase::Undo(receipt),
        },
        instance: invocation.instance,
        task: invocation.task,
        idempotency_key: invocation.idempotency_key,
        attempt: invocation.attempt,
        timeout: Duration::from_millis(invocation.timeout_ms),
        checkpoint: invocation.checkpoint,
    }
}

fn reply_out(reply: Reply) -> handler::Reply {
    match reply {
        Reply::Succeeded(success) => handler::Reply::Succeeded(success_out(success)),
        Reply::Probed(Finding::Done(success)) => handler::Reply::Probed(handler::Finding::Done(success_out(success))),
        Reply::Probed(Finding::NotDone) => handler::Reply::Probed(handler::Finding::NotDone),
        Reply::Probed(Finding::Unknown) => handler::Reply::Probed(handler::Finding::Unknown),
        Reply::Undone => handler::Reply::Undone,
        Reply::Unsupported => handler::Reply::Unsupported,
    }
}

fn success_out(success: Success) -> types::Success {
    let resources = success
        .resources
        .into_iter()
        .map(|resource| types::OutsideResource {
            kind: resource.kind,
            id: resource.id,
            change: match resource.change {
                Change::Created => types::ResourceChange::Created,
                Change::Deleted => types::ResourceChange::Deleted,
            },
        })
        .collect();
    types::Success { output: success.output, receipt: success.receipt, resources }
}

fn failure_out(Error { reaction, problem }: Error) -> types::Failure {
    let problem =
        types::Problem { type_: problem.kind, status: problem.status, title: problem.title, detail: problem.detail };
    match reaction {
        Reaction::Transient { retry_after } => types::Failure::Transient(types::TransientFailure {
            problem,
            retry_after_ms: retry_after.map(|after| u64::try_from(after.as_millis()).unwrap_or(u64::MAX)),
        }),
        Reaction::Permanent => types::Failure::Permanent(problem),
        Reaction::Unknown => types::Failure::Unknown(problem),
    }
}
