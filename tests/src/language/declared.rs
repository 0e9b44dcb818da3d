//! What the cases' workflows may call, and who computes their expressions: one evaluator for the whole process, which
//! remembers its answers, because the same expressions are computed again in every run of a case.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use anyhow::Context as _;
use jiff::SignedDuration;
use orchestrator_host::definition::evaluate::{Bindings, Evaluate, ExpressionError};
use orchestrator_host::definition::graph::{ActionRef, Expression, Program};
use orchestrator_host::definition::{ActionDeclaration, Actions, LookupError};
use orchestrator_host::model::{ActionName, Digest, Effect, Json, PackName};
use orchestrator_host::sandbox::expression::Expressions;
use orchestrator_host::sandbox::{Sandbox, SandboxConfig};
use serde_json::json;

/// The actions of the pack `test` 1.0.0 (and, the same, of `other` 2.1.0): name, effect, whether it has a probe.
const ACTIONS: [(&str, Effect, bool); 7] = [
    ("echo", Effect::Idempotent, false),
    ("flaky", Effect::Idempotent, false),
    ("one", Effect::Once, false),
    ("two", Effect::Idempotent, false),
    ("three", Effect::Idempotent, false),
    ("probed", Effect::Once, true),
    ("steps", Effect::Resumable, false),
];

/// The packs `test` 1.0.0 and `other` 2.1.0.
pub struct Declared;

impl Actions for Declared {
    fn action(
        &self,
        pack: Option<&PackName>,
        version: Option<&semver::Version>,
        name: &ActionName,
    ) -> Result<ActionDeclaration, LookupError> {
        let pack = pack.cloned().unwrap_or_else(|| PackName::parse("test").expect("`test` is a name"));
        let own = match pack.as_str() {
            "test" => semver::Version::new(1, 0, 0),
            "other" => semver::Version::new(2, 1, 0),
            _ => return Err(LookupError::Pack { pack, known: vec!["test".to_owned(), "other".to_owned()] }),
        };
        if let Some(version) = version.filter(|version| **version != own) {
            return Err(LookupError::Version { pack, version: version.clone(), known: vec![own.to_string()] });
        }
        let Some((_, effect, probe)) = ACTIONS.into_iter().find(|(known, _, _)| *known == name.as_str()) else {
            let known = ACTIONS.map(|(known, _, _)| known.to_owned()).to_vec();
            return Err(LookupError::Action { pack, action: name.clone(), known });
        };
        Ok(declaration(pack, own, name, effect, probe))
    }
}

/// `two` takes an object with a number `n`; `three` gives one. All else takes and gives anything.
fn declaration(
    pack: PackName,
    version: semver::Version,
    name: &ActionName,
    effect: Effect,
    probe: bool,
) -> ActionDeclaration {
    let schema = json!({ "type": "object", "required": ["n"], "properties": { "n": { "type": "integer" } } });
    let only = |which: &str| (name.as_str() == which).then(|| Arc::new(schema.clone()));
    ActionDeclaration {
        action: ActionRef { pack, version, action: name.clone(), component: Digest::of(name.as_str().as_bytes()) },
        effect,
        timeout: SignedDuration::from_hours(1_000),
        input: only("two"),
        output: only("three"),
        probe,
        undo: false,
    }
}

type Known<K, V> = Mutex<HashMap<K, V>>;

/// The real evaluator with a memory: it is a function, so that an answer stays true.
pub struct Remembering {
    real: Arc<Expressions>,
    values: Known<String, Result<Json, ExpressionError>>,
    checks: Known<String, Result<(), String>>,
}

/// The evaluator of this process.
///
/// # Errors
/// The sandbox cannot be set up.
pub fn evaluator() -> anyhow::Result<Arc<Remembering>> {
    static EVALUATOR: OnceLock<Result<Arc<Remembering>, String>> = OnceLock::new();
    let made = EVALUATOR.get_or_init(|| Remembering::new().map(Arc::new).map_err(|error| format!("{error:#}")));
    made.clone().map_err(anyhow::Error::msg)
}

impl Remembering {
    fn new() -> anyhow::Result<Self> {
        let config = SandboxConfig {
            cache_dir: cache_dir()?,
            cache_key: [7; 32],
            memory_bytes_max: SandboxConfig::MEMORY_BYTES_MAX,
            attempts_max: 8,
        };
        let real = Expressions::new(&Sandbox::new(config)?)?;
        Ok(Self { real, values: Mutex::default(), checks: Mutex::default() })
    }
}

/// Compiled components stay beside the built programs, so that only the first run compiles them.
fn cache_dir() -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe()?;
    Ok(program.parent().context("a program lies in a folder")?.join("language-cache"))
}

fn recalled<V: Clone>(known: &Known<String, V>, key: String, make: impl FnOnce() -> V) -> V {
    if let Some(value) = known.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
        return value.clone();
    }
    let value = make();
    known.lock().unwrap_or_else(PoisonError::into_inner).insert(key, value.clone());
    value
}

impl Evaluate for Remembering {
    fn evaluate(
        &self,
        program: &Program,
        expression: &Expression,
        bindings: &Bindings<'_>,
    ) -> Result<Json, ExpressionError> {
        if expression.path.is_some() {
            return self.real.evaluate(program, expression, bindings);
        }
        let now = if expression.text.contains("now") { bindings.now_ms } else { 0 };
        let mut key = format!("{}\0{}\0{now}\0{}", expression.pointer, expression.text, bindings.input);
        for (name, value) in &bindings.variables {
            key.push_str(&format!("\0{name}\0{value}"));
        }
        recalled(&self.values, key, || self.real.evaluate(program, expression, bindings))
    }

    fn check(&self, text: &str, variables: &[&str]) -> Result<(), String> {
        recalled(&self.checks, format!("{text}\0{}", variables.join("\0")), || self.real.check(text, variables))
    }
}
