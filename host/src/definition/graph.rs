//! The compiled form of a workflow: nodes, scopes and flows. It knows no DSL text, only meaning, so that other languages
//! can be compiled to it too. A program is rebuilt from its definition whenever it is needed and is never stored.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::SignedDuration;

pub use super::filter::{Correlation, Filter, Match};
use crate::model::{ActionName, Digest, Effect, Json, PackName, TaskName, WorkflowName};

/// A compiled workflow.
#[derive(Debug)]
pub struct Program {
    /// `document.namespace`.
    pub namespace: String,
    /// `document.name`.
    pub name: WorkflowName,
    /// `document.version`.
    pub version: semver::Version,
    /// `document.title` and `document.summary`, for people.
    pub title: Option<String>,
    /// See `title`.
    pub summary: Option<String>,
    /// The digest of the definition's text.
    pub digest: Digest,
    /// The definition as JSON (`$workflow.definition`).
    pub definition: Arc<Json>,
    /// `use.secrets`: the names that `$secrets` has.
    pub secrets: Vec<String>,
    /// What starts instances by itself.
    pub schedule: Option<Schedule>,
    /// The workflow's own frame: `input` before the first task, `output` after the last; `export` is never set here.
    pub frame: Frame,
    /// The top-level `do`.
    pub root: ScopeId,
    /// All nodes; a [`NodeId`] is an index.
    pub nodes: Vec<Node>,
    /// All scopes; a [`ScopeId`] is an index.
    pub scopes: Vec<Scope>,
    /// All expressions; an [`ExpressionId`] is an index.
    pub expressions: Vec<Expression>,
    /// All data schemas; a [`SchemaId`] is an index.
    pub schemas: Vec<Schema>,
}

/// A node's place in [`Program::nodes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct NodeId(pub u32);

/// A scope's place in [`Program::scopes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ScopeId(pub u32);

/// An expression's place in [`Program::expressions`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExpressionId(pub u32);

/// A schema's place in [`Program::schemas`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SchemaId(pub u32);

/// A sequence of nodes that is entered at its first node and left as a whole.
#[derive(Debug)]
pub struct Scope {
    /// The node whose body this is; absent for the root.
    pub owner: Option<NodeId>,
    /// The node that is entered first; a scope is never empty.
    pub first: NodeId,
}

/// One task.
#[derive(Debug)]
pub struct Node {
    /// The task's name.
    pub name: TaskName,
    /// The task's reference: a JSON pointer into the definition, `/do/0/create`.
    pub reference: String,
    /// The scope it belongs to.
    pub scope: ScopeId,
    /// What surrounds the task's body.
    pub frame: Frame,
    /// The body.
    pub kind: NodeKind,
    /// Where to go when the body is done (`then`, resolved).
    pub then: Flow,
    /// Where to go when the node is skipped, whatever its `then` says: to the next one of its list, or out.
    pub next: Flow,
    /// Not written by the author: woven in by an extension or made of a function's call. Not shown to people.
    pub hidden: bool,
    /// `metadata.shield`: deadlines around the task wait until it has ended.
    pub shield: bool,
    /// The task's `metadata`, kept as written.
    pub metadata: BTreeMap<String, Json>,
    /// The task that an extension's task stands before or after; `$task` tells of it.
    pub extends: Option<Arc<Extended>>,
}

/// A task that is extended.
#[derive(Debug)]
pub struct Extended {
    /// Its name.
    pub name: TaskName,
    /// Its reference.
    pub reference: String,
}

/// What every task has around its body, in the order of the DSL's data flow.
#[derive(Debug, Default)]
pub struct Frame {
    /// `if`.
    pub condition: Option<ExpressionId>,
    /// `input.schema`, on the raw input.
    pub input_schema: Option<SchemaId>,
    /// `input.from`.
    pub input_from: Option<Template>,
    /// `output.as`.
    pub output_as: Option<Template>,
    /// `output.schema`, on the transformed output.
    pub output_schema: Option<SchemaId>,
    /// `export.as`.
    pub export_as: Option<Template>,
    /// `export.schema`, on the new context.
    pub export_schema: Option<SchemaId>,
    /// `timeout.after`.
    pub timeout: Option<Duration>,
}

/// Where control goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// To a node of the same scope.
    To(NodeId),
    /// Out of the scope (`exit`, or falling off its end).
    Exit,
    /// To the end of the workflow (`end`).
    End,
}

