//! The rules by which a record changes the state. Whatever the state does not allow is an error and changes nothing that
//! matters: the instance is not used any further. The same rules hold for live records and for recovered ones.

use std::sync::Arc;

use jiff::Timestamp;

use super::lanes::{branches, iterations};
use super::listening::{Heard, Listening};
use super::record::{ActivationId, Created, End, Entered, Outcome, Record, Stamped, Target};
use super::state::{
    Activation, Attempt, Block, BlockStage, Body, Inside, LedgerEntry, Loop, Stage, State, Token, WayOut, later,
    loop_of,
};
use crate::definition::graph::{Catch, NodeId, NodeKind, Program};
use crate::model::{ErrorObject, Failure, Json, Reaction, Success};

/// A record that its state does not allow: the history is damaged, or belongs to another program.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("apply record {seq} of the instance's history: {why}")]
pub struct ApplyError {
    /// The record's number.
    pub seq: u64,
    /// What does not fit.
    pub why: &'static str,
}

pub(super) type Legal = Result<(), &'static str>;

/// The Retry-After of a year is as good as never; keeps a guest's number from reaching the calendar's end.
const RETRY_AFTER_MS_MAX: u64 = 365 * 86_400_000;

impl State {
    /// Takes the next record.
    ///
    /// # Errors
    /// The record is not legal here; the state must not be used afterwards.
    pub fn apply(&mut self, program: &Program, stamped: &Stamped) -> Result<(), ApplyError> {
        let released = self.releases(program, &stamped.record);
        self.admit(stamped)
            .and_then(|()| self.change(program, stamped))
            .map_err(|why| ApplyError { seq: stamped.seq, why })?;
        self.seq = stamped.seq;
        self.at = stamped.at;
        self.released = released;
        Ok(())
    }

    /// Whether the record ends a shielded task, or is the first limit that such an end released.
    fn releases(&self, program: &Program, record: &Record) -> bool {
        let (Record::Left { activation, .. } | Record::Failed { activation, .. }) = record else { return false };
        let shielded = self.activations.get(activation).is_some_and(|live| program.node(live.node).shield);
        shielded || self.released && matches!(record, Record::Failed { .. })
    }

    fn admit(&self, stamped: &Stamped) -> Legal {
        if stamped.seq != self.seq + 1 {
            return Err("its number does not follow the one before");
        }
        match (self.stage, &stamped.record) {
            (Stage::Unborn, Record::Created(_)) => Ok(()),
            (Stage::Unborn, _) => Err("the history does not begin with the instance's creation"),
            (_, Record::Created(_)) => Err("the instance was created before"),
            (Stage::Created, Record::Started { .. } | Record::CancelAsked { .. } | Record::Ended { .. }) => Ok(()),
            (Stage::Created, _) => Err("the workflow has not started"),
            (_, Record::Started { .. }) => Err("the workflow was started before"),
            (Stage::Ended, Record::Reopened { .. }) => Ok(()),
            (Stage::Ended, _) => Err("the instance has ended"),
            (Stage::Running, _) => Ok(()),
        }
    }

    fn change(&mut self, program: &Program, stamped: &Stamped) -> Legal {
        let at = stamped.at;
        if let Record::Left { to: Target::Node(node), .. } = &stamped.record
            && node.0 as usize >= program.nodes.len()
        {
            return Err("it leads to a task that the workflow does not have");
        }
        match &stamped.record {
            Record::Created(created) => self.created(created, at),
            Record::Started { input, deadline } => self.started(program, input.as_ref(), *deadline),
            Record::Entered(entered) => self.entered(program, entered, at),
            Record::Skipped { node, parent, lane } => self.skipped(program, *node, *parent, *lane),
            Record::Intent { activation, attempt, key, arguments } => {
                self.intent(program, *activation, *attempt, key, arguments, at)
            }
            Record::ProbeIntent { activation, attempt, failure } => {
                self.probing(*activation, *attempt, failure.as_ref())
            }
            Record::Result { activation, attempt, outcome } => self.result(program, *activation, *attempt, outcome, at),
            Record::Checkpoint { activation, attempt, value } => self.checkpoint(*activation, *attempt, value),
            Record::SecretRevealed { activation, attempt, .. } => self.calling(*activation, *attempt).map(drop),
            Record::TimerSet { activation, due } => self.timer_set(program, *activation, *due),
            Record::TimerFired { activation } => self.timer_fired(program, *activation, at),
            Record::Collected { activation, items } => self.collected(program, *activation, items),
            Record::Iterated { activation, index } => self.iterated(program, *activation, *index),
            Record::Left { activation, output, context, to } => {
                self.left(*activation, output.as_ref(), context.as_ref(), *to)
            }
            Record::Failed { activation, error } => self.failed(*activation, error),
            Record::Retried { activation, retry, due, .. } => self.retried(program, *activation, *retry, *due, at),
            Record::Caught { activation, error } => self.caught(program, *activation, error),
            Record::Armed { activation, expects } => self.armed(program, *activation, expects, at),
            Record::Matched { activation, number, filter, until, ends, event, expects } => {
                self.consume(*number);
                let heard = Heard { fitted: (*until, *filter), over: *ends, event, expects };
                self.matched(*activation, heard)
            }
            Record::Handled { activation, output, context } => self.handled(*activation, output, context.as_ref()),
            Record::Emitted { activation, event } => self.emitted(program, *activation, event),
            Record::Suspended { .. } => self.suspend(at),
            Record::Resumed { .. } => self.resume(),
            Record::Reopened { .. } => self.reopen(at),
            Record::CancelAsked { .. } => self.cancel_asked(),
            Record::Ended { end } => self.ended(end),
        }
    }

