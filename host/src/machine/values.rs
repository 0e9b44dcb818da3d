//! What expressions see and what comes of them: variables by scope, templates, conditions, durations, schemas. Every
//! failure becomes an error of the DSL, placed at the task.

use std::borrow::Cow;

use jiff::{SignedDuration, Timestamp};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;

use super::duration;
use super::record::ActivationId;
use super::state::{Activation, BlockStage, Body, State};
use crate::definition::evaluate::{Bindings, Evaluate};
use crate::definition::graph::{Duration, ExpressionId, NodeId, NodeKind, Program, Read, SchemaId, Template};
use crate::definition::schema;
use crate::model::{ErrorObject, Json, sealed, standard};

/// So many violations of a schema are told; more would not help anybody.
const VIOLATIONS_MAX: usize = 10;

/// What RFC 6570 leaves as it is in a simple expansion.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What the DSL calls `$runtime.name`.
pub const RUNTIME: &str = "orchestrator";

/// A spot in a workflow at which expressions are computed.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) program: &'a Program,
    pub(super) evaluator: &'a dyn Evaluate,
    pub(super) state: &'a State,
    /// The innermost activation around the spot, whose loop and catch variables are visible.
    pub(super) around: Option<ActivationId>,
    /// Which of its bodies side by side the spot is in.
    pub(super) lane: Option<u64>,
    /// The task, unless the spot is the workflow's own frame.
    pub(super) task: Option<Task<'a>>,
    /// Variables that the task itself binds here: a loop's for its `while`, a try's for its `catch`.
    pub(super) own: &'a [(&'a str, Cow<'a, Json>)],
}

/// The task at a spot, as far as it is known there.
#[derive(Clone, Copy)]
pub(super) struct Task<'a> {
    pub(super) node: NodeId,
    pub(super) started_at: Timestamp,
    pub(super) raw: &'a Json,
    pub(super) input: Option<&'a Json>,
    pub(super) raw_output: Option<&'a Json>,
    pub(super) output: Option<&'a Json>,
}

impl<'a> Task<'a> {
    /// The task of a live activation, before it has an output.
    pub(super) fn of(live: &'a Activation) -> Self {
        Self {
            node: live.node,
            started_at: live.started_at,
            raw: &live.raw,
            input: Some(&live.input),
            raw_output: None,
            output: None,
        }
    }
}

impl<'a> Place<'a> {
    /// One expression's value.
    pub(super) fn value(&self, id: ExpressionId, dot: &Json) -> Result<Json, ErrorObject> {
        let expression = self.program.expression(id);
        let mut variables = Vec::with_capacity(expression.variables.len());
        for name in &expression.variables {
            let value = self.variable(name).ok_or_else(|| {
                let detail = format!("`${name}` is not bound at {}", expression.pointer);
                self.error(standard::EXPRESSION, "unknown variable", detail)
            })?;
            variables.push((name.as_str(), value));
        }
        let now = self.task.map_or(self.state.created_at, |task| task.started_at);
        let now_ms = u64::try_from(now.as_millisecond()).unwrap_or_default();
        let bindings = Bindings { input: Cow::Borrowed(dot), variables, now_ms };
        self.evaluator
            .evaluate(self.program, expression, &bindings)
            .map_err(|failure| self.error(standard::EXPRESSION, "an expression failed", failure.to_string()))
    }

    /// Whether a condition holds, by jq's truth: all but `null` and `false`.
    pub(super) fn holds(&self, id: ExpressionId, dot: &Json) -> Result<bool, ErrorObject> {
        Ok(!matches!(self.value(id, dot)?, Json::Null | Json::Bool(false)))
    }

