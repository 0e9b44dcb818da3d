//! For tests: workflows from a small subset of the DSL, and an evaluator for a few forms of expressions. It lets the
//! machine be tested without the language's front end and without the sandbox.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::SignedDuration;
use serde_json::json;

use super::duration;
use crate::definition::evaluate::{Bindings, Evaluate, ExpressionError};
use crate::definition::graph::*;
use crate::model::{ActionName, Digest, Effect, Json, PackName, TaskName, WorkflowName};

/// Compiles `{do: […], input, output, timeout}`. Beside the DSL: `metadata` of a call may have `effect`, `probe`,
/// `inputSchema`, `outputSchema`.
pub(crate) fn program(definition: Json) -> Program {
    let mut compiler = Compiler::default();
    let frame = compiler.frame(&definition, "");
    let root = compiler.list(&definition["do"], None, "/do");
    Program {
        namespace: "test".to_owned(),
        name: WorkflowName::parse("flow").unwrap(),
        version: semver::Version::new(1, 0, 0),
        title: None,
        summary: None,
        digest: Digest::of(definition.to_string().as_bytes()),
        definition: Arc::new(definition),
        secrets: Vec::new(),
        schedule: None,
        frame,
        root,
        nodes: compiler.nodes.into_iter().map(Option::unwrap).collect(),
        scopes: compiler.scopes,
        expressions: compiler.expressions,
        schemas: compiler.schemas,
    }
}

#[derive(Default)]
struct Compiler {
    nodes: Vec<Option<Node>>,
    scopes: Vec<Scope>,
    expressions: Vec<Expression>,
    schemas: Vec<Schema>,
}

impl Compiler {
    fn list(&mut self, tasks: &Json, owner: Option<NodeId>, pointer: &str) -> ScopeId {
        let tasks: Vec<_> =
            tasks.as_array().unwrap().iter().map(|task| task.as_object().unwrap().iter().next().unwrap()).collect();
        let first = self.nodes.len() as u32;
        self.nodes.extend(tasks.iter().map(|_| None));
        let scope = ScopeId(self.scopes.len() as u32);
        self.scopes.push(Scope { owner, first: NodeId(first) });
        let names: Vec<_> = tasks.iter().map(|(name, _)| name.as_str()).collect();
        for (index, (name, task)) in tasks.iter().enumerate() {
            let id = NodeId(first + index as u32);
            let next = if index + 1 < tasks.len() { Flow::To(NodeId(id.0 + 1)) } else { Flow::Exit };
            let flow = |then: &Json| match then.as_str() {
                None | Some("continue") => next,
                Some("exit") => Flow::Exit,
                Some("end") => Flow::End,
                Some(name) => Flow::To(NodeId(first + names.iter().position(|other| *other == name).unwrap() as u32)),
            };
            let reference = format!("{pointer}/{index}/{name}");
            let node = Node {
                name: TaskName::parse(name).unwrap(),
                scope,
                frame: self.frame(task, &reference),
                kind: self.kind(task, id, &reference, &flow),
                then: flow(&task["then"]),
                next,
                metadata: BTreeMap::new(),
                hidden: false,
                extends: None,
                shield: task["metadata"]["shield"] == true,
                reference,
            };
            self.nodes[id.0 as usize] = Some(node);
        }
        scope
    }

    fn frame(&mut self, task: &Json, at: &str) -> Frame {
        let mut template = |value: &Json| (!value.is_null()).then(|| self.position(value, at));
        let (input_from, output_as, export_as) =
            (template(&task["input"]["from"]), template(&task["output"]["as"]), template(&task["export"]["as"]));
        Frame {
            condition: self.optional(&task["if"]),
            input_schema: self.schema(&task["input"]["schema"]),
            input_from,
            output_as,
            output_schema: self.schema(&task["output"]["schema"]),
            export_as,
            export_schema: self.schema(&task["export"]["schema"]),
            timeout: (!task["timeout"].is_null()).then(|| self.duration(&task["timeout"]["after"])),
        }
    }