    fn created(&mut self, created: &Created, at: Timestamp) -> Legal {
        self.stage = Stage::Created;
        self.created_at = at;
        self.raw = created.input.clone();
        Ok(())
    }

    fn started(&mut self, program: &Program, input: Option<&Arc<Json>>, deadline: Option<Timestamp>) -> Legal {
        self.stage = Stage::Running;
        self.deadline = deadline;
        let input = input.unwrap_or(&self.raw).clone();
        let node = program.scope(program.root).first;
        self.tokens.push_back(Token { parent: None, lane: None, node, input });
        Ok(())
    }

    fn entered(&mut self, program: &Program, entered: &Entered, at: Timestamp) -> Legal {
        if entered.activation.0 != self.activations_made + 1 {
            return Err("its activation's number does not follow the one before");
        }
        let token = self.take_token(entered.node, entered.parent, entered.lane)?;
        self.activations_made += 1;
        let input = entered.input.as_ref().unwrap_or(&token.input).clone();
        let body = match &program.node(token.node).kind {
            NodeKind::Scope(block) => {
                let first = program.scope(block.body).first;
                self.tokens.push_back(Token {
                    parent: Some(entered.activation),
                    lane: None,
                    node: first,
                    input: input.clone(),
                });
                Body::Block(Block {
                    stage: BlockStage::Body,
                    retries: 0,
                    tried_at: at,
                    limits: entered.limits,
                    inside: Inside::Running,
                })
            }
            NodeKind::Fork(fork) => {
                for (lane, branch) in (0..).zip(&fork.branches) {
                    let (parent, node) = (Some(entered.activation), program.scope(branch.body).first);
                    self.tokens.push_back(Token { parent, lane: Some(lane), node, input: input.clone() });
                }
                Body::Lanes(branches(fork))
            }
            _ => Body::Fresh,
        };
        let activation = Activation {
            id: entered.activation,
            parent: token.parent,
            lane: token.lane,
            node: token.node,
            raw: token.input,
            input,
            started_at: at,
            deadline: entered.deadline,
            body,
        };
        self.activations.insert(entered.activation, activation);
        Ok(())
    }

    fn skipped(&mut self, program: &Program, node: NodeId, parent: Option<ActivationId>, lane: Option<u64>) -> Legal {
        let token = self.take_token(node, parent, lane)?;
        let to = Target::from(program.node(node).next);
        self.go_on(parent, lane, to, token.input)
    }

    fn intent(
        &mut self,
        program: &Program,
        id: ActivationId,
        attempt: u32,
        key: &str,
        arguments: &Arc<Json>,
        at: Timestamp,
    ) -> Legal {
        let live = self.live_mut(id)?;
        if !matches!(program.node(live.node).kind, NodeKind::Act(_)) {
            return Err("only a call has an intent");
        }
        let (expected, checkpoint) = match &live.body {
            Body::Fresh => (1, None),
            Body::Interrupted(before) if *before.key == *key => (before.number + 1, before.checkpoint.clone()),
            Body::Interrupted(_) => return Err("the repeated attempt has another idempotency key"),
            _ => return Err("an attempt of the call is out or has ended"),
        };
        if attempt != expected {
            return Err("its attempt's number does not follow the one before");
        }
        let arguments = arguments.clone();
        live.body = Body::Calling(Attempt { number: attempt, key: key.into(), arguments, checkpoint, since: at });
        Ok(())
    }