    /// The data that a template describes.
    pub(super) fn template(&self, template: &Template, dot: &Json) -> Result<Json, ErrorObject> {
        Ok(match template {
            Template::Literal(value) => value.clone(),
            Template::Expression(id) => self.value(*id, dot)?,
            Template::Loose(id, text) => self.value(*id, dot).unwrap_or_else(|_| Json::from(text.as_str())),
            Template::Uri(text) => Json::from(self.uri(text, dot)?),
            Template::Array(items) => {
                Json::Array(items.iter().map(|item| self.template(item, dot)).collect::<Result<_, _>>()?)
            }
            Template::Object(members) => {
                let member = |(name, value): &(String, Template)| Ok((name.clone(), self.template(value, dot)?));
                Json::Object(members.iter().map(member).collect::<Result<_, ErrorObject>>()?)
            }
        })
    }

    /// A URI template with the members of the data put in.
    fn uri(&self, text: &str, dot: &Json) -> Result<String, ErrorObject> {
        let mut uri = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, inside)) = rest.split_once('{') {
            let Some((name, after)) = inside.split_once('}') else { break };
            uri.push_str(before);
            match dot.get(name) {
                None | Some(Json::Null) => {}
                Some(Json::String(value)) => uri.extend(utf8_percent_encode(value, UNRESERVED)),
                Some(value @ (Json::Number(_) | Json::Bool(_))) => uri.push_str(&value.to_string()),
                Some(_) => {
                    let detail = format!("`{{{name}}}` in `{text}` is no text, number or boolean");
                    return Err(self.error(standard::EXPRESSION, "a URI takes plain values only", detail));
                }
            }
            rest = after;
        }
        uri.push_str(rest);
        Ok(uri)
    }

    /// A length of time.
    pub(super) fn duration(&self, declared: Duration, dot: &Json) -> Result<SignedDuration, ErrorObject> {
        match declared {
            Duration::Fixed(duration) => Ok(duration),
            Duration::Expression(id) => {
                let value = self.value(id, dot)?;
                duration::read(&value).map_err(|why| self.error(standard::EXPRESSION, "no duration", why))
            }
        }
    }

    /// Holds data to a schema.
    pub(super) fn check(&self, schema: Option<SchemaId>, value: &Json, what: &str) -> Result<(), ErrorObject> {
        let Some(schema) = schema.map(|id| self.program.schema(id)) else { return Ok(()) };
        if schema.validator.is_valid(value) {
            return Ok(());
        }
        let violations = violations(&schema.validator, value).join("; ");
        let detail = format!("{what} does not fit the schema at {}: {violations}", schema.pointer);
        Err(self.error(standard::VALIDATION, "data does not fit its schema", detail))
    }

    /// An error of a standard type at this spot.
    pub(super) fn error(&self, kind: (&str, u16), title: &str, detail: impl Into<String>) -> ErrorObject {
        let instance = self.task.map(|task| self.program.node(task.node).reference.clone());
        ErrorObject { instance, ..standard::error(kind, title, detail) }
    }

    fn variable(&self, name: &str) -> Option<Cow<'a, Json>> {
        if let Some((_, value)) = self.own.iter().find(|(own, _)| *own == name) {
            return Some(value.clone());
        }
        let task = self.task;
        match name {
            "context" => Some(Cow::Borrowed(&*self.state.context)),
            "workflow" => Some(Cow::Owned(self.workflow())),
            "runtime" => {
                Some(Cow::Owned(json!({ "name": RUNTIME, "version": env!("CARGO_PKG_VERSION"), "metadata": {} })))
            }
            "task" => Some(Cow::Owned(self.task_facts(&task?))),
            "input" => task?.input.map(Cow::Borrowed),
            "output" => task?.output.map(Cow::Borrowed),
            "secrets" => Some(Cow::Owned(self.secrets())),
            "authorization" => Some(Cow::Owned(Json::Null)),
            name => self.scoped(name),
        }
    }

    /// A loop or catch variable of a node around the spot, the innermost first.
    fn scoped(&self, name: &str) -> Option<Cow<'a, Json>> {
        let (mut around, mut lane) = (self.around, self.lane);
        while let Some(live) = around.and_then(|id| self.state.activations.get(&id)) {
            if let Some(value) = bound_by(self.program, live, lane, name) {
                return Some(value);
            }
            (around, lane) = (live.parent, live.lane);
        }
        None
    }

    /// The declared secrets as sealed references; only the edge that sends a request opens them.
    fn secrets(&self) -> Json {
        self.program.secrets.iter().map(|name| (name.clone(), Json::from(sealed(name)))).collect()
    }

    fn workflow(&self) -> Json {
        json!({
            "id": self.state.id,
            "definition": *self.program.definition,
            "input": *self.state.raw,
            "startedAt": date(self.state.created_at),
        })
    }

    fn task_facts(&self, task: &Task<'_>) -> Json {
        let node = self.program.node(task.node);
        let (name, reference) = match &node.extends {
            Some(extended) => (&extended.name, &extended.reference),
            None => (&node.name, &node.reference),
        };
        let definition = self.program.definition.pointer(reference);
        // An extension asks what it extends (`$task.with.endpoint`).
        let mut facts = match definition.and_then(Json::as_object) {
            Some(members) if node.extends.is_some() => members.clone(),
            _ => serde_json::Map::new(),
        };
        facts.extend([
            ("name".to_owned(), json!(name)),
            ("reference".to_owned(), json!(reference)),
            ("definition".to_owned(), definition.cloned().unwrap_or_default()),
            ("input".to_owned(), task.raw.clone()),
            ("output".to_owned(), task.raw_output.cloned().unwrap_or_default()),
            ("startedAt".to_owned(), date(task.started_at)),
        ]);
        Json::Object(facts)
    }
}

