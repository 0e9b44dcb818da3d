//! Expressions, templates and schemas: everything that makes or checks data.

use super::task::Env;
use super::{Compiler, escape, index};
use crate::definition::diagnostic::near;
use crate::definition::expression;
use crate::definition::graph::{Expression, ExpressionId, PlainPath, Schema, SchemaId, Template};
use crate::definition::lint::reads::secret_keys;
use crate::definition::yaml::{Tree, Value};
use crate::definition::{path, schema};
use crate::model::Json;

/// So many unknown variables of one program are looked into; each look compiles it.
const UNKNOWN_MAX: usize = 8;

/// Where an expression stands; it decides which variables there are (DSL 1.0, “Runtime expressions”).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spot {
    /// The workflow's `input` and `timeout`.
    WorkflowInput,
    /// The workflow's `output`.
    WorkflowOutput,
    /// A task's `if`, `input.from` and `timeout`.
    Before,
    /// A task's body and `output.as`.
    Body,
    /// What a request to the outside is made of: the one place where secrets may be named.
    Request,
    /// A task's `export.as`.
    Export,
    /// What starts instances, while there is none.
    Trigger,
}

impl Spot {
    fn variables(self) -> &'static [&'static str] {
        match self {
            Self::WorkflowInput => &["workflow", "runtime"],
            Self::WorkflowOutput => &["context", "workflow", "runtime"],
            Self::Before => &["context", "task", "workflow", "runtime"],
            Self::Body => &["context", "input", "task", "workflow", "runtime"],
            Self::Request => &["context", "input", "secrets", "task", "workflow", "runtime"],
            Self::Trigger => &["runtime"],
            Self::Export => &["context", "input", "output", "task", "workflow", "runtime"],
        }
    }
}

/// A spot with the variables of the loops and catches around it.
pub(super) type At<'e> = (Spot, &'e Env);

impl<'a> Compiler<'a> {
    /// A place where jq stands bare or within `${ }`.
    pub(super) fn condition(&mut self, tree: &'a Tree, pointer: &str, at: At<'_>) -> Option<ExpressionId> {
        let Some(text) = tree.as_text() else {
            let message = format!("an expression is text, not {}", tree.kind());
            self.error_with_cure("wrong-type", tree.position, message, "put it between quotes");
            return None;
        };
        self.expression(expression::wrapped(text).unwrap_or(text), tree, pointer, at)
    }

    /// The string form is an expression, any other form data with expressions inside.
    pub(super) fn transform(&mut self, tree: &'a Tree, pointer: &str, at: At<'_>) -> Option<Template> {
        match &tree.value {
            Value::Text(text) => {
                let program = expression::wrapped(text).unwrap_or(text);
                self.expression(program, tree, pointer, at).map(Template::Expression)
            }
            Value::Map(_) => self.template(tree, pointer, at),
            _ => {
                let message = format!("an expression or a mapping belongs here, not {}", tree.kind());
                self.error("wrong-type", tree.position, message);
                None
            }
        }
    }

    /// Data, in which a text is an expression only if the whole of it is `${ … }`.
    pub(super) fn template(&mut self, tree: &'a Tree, pointer: &str, at: At<'_>) -> Option<Template> {
        self.spend(tree.position)?;
        match &tree.value {
            Value::Text(text) => match expression::wrapped(text) {
                Some(program) => self.expression_or_literal(program, tree, pointer, at),
                None if self.loose => Some(self.loose_text(text, pointer, at)),
                None => {
                    self.warn_of_embedded(text, tree);
                    Some(Template::Literal(Json::from(text.as_str())))
                }
            },
            Value::List(items) => {
                let mut parts = Vec::with_capacity(items.len());
                for (index, item) in items.iter().enumerate() {
                    parts.push(self.template(item, &format!("{pointer}/{index}"), at));
                }
                let parts = parts.into_iter().collect::<Option<Vec<_>>>()?;
                Some(if parts.iter().all(is_literal) { literal_array(parts) } else { Template::Array(parts) })
            }
            Value::Map(entries) => {
                let mut parts = Vec::with_capacity(entries.len());
                for entry in entries {
                    let part = self.template(&entry.value, &format!("{pointer}/{}", escape(&entry.key)), at);
                    parts.push(part.map(|part| (entry.key.clone(), part)));
                }
                parts.into_iter().collect::<Option<Vec<_>>>().map(object)
            }
            _ => Some(Template::Literal(tree.to_json())),
        }
    }

    /// A program that is a JSON value gives that value, whatever it is run on.
    fn expression_or_literal(&mut self, program: &str, tree: &'a Tree, pointer: &str, at: At<'_>) -> Option<Template> {
        match expression::literal(program) {
            Some(value) => Some(Template::Literal(value)),
            None => self.expression(program, tree, pointer, at).map(Template::Expression),
        }
    }