/// What a node does.
#[derive(Debug)]
pub enum NodeKind {
    /// Calls out and waits for the answer (`call`, `run.workflow`).
    Act(Act),
    /// Replaces the data (`set`).
    Eval(Template),
    /// Takes the first way whose guard holds (`switch`); without one, the node's own `then`. Output = input.
    Route(Vec<Way>),
    /// Runs its body once per item (`for`): in order, each iteration's output the next one's input; or side by side.
    Each(Each),
    /// Waits; output = input (`wait`).
    Timer(Duration),
    /// Runs a scope (`do`, `try`).
    Scope(Block),
    /// Raises an error (`raise`).
    Raise(Raise),
    /// Runs scopes side by side (`fork`).
    Fork(Fork),
    /// Waits for events (`listen`).
    Listen(Listen),
    /// Publishes an event (`emit`); output = the event. The template gives an object of CloudEvent attributes and
    /// `data`; the machine adds `id`, `specversion`, `time` and `source` where they are absent.
    Emit(Template),
    /// Output = the transformed input of the node around it. Woven in by extensions.
    Recall,
}

/// A call that goes out.
#[derive(Debug)]
pub struct Act {
    /// Who is called.
    pub callee: Callee,
    /// What is passed; see [`Callee`] for its shape.
    pub arguments: Template,
    /// How the call may be repeated (`metadata.effect`, else the manifest's, else what the callee implies).
    pub effect: Effect,
    /// How long one attempt may take.
    pub timeout: SignedDuration,
    /// `metadata.heartbeat`: an attempt that reports nothing for so long is ended.
    pub heartbeat: Option<SignedDuration>,
    /// The action's input schema; a failure is a `validation` error before any call.
    pub input_schema: Option<SchemaId>,
    /// The action's output schema; a failure is a `validation` error at the task.
    pub output_schema: Option<SchemaId>,
    /// Whether the action answers the `probe` phase.
    pub probe: bool,
    /// Whether the action answers the `undo` phase.
    pub undo: bool,
    /// The answer is not waited for (`run` with `await: false`): the call ends when the callee has begun; output = input.
    pub detached: bool,
}

/// Who is called, and what the arguments are for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Callee {
    /// An action of a pack; the arguments are its input (`with`).
    Action(ActionRef),
    /// `call: http`. Arguments: `{method, endpoint, headers: {}, query: {}, body?, output: content|raw|response,
    /// redirect: bool, authentication?}`; `endpoint` is an absolute URI. `authentication` is one entry of
    /// `use.authentications` with its values evaluated: `{basic: {username, password}}`, `{bearer: {token}}`,
    /// `{digest: …}`, `{oauth2: …}`, `{oidc: …}`, or `{<scheme>: {use: <secret>}}`. Values may hold sealed references to
    /// secrets (`model::sealed`), which only the edge opens.
    Http,
    /// `call: openapi`. Arguments: `{document: {endpoint, authentication?}, operationId, parameters: {}, output,
    /// redirect, authentication?}`.
    OpenApi,
    /// `run.workflow`; the arguments are its input.
    Workflow {
        /// `document.namespace`: the pack's name, or the namespace of a workflow in an installed pack.
        namespace: String,
        /// `document.name`.
        name: WorkflowName,
        /// `document.version`; absent: the latest.
        version: Option<semver::Version>,
    },
}

impl Callee {
    /// The action, where it is one.
    pub fn action(&self) -> Option<&ActionRef> {
        match self {
            Self::Action(action) => Some(action),
            Self::Http | Self::OpenApi | Self::Workflow { .. } => None,
        }
    }
}

impl std::fmt::Display for Callee {
    /// For people: `storage/create-volume@1.0.0`, `http`, `workflow storage/provision`.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Action(ActionRef { pack, version, action, .. }) => write!(formatter, "{pack}/{action}@{version}"),
            Self::Http => formatter.write_str("http"),
            Self::OpenApi => formatter.write_str("openapi"),
            Self::Workflow { namespace, name, version: Some(version) } => {
                write!(formatter, "workflow {namespace}/{name}@{version}")
            }
            Self::Workflow { namespace, name, version: None } => write!(formatter, "workflow {namespace}/{name}"),
        }
    }
}

/// A `fork`.
#[derive(Debug)]
pub struct Fork {
    /// The branches in declared order; each scope has one task and is owned by this node.
    pub branches: Vec<Branch>,
    /// The first successful branch wins, the others are cancelled. Otherwise the output is the array of all outputs.
    pub compete: bool,
}

/// One branch.
#[derive(Debug)]
pub struct Branch {
    /// Its name.
    pub name: String,
    /// Its scope.
    pub body: ScopeId,
}

/// A `listen`. Its raw output is an array in order of arrival.
#[derive(Debug)]
pub struct Listen {
    /// What ends it.
    pub to: Strategy,
    /// What of an event becomes data.
    pub read: Read,
    /// What is done with each event, one by one; its outputs are the output then.
    pub foreach: Option<Foreach>,
}

