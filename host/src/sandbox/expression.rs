//! jq in the sandbox: the evaluator component, kept in warm instances with their compiled programs. Plain paths and
//! literals never get here. Expressions are untrusted: time, memory and stack are bounded, and an instance that trapped
//! is dropped. The component is `host/expression-guest`, compiled by the build script and embedded.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use wasmtime::component::{Component, Linker, ResourceAny};
use wasmtime::{Engine, ResourceLimiter, Store, Trap};

use super::ticker::TICK;
use super::{Sandbox, SandboxError};
use crate::definition::evaluate::{Bindings, Evaluate, ExpressionError};
use crate::definition::expression::literal;
use crate::definition::graph::{Expression, PlainPath, Program};
use crate::definition::path;
use crate::model::{Digest, Json};

mod bindings {
    wasmtime::component::bindgen!({ path: "expression-guest/wit", world: "expression" });
}
use bindings::exports::orchestrator::expression::evaluator::Error as GuestError;

/// The evaluator as a component.
const COMPONENT: &[u8] = include_bytes!(env!("EXPRESSION_WASM"));

/// How long one expression may run. Real ones take microseconds; a second is for large data on a busy machine.
const TIME_MAX: Duration = Duration::from_secs(1);
/// The linear memory of an instance: about twenty times the largest input that is sensible in a workflow.
const MEMORY_BYTES_MAX: usize = 64 << 20;
/// An instance that has grown beyond this is not kept: its memory never shrinks again.
const KEPT_MEMORY_BYTES_MAX: usize = 16 << 20;
/// Instances that are kept warm. More evaluations at once than this make theirs and drop it.
const KEPT_MAX: usize = 4;
/// Programs that an instance keeps, about 60 kB each where they compiled; with one more it starts anew.
const PROGRAMS_MAX: usize = 128;
/// Input beyond this is expected to take long, bytes of JSON text.
const QUICK_BYTES_MAX: usize = 64 << 10;
/// A program that once took longer than this counts as slow.
const QUICK_TIME_MAX: Duration = Duration::from_millis(1);
/// What is told of an expression, and of a value in its error; the whole may be megabytes.
const SHOWN_CHARS_MAX: usize = 200;
/// Of that, what is told of the end.
const SHOWN_END_CHARS: usize = 50;

/// Computes expressions in the sandbox.
pub struct Expressions {
    sandbox: Arc<Sandbox>,
    prepared: bindings::ExpressionPre<Limits>,
    kept: Mutex<Vec<Instance>>,
}

impl Expressions {
    /// Prepares the evaluator; its machine code comes from the sandbox's cache, after the first time. Takes seconds that
    /// first time: not for an async thread.
    ///
    /// # Errors
    /// The component cannot be compiled on this machine.
    pub fn new(sandbox: &Arc<Sandbox>) -> Result<Arc<Self>, SandboxError> {
        let digest = Digest::of(COMPONENT);
        let component = sandbox.compile(digest, COMPONENT)?;
        let prepared = prepare(sandbox.engine(), &component)
            .map_err(|error| SandboxError::Component { digest, reason: format!("{error:#}") })?;
        Ok(Arc::new(Self { sandbox: sandbox.clone(), prepared, kept: Mutex::default() }))
    }

    fn take(&self) -> wasmtime::Result<Instance> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).pop();
        match kept {
            Some(instance) => Ok(instance),
            None => Instance::new(self.sandbox.engine(), &self.prepared),
        }
    }

    fn keep(&self, instance: Instance) {
        if instance.store.data().memory_bytes > KEPT_MEMORY_BYTES_MAX {
            return;
        }
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < KEPT_MAX {
            kept.push(instance);
        }
    }

    /// Runs `work` on an instance, which is kept only if nothing trapped.
    fn with<T>(
        &self,
        quick: impl FnOnce(&Instance) -> bool,
        work: impl FnOnce(&mut Instance) -> wasmtime::Result<Result<T, GuestError>>,
    ) -> Result<T, String> {
        let _ticking = self.sandbox.ticking();
        let mut instance = self.take().map_err(|error| format!("the evaluator cannot start: {error:#}"))?;
        let ticks = TIME_MAX.as_millis().div_ceil(TICK.as_millis());
        instance.store.set_epoch_deadline(u64::try_from(ticks).unwrap_or(u64::MAX));
        let quick = quick(&instance);
        let outcome = if quick { work(&mut instance) } else { aside(|| work(&mut instance)) };
        match outcome {
            Ok(answer) => {
                self.keep(instance);
                answer.map_err(|error| told(&error))
            }
            Err(trap) => Err(instance.store.data().reason(&trap)),
        }
    }

    /// The value of a jq program, computed in the sandbox whatever the program is.
    ///
    /// # Errors
    /// Those of [`Evaluate::evaluate`], without the place in the definition.
    pub fn compute(&self, text: &str, bindings: &Bindings<'_>) -> Result<Json, String> {
        let written = |value: &Json| serde_json::to_string(value).map_err(|error| error.to_string());
        let names: Vec<&str> = bindings.variables.iter().map(|(name, _)| *name).collect();
        let input = written(&bindings.input)?;
        let values = bindings.variables.iter().map(|(_, value)| written(value)).collect::<Result<Vec<_>, _>>()?;
        let bytes = values.iter().fold(input.len(), |sum, value| sum + value.len());
        let output = self.with(
            |instance| bytes <= QUICK_BYTES_MAX && instance.known(text, &names).is_some_and(|known| !known.slow),
            |instance| instance.evaluate(text, &names, &input, &values, bindings.now_ms),
        )?;
        serde_json::from_str(&output).map_err(|error| format!("its result is not JSON that can be kept: {error}"))
    }
}

