//! One attempt: a fresh `wasmtime::Store`, one call, and what came of it as a reply or a failure.

use wasmtime::{Engine, Store, Trap};

use super::convert::{fault, invocation, reply, told};
use super::state::State;
use super::{Invocation, Reply};
use crate::capability::LogLevel;
use crate::capability::wit::ActionPre;
use crate::model::{Failure, Reaction, standard};

/// A trap's backtrace in the attempt's log, bytes; enough for some dozens of frames.
const BACKTRACE_BYTES_MAX: usize = 8 << 10;

/// Runs the call to its end or its deadline. Dropping the future drops the guest wherever it stands.
pub(super) async fn run(
    engine: &Engine,
    action: &ActionPre<State>,
    call: &Invocation,
    state: State,
) -> Result<Reply, Failure> {
    let mut store = Store::new(engine, state);
    store.limiter(|state| &mut state.limits);
    store.set_epoch_deadline(1);
    store.epoch_deadline_async_yield_and_update(1);
    let sent = invocation(call);
    let outcome = tokio::time::timeout(call.timeout, async {
        let action = action.instantiate_async(&mut store).await?;
        action.orchestrator_action_handler().call_run(&mut store, &sent).await
    })
    .await;
    let result = match outcome {
        Ok(Ok(Ok(answered))) => {
            reply(answered, &call.phase).map_err(|text| guest_fault(&store, "invalid answer", text))
        }
        Ok(Ok(Err(failure))) => Err(told(failure)),
        Ok(Err(error)) => Err(trapped(&store, &error)),
        Err(_) => Err(too_late(&store, call)),
    };
    store.data().guest.log.finish();
    result
}

fn effect_possible(store: &Store<State>) -> bool {
    let guest = &store.data().guest;
    guest.http.may_have_had_effect() || guest.mail.may_have_had_effect()
}

/// A fault of the guest: trying again would show it again, unless it is open what the outside did.
fn guest_fault(store: &Store<State>, title: &str, detail: String) -> Failure {
    let reaction = if effect_possible(store) { Reaction::Unknown } else { Reaction::Permanent };
    fault(reaction, standard::RUNTIME, title, detail)
}

fn too_late(store: &Store<State>, call: &Invocation) -> Failure {
    let reaction = match effect_possible(store) {
        true => Reaction::Unknown,
        false => Reaction::Transient { retry_after_ms: None },
    };
    let detail = format!("action `{}` did not end within {} ms", call.action, call.timeout.as_millis());
    fault(reaction, standard::TIMEOUT, "timeout", detail)
}

fn trapped(store: &Store<State>, error: &wasmtime::Error) -> Failure {
    if error.is::<wasmtime::PoolConcurrencyLimitError>() {
        // Not the guest's fault, and nothing ran.
        let reaction = Reaction::Transient { retry_after_ms: Some(100) };
        return fault(reaction, standard::RUNTIME, "no place", "all places of the sandbox are taken".to_owned());
    }
    let backtrace = format!("{error:?}");
    let shown = &backtrace[..backtrace.floor_char_boundary(BACKTRACE_BYTES_MAX)];
    store.data().guest.log.write(LogLevel::Error, shown);
    let detail = cause(store, error);
    guest_fault(store, "the action broke", detail)
}

fn cause(store: &Store<State>, error: &wasmtime::Error) -> String {
    if store.data().limits.memory_refused {
        return "it ran out of memory and stopped; give it less to do at once".to_owned();
    }
    if let Some(exit) = error.downcast_ref::<wasmtime_wasi::I32Exit>() {
        return format!("it exited with code {} instead of answering", exit.0);
    }
    match error.downcast_ref::<Trap>() {
        // Compilers keep part of the stack in linear memory, with nothing below it.
        Some(Trap::StackOverflow) => "its stack overflowed; look for a recursion without end".to_owned(),
        Some(Trap::MemoryOutOfBounds) => {
            "it left its memory; look for a recursion without end, or for `unsafe` code".to_owned()
        }
        Some(Trap::UnreachableCodeReached) => "it panicked or aborted; the attempt's log has its message".to_owned(),
        Some(trap) => format!("it trapped: {trap}"),
        None => format!("it could not be run: {}", error.root_cause()),
    }
}