/// Which events are consumed.
#[derive(Debug)]
pub struct Strategy {
    /// How many.
    pub kind: Consume,
    /// The filters; with [`Consume::Any`] and none of them, every event fits.
    pub filters: Vec<Filter>,
    /// Goes on until then; only with [`Consume::Any`]. Without it one event is enough.
    pub until: Option<Until>,
}

/// See [`Strategy`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consume {
    /// One event that fits the one filter.
    One,
    /// One event for each filter.
    All,
    /// Any event that fits any filter.
    Any,
}

/// When listening for any event ends.
#[derive(Debug)]
pub enum Until {
    /// This holds for the array of what was consumed so far; tested after each event.
    Holds(ExpressionId),
    /// These events came; they are not part of the output.
    Events(Box<Strategy>),
    /// Never by itself (`until: false`): only a timeout or a cancellation ends it.
    Never,
}

/// What of an event becomes data (`listen.read`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Read {
    /// Its `data`.
    Data,
    /// The whole CloudEvent with parsed `data`.
    Envelope,
    /// The whole CloudEvent, `data` as text as it came.
    Raw,
}

/// `listen.foreach`.
#[derive(Debug)]
pub struct Foreach {
    /// Without `$`; default `item`.
    pub item: String,
    /// Without `$`; default `index`.
    pub index: String,
    /// The tasks; absent: the item passes.
    pub body: Option<ScopeId>,
    /// On the body's output.
    pub output_as: Option<Template>,
    /// On the transformed output; replaces the context.
    pub export_as: Option<Template>,
}

/// What starts instances by itself (`schedule`).
#[derive(Debug)]
pub enum Schedule {
    /// Each time this has passed.
    Every(SignedDuration),
    /// A cron expression of five fields, UTC; checked.
    Cron(String),
    /// This long after the last instance has ended.
    After(SignedDuration),
    /// When these events came; the input is their array.
    On(Strategy, Read),
}

/// An action of an exact pack version.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct ActionRef {
    /// The pack.
    pub pack: PackName,
    /// The pack's version.
    pub version: semver::Version,
    /// The action.
    pub action: ActionName,
    /// The component that implements it; what a running instance is pinned to.
    pub component: Digest,
}

/// One case of a switch.
#[derive(Debug)]
pub struct Way {
    /// The case's name.
    pub name: String,
    /// `when`; absent: the default, taken when no guard holds, wherever it stands.
    pub guard: Option<ExpressionId>,
    /// Where it leads.
    pub flow: Flow,
}

/// A loop.
#[derive(Debug)]
pub struct Each {
    /// `for.in`: must give an array.
    pub items: Template,
    /// `for.each`, without `$`; default `item`.
    pub item: String,
    /// `for.at`, without `$`; default `index`.
    pub index: String,
    /// `while`, tested before each iteration with the variables bound.
    pub condition: Option<ExpressionId>,
    /// The body.
    pub body: ScopeId,
    /// `metadata.parallel`: so many iterations side by side, each with the loop's input; the output is the array of
    /// their outputs, in order of the items. Absent: in order, chained.
    pub parallel: Option<u32>,
}

/// A `do` or a `try`.
#[derive(Debug)]
pub struct Block {
    /// The body.
    pub body: ScopeId,
    /// `catch`, for a `try`.
    pub catch: Option<Catch>,
    /// The output is the input, whatever the body gives. Woven in by extensions.
    pub keep_input: bool,
}

/// What a `try` does about an error: filter, then retry, then `do`, then `then`.
#[derive(Debug)]
pub struct Catch {
    /// `errors.with`: each present member must be equal. `kind` is canonical (`standard::BASE`) for standard types.
    pub with: ErrorFilter,
    /// `as`, without `$`; default `error`.
    pub variable: String,
    /// `when`.
    pub when: Option<ExpressionId>,
    /// `exceptWhen`.
    pub except_when: Option<ExpressionId>,
    /// `retry`, resolved.
    pub retry: Option<Retry>,
    /// `do`. Absent and `retry` present: an exhausted error passes on. Both absent: output = the try task's input.
    pub handler: Option<ScopeId>,
    /// `catch.then`, resolved; absent: the task's own `then`.
    pub then: Option<Flow>,
}

/// `catch.errors.with`.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct ErrorFilter {
    /// Equal to the error's `type`, standard types compared in canonical form.
    pub kind: Option<String>,
    /// Equal to its `status`.
    pub status: Option<u16>,
    /// Equal to its `title`.
    pub title: Option<String>,
    /// Equal to its `detail`.
    pub detail: Option<String>,
    /// Equal to its `instance`.
    pub instance: Option<String>,
}