    fn kind(&mut self, task: &Json, id: NodeId, at: &str, flow: &dyn Fn(&Json) -> Flow) -> NodeKind {
        if let Some(name) = task["call"].as_str() {
            return NodeKind::Act(self.act(name, task));
        }
        if !task["set"].is_null() {
            return NodeKind::Eval(self.template(&task["set"]));
        }
        if let Some(cases) = task["switch"].as_array() {
            let way = |case: &Json| {
                let (name, case) = case.as_object().unwrap().iter().next().unwrap();
                (name.clone(), case["when"].clone(), flow(&case["then"]))
            };
            let ways: Vec<_> = cases.iter().map(way).collect();
            let ways = ways.into_iter().map(|(name, when, flow)| Way { name, guard: self.optional(&when), flow });
            return NodeKind::Route(ways.collect());
        }
        if !task["for"].is_null() {
            let text = |name: &str, default: &str| task["for"][name].as_str().unwrap_or(default).to_owned();
            return NodeKind::Each(Each {
                parallel: task["metadata"]["parallel"].as_u64().map(|width| width as u32),
                items: self.position(&task["for"]["in"], at),
                item: text("each", "item"),
                index: text("at", "index"),
                condition: self.optional(&task["while"]),
                body: self.list(&task["do"], Some(id), &format!("{at}/do")),
            });
        }
        if let Some(branches) = task["fork"]["branches"].as_array() {
            let branch = |(index, branch): (usize, &Json)| Branch {
                name: branch.as_object().unwrap().keys().next().unwrap().clone(),
                body: self.list(&json!([branch]), Some(id), &format!("{at}/fork/branches/{index}")),
            };
            let branches = branches.iter().enumerate().map(branch).collect();
            return NodeKind::Fork(Fork { branches, compete: task["fork"]["compete"] == true });
        }
        if let Some(event) = task["emit"].as_object() {
            return NodeKind::Emit(self.template(&event["event"]["with"]));
        }
        if !task["listen"].is_null() {
            return NodeKind::Listen(self.listen(task, id, at));
        }
        if !task["wait"].is_null() {
            return NodeKind::Timer(self.duration(&task["wait"]));
        }
        if !task["try"].is_null() {
            let body = self.list(&task["try"], Some(id), &format!("{at}/try"));
            return NodeKind::Scope(Block {
                body,
                catch: Some(self.catch(&task["catch"], id, at, flow)),
                keep_input: false,
            });
        }
        if let Some(text) = task["raise"]["error"].as_str() {
            return NodeKind::Raise(Raise::Again(self.expression(text)));
        }
        if !task["raise"].is_null() {
            return NodeKind::Raise(Raise::Error(self.template(&task["raise"]["error"])));
        }
        NodeKind::Scope(Block {
            body: self.list(&task["do"], Some(id), &format!("{at}/do")),
            catch: None,
            keep_input: false,
        })
    }

    fn act(&mut self, name: &str, task: &Json) -> Act {
        let metadata = &task["metadata"];
        let effect: Effect = serde_json::from_value(metadata["effect"].clone()).unwrap_or(Effect::Idempotent);
        let with = if task["with"].is_null() { json!({}) } else { task["with"].clone() };
        Act {
            callee: Callee::Action(ActionRef {
                pack: PackName::parse("test").unwrap(),
                version: semver::Version::new(1, 0, 0),
                action: ActionName::parse(name).unwrap(),
                component: Digest::of(name.as_bytes()),
            }),
            detached: false,
            arguments: self.template(&with),
            effect,
            timeout: SignedDuration::from_secs(30),
            heartbeat: metadata["heartbeat"].as_str().map(|text| duration::read(&Json::from(text)).unwrap()),
            input_schema: self.schema(&metadata["inputSchema"]),
            output_schema: self.schema(&metadata["outputSchema"]),
            probe: metadata["probe"] == true,
            undo: false,
        }
    }

