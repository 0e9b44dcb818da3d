//! A node's body: how it begins, how a loop goes on, and the way out through `output` and `export`.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::json;

use super::{Turn, chained, in_handler};
use crate::definition::graph::{Each, Flow, NodeKind, Raise, Way};
use crate::machine::record::{Record, Target};
use crate::machine::state::{Activation, Block, Loop, later, loop_of};
use crate::machine::values::{Place, Task};
use crate::model::{ErrorObject, Json, standard};

impl Turn<'_> {
    /// The first step of a body.
    pub(super) fn begin(&self, live: &Activation) -> Result<Record, ErrorObject> {
        let node = self.program.node(live.node);
        let place = self.place(live);
        match &node.kind {
            NodeKind::Act(act) => self.call(live, act),
            NodeKind::Eval(template) => {
                self.leave(live, &Arc::new(place.template(template, &live.input)?), true, node.then)
            }
            NodeKind::Route(ways) => {
                let flow = self.choose(live, ways)?.unwrap_or(node.then);
                self.leave(live, &live.input, false, flow)
            }
            NodeKind::Each(each) => self.collect(live, each),
            NodeKind::Timer(duration) => {
                let due = later(self.moment.now, place.duration(*duration, &live.input)?);
                Ok(Record::TimerSet { activation: live.id, due })
            }
            NodeKind::Raise(raise) => Err(self.raised(live, raise)?),
            NodeKind::Scope(_) => unreachable!("a block's body begins as it is entered"),
            NodeKind::Fork(_) => unreachable!("the branches begin as their fork is entered"),
            NodeKind::Listen(listen) => self.arm(live, listen),
            NodeKind::Emit(template) => self.emit(live, template),
            NodeKind::Recall => {
                let around = live.parent.and_then(|id| self.state.activations.get(&id));
                let input = around.map_or(&live.input, |around| &around.input);
                self.leave(live, input, true, node.then)
            }
        }
    }

    /// The first case that holds; the default where none does.
    fn choose(&self, live: &Activation, ways: &[Way]) -> Result<Option<Flow>, ErrorObject> {
        let place = self.place(live);
        for way in ways {
            if let Some(guard) = way.guard
                && place.holds(guard, &live.input)?
            {
                return Ok(Some(way.flow));
            }
        }
        Ok(ways.iter().find(|way| way.guard.is_none()).map(|way| way.flow))
    }

    fn raised(&self, live: &Activation, raise: &Raise) -> Result<ErrorObject, ErrorObject> {
        let place = self.place(live);
        let value = match raise {
            Raise::Error(template) => place.template(template, &live.input)?,
            Raise::Again(expression) => place.value(*expression, &live.input)?,
        };
        let read = serde_json::from_value(value);
        let error = read.map_err(|why| {
            let detail = format!("what is raised is no error object: {why}; give at least `type` and `status`");
            place.error(standard::CONFIGURATION, "raise an error object", detail)
        })?;
        Ok(place.placed(error))
    }

    fn collect(&self, live: &Activation, each: &Each) -> Result<Record, ErrorObject> {
        let place = self.place(live);
        match place.template(&each.items, &live.input)? {
            Json::Array(items) => Ok(Record::Collected { activation: live.id, items: Arc::new(items) }),
            other => {
                let detail = format!("`for.in` must give an array and gave {}", kind(&other));
                Err(place.error(standard::EXPRESSION, "no array to loop over", detail))
            }
        }
    }

    /// The next iteration of a loop, or its end.
    pub(super) fn go_on_loop(&self, live: &Activation, each: &Loop) -> Result<Record, ErrorObject> {
        let value = chained(each).map_err(ErrorObject::clone)?;
        let index = each.index.map_or(0, |before| before + 1);
        let item = usize::try_from(index).ok().and_then(|index| each.items.get(index));
        match item {
            Some(item) if self.iterates(live, item, index, value)? => {
                Ok(Record::Iterated { activation: live.id, index })
            }
            _ => self.leave(live, value, false, self.program.node(live.node).then),
        }
    }

    fn iterates(&self, live: &Activation, item: &Json, index: u64, value: &Json) -> Result<bool, ErrorObject> {
        let Some(declared) = loop_of(self.program, live.node) else { return Ok(false) };
        let Some(condition) = declared.condition else { return Ok(true) };
        let own = [(declared.item.as_str(), Cow::Borrowed(item)), (declared.index.as_str(), Cow::Owned(json!(index)))];
        Place { own: &own, ..self.place(live) }.holds(condition, value)
    }

    /// A body that gave its raw output: a call, a wait.
    pub(super) fn body_done(&self, live: &Activation, output: &Arc<Json>) -> Result<Record, ErrorObject> {
        let node = self.program.node(live.node);
        if let NodeKind::Act(act) = &node.kind {
            self.place(live).check(act.output_schema, output, "the action's output")?;
        }
        self.leave(live, output, false, node.then)
    }

    /// Where a block leads when its body, or its handler, has ended well.
    pub(super) fn flow_of_block(&self, live: &Activation, block: &Block) -> Flow {
        let node = self.program.node(live.node);
        match &node.kind {
            NodeKind::Scope(declared) if in_handler(block) => {
                declared.catch.as_ref().and_then(|catch| catch.then).unwrap_or(node.then)
            }
            _ => node.then,
        }
    }

    /// Out of a node: `output.as`, its schema, `export.as`, its schema. `fresh` says that the fold does not hold the raw
    /// output yet.
    pub(super) fn leave(
        &self,
        live: &Activation,
        raw_output: &Arc<Json>,
        fresh: bool,
        flow: Flow,
    ) -> Result<Record, ErrorObject> {
        let frame = &self.program.node(live.node).frame;
        let task = Task { raw_output: Some(raw_output), ..Task::of(live) };
        let place = Place { task: Some(task), ..self.place(live) };
        let transformed =
            frame.output_as.as_ref().map(|transform| place.template(transform, raw_output)).transpose()?;
        let transformed = transformed.map(Arc::new);
        let output = transformed.as_ref().unwrap_or(raw_output);
        place.check(frame.output_schema, output, "the task's output")?;

        let place = Place { task: Some(Task { output: Some(output), ..task }), ..place };
        let context = frame.export_as.as_ref().map(|export| place.template(export, output)).transpose()?;
        if let Some(context) = &context {
            place.check(frame.export_schema, context, "the new context")?;
        }
        let output = if fresh { Some(output.clone()) } else { transformed };
        Ok(Record::Left { activation: live.id, output, context: context.map(Arc::new), to: Target::from(flow) })
    }
}

fn kind(value: &Json) -> &'static str {
    match value {
        Json::Null => "null",
        Json::Bool(_) => "a boolean",
        Json::Number(_) => "a number",
        Json::String(_) => "text",
        Json::Array(_) => "an array",
        Json::Object(_) => "an object",
    }
}