/// A retry policy.
#[derive(Debug, Clone)]
pub struct Retry {
    /// Retried only when this holds.
    pub when: Option<ExpressionId>,
    /// Not retried when this holds.
    pub except_when: Option<ExpressionId>,
    /// The base delay; default zero. It and `jitter` are computed when a retry is decided, with the error bound.
    pub delay: Duration,
    /// How the delay grows with retry n = 1, 2, …
    pub backoff: Backoff,
    /// Uniform extra delay from the first to the second.
    pub jitter: Option<(Duration, Duration)>,
    /// Retries after the first attempt, at most.
    pub count: Option<u32>,
    /// How long each attempt may take (`limit.attempt.duration`). It and `total_duration` are computed when the try begins.
    pub attempt_duration: Option<Duration>,
    /// How long all attempts together may take (`limit.duration`), from the first one's start.
    pub total_duration: Option<Duration>,
}

/// The growth of a retry delay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backoff {
    /// `delay`.
    Constant,
    /// `delay · n`.
    Linear,
    /// `delay · 2^(n-1)`.
    Exponential,
}

/// An error to raise. Members are templates because `title`, `detail` and the whole may be expressions.
#[derive(Debug)]
pub enum Raise {
    /// Written out or named: an object template with `type`, `status` and the rest.
    Error(Template),
    /// `${ … }` that gives an error object: raises it again as it is.
    Again(ExpressionId),
}

/// A length of time.
#[derive(Debug, Clone, Copy)]
pub enum Duration {
    /// Known when compiled.
    Fixed(SignedDuration),
    /// An expression that gives ISO 8601 text or an object of `days` … `milliseconds`.
    Expression(ExpressionId),
}

/// Data with expressions in it. Only what is written in the definition is evaluated, never a result.
#[derive(Debug, Clone)]
pub enum Template {
    /// Data without any expression.
    Literal(Json),
    /// One expression.
    Expression(ExpressionId),
    /// An array with an expression somewhere inside.
    Array(Vec<Template>),
    /// An object with an expression somewhere inside.
    Object(Vec<(String, Template)>),
    /// A URI template (RFC 6570, level 1): `{name}` is the top-level member of that literal name of the transformed
    /// input, percent-encoded; absent: nothing; no scalar: an expression error.
    Uri(String),
    /// Text in loose mode: an expression, and this text where evaluating it fails.
    Loose(ExpressionId, String),
}

/// An expression, compiled to the extent that it is known to compile.
#[derive(Debug, Clone)]
pub struct Expression {
    /// The jq program, without `${ }`.
    pub text: String,
    /// Where it stands: a JSON pointer into the definition.
    pub pointer: String,
    /// The variables it reads, without `$`, sorted; only these need to be bound.
    pub variables: Vec<String>,
    /// The native shortcut, where the program is a plain path.
    pub path: Option<PlainPath>,
}

/// `.a.b[0]` or `$context.x`: evaluated natively, with the same answer as jq's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlainPath {
    /// The variable it starts from, without `$`; absent: `.`.
    pub root: Option<String>,
    /// The steps.
    pub steps: Vec<PathStep>,
}

/// One step of a plain path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathStep {
    /// `.key` or `."key"`.
    Key(String),
    /// `[n]`; negative counts from the end.
    Index(i64),
}

/// A data schema, compiled once.
#[derive(Debug)]
pub struct Schema {
    /// Where it stands: a JSON pointer into the definition, or the pack's path of the schema's file.
    pub pointer: String,
    /// The validator (JSON Schema 2020-12).
    pub validator: jsonschema::Validator,
}

impl Duration {
    /// The length, where it is known when compiled.
    pub fn fixed(self) -> Option<SignedDuration> {
        match self {
            Self::Fixed(duration) => Some(duration),
            Self::Expression(_) => None,
        }
    }
}

impl Program {
    /// The node.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0 as usize]
    }

    /// The scope.
    pub fn scope(&self, id: ScopeId) -> &Scope {
        &self.scopes[id.0 as usize]
    }

    /// The expression.
    pub fn expression(&self, id: ExpressionId) -> &Expression {
        &self.expressions[id.0 as usize]
    }

    /// The schema.
    pub fn schema(&self, id: SchemaId) -> &Schema {
        &self.schemas[id.0 as usize]
    }

    /// The `source` of the events it publishes, `/{namespace}/{name}/{version}`.
    pub fn source(&self) -> String {
        format!("/{}/{}/{}", self.namespace, self.name, self.version)
    }

    /// The actions it calls, each once.
    pub fn actions(&self) -> impl Iterator<Item = &ActionRef> {
        let mut seen = std::collections::BTreeSet::new();
        self.nodes.iter().filter_map(move |node| match &node.kind {
            NodeKind::Act(Act { callee: Callee::Action(action), .. }) if seen.insert(action) => Some(action),
            _ => None,
        })
    }
}