    fn catch(&mut self, catch: &Json, id: NodeId, at: &str, flow: &dyn Fn(&Json) -> Flow) -> Catch {
        let with = &catch["errors"]["with"];
        let text = |name: &str| with[name].as_str().map(str::to_owned);
        Catch {
            with: ErrorFilter {
                kind: text("type"),
                status: with["status"].as_u64().map(|status| status as u16),
                title: text("title"),
                detail: text("detail"),
                instance: text("instance"),
            },
            variable: catch["as"].as_str().unwrap_or("error").to_owned(),
            when: self.optional(&catch["when"]),
            except_when: self.optional(&catch["exceptWhen"]),
            retry: (!catch["retry"].is_null()).then(|| self.retry(&catch["retry"])),
            handler: (!catch["do"].is_null()).then(|| self.list(&catch["do"], Some(id), &format!("{at}/catch/do"))),
            then: (!catch["then"].is_null()).then(|| flow(&catch["then"])),
        }
    }

    fn retry(&mut self, retry: &Json) -> Retry {
        let mut length = |value: &Json| (!value.is_null()).then(|| self.duration(value));
        let (delay, from, to) =
            (length(&retry["delay"]), length(&retry["jitter"]["from"]), length(&retry["jitter"]["to"]));
        let limit = &retry["limit"];
        let (attempt_duration, total_duration) = (length(&limit["attempt"]["duration"]), length(&limit["duration"]));
        let backoff = &retry["backoff"];
        Retry {
            when: self.optional(&retry["when"]),
            except_when: self.optional(&retry["exceptWhen"]),
            delay: delay.unwrap_or(Duration::Fixed(jiff::SignedDuration::ZERO)),
            backoff: match () {
                () if !backoff["linear"].is_null() => Backoff::Linear,
                () if !backoff["exponential"].is_null() => Backoff::Exponential,
                () => Backoff::Constant,
            },
            jitter: from.zip(to),
            count: retry["limit"]["attempt"]["count"].as_u64().map(|count| count as u32),
            attempt_duration,
            total_duration,
        }
    }

    fn duration(&mut self, value: &Json) -> Duration {
        match value.as_str().and_then(inner) {
            Some(text) => Duration::Expression(self.expression(text)),
            None => Duration::Fixed(duration::read(value).unwrap()),
        }
    }

    /// An expression position: a bare string is an expression, too.
    fn position(&mut self, value: &Json, _at: &str) -> Template {
        match value.as_str() {
            Some(text) => Template::Expression(self.expression(inner(text).unwrap_or(text))),
            None => self.template(value),
        }
    }

    fn template(&mut self, value: &Json) -> Template {
        match value {
            Json::String(text) if inner(text).is_some() => Template::Expression(self.expression(inner(text).unwrap())),
            Json::Array(items) => Template::Array(items.iter().map(|item| self.template(item)).collect()),
            Json::Object(members) => {
                Template::Object(members.iter().map(|(name, value)| (name.clone(), self.template(value))).collect())
            }
            plain => Template::Literal(plain.clone()),
        }
    }

    fn optional(&mut self, value: &Json) -> Option<ExpressionId> {
        value.as_str().map(|text| self.expression(inner(text).unwrap_or(text)))
    }

    fn expression(&mut self, text: &str) -> ExpressionId {
        let text = inner(text).unwrap_or(text);
        let mut variables: Vec<String> = text
            .split('$')
            .skip(1)
            .map(|rest| rest.chars().take_while(|char| char.is_ascii_alphanumeric()).collect())
            .collect();
        variables.sort();
        variables.dedup();
        self.expressions.push(Expression { text: text.to_owned(), pointer: "/test".to_owned(), variables, path: None });
        ExpressionId(self.expressions.len() as u32 - 1)
    }

