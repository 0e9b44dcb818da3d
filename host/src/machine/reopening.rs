//! A faulted instance that goes on from the task that failed: what stood around that task when it failed is kept while the
//! error passes outwards, and put back when somebody asks for it. The task begins anew, as a new activation with a key of
//! its own. What ran beside it and was dropped is taken up as after a restart. Limits are moved by the time in between.

use std::collections::{BTreeMap, VecDeque};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::apply::Legal;
use super::lanes::Lane;
use super::listening::Listening;
use super::next::Turn;
use super::record::{ActivationId, End, Record};
use super::state::{Activation, Block, Body, Inside, Loop, Stage, State, Token, later};

/// What stood when a task failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Wreck {
    failed: ActivationId,
    activations: BTreeMap<ActivationId, Activation>,
    tokens: VecDeque<Token>,
}

/// So many activations, branches and iterations are kept, at most: failures that are caught in a large loop would cost the
/// square of its size otherwise.
const KEPT_MAX: usize = 1_000;

impl State {
    /// Whether it faulted and can go on from the task that failed.
    pub fn can_be_reopened(&self) -> bool {
        matches!(self.end, Some(End::Faulted { .. })) && self.wreck.is_some()
    }

    /// Keeps what stands before a task fails, unless the task only passes an error on.
    pub(super) fn keep_wreck(&mut self, id: ActivationId) {
        if self.activations.get(&id).is_none_or(Activation::passes_on) {
            return;
        }
        let size: usize = self.activations.values().map(Activation::size).sum();
        self.wreck = (size <= KEPT_MAX).then(|| {
            let (activations, tokens) = (self.activations.clone(), self.tokens.clone());
            Box::new(Wreck { failed: id, activations, tokens })
        });
    }

    pub(super) fn reopen(&mut self, at: Timestamp) -> Legal {
        if !matches!(self.end, Some(End::Faulted { .. })) {
            return Err("only a faulted instance goes on from where it failed");
        }
        let Some(wreck) = self.wreck.take() else { return Err("no task of it failed") };
        let Wreck { failed, activations, tokens } = *wreck;
        (self.activations, self.tokens) = (activations, tokens);
        let Some(live) = self.activations.get(&failed) else { return Err("the task that failed is not known") };
        let again = Token { parent: live.parent, lane: live.lane, node: live.node, input: live.raw.clone() };
        self.remove(failed);
        self.tokens.push_back(again);
        self.move_limits(at.duration_since(self.at));
        self.stage = Stage::Running;
        self.end = None;
        self.cancelling = false;
        self.suspended = None;
        Ok(())
    }

    fn move_limits(&mut self, by: SignedDuration) {
        self.deadline = self.deadline.map(|due| later(due, by));
        for live in self.activations.values_mut() {
            live.deadline = live.deadline.map(|due| later(due, by));
            live.started_at = later(live.started_at, by);
            if let Body::Block(block) = &mut live.body {
                block.tried_at = later(block.tried_at, by);
            }
        }
    }
}

impl Activation {
    /// What it takes to copy it.
    fn size(&self) -> usize {
        match &self.body {
            Body::Lanes(lanes) => 1 + lanes.lanes.len(),
            Body::Listening(listening) => 1 + listening.events.len(),
            _ => 1,
        }
    }

    /// Whether something inside it has failed, so that its own failure is that one's.
    fn passes_on(&self) -> bool {
        let broken = |inside: &Inside| matches!(inside, Inside::Broken { .. });
        match &self.body {
            Body::Loop(Loop { inside, .. }) | Body::Block(Block { inside, .. }) => broken(inside),
            Body::Listening(Listening { inside: Some(inside), .. }) => broken(inside),
            Body::Lanes(lanes) => lanes.lanes.iter().any(|lane| matches!(lane, Lane::Broken { .. })),
            _ => false,
        }
    }
}

impl Turn<'_> {
    pub(super) fn retry_requested(&mut self, by: Option<String>) {
        if self.state.can_be_reopened() {
            self.push(Record::Reopened { by });
            self.resume_calls();
        }
    }
}