    fn probing(&mut self, id: ActivationId, number: u32, failure: Option<&Failure>) -> Legal {
        let attempt = self.calling(id, number)?.clone();
        self.live_mut(id)?.body = Body::Probing { attempt, failure: failure.cloned() };
        Ok(())
    }

    fn result(&mut self, program: &Program, id: ActivationId, number: u32, outcome: &Outcome, at: Timestamp) -> Legal {
        let live = self.live_mut(id)?;
        let attempt = match &live.body {
            Body::Calling(attempt) | Body::Probing { attempt, .. } if attempt.number == number => attempt,
            _ => return Err("no such attempt is out"),
        };
        live.body = match outcome {
            Outcome::Ok(_) if is_detached(program, live.node) => Body::Done(live.input.clone()),
            Outcome::Ok(success) => Body::Done(Arc::new(success.output.clone())),
            Outcome::Failed(failure) => Body::Refused { failure: failure.clone(), at },
            Outcome::Interrupted => Body::Interrupted(attempt.clone()),
        };
        let node = live.node;
        if let Outcome::Ok(success) = outcome {
            self.note_in_ledger(id, node, success);
        }
        Ok(())
    }

    fn note_in_ledger(&mut self, activation: ActivationId, node: NodeId, success: &Success) {
        if success.receipt.is_some() || !success.resources.is_empty() {
            let (receipt, resources) = (success.receipt.clone(), success.resources.clone());
            self.ledger.push(LedgerEntry { activation, node, receipt, resources });
        }
    }

    fn checkpoint(&mut self, id: ActivationId, number: u32, value: &Arc<Json>) -> Legal {
        self.calling(id, number)?.checkpoint = Some(value.clone());
        Ok(())
    }

    fn timer_set(&mut self, program: &Program, id: ActivationId, due: Timestamp) -> Legal {
        let live = self.live_mut(id)?;
        match (&live.body, &program.node(live.node).kind) {
            (Body::Fresh, NodeKind::Timer(_)) => live.body = Body::Waiting(due),
            _ => return Err("only a `wait` that has just begun sets a timer"),
        }
        Ok(())
    }

    fn timer_fired(&mut self, program: &Program, id: ActivationId, at: Timestamp) -> Legal {
        let live = self.live_mut(id)?;
        match &mut live.body {
            Body::Waiting(_) => live.body = Body::Done(live.input.clone()),
            Body::Block(block) if matches!(block.stage, BlockStage::Delay(_)) => {
                block.stage = BlockStage::Body;
                block.tried_at = at;
                self.enter_body(program, id)?;
            }
            _ => return Err("the activation does not wait"),
        }
        Ok(())
    }

    fn collected(&mut self, program: &Program, id: ActivationId, items: &Arc<Vec<Json>>) -> Legal {
        let live = self.live_mut(id)?;
        if live.body != Body::Fresh || loop_of(program, live.node).is_none() {
            return Err("only a loop that has just begun collects its items");
        }
        live.body = match loop_of(program, live.node).and_then(|each| each.parallel) {
            Some(width) => Body::Lanes(iterations(items, width)),
            None => {
                Body::Loop(Loop { items: items.clone(), index: None, inside: Inside::Finished(live.input.clone()) })
            }
        };
        Ok(())
    }

    fn iterated(&mut self, program: &Program, id: ActivationId, index: u64) -> Legal {
        let live = self.live_mut(id)?;
        match live.body {
            Body::Lanes(_) => return self.lane_begun(program, id, index),
            Body::Listening(_) => return self.handling(program, id, index),
            _ => {}
        }
        let first = loop_of(program, live.node).map(|each| program.scope(each.body).first);
        let (Body::Loop(each), Some(node)) = (&mut live.body, first) else {
            return Err("only a loop has iterations");
        };
        if index != each.index.map_or(0, |before| before + 1) || index >= each.items.len() as u64 {
            return Err("its iteration does not follow the one before, or has no item");
        }
        let Inside::Finished(input) = std::mem::replace(&mut each.inside, Inside::Running) else {
            return Err("the iteration before has not ended well");
        };
        each.index = Some(index);
        self.tokens.push_back(Token { parent: Some(id), lane: None, node, input });
        Ok(())
    }

