//! Reads a file of `tests/` and holds it to its pack: every name in it has to be one of the pack. It goes on after each
//! finding, so that one look shows them all.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::case::{ActionLabel, Answer, Answered, Body, Case, Entry, Expect, Reply, TestFile, Times, Told, Way};
use super::mail;
use crate::definition::diagnostic::near;
use crate::definition::yaml::{self, Entry as Pair, Tree, Value};
use crate::definition::{Diagnostic, Position, Source};
use crate::desk::Status;
use crate::model::WorkflowName;

/// More cases in one file nobody can read.
const CASES_MAX: usize = 1_000;

const CASE_KEYS: &[&str] = &["name", "input", "outside", "actions", "events", "cancel", "crash", "expect"];
const MAIL_KEYS: &[&str] = &["connection", "mail", "filtered", "failure", "times"];
const ENTRY_KEYS: &[&str] = &["connection", "request", "query", "headers", "body", "reply", "failure", "times"];
const REPLY_KEYS: &[&str] = &["status", "headers", "json", "text"];
const ANSWER_KEYS: &[&str] = &["action", "output", "transient", "permanent", "times"];
const TOLD_KEYS: &[&str] = &["type", "status", "title", "detail"];
const EXPECT_KEYS: &[&str] = &["status", "output", "error", "tasks", "arguments"];
const ERROR_KEYS: &[&str] = &["type", "status", "title", "detail", "instance"];
const METHODS: &[&str] = &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
const STATUSES: &[&str] = &["completed", "faulted", "cancelled", "waiting"];

/// What a test file may name, and how it is checked.
pub trait Known {
    /// The workflows.
    fn workflows(&self) -> Vec<String>;
    /// The connections.
    fn connections(&self) -> Vec<String>;
    /// Those of them that are for mail.
    fn mail_connections(&self) -> Vec<String>;
    /// The tasks of a workflow.
    fn tasks(&self, workflow: &WorkflowName) -> Vec<String>;
    /// The actions that a workflow calls, and those that the workflows it runs call.
    fn calls(&self, workflow: &WorkflowName) -> Vec<ActionLabel>;
    /// Why an action's output does not fit its schema, each with a JSON pointer into the output.
    fn misfits(&self, action: &ActionLabel, output: &Json) -> Vec<(String, String)>;
}

/// Reads a file.
///
/// # Errors
/// Everything that is wrong with it.
pub fn read(source: Source<'_>, known: &dyn Known) -> Result<TestFile, Vec<Diagnostic>> {
    let tree = yaml::parse(source.text, source.path).map_err(|finding| vec![finding])?;
    let mut reader = Reader { source, known, findings: Vec::new() };
    let file = reader.file(&tree);
    let mut findings = reader.findings;
    findings.sort_by_key(|finding| (finding.line, finding.column));
    match file {
        Some(file) if findings.is_empty() => Ok(file),
        _ => Err(findings),
    }
}

struct Reader<'a> {
    source: Source<'a>,
    known: &'a dyn Known,
    findings: Vec<Diagnostic>,
}

