//! From plain functions to the one export of an action component.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::context::Left;
use crate::{Context, Error, Json, Reaction, Resource};

/// What a probe found out about an earlier run with the same idempotency key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding<T> {
    /// It took effect; this is what the run would have answered.
    Done(T),
    /// It did not take effect: running is safe.
    NotDone,
    /// It cannot be told.
    Unknown,
}

type Run = fn(&Context, &str) -> Result<String, Error>;
type Probe = fn(&Context, &str) -> Result<Finding<String>, Error>;
type Undo = fn(&Context, &str) -> Result<(), Error>;

/// One action of a component, as `export_actions!` registers it: functions from JSON text to JSON text.
#[derive(Debug, Clone, Copy)]
pub struct Action {
    name: &'static str,
    run: Run,
    probe: Option<Probe>,
    undo: Option<Undo>,
}

impl Action {
    /// An action with neither probe nor undo.
    pub fn new(name: &'static str, run: Run) -> Self {
        Self { name, run, probe: None, undo: None }
    }

    /// Adds how to find out whether a run took effect.
    #[must_use]
    pub fn with_probe(self, probe: Probe) -> Self {
        Self { probe: Some(probe), ..self }
    }

    /// Adds how to take back what a run did.
    #[must_use]
    pub fn with_undo(self, undo: Undo) -> Self {
        Self { undo: Some(undo), ..self }
    }
}

/// Which part of an action's contract is asked for, with its JSON text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// Do it; carries the input.
    Run(String),
    /// Find out whether it was done; carries that run's input.
    Probe(String),
    /// Take it back; carries that run's receipt.
    Undo(String),
}

/// One call of an action, as the host makes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invocation {
    /// The action's name.
    pub action: String,
    /// What to do.
    pub phase: Phase,
    /// See [`Context::instance`].
    pub instance: String,
    /// See [`Context::task`].
    pub task: String,
    /// See [`Context::idempotency_key`].
    pub idempotency_key: String,
    /// See [`Context::attempt`].
    pub attempt: u32,
    /// See [`Context::timeout`].
    pub timeout: Duration,
    /// JSON text; see [`Context::checkpoint`].
    pub checkpoint: Option<String>,
}

/// What a call gives back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// To `run`.
    Succeeded(Success),
    /// To `probe`.
    Probed(Finding<Success>),
    /// To `undo`.
    Undone,
    /// The component serves this action but not this phase.
    Unsupported,
}

/// What a successful run gives back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Success {
    /// The output, JSON text.
    pub output: String,
    /// The receipt for `undo`, JSON text.
    pub receipt: Option<String>,
    /// Outside resources made or removed.
    pub resources: Vec<Resource>,
}

/// Serves one call.
///
/// # Errors
/// The action's own, and permanent ones: an action the component does not have (`runtime` 500), an input or receipt
/// that does not fit its type (`validation` 400).
pub fn serve(actions: &[Action], invocation: Invocation) -> Result<Reply, Error> {
    let action = actions.iter().find(|action| action.name == invocation.action).ok_or_else(|| {
        let names: Vec<_> = actions.iter().map(|action| action.name).collect();
        let detail = format!("the component has no action `{}`; it has {}", invocation.action, names.join(", "));
        Error::permanent(detail)
    })?;
    let ctx = context(&invocation)?;
    match &invocation.phase {
        Phase::Run(input) => Ok(Reply::Succeeded(success(&ctx, (action.run)(&ctx, input)?))),
        Phase::Probe(input) => {
            let Some(probe) = action.probe else { return Ok(Reply::Unsupported) };
            Ok(Reply::Probed(match probe(&ctx, input)? {
                Finding::Done(output) => Finding::Done(success(&ctx, output)),
                Finding::NotDone => Finding::NotDone,
                Finding::Unknown => Finding::Unknown,
            }))
        }
        Phase::Undo(receipt) => {
            let Some(undo) = action.undo else { return Ok(Reply::Unsupported) };
            undo(&ctx, receipt)?;
            Ok(Reply::Undone)
        }
    }
}

fn context(invocation: &Invocation) -> Result<Context, Error> {
    let checkpoint = invocation.checkpoint.as_deref().map(serde_json::from_str::<Json>).transpose()?;
    Ok(Context {
        instance: invocation.instance.clone(),
        task: invocation.task.clone(),
        idempotency_key: invocation.idempotency_key.clone(),
        attempt: invocation.attempt,
        timeout: invocation.timeout,
        checkpoint,
        left: Default::default(),
    })
}

fn success(ctx: &Context, output: String) -> Success {
    let Left { receipt, resources } = ctx.left.take();
    Success { output, receipt: receipt.map(|receipt| receipt.to_string()), resources }
}

/// Runs a typed function on JSON text.
#[doc(hidden)]
pub fn run<I, O>(ctx: &Context, input: &str, run: impl FnOnce(&Context, I) -> Result<O, Error>) -> Result<String, Error>
where
    I: DeserializeOwned,
    O: Serialize,
{
    write_output(&run(ctx, read("input", input)?)?)
}

