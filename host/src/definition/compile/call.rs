//! `call`: finding the action, its arguments, and what can be told about them before anything runs.

use jiff::SignedDuration;
use jsonschema::error::ValidationErrorKind;

use super::task::Task;
use super::value::Spot;
use super::{Compiler, escape, index};
use crate::definition::diagnostic::{Position, near};
use crate::definition::graph::{Act, ActionRef, Callee as Called, NodeKind, Schema, SchemaId, Template};
use crate::definition::yaml::Tree;
use crate::definition::{ActionDeclaration, LookupError, schema};
use crate::model::{ActionName, Effect, Json, PackName};

/// The calls that the DSL defines and that an action has to do here.
const REFUSED: [&str; 4] = ["grpc", "asyncapi", "a2a", "mcp"];

/// More violations of one call than this are noise.
const VIOLATIONS_MAX: usize = 5;

/// What `call` says, with the catalog as written.
struct Written<'a> {
    name: ActionName,
    from: Option<(&'a str, semver::Version)>,
}

/// What `call` names.
struct Callee {
    name: ActionName,
    /// Absent: the workflow's own pack.
    from: Option<(PackName, semver::Version)>,
    /// The pack stands in `use.catalogs`.
    by_catalog: bool,
}

impl<'a> Compiler<'a> {
    /// `call`: a request, a function of `use.functions`, or an action.
    pub(super) fn call(&mut self, tree: &'a Tree, task: &Task<'a, '_>) -> Option<NodeKind> {
        let name = self.text(tree, "`call`")?;
        match name {
            "http" => self.http(task).map(NodeKind::Act),
            "openapi" => self.openapi(task).map(NodeKind::Act),
            other if REFUSED.contains(&other) => {
                let message = format!("`call: {other}` is not supported: no host speaks it for a workflow");
                let cure = "call an action of a pack that speaks it: `name` of this pack, or `name:1.0.0@pack`";
                self.error_with_cure("unsupported", tree.position, message, cure);
                None
            }
            function if self.named.contains_key(&("functions", function)) => {
                self.call_function(function, tree.position, task).map(NodeKind::Scope)
            }
            action => self.call_action(action, tree, task).map(NodeKind::Act),
        }
    }

    fn call_action(&mut self, text: &'a str, tree: &'a Tree, task: &Task<'a, '_>) -> Option<Act> {
        let declaration = self.callee(text, tree.position).and_then(|callee| self.lookup(&callee, tree.position));
        let arguments = self.arguments(task);
        let effect = self.effect(task.tree);
        let heartbeat = self.heartbeat(task.tree);
        let (declaration, arguments) = (declaration?, arguments?);
        let (input_schema, output_schema) = self.action_schemas(&declaration, tree.position)?;
        let with = task.tree.get("with").unwrap_or(tree);
        self.check_arguments(&declaration, input_schema, &arguments, with);
        Some(Act {
            callee: Called::Action(declaration.action),
            arguments,
            effect: effect?.unwrap_or(declaration.effect),
            timeout: declaration.timeout,
            heartbeat: heartbeat?,
            input_schema,
            output_schema,
            probe: declaration.probe,
            undo: declaration.undo,
            detached: false,
        })
    }

    fn callee(&mut self, text: &'a str, at: Position) -> Option<Callee> {
        let refuse = |compiler: &mut Self, (message, cure): (String, String)| {
            compiler.error_with_cure("call-syntax", at, message, cure);
        };
        let written = parse_callee(text).map_err(|error| refuse(self, error)).ok()?;
        let Some((catalog, version)) = written.from else {
            return Some(Callee { name: written.name, from: None, by_catalog: false });
        };
        if self.named.contains_key(&("catalogs", catalog)) {
            let pack = self.catalog(catalog)?;
            return Some(Callee { name: written.name, from: Some((pack, version)), by_catalog: true });
        }
        match PackName::parse(catalog) {
            Ok(pack) => Some(Callee { name: written.name, from: Some((pack, version)), by_catalog: false }),
            Err(error) => {
                refuse(self, (error.to_string(), error.rule.to_owned()));
                None
            }
        }
    }

    fn lookup(&mut self, callee: &Callee, at: Position) -> Option<ActionDeclaration> {
        let (pack, version) = callee.from.as_ref().map(|(pack, version)| (pack, version)).unzip();
        match self.actions.action(pack, version, &callee.name) {
            Ok(declaration) => Some(declaration),
            Err(error) => {
                self.refuse_action(&error, callee, at);
                None
            }
        }
    }

