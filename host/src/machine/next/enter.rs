//! Into a node: `if`, the raw input's schema, `input.from`, the deadline.

use std::sync::Arc;

use super::Turn;
use crate::definition::graph::{Frame, NodeId, NodeKind};
use crate::machine::record::{ActivationId, Entered, Record, TryLimits};
use crate::machine::state::{Token, later};
use crate::machine::values::{Place, Task};
use crate::model::{ErrorObject, Json};

impl Turn<'_> {
    /// Enters the node, or skips it. Where that fails, the node counts as entered, so that the error has a task.
    pub(super) fn enter(&self, token: &Token) -> Vec<Record> {
        let activation = ActivationId(self.state.activations_made + 1);
        let (parent, lane, node) = (token.parent, token.lane, token.node);
        let mut entered = Entered { activation, parent, lane, node, input: None, deadline: None, limits: None };
        match self.pass_gate(token, &mut entered) {
            Ok(true) => vec![Record::Entered(entered)],
            Ok(false) => vec![Record::Skipped { node, parent, lane }],
            Err(error) => vec![Record::Entered(entered), Record::Failed { activation, error }],
        }
    }

    /// Whether the node's body is to run; fills in what it runs with.
    fn pass_gate(&self, token: &Token, entered: &mut Entered) -> Result<bool, ErrorObject> {
        let frame: &Frame = &self.program.node(token.node).frame;
        let task = Task {
            node: token.node,
            started_at: self.moment.now,
            raw: &token.input,
            input: None,
            raw_output: None,
            output: None,
        };
        let place = Place { around: token.parent, lane: token.lane, task: Some(task), ..self.root_place() };
        if let Some(condition) = frame.condition
            && !place.holds(condition, &token.input)?
        {
            return Ok(false);
        }
        place.check(frame.input_schema, &token.input, "the task's input")?;
        if let Some(from) = &frame.input_from {
            entered.input = Some(Arc::new(place.template(from, &token.input)?));
        }
        let input = entered.input.as_ref().unwrap_or(&token.input);
        let place = Place { task: Some(Task { input: Some(input), ..task }), ..place };
        if let Some(timeout) = frame.timeout {
            entered.deadline = Some(later(self.moment.now, place.duration(timeout, input)?));
        }
        entered.limits = self.computed_limits(&place, token.node, input)?;
        Ok(true)
    }

    /// What the limits of a try give, where they are expressions.
    fn computed_limits(&self, place: &Place<'_>, node: NodeId, input: &Json) -> Result<Option<TryLimits>, ErrorObject> {
        let NodeKind::Scope(block) = &self.program.node(node).kind else { return Ok(None) };
        let Some(retry) = block.catch.as_ref().and_then(|catch| catch.retry.as_ref()) else { return Ok(None) };
        let declared = [retry.attempt_duration, retry.total_duration];
        if declared.iter().flatten().all(|limit| limit.fixed().is_some()) {
            return Ok(None);
        }
        let [attempt, total] = declared.map(|limit| limit.map(|limit| place.duration(limit, input)).transpose());
        Ok(Some(TryLimits { attempt: attempt?, total: total? }))
    }
}