impl Expressions {
    /// The value of an expression: natively where it is a plain path or a literal, else in the sandbox.
    ///
    /// # Errors
    /// Those of [`Evaluate::evaluate`].
    pub fn answer(&self, expression: &Expression, bindings: &Bindings<'_>) -> Result<Json, ExpressionError> {
        let text = expression.text.as_str();
        let value = match &expression.path {
            Some(path) => native(path, bindings),
            None => literal(text).map_or_else(|| self.compute(text, bindings), Ok),
        };
        value.map_err(|message| ExpressionError {
            message: shortened(&message),
            text: shortened(text),
            pointer: expression.pointer.clone(),
        })
    }
}

impl Evaluate for Expressions {
    fn evaluate(
        &self,
        _program: &Program,
        expression: &Expression,
        bindings: &Bindings<'_>,
    ) -> Result<Json, ExpressionError> {
        self.answer(expression, bindings)
    }

    fn check(&self, text: &str, variables: &[&str]) -> Result<(), String> {
        self.with(|_| false, |instance| instance.program(text, variables).map(|program| program.map(drop)))
    }
}

/// The standard library of the target imports WASI. Of it, hash maps ask for a seed, and get a constant one: a program's
/// answer must not depend on chance, and a guest that floods its own map only spends its own second. Whatever calls
/// anything else, traps.
fn prepare(engine: &Engine, component: &Component) -> wasmtime::Result<bindings::ExpressionPre<Limits>> {
    let mut linker = Linker::new(engine);
    let imports = component.component_type();
    if let Some((seed, _)) = imports.imports(engine).find(|(name, _)| name.starts_with("wasi:random/insecure-seed@")) {
        linker.instance(seed)?.func_wrap("insecure-seed", |_, ()| Ok(((0_u64, 0_u64),)))?;
    }
    linker.define_unknown_imports_as_traps(component)?;
    bindings::ExpressionPre::new(linker.instantiate_pre(component)?)
}

/// A plain path, without the sandbox.
fn native(path: &PlainPath, bindings: &Bindings<'_>) -> Result<Json, String> {
    let start: &Json = match path.root.as_deref() {
        None => &bindings.input,
        Some(root) => {
            let bound = bindings.variables.iter().find(|(name, _)| *name == root);
            &bound.ok_or_else(|| format!("there is no variable `${root}`"))?.1
        }
    };
    path::walk(&path.steps, start).map(|found| found.cloned().unwrap_or(Json::Null))
}

/// Work that may take long does not hold up the other tasks of a tokio worker.
fn aside<T>(work: impl FnOnce() -> T) -> T {
    use tokio::runtime::{Handle, RuntimeFlavor};
    let on_worker = Handle::try_current().is_ok_and(|handle| handle.runtime_flavor() == RuntimeFlavor::MultiThread);
    if on_worker { tokio::task::block_in_place(work) } else { work() }
}

/// What is known of a program. Texts that are none are known as well: in loose mode most texts are tried and are none.
struct Known {
    variables: Vec<String>,
    program: Result<ResourceAny, GuestError>,
    slow: bool,
}

/// A running evaluator.
struct Instance {
    store: Store<Limits>,
    guest: bindings::Expression,
    /// By their texts; the same text may be compiled for different variables.
    programs: HashMap<String, Vec<Known>>,
    count: usize,
}