    fn refuse_action(&mut self, error: &LookupError, callee: &Callee, at: Position) {
        let (code, wanted, known) = match error {
            LookupError::Pack { pack, known } if !callee.by_catalog => ("undeclared-catalog", pack.as_str(), known),
            LookupError::Pack { pack, known } => ("unknown-action", pack.as_str(), known),
            LookupError::Version { known, .. } => ("unknown-action", "", known),
            LookupError::Action { action, known, .. } => ("unknown-action", action.as_str(), known),
        };
        let (block, what) = match (code, &callee.from) {
            ("undeclared-catalog", _) => ("catalogs", "catalog"),
            (_, None) => ("functions", "function"),
            (_, Some(_)) => ("", ""),
        };
        let known: Vec<&str> = known.iter().map(String::as_str).chain(self.declared(block).iter().copied()).collect();
        let cure = match (near(wanted, known.iter().copied()).first(), known.is_empty()) {
            (Some(candidate), _) => format!("did you mean `{candidate}`?"),
            (None, false) => format!("there is: {}", known.iter().take(8).copied().collect::<Vec<_>>().join(", ")),
            (None, true) => "there is none at all".to_owned(),
        };
        let message = match block {
            "" => error.to_string(),
            block => format!("{error}, and `use.{block}` declares no {what} of that name"),
        };
        self.error_with_cure(code, at, message, cure);
    }

    /// `with` of an action or a function.
    pub(super) fn arguments(&mut self, task: &Task<'a, '_>) -> Option<Template> {
        let Some(with) = task.tree.get("with") else {
            return Some(Template::Literal(Json::Object(serde_json::Map::new())));
        };
        if with.as_map().is_none() {
            let message = format!("`with` is a mapping, not {}", with.kind());
            let cure = "name the inputs one by one, `with: { id: '${ .id }' }`";
            self.error_with_cure("wrong-type", with.position, message, cure);
            return None;
        }
        self.template(with, &format!("{}/with", task.pointer), (Spot::Body, task.env))
    }

    /// `metadata.effect`, which overrides what the pack says.
    pub(super) fn effect(&mut self, task: &'a Tree) -> Option<Option<Effect>> {
        let Some(tree) = task.get("metadata").and_then(|metadata| metadata.get("effect")) else { return Some(None) };
        let words = [("idempotent", Effect::Idempotent), ("resumable", Effect::Resumable), ("once", Effect::Once)];
        self.word(tree, "`metadata.effect`", &words).map(Some)
    }

    /// `metadata.heartbeat`: how long the action may go without reporting.
    fn heartbeat(&mut self, task: &'a Tree) -> Option<Option<SignedDuration>> {
        let Some(tree) = task.get("metadata").and_then(|metadata| metadata.get("heartbeat")) else { return Some(None) };
        let heartbeat = self.fixed_duration(tree)?;
        if heartbeat.is_zero() {
            let message = "with `heartbeat` of nothing each attempt would end at once";
            self.error_with_cure(
                "duration",
                tree.position,
                message,
                "write how long the action may be silent, `PT30S`",
            );
            return None;
        }
        Some(Some(heartbeat))
    }

    fn action_schemas(
        &mut self,
        declaration: &ActionDeclaration,
        at: Position,
    ) -> Option<(Option<SchemaId>, Option<SchemaId>)> {
        if let Some(known) = self.action_schemas.get(&declaration.action) {
            return Some(*known);
        }
        let input = self.action_schema(&declaration.action, "input", declaration.input.as_deref(), at);
        let output = self.action_schema(&declaration.action, "output", declaration.output.as_deref(), at);
        let both = (input?, output?);
        self.action_schemas.insert(declaration.action.clone(), both);
        Some(both)
    }

    fn action_schema(
        &mut self,
        action: &ActionRef,
        side: &str,
        document: Option<&Json>,
        at: Position,
    ) -> Option<Option<SchemaId>> {
        let Some(document) = document else { return Some(None) };
        let pointer = format!("{side} of {}", shown(action));
        match schema::compile(document) {
            Ok(validator) => {
                self.schemas.push(Schema { pointer, validator });
                Some(Some(SchemaId(index(self.schemas.len() - 1))))
            }
            Err(error) => {
                self.error("schema", at, format!("the schema for the {pointer} is not a JSON Schema: {error}"));
                None
            }
        }
    }