    /// In loose mode each text is tried as a program, and stays text where it is none.
    fn loose_text(&mut self, text: &str, pointer: &str, (spot, env): At<'_>) -> Template {
        let program = text.trim();
        if let Some(value) = expression::literal(program) {
            return Template::Literal(value);
        }
        let mentioned = expression::variables(program);
        let known = |name: &str| spot.variables().contains(&name) || env.knows(name);
        let reads: Vec<&str> = mentioned.into_iter().filter(|name| known(name)).collect();
        let path = path::parse(program).filter(|path| path.root.as_deref().is_none_or(known));
        if program.is_empty() || path.is_none() && self.judge(program, &reads).is_err() {
            return Template::Literal(Json::from(text));
        }
        Template::Loose(self.add_expression(program, pointer, &reads, path), text.to_owned())
    }

    fn warn_of_embedded(&mut self, text: &str, tree: &Tree) {
        let Some((before, rest)) = text.split_once("${") else { return };
        let (inside, after) = rest.split_once('}').unwrap_or((rest, ""));
        let suggestion = format!("${{ \"{before}\\({}){after}\" }}", inside.trim());
        self.warning(
            "text-with-embedded-expression",
            tree.position,
            "this text is not an expression, because it is more than one `${ … }`; it stays as written",
            format!("if a value is to be put in, write '{suggestion}'"),
        );
    }

    pub(super) fn expression(
        &mut self,
        program: &str,
        tree: &Tree,
        pointer: &str,
        (spot, env): At<'_>,
    ) -> Option<ExpressionId> {
        let program = program.trim();
        if program.is_empty() {
            self.error("expression-syntax", tree.position, "the expression is empty");
            return None;
        }
        let mentioned = expression::variables(program);
        if mentioned.contains("secrets") {
            self.check_secrets(program, tree, spot)?;
        }
        let known = |name: &str| spot.variables().contains(&name) || env.knows(name);
        let reads: Vec<&str> = mentioned.iter().copied().filter(|name| known(name)).collect();
        let path = path::parse(program).filter(|path| path.root.as_deref().is_none_or(known));
        if path.is_none()
            && let Err(message) = self.judge(program, &reads)
        {
            let mentioned: Vec<&str> = mentioned.into_iter().collect();
            self.refuse_expression(program, tree, &message, &mentioned, &reads);
            return None;
        }
        Some(self.add_expression(program, pointer, &reads, path))
    }

    fn add_expression(
        &mut self,
        program: &str,
        pointer: &str,
        reads: &[&str],
        path: Option<PlainPath>,
    ) -> ExpressionId {
        self.expressions.push(Expression {
            text: program.to_owned(),
            pointer: pointer.to_owned(),
            variables: reads.iter().map(|name| (*name).to_owned()).collect(),
            path,
        });
        ExpressionId(index(self.expressions.len() - 1))
    }

    /// What the evaluator says of the program; asked once for each.
    fn judge(&mut self, program: &str, variables: &[&str]) -> Result<(), String> {
        let key = format!("{} {program}", variables.join(" $"));
        if let Some(known) = self.checked.get(&key) {
            return known.clone();
        }
        let verdict = self.evaluator.check(program, variables);
        self.checked.insert(key, verdict.clone());
        verdict
    }

    /// Secrets stay in requests, and only declared ones are named.
    fn check_secrets(&mut self, program: &str, tree: &Tree, spot: Spot) -> Option<()> {
        if spot != Spot::Request {
            let message = "a secret may not go into data: `$secrets` is bound in requests alone";
            let cure = "name it in `with` of `call: http` or `call: openapi`, or in `use.authentications`; an action gets                         its own through the pack's connections";
            self.error_with_cure("secret-leaves", tree.position, message, cure);
            return None;
        }
        let undeclared = match secret_keys(program) {
            _ if self.secrets.is_empty() => Some("secrets"),
            keys => keys.into_iter().find(|key| !self.secrets.iter().any(|secret| secret == key)),
        };
        undeclared.map_or(Some(()), |name| self.refuse_secret(name, tree))
    }

    /// Reports a secret that is not declared.
    pub(super) fn refuse_secret(&mut self, name: &str, tree: &Tree) -> Option<()> {
        let candidates = near(name, self.secrets.iter().map(String::as_str));
        let cure = match (candidates.first(), name) {
            (Some(candidate), _) => format!("did you mean `{candidate}`?"),
            (None, "secrets") => "declare each secret by its name: `use: { secrets: [ … ] }`".to_owned(),
            (None, name) => format!("declare it: `use: {{ secrets: [ {name} ] }}`"),
        };
        let message = match name {
            "secrets" if self.secrets.is_empty() => "`$secrets` is used, but `use.secrets` declares none".to_owned(),
            name => format!("the secret `{name}` is not declared in `use.secrets`"),
        };
        self.error_with_cure("undeclared-secret", tree.position, message, cure);
        None
    }