    /// `listen: {to: {one|all|any: […]}, until: <expression>}` with `with` and `correlate: {key: {from, expect}}`.
    fn listen(&mut self, task: &Json, id: NodeId, at: &str) -> Listen {
        let to = &task["listen"]["to"];
        let (kind, filters) = match (&to["all"], &to["any"]) {
            (Json::Array(filters), _) => (Consume::All, filters.clone()),
            (_, Json::Array(filters)) => (Consume::Any, filters.clone()),
            _ => (Consume::One, vec![to["one"].clone()]),
        };
        let filters = filters.iter().map(|filter| self.filter(filter)).collect();
        let until = self.optional(&to["until"]).map(Until::Holds);
        let foreach = task["foreach"].as_object().map(|each| Foreach {
            item: "item".to_owned(),
            index: "index".to_owned(),
            body: each.get("do").map(|body| self.list(body, Some(id), &format!("{at}/foreach/do"))),
            output_as: None,
            export_as: each.get("export").map(|export| self.position(&export["as"], at)),
        });
        Listen { to: Strategy { kind, filters, until }, read: Read::Data, foreach }
    }

    fn filter(&mut self, filter: &Json) -> Filter {
        let members = |value: &Json| value.as_object().cloned().unwrap_or_default();
        let with = members(&filter["with"]).into_iter().map(|(name, value)| match value.as_str().and_then(inner) {
            Some(text) => (name, Match::Expression(self.expression(text))),
            None => (name, Match::Equals(value)),
        });
        let with = with.collect();
        let correlate = members(&filter["correlate"]).into_iter().map(|(key, value)| Correlation {
            key,
            from: self.expression(value["from"].as_str().unwrap()),
            expect: (!value["expect"].is_null()).then(|| self.template(&value["expect"])),
        });
        Filter { with, correlate: correlate.collect() }
    }

    fn schema(&mut self, schema: &Json) -> Option<SchemaId> {
        if schema.is_null() {
            return None;
        }
        let validator = jsonschema::validator_for(schema).unwrap();
        self.schemas.push(Schema { pointer: "/test".to_owned(), validator });
        Some(SchemaId(self.schemas.len() as u32 - 1))
    }
}

fn inner(text: &str) -> Option<&str> {
    text.trim().strip_prefix("${")?.strip_suffix('}').map(str::trim)
}

/// Knows `a == b`, `a < b`, `a + b` (numbers, text, arrays) with operands `.a.b`, `$v.a` and JSON; `fail` fails.
pub(crate) struct Plain;

impl Evaluate for Plain {
    fn evaluate(&self, _: &Program, expression: &Expression, bindings: &Bindings<'_>) -> Result<Json, ExpressionError> {
        value(&expression.text, bindings).ok_or_else(|| ExpressionError {
            message: "it fails".to_owned(),
            text: expression.text.clone(),
            pointer: expression.pointer.clone(),
        })
    }

    fn check(&self, _: &str, _: &[&str]) -> Result<(), String> {
        Ok(())
    }
}

fn value(text: &str, bindings: &Bindings<'_>) -> Option<Json> {
    let both = |(left, right): (&str, &str)| Some((value(left, bindings)?, value(right, bindings)?));
    if let Some(sides) = text.split_once(" == ") {
        return both(sides).map(|(left, right)| json!(left == right));
    }
    if let Some(sides) = text.split_once(" < ") {
        return both(sides).map(|(left, right)| json!(left.as_f64() < right.as_f64()));
    }
    if let Some(sides) = text.rsplit_once(" + ") {
        return both(sides).and_then(|sides| match sides {
            (Json::Number(left), Json::Number(right)) => Some(json!(left.as_i64()? + right.as_i64()?)),
            (Json::String(left), Json::String(right)) => Some(json!(left + &right)),
            (Json::Array(left), right) => Some(Json::Array(left.into_iter().chain([right]).collect())),
            (Json::Null, right) => Some(right),
            _ => None,
        });
    }
    let text = text.trim();
    let (start, path) = match text.strip_prefix('$') {
        Some(rest) => {
            let (name, path) = rest.split_once('.').unwrap_or((rest, ""));
            (&*bindings.variables.iter().find(|(bound, _)| *bound == name)?.1, path)
        }
        None => match text.strip_prefix('.') {
            Some(path) => (&*bindings.input, path),
            None => return serde_json::from_str(text).ok(),
        },
    };
    let steps = path.split('.').filter(|step| !step.is_empty());
    Some(steps.fold(start, |value, step| step.parse().map_or(&value[step], |index: usize| &value[index])).clone())
}
