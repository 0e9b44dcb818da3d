//! The outside of a case: who was called, with which key, and what came back. It remembers what it did by key, as an
//! outside system that honours idempotency keys does, and counts how often it was made to do it.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use orchestrator_host::coordinator::perform::Finding;
use orchestrator_host::definition::graph::Callee;
use orchestrator_host::machine::record::ActivationId;
use orchestrator_host::model::{Effect, Failure, Problem, Reaction, Success, sealed, standard};
use serde_json::Value as Json;

use super::case::{Case, Fails, Reply, duration};

/// The outside.
#[derive(Clone)]
pub struct World {
    script: Vec<Reply>,
    secrets: BTreeMap<String, String>,
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
    /// The caller was told how it ended, or found out.
    pub answered: bool,
    /// What an attempt stores before it answers.
    pub checkpoints: Vec<Json>,
    /// The checkpoint on its way into the journal.
    pub saving: Option<Json>,
    /// The last checkpoint that was stored.
    pub saved: Option<Json>,
    /// What a probe finds, where it is not the truth.
    pub probe: Option<Finding>,
    /// The label and the arguments as they leave.
    pub opened: (String, Json),
    /// What it was given that it must not have been.
    pub wrong: Vec<String>,
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
        Self { script: case.outside.clone(), secrets: case.secrets.clone(), calls: BTreeMap::new() }
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
                answered: false,
                checkpoints: reply.saves.clone(),
                saving: None,
                saved: None,
                probe: finding(&reply),
                opened: self.open(asked),
                wrong: Vec::new(),
            };
            self.calls.insert(asked.key.to_owned(), called);
        }
        self.calls.get_mut(asked.key).expect("it was just put in")
    }

    /// The call as it leaves, with what is sealed in it opened.
    fn open(&self, asked: &Asked<'_>) -> (String, Json) {
        let reveal = |name: &str| self.secrets.get(name).cloned().ok_or(());
        let opened = open(asked.arguments, &reveal).unwrap_or_default();
        (label(asked.callee, &opened), opened)
    }

    /// The calls as they left.
    pub fn opened(&self) -> Vec<(String, Json)> {
        self.calls.values().filter(|call| call.performed > 0).map(|call| call.opened.clone()).collect()
    }

    /// What callers did that they must not.
    pub fn complaints(&self) -> Vec<String> {
        self.repeated().into_iter().chain(self.calls.values().flat_map(|call| call.wrong.clone())).collect()
    }

    /// The calls that took effect and whose caller knows it, in order of their labels.
    pub fn known_effects(&self) -> Vec<String> {
        let known = self.calls.values().filter(|call| call.performed > 0 && call.answered && call.takes_effect());
        let mut labels: Vec<_> = known.map(|call| call.label.clone()).collect();
        labels.sort();
        labels
    }

    /// The server broke down: what was on its way to the outside and not answered has arrived, or has not.
    pub fn break_down(&mut self, arrived: bool, now: Timestamp) {
        for called in self.calls.values_mut().filter(|called| !called.answered) {
            let under_way = called.ready.is_none_or(|ready| ready > now);
            if !arrived && under_way {
                called.performed = 0;
            }
        }
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
    /// An attempt begins with a checkpoint: the last one that was stored, or the one whose storing nobody could tell of.
    pub fn resumed_from(&mut self, checkpoint: Option<&Json>) {
        let unanswered = self.saving.is_some() && checkpoint == self.saving.as_ref();
        if checkpoint != self.saved.as_ref() && !unanswered {
            let (got, label) = (checkpoint.map(Json::to_string), &self.label);
            self.wrong.push(format!("{label} got the checkpoint {got:?}, and the last one was {:?}", self.saved));
        }
        self.saved = checkpoint.cloned();
        self.saving = None;
    }

    /// What a probe finds.
    pub fn found(&mut self) -> Finding {
        let found = match (&self.probe, &self.reply, self.performed) {
            (Some(found), ..) => found.clone(),
            (None, Ok(success), 1..) => Finding::Done(success.clone()),
            _ => Finding::NotDone,
        };
        self.answered |= matches!(found, Finding::Done(_));
        found
    }

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

/// Data with every sealed reference opened.
fn open(value: &Json, reveal: &dyn Fn(&str) -> Result<String, ()>) -> Result<Json, ()> {
    Ok(match value {
        Json::String(text) => Json::from(sealed::unseal(text, reveal)?),
        Json::Array(items) => items.iter().map(|item| open(item, reveal)).collect::<Result<_, _>>()?,
        Json::Object(members) => {
            let opened = members.iter().map(|(name, value)| Ok((name.clone(), open(value, reveal)?)));
            Json::Object(opened.collect::<Result<_, ()>>()?)
        }
        plain => plain.clone(),
    })
}

fn finding(reply: &Reply) -> Option<Finding> {
    match reply.probe.as_deref()? {
        "done" => Some(Finding::Done(Success { output: reply.found.clone(), ..Success::default() })),
        "not-done" => Some(Finding::NotDone),
        _ => Some(Finding::Unknown),
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
