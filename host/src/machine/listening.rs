//! Events: what a `listen` has heard, and how records about events change the state.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::apply::Legal;
use super::record::ActivationId;
use super::state::{Body, CONSUMED_MAX, Inside, State, Token};
use super::values::reading;
use crate::definition::graph::{Listen, NodeId, NodeKind, Program};
use crate::model::Json;

/// What a `listen` has heard.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Listening {
    pub(super) since: Timestamp,
    /// What correlations expect, by key.
    pub(super) expects: BTreeMap<String, Json>,
    /// What was consumed and is part of the output, in order of arrival.
    pub(super) events: Vec<Arc<Json>>,
    /// The filters that were fitted, and those of `until`.
    pub(super) fitted: BTreeSet<(bool, u32)>,
    /// Nothing more is listened for.
    pub(super) over: bool,
    /// What `foreach` made of the first events.
    pub(super) outputs: Vec<Arc<Json>>,
    /// Whether the next event is with the body of `foreach`, and how that went.
    pub(super) inside: Option<Inside>,
    /// Whether there is a `foreach`.
    pub(super) each: bool,
}

impl Listening {
    pub(super) fn is_ready(&self) -> bool {
        match &self.inside {
            Some(Inside::Running) => false,
            Some(_) => true,
            None => self.over || (self.each && self.outputs.len() < self.events.len()),
        }
    }
}

/// An event that fits.
pub(super) struct Heard<'a> {
    pub(super) fitted: (bool, u32),
    pub(super) over: bool,
    pub(super) event: &'a Arc<Json>,
    pub(super) expects: &'a BTreeMap<String, Json>,
}

impl State {
    pub(super) fn armed(
        &mut self,
        program: &Program,
        id: ActivationId,
        expects: &BTreeMap<String, Json>,
        at: Timestamp,
    ) -> Legal {
        let live = self.live_mut(id)?;
        let (Body::Fresh, Some(listen)) = (&live.body, listen_of(program, live.node)) else {
            return Err("only a `listen` that has just begun listens");
        };
        live.body = Body::Listening(Listening {
            since: at,
            expects: expects.clone(),
            events: Vec::new(),
            fitted: BTreeSet::new(),
            over: false,
            outputs: Vec::new(),
            inside: None,
            each: listen.foreach.is_some(),
        });
        Ok(())
    }

    /// What the correlations of a live activation that listens expect, by key.
    pub fn expects_of(&self, id: ActivationId) -> &BTreeMap<String, Json> {
        static NOTHING: BTreeMap<String, Json> = BTreeMap::new();
        match self.activations.get(&id).map(|live| &live.body) {
            Some(Body::Listening(listening)) => &listening.expects,
            _ => &NOTHING,
        }
    }

    /// No activation sees the event again.
    pub(super) fn consume(&mut self, number: u64) {
        self.consumed.insert(number);
        while self.consumed.len() > CONSUMED_MAX {
            self.consumed.pop_first();
        }
    }

    pub(super) fn matched(&mut self, id: ActivationId, heard: Heard<'_>) -> Legal {
        let listening = self.listening(id)?;
        if listening.over {
            return Err("it listens no more");
        }
        let (until, _) = heard.fitted;
        listening.fitted.insert(heard.fitted);
        listening.expects.extend(heard.expects.iter().map(|(key, value)| (key.clone(), value.clone())));
        if !until {
            listening.events.push(heard.event.clone());
        }
        listening.over = heard.over;
        Ok(())
    }

    /// The body of `foreach` begins with the next event.
    pub(super) fn handling(&mut self, program: &Program, id: ActivationId, index: u64) -> Legal {
        let live = self.live_mut(id)?;
        let Some(listen) = listen_of(program, live.node) else { return Err("it is no `listen`") };
        let Some(body) = listen.foreach.as_ref().and_then(|each| each.body) else { return Err("it has no `foreach`") };
        let Body::Listening(listening) = &mut live.body else { return Err("it does not listen") };
        let next = listening.outputs.len();
        let Some(event) = listening.events.get(next).filter(|_| index == next as u64 && listening.inside.is_none())
        else {
            return Err("it is not the next event");
        };
        let input = Arc::new(reading(event, listen.read));
        listening.inside = Some(Inside::Running);
        let node = program.scope(body).first;
        self.tokens.push_back(Token { parent: Some(id), lane: None, node, input });
        Ok(())
    }

    pub(super) fn handled(&mut self, id: ActivationId, output: &Arc<Json>, context: Option<&Arc<Json>>) -> Legal {
        let listening = self.listening(id)?;
        if listening.outputs.len() >= listening.events.len() || listening.inside == Some(Inside::Running) {
            return Err("no event was handled");
        }
        listening.inside = None;
        listening.outputs.push(output.clone());
        if let Some(context) = context {
            self.context = context.clone();
        }
        Ok(())
    }

    pub(super) fn emitted(&mut self, program: &Program, id: ActivationId, event: &Arc<Json>) -> Legal {
        let live = self.live_mut(id)?;
        match (&live.body, &program.node(live.node).kind) {
            (Body::Fresh, NodeKind::Emit(_)) => live.body = Body::Done(event.clone()),
            _ => return Err("only an `emit` that has just begun publishes"),
        }
        Ok(())
    }

    fn listening(&mut self, id: ActivationId) -> Result<&mut Listening, &'static str> {
        match &mut self.live_mut(id)?.body {
            Body::Listening(listening) => Ok(listening),
            _ => Err("it does not listen"),
        }
    }
}

/// The `listen` of a node.
pub(super) fn listen_of(program: &Program, node: NodeId) -> Option<&Listen> {
    match &program.node(node).kind {
        NodeKind::Listen(listen) => Some(listen),
        _ => None,
    }
}
