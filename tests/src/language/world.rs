//! The outside of a case: who was called, with which key, and what came back. It remembers what it did by key, as an
//! outside system that honours idempotency keys does, and counts how often it was made to do it.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use orchestrator_host::definition::graph::Callee;
use orchestrator_host::machine::record::ActivationId;
use orchestrator_host::model::{Effect, Failure, Problem, Reaction, Success, standard};
use serde_json::Value as Json;

use super::case::{Case, Fails, Reply, duration};

/// The outside.
#[derive(Clone)]
pub struct World {
    script: Vec<Reply>,
    /// By key.
    pub calls: BTreeMap<String, Called>,
}

/// A call, with what it gets.
#[derive(Clone)]
pub struct Called {
    /// Who was called.
    pub label: String,
    /// Which activation called.
    pub activation: Option<ActivationId>,
    /// How the call may be repeated.
    pub effect: Effect,
    /// When it was first made.
    pub since: Timestamp,
    /// When it is answered; never, where it hangs.
    pub ready: Option<Timestamp>,
    /// What it gets.
    pub reply: Result<Success, Failure>,
    /// How often the outside was made to do it.
    pub performed: u32,
}

/// A call as the world sees it.
pub struct Asked<'a> {
    /// The idempotency key.
    pub key: &'a str,
    /// The callee.
    pub callee: &'a Callee,
    /// What is passed.
    pub arguments: &'a Json,
    /// The name of the calling task.
    pub task: &'a str,
    /// The activation, where it is known.
    pub activation: Option<ActivationId>,
    /// How the call may be repeated.
    pub effect: Effect,
    /// When.
    pub at: Timestamp,
}

impl World {
    /// The outside of a case before anything happened.
    pub fn new(case: &Case) -> Self {
        Self { script: case.outside.clone(), calls: BTreeMap::new() }
    }

    /// Takes note of a call, and of what it will get; a key that is known gets what it got before. `otherwise` says
    /// what a call gets that no reply was written for.
    pub fn note(&mut self, asked: &Asked<'_>, otherwise: impl FnOnce() -> Reply) -> &mut Called {
        let label = label(asked.callee, asked.arguments);
        if !self.calls.contains_key(asked.key) {
            let reply = self.pick(&label, asked.task).unwrap_or_else(otherwise);
            let takes = reply.takes.as_deref().and_then(|takes| duration(takes).ok()).unwrap_or(SignedDuration::ZERO);
            let called = Called {
                label,
                activation: asked.activation,
                effect: asked.effect,
                since: asked.at,
                ready: (!reply.hangs).then(|| asked.at + takes),
                reply: outcome(&reply, asked.callee),
                performed: 0,
            };
            self.calls.insert(asked.key.to_owned(), called);
        }
        self.calls.get_mut(asked.key).expect("it was just put in")
    }

    fn pick(&mut self, label: &str, task: &str) -> Option<Reply> {
        let fits = |reply: &Reply| {
            let to = reply.to.as_deref().is_none_or(|to| match to.strip_suffix('…') {
                Some(start) => label.starts_with(start),
                None => label == to,
            });
            to && reply.task.as_deref().is_none_or(|wanted| wanted == task)
        };
        let place = self.script.iter().position(fits)?;
        Some(if self.script[place].always { self.script[place].clone() } else { self.script.remove(place) })
    }

    /// What has taken effect, by key: what fails or hangs has none.
    pub fn effects(&self) -> BTreeMap<&str, &str> {
        let done = self.calls.iter().filter(|(_, call)| call.performed > 0 && call.takes_effect());
        done.map(|(key, call)| (key.as_str(), call.label.as_str())).collect()
    }

    /// Calls that may be made once and were made more often.
    pub fn repeated(&self) -> Vec<String> {
        let more =
            self.calls.values().filter(|call| call.effect == Effect::Once && call.performed > 1 && call.takes_effect());
        more.map(|call| format!("{} was done {} times", call.label, call.performed)).collect()
    }
}

impl Called {
    fn takes_effect(&self) -> bool {
        self.reply.is_ok() && self.ready.is_some()
    }
}

/// Gives back what it was passed.
pub fn echo(arguments: &Json) -> Reply {
    Reply { gives: Some(arguments.clone()), ..Reply::default() }
}

/// How a case names a callee: `echo`, `other/echo`, `GET https://x/pets`, `openapi listPets`, `workflow test/child`.
pub fn label(callee: &Callee, arguments: &Json) -> String {
    let text = |name: &str| arguments[name].as_str().unwrap_or("?").to_owned();
    match callee {
        Callee::Action(action) if action.pack.as_str() == "test" => action.action.to_string(),
        Callee::Action(action) => format!("{}/{}", action.pack, action.action),
        Callee::Http => format!("{} {}", text("method").to_uppercase(), text("endpoint")),
        Callee::OpenApi => format!("openapi {}", text("operationId")),
        Callee::Workflow { namespace, name, .. } => format!("workflow {namespace}/{name}"),
    }
}

fn outcome(reply: &Reply, callee: &Callee) -> Result<Success, Failure> {
    match &reply.fails {
        Some(fails) => Err(failure(fails, callee)),
        None => Ok(Success { output: reply.gives.clone().unwrap_or_default(), ..Success::default() }),
    }
}

fn failure(fails: &Fails, callee: &Callee) -> Failure {
    let default = if matches!(callee, Callee::Http | Callee::OpenApi) { "communication" } else { "" };
    let kind = match fails.kind.as_deref().unwrap_or(default) {
        "" => String::new(),
        word if !word.contains(':') => format!("{}{word}", standard::BASE),
        whole => whole.to_owned(),
    };
    let reaction = match fails.reaction.as_deref() {
        Some("transient") => Reaction::Transient { retry_after_ms: fails.retry_after },
        Some("unknown") => Reaction::Unknown,
        _ => Reaction::Permanent,
    };
    let title = fails.title.clone().unwrap_or_else(|| "it failed".to_owned());
    Failure {
        reaction,
        problem: Problem { kind, status: fails.status, title, detail: fails.detail.clone().unwrap_or_default() },
    }
}