    /// Arguments are judged as far as they are written out: all of them, or the members without an expression, and which
    /// members there are.
    fn check_arguments(
        &mut self,
        declaration: &ActionDeclaration,
        schema: Option<SchemaId>,
        arguments: &Template,
        with: &Tree,
    ) {
        let Some(schema) = schema else { return };
        let validator = &self.schemas[schema.0 as usize].validator;
        let (value, known) = match arguments {
            Template::Literal(value) => (value.clone(), None),
            Template::Object(members) if declaration.input.as_deref().is_some_and(is_unconditional) => {
                (written_out(members), Some(members.as_slice()))
            }
            _ => return,
        };
        let violations: Vec<_> = validator
            .iter_errors(&value)
            .filter(|error| known.is_none_or(|members| is_certain(error, members)))
            .take(VIOLATIONS_MAX)
            .map(|error| (error.instance_path().to_string(), error.to_string()))
            .collect();
        for (pointer, message) in violations {
            let message = format!("the input of {} does not fit its schema: {message}", shown(&declaration.action));
            self.error("action-input", with.position_at(&pointer), message);
        }
    }
}

/// The object with `null` for each member that is not known yet.
fn written_out(members: &[(String, Template)]) -> Json {
    let value = |member: &Template| match member {
        Template::Literal(value) => value.clone(),
        _ => Json::Null,
    };
    Json::Object(members.iter().map(|(key, member)| (key.clone(), value(member))).collect())
}

/// Whether a violation stays one whatever the members will be that are not known yet.
fn is_certain(error: &jsonschema::ValidationError<'_>, members: &[(String, Template)]) -> bool {
    let pointer = error.instance_path().to_string();
    match pointer.split('/').nth(1) {
        None => matches!(
            error.kind(),
            ValidationErrorKind::Required { .. } | ValidationErrorKind::AdditionalProperties { .. }
        ),
        Some(step) => members.iter().any(|(key, member)| escape(key) == step && matches!(member, Template::Literal(_))),
    }
}

/// Whether no part of a schema asks for something because of another member's value.
fn is_unconditional(schema: &Json) -> bool {
    match schema {
        Json::Object(members) => {
            let plain = |key: &str| !matches!(key, "if" | "anyOf" | "oneOf" | "not" | "$ref" | "$dynamicRef");
            members.iter().all(|(key, value)| plain(key) && is_unconditional(value))
        }
        Json::Array(items) => items.iter().all(is_unconditional),
        _ => true,
    }
}

fn shown(action: &ActionRef) -> String {
    format!("{}:{}@{}", action.action, action.version, action.pack)
}

/// `name` or `name:version@pack`; the near misses say what is wrong with them.
fn parse_callee(text: &str) -> Result<Written<'_>, (String, String)> {
    let name = |text: &str| ActionName::parse(text).map_err(|error| (error.to_string(), error.rule.to_owned()));
    let wrong = |message: &str, cure: String| Err((format!("`{text}` {message}"), cure));
    if text.contains("://") {
        return wrong(
            "is a URL, and functions are not loaded from URLs",
            "install a pack that has the action".to_owned(),
        );
    }
    let Some((left, pack)) = text.split_once('@') else {
        return match text.split_once(['/', '.', ':']) {
            None => Ok(Written { name: name(text)?, from: None }),
            Some((left, right)) if text.contains(':') => wrong(
                "names a version but no pack",
                format!("write `{left}` for this pack's action, or `{left}:{right}@pack`"),
            ),
            Some((pack, action)) => {
                wrong("is not how an action of another pack is called", format!("write `{action}:1.0.0@{pack}`"))
            }
        };
    };
    if pack.parse::<semver::Version>().is_ok() {
        return wrong(
            "asks for a pack of that number: after `@` comes the pack",
            format!("write `{left}:{pack}@pack`"),
        );
    }
    if pack == "default" {
        return wrong("uses the default catalog, which is empty here", "write `name:1.0.0@pack`".to_owned());
    }
    let Some((action, version)) = left.split_once(':') else {
        return wrong("names no version", format!("write `{left}:1.0.0@{pack}`"));
    };
    let Ok(version) = version.parse() else {
        return wrong("does not name an exact version", format!("write three numbers, `{action}:1.0.0@{pack}`"));
    };
    Ok(Written { name: name(action)?, from: Some((pack, version)) })
}