/// Runs a typed probe on JSON text.
#[doc(hidden)]
pub fn probe<I, O>(
    ctx: &Context,
    input: &str,
    probe: impl FnOnce(&Context, I) -> Result<Finding<O>, Error>,
) -> Result<Finding<String>, Error>
where
    I: DeserializeOwned,
    O: Serialize,
{
    Ok(match probe(ctx, read("input", input)?)? {
        Finding::Done(output) => Finding::Done(write_output(&output)?),
        Finding::NotDone => Finding::NotDone,
        Finding::Unknown => Finding::Unknown,
    })
}

/// Runs a typed undo on JSON text.
#[doc(hidden)]
pub fn undo<R: DeserializeOwned>(
    ctx: &Context,
    receipt: &str,
    undo: impl FnOnce(&Context, R) -> Result<(), Error>,
) -> Result<(), Error> {
    undo(ctx, read("receipt", receipt)?)
}

fn read<T: DeserializeOwned>(what: &str, text: &str) -> Result<T, Error> {
    serde_json::from_str(text).map_err(|e| Error::validation(format!("the {what} does not fit the action: {e}")))
}

/// An output that cannot be written is a fault of the action after its work is done, so whether to run again is unknown.
fn write_output<O: Serialize>(output: &O) -> Result<String, Error> {
    serde_json::to_string(output).map_err(|e| {
        let mut error = Error::permanent(format!("the action's output cannot be written as JSON: {e}"));
        error.reaction = Reaction::Unknown;
        error
    })
}

/// Makes a component's one export out of functions. Each entry is `"name" => function`, or
/// `"name" => { run: function, probe: function, undo: function }` with `probe` and `undo` optional, in this order.
///
/// Outside of a component build nothing is exported (component export names break a native `cdylib`), but
/// `serve_action(invocation)` is there in both, so that tests can call an action by its name.
///
/// ```
/// use orchestrator_sdk::{Context, Error, Finding, Json, export_actions, json};
///
/// fn greet(_: &Context, name: String) -> Result<Json, Error> { Ok(json!({"hello": name})) }
/// fn greeted(_: &Context, _: String) -> Result<Finding<Json>, Error> { Ok(Finding::NotDone) }
/// fn forget(_: &Context, _: Json) -> Result<(), Error> { Ok(()) }
///
/// export_actions! {
///     "greet" => greet,
///     "greet-carefully" => { run: greet, probe: greeted, undo: forget },
/// }
/// ```
#[macro_export]
macro_rules! export_actions {
    ($($entries:tt)*) => {
        /// The component's actions.
        fn __orchestrator_actions() -> ::std::vec::Vec<$crate::action::Action> {
            let mut actions = ::std::vec::Vec::new();
            $crate::__register_actions!(actions; $($entries)*);
            actions
        }

        /// Serves one call of one of this component's actions.
        ///
        /// # Errors
        /// The action's own, and those of [`orchestrator_sdk::action::serve`].
        pub fn serve_action(
            invocation: $crate::action::Invocation,
        ) -> ::std::result::Result<$crate::action::Reply, $crate::Error> {
            $crate::action::serve(&__orchestrator_actions(), invocation)
        }

        $crate::__export_component!();
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __register_actions {
    ($actions:ident;) => {};
    ($actions:ident; $name:literal => {
        run: $run:path $(, probe: $probe:path)? $(, undo: $undo:path)? $(,)?
    } $(, $($rest:tt)*)?) => {
        $actions.push(
            $crate::action::Action::new($name, |ctx, json| $crate::action::run(ctx, json, $run))
                $(.with_probe(|ctx, json| $crate::action::probe(ctx, json, $probe)))?
                $(.with_undo(|ctx, json| $crate::action::undo(ctx, json, $undo)))?,
        );
        $crate::__register_actions!($actions; $($($rest)*)?);
    };
    ($actions:ident; $name:literal => $run:path $(, $($rest:tt)*)?) => {
        $actions.push($crate::action::Action::new($name, |ctx, json| $crate::action::run(ctx, json, $run)));
        $crate::__register_actions!($actions; $($($rest)*)?);
    };
}

#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
#[macro_export]
macro_rules! __export_component {
    () => {
        const _: () = {
            struct Component;
            impl $crate::bindings::exports::orchestrator::action::handler::Guest for Component {
                fn run(
                    invocation: $crate::bindings::exports::orchestrator::action::handler::Invocation,
                ) -> ::std::result::Result<
                    $crate::bindings::exports::orchestrator::action::handler::Reply,
                    $crate::bindings::exports::orchestrator::action::handler::Failure,
                > {
                    $crate::bindings::serve(invocation, serve_action)
                }
            }
    $crate::bindings::export!(Component with_types_in $crate::bindings);
        };
    };
}

#[cfg(not(target_arch = "wasm32"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __export_component {
    () => {};
}