impl Instance {
    fn new(engine: &Engine, prepared: &bindings::ExpressionPre<Limits>) -> wasmtime::Result<Self> {
        let mut store = Store::new(engine, Limits::default());
        store.limiter(|limits| limits);
        // Instantiating runs no code of a program; the deadline of each piece of work is set before it.
        store.set_epoch_deadline(u64::from(u32::MAX));
        let guest = prepared.instantiate(&mut store)?;
        Ok(Self { store, guest, programs: HashMap::new(), count: 0 })
    }

    fn known(&self, text: &str, variables: &[&str]) -> Option<&Known> {
        self.programs.get(text)?.iter().find(|known| known.variables == variables)
    }

    fn program(&mut self, text: &str, variables: &[&str]) -> wasmtime::Result<Result<ResourceAny, GuestError>> {
        if let Some(known) = self.known(text, variables) {
            return Ok(known.program.clone());
        }
        if self.count >= PROGRAMS_MAX {
            self.forget()?;
        }
        let names: Vec<String> = variables.iter().map(|name| format!("${name}")).collect();
        let compiled =
            self.guest.orchestrator_expression_evaluator().program().call_compile(&mut self.store, text, &names)?;
        let variables = variables.iter().map(|name| (*name).to_owned()).collect();
        let known = Known { variables, program: compiled.clone(), slow: false };
        self.programs.entry(text.to_owned()).or_default().push(known);
        self.count += 1;
        Ok(compiled)
    }

    fn forget(&mut self) -> wasmtime::Result<()> {
        let known = std::mem::take(&mut self.programs).into_values().flatten();
        for program in known.filter_map(|known| known.program.ok()) {
            program.resource_drop(&mut self.store)?;
        }
        self.count = 0;
        Ok(())
    }

    fn evaluate(
        &mut self,
        text: &str,
        variables: &[&str],
        input: &str,
        values: &[String],
        now_ms: u64,
    ) -> wasmtime::Result<Result<String, GuestError>> {
        let program = match self.program(text, variables)? {
            Ok(program) => program,
            Err(error) => return Ok(Err(error)),
        };
        let started = Instant::now();
        let guest = self.guest.orchestrator_expression_evaluator();
        let outcome = guest.program().call_evaluate(&mut self.store, program, input, values, now_ms)?;
        if started.elapsed() > QUICK_TIME_MAX
            && let Some(known) = self.programs.get_mut(text)
        {
            known.iter_mut().for_each(|known| known.slow = true);
        }
        Ok(outcome)
    }
}

/// The bounds of an instance's memory, and what came of them.
#[derive(Default)]
struct Limits {
    memory_bytes: usize,
    denied: bool,
}

impl Limits {
    /// Why a trap came, in words for the author of the expression.
    fn reason(&self, error: &wasmtime::Error) -> String {
        match error.downcast_ref::<Trap>() {
            _ if self.denied => format!("it needs more than {} MiB of memory", MEMORY_BYTES_MAX >> 20),
            Some(Trap::Interrupt) => format!("it did not end within {} s", TIME_MAX.as_secs()),
            Some(Trap::StackOverflow | Trap::MemoryOutOfBounds) => "it recurses too deep".to_owned(),
            Some(trap) => format!("it was stopped: {trap}"),
            None => format!("it was stopped: {}", error.root_cause()),
        }
    }
}

impl ResourceLimiter for Limits {
    fn memory_growing(&mut self, _current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let allowed = desired <= MEMORY_BYTES_MAX;
        if allowed {
            self.memory_bytes = desired;
        }
        self.denied |= !allowed;
        Ok(allowed)
    }

    fn table_growing(&mut self, _current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        // The component's own table never grows; a few thousand entries are what it has.
        Ok(desired <= 10_000)
    }
}

fn told(error: &GuestError) -> String {
    match error {
        GuestError::Syntax(syntax) => format!("{} (at byte {} of it)", syntax.message, syntax.offset),
        GuestError::Runtime(message) => message.clone(),
        GuestError::Results(0) => "it gives no result where one is needed".to_owned(),
        GuestError::Results(_) => "it gives several results where one is needed; collect them with `[ … ]`".to_owned(),
        GuestError::NotJson(what) => format!("its result holds {what}, which is not JSON"),
    }
}

/// The text, or its start and its end.
fn shortened(text: &str) -> String {
    let count = text.chars().count();
    if count <= SHOWN_CHARS_MAX {
        return text.to_owned();
    }
    let start: String = text.chars().take(SHOWN_CHARS_MAX - SHOWN_END_CHARS).collect();
    let end: String = text.chars().skip(count - SHOWN_END_CHARS).collect();
    format!("{start}…{end}")
}

#[cfg(test)]
mod tests;