    fn left(&mut self, id: ActivationId, output: Option<&Arc<Json>>, context: Option<&Arc<Json>>, to: Target) -> Legal {
        let live = self.live_mut(id)?;
        if !live.may_leave() {
            return Err("the node's body has not ended well");
        }
        let output = output.cloned().unwrap_or_else(|| live.raw_output());
        let (parent, lane) = (live.parent, live.lane);
        self.remove(id);
        if let Some(context) = context {
            self.context = context.clone();
        }
        self.go_on(parent, lane, to, output)
    }

    fn failed(&mut self, id: ActivationId, error: &ErrorObject) -> Legal {
        self.keep_wreck(id);
        let live = self.live_mut(id)?;
        let (parent, lane, not_before) = (live.parent, live.lane, live.not_before());
        self.remove(id);
        let error = error.clone();
        match parent {
            Some(parent) => self.live_mut(parent)?.end_inside(lane, Inside::Broken { error, not_before })?,
            None => self.leave(WayOut::Failed(error)),
        }
        Ok(())
    }

    fn retried(
        &mut self,
        program: &Program,
        id: ActivationId,
        retry: u32,
        due: Option<Timestamp>,
        at: Timestamp,
    ) -> Legal {
        let (_, block) = self.broken_try(program, id)?;
        if retry != block.retries + 1 {
            return Err("its retry's number does not follow the one before");
        }
        block.retries = retry;
        block.inside = Inside::Running;
        block.tried_at = at;
        block.stage = due.map_or(BlockStage::Body, BlockStage::Delay);
        self.wreck = None;
        self.remove_children(id);
        if due.is_none() {
            self.enter_body(program, id)?;
        }
        Ok(())
    }

    fn caught(&mut self, program: &Program, id: ActivationId, error: &ErrorObject) -> Legal {
        let (catch, block) = self.broken_try(program, id)?;
        let handler = catch.handler;
        match handler {
            Some(_) => {
                block.stage = BlockStage::Handler(Arc::new(error.to_json()));
                block.inside = Inside::Running;
            }
            None => block.stage = BlockStage::Passed,
        }
        self.wreck = None;
        self.remove_children(id);
        let live = self.live_mut(id)?;
        let input = live.input.clone();
        match handler {
            Some(handler) => {
                self.tokens.push_back(Token {
                    parent: Some(id),
                    lane: None,
                    node: program.scope(handler).first,
                    input,
                });
            }
            None => *live.inside_mut()? = Inside::Finished(input),
        }
        Ok(())
    }

    fn cancel_asked(&mut self) -> Legal {
        if self.cancelling {
            return Err("cancelling was asked for before");
        }
        self.cancelling = true;
        Ok(())
    }

    fn ended(&mut self, end: &End) -> Legal {
        match end {
            End::Completed { .. } if !matches!(self.way_out, Some(WayOut::Done(_))) => {
                return Err("it completes although its work has not ended well");
            }
            End::Completed { .. } | End::Cancelled => self.wreck = None,
            // An error that is no task's, such as the workflow's own time limit: there is no task to go on from.
            End::Faulted { .. } if !matches!(self.way_out, Some(WayOut::Failed(_))) => self.wreck = None,
            _ => {}
        }
        match end {
            End::Cancelled if !self.cancelling => return Err("nobody asked to cancel it"),
            _ => {}
        }
        self.activations.clear();
        self.tokens.clear();
        self.way_out = None;
        self.stage = Stage::Ended;
        self.end = Some(end.clone());
        Ok(())
    }