    /// Tells a variable that is not there from a program that is none: with all that are mentioned, the first compiles.
    fn refuse_expression(&mut self, program: &str, tree: &Tree, message: &str, mentioned: &[&str], reads: &[&str]) {
        let unknown: Vec<&str> = mentioned.iter().copied().filter(|name| !reads.contains(name)).collect();
        let is_scope = !unknown.is_empty() && self.judge(program, mentioned).is_ok();
        // A name that the program binds itself is not missing: it compiles without it.
        let missing = unknown.iter().take(UNKNOWN_MAX).find(|name| {
            let others: Vec<&str> = mentioned.iter().copied().filter(|other| other != *name).collect();
            unknown.len() == 1 || self.judge(program, &others).is_err()
        });
        match missing.filter(|_| is_scope) {
            Some(&name) => self.refuse_variable(name, tree, reads),
            None => {
                let message = format!("`{}` is not a jq program: {message}", cut(program));
                if program.contains("${") {
                    let cure = "a text with several `${ … }` is one program; build it with `\"\\(.a) and \\(.b)\"`";
                    self.error_with_cure("expression-syntax", tree.position, message, cure);
                } else {
                    self.error("expression-syntax", tree.position, message);
                }
            }
        }
    }

    fn refuse_variable(&mut self, name: &str, tree: &Tree, reads: &[&str]) {
        let (code, message, cure) = match name {
            "authorization" => (
                "unsupported",
                "`$authorization` is not supported: a credential never enters a workflow".to_owned(),
                "leave authentication to a connection, or to `use.authentications`".to_owned(),
            ),
            name if expression::RESERVED.contains(&name) => (
                "variable-out-of-scope",
                format!("`${name}` is not bound at this place"),
                "`$input` is bound in a task's body, `output` and `export`; `$output` in `export` alone; `$context` \
                 everywhere but in the workflow's `input`"
                    .to_owned(),
            ),
            name => (
                "variable-out-of-scope",
                format!("there is no variable `${name}` at this place"),
                match reads {
                    [] => "a loop's or catch's variable is seen by the tasks inside it alone".to_owned(),
                    reads => format!("bound here and used: ${}", reads.join(", $")),
                },
            ),
        };
        self.error_with_cure(code, tree.position, message, cure);
    }

    /// `input: {schema, from}` and its siblings.
    pub(super) fn data_block(
        &mut self,
        task: &'a Tree,
        block: &'static str,
        transform: &'static str,
        pointer: &str,
        at: At<'_>,
    ) -> Option<(Option<SchemaId>, Option<Template>)> {
        let Some(tree) = task.get(block) else { return Some((None, None)) };
        self.map(tree, &format!("`{block}`"))?;
        self.keys(tree, &format!("`{block}`"), &["schema", transform], &[]);
        let schema = match tree.get("schema") {
            Some(schema) => self.schema(schema, &format!("{pointer}/{block}/schema")).map(Some),
            None => Some(None),
        };
        let template = match tree.get(transform) {
            Some(value) => self.transform(value, &format!("{pointer}/{block}/{transform}"), at).map(Some),
            None => Some(None),
        };
        Some((schema?, template?))
    }

    /// `schema: {format: json, document}`.
    fn schema(&mut self, tree: &'a Tree, pointer: &str) -> Option<SchemaId> {
        self.map(tree, "`schema`")?;
        self.keys(tree, "`schema`", &["format", "document", "resource"], &[]);
        if let Some(format) = tree.get("format")
            && !matches!(format.as_text(), Some("json" | "json:2020-12"))
        {
            let message = "only JSON Schema is supported as a schema's format";
            self.error_with_cure("unsupported", format.position, message, "write `format: json`");
        }
        if let Some(resource) = tree.get("resource") {
            let message = "`schema.resource` is not supported: a workflow holds all that it means";
            self.error_with_cure("unsupported", resource.position, message, "put the schema in place, as `document`");
            return None;
        }
        let document = self.required(tree, "document", "`schema`")?;
        match schema::compile(&document.to_json()) {
            Ok(validator) => {
                self.schemas.push(Schema { pointer: format!("{pointer}/document"), validator });
                Some(SchemaId(index(self.schemas.len() - 1)))
            }
            Err(error) => {
                let at = document.position_at(&error.pointer);
                self.error("schema", at, format!("not a JSON Schema (2020-12): {error}"));
                None
            }
        }
    }
}

fn is_literal(template: &Template) -> bool {
    matches!(template, Template::Literal(_))
}

// A folded `${ 1 }` is a literal too, so the parts are the truth here, not the tree.
fn literal_array(parts: Vec<Template>) -> Template {
    let items = parts.into_iter().filter_map(|part| match part {
        Template::Literal(value) => Some(value),
        _ => None,
    });
    Template::Literal(items.collect())
}

/// An object, which is a literal when all its members are.
pub(super) fn object(parts: Vec<(String, Template)>) -> Template {
    let literal = parts.iter().all(|(_, part)| is_literal(part));
    if literal { literal_object(parts) } else { Template::Object(parts) }
}

fn literal_object(parts: Vec<(String, Template)>) -> Template {
    let members = parts.into_iter().filter_map(|(key, part)| match part {
        Template::Literal(value) => Some((key, value)),
        _ => None,
    });
    Template::Literal(Json::Object(members.collect()))
}

fn cut(program: &str) -> String {
    program.chars().take(200).collect()
}
