//! Calls: the intent, the result, and what becomes of an attempt whose outcome is unknown.

use std::sync::Arc;

use sha2::Digest as _;

use super::{Found, Turn};
use crate::definition::graph::{Act, NodeKind};
use crate::machine::record::{ActivationId, Outcome, Record};
use crate::machine::state::{Activation, Attempt, Body};
use crate::model::{Effect, ErrorObject, Failure, InstanceId, Problem, Reaction, Success};

/// The idempotency key of an activation's call: the same for every attempt, another one for each iteration, each retry
/// and each return to the node. It has the form of a UUID (version 8), which the most outside systems accept.
pub fn key(instance: InstanceId, activation: ActivationId) -> String {
    let mut hash = sha2::Sha256::new();
    hash.update(instance.0.as_bytes());
    hash.update(activation.0.to_be_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.finalize()[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid().to_string()
}

/// The attempt after an interrupted one.
pub(super) fn again(live: &Activation, before: &Attempt) -> Record {
    Record::Intent {
        activation: live.id,
        attempt: before.number + 1,
        key: before.key.to_string(),
        arguments: before.arguments.clone(),
    }
}

impl Turn<'_> {
    /// A call's first attempt.
    pub(super) fn call(&self, live: &Activation, act: &Act) -> Result<Record, ErrorObject> {
        let place = self.place(live);
        let arguments = Arc::new(place.template(&act.arguments, &live.input)?);
        place.check(act.input_schema, &arguments, "what is passed to the action")?;
        Ok(Record::Intent { activation: live.id, attempt: 1, key: key(self.state.id, live.id), arguments })
    }

    pub(super) fn if_calling(&mut self, activation: ActivationId, attempt: u32, record: Record) {
        if self.calling(activation, attempt).is_some() {
            self.push(record);
        }
    }

    pub(super) fn result_arrived(&mut self, activation: ActivationId, attempt: u32, result: Result<Success, Failure>) {
        let Some(act) = self.calling(activation, attempt) else { return };
        let record = match result {
            Err(failure) if failure.reaction == Reaction::Unknown && act.probe => {
                Record::ProbeIntent { activation, attempt, failure: Some(failure) }
            }
            Err(failure) => ended(activation, attempt, Outcome::Failed(failure)),
            Ok(success) => ended(activation, attempt, Outcome::Ok(success)),
        };
        self.push(record);
    }

    pub(super) fn probe_answered(&mut self, activation: ActivationId, attempt: u32, found: Found) {
        let Some(Body::Probing { attempt: asked, failure }) = self.body(activation) else { return };
        if asked.number != attempt {
            return;
        }
        let outcome = match (found, failure) {
            (Found::Done(success), _) => Outcome::Ok(success),
            // The server stopped during the attempt, and nothing had happened: it is simply made again.
            (Found::NotDone, None) => Outcome::Interrupted,
            // The action itself failed, and now it is certain that without effect: the workflow decides.
            (Found::NotDone, Some(failure)) => Outcome::Failed(Failure {
                reaction: Reaction::Transient { retry_after_ms: None },
                problem: failure.problem.clone(),
            }),
            (Found::Unknown(why), failure) => Outcome::Failed(outcome_unknown(&why, failure.as_ref())),
        };
        self.push(ended(activation, attempt, outcome));
    }

    /// After a restart: every attempt that was out is lost. A probe may simply be asked again.
    pub(in crate::machine) fn resume_calls(&mut self) {
        let lost: Vec<_> = self.state.errands().filter(|errand| !errand.probe).collect();
        for errand in lost {
            let (activation, attempt) = (errand.activation, errand.attempt);
            let Some(act) = self.calling(activation, attempt) else { continue };
            let record = match act.effect {
                Effect::Idempotent | Effect::Resumable => ended(activation, attempt, Outcome::Interrupted),
                Effect::Once if act.probe => Record::ProbeIntent { activation, attempt, failure: None },
                Effect::Once => {
                    let why = "the server stopped during the attempt and the action has no probe";
                    ended(activation, attempt, Outcome::Failed(outcome_unknown(why, None)))
                }
            };
            self.push(record);
        }
    }

    fn body(&self, activation: ActivationId) -> Option<&Body> {
        self.state.activations.get(&activation).map(|live| &live.body)
    }

    /// What is declared of the call, while that attempt at it is out.
    fn calling(&self, activation: ActivationId, attempt: u32) -> Option<&Act> {
        let live = self.state.activations.get(&activation)?;
        match (&live.body, &self.program.node(live.node).kind) {
            (Body::Calling(out), NodeKind::Act(act)) if out.number == attempt => Some(act),
            _ => None,
        }
    }
}

fn ended(activation: ActivationId, attempt: u32, outcome: Outcome) -> Record {
    Record::Result { activation, attempt, outcome }
}

/// The failure of a call of which nobody knows whether it took effect.
fn outcome_unknown(why: &str, failure: Option<&Failure>) -> Failure {
    let detail = match failure {
        Some(failure) => format!("{}: {}; {why}", failure.problem.title, failure.problem.detail),
        None => format!("{why}; look outside whether it took effect before it is done again"),
    };
    let problem = Problem { kind: String::new(), status: 500, title: "outcome unknown".to_owned(), detail };
    Failure { reaction: Reaction::Unknown, problem }
}