    pub(super) fn live_mut(&mut self, id: ActivationId) -> Result<&mut Activation, &'static str> {
        self.activations.get_mut(&id).ok_or("its activation is not live")
    }

    fn calling(&mut self, id: ActivationId, number: u32) -> Result<&mut Attempt, &'static str> {
        match &mut self.live_mut(id)?.body {
            Body::Calling(attempt) if attempt.number == number => Ok(attempt),
            _ => Err("no such attempt is out"),
        }
    }

    /// The block of a try whose body failed, with its catch.
    fn broken_try<'p>(
        &mut self,
        program: &'p Program,
        id: ActivationId,
    ) -> Result<(&'p Catch, &mut Block), &'static str> {
        let live = self.live_mut(id)?;
        let NodeKind::Scope(declared) = &program.node(live.node).kind else {
            return Err("only a `try` retries and catches");
        };
        match (&declared.catch, &mut live.body) {
            (Some(catch), Body::Block(block))
                if block.stage == BlockStage::Body && matches!(block.inside, Inside::Broken { .. }) =>
            {
                Ok((catch, block))
            }
            _ => Err("only a `try` whose body failed retries and catches"),
        }
    }

    fn enter_body(&mut self, program: &Program, id: ActivationId) -> Legal {
        let live = self.live_mut(id)?;
        let NodeKind::Scope(block) = &program.node(live.node).kind else { return Err("the node has no body") };
        let token =
            Token { parent: Some(id), lane: None, node: program.scope(block.body).first, input: live.input.clone() };
        self.tokens.push_back(token);
        Ok(())
    }

    fn take_token(
        &mut self,
        node: NodeId,
        parent: Option<ActivationId>,
        lane: Option<u64>,
    ) -> Result<Token, &'static str> {
        let wanted = |token: &Token| token.node == node && token.parent == parent && token.lane == lane;
        let place = self.tokens.iter().position(wanted);
        place.and_then(|place| self.tokens.remove(place)).ok_or("control is not on its way to that node")
    }

    /// Moves control out of a node that is over.
    fn go_on(&mut self, parent: Option<ActivationId>, lane: Option<u64>, to: Target, output: Arc<Json>) -> Legal {
        match (to, parent) {
            (Target::Node(node), _) => self.tokens.push_back(Token { parent, lane, node, input: output }),
            (Target::Exit, Some(parent)) => self.live_mut(parent)?.end_inside(lane, Inside::Finished(output))?,
            (Target::Exit, None) | (Target::End, _) => self.leave(WayOut::Done(output)),
        }
        Ok(())
    }

    /// Leaves the root scope: whatever is still live is cancelled.
    fn leave(&mut self, way_out: WayOut) {
        self.activations.clear();
        self.tokens.clear();
        self.way_out = Some(way_out);
    }

    pub(super) fn remove(&mut self, id: ActivationId) {
        self.remove_children(id);
        self.activations.remove(&id);
    }

    /// A child is entered after its parent, so that one pass in order of numbers finds all descendants.
    fn remove_children(&mut self, id: ActivationId) {
        let mut gone = vec![id];
        for (child, live) in self.activations.range(id..) {
            if live.parent.is_some_and(|parent| gone.contains(&parent)) {
                gone.push(*child);
            }
        }
        self.tokens.retain(|token| !token.parent.is_some_and(|parent| gone.contains(&parent)));
        for child in &gone[1..] {
            self.activations.remove(child);
        }
    }
}

impl Activation {
    /// The scope inside it, or one of those side by side, has ended.
    fn end_inside(&mut self, lane: Option<u64>, inside: Inside) -> Legal {
        match (&mut self.body, lane) {
            (Body::Lanes(lanes), Some(lane)) => lanes.end(usize::try_from(lane).unwrap_or(usize::MAX), inside),
            (Body::Listening(Listening { inside: place @ Some(Inside::Running), .. }), None) => {
                *place = Some(inside);
                Ok(())
            }
            (_, None) => {
                *self.inside_mut()? = inside;
                Ok(())
            }
            _ => Err("it has no bodies side by side"),
        }
    }

    fn inside_mut(&mut self) -> Result<&mut Inside, &'static str> {
        match &mut self.body {
            Body::Loop(Loop { inside, .. }) | Body::Block(Block { inside, .. }) => Ok(inside),
            _ => Err("the node around it has no inside"),
        }
    }

    /// The earliest time at which trying again may help, as the call that failed said.
    fn not_before(&self) -> Option<Timestamp> {
        match &self.body {
            Body::Refused { failure: Failure { reaction: Reaction::Transient { retry_after_ms }, .. }, at } => {
                let pause = (*retry_after_ms)?.min(RETRY_AFTER_MS_MAX);
                Some(later(*at, jiff::SignedDuration::from_millis(i64::try_from(pause).unwrap_or(i64::MAX))))
            }
            Body::Loop(Loop { inside: Inside::Broken { not_before, .. }, .. })
            | Body::Block(Block { inside: Inside::Broken { not_before, .. }, .. })
            | Body::Listening(Listening { inside: Some(Inside::Broken { not_before, .. }), .. }) => *not_before,
            Body::Lanes(lanes) => lanes.not_before(),
            _ => None,
        }
    }
}

/// Whether the call's answer is not waited for.
fn is_detached(program: &Program, node: NodeId) -> bool {
    matches!(&program.node(node).kind, NodeKind::Act(act) if act.detached)
}
