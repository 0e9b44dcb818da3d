//! `call: http` and `call: openapi`: requests that the host itself sends. Here alone may secrets be named.

use jiff::SignedDuration;
use url::Url;

use super::Compiler;
use super::task::Task;
use super::value::{At, Spot, object};
use crate::definition::expression;
use crate::definition::graph::{Act, Callee, Template};
use crate::definition::yaml::{Tree, Value};
use crate::model::{Effect, Json};

/// How long one attempt may take: a service that answers at all answers within a minute. A task's `timeout` may be
/// shorter.
const REQUEST_TIMEOUT: SignedDuration = SignedDuration::from_secs(60);

/// What of the answer becomes the output.
const OUTPUTS: [(&str, &str); 3] = [("content", "content"), ("raw", "raw"), ("response", "response")];

/// The methods that may be repeated (RFC 9110, section 9.2.2).
const IDEMPOTENT: [&str; 6] = ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"];

/// Where a request may go; `connection://<name>/<path>` is a path below a connection of the pack.
const SCHEMES: [&str; 3] = ["http", "https", "connection"];

/// A member of the arguments; nothing where it was refused.
type Member = (&'static str, Option<Template>);

impl<'a> Compiler<'a> {
    pub(super) fn http(&mut self, task: &Task<'a, '_>) -> Option<Act> {
        let with = self.with(task, &["method", "endpoint", "headers", "query", "body", "output", "redirect"])?;
        let (pointer, at) = (format!("{}/with", task.pointer), (Spot::Request, task.env));
        let method = self.required(with, "method", "`with`").and_then(|tree| self.method(tree, &pointer, at));
        let endpoint = self.required(with, "endpoint", "`with`");
        let (uri, authentication) = self.endpoint(endpoint?, &format!("{pointer}/endpoint"), at);
        let mut members = vec![
            ("method", method.clone()),
            ("endpoint", uri),
            ("headers", self.pairs(with, "headers", &pointer, at)),
            ("query", self.pairs(with, "query", &pointer, at)),
            ("output", self.output(with)),
            ("redirect", self.redirect(with)),
        ];
        if let Some(body) = with.get("body") {
            members.push(("body", self.template(body, &format!("{pointer}/body"), at)));
        }
        members.extend(authentication.map(|template| ("authentication", template)));
        let effect = match &method {
            Some(Template::Literal(method)) if IDEMPOTENT.contains(&method.as_str().unwrap_or_default()) => {
                Effect::Idempotent
            }
            _ => Effect::Once,
        };
        self.request(task, Callee::Http, members, effect)
    }

    pub(super) fn openapi(&mut self, task: &Task<'a, '_>) -> Option<Act> {
        let known = ["document", "operationId", "parameters", "authentication", "output", "redirect"];
        let with = self.with(task, &known)?;
        let (pointer, at) = (format!("{}/with", task.pointer), (Spot::Request, task.env));
        let document = self.required(with, "document", "`with`").and_then(|tree| self.document(tree, &pointer, at));
        let operation = self.required(with, "operationId", "`with`").and_then(|tree| {
            self.text(tree, "`operationId`")?;
            self.template(tree, &format!("{pointer}/operationId"), at)
        });
        let mut members = vec![
            ("document", document),
            ("operationId", operation),
            ("parameters", self.pairs(with, "parameters", &pointer, at)),
            ("output", self.output(with)),
            ("redirect", self.redirect(with)),
        ];
        if let Some(tree) = with.get("authentication") {
            members.push(("authentication", self.authentication(tree, &format!("{pointer}/authentication"), at)));
        }
        self.request(task, Callee::OpenApi, members, Effect::Once)
    }

    fn request(&mut self, task: &Task<'a, '_>, callee: Callee, members: Vec<Member>, implied: Effect) -> Option<Act> {
        let effect = self.effect(task.tree)?;
        let members = members.into_iter().map(|(name, template)| Some((name.to_owned(), template?)));
        Some(Act {
            callee,
            arguments: object(members.collect::<Option<_>>()?),
            effect: effect.unwrap_or(implied),
            timeout: REQUEST_TIMEOUT,
            heartbeat: None,
            input_schema: None,
            output_schema: None,
            probe: false,
            undo: false,
            detached: false,
        })
    }

    fn with(&mut self, task: &Task<'a, '_>, known: &[&'static str]) -> Option<&'a Tree> {
        let with = self.required(task.tree, "with", "this call")?;
        self.map(with, "`with`")?;
        self.keys(with, "`with` of this call", known, &[]);
        Some(with)
    }

    fn method(&mut self, tree: &'a Tree, pointer: &str, at: At<'_>) -> Option<Template> {
        let text = self.text(tree, "`method`")?;
        if expression::wrapped(text).is_some() {
            return self.template(tree, &format!("{pointer}/method"), at);
        }
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_alphabetic()) {
            let message = format!("`{text}` is no method of HTTP");
            self.error_with_cure("wrong-type", tree.position, message, "write `get`, `post`, `put`, …");
            return None;
        }
        Some(Template::Literal(Json::from(text.to_ascii_uppercase())))
    }

    /// A mapping, or an expression that gives one; absent: an empty one.
    fn pairs(&mut self, with: &'a Tree, key: &str, pointer: &str, at: At<'_>) -> Option<Template> {
        let Some(tree) = with.get(key) else { return Some(object(Vec::new())) };
        let is_expression = tree.as_text().is_some_and(|text| expression::wrapped(text).is_some());
        if !is_expression {
            self.map(tree, &format!("`{key}`"))?;
        }
        self.template(tree, &format!("{pointer}/{key}"), at)
    }

    fn output(&mut self, with: &'a Tree) -> Option<Template> {
        let output = with.get("output").map_or(Some("content"), |tree| self.word(tree, "`output`", &OUTPUTS));
        output.map(|output| Template::Literal(Json::from(output)))
    }

    fn redirect(&mut self, with: &'a Tree) -> Option<Template> {
        self.flag(with.get("redirect"), "`redirect`").map(|flag| Template::Literal(Json::from(flag)))
    }

    /// `document: {endpoint}`.
    fn document(&mut self, tree: &'a Tree, pointer: &str, at: At<'_>) -> Option<Template> {
        self.map(tree, "`document`")?;
        self.keys(tree, "`document`", &["name", "endpoint"], &[]);
        let pointer = format!("{pointer}/document/endpoint");
        let endpoint = self.required(tree, "endpoint", "`document`")?;
        let (uri, authentication) = self.endpoint(endpoint, &pointer, at);
        let mut members = vec![("endpoint".to_owned(), uri?)];
        if let Some(authentication) = authentication {
            members.push(("authentication".to_owned(), authentication?));
        }
        Some(object(members))
    }

    /// An endpoint as text or as `{uri, authentication}`.
    fn endpoint(&mut self, tree: &'a Tree, pointer: &str, at: At<'_>) -> (Option<Template>, Option<Option<Template>>) {
        let Value::Map(_) = &tree.value else { return (self.uri(tree, pointer, at), None) };
        self.keys(tree, "`endpoint`", &["uri", "authentication"], &[]);
        let uri = self.required(tree, "uri", "`endpoint`");
        let uri = uri.and_then(|uri| self.uri(uri, &format!("{pointer}/uri"), at));
        let authentication = tree.get("authentication");
        (uri, authentication.map(|tree| self.authentication(tree, &format!("{pointer}/authentication"), at)))
    }

    /// An absolute URI, a template of one, or an expression that gives one.
    pub(super) fn uri(&mut self, tree: &'a Tree, pointer: &str, at: At<'_>) -> Option<Template> {
        let text = self.text(tree, "a URI")?;
        if let Some(program) = expression::wrapped(text) {
            return self.expression(program, tree, pointer, at).map(Template::Expression);
        }
        if matches!(text, "http://" | "https://") {
            let message = format!("`{text}` names no host: whatever asks it fails");
            self.warning("uri-without-host", tree.position, message, "write it in full, `https://example.com/items`");
            return Some(Template::Literal(Json::from(text)));
        }
        if let Err((message, cure)) = check_uri(text) {
            self.error_with_cure("uri", tree.position, format!("`{text}` {message}"), cure);
            return None;
        }
        Some(if text.contains('{') { Template::Uri(text.to_owned()) } else { Template::Literal(Json::from(text)) })
    }
}

/// What is wrong with a URI or a template of one, and the cure.
fn check_uri(text: &str) -> Result<(), (&'static str, &'static str)> {
    const PLACES: &str = "name a member of the input between two braces, `https://example.com/items/{id}`";
    const WHOLE: &str = "write it in full, `https://example.com/items`, or as one expression, `${ … }`";
    const VARIABLE: &str = "make it one expression, `'${ \"https://example.com/\\($secrets.token)\" }'`";
    if text.contains("${") {
        return Err(("is more than one expression", WHOLE));
    }
    // With its places filled, a template has to be a URI as well.
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, inside)) = rest.split_once('{') {
        let Some((name, after)) = inside.split_once('}') else {
            return Err(("has a brace that nothing closes", PLACES));
        };
        if name.is_empty() || name.contains('{') || before.contains('}') {
            return Err(("has a brace too many", PLACES));
        }
        if name.starts_with('$') {
            return Err(("names a variable, and a template knows the members of the input alone", VARIABLE));
        }
        if name.starts_with(['+', '#', '.', '/', ';', '?', '&', '=', '!', ',', '|', '@']) || name.contains(['*', ',']) {
            return Err(("uses an operator of URI templates, and only plain names are taken", PLACES));
        }
        filled.push_str(before);
        filled.push_str(if filled.is_empty() { "https://x.example" } else { "1" });
        rest = after;
    }
    if rest.contains('}') {
        return Err(("has a brace too many", PLACES));
    }
    filled.push_str(rest);
    match Url::parse(&filled) {
        Ok(url) if SCHEMES.contains(&url.scheme()) && url.has_host() => Ok(()),
        _ => Err(("is no absolute http or https URI, nor a path below a connection", WHOLE)),
    }
}