fn bound_by<'a>(program: &'a Program, live: &'a Activation, lane: Option<u64>, name: &str) -> Option<Cow<'a, Json>> {
    match (&program.node(live.node).kind, &live.body) {
        (NodeKind::Each(declared), Body::Loop(each)) => {
            let index = each.index?;
            let item = || each.items.get(usize::try_from(index).ok()?).map(Cow::Borrowed);
            match name {
                name if name == declared.item => item(),
                name if name == declared.index => Some(Cow::Owned(json!(index))),
                _ => None,
            }
        }
        (NodeKind::Each(declared), Body::Lanes(lanes)) => match name {
            name if name == declared.item => lanes.item(lane?).map(Cow::Borrowed),
            name if name == declared.index => Some(Cow::Owned(json!(lane?))),
            _ => None,
        },
        (NodeKind::Listen(declared), Body::Listening(listening)) => {
            let each = declared.foreach.as_ref()?;
            let place = listening.outputs.len();
            match name {
                name if name == each.item => {
                    listening.events.get(place).map(|event| Cow::Owned(reading(event, declared.read)))
                }
                name if name == each.index => Some(Cow::Owned(json!(place))),
                _ => None,
            }
        }
        (NodeKind::Scope(declared), Body::Block(block)) => match (&declared.catch, &block.stage) {
            (Some(catch), BlockStage::Handler(error)) if catch.variable == name => Some(Cow::Borrowed(&**error)),
            _ => None,
        },
        _ => None,
    }
}

/// What of an event becomes data.
pub fn reading(event: &Json, read: Read) -> Json {
    match read {
        Read::Data => event.get("data").cloned().unwrap_or(Json::Null),
        Read::Envelope => event.clone(),
        Read::Raw => {
            let mut raw = event.clone();
            if let Some(data) = raw.get_mut("data").filter(|data| !data.is_string()) {
                *data = Json::from(data.to_string());
            }
            raw
        }
    }
}

/// The DSL's form of a date.
fn date(at: Timestamp) -> Json {
    json!({
        "iso8601": at.to_string(),
        "epoch": { "seconds": at.as_second(), "milliseconds": at.as_millisecond() },
    })
}

/// What is wrong with a value, one sentence each, at most ten.
pub fn violations(validator: &jsonschema::Validator, value: &Json) -> Vec<String> {
    schema::violations(validator, value, VIOLATIONS_MAX)
}