impl Reader<'_> {
    fn file(&mut self, tree: &Tree) -> Option<TestFile> {
        self.mapping(tree, "a test file", &["workflow", "cases"])?;
        let workflow = self.workflow(tree)?;
        let Some(list) = tree.get("cases") else {
            self.error(tree.position, "`cases` is missing").cure =
                Some("write `cases:` with a list below it".to_owned());
            return None;
        };
        let items = self.items(list)?;
        if items.len() > CASES_MAX {
            self.error(list.position, format!("a file has at most {CASES_MAX} cases")).cure =
                Some("make two of it".to_owned());
        }
        let cases: Vec<Case> = items.iter().filter_map(|item| self.case(item, &workflow)).collect();
        self.names_differ(list);
        Some(TestFile { path: self.source.path.to_owned(), workflow, cases })
    }

    fn workflow(&mut self, tree: &Tree) -> Option<WorkflowName> {
        let name = self.required_text(tree, "workflow")?;
        let known = self.known.workflows();
        let place = tree.get("workflow").map_or(tree.position, |value| value.position);
        if !self.is_known(place, "the pack has no workflow", &name, &known) {
            return None;
        }
        WorkflowName::parse(&name).ok()
    }

    fn names_differ(&mut self, list: &Tree) {
        let mut seen: Vec<&str> = Vec::new();
        for case in list.as_list().into_iter().flatten() {
            let Some(name) = case.get("name").and_then(Tree::as_text) else { continue };
            if seen.contains(&name) {
                let message = format!("two cases are called `{name}`");
                self.error(case.position, message).cure = Some("give each a name of its own".to_owned());
            }
            seen.push(name);
        }
    }

    fn case(&mut self, tree: &Tree, workflow: &WorkflowName) -> Option<Case> {
        self.mapping(tree, "a case", CASE_KEYS)?;
        let name = self.required_text(tree, "name");
        let outside = self.list(tree, "outside", |reader, item| reader.entry(item));
        let actions = self.list(tree, "actions", |reader, item| reader.answer(item, workflow));
        let events = self.list(tree, "events", |reader, item| reader.event(item));
        let cancel = tree.get("cancel").and_then(|value| {
            let name = self.text(value)?;
            self.task_is_known(value.position, workflow, &name).then_some(name)
        });
        let expect = match tree.get("expect") {
            Some(expect) => self.expect(expect, workflow),
            None => {
                self.error(tree.position, "`expect` is missing").cure =
                    Some("write `expect: { status: completed }`".to_owned());
                None
            }
        };
        let crash = self.crash(tree);
        let input = tree.get("input").map_or_else(|| Json::Object(serde_json::Map::new()), Tree::to_json);
        let line = tree.position.line;
        Some(Case { name: name?, line, input, outside, actions, events, cancel, crash, expect: expect? })
    }

    fn crash(&mut self, tree: &Tree) -> bool {
        let Some(value) = tree.get("crash") else { return true };
        let Json::Bool(crash) = value.to_json() else {
            self.error(value.position, "`crash` is neither `true` nor `false`").cure =
                Some("write `crash: false` where a crash does not fit the replies".to_owned());
            return true;
        };
        crash
    }

    fn event(&mut self, tree: &Tree) -> Option<Json> {
        if tree.get("type").and_then(Tree::as_text).is_none() {
            let cure = "write `{ type: …, data: … }`; id, source and specversion are put in".to_owned();
            self.error(tree.position, "this is no event: it has no `type`").cure = Some(cure);
            return None;
        }
        Some(tree.to_json())
    }

    fn entry(&mut self, tree: &Tree) -> Option<Entry> {
        if tree.get("mail").is_some() {
            return self.mail(tree);
        }
        self.mapping(tree, "an entry of `outside`", ENTRY_KEYS)?;
        let request = self.required_text(tree, "request")?;
        let place = tree.get("request").map_or(tree.position, |value| value.position);
        let (method, target) = self.request(place, &request)?;
        let (host, target) = host_of(&target);
        let way = match host {
            Some(host) => Some(Way::Host(host)),
            None => self.connection(tree).map(Way::Connection),
        };
        let (path, written) = target.split_once('?').unwrap_or((&target, ""));
        let mut query: BTreeMap<String, String> =
            url::form_urlencoded::parse(written.as_bytes()).into_owned().collect();
        query.extend(self.texts(tree, "query"));
        let lower = |(name, value): (String, String)| (name.to_lowercase(), value);
        let headers = self.texts(tree, "headers").into_iter().map(lower).collect();
        let reply = self.reply(tree);
        let times = self.times(tree);
        let (path, line, body) = (path.to_owned(), tree.position.line, tree.get("body").map(Tree::to_json));
        Some(Entry { line, way: way?, method, path, query, headers, body, reply: reply?, times: times? })
    }

    /// A message that the pack sends.
    fn mail(&mut self, tree: &Tree) -> Option<Entry> {
        self.mapping(tree, "an entry of `outside` for mail", MAIL_KEYS)?;
        let known = self.known.mail_connections();
        let name = self.connection_of(tree, &known, "for mail (`kind: smtp`)")?;
        let reply = match (tree.get("filtered"), tree.get("failure")) {
            (None, None) => Some(Reply::Response { status: 250, headers: Vec::new(), body: Body::Empty }),
            (Some(rule), None) => self.text(rule).map(Reply::Filtered),
            (None, Some(failure)) => self.failure_of(failure, &["refused", "interrupted", "unavailable"]),
            (Some(_), Some(failure)) => {
                let message = "a message is `filtered` or ends in a `failure`";
                self.error(failure.position, message).cure = Some("remove one".to_owned());
                None
            }
        };
        let times = self.times(tree);
        Some(Entry {
            line: tree.position.line,
            way: Way::Connection(name),
            method: mail::METHOD.to_owned(),
            path: mail::PATH.to_owned(),
            query: BTreeMap::new(),
            headers: BTreeMap::new(),
            body: tree.get("mail").map(Tree::to_json),
            reply: reply?,
            times: times?,
        })
    }

    fn request(&mut self, place: Position, text: &str) -> Option<(String, String)> {
        let (method, target) = text.split_once(' ').unwrap_or((text, ""));
        let target = target.trim();
        let is_target = target.starts_with('/') || target.starts_with("http://") || target.starts_with("https://");
        if !METHODS.contains(&method) || !is_target {
            let cure = format!("write a method and a path, `GET /volumes`; methods are {}", METHODS.join(", "));
            self.error(place, format!("`{text}` is no request")).cure = Some(cure);
            return None;
        }
        Some((method.to_owned(), target.to_owned()))
    }

    fn connection(&mut self, tree: &Tree) -> Option<String> {
        let known = self.known.connections();
        self.connection_of(tree, &known, "")
    }

    /// The one that an entry names, or the only one of its kind.
    fn connection_of(&mut self, tree: &Tree, known: &[String], kind: &str) -> Option<String> {
        let of_kind = if kind.is_empty() { String::new() } else { format!(" {kind}") };
        match (tree.get("connection"), known) {
            (Some(value), _) => {
                let name = self.text(value)?;
                let what = format!("the pack asks for no connection{of_kind}");
                self.is_known(value.position, &what, &name, known).then_some(name)
            }
            (None, [only]) => Some(only.clone()),
            (None, []) => {
                let cure = "declare it under `connections` in pack.yaml".to_owned();
                self.error(tree.position, format!("the pack asks for no connection{of_kind}")).cure = Some(cure);
                None
            }
            (None, _) => {
                let cure = format!("add `connection:` with one of {}", known.join(", "));
                self.error(tree.position, "the pack has several connections, and this names none").cure = Some(cure);
                None
            }
        }
    }

    fn reply(&mut self, tree: &Tree) -> Option<Reply> {
        match (tree.get("reply"), tree.get("failure")) {
            (Some(reply), None) if reply.get("failure").is_some() => {
                let failure = reply.get("failure")?;
                self.mapping(reply, "a failing reply", &["failure"])?;
                self.failure(failure)
            }
            (Some(reply), None) => self.response(reply),
            (None, Some(failure)) => self.failure(failure),
            _ => {
                let cure = "write `reply: { status: 200, json: {…} }` or `failure: timeout`".to_owned();
                self.error(tree.position, "an entry has one of `reply` and `failure`").cure = Some(cure);
                None
            }
        }
    }

    fn failure(&mut self, tree: &Tree) -> Option<Reply> {
        self.failure_of(tree, &["timeout", "interrupted", "unavailable"])
    }

    fn failure_of(&mut self, tree: &Tree, known: &[&str]) -> Option<Reply> {
        let text = self.text(tree)?;
        let known: Vec<String> = known.iter().map(|name| (*name).to_owned()).collect();
        self.is_known(tree.position, "there is no failure", &text, &known).then_some(())?;
        Some(match text.as_str() {
            "timeout" => Reply::Timeout,
            "interrupted" => Reply::Interrupted,
            "refused" => Reply::Refused,
            _ => Reply::Unavailable,
        })
    }

    fn response(&mut self, tree: &Tree) -> Option<Reply> {
        self.mapping(tree, "a reply", REPLY_KEYS)?;
        let status = match tree.get("status") {
            Some(value) => self.status_code(value)?,
            None => 200,
        };
        let body = match (tree.get("json"), tree.get("text")) {
            (Some(json), None) => Body::Json(json.to_json()),
            (None, Some(text)) => Body::Text(self.text(text)?),
            (None, None) => Body::Empty,
            (Some(_), Some(text)) => {
                self.error(text.position, "a reply has one of `json` and `text`").cure = Some("remove one".to_owned());
                return None;
            }
        };
        Some(Reply::Response { status, headers: self.texts(tree, "headers").into_iter().collect(), body })
    }

    fn status_code(&mut self, tree: &Tree) -> Option<u16> {
        let number = match &tree.value {
            Value::Number(number) => number.as_u64().filter(|number| (100..600).contains(number)),
            _ => None,
        };
        if number.is_none() {
            self.error(tree.position, "this is no status").cure = Some("write a number from 100 to 599".to_owned());
        }
        number.and_then(|number| u16::try_from(number).ok())
    }

    fn times(&mut self, tree: &Tree) -> Option<Times> {
        let Some(value) = tree.get("times") else { return Some(Times::Exactly(1)) };
        let number = match &value.value {
            Value::Number(number) => number.as_u64().and_then(|number| u32::try_from(number).ok()),
            Value::Text(text) if text == "always" => return Some(Times::Always),
            _ => None,
        };
        match number {
            Some(number) if number > 0 => Some(Times::Exactly(number)),
            _ => {
                let cure = "write how often it answers, from 1, or `always`".to_owned();
                self.error(value.position, "this is no number of times").cure = Some(cure);
                None
            }
        }
    }

    fn answer(&mut self, tree: &Tree, workflow: &WorkflowName) -> Option<Answer> {
        self.mapping(tree, "an entry of `actions`", ANSWER_KEYS)?;
        let text = self.required_text(tree, "action")?;
        let place = tree.get("action").map_or(tree.position, |value| value.position);
        let action = self.called(place, &text, workflow)?;
        let result = match (tree.get("output"), tree.get("transient"), tree.get("permanent")) {
            (Some(output), None, None) => self.output(output, &action),
            (None, Some(told), None) => self.told(told).map(Answered::Transient),
            (None, None, Some(told)) => self.told(told).map(Answered::Permanent),
            _ => {
                let cure = "write `output: {…}`, `transient: { status, detail }` or `permanent: { … }`".to_owned();
                let message = "an answer has one of `output`, `transient` and `permanent`";
                self.error(tree.position, message).cure = Some(cure);
                None
            }
        };
        let times = self.times(tree);
        Some(Answer { line: tree.position.line, action, result: result?, times: times? })
    }

    fn output(&mut self, tree: &Tree, action: &ActionLabel) -> Option<Answered> {
        let output = tree.to_json();
        let misfits = self.known.misfits(action, &output);
        let fits = misfits.is_empty();
        for (pointer, reason) in misfits {
            let place = tree.position_at(&pointer);
            let shown = if pointer.is_empty() { "it".to_owned() } else { format!("`{pointer}`") };
            let message = format!("`{action}` never gives this: {shown}: {reason}");
            self.error(place, message).cure = Some("correct it, or the action's output schema".to_owned());
        }
        fits.then_some(Answered::Output(output))
    }

    fn told(&mut self, tree: &Tree) -> Option<Told> {
        self.mapping(tree, "a failure", TOLD_KEYS)?;
        let status = match tree.get("status") {
            Some(value) => self.status_code(value)?,
            None => 500,
        };
        let mut optional = |key: &str| tree.get(key).and_then(|value| self.text(value));
        let (kind, title, detail) = (optional("type"), optional("title"), optional("detail"));
        Some(Told { kind, status, title, detail: detail.unwrap_or_default() })
    }

    /// An action that the workflow calls.
    fn called(&mut self, place: Position, text: &str, workflow: &WorkflowName) -> Option<ActionLabel> {
        let label = ActionLabel::read(text);
        let calls = self.known.calls(workflow);
        let names: Vec<String> = calls.iter().map(ToString::to_string).collect();
        let found = calls.contains(&label);
        found.then_some(()).or_else(|| {
            self.is_known(place, &format!("the workflow `{workflow}` calls no action"), text, &names).then_some(())
        })?;
        Some(label)
    }

    fn expect(&mut self, tree: &Tree, workflow: &WorkflowName) -> Option<Expect> {
        self.mapping(tree, "`expect`", EXPECT_KEYS)?;
        let status = match tree.get("status") {
            Some(value) => self.status(value)?,
            None if tree.get("error").is_some() => Status::Faulted,
            None => Status::Completed,
        };
        if let Some(error) = tree.get("error") {
            self.mapping(error, "an error", ERROR_KEYS)?;
        }
        let (output, error) = (tree.get("output").map(Tree::to_json), tree.get("error").map(Tree::to_json));
        let tasks = self.counts(tree, workflow);
        let mut arguments = BTreeMap::new();
        for pair in self.pairs(tree, "arguments") {
            let label = self.called(pair.position, &pair.key, workflow);
            arguments.extend(label.map(|label| (label, pair.value.to_json())));
        }
        Some(Expect { status, output, error, tasks, arguments })
    }

    fn status(&mut self, tree: &Tree) -> Option<Status> {
        let text = self.text(tree)?;
        let known: Vec<String> = STATUSES.iter().map(|status| (*status).to_owned()).collect();
        self.is_known(tree.position, "no instance ends as", &text, &known).then_some(())?;
        Some(match text.as_str() {
            "faulted" => Status::Faulted,
            "cancelled" => Status::Cancelled,
            "waiting" => Status::Waiting,
            _ => Status::Completed,
        })
    }

    fn counts(&mut self, tree: &Tree, workflow: &WorkflowName) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        for pair in self.pairs(tree, "tasks") {
            let number = match &pair.value.value {
                Value::Number(number) => number.as_u64(),
                _ => None,
            };
            match number {
                Some(number) if self.task_is_known(pair.position, workflow, &pair.key) => {
                    counts.insert(pair.key.clone(), number);
                }
                Some(_) => {}
                None => {
                    let cure = "write how often the task is entered, from 0".to_owned();
                    self.error(pair.value.position, "this is no number").cure = Some(cure);
                }
            }
        }
        counts
    }

    fn task_is_known(&mut self, place: Position, workflow: &WorkflowName, name: &str) -> bool {
        let known = self.known.tasks(workflow);
        self.is_known(place, &format!("the workflow `{workflow}` has no task"), name, &known)
    }

    /// Tells, where the name is none of the known ones.
    fn is_known(&mut self, place: Position, what: &str, name: &str, known: &[String]) -> bool {
        if known.iter().any(|known| known == name) {
            return true;
        }
        let cure = match near(name, known.iter().map(String::as_str)).first() {
            Some(near) => format!("did you mean `{near}`?"),
            None if known.is_empty() => "there are none".to_owned(),
            None => format!("known here: {}", known.join(", ")),
        };
        self.error(place, format!("{what} `{name}`")).cure = Some(cure);
        false
    }

    fn mapping<'t>(&mut self, tree: &'t Tree, what: &str, known: &[&str]) -> Option<&'t [Pair]> {
        let Some(pairs) = tree.as_map() else {
            self.error(tree.position, format!("{what} is a mapping, and this is {}", tree.kind()));
            return None;
        };
        let known: Vec<String> = known.iter().map(|key| (*key).to_owned()).collect();
        for pair in pairs {
            self.is_known(pair.position, &format!("{what} has no key"), &pair.key, &known);
        }
        Some(pairs)
    }

    fn pairs<'t>(&mut self, tree: &'t Tree, key: &str) -> &'t [Pair] {
        let Some(value) = tree.get(key) else { return &[] };
        match value.as_map() {
            Some(pairs) => pairs,
            None => {
                self.error(value.position, format!("`{key}` is a mapping, and this is {}", value.kind()));
                &[]
            }
        }
    }

    /// A mapping of scalars, as text.
    fn texts(&mut self, tree: &Tree, key: &str) -> BTreeMap<String, String> {
        let mut texts = BTreeMap::new();
        for pair in self.pairs(tree, key) {
            let text = match &pair.value.value {
                Value::Text(text) => text.clone(),
                Value::Number(number) => number.to_string(),
                Value::Bool(value) => value.to_string(),
                _ => {
                    self.error(pair.value.position, format!("expected text, found {}", pair.value.kind()));
                    continue;
                }
            };
            texts.insert(pair.key.clone(), text);
        }
        texts
    }

    fn items<'t>(&mut self, tree: &'t Tree) -> Option<&'t [Tree]> {
        if tree.as_list().is_none() {
            self.error(tree.position, format!("expected a list, found {}", tree.kind()));
        }
        tree.as_list()
    }

    fn list<T>(&mut self, tree: &Tree, key: &str, read: impl Fn(&mut Self, &Tree) -> Option<T>) -> Vec<T> {
        let Some(items) = tree.get(key).and_then(|value| self.items(value)) else { return Vec::new() };
        items.iter().filter_map(|item| read(self, item)).collect()
    }

    fn required_text(&mut self, tree: &Tree, key: &str) -> Option<String> {
        match tree.get(key) {
            Some(value) => self.text(value),
            None => {
                self.error(tree.position, format!("`{key}` is missing")).cure = Some(format!("add `{key}:`"));
                None
            }
        }
    }

    fn text(&mut self, tree: &Tree) -> Option<String> {
        if tree.as_text().is_none() {
            self.error(tree.position, format!("expected text, found {}", tree.kind()));
        }
        tree.as_text().map(str::to_owned)
    }

    fn error(&mut self, place: Position, message: impl Into<String>) -> &mut Diagnostic {
        self.findings.push(Diagnostic::error("pack-test", self.source, place, message));
        self.findings.last_mut().expect("it was just put in")
    }
}

/// The host of an absolute URL, and the rest of it.
fn host_of(target: &str) -> (Option<String>, String) {
    let Some(start) = target.find("://").map(|at| at + 3) else { return (None, target.to_owned()) };
    let end = target[start..].find('/').map_or(target.len(), |at| start + at);
    let rest = if end == target.len() { "/" } else { &target[end..] };
    (Some(target[..end].to_owned()), rest.to_owned())
}
